"""Kinglet: compressed neural networks on microcontrollers and phones.

    model = kinglet.load("model.kinglet")
    scores = model.run(images)
    plan = kinglet.compile("model_int8.onnx", target="cortex-m4f")
    print(plan.arena_bytes, plan.flash_bytes, plan.instructions)
    plan.save("model.kinglet")
"""

from kinglet._error import Error
from kinglet._make import Plan, Stage, compile, compress, quantize
from kinglet._model import Model, Tensor, load

__all__ = ["Error", "Model", "Plan", "Stage", "Tensor", "compile", "compress", "load", "quantize"]
