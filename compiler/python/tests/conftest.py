"""What the tests have in common: the repository's small models, and the command of the same wheel."""

import os
import pathlib
import subprocess
import sys

# numpy's products add up in another order on another number of threads, and a training ends elsewhere.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import numpy
import pytest

MODELS = pathlib.Path(__file__).parents[3] / "models"


class Command:
    """The command line of the installed package."""

    def __call__(self, *words, status=0, cwd=None):
        words = [sys.executable, "-m", "scnnc", *map(str, words)]
        done = subprocess.run(words, capture_output=True, text=True, cwd=cwd)
        assert done.returncode == status, f"{words}: {done.stdout}{done.stderr}"
        return done


@pytest.fixture(scope="session")
def scnnc_command():
    return Command()


@pytest.fixture(scope="session")
def tiny():
    return MODELS / "tiny.onnx"


@pytest.fixture(scope="session")
def lenet():
    return MODELS / "lenet5.onnx"


@pytest.fixture(scope="session")
def digits():
    """Images `[N, 1, 28, 28]` and their labels."""
    with numpy.load(MODELS / "lenet5-digits.npz") as arrays:
        names = [name for name in arrays.files if name != "labels"]
        assert len(names) == 1
        return arrays[names[0]], arrays["labels"]
