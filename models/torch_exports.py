"""Exports a small residual network with both of PyTorch's exporters, into `torch/`.

`residual-legacy.onnx` is by the exporter that traces (`dynamo=False`): batch
normalisation left as it is, the batch as a dynamic axis, operator set 13.
`residual-dynamo.onnx` is by the newer one (`dynamo=True`): operator set 18, the
batch as a symbol, the weights in a file of their own. `image.npy` holds two images
and `scores.npz` what PyTorch answers to them.

    python models/torch_exports.py
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

FOLDER = Path(__file__).parent / "torch"
SEED = 0


class Block(nn.Module):
    """Two convolutions and a shortcut, which is a convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        shortcut = [nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)]
        self.shortcut = nn.Identity() if same else nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class Residual(nn.Module):
    """A stem, two blocks, the mean of the plane, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(Block(8, 8, 1), Block(8, 16, 2))
        self.head = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        y = self.blocks(torch.relu(self.norm(self.stem(image))))
        y = nn.functional.adaptive_avg_pool2d(y, 1)
        return self.head(torch.flatten(y, 1))


def main() -> None:
    torch.manual_seed(SEED)
    model = Residual()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    model.eval()
    image = torch.rand(2, 3, 24, 24)
    with torch.no_grad():
        scores = model(image)
    FOLDER.mkdir(exist_ok=True)
    np.save(FOLDER / "image.npy", image.numpy())
    np.savez(FOLDER / "scores.npz", scores=scores.numpy())
    names = {"input_names": ["image"], "output_names": ["scores"]}
    torch.onnx.export(
        model,
        image,
        FOLDER / "residual-legacy.onnx",
        dynamo=False,
        opset_version=13,
        do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
        **names,
    )
    torch.onnx.export(
        model,
        (image,),
        FOLDER / "residual-dynamo.onnx",
        dynamo=True,
        opset_version=18,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
        external_data=True,
        verbose=False,
        **names,
    )
    forget_paths(FOLDER / "residual-dynamo.onnx")


def forget_paths(file: Path) -> None:
    """The exporter notes for each node where in which file of this machine it was called: not for a repository."""
    model = onnx.load(file, load_external_data=False)
    graph = model.graph
    for part in [model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer]:
        del part.metadata_props[:]
    onnx.save(model, file)


if __name__ == "__main__":
    main()
