"""Writes ONNX's own backend node tests into a folder: NAME/model.onnx, NAME/input_I.pb, NAME/output_I.pb.

    python tests/conformance.py FOLDER
"""

import sys
import warnings
from pathlib import Path

import numpy
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases


def write(path, value):
    if isinstance(value, TensorProto):
        tensor = value
    elif isinstance(value, (numpy.ndarray, numpy.generic)):
        tensor = numpy_helper.from_array(numpy.asarray(value))
    else:
        raise TypeError(type(value))
    path.write_bytes(tensor.SerializeToString())


def main(folder):
    for case in collect_testcases(None):
        inputs, outputs = case.data_sets[0]
        try:
            place = folder / case.name
            place.mkdir()
            for which, values in (("input", inputs), ("output", outputs)):
                for i, value in enumerate(values):
                    write(place / f"{which}_{i}.pb", value)
        except TypeError:
            # Sequences, maps and optionals: no model of theirs is in scope.
            continue
        (place / "model.onnx").write_bytes(case.model.SerializeToString())


warnings.simplefilter("ignore")
main(Path(sys.argv[1]))
