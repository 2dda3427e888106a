"""The native half: tensors are bytes here."""

from collections.abc import Callable
from os import PathLike
from typing import final

__all__ = ["Compiled", "Session", "compile", "compress", "quantize"]

_Tensor = tuple[str, str, list[int], float, int, str | None]
_Stage = tuple[str, float, int, int, list[str]]

@final
class Session:
    def __new__(cls, plan: bytes) -> Session: ...
    def inputs(self) -> list[_Tensor]: ...
    def outputs(self) -> list[_Tensor]: ...
    def arena_bytes(self) -> int: ...
    def plan_bytes(self) -> int: ...
    def reset(self) -> None: ...
    def run(
        self, count: int, inputs: list[tuple[int, bytes]], states: list[tuple[int, bytes]]
    ) -> list[bytearray]: ...

@final
class Compiled:
    @property
    def arena_bytes(self) -> int: ...
    @property
    def flash_bytes(self) -> int: ...
    @property
    def macs(self) -> int: ...
    @property
    def instructions(self) -> int | None: ...
    @property
    def stack_bytes(self) -> int | None: ...
    @property
    def peak_layer(self) -> str: ...
    @property
    def warnings(self) -> list[str]: ...
    def file(self) -> bytes: ...
    def save(self, path: str | PathLike[str]) -> None: ...

def compile(
    path: str | PathLike[str],
    *,
    target: str,
    weights: str,
    tile: str,
    sparse: str,
    shapes: list[tuple[str, list[int]]],
    states: list[tuple[str, str]],
    int8_io: bool,
    strip: bool,
    arena_limit: int | None,
    decoding: float | None,
) -> Compiled: ...
def quantize(
    model: str | PathLike[str],
    output: str | PathLike[str],
    *,
    arrays: list[tuple[str, str, list[int], bytes]],
    files: list[str],
    shapes: list[tuple[str, list[int]]],
    percentile: float | None,
    int8_io: bool,
    weights: str,
    weight_step: float,
) -> list[str]: ...
def compress(
    model: str | PathLike[str],
    output: str | PathLike[str],
    *,
    data: str | PathLike[str],
    text: str,
    name: str,
    folder: str | PathLike[str] | None,
    resume: bool,
    seed: int | None,
    epochs_scale: float,
    pixels: str,
    limit: int | None,
    report: Callable[[str], object] | None,
) -> list[_Stage]: ...
