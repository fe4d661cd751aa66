from . import prune as prune, zoo as zoo
from ._cost import Cost as Cost, CostResult as CostResult
from ._errors import (
    CheckError as CheckError,
    Error as Error,
    InternalError as InternalError,
    RefusedError as RefusedError,
    UsageError as UsageError,
    Warning as Warning,
)
from ._machine import Machine as Machine
from ._program import (
    Coverage as Coverage,
    Program as Program,
    Result as Result,
    check as check,
    compile as compile,
    load as load,
)
from ._report import Report as Report, read_reports as read_reports
from ._studies import (
    Sweep as Sweep,
    advise as advise,
    sensitivity as sensitivity,
    sweep as sweep,
)

__all__ = [
    "CheckError",
    "Cost",
    "CostResult",
    "Coverage",
    "Error",
    "InternalError",
    "Machine",
    "Program",
    "RefusedError",
    "Report",
    "Result",
    "Sweep",
    "UsageError",
    "Warning",
    "__version__",
    "advise",
    "check",
    "compile",
    "explain",
    "load",
    "prune",
    "read_reports",
    "sensitivity",
    "sweep",
    "zoo",
]

__version__: str

def explain(word: str) -> str: ...
