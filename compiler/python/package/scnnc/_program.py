"""Programs: compiled, loaded, saved, run."""

import json
import os

from . import _native
from ._calls import Listener, arrays, calibration, model as model_source, words
from ._machine import Machine, chosen
from ._report import Report


class Coverage(dict):
    """What of a model would run where: the fields of ``scnnc check --json``.

    ``verdict`` is ``"machine"``, ``"partly"``, ``"host"`` or ``"refused"``.
    """

    @property
    def verdict(self):
        """Where the model would run, in a word."""
        return self["verdict"]

    @property
    def problems(self):
        """What runs on the host or is refused, and why: a list of dictionaries."""
        return self["problems"]


class Result:
    """What a run computed and cost."""

    def __init__(self, outputs, report, compared):
        #: Outputs by name, of the model's element types; several samples stand along the first dimension.
        self.outputs = outputs
        #: Cycles, energy and traffic, summed over the samples.
        self.report = report
        #: What was compared: ``images``; with labels ``correct`` and ``float_correct``; with a check ``tensors``,
        #: and with a model ``sqnr_db`` and ``agreeing``.
        self.compared = compared

    @property
    def accuracy(self):
        """The share of images classified as labelled, 0 to 1; None without labels."""
        if "correct" not in self.compared:
            return None
        return self.compared["correct"] / max(self.compared["images"], 1)

    def __repr__(self):
        shapes = {name: tuple(array.shape) for name, array in self.outputs.items()}
        return f"<scnnc.Result outputs {shapes}, {self.report!r}>"


class Program:
    """A program for the machine; ``compile`` and ``load`` make it."""

    def __init__(self):
        raise TypeError("scnnc.compile and scnnc.load make programs")

    @classmethod
    def _of(cls, native):
        program = cls.__new__(cls)
        program._native = native
        return program

    def run(self, x=None, *, timing="exact", check=False, labels=None, samples=None, progress=None):
        """Runs the program in the simulator.

        ``x`` is an array for the only input, or a dictionary of arrays by input; the first dimension may hold any
        number of samples. Without it a compiled model runs on seeded noise. ``timing`` is ``"exact"`` or ``"fast"``
        (steps and barriers alone, a lower bound). ``check`` compares every tensor with the integer interpreter and the
        outputs with the float model, of a program without its model the tensors alone; ``labels`` has the class of each image.

        Returns a Result. Raises RefusedError for inputs that do not fit and CheckError for a check that does not hold.
        """
        with Listener(progress) as listener:
            inputs = arrays(x)
            labels = None if labels is None else [int(label) for label in labels]
            outputs, report, compared = self._native.run(
                inputs, timing, check, labels, samples, listener
            )
        return Result(outputs, Report._of(report), compared)

    def to_bytes(self):
        """The program file."""
        return self._native.to_bytes()

    def save(self, path):
        """Writes the program file: to a temporary beside it, then renamed."""
        path = os.fspath(path)
        temporary = f"{path}.{os.getpid()}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(self.to_bytes())
            os.replace(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.remove(temporary)
            raise

    def disassemble(self, layer=None, *, data=True):
        """The assembly text: of one layer, or of the program; without ``data`` its constants are left out.

        Raises RefusedError for a layer that there is not.
        """
        return self._native.disassemble(layer, data)

    @property
    def inputs(self):
        """The inputs: a list of (name, element type, extents)."""
        return self._native.inputs()

    @property
    def outputs(self):
        """The outputs: a list of (name, element type, extents)."""
        return self._native.outputs()

    @property
    def layers(self):
        """The names of the layers on the array, in their order."""
        return self._native.layers()

    @property
    def machine(self):
        """The machine that it was compiled for."""
        return Machine._of(self._native.machine())

    @property
    def model(self):
        """The name of the model."""
        return self._native.model

    def __repr__(self):
        instructions, segments = self._native.counts()
        return (
            f"<scnnc.Program {self.model} for {self.machine.name}: {len(self.layers)} layers, "
            f"{instructions} instructions, {segments} host segments>"
        )


def compile(model, *, machine=None, calibrate=None, progress=None, **options):
    """Compiles a model.

    ``model`` is the path of an ONNX file, its bytes, or an ``onnx.ModelProto``; external data of the latter two are
    looked for in the working directory. ``machine`` is a preset's name, the path of a YAML file, or a Machine.
    ``calibrate`` has the inputs to find activation ranges on: a path as ``--calibrate`` takes it, an array
    ``[N, ...]``, or a dictionary of arrays by input; without it they are found on seeded noise, with a warning.
    ``options`` are those of ``scnnc compile``.

    Returns a Program. Raises RefusedError for a model that cannot be compiled and UsageError for wrong options.
    """
    native_machine, machine_words = chosen(machine)
    inputs = calibration(calibrate, options)
    with Listener(progress) as listener:
        return Program._of(
            _native.compile(
                model_source(model), machine_words + words(options), native_machine, inputs, listener
            )
        )


def load(program, *, host=None, host_library=None):
    """Reads a program file, given as a path or as bytes, and verifies it.

    ``host`` and ``host_library`` say what runs its host segments, as ``--host`` and ``--host-library`` do. Raises
    RefusedError for bytes that are no well-formed program.
    """
    name, data = "program", None
    if isinstance(program, (str, os.PathLike)):
        name = os.fspath(program)
    else:
        data = bytes(program)
    options = words({"host": host, "host_library": host_library})
    with Listener(None) as listener:
        return Program._of(_native.load(name, data, options, listener))


def check(model, *, machine=None, **options):
    """Tells what of a model would run where; nothing is run or written.

    ``model`` and ``machine`` are as in ``compile``; ``options`` are those of ``scnnc check``. Returns a Coverage; a
    model that is refused is a result, too.
    """
    native_machine, machine_words = chosen(machine)
    with Listener(None) as listener:
        text = _native.check(
            model_source(model), machine_words + words(options), native_machine, listener
        )
    return Coverage(json.loads(text))
