#!/usr/bin/env python3
"""Prints how many samples ONNX Runtime classifies rightly.

    python3 tests/accuracy.py MODEL.onnx SAMPLES.npy LABELS.npy

Needs the packages onnxruntime and numpy. SAMPLES has a leading sample axis and bytes, which become floats as they are.
"""
import sys

import numpy
import onnxruntime


def main(model_path, samples_path, labels_path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # As the file says it: quantised operators of the optimiser round otherwise.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model_path, options)
    name = session.get_inputs()[0].name
    samples, labels = numpy.load(samples_path), numpy.load(labels_path)
    right = 0
    for sample, label in zip(samples, labels):
        scores = session.run(None, {name: sample[None].astype(numpy.float32)})[0]
        right += int(numpy.argmax(scores) == label)
    print(right)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
