from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy
from numpy.typing import ArrayLike

from ._cost import Cost, CostResult

__all__ = ["Pruner", "TorchPruner", "lamp", "measured"]

_Arrays = dict[str, numpy.ndarray[Any, Any]]

PART: float

class Pruner:
    def __init__(
        self,
        cost: Cost,
        *,
        target: float,
        steps: int,
        keep: float = 0.01,
        layers: Collection[str] | None = None,
    ) -> None: ...
    @property
    def masks(self) -> _Arrays: ...
    @property
    def done(self) -> bool: ...
    @property
    def result(self) -> CostResult | None: ...
    @property
    def goal(self) -> float | None: ...
    def step(
        self, weights: Mapping[str, ArrayLike], importance: Mapping[str, ArrayLike] | None = None
    ) -> _Arrays: ...

class TorchPruner:
    # A module and an optimizer of PyTorch, which need not be installed.
    def __init__(
        self,
        module: Any,
        optimizer: Any,
        cost: Cost,
        *,
        target: float,
        steps: int,
        keep: float = 0.01,
        names: Mapping[str, str] | None = None,
    ) -> None: ...
    @property
    def masks(self) -> _Arrays: ...
    @property
    def done(self) -> bool: ...
    @property
    def result(self) -> CostResult | None: ...
    def step(self, loss: Callable[[], Any] | None = None) -> None: ...
    def detach(self) -> None: ...

def lamp(weight: ArrayLike) -> numpy.ndarray[Any, Any]: ...
def measured(
    weights: Mapping[str, ArrayLike],
    loss: Callable[[dict[str, numpy.ndarray[Any, Any]]], float],
    *,
    shares: Collection[float] = (0.9, 0.75, 0.5, 0.25, 0.1),
) -> _Arrays: ...
