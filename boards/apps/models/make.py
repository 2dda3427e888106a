#!/usr/bin/env python3
"""Makes what `kinglet train` needs for the models of this folder: an untrained network and its samples.

    python3 make.py activity WATCH.npz SAMPLES.npz UNTRAINED.onnx
    python3 make.py tones SAMPLES.npz UNTRAINED.onnx

activity: WATCH.npz are the shoulder exercises of seglearn (BSD-3-Clause), 140 recordings of ten people with a watch: `x_i16`,
`scale` (g and rad/s), `lengths`, `y`, `subject`. Windows of 100 measurements, half of them new each time, become an LSM6DS3's
counts in the driver's ranges, as shares of the range. The last two people are the test.

tones: seconds of generated sound (a low tone, a high tone, a rising one, noise), through the reference front end of
`tests/keyword_sound.py`. Needs numpy and onnx.
"""
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LENGTH = 100
MILLI_G, MILLI_DEGREES = 0.122, 35.0
TEST = (9, 10)


def counts(watch):
    x = watch["x_i16"] * watch["scale"].astype(np.float64)
    x[:, :3] *= 1000 / MILLI_G
    x[:, 3:] *= np.degrees(1) * 1000 / MILLI_DEGREES
    return np.clip(np.round(x), -32768, 32767).astype(np.int16)


def windows(watch):
    x, ends = counts(watch), np.cumsum(watch["lengths"])
    found = {part: ([], []) for part in ("train", "test")}
    for end, length, label, who in zip(ends, watch["lengths"], watch["y"], watch["subject"]):
        samples, labels = found["test" if who in TEST else "train"]
        for start in range(end - length, end - LENGTH + 1, LENGTH // 2):
            samples.append(x[start : start + LENGTH] / np.float32(32768))
            labels.append(label)
    return {
        f"{name}_{part}": np.array(values)[:, None].astype(np.float32) if name == "x" else np.array(values, np.uint8)
        for part, pair in found.items()
        for name, values in zip("xy", pair)
    }


def tones():
    """Pitches from 250 to 3000 Hz, loudness from 300 to 30,000, with some noise."""
    sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "tests"))
    import keyword_sound

    rng = np.random.default_rng(2)
    time = np.arange(keyword_sound.RATE) / keyword_sound.RATE
    found = {}
    for part, count in (("train", 1600), ("test", 400)):
        labels = rng.integers(0, 4, count).astype(np.uint8)
        sounds = []
        for label in labels:
            low, high, loud = rng.uniform(250, 600), rng.uniform(1400, 3000), np.exp(rng.uniform(np.log(300), np.log(30000)))
            noise = rng.normal(0, 0.3, len(time))
            pitch = (low, high, low + (high - low) * time / 2, 0)[label]
            sound = noise if label == 3 else np.sin(2 * np.pi * pitch * time + rng.uniform(0, 6)) + noise * rng.uniform(0.03, 0.3)
            sounds.append(np.clip(loud * sound, -32768, 32767).astype(np.int16))
        features = keyword_sound.features(np.array(sounds))
        found[f"x_{part}"], found[f"y_{part}"] = features[:, None].astype(np.float32), labels
    return found


def network(name, rows, columns, channels, classes):
    rng = np.random.default_rng(1)
    weights, nodes = [], []

    def layer(kind, name, source, shape, **attributes):
        fan = np.prod(shape[1:])
        weights.append(numpy_helper.from_array(rng.normal(0, (2 / fan) ** 0.5, shape).astype(np.float32), name + ".weight"))
        weights.append(numpy_helper.from_array(np.zeros(shape[0], np.float32), name + ".bias"))
        nodes.append(helper.make_node(kind, [source, name + ".weight", name + ".bias"], [name], name, **attributes))
        return name

    def relu(source):
        nodes.append(helper.make_node("Relu", [source], [source + ".relu"], source + ".relu"))
        return source + ".relu"

    # The first layer sees all columns of five rows; from then on it is a network in time.
    x = relu(layer("Conv", "conv1", "input", (channels[0], 1, 5, columns), strides=[2, 1]))
    x = relu(layer("Conv", "conv2", x, (channels[1], channels[0], 5, 1), strides=[2, 1]))
    x = relu(layer("Conv", "conv3", x, (channels[2], channels[1], 3, 1), strides=[2, 1]))
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["mean"], "mean"))
    nodes.append(helper.make_node("Flatten", ["mean"], ["flat"], "flat"))
    x = layer("Gemm", "scores", "flat", (classes, channels[2]), transB=1)
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, rows, columns])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, classes])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def main(what, *paths):
    if what == "activity":
        watch, samples, untrained = paths
        found, model = windows(np.load(watch)), network(what, LENGTH, 6, (16, 24, 32), 7)
    else:
        samples, untrained = paths
        found, model = tones(), network(what, 49, 10, (8, 8, 8), 4)
    np.savez(samples, **found)
    # What `kinglet quantize` calibrates with.
    calibration = np.random.default_rng(0).permutation(len(found["x_train"]))[:512]
    np.save(samples.replace(".npz", "_calibration.npy"), found["x_train"][calibration])
    onnx.checker.check_model(model)
    onnx.save(model, untrained)


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] not in ("activity", "tones"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
