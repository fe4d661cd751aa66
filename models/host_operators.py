"""Compares tract, which runs the host's operators, with ONNX Runtime, operator by operator.

The cases are the single-node cases that the `onnx` package makes and models of one
node with random attributes, shapes and values. Each goes through scnnc's importer and
runs on tract alone (`compiler/examples/on_tract.rs`), so what is compared is what a
host segment computes: the operator as it is given to tract, or what it is decomposed
into. The outcome is kept in `compiler/src/import/host_operators/verified.tsv`, from
which `scnnc ops` says against what an operator is verified.

    python models/host_operators.py                 the table, and what differs
    python models/host_operators.py --only Resize   one operator
    python models/host_operators.py --write         writes the table that is kept
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import host_cases
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
KEPT = HERE.parent / "compiler/src/import/host_operators/verified.tsv"

# Of the largest magnitude of a result; what is larger is another result and not another rounding. Floats of 16 bits are
# computed with 32, and a result below 0.1 may have the error of one that is not.
TOLERANCE, TOLERANCE_16 = 2e-5, 1e-3
LEAST_MAGNITUDE = 0.1

# Operators whose results are random, and those that compute nothing on a host.
UNCOMPARED = {"Bernoulli", "RandomUniform", "RandomUniformLike", "RandomNormal", "RandomNormalLike", "Multinomial"}


@dataclass
class Case:
    """A model of one node, its inputs and what must come out."""

    operator: str
    name: str
    model: onnx.ModelProto
    inputs: list
    expected: list
    verdict: str = ""
    worst: float = 0
    attributes: str = field(default="")


def main() -> int:
    options = arguments()
    rng = np.random.default_rng(options.seed)
    cases = [case for case in [*standard_cases(), *random_cases(options.random, rng)] if case]
    cases = [case for case in cases if options.only in ("", case.operator)]
    with tempfile.TemporaryDirectory() as folder:
        run(cases, Path(options.keep or folder), options)
    rows = table(cases)
    for row in rows:
        print("\t".join(map(str, row)))
    wrong = [case for case in cases if case.verdict == "wrong"]
    for case in wrong:
        print(f"wrong: {case.operator} {case.name} {case.attributes}: {case.worst:.1e}", file=sys.stderr)
    if options.write:
        write(rows)
    refused = sum(case.verdict == "refused" for case in cases)
    print(f"{len(cases)} cases, {refused} not given to tract, {len(wrong)} wrong", file=sys.stderr)
    return bool(wrong)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runner", default=str(HERE.parent / "target/debug/examples/on_tract"))
    parser.add_argument("--only", default="", metavar="OPERATOR")
    parser.add_argument("--random", type=int, default=24, metavar="N", help="random cases of an operator")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", metavar="DIR")
    parser.add_argument("--write", action="store_true")
    return parser.parse_args()


def table(cases) -> list:
    """Operator, cases that agree, worst difference, cases that are not given to tract, and cases that are wrong."""
    by_operator = defaultdict(list)
    for case in cases:
        by_operator[case.operator].append(case)
    rows = []
    for operator, all_of_it in sorted(by_operator.items()):
        count = {verdict: sum(c.verdict == verdict for c in all_of_it) for verdict in ("equal", "refused", "wrong")}
        worst = max((c.worst for c in all_of_it if c.verdict == "equal"), default=0)
        rows.append((operator, count["equal"], f"{worst:.0e}", count["refused"], count["wrong"]))
    return rows


def write(rows) -> None:
    head = [
        f"# Host operators that tract computes as ONNX Runtime {onnxruntime.__version__} does; written by models/host_operators.py.",
        "# operator, cases that agree, largest difference as a part of the largest magnitude",
    ]
    lines = [f"{operator}\t{equal}\t{worst}" for operator, equal, worst, _, wrong in rows if equal and not wrong]
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text("\n".join([*head, *lines]) + "\n")


def run(cases, folder: Path, options) -> None:
    """Runs all cases on tract in one process, and gives each its verdict."""
    folders = []
    for number, case in enumerate(cases):
        place = folder / f"{number:05}-{re.sub('[^A-Za-z0-9_]', '', case.operator)}"
        place.mkdir(parents=True, exist_ok=True)
        onnx.save(case.model, place / "model.onnx")
        for index, value in enumerate(case.inputs):
            (place / f"input_{index}.pb").write_bytes(numpy_helper.from_array(value).SerializeToString())
        folders.append(place)
    names = "\n".join(map(str, folders)) + "\n"
    subprocess.run([options.runner], input=names, text=True, stderr=subprocess.DEVNULL, check=False)
    for case, place in zip(cases, folders):
        judge(case, place)


def judge(case: Case, place: Path) -> None:
    refused = place / "refused.txt"
    if refused.exists():
        case.verdict, case.attributes = "refused", refused.read_text()[:200]
        return
    if not (place / "result_0.pb").exists():
        case.verdict, case.worst = "wrong", float("inf")
        return
    results = []
    for index in range(len(case.expected[0])):
        proto = TensorProto.FromString((place / f"result_{index}.pb").read_bytes())
        results.append(numpy_helper.to_array(proto))
    case.worst = min(
        max(map(difference, results, wanted), default=0) for wanted in case.expected
    )
    halves = any(value.dtype == np.float16 for value in [*case.inputs, *case.expected[0]])
    case.verdict = "equal" if case.worst <= (TOLERANCE_16 if halves else TOLERANCE) else "wrong"


def difference(ours, wanted) -> float:
    if ours.shape != wanted.shape:
        return float("inf")
    if wanted.dtype == object or wanted.dtype.kind in "US":
        return 0.0 if np.array_equal(ours, wanted) else float("inf")
    ours, wanted = ours.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(wanted)
    if not np.array_equal(ours[~finite], wanted[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    largest = np.abs(wanted[finite]).max()
    with np.errstate(invalid="ignore"):
        gap = np.abs(ours[finite] - wanted[finite]).max()
    return float("inf") if np.isnan(gap) else gap / max(largest, LEAST_MAGNITUDE)


def standard_cases():
    """The single-node cases of the standard, without those that expand an operator or train."""
    from onnx.backend.test.case.node import collect_testcases

    for test in collect_testcases(None):
        graph = test.model.graph
        if len(graph.node) != 1 or "expanded" in test.name or "training" in test.name:
            continue
        node = graph.node[0]
        if node.op_type in UNCOMPARED or not test.data_sets:
            continue
        inputs, outputs = test.data_sets[0]
        plain = [isinstance(value, (np.ndarray, np.generic)) for value in [*inputs, *outputs]]
        if not all(plain):
            continue
        inputs = [np.asarray(value) for value in inputs]
        model = fixed(test.model, inputs)
        yield case_of(node.op_type, test.name, model, inputs, [np.asarray(value) for value in outputs])


def fixed(model, inputs):
    """The model with all operands but the first as initializers, where exporters have them so."""
    names = [value.name for value in model.graph.input]
    fixed_model = onnx.ModelProto()
    fixed_model.CopyFrom(model)
    node = model.graph.node[0]
    if node.op_type in PARAMETRIC:
        for name, value in list(zip(names, inputs))[1:]:
            fixed_model.graph.initializer.append(numpy_helper.from_array(value, name))
        kept = fixed_model.graph.input[0]
        del fixed_model.graph.input[:]
        fixed_model.graph.input.append(kept)
        del inputs[1:]
    return fixed_model


# Operators that take shapes, axes, bounds and weights from their inputs 1 and following.
PARAMETRIC = set(
    """
    Clip Compress ConstantOfShape CumSum DFT Dropout Expand GridSample Gather GroupNormalization
    LayerNormalization MaxRoiPool OneHot Pad QuantizeLinear DequantizeLinear ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Reshape Resize STFT
    Slice Split SplitToSequence Squeeze Tile TopK Trilu Unsqueeze Upsample
    """.split()
)


def case_of(operator, name, model, inputs, expected=None):
    """A case; what must come out is what ONNX Runtime computes, where it can."""
    choices = onnxruntime.SessionOptions()
    choices.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    choices.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), choices, ["CPUExecutionProvider"])
        feed = {value.name: given for value, given in zip(session.get_inputs(), inputs)}
        computed = session.run(None, feed)
    except Exception:  # ONNX Runtime has not all types of all operators.
        computed = expected
    # Where the standard and ONNX Runtime differ, either will do.
    others = expected if expected is not None else computed
    if computed is None or not all(isinstance(value, np.ndarray) for value in computed):
        return None
    node = model.graph.node[0]
    words = ", ".join(f"{a.name}={helper.get_attribute_value(a)}" for a in node.attribute if a.type != 5)
    return Case(operator, name, model, inputs, [computed, others], attributes=words[:300])


def random_cases(count, rng):
    """Models of one node with random attributes, where ONNX Runtime runs them."""
    for operator, number, model, inputs in host_cases.random_models(count, rng):
        yield case_of(operator, f"random {number}", model, inputs)


if __name__ == "__main__":
    sys.exit(main())
