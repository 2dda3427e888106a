"""Running plans on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinglet import _kinglet
from kinglet._error import Error
from kinglet._make import Plan, compile


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    #: Quantisation: a real is `scale * (q - zero_point)`. 0 for floats.
    scale: float
    zero_point: int
    #: Of an input that keeps its value from run to run: the output that this value is of.
    state_of: str | None

    @property
    def batched(self) -> bool:
        """Whether the leading axis is the model's batch of 1."""
        return self.shape[:1] == (1,)


def _tensor(described: tuple[str, str, list[int], float, int, str | None]) -> Tensor:
    name, dtype, shape, scale, zero_point, state_of = described
    return Tensor(name, np.dtype(dtype), tuple(shape), scale, zero_point, state_of)


class Model:
    """A plan ready to run. Threads that share one take turns; different models run at the same time."""

    #: What :meth:`run` takes and gives, in the plan's order.
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def __init__(self, plan: bytes) -> None:
        """Checks the plan and takes all the memory that it will need. :func:`load` is the usual way."""
        self._session = _kinglet.Session(bytes(plan))
        self.inputs = tuple(map(_tensor, self._session.inputs()))
        self.outputs = tuple(map(_tensor, self._session.outputs()))

    def __repr__(self) -> str:
        def form(tensors: tuple[Tensor, ...]) -> str:
            return ", ".join(f"{t.name}: {t.dtype}{list(t.shape)}" for t in tensors)

        return f"<kinglet.Model ({form(self.inputs)}) -> ({form(self.outputs)})>"

    @property
    def arena_bytes(self) -> int:
        """Bytes of memory that its tensors take."""
        return self._session.arena_bytes()

    @property
    def plan_bytes(self) -> int:
        """Bytes of the plan as a device holds it."""
        return self._session.plan_bytes()

    def reset(self) -> None:
        """Sets the states that it carries from run to run to zeroes, as they are in a model just loaded."""
        self._session.reset()

    @overload
    def run(self, x: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]: ...
    @overload
    def run(self, x: ArrayLike) -> NDArray[Any]: ...
    def run(self, x: Any) -> Any:
        """Runs the model on one sample or on several.

        An array is for models with one input and one output beside their states, and gives an array. A mapping has arrays by the
        inputs' names, and gives one with all outputs by theirs. An array of the input's shape, perhaps without the batch's 1, is one
        sample. With one leading axis more, or a longer one in place of the batch's 1, it is so many, and the outputs have that
        axis, too.

        States begin with zeroes and are carried from sample to sample and from call to call; one that is given, without an axis
        of samples, begins with what is given. Elements are not converted between integers and floats, since only the caller
        knows the scale; 64-bit floats become 32-bit ones.
        """
        if isinstance(x, Mapping):
            return self._run(x)
        takes = [t for t in self.inputs if t.state_of is None]
        states = {t.state_of for t in self.inputs}
        gives = [t for t in self.outputs if t.name not in states] or list(self.outputs)
        if len(takes) != 1 or len(gives) != 1:
            raise Error(
                f"the model has inputs {_names(takes)} and outputs {_names(gives)}: run it with a mapping of arrays by name"
            )
        return self._run({takes[0].name: x})[gives[0].name]

    def _run(self, arrays: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        unknown = [name for name in arrays if name not in {t.name for t in self.inputs}]
        if unknown:
            raise Error(f"there is no input `{unknown[0]}`: the model takes {_names(self.inputs)}")
        inputs: list[tuple[int, bytes]] = []
        states: list[tuple[int, bytes]] = []
        count: int | None = None
        for index, tensor in enumerate(self.inputs):
            if tensor.name not in arrays:
                if tensor.state_of is None:
                    raise Error(f"input `{tensor.name}` is missing: the model takes {_names(self.inputs)}")
                continue
            array = _fit(arrays[tensor.name], tensor)
            if tensor.state_of is not None:
                if array.shape != tensor.shape:
                    raise Error(_shapes(array, tensor))
                states.append((index, array.tobytes()))
                continue
            samples = _samples(array, tensor)
            inputs.append((index, array.tobytes()))
            if inputs[1:] and samples != count:
                raise Error(f"input `{tensor.name}` has {_several(samples)}, `{self.inputs[inputs[0][0]].name}` {_several(count)}")
            count = samples
        found = self._session.run(1 if count is None else count, inputs, states)
        return {
            tensor.name: _shaped(data, tensor, count) for tensor, data in zip(self.outputs, found, strict=True)
        }


def _names(tensors: list[Tensor] | tuple[Tensor, ...]) -> str:
    return ", ".join(f"`{t.name}`" for t in tensors)


def _several(count: int | None) -> str:
    return "no axis of samples" if count is None else f"{count} samples"


def _shapes(array: NDArray[Any], tensor: Tensor) -> str:
    return f"input `{tensor.name}` takes shape {tensor.shape}, {array.shape} was given"


def _fit(x: ArrayLike, tensor: Tensor) -> NDArray[Any]:
    """`x` with the tensor's type, where that loses nothing but a double's precision."""
    array = np.asarray(x)
    if array.dtype.kind != tensor.dtype.kind and array.size:
        raise Error(f"input `{tensor.name}` takes {tensor.dtype}, {array.dtype} was given: convert it first")
    if array.dtype.kind in "iu" and array.dtype != tensor.dtype:
        raise Error(f"input `{tensor.name}` takes {tensor.dtype}, {array.dtype} was given: convert it first")
    array = np.ascontiguousarray(array, dtype=tensor.dtype).reshape(array.shape)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Error(f"input `{tensor.name}` holds NaN or an infinity; inputs must be finite")
    return array


def _samples(array: NDArray[Any], tensor: Tensor) -> int | None:
    """How many samples an array has; `None` for one without an axis for them."""
    if array.shape == tensor.shape or (tensor.batched and array.shape == tensor.shape[1:]):
        return None
    if array.shape[1:] == tensor.shape or (tensor.batched and array.shape[1:] == tensor.shape[1:] and array.ndim):
        return len(array)
    raise Error(f"{_shapes(array, tensor)}; several samples have one leading axis")


def _shaped(data: bytearray, tensor: Tensor, count: int | None) -> NDArray[Any]:
    flat = np.frombuffer(data, dtype=tensor.dtype)
    if count is None:
        return flat.reshape(tensor.shape)
    return flat.reshape((count, *(tensor.shape[1:] if tensor.batched else tensor.shape)))


def load(
    model: str | os.PathLike[str] | bytes | Plan,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    states: Mapping[str, str] | None = None,
) -> Model:
    """A model ready to run on this machine, from a plan (its file, its bytes, or a :class:`Plan`).

    An ONNX or TensorFlow Lite file is compiled for this machine first; `shapes` and `states` are then those of
    :func:`compile`.

    Raises :class:`Error` for what is no plan of this version, or a damaged one.
    """
    if isinstance(model, Plan):
        return Model(model.bytes)
    if isinstance(model, (bytes, bytearray, memoryview)):
        return Model(bytes(model))
    if os.fspath(model).lower().endswith((".onnx", ".tflite")):
        return Model(compile(model, shapes=shapes, states=states).bytes)
    try:
        with open(model, "rb") as file:
            return Model(file.read())
    except OSError as error:
        raise Error(f"cannot read {os.fspath(model)}: {error.strerror}") from error
