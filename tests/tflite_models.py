"""Makes the .tflite files that the tests read, and what TensorFlow Lite computes for them.

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
    """Inputs as the file takes them, and TensorFlow Lite's outputs: in int8 those of its reference kernels."""
    resolver = tf.lite.experimental.OpResolverType
    is_int8 = tf.lite.Interpreter(model_content=content).get_input_details()[0]["dtype"] == np.int8
    interpreter = tf.lite.Interpreter(
        model_content=content,
        # The reference kernels lack some operators on floats.
        experimental_op_resolver_type=resolver.BUILTIN_REF if is_int8 else resolver.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    if is_int8:
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


def functions():
    """Functions, selections and reductions that only floats have, or that are rare; one beside the other."""
    keras = tf.keras.layers

    def all_of(x):
        first, rest = tf.split(x, [2, 6], axis=-1)
        rows = tf.unstack(x, axis=1)
        products = tf.matmul(x, x, transpose_b=True)
        greatest = tf.cast(tf.argmax(x, axis=-1, output_type=tf.int32), tf.float32)
        parts = [
            tf.pow(tf.abs(x) + 1.0, 1.5), tf.where(x > 0.5, x, -x), tf.where(tf.logical_or(x < -1.0, x >= 1.0), x, x * 0.5),
            tf.maximum(x, 0.25), tf.minimum(x, 0.25), tf.sin(x), tf.cos(x), tf.floor(x), tf.math.ceil(x), tf.round(x * 1.3),
            tf.sqrt(tf.abs(x)), tf.math.log(tf.abs(x) + 1.0), tf.math.l2_normalize(x, axis=-1), x / (tf.abs(x) + 2.0),
            tf.gather(x, [3, 1, 0, 2, 5, 5], axis=2), tf.tile(x[..., :4], [1, 1, 1, 2]), tf.concat([rest, first], axis=-1),
            tf.stack(rows[::-1], axis=1), x + tf.reduce_mean(products, axis=-1, keepdims=True), x + greatest[..., None],
            tf.nn.elu(x), x[:, ::-1], tf.reduce_min(x, axis=[1, 3], keepdims=True) - x, tf.slice(tf.pad(x, [[0, 0], [1, 0], [0, 0], [0, 0]], constant_values=2.0), [0, 0, 0, 0], [-1, 4, -1, -1]),
        ]
        return tf.concat(parts, axis=-1)

    x = source = tf.keras.Input((4, 6, 8))
    x = keras.PReLU(alpha_initializer=tf.keras.initializers.Constant(0.3), shared_axes=[1, 2])(x)
    return tf.keras.Model(source, keras.Lambda(all_of)(x))


def activations():
    """Activations that are operators of their own."""
    x = source = tf.keras.Input((4, 6, 8))
    functions = [lambda t: t * tf.nn.relu6(t + 3.0) / 6.0, tf.nn.relu, tf.nn.relu6, tf.nn.tanh, tf.nn.sigmoid]
    parts = [tf.keras.layers.Lambda(f)(x) for f in functions]
    return tf.keras.Model(source, tf.keras.layers.Concatenate()(parts))


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
        ("functions", functions(), ["float"]),
        ("activations", activations(), ["int8"]),
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
