"""What the Python package does, beside ONNX Runtime's golden bytes and the command's files. `tests/tests/python.rs` runs it:

    python python_package.py MODELS WORK KINGLET PAGE

MODELS is tests/models, WORK an empty folder, KINGLET the command, PAGE docs/python.md, whose examples are run.
"""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import onnx
from onnx import TensorProto, helper

import kinglet

models, work, command, page = map(pathlib.Path, sys.argv[1:])
images = np.load(models / "digits_images.npy")
golden = np.load(models / "digits_int8_scores.npy")


def raises(kind, *words):
    """A context in which `kind` is raised, with all of `words` in its text."""

    class Expected:
        def __enter__(self):
            return self

        def __exit__(self, found, error, _):
            assert found is not None and issubclass(found, kind), f"{kind} was not raised, but {error!r}"
            self.error = error
            for word in words:
                assert word in str(error), f"{word!r} is not in {error}"
            return True

    return Expected()


# Compiled as the command compiles, and run as ONNX Runtime runs.
plan = kinglet.compile(models / "digits_int8.onnx", target="cortex-m4f", tile="smallest")
by_command = work / "command.kinglet"
subprocess.run(
    [command, "compile", models / "digits_int8.onnx", "-o", by_command, "--target", "cortex-m4f", "--tile", "smallest"],
    check=True,
    stdout=subprocess.DEVNULL,
)
assert plan.bytes == by_command.read_bytes()
assert 0 < plan.arena_bytes < plan.flash_bytes and plan.instructions > 0 and plan.stack_bytes > 0 and plan.macs == 65_408
plan.save(work / "saved.kinglet")
loaded = [
    kinglet.load(plan),
    kinglet.load(plan.bytes),
    kinglet.load(work / "saved.kinglet"),
    kinglet.load(str(models / "digits_int8.kinglet")),
    kinglet.load(models / "digits_int8.onnx"),
]
for model in loaded:
    (x,), (y,) = model.inputs, model.outputs
    assert x.shape == (1, 1, 8, 8) and x.dtype == np.float32 and y.shape == (1, 10), model
    scores = model.run(images)
    assert scores.dtype == np.float32 and (scores == golden).all()
    assert (model.run(images.astype(float)) == golden).all()
    assert (model.run(images[:, None]) == golden).all()
    assert model.run(images[3]).shape == model.run(images[3][None]).shape == (1, 10)
    assert (model.run({x.name: images[3]})[y.name].ravel() == golden[3]).all()
    model.run(images)[0, 0] = 1.0
    assert model.run(images[:0]).shape == (0, 10)
model = loaded[0]

# What does not fit says what does.
with raises(kinglet.Error, "(1, 1, 8, 8)", "(32, 1, 4, 8)"):
    model.run(images[:, :, :4])
with raises(kinglet.Error, "float32", "int64"):
    model.run(np.zeros((1, 1, 8, 8), int))
with raises(kinglet.Error, "finite"):
    model.run(np.full((1, 1, 8, 8), np.nan))
with raises(kinglet.Error, "no input `other`", model.inputs[0].name):
    model.run({"other": images})
with raises(kinglet.Error, "is missing"):
    model.run({})
damaged = bytearray(plan.bytes)
damaged[100] ^= 1
with raises(kinglet.Error, "not a valid plan"):
    kinglet.load(bytes(damaged))
with raises(kinglet.Error, "cannot read", "absent.onnx", "help:") as caught:
    kinglet.compile(work / "absent.onnx")
assert caught.error.code == "file::missing" and caught.error.help in str(caught.error)
with raises(kinglet.Error, 'target="cortex-m9"', "cortex-m4f"):
    kinglet.compile(models / "digits_int8.onnx", target="cortex-m9")
with raises(kinglet.Error, "already quantised"):
    kinglet.quantize(models / "digits_int8.onnx", images, work / "twice.onnx")
with raises(kinglet.Error, "samples", "[1, 4, 8]"):
    kinglet.quantize(models / "digits.onnx", images[:, :, :4], work / "short.onnx")
assert not (work / "twice.onnx").exists() and not (work / "short.onnx").exists()

# Quantised as the command quantises, of arrays and of files.
subprocess.run(
    [command, "quantize", models / "digits.onnx", "--calibration", models / "digits_images.npy", "-o", work / "c.onnx"],
    check=True,
    stdout=subprocess.DEVNULL,
)
name = kinglet.load(models / "digits.onnx").inputs[0].name
for number, samples in enumerate([images, {name: images}, models / "digits_images.npy"]):
    out = work / f"quantised{number}.onnx"
    kinglet.quantize(models / "digits.onnx", samples, out)
    assert out.read_bytes() == (work / "c.onnx").read_bytes()

# A state: the model adds its input to it.
info = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2])
nodes = [helper.make_node("Add", ["x", "sum_in"], ["sum_out"]), helper.make_node("Neg", ["sum_out"], ["y"])]
graph = helper.make_graph(nodes, "sums", [info("x"), info("sum_in")], [info("y"), info("sum_out")])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), work / "sums.onnx")
sums = kinglet.load(work / "sums.onnx", states={"sum_in": "sum_out"})
assert sums.inputs[1].state_of == "sum_out"
steps = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
assert (sums.run(steps) == [[-1, -2], [-4, -6], [-9, -12]]).all()
assert (sums.run(steps[:1]) == [[-10, -14]]).all()
sums.reset()
assert (sums.run(steps[:1]) == [[-1, -2]]).all()
begun = sums.run({"x": steps[:1], "sum_in": np.array([[10, 10]], np.float32)})
assert (begun["y"] == [[-11, -12]]).all() and (begun["sum_out"] == [[11, 12]]).all()
with raises(kinglet.Error, "mapping of arrays by name"):
    kinglet.load(work / "sums.onnx").run(steps)

# Python's lock is free while a model runs.
many = np.repeat(images, 3_000, axis=0)
counted, running = 0, True


def count():
    global counted
    while running:
        counted += 1
        time.sleep(0.001)


thread = threading.Thread(target=count)
thread.start()
time.sleep(0.01)
before = counted
began = time.monotonic()
model.run(many)
took = time.monotonic() - began
during = counted - before
running = False
thread.join()
assert during >= min(3, took / 0.05), f"{during} turns in {took:.3f} s"


def interrupted(call):
    """Whether Ctrl-C after 0.2 s ends the call, which would take longer."""
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    began = time.monotonic()
    try:
        call()
    except KeyboardInterrupt:
        return time.monotonic() - began
    finally:
        timer.join()
    raise AssertionError("nothing ended the call")


longer = np.repeat(images, 20_000, axis=0)
assert interrupted(lambda: model.run(longer)) < 5
del longer, many
assert (model.run(images) == golden).all(), "the model can be used afterwards"

# A recipe: interrupted, resumed, and stopped by a function of the user's.
labels = np.load(models / "digits_labels.npy")
np.savez(work / "digits.npz", x=np.repeat(images, 60, axis=0), y=np.repeat(labels, 60).astype(np.uint8))
recipe = work / "recipe.toml"
recipe.write_text(
    'name = "try"\nseed = 1\n\n[[stage]]\nkind = "trp"\nscheme = "channel"\nmacs = 0.8\n[stage.training]\nepochs = 300\nlr = 0.001\n'
)
settings = dict(data=work / "digits.npz", recipe=recipe, out=work / "small.onnx", pixels="raw")
interrupted(lambda: kinglet.compress(models / "digits.onnx", **settings))
assert not (work / "small.onnx").exists()


def refuse(line):
    raise ValueError(line)


with raises(ValueError, "stage 1 of 1"):
    kinglet.compress(models / "digits.onnx", **settings, report=refuse)
lines = []
settings |= dict(epochs_scale=0.004, report=lines.append)
stages = kinglet.compress(models / "digits.onnx", **settings)
assert [s.kind for s in stages] == ["input", "trp"] and stages[1].macs < stages[0].macs, stages
assert lines[0] == "stage 1 of 1: trp" and (work / "small.onnx").exists()
recipe.write_text(recipe.read_text().replace("epochs = 300", "epoch = 300"))
with raises(kinglet.Error, "recipe.toml:", "epoch"):
    kinglet.compress(models / "digits.onnx", **settings)

# The page's examples.
recipe.write_text(recipe.read_text().replace("epoch = 300", "epochs = 10"))
examples = page.read_text().split("```python\n")[1:]
code = "".join(example.split("```")[0] for example in examples)
assert len(examples) == 4
os.chdir(work)
os.symlink(models / "digits.onnx", "model.onnx")
os.symlink(models / "digits_images.npy", "images.npy")
exec(compile(code, str(page), "exec"), {"__name__": "page"})
print("the package is right")
