"""Runs scnnc on what ONNX Runtime's quantiser makes of four small networks, beside ONNX Runtime.

The networks are a plain one, one with a residual sum, one with concatenated branches, and one of depthwise
convolutions, each with and without a Softmax at its end. `quantize_static` and `quantize_dynamic` write each of them
in the formats of FORMATS. Of every file the table tells

    equal      the share of the outputs' units that are ONNX Runtime's
    off by     the largest difference, in units of the output's own scale
    dB         signal over error, over all outputs

Integers have the bar of EQUAL_UNITS and none off by more than one; what ends in floats has one in decibels.

    python models/quantised_formats.py                         all of them, and the table
    python models/quantised_formats.py --only concat int16     files whose name holds one of these words
    python models/quantised_formats.py --keep DIR              leaves model.onnx, inputs.npz, expected.npz of each
    python models/quantised_formats.py --machine scnn-int8     on another machine

Exit status 3: a file is below its bar, or does not run.
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

INPUT = [3, 20, 18]
CLASSES = 10
SAMPLES = 6

EQUAL_UNITS = 0.995
# Dynamic files and 16-bit ones round what the array's own 16 bits cannot hold.
DECIBELS = 50.0

S8, U8, S16, U16 = QuantType.QInt8, QuantType.QUInt8, QuantType.QInt16, QuantType.QUInt16
QDQ, OPERATORS = QuantFormat.QDQ, QuantFormat.QOperator

# Format, types of activations and weights, scales by channel; none: dynamic.
FORMATS = {
    "qdq-int8": (QDQ, S8, S8, True),
    "qdq-uint8": (QDQ, U8, U8, False),
    "qoperator": (OPERATORS, U8, S8, True),
    "dynamic": None,
    "qdq-int16": (QDQ, S16, S8, True),
    "qdq-uint16": (QDQ, U16, S8, False),
}
# Those whose units are compared one by one.
EXACT = ["qdq-int8", "qdq-uint8", "qoperator"]


class Network:
    """A graph under construction; `x` is its last value, with `channels` channels."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        self.nodes, self.constants = [], []
        self.x, self.channels = "x", INPUT[0]

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def add(self, operator: str, *operands: str, **attributes) -> str:
        result = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(operands), [result], name=result, **attributes))
        return result

    def conv(self, x: str, channels: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> str:
        shape = (outputs, channels // groups, kernel, kernel)
        weights = self.random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        bias = self.random.standard_normal(outputs) * 0.1
        operands = [self.constant(value.astype(np.float32)) for value in (weights, bias)]
        pads = [kernel // 2] * 4
        return self.add("Conv", x, *operands, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, group=groups)

    def layer(self, outputs: int, **form) -> None:
        self.x = self.add("Relu", self.conv(self.x, self.channels, outputs, **form))
        self.channels = outputs

    def pool(self, operator: str, kernel: int) -> None:
        self.x = self.add(operator, self.x, kernel_shape=[kernel] * 2, strides=[2, 2])

    def classifier(self, softmax: bool) -> onnx.ModelProto:
        x = self.add("GlobalAveragePool", self.x)
        x = self.add("Flatten", x)
        weights = self.random.standard_normal((CLASSES, self.channels)) / np.sqrt(self.channels)
        operands = [weights, self.random.standard_normal(CLASSES) * 0.1]
        x = self.add("Gemm", x, *(self.constant(v.astype(np.float32)) for v in operands), transB=1)
        if softmax:
            x = self.add("Softmax", x, axis=1)
        self.nodes[-1].output[0] = "y"
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "network",
            [info("x", TensorProto.FLOAT, [1, *INPUT])],
            [info("y", TensorProto.FLOAT, [1, CLASSES])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model


def plain(network: Network) -> None:
    network.layer(12)
    network.pool("MaxPool", 2)
    network.layer(24)
    # Of nine integers no mean lies in the middle of two. Of four many do, and ONNX Runtime rounds them in two ways: it
    # adds real values by columns, and by rows in the operator that an optimised session takes instead.
    network.pool("AveragePool", 3)
    network.layer(32)


def residual(network: Network) -> None:
    network.layer(16)
    for _ in range(2):
        before = network.x
        network.layer(16)
        value = network.conv(network.x, 16, 16)
        network.x = network.add("Relu", network.add("Add", value, before))
    network.layer(32, stride=2)


def concat(network: Network) -> None:
    network.layer(16, stride=2)
    for _ in range(2):
        x, channels, branches = network.x, network.channels, []
        for outputs, kernel in [(8, 1), (12, 3), (6, 5)]:
            network.x, network.channels = x, channels
            network.layer(outputs, kernel=kernel)
            branches.append(network.x)
        pooled = network.add("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
        branches.append(network.add("Relu", network.conv(pooled, channels, 6, kernel=1)))
        network.x, network.channels = network.add("Concat", *branches, axis=1), 32


def depthwise(network: Network) -> None:
    network.layer(16, stride=2)
    for outputs, stride in [(24, 1), (32, 2), (32, 1)]:
        network.layer(network.channels, stride=stride, groups=network.channels)
        network.layer(outputs, kernel=1)


NETWORKS = [plain, residual, concat, depthwise]


class Calibration(CalibrationDataReader):
    def __init__(self, samples: np.ndarray):
        self.samples = iter(samples)

    def get_next(self):
        sample = next(self.samples, None)
        return None if sample is None else {"x": sample[None]}


def quantise(float_file: Path, to: Path, form: str, samples: np.ndarray) -> None:
    if FORMATS[form] is None:
        # The runtime multiplies images with unsigned weights alone.
        quantize_dynamic(float_file, to, weight_type=U8)
        return
    kind, activations, weights, per_channel = FORMATS[form]
    quantize_static(
        float_file,
        to,
        Calibration(samples),
        quant_format=kind,
        activation_type=activations,
        weight_type=weights,
        per_channel=per_channel,
        # Unsigned activations times weights of all eight bits saturate in ONNX Runtime on processors without VNNI.
        reduce_range=form == "qoperator",
    )


def output_unit(model: onnx.ModelProto) -> float:
    """The scale of the `DequantizeLinear` that computes the output, 0 where there is none."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.output[0] == model.graph.output[0].name:
            return float(numpy_helper.to_array(constants[node.input[1]]))
    return 0.0


@dataclass
class Row:
    name: str
    outcome: str
    equal: float = 0.0
    off: float = 0.0
    decibels: float = 0.0

    def passes(self) -> bool:
        if self.outcome != "ran":
            return False
        if any(form in self.name for form in EXACT):
            return self.equal >= EQUAL_UNITS and self.off <= 1
        return self.decibels >= DECIBELS


def compare(name: str, wanted: np.ndarray, found: np.ndarray, unit: float) -> Row:
    error = found.astype(np.float64) - wanted
    noise, signal = float((error**2).sum()), float((wanted.astype(np.float64) ** 2).sum())
    decibels = np.inf if noise == 0 else 10 * np.log10(signal / noise)
    # What ends in floats has no unit of its own: one as fine as eight bits of its largest value.
    unit = unit or float(np.abs(wanted).max()) / 255
    off = np.abs(np.rint(error / unit))
    return Row(name, "ran", float((off == 0).mean()), float(off.max()), float(decibels))


def run(scnnc: str, more: list[str], folder: Path, samples: np.ndarray, name: str) -> Row:
    model = folder / "model.onnx"
    options = onnxruntime.SessionOptions()
    # What the file's nodes say: an optimised session replaces, for one, a Softmax between integers by an approximation.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    wanted = np.concatenate([session.run(None, {"x": sample[None]})[0] for sample in samples])
    np.savez(folder / "inputs.npz", x=samples)
    np.savez(folder / "expected.npz", y=wanted)
    command = [scnnc, "run", model, "--input", folder / "inputs.npz", "--calibrate", folder / "inputs.npz"]
    command += ["--check", "--output", folder / "output.npz", *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).splitlines()
        return Row(name, f"exit {done.returncode}: {lines[0] if lines else ''}")
    found = np.load(folder / "output.npz")["y"].reshape(wanted.shape)
    return compare(name, wanted, found, output_unit(onnx.load(model)))


def rows(arguments: argparse.Namespace, folder: Path):
    for number, build in enumerate(NETWORKS):
        for softmax in [False, True]:
            whole = f"{build.__name__}{'-softmax' if softmax else ''}"
            names = {form: f"{whole} {form}" for form in FORMATS}
            if arguments.only:
                names = {f: n for f, n in names.items() if any(word in n for word in arguments.only)}
            if not names:
                continue
            network = Network(number)
            build(network)
            floats = folder / f"{whole}.onnx"
            onnx.save(network.classifier(softmax), floats)
            samples = np.random.default_rng(100 + number).standard_normal((SAMPLES, *INPUT)).astype(np.float32)
            for form, name in names.items():
                case = folder / name.replace(" ", "-")
                case.mkdir(exist_ok=True)
                quantise(floats, case / "model.onnx", form, samples)
                yield run(arguments.scnnc, arguments.options, case, samples, name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scnnc", default="scnnc", help="the binary")
    parser.add_argument("--only", nargs="*", metavar="WORD", help="files whose name holds one of these words")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="where the files stay")
    parser.add_argument("--machine", metavar="M", help="a machine other than the default")
    arguments = parser.parse_args()
    arguments.options = ["--machine", arguments.machine] if arguments.machine else []
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{'file':34} {'equal':>8} {'off by':>7} {'dB':>7}")
        for row in rows(arguments, folder):
            verdict = "" if row.passes() else "  BELOW ITS BAR"
            failed += not row.passes()
            if row.outcome == "ran":
                print(f"{row.name:34} {row.equal:8.2%} {row.off:7.0f} {row.decibels:7.1f}{verdict}", flush=True)
            else:
                print(f"{row.name:34} {row.outcome}{verdict}", flush=True)
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
