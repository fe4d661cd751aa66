from collections.abc import Sequence
from os import PathLike
from typing import Any, Literal, TypeAlias, TypedDict

import numpy
from typing_extensions import Unpack

from ._calls import _Inputs, _Model, _Progress
from ._machine import Machine
from ._report import Report

_Path: TypeAlias = str | PathLike[str]

class _CompileOptions(TypedDict, total=False):
    set: dict[str, Any] | str | Sequence[str]
    mapping: Literal["paper", "search"]
    objective: Literal["cycles", "energy", "edp"]
    mapping_file: _Path
    save_mapping: _Path
    dim: dict[str, int] | str | Sequence[str]
    shape: dict[str, Sequence[int]] | str | Sequence[str]
    input_value: dict[str, Any] | str | Sequence[str]
    calibration_samples: int
    calibration_method: str
    calibration: _Path
    save_calibration: _Path
    bits: int | str | dict[str, int | str] | Sequence[int | str]
    headroom: float
    ranges: Literal["proven", "calibrated"]
    sum_margin: float
    prune: float
    prune_file: _Path
    prune_budget: str
    prune_pattern: str
    calibration_labels: _Path
    save_densities: _Path
    save_onnx: _Path
    seed: int
    allow_host_only: bool
    no_host: bool
    host: Literal["tract", "onnxruntime", "auto"]
    host_library: _Path
    dump_ir: _Path
    verify_passes: bool
    skip_pass: str | Sequence[str]

class _CheckOptions(TypedDict, total=False):
    set: dict[str, Any] | str | Sequence[str]
    dim: dict[str, int] | str | Sequence[str]
    shape: dict[str, Sequence[int]] | str | Sequence[str]
    input_value: dict[str, Any] | str | Sequence[str]
    host: Literal["tract", "onnxruntime", "auto"]
    host_library: _Path

class Coverage(dict[str, Any]):
    @property
    def verdict(self) -> Literal["machine", "partly", "host", "refused"]: ...
    @property
    def problems(self) -> list[dict[str, Any]]: ...

class Result:
    outputs: dict[str, numpy.ndarray[Any, Any]]
    report: Report
    compared: dict[str, Any]
    def __init__(
        self,
        outputs: dict[str, numpy.ndarray[Any, Any]],
        report: Report,
        compared: dict[str, Any],
    ) -> None: ...
    @property
    def accuracy(self) -> float | None: ...

class Program:
    def __init__(self) -> None: ...
    def run(
        self,
        x: _Inputs | None = None,
        *,
        timing: Literal["exact", "fast"] = "exact",
        check: bool = False,
        labels: Sequence[int] | numpy.ndarray[Any, Any] | None = None,
        samples: int | None = None,
        progress: _Progress = None,
    ) -> Result: ...
    def to_bytes(self) -> bytes: ...
    def save(self, path: _Path) -> None: ...
    def disassemble(self, layer: str | None = None, *, data: bool = True) -> str: ...
    @property
    def inputs(self) -> list[tuple[str, str, list[int]]]: ...
    @property
    def outputs(self) -> list[tuple[str, str, list[int]]]: ...
    @property
    def layers(self) -> list[str]: ...
    @property
    def machine(self) -> Machine: ...
    @property
    def model(self) -> str: ...

def compile(
    model: _Model,
    *,
    machine: _Path | Machine | None = None,
    calibrate: _Path | _Inputs | None = None,
    progress: _Progress = None,
    **options: Unpack[_CompileOptions],
) -> Program: ...
def load(
    program: _Path | bytes | bytearray | memoryview,
    *,
    host: Literal["tract", "onnxruntime", "auto"] | None = None,
    host_library: _Path | None = None,
) -> Program: ...
def check(
    model: _Model,
    *,
    machine: _Path | Machine | None = None,
    **options: Unpack[_CheckOptions],
) -> Coverage: ...
