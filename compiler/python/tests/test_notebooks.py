"""The notebooks run from a checkout, and are kept with what they print, light enough to read on a code host."""

import json
import os
import pathlib
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

#: Bytes of a notebook with its outputs.
MOST_BYTES = 200_000


def test_there_is_a_notebook_for_each_of_the_three():
    assert [path.stem for path in NOTEBOOKS] == ["architect", "compiler", "designer"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_with_its_outputs(path):
    text = path.read_text()
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert len(text) < MOST_BYTES
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "cells have run in order"
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert "error" not in kinds and {"display_data", "execute_result"} <= kinds
    # What is kept is of no particular machine.
    outputs = json.dumps([cell["outputs"] for cell in cells])
    assert not any(word in outputs for word in ["/home/", "/root/", "/tmp/", "site-packages", "Traceback"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for package in ["ipykernel", "matplotlib", "pandas"] + ["sklearn"] * (path.stem == "designer"):
        pytest.importorskip(package)
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(FOLDER)}}
    # The kernel of this Python, whatever kernels the person has installed.
    manager = nbclient.NotebookClient(notebook, timeout=900, resources=resources).create_kernel_manager()
    manager.kernel_spec.argv[0] = sys.executable
    client = nbclient.NotebookClient(notebook, km=manager, timeout=900, resources=resources)
    client.execute(env={**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"})
