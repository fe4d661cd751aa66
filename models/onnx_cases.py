"""Runs scnnc on the test cases that the `onnx` package carries, beside ONNX Runtime.

They are files that nobody here wrote: the single-node cases of the standard's own
backend suite for the operators in OPERATORS, PyTorch's converted layers, and the
nine `light_*` networks. For each case the model, its inputs and its expected
outputs are written out, ONNX Runtime and scnnc run it, and both are compared with
the expectation. What scnnc gets wrong or refuses, though ONNX Runtime passes, is
listed and ends in status 1, unless it is one of EXCEPTIONS.

    python models/onnx_cases.py                     all of them, and the table
    python models/onnx_cases.py --only Conv         cases whose name or operator holds that word
    python models/onnx_cases.py --keep DIR          leaves model.onnx, inputs.npz, expected.npz of each
    python models/onnx_cases.py --bundle FILE.npz   writes the cases that `cargo test` runs
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases

HERE = Path(__file__).parent
DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"

# Operators whose single-node cases are run.
OPERATORS = """
    Add AveragePool BatchNormalization Clip Concat Constant Conv ConvTranspose
    DequantizeLinear Dropout Flatten Gather Gemm GlobalAveragePool HardSigmoid
    HardSwish Identity LRN LeakyRelu MatMul MaxPool Mul PRelu Pad QLinearConv
    QuantizeLinear ReduceMean Relu Reshape Resize Shape Sigmoid Slice Softmax Split
    Squeeze Sub Transpose Unsqueeze
""".split()

# Operators that take weights, bounds, shapes and the like from their inputs 1 and
# following: exporters write those as initializers, and so does this script.
PARAMETRIC = """
    BatchNormalization Clip Conv ConvTranspose DequantizeLinear Dropout Gather Gemm
    MatMul PRelu Pad QLinearConv QuantizeLinear ReduceMean Reshape Resize Slice Split
    Squeeze Unsqueeze
""".split()

# Folders of the package, other than single nodes, and what their names must hold.
CONVERTED = ["Conv", "Pool", "Linear"]

# Cases that ONNX Runtime passes and scnnc does not, each with the reason.
EMPTY = "its result is empty: a program computes something, so the model is refused (E0309)"
TRAINING = "training mode, which computes the statistics of a batch; a program is for inference"
EXCEPTIONS: dict[str, str] = {
    "test_batchnorm_epsilon_training_mode": TRAINING,
    "test_batchnorm_example_training_mode": TRAINING,
    "test_reshape_allowzero_reordered": EMPTY,
    "test_shape_start_greater_than_end": EMPTY,
    "test_slice_start_out_of_bounds": EMPTY,
    "test_split_zero_size_splits_opset13": EMPTY,
    "test_split_zero_size_splits_opset18": EMPTY,
}

# The program is a fixed-point one: an output may differ by this part of its range.
PART_OF_RANGE = 2.0**-11


# A case with more bytes is not kept in the repository; only this script runs it.
BUNDLED_BYTES = 30_000


@dataclass
class Case:
    """A model, its inputs, and what must come out."""

    name: str
    operator: str
    model: ModelProto
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    absolute: float
    in_scope: bool = True
    runtime: str = ""
    scnnc: str = ""
    seconds: float = 0


def main() -> int:
    options = arguments()
    cases = [c for c in [*node_cases(), *stored_cases()] if wanted(c, options.only)]
    for case in cases:
        case.runtime = run_onnxruntime(case)
    if options.bundle:
        write_bundle(options.bundle, [c for c in cases if counts(c) and size(c) <= BUNDLED_BYTES])
        return 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(options.keep or folder)
        # The largest first, so that none is waited for alone in the end.
        by_size = sorted(cases, key=lambda case: case.operator != "light")
        with ThreadPoolExecutor(options.jobs) as pool:
            for done in pool.map(lambda case: run_scnnc(case, options, folder), by_size):
                if done.operator == "light":
                    print(f"{done.name}: {done.scnnc}, {done.seconds:.0f} s", file=sys.stderr)
    return report(cases)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scnnc", default=str(HERE.parent / "target/debug/scnnc"))
    parser.add_argument("--only", default="", metavar="WORD")
    parser.add_argument("--keep", metavar="DIR")
    parser.add_argument("--bundle", type=Path, metavar="FILE.npz")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count()), help="cases at a time")
    parser.add_argument("--limit", type=float, default=600, metavar="SECONDS", help="for each case")
    return parser.parse_args()


def wanted(case: Case, word: str) -> bool:
    return word in case.name or word == case.operator


def counts(case: Case) -> bool:
    """Whether scnnc must get this case right."""
    return case.in_scope and case.runtime == "ok" and case.name not in EXCEPTIONS


def size(case: Case) -> int:
    arrays = [*case.inputs.values(), *case.expected.values()]
    return case.model.ByteSize() + sum(array.nbytes for array in arrays)


def node_cases() -> list[Case]:
    """The single-node cases, without those that expand an operator into its parts."""
    cases = []
    for test in collect_testcases(None):
        nodes = test.model.graph.node
        if len(nodes) != 1 or test.name.endswith("_expanded"):
            continue
        operator = nodes[0].op_type
        if operator not in OPERATORS or nodes[0].domain:
            continue
        inputs, outputs = test.data_sets[0]
        case = Case(
            test.name, operator, ModelProto(), {}, {}, test.atol, is_float(test.model)
        )
        case.model.CopyFrom(test.model)
        if not all(isinstance(value, np.ndarray | np.generic) for value in [*inputs, *outputs]):
            case.in_scope = False
            case.runtime = "not run: no tensors"
            cases.append(case)
            continue
        names = [value.name for value in test.model.graph.input]
        case.inputs = dict(zip(names, map(np.asarray, inputs), strict=True))
        results = [value.name for value in test.model.graph.output]
        case.expected = dict(zip(results, map(np.asarray, outputs), strict=True))
        if operator in PARAMETRIC:
            freeze(case)
        cases.append(case)
    return sorted(cases, key=lambda case: (case.operator, case.name))


def stored_cases() -> list[Case]:
    """PyTorch's converted layers, and the light networks."""
    cases = []
    for folder in sorted((DATA / "pytorch-converted").iterdir()):
        if not any(word in folder.name for word in CONVERTED):
            continue
        model = onnx.load(folder / "model.onnx")
        sets = folder / "test_data_set_0"
        inputs = [load_tensor(sets / f"input_{i}.pb") for i in range(len(open_inputs(model)))]
        outputs = [load_tensor(sets / f"output_{i}.pb") for i in range(len(model.graph.output))]
        case = Case(folder.name, "pytorch-converted", model, {}, {}, 1e-7)
        case.inputs = dict(zip(open_inputs(model), inputs, strict=True))
        case.expected = {o.name: v for o, v in zip(model.graph.output, outputs, strict=True)}
        cases.append(case)
    for file in sorted((DATA / "light").glob("*.onnx")):
        model = onnx.load(file)
        output = load_tensor(file.with_name(f"{file.stem}_output_0.pb"))
        case = Case(file.stem, "light", model, {}, {}, 1e-7)
        shapes = {v.name: [d.dim_value or 1 for d in v.type.tensor_type.shape.dim] for v in model.graph.input}
        # As the suite itself feeds them: the answers do not depend on it.
        case.inputs = {n: ramp(shapes[n]) for n in open_inputs(model)}
        case.expected = {model.graph.output[0].name: output}
        cases.append(case)
    return cases


def load_tensor(file: Path) -> np.ndarray:
    tensor = TensorProto()
    tensor.ParseFromString(file.read_bytes())
    return numpy_helper.to_array(tensor)


def ramp(shape: list[int]) -> np.ndarray:
    count = int(np.prod(shape))
    return (np.arange(count, dtype=np.float32) / count).reshape(shape)


def open_inputs(model: ModelProto) -> list[str]:
    """Inputs that are not initializers too."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in constants]


def is_float(model: ModelProto) -> bool:
    """Whether the first input is of 32-bit floats, or, where there is none, the output is."""
    values = model.graph.input or model.graph.output
    return values[0].type.tensor_type.elem_type == TensorProto.FLOAT


def freeze(case: Case) -> None:
    """Makes initializers of all inputs but the first activation."""
    first = case.model.graph.node[0].input[0]
    kept = [value for value in case.model.graph.input if value.name == first]
    for name, value in case.inputs.items():
        if name != first:
            case.model.graph.initializer.append(numpy_helper.from_array(value, name))
    case.inputs = {first: case.inputs[first]}
    del case.model.graph.input[:]
    case.model.graph.input.extend(kept)


def run_onnxruntime(case: Case) -> str:
    if case.runtime:
        return case.runtime
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(case.model.SerializeToString(), settings)
        results = session.run(list(case.expected), case.inputs)
    except Exception as error:  # Whatever it cannot do is not asked of scnnc.
        return f"refused: {first_line(str(error))}"
    worst = difference(case, dict(zip(case.expected, results, strict=True)))
    return worst or "ok"


def run_scnnc(case: Case, options: argparse.Namespace, folder: Path) -> Case:
    """Runs a case and notes what came of it, and how long that took."""
    begin = time.monotonic()
    case.scnnc = verdict(case, options, folder)
    case.seconds = time.monotonic() - begin
    return case


def verdict(case: Case, options: argparse.Namespace, folder: Path) -> str:
    if case.runtime.startswith("not run"):
        return case.runtime
    # Bit for bit against the interpreter too, where that takes no minutes.
    check = [] if case.operator == "light" else ["--check"]
    place = folder / case.name
    place.mkdir(parents=True, exist_ok=True)
    onnx.save(case.model, place / "model.onnx")
    np.savez(place / "expected.npz", **case.expected)
    binary = str(Path(options.scnnc).resolve())
    command = [binary, "run", "model.onnx", "--output", "out.npz", "--allow-host-only", "--quiet", *check]
    if case.inputs:
        np.savez(place / "inputs.npz", **case.inputs)
        command += ["--input", "inputs.npz"]
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=options.limit)
    except subprocess.TimeoutExpired:
        return f"no end after {options.limit:g} s"
    if done.returncode != 0:
        return f"status {done.returncode}: {first_line(done.stderr)}"
    with np.load(place / "out.npz") as results:
        return difference(case, dict(results)) or "ok"


def difference(case: Case, results: dict[str, np.ndarray]) -> str:
    """What is wrong with results, or nothing."""
    for name, wanted in case.expected.items():
        if name not in results:
            return f"no output {name}"
        got = results[name]
        if wanted.ndim == 0 and got.size == 1:
            # scnnc stacks samples along the first dimension, which a number does not have.
            got = got.reshape(())
        if got.shape != wanted.shape:
            return f"shape {list(got.shape)}, {list(wanted.shape)} expected"
        if wanted.size == 0:
            continue
        a, b = (np.nan_to_num(v.astype(np.float64), posinf=3e38, neginf=-3e38) for v in (got, wanted))
        spread = np.abs(b).max()
        limit = max(case.absolute, PART_OF_RANGE * spread)
        error = np.abs(a - b).max()
        if error > limit:
            return f"differs by {error:.2e}, {limit:.2e} is allowed"
    return ""


def first_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[0][:150] if lines else "no message"


def report(cases: list[Case]) -> int:
    """Prints the table and returns the exit status."""
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        groups[case.operator].append(case)
    print(f"{'cases of':24}{'scnnc':>7}{'of':>4}   not counted")
    for operator, group in groups.items():
        counted = [c for c in group if counts(c)]
        others = [c for c in group if not counts(c)]
        fine = sum(c.scnnc == "ok" for c in counted)
        ours = sum(c.scnnc == "ok" for c in others)
        note = f"{len(others)} (scnnc passes {ours})" if others else ""
        print(f"{operator:24}{fine:7}{len(counted):4}   {note}")
    print()
    for case in cases:
        if case.name in EXCEPTIONS:
            print(f"exception  {case.name}: {EXCEPTIONS[case.name]}")
        elif counts(case) and case.scnnc != "ok":
            print(f"FAILS      {case.name}: {case.scnnc}")
    stale = [c.name for c in cases if c.name in EXCEPTIONS and c.scnnc == "ok"]
    for name in stale:
        print(f"STALE      {name} is an exception, but passes")
    counted = [c for c in cases if counts(c)]
    fine = sum(c.scnnc == "ok" for c in counted)
    exceptions = sum(c.name in EXCEPTIONS for c in cases)
    print(
        f"{fine} of {len(counted)} cases that ONNX Runtime passes and whose input is float;"
        f" {exceptions} exceptions; {len(cases) - len(counted) - exceptions} cases are of other types"
        " or beyond ONNX Runtime"
    )
    slowest = max(cases, key=lambda case: case.seconds)
    print(f"the slowest took {slowest.seconds:.0f} s: {slowest.name}")
    return 0 if fine == len(counted) and not stale else 1


def write_bundle(file: Path, cases: list[Case]) -> None:
    """One archive for `cargo test`: CASE/model, CASE/in/NAME, CASE/out/NAME, CASE/atol. Byte for byte reproducible."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for case in cases:
            arrays = {
                "model": np.frombuffer(case.model.SerializeToString(deterministic=True), np.uint8),
                "atol": np.asarray(case.absolute, np.float32),
                **{f"in/{n}": v for n, v in case.inputs.items()},
                **{f"out/{n}": v for n, v in case.expected.items()},
            }
            for name, array in arrays.items():
                buffer = io.BytesIO()
                np.save(buffer, array)
                entry = zipfile.ZipInfo(f"{case.name}/{name}.npy")
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, buffer.getvalue())
    print(f"{file}: {len(cases)} cases, {file.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
