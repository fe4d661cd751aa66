import builtins
from typing import Any

import numpy

def list() -> builtins.list[dict[str, Any]]: ...
def make(
    name: str, *, seed: int = 1, density: tuple[float, float] | None = None
) -> tuple[bytes, numpy.ndarray[Any, Any]]: ...
