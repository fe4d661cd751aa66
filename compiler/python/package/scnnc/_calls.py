"""What the calls into the native half have in common: options, models, arrays, progress, warnings."""

import os
import sys
import warnings

from ._errors import UsageError, Warning


def words(options):
    """The words of the command line for keyword options."""
    found = []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            found.append(option)
        elif isinstance(value, dict):
            found += [f"{option}={key}={_word(each)}" for key, each in value.items()]
        elif isinstance(value, (list, tuple, set)):
            found += [f"{option}={_word(each)}" for each in value]
        else:
            found.append(f"{option}={_word(value)}")
    return found


def _word(value):
    if isinstance(value, (list, tuple)):
        return ",".join(_word(each) for each in value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return str(value)


def model(source):
    """A path, or a name and bytes, of a path, bytes or an ``onnx.ModelProto``."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return ("model", bytes(source))
    if hasattr(source, "SerializeToString"):
        return ("model", source.SerializeToString())
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    raise TypeError(f"a model is a path, bytes or an onnx.ModelProto, not {type(source).__name__}")


def arrays(values):
    """Arrays by name: of a dictionary, or of one array without a name."""
    if values is None:
        return None
    if isinstance(values, dict):
        return {name: _array(value) for name, value in values.items()}
    return {"": _array(values)}


def calibration(source, options):
    """The arrays to calibrate with; a path becomes the option ``calibrate`` instead."""
    if isinstance(source, (str, os.PathLike)):
        options["calibrate"] = source
        return None
    return arrays(source)


def _array(value):
    import numpy

    array = numpy.asarray(value)
    if array.dtype.name == "bfloat16":
        array = array.astype(numpy.float32)
    # Arrays of the other byte order, and platform integers, have a form that every model's type has.
    return numpy.asarray(array, dtype=array.dtype.newbyteorder("="))


class Listener:
    """Receives stages and warnings of a call.

    ``progress`` is None or False for silence, True for a line on standard error, or a function of
    ``(stage, number, count, done, length)``: ``done`` of ``length`` samples or points, else of its layers; ``length`` is 0 where
    neither is known.
    """

    def __init__(self, progress):
        if progress is not None and not isinstance(progress, bool) and not callable(progress):
            raise UsageError("`progress` is True, False or a function")
        self._progress = _line if progress is True else progress or None
        self._stage = ("", 0, 0)
        self._drawn = progress is True

    def stage(self, number, count, name):
        self._stage = (name, number, count)
        self.reached(0, 0)

    def reached(self, done, length):
        if self._progress is not None:
            self._progress(*self._stage, done, length)

    def warning(self, text):
        # The line of the user, above the function that calls the native one.
        warnings.warn(text, Warning, stacklevel=3)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _line(stage, number, count, done, length):
    counted = f" {done}/{length}" if length else ""
    sys.stderr.write(f"\r\x1b[K[{number}/{count}] {stage}{counted}")
    sys.stderr.flush()
