"""Writes `tiny.onnx`: a small random model that holds each construct once.

It exists for snapshots of what the compiler prints, so it must be small, and
its arithmetic must be ordinary: weights are pruned, and every channel is
calibrated on random images, as training would have done, so that no activation
explodes or dies. The answers of the model mean nothing.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
SEED = 12
IMAGE_SHAPE = [3, 12, 12]
CALIBRATION_IMAGES = 64
WEIGHT_DENSITY = 0.35
CLASSES = 10

ACTIVATION_DENSITIES = (0.3, 0.8)
LARGEST_ACTIVATION = 20.0
SIZE_LIMIT = 30_000


def main() -> None:
    network = tiny()
    check_activations(network)
    model = network.model(1, {"probabilities": [1, CLASSES]})
    model.doc_string = (
        "A small random model for the compiler's snapshots, calibrated on images "
        "drawn from a standard normal distribution."
    )
    onnx.checker.check_model(model, full_check=True)
    assert model.ByteSize() < SIZE_LIMIT, f"{model.ByteSize()} bytes"
    onnx.save(model, HERE / "tiny.onnx")


def tiny() -> "Network":
    net = Network()
    x = net.conv("/stem", "image", 3, 8, 3)
    x = net.add("/stem", "Relu", [x])

    x = net.conv("/block1/conv", x, 8, 8, 3, bias=False)
    x = net.batch_norm("/block1/bn", x)
    x = net.add("/block1", "Relu", [x])

    x = net.conv("/block2/depthwise", x, 8, 8, 3, group=8, deviation=2.5)
    x = net.clip("/block2/relu6", x, 0.0, 6.0)

    x = net.conv("/down", x, 8, 12, 3, stride=2)
    x = skip = net.add("/down", "Relu", [x])

    x = net.conv("/residual/conv1", x, 12, 6, 3)
    x = net.add("/residual/conv1", "Relu", [x])
    x = net.conv("/residual/conv2", x, 6, 12, 3, bias=False)
    x = net.batch_norm("/residual/bn2", x)
    x = net.add("/residual", "Add", [x, skip])
    x = net.add("/residual", "Relu", [x])

    narrow = net.conv("/branch1x1", x, 12, 8, 1)
    narrow = net.add("/branch1x1", "Relu", [narrow])
    wide = net.conv("/branch3x3", x, 12, 8, 3)
    wide = net.add("/branch3x3", "Relu", [wide])
    x = net.add("/branches", "Concat", [narrow, wide], axis=1)

    x = net.add(
        "/pool", "MaxPool", [x], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]
    )
    x = net.add("/head", "GlobalAveragePool", [x])
    x = net.add("/head", "Flatten", [x], axis=1)
    x = net.gemm("/head/fc", x, 16, CLASSES)
    net.add("/head", "Softmax", [x], output="probabilities", axis=-1)
    return net


class Network:
    """A graph under construction, which can run as far as it has got.

    Running it is how each layer's biases and statistics get measured values.
    """

    def __init__(self) -> None:
        self.rng = np.random.default_rng(SEED)
        self.nodes: list[onnx.NodeProto] = []
        self.parameters: dict[str, np.ndarray] = {}
        self.images = self.rng.standard_normal(
            (CALIBRATION_IMAGES, *IMAGE_SHAPE), dtype=np.float32
        )

    def add(
        self,
        scope: str,
        op: str,
        inputs: list[str],
        output: str | None = None,
        **attributes: Any,
    ) -> str:
        """Appends the node `scope/op` and returns the name of its output."""
        name = f"{scope}/{op}"
        output = output or f"{name}_output_0"
        self.nodes.append(helper.make_node(op, inputs, [output], name, **attributes))
        return output

    def conv(
        self,
        scope: str,
        source: str,
        channels: int,
        filters: int,
        size: int,
        stride: int = 1,
        group: int = 1,
        bias: bool = True,
        deviation: float = 1.0,
    ) -> str:
        weight = self.pruned_weight(scope, [filters, channels // group, size, size])
        output = self.add(
            scope,
            "Conv",
            [source, weight],
            dilations=[1, 1],
            group=group,
            kernel_shape=[size, size],
            pads=[size // 2] * 4,
            strides=[stride, stride],
        )
        if bias:
            self.calibrate(scope, weight, output, deviation)
        return output

    def gemm(self, scope: str, source: str, inputs: int, outputs: int) -> str:
        weight = self.pruned_weight(scope, [outputs, inputs])
        output = self.add(
            scope, "Gemm", [source, weight], alpha=1.0, beta=1.0, transB=1
        )
        self.calibrate(scope, weight, output, deviation=1.0)
        return output

    def batch_norm(self, scope: str, source: str) -> str:
        mean, variance = self.statistics(source)
        parameters = {
            "weight": self.rng.uniform(0.6, 1.4, mean.size),
            "bias": self.channel_offsets(mean.size),
            "running_mean": mean,
            "running_var": variance,
        }
        names = [self.parameter(scope, *item) for item in parameters.items()]
        return self.add(
            scope, "BatchNormalization", [source, *names], epsilon=1e-5, momentum=0.9
        )

    def clip(self, scope: str, source: str, low: float, high: float) -> str:
        limits = [
            self.parameter(scope, "min", np.array(low)),
            self.parameter(scope, "max", np.array(high)),
        ]
        return self.add(scope, "Clip", [source, *limits])

    def calibrate(self, scope: str, weight: str, output: str, deviation: float) -> None:
        """Rescales the weights of the newest node and gives it a bias.

        Its channels come out with this standard deviation, and means near zero.
        """
        mean, variance = self.statistics(output)
        scale = deviation / np.sqrt(variance)
        weights = self.parameters[weight]
        scale_of_weight = scale.reshape(-1, *[1] * (weights.ndim - 1))
        self.parameter(scope, "weight", weights * scale_of_weight)
        bias = deviation * self.channel_offsets(mean.size) - scale * mean
        self.nodes[-1].input.append(self.parameter(scope, "bias", bias))

    def pruned_weight(self, scope: str, shape: list[int]) -> str:
        """Prunes by magnitude, sparing each filter's largest weight lest it die."""
        weights = self.rng.standard_normal(shape)
        sizes = np.abs(weights)
        threshold = np.quantile(sizes, 1 - WEIGHT_DENSITY)
        largest = sizes.max(axis=tuple(range(1, sizes.ndim)), keepdims=True)
        kept = np.where(sizes >= np.minimum(threshold, largest), weights, 0.0)
        fan_in = kept[0].size * WEIGHT_DENSITY
        return self.parameter(scope, "weight", kept * np.sqrt(2 / fan_in))

    def channel_offsets(self, channels: int) -> np.ndarray:
        """Channel means, in deviations; they make channels differ in density."""
        return self.rng.normal(0.0, 0.3, channels)

    def parameter(self, scope: str, name: str, values: np.ndarray) -> str:
        """Stores a parameter under its PyTorch-style name, which it returns.

        Values are rounded, so that a runtime whose sums differ in the last bit
        still yields the same file.
        """
        full_name = f"{scope.strip('/').replace('/', '.')}.{name}"
        self.parameters[full_name] = values.round(4).astype(np.float32)
        return full_name

    def statistics(self, tensor: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each channel."""
        values = self.run([tensor])[tensor].astype(np.float64)
        axes = (0, *range(2, values.ndim))
        return values.mean(axes), values.var(axes)

    def run(self, tensors: list[str]) -> dict[str, np.ndarray]:
        """Evaluates tensors on the calibration images."""
        model = self.model(CALIBRATION_IMAGES, dict.fromkeys(tensors))
        session = onnxruntime.InferenceSession(model.SerializeToString())
        values = session.run(tensors, {"image": self.images})
        return dict(zip(tensors, values, strict=True))

    def model(
        self, batch: int, outputs: dict[str, list[int] | None]
    ) -> onnx.ModelProto:
        def tensor_info(name: str, shape: list[int] | None) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        graph = helper.make_graph(
            self.nodes,
            "tiny",
            [tensor_info("image", [batch, *IMAGE_SHAPE])],
            [tensor_info(name, shape) for name, shape in outputs.items()],
            [numpy_helper.from_array(v, name) for name, v in self.parameters.items()],
        )
        return helper.make_model(
            graph,
            producer_name="scnnc/models/tiny.py",
            opset_imports=[helper.make_opsetid("", 13)],
            ir_version=7,
        )


def check_activations(network: Network) -> None:
    """Prints and checks the densities and ranges of weights and activations."""
    for name, values in network.parameters.items():
        if values.ndim > 1:
            print(f"{name}: density {density_of(values):.2f}")
    op_of = {node.output[0]: node.op_type for node in network.nodes}
    for tensor, values in network.run(list(op_of)).items():
        channels = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
        density = density_of(values)
        print(f"{tensor}: density {density:.2f}, largest {np.abs(values).max():.2f}")
        assert np.abs(values).max() < LARGEST_ACTIVATION, f"{tensor} explodes"
        assert (channels.std(1) > 0).all(), f"{tensor} has a dead channel"
        if op_of[tensor] in ("Relu", "Clip"):
            least, most = ACTIVATION_DENSITIES
            assert least <= density <= most, f"{tensor} has density {density:.2f}"


def density_of(values: np.ndarray) -> float:
    return np.count_nonzero(values) / values.size


if __name__ == "__main__":
    main()
