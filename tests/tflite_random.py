"""Makes random models out of some whose layers are given, and what TensorFlow Lite's reference kernels compute for them.

    pip install ai-edge-litert numpy
    python tests/tflite_random.py tests/models

The files' tables stay where they are: weights, biases, scales and zero points are written over, and the output becomes that of one
operator after the other. The last two models are uint8.
"""

import struct
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

SAMPLES = 8
UINT8 = 3
# Operators whose results have the scale of their operands.
SAME = {"CONCATENATION", "PAD", "PADV2", "MAX_POOL_2D", "AVERAGE_POOL_2D", "RESHAPE", "TRANSPOSE"}
# Scale and zero point that TensorFlow Lite prescribes.
FIXED = {"SOFTMAX": (1 / 256, -128), "LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}


class Table:
    """A table of a FlatBuffer, and where its fields lie."""

    def __init__(self, data, at):
        self.data, self.at = data, at
        self.vtable = at - self.number("<i", at)

    def number(self, kind, at):
        return struct.unpack_from(kind, self.data, at)[0]

    def field(self, i):
        if 4 + 2 * i >= self.number("<H", self.vtable):
            return None
        offset = self.number("<H", self.vtable + 4 + 2 * i)
        return self.at + offset if offset else None

    def target(self, at):
        return at + self.number("<I", at)

    def table(self, i):
        at = self.field(i)
        return at and Table(self.data, self.target(at))

    def vector(self, i):
        """Position of the first element, and their number."""
        at = self.field(i)
        if not at:
            return 0, 0
        at = self.target(at)
        return at + 4, self.number("<I", at)

    def tables(self, i):
        at, count = self.vector(i)
        return [Table(self.data, self.target(at + 4 * k)) for k in range(count)]


class Model:
    def __init__(self, data):
        self.data = bytearray(data)
        root = Table(self.data, struct.unpack_from("<I", self.data)[0])
        graph = root.tables(2)[0]
        self.tensors, self.buffers = graph.tables(0), root.tables(4)
        self.output, _ = graph.vector(2)

    def of(self, t):
        """Type, positions of scales and zero points with their number, position and size of the contents."""
        tensor = self.tensors[t]
        kind = tensor.field(1)
        quantization = tensor.table(4)
        scales = quantization.vector(2) if quantization else (0, 0)
        zeros = quantization.vector(3) if quantization else (0, 0)
        index = tensor.field(2)
        contents = self.buffers[tensor.number("<I", index) if index else 0].vector(0)
        return kind, scales, zeros, contents

    def write(self, t, scale, zero_point):
        _, (scales, count), (zeros, _), _ = self.of(t)
        for k in range(count):
            struct.pack_into("<f", self.data, scales + 4 * k, scale[k] if np.ndim(scale) else scale)
            if zeros:
                struct.pack_into("<q", self.data, zeros + 8 * k, zero_point)


def interpreter(data):
    it = Interpreter(model_content=bytes(data), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    it.allocate_tensors()
    return it


def randomise(model, details, operators, rng):
    """Random weights, scales and zero points, within what the kernels accept."""
    groups = {}

    def group(t):
        while groups.get(t, t) != t:
            t = groups[t]
        return t

    types = {d["index"]: d["dtype"] for d in details}
    activations = lambda op: [t for t in [*op["inputs"], *op["outputs"]] if t >= 0 and types[t] == np.int8]
    for op in operators:
        if op["op_name"] in SAME:
            for t in activations(op)[1:]:
                groups[group(t)] = group(activations(op)[0])
    scale = {t: (float(np.float32(rng.uniform(0.01, 0.06))), int(rng.integers(-40, 41))) for t in types}
    for op in operators:
        if op["op_name"] in FIXED:
            scale[group(op["outputs"][0])] = FIXED[op["op_name"]]
    for t, kind in types.items():
        if kind == np.int8 and not model.of(t)[3][1]:
            model.write(t, *scale[group(t)])
    for op in operators:
        if op["op_name"] not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            continue
        x, w, b = op["inputs"]
        _, (_, channels), _, (at, size) = model.of(w)
        model.data[at : at + size] = rng.integers(-127, 128, size).astype(np.int8).tobytes()
        shape = next(d["shape"] for d in details if d["index"] == w)
        taps = int(np.prod(shape[1:3])) if op["op_name"] == "DEPTHWISE_CONV_2D" else int(np.prod(shape[1:]))
        scales = (rng.uniform(0.5, 1.5, max(channels, 1)) / 127 / np.sqrt(taps)).astype(np.float32)
        model.write(w, scales, 0)
        if b >= 0:
            _, (_, count), _, (at, size) = model.of(b)
            model.data[at : at + size] = rng.integers(-2000, 2001, size // 4).astype(np.int32).tobytes()
            product = np.float32(scale[group(x)][0]) * scales
            model.write(b, product if count > 1 else float(product[0]), 0)


def one_scale(model, details):
    """One scale a tensor: uint8 has no more."""
    for d in details:
        _, *vectors, _ = model.of(d["index"])
        for at, count in vectors:
            if count > 1:
                struct.pack_into("<I", model.data, at - 4, 1)


def unsigned(model, details):
    """The same numbers in uint8: every byte and every zero point is 128 more."""
    for d in details:
        if d["dtype"] != np.int8:
            continue
        kind, _, (zeros, _), (at, size) = model.of(d["index"])
        model.data[kind] = UINT8
        zero_point = struct.unpack_from("<q", model.data, zeros)[0]
        struct.pack_into("<q", model.data, zeros, zero_point + 128)
        for i in range(at, at + size):
            model.data[i] ^= 0x80


def variant(content, rng, output=None, is_unsigned=False):
    """A random model, random inputs, and the outputs: of operator `output`, or of the last one."""
    original = interpreter(content)
    model = Model(content)
    # The interpreter makes tensors of its own behind those of the file.
    details = [d for d in original.get_tensor_details() if d["index"] < len(model.tensors)]
    operators = original._get_ops_details()
    if is_unsigned:
        one_scale(model, details)
    randomise(model, details, operators, rng)
    if is_unsigned:
        unsigned(model, details)
    if output is not None:
        struct.pack_into("<i", model.data, model.output, operators[output]["outputs"][0])
    it = interpreter(model.data)
    (entry,), (end,) = it.get_input_details(), it.get_output_details()
    limits = np.iinfo(entry["dtype"])
    inputs = rng.integers(limits.min, limits.max + 1, (SAMPLES, *entry["shape"][1:])).astype(entry["dtype"])
    outputs = []
    for x in inputs:
        it.set_tensor(entry["index"], x[None])
        it.invoke()
        outputs.append(it.get_tensor(end["index"])[0])
    return np.frombuffer(bytes(model.data), np.uint8), inputs, np.stack(outputs)


def main():
    folder = Path(sys.argv[1])
    rng = np.random.default_rng(3)
    variants = []
    contents = [(folder / f"{name}_int8.tflite").read_bytes() for name in ("convolutional", "activations")]
    for content in contents:
        for output in range(len(interpreter(content)._get_ops_details())):
            variants.append(variant(content, rng, output))
    variants += [variant(content, rng, is_unsigned=True) for content in contents]
    arrays = {}
    for k, arrays_of_one in enumerate(variants):
        arrays |= {f"{name}_{k}": array for name, array in zip(("model", "inputs", "outputs"), arrays_of_one)}
        print(k, arrays_of_one[2].dtype, arrays_of_one[2].shape, arrays_of_one[2].std())
    np.savez_compressed(folder / "random.npz", **arrays)


main()
