#!/usr/bin/env python3
"""One training step of an ONNX model in PyTorch: gradients to compare with, and the time that steps take.

    python3 tests/train_reference.py MODEL.onnx BATCH.npz GRADIENTS.npz THREADS STEPS

Needs the packages torch, onnx and numpy. BATCH has `x` (a leading batch axis, ONNX's layout) and `y` (labels). GRADIENTS
gets `loss`, the gradient of every float initialiser that has one, under its name, and running statistics as `after/NAME`, all
in double precision; and `seconds`: how long each of STEPS steps in single precision took (forward, backward, SGD with
momentum), first with PyTorch's usual layout, then with channels last.
"""
import sys
import time

import numpy
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

STATE = {}


def attributes(node):
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def padded(x, pads, value=0.0):
    top, left, bottom, right = pads
    return F.pad(x, (left, right, top, bottom), value=value) if any(pads) else x


def conv(x, weights, bias, a):
    """Even padding is given to the convolution itself, which is what a PyTorch user would write."""
    top, left, bottom, right = a.get("pads", [0] * 4)
    even = top == bottom and left == right
    if not even:
        x = padded(x, (top, left, bottom, right))
    return F.conv2d(x, weights, bias, a["strides"], (top, left) if even else 0, a["dilations"], a.get("group", 1))


def run(graph, values):
    for node in graph.node:
        a = attributes(node)
        i = [values[name] if name else None for name in node.input]
        op = node.op_type
        if op == "Conv":
            y = conv(i[0], i[1], i[2] if len(i) > 2 else None, a)
        elif op == "BatchNormalization":
            mean, variance = i[3].detach().clone(), i[4].detach().clone()
            y = F.batch_norm(i[0], mean, variance, i[1], i[2], True, 0.1, a["epsilon"])
            STATE[node.input[3]], STATE[node.input[4]] = mean, variance
        elif op == "Relu":
            y = F.relu(i[0])
        elif op == "Add":
            y = i[0] + i[1]
        elif op == "Mul":
            y = i[0] * i[1]
        elif op == "GlobalAveragePool":
            y = i[0].mean((2, 3), keepdim=True)
        elif op == "Reshape":
            y = i[0].reshape([i[0].shape[0]] + [int(d) for d in i[1][1:]])
        elif op == "Gemm":
            y = F.linear(i[0], i[1], i[2] if len(i) > 2 else None)
        else:
            sys.exit(f"train_reference.py does not know {op}")
        values[node.output[0]] = y
    return values[graph.output[0].name]


def main(model_path, batch_path, gradients_path, threads, steps):
    torch.set_num_threads(int(threads))
    graph = onnx.load(model_path).graph
    batch = numpy.load(batch_path)
    x, y = torch.from_numpy(batch["x"]), torch.from_numpy(batch["y"].astype(numpy.int64))
    state = {n.input[k] for n in graph.node if n.op_type == "BatchNormalization" for k in (3, 4)}

    def constants(dtype, layout):
        """All initialisers, and those that are trained."""
        every, trained = {}, {}
        for initialiser in graph.initializer:
            tensor = torch.from_numpy(numpy_helper.to_array(initialiser).copy())
            if tensor.dtype == torch.float32:
                tensor = tensor.to(dtype)
                if tensor.dim() == 4:
                    tensor = tensor.to(memory_format=layout)
                if initialiser.name not in state:
                    trained[initialiser.name] = tensor.requires_grad_()
            every[initialiser.name] = tensor
        return every, trained

    # In double precision, so that no Relu decides otherwise because of rounding.
    every, trained = constants(torch.float64, torch.contiguous_format)
    loss = F.cross_entropy(run(graph, {**every, graph.input[0].name: x.double()}), y)
    loss.backward()
    gradients = {name: p.grad.numpy() for name, p in trained.items() if p.grad is not None}
    gradients["loss"] = numpy.float64(loss.item()).reshape(1)
    gradients.update({f"after/{name}": t.numpy() for name, t in STATE.items()})

    seconds = []
    for layout in (torch.contiguous_format, torch.channels_last):
        every, trained = constants(torch.float32, layout)
        optimizer = torch.optim.SGD(trained.values(), lr=1e-3, momentum=0.9)
        samples = x.to(memory_format=layout) if x.dim() == 4 else x
        for step in range(int(steps) + 1):
            start = time.perf_counter()
            optimizer.zero_grad()
            loss = F.cross_entropy(run(graph, {**every, graph.input[0].name: samples}), y)
            loss.backward()
            optimizer.step()
            # The first step is slow: memory is new to it.
            if step:
                seconds.append(time.perf_counter() - start)
    gradients["seconds"] = numpy.array(seconds, numpy.float32)
    numpy.savez(gradients_path, **gradients)


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
