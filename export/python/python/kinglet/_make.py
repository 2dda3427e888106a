"""Compiling, quantising and compressing models."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from kinglet import _kinglet
from kinglet._error import Error

Path: TypeAlias = str | os.PathLike[str]
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
Target: TypeAlias = Literal[
    "host", "cortex-m0", "cortex-m3", "cortex-m4f", "cortex-m7", "cortex-m33", "cortex-m55", "riscv32imc"
]


class Plan:
    """A compiled model, with what the compiler knows of it."""

    def __init__(self, compiled: _kinglet.Compiled, target: str) -> None:
        self._compiled = compiled
        self.target = target

    def __repr__(self) -> str:
        return f"<kinglet.Plan for {self.target}: flash {self.flash_bytes} bytes, arena {self.arena_bytes} bytes>"

    @property
    def arena_bytes(self) -> int:
        """Bytes of RAM for tensors."""
        return self._compiled.arena_bytes

    @property
    def flash_bytes(self) -> int:
        """Bytes of flash for the plan: steps, weights, tables. The code comes on top."""
        return self._compiled.flash_bytes

    @property
    def stack_bytes(self) -> int | None:
        """Bytes of stack that no inference exceeds; `None` where the target was not measured."""
        return self._compiled.stack_bytes

    @property
    def instructions(self) -> int | None:
        """About how many instructions an inference takes; `None` where the target was not measured."""
        return self._compiled.instructions

    @property
    def macs(self) -> int:
        """Multiply-accumulates of an inference."""
        return self._compiled.macs

    @property
    def peak_layer(self) -> str:
        """The layer at which most of the arena is in use."""
        return self._compiled.peak_layer

    @property
    def warnings(self) -> tuple[str, ...]:
        """What does not run as one may expect."""
        return tuple(self._compiled.warnings)

    @property
    def bytes(self) -> bytes:
        """The plan's file."""
        return self._compiled.file()

    def save(self, path: Path) -> None:
        """Writes the plan's file, whole or not at all."""
        self._compiled.save(path)


def compile(
    model: Path,
    *,
    target: Target = "host",
    weights: Literal["plain", "coded", "auto"] = "plain",
    decoding: float | None = None,
    tile: Literal["off", "auto", "smallest"] = "auto",
    arena_limit: int | None = None,
    sparse: Literal["auto", "always", "never"] = "auto",
    int8_io: bool = False,
    strip: bool = False,
    shapes: Shapes | None = None,
    states: Mapping[str, str] | None = None,
) -> Plan:
    """Compiles an ONNX or TensorFlow Lite file into a plan.

    The options are those of `kinglet compile`. `shapes` fixes dimensions that the file leaves open, by input; `states` has inputs
    that carry an output's value from run to run, as `{input: output}`. A plan for another target runs here, too, with the same
    bytes.

    Raises :class:`Error` that names the node when something does not compile.
    """
    compiled = _kinglet.compile(
        model,
        target=target,
        weights=weights,
        tile=tile,
        sparse=sparse,
        shapes=_shapes(shapes),
        states=list((states or {}).items()),
        int8_io=int8_io,
        strip=strip,
        arena_limit=arena_limit,
        decoding=decoding,
    )
    return Plan(compiled, target)


def quantize(
    model: Path,
    samples: ArrayLike | Mapping[str, ArrayLike] | Path,
    out: Path,
    *,
    percentile: float | None = None,
    int8_io: bool = False,
    weights: Literal["int8", "rf8", "e4m3", "e3m4"] = "int8",
    weight_step: float = 0.0,
    shapes: Shapes | None = None,
) -> tuple[str, ...]:
    """Makes an int8 ONNX model, `out`, of a float one, with ranges from typical inputs; gives warnings.

    `samples` has a leading axis of samples, a hundred or so: an array, arrays by the inputs' names, or an `.npy` or `.npz` file. The
    other options are those of `kinglet quantize`. Ctrl-C ends it between two samples; nothing is written then.

    Raises :class:`Error` when the model has no int8 form or the samples do not fit it.
    """
    arrays: list[tuple[str, str, list[int], bytes]] = []
    files: list[str] = []
    if isinstance(samples, (str, os.PathLike)):
        files = [os.fspath(samples)]
    elif isinstance(samples, Mapping):
        arrays = [_array(name, x) for name, x in samples.items()]
    else:
        arrays = [_array("", samples)]
    found = _kinglet.quantize(
        model,
        out,
        arrays=arrays,
        files=files,
        shapes=_shapes(shapes),
        percentile=percentile,
        int8_io=int8_io,
        weights=weights,
        weight_step=weight_step,
    )
    return tuple(found)


@dataclass(frozen=True)
class Stage:
    """A recipe's stage, or the model before all of them (`kind` is "input")."""

    kind: str
    #: Share of the test samples that are classified rightly after it.
    accuracy: float
    macs: int
    parameters: int
    warnings: tuple[str, ...]


def compress(
    model: Path,
    *,
    data: Path,
    recipe: Path,
    out: Path,
    folder: Path | None = None,
    resume: bool = False,
    seed: int | None = None,
    epochs_scale: float = 1.0,
    pixels: Literal["centered", "unit", "raw"] = "centered",
    limit: int | None = None,
    report: Callable[[str], object] | None = None,
) -> list[Stage]:
    """Compresses a float ONNX model as a recipe (a `.toml` file, docs/methods/recipes.md) says, into `out`.

    `data` is a dataset: a folder or an `.npz` file. `report` is told of stages and epochs. The other options are those of
    `kinglet compress`. Ctrl-C stops it after the step in hand; `resume=True` goes on with the same result as if it had never
    stopped.

    Raises :class:`Error` with the recipe's line when a stage fails.
    """
    try:
        with open(recipe, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise Error(f"cannot read the recipe {os.fspath(recipe)}: {error.strerror}") from error
    stages = _kinglet.compress(
        model,
        out,
        data=data,
        text=text,
        name=os.fspath(recipe),
        folder=folder,
        resume=resume,
        seed=seed,
        epochs_scale=epochs_scale,
        pixels=pixels,
        limit=limit,
        report=report,
    )
    return [Stage(kind, accuracy, macs, parameters, tuple(w)) for kind, accuracy, macs, parameters, w in stages]


def _shapes(shapes: Shapes | None) -> list[tuple[str, list[int]]]:
    return [(name, list(shape)) for name, shape in (shapes or {}).items()]


def _array(name: str, x: Any) -> tuple[str, str, list[int], bytes]:
    array = np.asarray(x)
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    return name, str(array.dtype), list(array.shape), array.tobytes()
