#!/usr/bin/env python3
"""Writes what ONNX Runtime computes for every tensor of a model, for `kinglet verify --reference`.

    python3 tests/reference.py MODEL.onnx INPUT.npy REFERENCE.npz
    python3 tests/reference.py --serve

Needs the packages onnx, onnxruntime and numpy. Optimisations are off: quantised models run as the literal
QuantizeLinear/DequantizeLinear graph. INPUT has a leading sample axis; each row is one inference.

With --serve each line on standard input is one model, a JSON object: "model" is a path, "inputs" maps names to .npy files
that hold one inference each, "reference" is the file to write. A line answers it: "ok", or what went wrong.
"""
import json
import sys

import numpy
import onnx
import onnxruntime


def open_session(model_path, threads=0):
    """A session whose outputs are all tensors that depend on an input."""
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
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def save(path, results):
    numpy.savez(path, **{name: numpy.stack(values) for name, values in results.items()})


def main(model_path, input_path, reference_path):
    session = open_session(model_path)
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
    save(reference_path, results)


def answer(request):
    session = open_session(request["model"], threads=1)
    inputs = {name: numpy.load(path) for name, path in request["inputs"].items()}
    names = [output.name for output in session.get_outputs()]
    values = dict(zip(names, session.run(names, inputs)), **inputs)
    # Truth values are numbers in a plan.
    plain = lambda v: v.astype(numpy.float32) if v.dtype == bool else v
    save(request["reference"], {name: [plain(value)] for name, value in values.items()})


def serve():
    for line in sys.stdin:
        try:
            answer(json.loads(line))
            print("ok", flush=True)
        except Exception as error:  # whatever ONNX Runtime refuses a model with
            print(" ".join(str(error).split()) or type(error).__name__, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    elif len(sys.argv) == 4:
        main(*sys.argv[1:])
    else:
        sys.exit(__doc__)
