"""Machines."""

import json
import os

from . import _native


class Machine:
    """A machine: a preset or a YAML file, with some parameters changed.

        scnnc.Machine("scnn", **{"pe.banks": 64, "weights.fifo_vectors": 100})

    It is the machine of ``--machine scnn --set pe.banks=64 --set weights.fifo_vectors=100``. ``scnnc machine show scnn``
    lists the parameters with their units and what is allowed. Raises RefusedError for a
    machine that there is not, an unknown parameter, or one out of its range.
    """

    def __init__(self, base="scnn", /, **parameters):
        self._native = _native.Machine(os.fspath(base), [f"{path}={_value(value)}" for path, value in parameters.items()])

    @classmethod
    def _of(cls, native):
        machine = cls.__new__(cls)
        machine._native = native
        return machine

    @staticmethod
    def presets():
        """The names of the presets."""
        return _native.Machine.presets()

    @property
    def name(self):
        """The name, as reports have it."""
        return self._native.name

    def yaml(self):
        """The whole description as a machine file, for ``--machine``."""
        return self._native.yaml()

    def parameters(self):
        """Every parameter: a list of dictionaries with ``parameter``, ``value``, ``unit``, ``allowed``, ``meaning``."""
        return json.loads(self._native.parameters())

    def __getitem__(self, path):
        """The value of a parameter, as text: ``machine["pe.banks"]``."""
        for parameter in self.parameters():
            if parameter["parameter"] == path:
                return parameter["value"]
        raise KeyError(path)

    def __eq__(self, other):
        if not isinstance(other, Machine):
            return NotImplemented
        return self.yaml() == other.yaml()

    def __hash__(self):
        return hash(self.yaml())

    def __repr__(self):
        return f"<scnnc.Machine {self.name}>"


def _value(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def chosen(machine):
    """A machine for the native half, and the words of the command line, of which one is empty."""
    if machine is None:
        return None, []
    if isinstance(machine, Machine):
        return machine._native, []
    return None, ["--machine=" + os.fspath(machine)]
