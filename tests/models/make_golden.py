#!/usr/bin/env python3
"""Makes the golden files beside this script with ONNX Runtime (optimisations off: the literal QDQ graph).

    python3 tests/models/make_golden.py target/kinglet-demo

The folder is the one `kinglet demo` writes; the models here are copies of its models, the inputs its first 32 test images.
Needs the packages onnxruntime and numpy.
"""
import pathlib
import sys

import numpy
import onnxruntime

here = pathlib.Path(__file__).parent
demo = pathlib.Path(sys.argv[1])
images = numpy.load(demo / "test_images.npy")[:32]
numpy.save(here / "digits_images.npy", images)
numpy.save(here / "digits_labels.npy", numpy.load(demo / "test_labels.npy")[:32])
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
for name in ["digits", "digits_int8"]:
    session = onnxruntime.InferenceSession(here / f"{name}.onnx", options)
    scores = [session.run(None, {session.get_inputs()[0].name: image[None]})[0][0] for image in images]
    numpy.save(here / f"{name}_scores.npy", numpy.stack(scores))
