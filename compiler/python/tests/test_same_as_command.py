"""Programs, outputs and reports are those of the command line, byte for byte."""

import ast
import csv
import json
import os
import pathlib
import random
import re

import numpy
import pytest

import scnnc
from scnnc._calls import words

#: Random triples of model, options and input; `SCNNC_TRIPLES` asks for more.
TRIPLES = int(os.environ.get("SCNNC_TRIPLES", "12"))

CHOICES = {
    "mapping": ["paper", "search"],
    "objective": ["cycles", "energy", "edp"],
    "bits": [16, "w8a16", 8],
    "headroom": [1.0, 1.25, 2.0],
    "ranges": ["proven", "calibrated"],
    "calibration_method": ["min-max", "entropy", "percentile=99.9"],
    "prune": [0.3, 0.55, 0.9],
    "seed": [1, 7],
}
MACHINES = ["scnn", "scnn-4pe", "scnn-16pe", "scnn-multicast", "scnn-sparse-a"]


def conv_model(generator):
    """A random network of one or two convolutions, as an onnx.ModelProto."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    channels, extent = generator.randint(1, 6), generator.randint(6, 14)
    values = numpy.random.default_rng(generator.randrange(2**32))
    nodes, weights, tensor, into = [], [], "x", channels
    for layer in range(generator.randint(1, 2)):
        out, kernel = generator.randint(1, 12), generator.choice([1, 3])
        weight = values.normal(size=(out, into, kernel, kernel)).astype(numpy.float32)
        weight *= values.random(weight.shape) < 0.6
        weights.append(numpy_helper.from_array(weight, f"w{layer}"))
        nodes.append(
            helper.make_node(
                "Conv", [tensor, f"w{layer}"], [f"c{layer}"], f"conv{layer}", pads=[kernel // 2] * 4
            )
        )
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"y{layer}"], f"relu{layer}"))
        tensor, into = f"y{layer}", out
    value = lambda name, shape: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        nodes,
        "random",
        [value("x", [1, channels, extent, extent])],
        [value(tensor, [1, into, extent, extent])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model, [1, channels, extent, extent]


def triple(generator, tiny):
    if generator.random() < 0.25:
        model, shape = tiny, [1, 3, 12, 12]
    else:
        model, shape = conv_model(generator)
    shape[0] = generator.randint(1, 3)
    values = numpy.random.default_rng(generator.randrange(2**32))
    options = {
        name: generator.choice(choices)
        for name, choices in CHOICES.items()
        if generator.random() < 0.4
    }
    return model, options, values.random(shape, dtype=numpy.float32)


def reported(path):
    """The text of a report without the words of its command, of which a call of the module has none."""
    text, count = re.subn(r'"command": \[[^\]]*\]', '"command": []', path.read_text())
    assert count == 1
    return text


@pytest.mark.filterwarnings("ignore::scnnc.Warning")
@pytest.mark.parametrize("seed", range(TRIPLES))
def test_program_outputs_and_report_are_the_commands(seed, tiny, tmp_path, scnnc_command):
    generator = random.Random(seed)
    model, options, x = triple(generator, tiny)
    machine = generator.choice(MACHINES)
    path = model
    if model is not tiny:
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
    numpy.save(tmp_path / "x.npy", x)
    given = words(options) + [f"--machine={machine}"]

    # A model, calibrated on the inputs that it runs on.
    program = scnnc.compile(model, machine=machine, calibrate=x, **options)
    result = program.run(x)
    scnnc_command(
        *["run", path, "--input", tmp_path / "x.npy", "--report", tmp_path / "r.json"],
        *["--output", tmp_path / "y.npz", "-q", *given],
    )
    assert result.report.to_json() == reported(tmp_path / "r.json")
    same_arrays(result.outputs, tmp_path / "y.npz")

    # The program file, calibrated on noise, and a run of it.
    program = scnnc.compile(path, machine=machine, **options)
    scnnc_command("compile", path, "-o", tmp_path / "p.scnn", "-q", *given)
    assert program.to_bytes() == (tmp_path / "p.scnn").read_bytes()
    result = scnnc.load(tmp_path / "p.scnn").run(x)
    scnnc_command(
        *["run", tmp_path / "p.scnn", "--input", tmp_path / "x.npy", "-q"],
        *["--report", tmp_path / "r.json", "--output", tmp_path / "y.npz"],
    )
    assert result.report.to_json() == reported(tmp_path / "r.json")
    same_arrays(result.outputs, tmp_path / "y.npz")


def same_arrays(outputs, path):
    with numpy.load(path) as theirs:
        assert sorted(outputs) == sorted(theirs.files)
        for name, ours in outputs.items():
            assert (ours.shape, ours.dtype) == (theirs[name].shape, theirs[name].dtype)
            assert ours.tobytes() == theirs[name].tobytes()


def test_bytes_a_path_and_a_model_are_the_same_model(tiny):
    onnx = pytest.importorskip("onnx")
    images = numpy.ones([1, 3, 12, 12], numpy.float32)
    of_path = scnnc.compile(tiny, calibrate=images).to_bytes()
    assert scnnc.compile(str(tiny), calibrate=images).to_bytes() == of_path
    assert scnnc.compile(tiny.read_bytes(), calibrate=images).to_bytes() == of_path
    loaded = onnx.load(tiny)
    assert scnnc.compile(loaded, calibrate={"image": images}).run(images).outputs.keys()


def test_a_machine_is_the_machine_file_that_it_writes(tiny, tmp_path, scnnc_command):
    machine = scnnc.Machine("scnn-4pe", **{"pe.banks": 256, "weights.fifo_vectors": 100})
    assert machine["pe.banks"] == "256" and "pe.banks=256" in machine.name
    (tmp_path / "wide.yaml").write_text(machine.yaml())
    assert scnnc.Machine(tmp_path / "wide.yaml") == machine
    with pytest.warns(scnnc.Warning, match="noise"):
        program = scnnc.compile(tiny, machine=machine)
    scnnc_command(
        *["compile", tiny, "--machine", tmp_path / "wide.yaml", "-q", "-o", tmp_path / "p.scnn"]
    )
    assert program.to_bytes() == (tmp_path / "p.scnn").read_bytes()
    scnnc_command(
        *["compile", tiny, "--machine=scnn-4pe", "--set=pe.banks=256"],
        *["--set=weights.fifo_vectors=100", "-q", "-o", tmp_path / "p.scnn"],
    )
    assert program.to_bytes() == (tmp_path / "p.scnn").read_bytes()


def test_a_check_is_the_commands(tiny, scnnc_command):
    said = scnnc_command("check", tiny, "--json", status=3)
    assert scnnc.check(tiny) == json.loads(said.stdout)
    assert scnnc.check(tiny.read_bytes()) == json.loads(said.stdout)
    assert scnnc.check(tiny).verdict == "partly"
    assert scnnc.check(b"junk").verdict == "refused"


def test_a_study_of_sensitivity_is_the_commands(lenet, digits, tmp_path, scnnc_command):
    images = digits[0][:2]
    numpy.save(tmp_path / "x.npy", images)
    given = {"densities": [0.5, 0.1], "layers": ["/conv1/Conv", "/conv2/Conv"], "mapping": "paper"}
    ours = scnnc.sensitivity(lenet, calibrate=tmp_path / "x.npy", **given)
    said = scnnc_command(
        *["sensitivity", lenet, "--calibrate", tmp_path / "x.npy", "--densities=0.5,0.1"],
        *["--layer=/conv1/Conv", "--layer=/conv2/Conv", "--mapping=paper", "--json", "-q"],
    )
    assert ours == json.loads(said.stdout)
    assert {point["layer"] for point in ours["points"]} == set(given["layers"])
    of_arrays = scnnc.sensitivity(lenet.read_bytes(), calibrate=images, **given)
    assert of_arrays["points"] == ours["points"]


def test_advice_is_the_commands(tiny, lenet, digits, tmp_path, scnnc_command):
    images = digits[0][:1]
    numpy.save(tmp_path / "x.npy", images)
    ours = scnnc.advise(lenet, images, only=["pe.banks", "dram."], mapping="paper")
    said = scnnc_command(
        *["advise", lenet, "--input", tmp_path / "x.npy", "--only=pe.banks", "--only=dram."],
        *["--mapping=paper", "--json", "-q"],
    )
    assert ours == json.loads(said.stdout)
    assert {step["parameter"] for step in ours["steps"]} >= {"pe.banks"}
    of_a_path = scnnc.advise(lenet.read_bytes(), tmp_path / "x.npy", only=["pe.banks", "dram."], mapping="paper")
    assert of_a_path["steps"] == ours["steps"]
    with pytest.warns(scnnc.Warning, match="noise"):
        both = scnnc.advise([tiny, lenet], machine=scnnc.Machine("scnn-4pe"), only="pe.banks")
    said = scnnc_command("advise", tiny, lenet, "--machine=scnn-4pe", "--only=pe.banks", "--json", "-q")
    assert both == json.loads(said.stdout)
    with pytest.raises(scnnc.UsageError, match="single model"):
        scnnc.advise([tiny, lenet], images)
    with pytest.raises(scnnc.UsageError, match="only"):
        scnnc.advise(lenet, only="pe.bangs")


SWEEP = """
models: [{file: tiny.onnx}, {file: none.onnx}]
base: {fidelity: fast, mapping: paper}
grid: {pe.banks: [16, 64], machine: [scnn, scnn-4pe]}
"""


def test_a_sweep_is_the_commands(tiny, tmp_path, scnnc_command, monkeypatch):
    (tmp_path / "tiny.onnx").write_bytes(tiny.read_bytes())
    (tmp_path / "none.onnx").write_bytes(b"no model")
    (tmp_path / "spec.yaml").write_text(SWEEP)
    scnnc_command("sweep", tmp_path / "spec.yaml", "-o", tmp_path / "theirs", "-q")
    seen = []
    sweep = scnnc.sweep(tmp_path / "spec.yaml", output=tmp_path / "ours", progress=lambda *stage: seen.append(stage))
    assert seen[-1] == ("measure points", 1, 1, 8, 8)
    files = lambda folder: {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files(tmp_path / "ours") == files(tmp_path / "theirs")
    for table, frame in [("points", sweep.points), ("layers", sweep.layers)]:
        with open(tmp_path / "theirs" / f"{table}.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert rows and list(frame) == list(rows[0])
        assert len(frame) == len(rows)
    assert list(sweep.points["error"].notna()) == [False] * 4 + [True] * 4
    sweep.page(tmp_path / "ours.html")
    scnnc_command("sweep", "report", tmp_path / "theirs", "-o", tmp_path / "theirs.html")
    assert (tmp_path / "ours.html").read_bytes() == (tmp_path / "theirs.html").read_bytes()

    # Finished points are not measured again; a dictionary is the same specification, and nothing need be kept.
    seen.clear()
    scnnc.sweep(tmp_path / "spec.yaml", output=tmp_path / "theirs", progress=lambda *stage: seen.append(stage))
    assert not seen
    monkeypatch.chdir(tmp_path)
    given = {
        "models": [{"file": pathlib.Path("tiny.onnx")}, {"file": "none.onnx"}],
        "base": {"fidelity": "fast", "mapping": "paper"},
        "grid": {"pe.banks": numpy.array([16, 64]), "machine": ["scnn", "scnn-4pe"]},
    }
    again = scnnc.sweep(given)
    assert again.points.equals(sweep.points) and again.layers.equals(sweep.layers)
    assert len(scnnc.sweep(given, shard="2/8").points) == 1
    for wrong in [{"models": []}, {"model": []}, {"models": [{"file": "tiny.onnx"}], "grid": {"pe.bank": [1]}}]:
        with pytest.raises(scnnc.RefusedError):
            scnnc.sweep(wrong)
    with pytest.raises(scnnc.UsageError, match="I/N"):
        scnnc.sweep(given, shard="9/8")


def test_open_dimensions_are_those_of_the_arrays(tmp_path, scnnc_command):
    onnx = pytest.importorskip("onnx")
    model, shape = conv_model(random.Random(3))
    extents = model.graph.input[0].type.tensor_type.shape.dim
    extents[2].dim_param, extents[3].dim_param = "height", "width"
    model.graph.output[0].type.tensor_type.ClearField("shape")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    x = numpy.random.default_rng(4).random([1, shape[1], 9, 11], dtype=numpy.float32)
    numpy.save(tmp_path / "x.npy", x)
    result = scnnc.compile(onnx.load(tmp_path / "m.onnx"), calibrate=x).run(x)
    scnnc_command(
        *["run", tmp_path / "m.onnx", "--input", tmp_path / "x.npy", "-q"],
        *["--output", tmp_path / "y.npz", "--report", tmp_path / "r.json"],
    )
    assert result.report.to_json() == reported(tmp_path / "r.json")
    same_arrays(result.outputs, tmp_path / "y.npz")


def test_assembly_text_and_files_are_the_commands(tiny, tmp_path, scnnc_command):
    program = scnnc.compile(tiny, calibrate=numpy.ones([1, 3, 12, 12], numpy.float32))
    program.save(tmp_path / "p.scnn")
    assert [path.name for path in tmp_path.iterdir()] == ["p.scnn"]
    assert program.disassemble() == scnnc_command("disasm", tmp_path / "p.scnn").stdout
    assert program.disassemble(data=False) == scnnc_command("disasm", "--code", tmp_path / "p.scnn").stdout
    layer = program.layers[0]
    said = scnnc_command("disasm", "--layer", layer, tmp_path / "p.scnn").stdout
    assert program.disassemble(layer) == said
    assert scnnc.load(tmp_path / "p.scnn").to_bytes() == program.to_bytes()


def test_the_zoo_is_the_commands(tmp_path, scnnc_command):
    assert scnnc.zoo.list() == json.loads(scnnc_command("zoo", "list", "--json").stdout)
    model, image = scnnc.zoo.make("shufflenet", seed=3, density=(0.5, 0.4))
    scnnc_command("zoo", "make", "shufflenet", "--seed=3", "--density=0.5,0.4", "-q", "-o", tmp_path)
    assert model == (tmp_path / "shufflenet.onnx").read_bytes()
    assert numpy.array_equal(image, numpy.load(tmp_path / "shufflenet.npy"))


def test_every_option_of_the_command_has_a_type(scnnc_command):
    """The stubs name the options of `scnnc compile`, no more and no fewer."""
    stub = ast.parse(pathlib.Path(scnnc.__file__).with_name("_program.pyi").read_text())
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    typed = {field.target.id for field in classes["_CompileOptions"].body}
    said = scnnc_command("compile", "--help").stdout
    listed = {name.replace("-", "_") for name in re.findall(r"^ +(?:-\w, )?--([a-z-]+)", said, re.M)}
    of_the_command = {"output", "json", "help", "quiet", "verbose", "threads", "limit_memory", "explain", "version", "progress"}
    assert typed == listed - of_the_command - {"machine", "calibrate"}
