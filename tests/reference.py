#!/usr/bin/env python3
"""Writes what ONNX Runtime computes for every tensor of a model, for `kinglet verify --reference`.

    python3 tests/reference.py MODEL.onnx INPUT.npy REFERENCE.npz

Needs the packages onnx, onnxruntime and numpy. Optimisations are off: quantised models run as the literal
QuantizeLinear/DequantizeLinear graph. INPUT has a leading sample axis; each row is one inference.
"""
import sys

import numpy
import onnx
import onnxruntime


def main(model_path, input_path, reference_path):
    model = onnx.load(model_path)
    outputs = {output.name for output in model.graph.output}
    initialisers = {i.name for i in model.graph.initializer}
    # Tensors that depend on constants alone are no steps of a plan.
    constant = set(initialisers)
    for node in model.graph.node:
        if all(name in constant or not name for name in node.input):
            constant.update(node.output)
            continue
        for name in node.output:
            if name and name not in outputs:
                model.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    rows = numpy.load(input_path)
    if hasattr(rows, "files"):
        rows = rows[rows.files[0]]
    names = [output.name for output in session.get_outputs()]
    source = session.get_inputs()[0]
    rank = len(source.shape)
    # The input itself too: a plan's step may be its change of layout.
    results = {name: [] for name in [source.name, *names]}
    for row in rows:
        row = row if row.ndim == rank else row[None]
        results[source.name].append(row)
        for name, value in zip(names, session.run(None, {source.name: row})):
            results[name].append(value)
    numpy.savez(reference_path, **{name: numpy.stack(values) for name, values in results.items()})


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
