"""The zoo: real architectures with synthetic weights of published densities."""

import json

from . import _native
from ._calls import Listener


def list():
    """The networks: a list of dictionaries with ``name``, ``layers``, ``weights``, ``multiplies`` and ``source``."""
    return json.loads(_native.zoo_list())


def make(name, *, seed=1, density=None):
    """Makes a network: the bytes of its ONNX file, and the image ``[1, C, H, W]`` that its densities are set on.

    ``density`` is a pair (weights, activations), 0 to 1 each, for all layers; the published ones otherwise. Raises
    UsageError for a network that there is not.
    """
    with Listener(None) as listener:
        return _native.zoo_make(name, seed, density, listener)
