"""Studies: what many compilations and runs of a model tell together."""

import json
import os

from . import _native
from ._calls import Listener, arrays, calibration, model as model_source, words
from ._machine import chosen
from ._report import _frame


def sensitivity(
    model,
    *,
    machine=None,
    calibrate=None,
    densities=None,
    layers=None,
    samples=None,
    progress=None,
    **options,
):
    """Measures what pruning each layer alone costs in accuracy and saves in cycles and energy.

    ``model``, ``machine``, ``calibrate`` and ``options`` are as in ``compile``. ``densities`` are the shares of non-zero
    weights to prune each layer to, ``layers`` the layers, and ``samples`` how many of the calibration samples to execute
    at each point.

    Returns the fields of ``scnnc sensitivity --json``: ``points`` (a list of dictionaries, for a DataFrame) and
    ``unpruned``, with cycles, energy in picojoules and the ratio of signal to noise in decibels. Raises as ``compile``
    does.
    """
    if densities is not None:
        options["densities"] = ",".join(str(density) for density in densities)
    native_machine, machine_words = chosen(machine)
    inputs = calibration(calibrate, options)
    options.update(layer=layers, samples=samples)
    with Listener(progress) as listener:
        text = _native.sensitivity(
            model_source(model), machine_words + words(options), native_machine, inputs, listener
        )
    return json.loads(text)


def advise(
    model,
    x=None,
    *,
    machine=None,
    samples=None,
    only=None,
    measure=False,
    progress=None,
    **options,
):
    """Predicts what one step up and one step down of every parameter of the machine would gain or cost, best first.

    ``model``, ``machine`` and ``options`` are as in ``compile``; a list of models is judged together, each with the same
    weight. ``x`` has the inputs of a single model: a path as ``--input`` takes it, an array, or a dictionary of arrays by
    input; without it the model runs on seeded noise. At most ``samples`` samples are used, one by default. ``only`` names the
    beginnings of the parameters to look at, as ``"pe."``. With ``measure`` every change is run, not only those of small networks.

    Returns the fields of ``scnnc advise --json``: ``steps`` (a list of dictionaries, for a DataFrame) with ``parameter``,
    ``from``, ``to``, ``gain_percent`` and ``area_mm2``, and ``models`` as they are. Raises as ``compile`` does.
    """
    models = model if isinstance(model, (list, tuple)) else [model]
    native_machine, machine_words = chosen(machine)
    inputs = None
    if isinstance(x, (str, os.PathLike)):
        options["input"] = x
    else:
        inputs = arrays(x)
    options.update(samples=samples, only=only, measure=measure)
    sources = [model_source(each) for each in models]
    with Listener(progress) as listener:
        text = _native.advise(
            sources, machine_words + words(options), native_machine, inputs, listener
        )
    return json.loads(text)


class Sweep:
    """The points of a sweep, measured; ``sweep`` makes it."""

    def __init__(self):
        raise TypeError("scnnc.sweep makes sweeps")

    @classmethod
    def _of(cls, native):
        sweep = cls.__new__(cls)
        sweep._native = native
        return sweep

    @property
    def points(self):
        """A row a point, in the columns of ``points.csv``: a DataFrame, or a list of dictionaries without pandas.

        A point that failed has ``error`` and ``message`` in the place of measures.
        """
        return _frame(self._native.points())

    @property
    def layers(self):
        """A row a layer of every point that was measured, in the columns of ``layers.csv``."""
        return _frame(self._native.layers())

    def page(self, path):
        """Writes the page of ``scnnc sweep report -o``: one file of HTML that needs no network."""
        with open(os.fspath(path), "w", encoding="utf-8", newline="\n") as file:
            file.write(self._native.page())

    def __repr__(self):
        points = self._native.points()
        failed = sum(point["error"] is not None for point in points)
        return f"<scnnc.Sweep {len(points)} points, {failed} failed>"


def sweep(specification, *, output=None, shard=None, progress=None):
    """Measures many machines, mappings, widths and models.

    ``specification`` is the path of a YAML file, or a dictionary of the same form: ``models`` (files, looked for beside the
    YAML file, or in the working directory), and settings in ``base``, ``grid``, ``list``, ``sample`` and ``where``.
    ``output`` is a folder that gets the files of ``scnnc sweep -o``; points that are finished there are not measured again.
    ``shard`` is a part of the points, as ``"2/8"``.

    Returns a Sweep. Raises RefusedError for a specification that is none; a point that fails is a result.
    """
    if isinstance(specification, (str, os.PathLike)):
        path, text = os.fspath(specification), None
    else:
        path, text = "specification", json.dumps(specification, default=_plain)
    folder = None if output is None else os.fspath(output)
    with Listener(progress) as listener:
        native = _native.sweep(path, text, folder, shard, _native.__file__, listener)
    return Sweep._of(native)


def _plain(value):
    """A value that JSON has no form for: a path, or a number or an array of numpy."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a specification cannot hold {type(value).__name__}")
