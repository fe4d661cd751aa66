"""Long calls: progress, threads, interrupts; reports; types."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import numpy
import pytest

import scnnc


def test_an_import_loads_neither_numpy_nor_pandas():
    code = "import sys, scnnc; print({'numpy', 'pandas', 'onnx'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_progress_goes_to_a_function_and_is_silent_otherwise(lenet, digits, capfd):
    seen = []
    images, _ = digits
    program = scnnc.compile(lenet, calibrate=images[:2], progress=lambda *stage: seen.append(stage))
    names = [stage[0] for stage in seen]
    assert names[0] == "import" and names[-1] == "emit", names
    # Layers, where a stage does not count anything else.
    mapped = {(done, length) for name, _, _, done, length in seen if name == "map" and length}
    assert mapped and all(1 <= done <= length for done, length in mapped), mapped
    seen.clear()
    program.run(images[:3], progress=lambda *stage: seen.append(stage))
    assert seen[-1] == ("simulate", 1, 1, 3, 3)
    assert capfd.readouterr() == ("", "")
    program.run(images[:3], progress=True)
    assert "3/3" in capfd.readouterr().err


def test_an_exception_of_the_progress_ends_the_call(lenet):
    def stop(*_):
        raise KeyError("stop")

    with pytest.raises(KeyError):
        scnnc.compile(lenet, progress=stop)


def test_other_threads_go_on_during_a_call(lenet, digits):
    images, _ = digits
    program = scnnc.compile(lenet, calibrate=images[:4])
    ended, ticks = threading.Event(), []

    def work():
        program.run(images[:60])
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not ended.wait(0.0005):
        ticks.append(time.perf_counter())
    thread.join()
    assert len(ticks) > 5


def test_calls_of_several_threads_have_the_results_of_one(tiny, lenet, digits):
    images, _ = digits
    small = numpy.random.default_rng(1).random([2, 3, 12, 12], dtype=numpy.float32)

    def both(model, x):
        program = scnnc.compile(model, calibrate=x)
        return program.to_bytes(), program.run(x).report.to_json()

    work = [(tiny, small), (lenet, images[:3])] * 3
    alone = [both(*each) for each in work[:2]] * 3
    together = [None] * len(work)

    def fill(index):
        together[index] = both(*work[index])

    threads = [threading.Thread(target=fill, args=(index,)) for index in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


INTERRUPTED = """
import signal, sys, time, numpy, scnnc
# Shells start background jobs with interrupts ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
program = scnnc.compile(sys.argv[1], calibrate=numpy.ones([1, 1, 28, 28], numpy.float32))
images = numpy.random.default_rng(1).random([100000, 1, 28, 28], dtype=numpy.float32)
print("ready", flush=True)
try:
    program.run(images)
except KeyboardInterrupt:
    print(time.time(), flush=True)
    # The interpreter goes on.
    program.run(images[:1])
    print("alive", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="no signals of that kind")
def test_an_interrupt_ends_a_run_and_the_interpreter_goes_on(lenet):
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(lenet)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.5)
    sent = time.time()
    child.send_signal(signal.SIGINT)
    ended = float(child.stdout.readline())
    # A second on a machine that is idle; this one may not be.
    assert ended - sent < 5
    assert child.stdout.readline() == "alive\n"
    assert child.wait() == 0


def test_a_report_is_tables_json_a_page_and_figures(lenet, digits, tmp_path, scnnc_command):
    images, labels = digits
    program = scnnc.compile(lenet, calibrate=images[:4])
    result = program.run(images[:10], labels=labels[:10], check=True)
    assert result.accuracy == 1.0 and result.compared["tensors"] == 40
    report = result.report
    (tmp_path / "r.json").write_text(report.to_json())
    scnnc_command("report", tmp_path / "r.json", "-o", tmp_path / "page.html", "--csv", tmp_path / "r.csv")
    (again,) = scnnc.read_reports(tmp_path / "r.json")
    again.page(tmp_path / "ours.html")
    assert (tmp_path / "ours.html").read_bytes() == (tmp_path / "page.html").read_bytes()
    assert scnnc_command("report", tmp_path / "r.json").stdout == str(report)
    assert again.to_dict().keys() == report.to_dict().keys()
    assert list(again.layers["total_cycles"]) == list(report.layers["total_cycles"])
    assert report.to_dict()["totals"]["cycles"]["total"] == int(report.totals["total_cycles"][0])
    assert sorted(report.figures()) == ["cycles", "energy", "speedup"]
    assert "<svg" in report._repr_html_()

    pandas = pytest.importorskip("pandas")
    csv = pandas.read_csv(tmp_path / "r.csv")
    assert list(report.layers["total_cycles"]) == list(csv["total_cycles"])
    assert report.layers["total_cycles"].sum() == report.totals["total_cycles"][0]


def test_without_pandas_tables_are_lists_of_dictionaries(lenet, digits, monkeypatch):
    images, _ = digits
    report = scnnc.compile(lenet, calibrate=images[:1]).run(images[:1]).report
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert isinstance(report.layers, list) and len(report.layers) == 4
    assert report.totals[0]["total_cycles"] == sum(layer["total_cycles"] for layer in report.layers)


def test_arrays_of_any_order_and_width_are_the_same_input(lenet, digits):
    images = digits[0][:3]
    program = scnnc.compile(lenet, calibrate=images)
    reference = program.run(images).outputs["logits"]
    others = [
        numpy.asfortranarray(images),
        images.astype(numpy.float64),
        images.astype(">f4"),
        numpy.repeat(images, 2, axis=0)[::2],
        images.tolist(),
        {"image": images},
    ]
    for other in others:
        assert numpy.array_equal(program.run(other).outputs["logits"], reference)


def test_the_stubs_are_those_of_the_module():
    pytest.importorskip("mypy.stubtest")
    command = [sys.executable, "-m", "mypy.stubtest", "scnnc"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_first_lines_of_the_readme_run():
    folder = pathlib.Path(__file__).parents[1]
    text = (folder / "README.md").read_text(encoding="utf-8")
    lines = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    # Without pandas, as in a new environment.
    code = "import sys; sys.modules['pandas'] = None\n" + lines
    said = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=folder.parents[1])
    assert said.startswith("0.99 (100, 10)\nlenet5 on scnn"), said


def test_the_command_of_the_wheel_is_the_module(scnnc_command):
    assert scnnc_command("--version").stdout == f"scnnc {scnnc.__version__}\n"
    assert scnnc_command("no-verb", status=2).stderr
    script = os.path.join(os.path.dirname(sys.executable), "scnnc")
    assert subprocess.check_output([script, "--version"], text=True) == f"scnnc {scnnc.__version__}\n"
