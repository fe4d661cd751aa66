"""Exceptions: a class for each way in which the command line fails, with its diagnostics in fields."""

import json


class Error(Exception):
    """What scnnc raises.

    ``code``, ``place``, ``reason`` and ``remedy`` are those of the first diagnostic, or None; ``diagnostics`` has all
    of them, a dictionary each. The text is what a log of the command line has.
    """

    def __init__(self, text, diagnostics="[]"):
        super().__init__(text)
        self.diagnostics = json.loads(diagnostics)
        first = self.diagnostics[0] if self.diagnostics else {}
        self.code = first.get("code")
        self.place = first.get("place")
        self.reason = first.get("reason", text)
        self.remedy = first.get("remedy")

    def __reduce__(self):
        return type(self), (str(self), json.dumps(self.diagnostics))


class RefusedError(Error):
    """A model, program, machine or input was refused: exit status 1 of the command."""


class UsageError(Error, ValueError):
    """An option is unknown or has a value that it cannot have: exit status 2 of the command."""


class CheckError(Error):
    """A check that was asked for does not hold: exit status 3 of the command."""


class InternalError(Error):
    """A bug of scnnc, which is worth a report."""


class Warning(UserWarning):
    """What scnnc warns of, as of ranges that were calibrated on noise."""
