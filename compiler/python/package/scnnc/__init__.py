"""Compile ONNX models for SCNN, the accelerator for compressed-sparse convolutional networks, and simulate them.

    import scnnc
    program = scnnc.compile("model.onnx", machine="scnn", calibrate=images)
    result = program.run(images)
    result.outputs["scores"]        # numpy, to the bit what the machine would compute
    result.report.totals            # cycles, energy, traffic: a DataFrame where pandas is installed

Options are those of the command line with underscores for dashes: ``--prune 0.4`` is ``prune=0.4``, ``--no-host`` is
``no_host=True``, an option that may be repeated takes a list, and one of the form NAME=VALUE a dictionary. Results are
those of the same command to the byte. Long calls release the interpreter's lock and end on Ctrl-C.
"""

from . import _native, prune, zoo
from ._cost import Cost, CostResult
from ._errors import CheckError, Error, InternalError, RefusedError, UsageError, Warning
from ._machine import Machine
from ._program import Coverage, Program, Result, check, compile, load
from ._report import Report, read_reports
from ._studies import Sweep, advise, sensitivity, sweep

__version__ = _native.__version__

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


def explain(word):
    """The explanation of an error's code (``"E0101"``) or of a term of the glossary (``"fragmentation"``).

    Raises UsageError for a word that is neither.
    """
    return _native.explain(word)
