"""How costs grow with a network: five layers on ever larger planes, and ever more layers.

    python compiler/driver/benches/growth.py [--scnnc BINARY] [--kind planes|layers] [--most N]

Each network is 3x3 convolutions of 16 channels with a third of their weights, compiled for `scnn` and run once
on noise, half of it zero. Prints CPU seconds and peak memory of both processes, and each per dense product beside the
least so far: 1.0 is as flat as a line through the origin, and what grows with a product more than it should is above.
Needs onnx.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from beside_onnxruntime import Cost, process, released
from onnx import TensorProto, helper, numpy_helper

CHANNELS, DENSITY = 16, 0.35
PLANES = [128, 256, 512, 1024, 2048]
LAYERS = [10, 30, 100, 300, 1000]
LAYERS_OF_A_PLANE, PLANE_OF_LAYERS = 5, 32


def main() -> None:
    options = arguments()
    scnnc = options.scnnc.resolve() if options.scnnc else released()
    kinds = {
        "planes": [(f"{LAYERS_OF_A_PLANE} layers, {n} x {n}", LAYERS_OF_A_PLANE, n) for n in PLANES if n <= options.most],
        "layers": [(f"{n} layers, 32 x 32", n, PLANE_OF_LAYERS) for n in LAYERS if n <= options.most],
    }
    for kind, networks in kinds.items():
        if options.kind in (None, kind):
            print_growth(networks, scnnc)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scnnc", type=Path, help="the binary; default: the released one of this repository, built")
    parser.add_argument("--kind", choices=["planes", "layers"], help="one of the two; default: both")
    parser.add_argument("--most", type=int, default=sys.maxsize, metavar="N", help="no network larger than this")
    return parser.parse_args()


def print_growth(networks: list[tuple[str, int, int]], scnnc: Path) -> None:
    """Prints a line for each network; `x` columns are per product, over the least of the lines so far."""
    titles = ["compile CPU s", "x", "MB", "x", "run CPU s", "x", "MB", "x"]
    print(f"{'':24}" + "".join(f"{title:>{14 if 'CPU' in title else 8}}" for title in titles))
    least = [float("inf")] * 4
    for title, layers, plane in networks:
        products = layers * CHANNELS * CHANNELS * 9 * plane * plane
        figures = cost(layers, plane, scnnc)
        least = [min(of, figure / products) for of, figure in zip(least, figures)]
        cells = zip(figures, (figure / products / of for figure, of in zip(figures, least)))
        line = "".join(f"{figure:{14 if i % 2 == 0 else 8}.{2 - 2 * (i % 2)}f}{x:8.2f}" for i, (figure, x) in enumerate(cells))
        print(f"{title:24}{line}", flush=True)


def cost(layers: int, plane: int, scnnc: Path) -> list[float]:
    """Gives CPU seconds and peak megabytes of compiling, then of running."""
    with tempfile.TemporaryDirectory() as folder:
        model, image, program = (Path(folder) / name for name in ("network.onnx", "image.npy", "network.scnn"))
        write(model, layers, plane)
        values = np.maximum(np.random.default_rng(2).standard_normal((1, CHANNELS, plane, plane)), 0)
        np.save(image, values.astype(np.float32))
        compiled, run = Cost(), Cost()
        process([scnnc, "compile", model, "--calibrate", image, "-o", program, "-q"], compiled)
        process([scnnc, "run", program, "--input", image, "-q"], run)
    return [figure for of in (compiled, run) for figure in (of.cpu_seconds, of.peak_bytes / 1e6)]


def write(path: Path, layers: int, plane: int) -> None:
    """Writes a network of convolutions, each with a ReLU."""
    random = np.random.default_rng(1)
    nodes, weights, above = [], [], "data"
    for layer in range(layers):
        values = random.standard_normal((CHANNELS, CHANNELS, 3, 3)) * (2 / (9 * CHANNELS * DENSITY)) ** 0.5
        values *= random.random(values.shape) < DENSITY
        weights.append(numpy_helper.from_array(values.astype(np.float32), f"w{layer}"))
        nodes.append(helper.make_node("Conv", [above, f"w{layer}"], [f"c{layer}"], f"conv{layer}", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"], f"relu{layer}"))
        above = f"r{layer}"
    shape = [1, CHANNELS, plane, plane]
    data, result = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("data", above))
    graph = helper.make_graph(nodes, "growth", [data], [result], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


if __name__ == "__main__":
    main()
