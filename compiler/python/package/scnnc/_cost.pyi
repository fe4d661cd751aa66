from collections.abc import Mapping
from typing import Any, TypedDict

import numpy
from numpy.typing import ArrayLike
from typing_extensions import Unpack

from ._calls import _Inputs, _Model, _Progress
from ._machine import Machine
from ._program import _CompileOptions, _Path

class _Layer(TypedDict):
    name: str
    tensor: str
    shape: list[int]
    density: float
    layers: list[str]

class _Marginal(TypedDict):
    name: str
    zeros: int
    cycles_per_zero: float
    pj_per_zero: float
    products_per_zero: numpy.ndarray[Any, Any]

class Cost:
    def __init__(
        self,
        model: _Model,
        *,
        machine: _Path | Machine | None = None,
        calibrate: _Path | _Inputs | None = None,
        progress: _Progress = None,
        **options: Unpack[_CompileOptions],
    ) -> None: ...
    @property
    def layers(self) -> list[_Layer]: ...
    @property
    def left_out(self) -> list[str]: ...
    @property
    def activations(self) -> dict[str, int]: ...
    def observe(self, values: Mapping[str, ArrayLike]) -> None: ...
    def products(self, name: str) -> numpy.ndarray[Any, Any]: ...
    def __call__(self, weights: Mapping[str, ArrayLike] | None = None) -> CostResult: ...

class CostResult:
    cycles: dict[str, int]
    energy_pj: dict[str, float]
    products: dict[str, int]
    def __init__(self) -> None: ...
    @property
    def total_cycles(self) -> int: ...
    @property
    def total_energy_pj(self) -> float: ...
    def marginal(
        self, part: float = 0.02, *, random: bool = False, seed: int = 1
    ) -> list[_Marginal]: ...
