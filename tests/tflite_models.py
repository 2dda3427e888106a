"""Makes the .tflite files that the tests read, and what TensorFlow Lite's reference kernels compute for them.

    pip install tensorflow-cpu tf2onnx
    python tests/tflite_models.py tests/models
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

FOLDER = Path(sys.argv[1])
SAMPLES = 4


def convert(model, inputs, kind):
    """The model as TensorFlow Lite has it: `float`, `half` weights, or `int8` throughout."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind == "half":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    if kind == "dynamic":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x[None]] for x in inputs)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    return converter.convert()


def run(content, inputs):
    """Inputs as the file takes them, and the reference kernels' outputs."""
    interpreter = tf.lite.Interpreter(
        model_content=content,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    if source["dtype"] == np.int8:
        scale, zero_point = source["quantization"]
        inputs = np.clip(np.round(inputs / scale) + zero_point, -128, 127).astype(np.int8)
    outputs = []
    for x in inputs:
        interpreter.set_tensor(source["index"], x[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(result["index"])[0])
    return inputs, np.stack(outputs)


def convolutional():
    """Convolutions with lopsided padding, a residual, means, every activation that has an integer form."""
    keras = tf.keras.layers
    x = source = tf.keras.Input((11, 8, 3))
    x = keras.Conv2D(8, 3, strides=2, padding="same", activation="relu6")(x)
    y = keras.DepthwiseConv2D(3, padding="same", depth_multiplier=1)(x)
    y = keras.LeakyReLU(negative_slope=0.25)(y)
    x = keras.Add()([x, y])
    a = keras.Conv2D(4, (3, 2), padding="valid", activation="tanh")(x)
    b = keras.Conv2D(4, (3, 2), padding="valid", activation="sigmoid")(x)
    x = keras.Concatenate()([a, b])
    x = keras.Multiply()([x, x])
    x = keras.ZeroPadding2D(((1, 0), (0, 2)))(x)
    x = keras.MaxPooling2D(2, padding="same")(x)
    y = keras.AveragePooling2D(2, strides=1, padding="same")(x)
    x = keras.Subtract()([x, y])
    x = keras.GlobalAveragePooling2D()(x)
    x = keras.Dense(6, activation="relu")(x)
    x = keras.Dense(5)(x)
    x = keras.Softmax()(x)
    return tf.keras.Model(source, x)


def moving():
    """Slices, strides, splits, stacks, resizing, transposed convolution."""
    keras = tf.keras.layers
    x = source = tf.keras.Input((6, 5, 4))
    a, b = keras.Lambda(lambda t: tf.split(t, 2, axis=-1))(x)
    a = keras.UpSampling2D(2, interpolation="bilinear")(a)
    b = keras.UpSampling2D(2, interpolation="nearest")(b)
    x = keras.Concatenate()([a, b])
    x = keras.Lambda(lambda t: t[:, 1:-1, ::2, :])(x)
    x = keras.Conv2DTranspose(3, 3, strides=2, padding="same")(x)
    x = keras.Lambda(lambda t: tf.nn.space_to_depth(t, 2))(x)
    x = keras.Lambda(lambda t: tf.nn.depth_to_space(t, 2))(x)
    x = keras.Lambda(lambda t: tf.transpose(tf.pad(t, [[0, 0], [1, 2], [0, 0], [0, 0]], mode="REFLECT"), [0, 2, 1, 3]))(x)
    x = keras.Lambda(lambda t: tf.stack([tf.exp(t[:, 0]), tf.math.rsqrt(tf.abs(t[:, 1]) + 1.0), tf.square(t[:, 2])], axis=1))(x)
    x = keras.Lambda(lambda t: tf.reduce_max(t, axis=2) - tf.reduce_sum(t, axis=[2]) / 8.0)(x)
    return tf.keras.Model(source, x)


def dense():
    """A layer large enough for the converter to quantise its weights alone."""
    source = tf.keras.Input((32,))
    return tf.keras.Model(source, tf.keras.layers.Dense(64)(source))


def main():
    tf.keras.utils.set_random_seed(7)
    rng = np.random.default_rng(7)
    for name, model, kinds in [
        ("convolutional", convolutional(), ["float", "half", "int8"]),
        ("moving", moving(), ["float"]),
        ("dense", dense(), ["dynamic"]),
    ]:
        for layer in model.layers:
            for weight in layer.weights:
                if "bias" in weight.name:
                    weight.assign(rng.normal(0, 0.2, weight.shape))
        shape = model.input.shape[1:]
        calibration = rng.normal(0, 1, (32, *shape)).astype(np.float32)
        for kind in kinds:
            content = convert(model, calibration, kind)
            path = FOLDER / f"{name}_{kind}.tflite"
            path.write_bytes(content)
            if kind == "dynamic":
                continue
            inputs, outputs = run(content, calibration[:SAMPLES])
            np.savez(path.with_suffix(".npz"), inputs=inputs, outputs=outputs)


main()
