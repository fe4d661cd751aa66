from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, TypeAlias

from typing_extensions import Unpack

from ._calls import _Inputs, _Model, _Progress
from ._machine import Machine
from ._program import _CompileOptions

_Path: TypeAlias = str | PathLike[str]

def sensitivity(
    model: _Model,
    *,
    machine: _Path | Machine | None = None,
    calibrate: _Path | _Inputs | None = None,
    densities: Sequence[float] | None = None,
    layers: str | Sequence[str] | None = None,
    samples: int | None = None,
    progress: _Progress = None,
    **options: Unpack[_CompileOptions],
) -> dict[str, Any]: ...
def advise(
    model: _Model | Sequence[_Model],
    x: _Path | _Inputs | None = None,
    *,
    machine: _Path | Machine | None = None,
    samples: int | None = None,
    only: str | Sequence[str] | None = None,
    measure: bool = False,
    progress: _Progress = None,
    **options: Unpack[_CompileOptions],
) -> dict[str, Any]: ...

class Sweep:
    # DataFrames where pandas is installed, lists of dictionaries elsewhere.
    def __init__(self) -> None: ...
    @property
    def points(self) -> Any: ...
    @property
    def layers(self) -> Any: ...
    def page(self, path: _Path) -> None: ...

def sweep(
    specification: _Path | Mapping[str, Any],
    *,
    output: _Path | None = None,
    shard: str | None = None,
    progress: _Progress = None,
) -> Sweep: ...
