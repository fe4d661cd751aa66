"""Random machines and random small models, as files that the binary reads."""

from pathlib import Path
from random import Random

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save


def machine(random: Random) -> dict:
    """Parameters of a machine; what they leave out is the paper's."""
    either = random.choice
    f, i = either([1, 2, 3, 4, 4, 8]), either([1, 2, 3, 4, 4, 8])
    xor = random.random() < 0.2
    banks = either([1, 2, 4, 8, 16, 32, 32, 64]) if xor else either([1, 2, 3, 5, 8, 16, 31, 32, 32, 48])
    dram = either([0.3, 0.7, 2.0, 5.0, 12.5, 50.0, 50.0, 200.0])
    return {
        "array": {"rows": either([1, 1, 2, 2, 3, 4, 8]), "cols": either([1, 1, 2, 2, 4, 5])},
        "pe": {
            "weights_per_vector": f,
            "activations_per_vector": i,
            "operand_bits": either([8, 11, 16, 16, 16]),
            "banks": banks,
            "entries_per_bank": max(1, either([64, 256, 1024]) // banks),
            "queue_depth": either([0, 1, 2, 4, 8, 8]),
            "bank_map": "xor" if xor else "modulo",
        },
        "encoding": {
            "index_bits": either([1, 2, 3, 4, 4, 8]),
            "compress_weights": random.random() < 0.85,
            "compress_activations": random.random() < 0.85,
        },
        "activation_ram": {key: either([64, 64, 100, 200, 1000, 10240]) for key in ("a_bytes", "b_bytes")},
        "weights": {
            "fifo_vectors": either([1, 2, 3, 5, 10, 50, 200]),
            "delivery": either(["broadcast", "multicast"]),
            "bus_vectors_per_cycle": either([1, 2, 3, 5, 8]),
        },
        "sync": {"drift": either(["fifo", "fifo", "group"]), "layers": either(["overlap", "barrier"])},
        "ppu": {"lanes": either([1, 2, 4, 16]), "halo_sums_per_cycle": either([1, 1, 2, 5])},
        "dram": {"gigabytes_per_second": dram},
        "host_link": {"gigabytes_per_second": either([1.0, 16.0])},
        "clock": {"gigahertz": either([1.0, 1.0, 0.8, 1.3])},
    }


def write_machine(parameters: dict, path: Path):
    lines = ["extends: scnn", "name: random"]
    for section, fields in parameters.items():
        lines.append(f"{section}:")
        lines += [f"  {key}: {str(value).lower()}" for key, value in fields.items()]
    path.write_text("\n".join(lines) + "\n")


class Model:
    """A model under construction: tensors by name with their shape."""

    def __init__(self, random: Random):
        self.random, self.nodes, self.constants, self.shapes = random, [], [], {}
        self.noise = np.random.default_rng(random.getrandbits(32))

    def add(self, operator: str, inputs: list, shape: tuple, **attributes) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, inputs, [name], name=f"{operator}{len(self.nodes)}", **attributes)
        )
        self.shapes[name] = shape
        return name

    def constant(self, shape: tuple, density: float) -> str:
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(self.sparse(shape, density), name))
        return name

    def sparse(self, shape: tuple, density: float) -> np.ndarray:
        values = self.noise.normal(size=shape).astype(np.float32)
        values[self.noise.random(shape) >= density] = 0
        return values

    def density(self) -> float:
        return self.random.choice([0.05, 0.2, 0.4, 0.6, 0.8, 1.0])

    def conv(self, source: str) -> str:
        """A convolution of any kind that fits its source, and a ReLU or none."""
        either = self.random.choice
        n, c, h, w = self.shapes[source]
        groups = either([g for g in (1, 1, 1, 2, 3, c) if c % g == 0])
        k = groups * either([1, 2, 3, 5, 8] if groups == 1 else [1, 2])
        kernel = [either([1, 2, 3, 3, 5]), either([1, 2, 3, 3, 5])]
        strides, dilations = [either([1, 1, 1, 2, 3]) for _ in "yx"], [either([1, 1, 1, 2]) for _ in "yx"]
        pads = [either([0, 0, 1, 2]) for _ in range(4)]
        for axis, extent in enumerate((h, w)):
            window = dilations[axis] * (kernel[axis] - 1) + 1
            if extent + pads[axis] + pads[axis + 2] < window:
                kernel[axis], dilations[axis] = 1, 1
        out = [
            (extent + pads[axis] + pads[axis + 2] - dilations[axis] * (kernel[axis] - 1) - 1) // strides[axis] + 1
            for axis, extent in enumerate((h, w))
        ]
        weights = self.constant((k, c // groups, *kernel), self.density())
        output = self.add(
            "Conv",
            [source, weights],
            (n, k, *out),
            kernel_shape=kernel,
            strides=strides,
            dilations=dilations,
            pads=pads,
            group=groups,
        )
        return self.relu(output)

    def transposed(self, source: str) -> str:
        """A transposed convolution."""
        either = self.random.choice
        n, c, h, w = self.shapes[source]
        k, kernel, stride = either([1, 2, 4]), either([2, 3]), either([2, 2, 3])
        weights = self.constant((c, k, kernel, kernel), self.density())
        shape = (n, k, (h - 1) * stride + kernel, (w - 1) * stride + kernel)
        return self.relu(
            self.add("ConvTranspose", [source, weights], shape, kernel_shape=[kernel] * 2, strides=[stride] * 2)
        )

    def relu(self, source: str) -> str:
        return self.add("Relu", [source], self.shapes[source]) if self.random.random() < 0.7 else source

    def pool(self, source: str) -> str:
        n, c, h, w = self.shapes[source]
        kernel, stride = min(self.random.choice([2, 3]), h, w), self.random.choice([1, 2])
        shape = (n, c, (h - kernel) // stride + 1, (w - kernel) // stride + 1)
        kind = self.random.choice(["MaxPool", "MaxPool", "AveragePool"])
        return self.add(kind, [source], shape, kernel_shape=[kernel] * 2, strides=[stride] * 2)

    def residual(self, source: str) -> str:
        """A 1x1 convolution of the same shape, added to its source or multiplied by it."""
        n, c, h, w = self.shapes[source]
        weights = self.constant((c, c, 1, 1), self.density())
        other = self.add("Conv", [source, weights], (n, c, h, w), kernel_shape=[1, 1])
        return self.relu(self.add(self.random.choice(["Add", "Add", "Mul"]), [other, source], (n, c, h, w)))

    def gate(self, source: str) -> str:
        """One value for each image and channel, from a mean over the plane, times the source."""
        n, c, _, _ = self.shapes[source]
        mean = self.add("GlobalAveragePool", [source], (n, c, 1, 1))
        values = self.add(
            "Conv", [mean, self.constant((c, c, 1, 1), self.density())], (n, c, 1, 1), kernel_shape=[1, 1]
        )
        return self.add("Mul", [source, self.add("Sigmoid", [values], (n, c, 1, 1))], self.shapes[source])

    def branches(self, source: str) -> str:
        """Two convolutions of one source, side by side."""
        n, c, h, w = self.shapes[source]
        ends, channels = [], 0
        for kernel in (1, 3):
            k = self.random.choice([1, 2, 4])
            weights = self.constant((k, c, kernel, kernel), self.density())
            pads = [kernel // 2] * 4
            ends.append(
                self.relu(self.add("Conv", [source, weights], (n, k, h, w), kernel_shape=[kernel] * 2, pads=pads))
            )
            channels += k
        return self.add("Concat", ends, (n, channels, h, w), axis=1)

    def dense(self, source: str) -> str:
        n, c, h, w = self.shapes[source]
        flat = self.add("Flatten", [source], (n, c * h * w))
        outputs = self.random.choice([1, 4, 10, 33])
        weights = self.constant((outputs, c * h * w), self.density())
        return self.add("Gemm", [flat, weights], (n, outputs), transB=1)


def one_layer(values: dict, path: Path) -> Path:
    """Writes a convolution with the given input and weights; returns the input's path."""
    x, w = (np.array(values[name], dtype=np.float32) for name in ("input", "weights"))
    kernel = list(w.shape[2:])
    pads = [extent // 2 for extent in kernel] * 2
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", kernel_shape=kernel, pads=pads)
    info = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    outputs = (x.shape[0], w.shape[0], *x.shape[2:])
    graph = helper.make_graph(
        [node], "example", [info("x", x.shape)], [info("y", outputs)], [numpy_helper.from_array(w, "w")]
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    np.save(path.with_suffix(".npy"), x)
    return (path.with_suffix(".npy"),) * 2


def model(random: Random, path: Path) -> tuple:
    """Writes a model of a few layers, an input for it, and one to calibrate with, the same or sparser, so that what
    is reserved does not suffice; returns the paths of the inputs."""
    built = Model(random)
    shape = (
        random.choice([1, 1, 1, 2, 3]),
        random.choice([2, 3, 4, 7]),
        random.choice([1, 3, 4, 6, 9, 12]),
        random.choice([1, 3, 4, 5, 8, 13]),
    )
    built.shapes["x"] = shape
    end = "x"
    kinds = (
        [built.conv] * 5 + [built.residual] * 3 + [built.pool] * 2 + [built.branches, built.transposed, built.gate]
    )
    end = random.choice([built.conv, built.conv, built.residual])(end)
    for _ in range(random.choice([0, 1, 2, 3])):
        n, c, h, w = built.shapes[end]
        if n * c * h * w <= 4000:
            end = random.choice(kinds)(end)
    if random.random() < 0.25:
        end = built.dense(end)
    if random.random() < 0.15:
        # The host's.
        end = built.add("Softmax", [end], built.shapes[end], axis=1)
    info = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        built.nodes, "random", [info("x", shape)], [info(end, built.shapes[end])], built.constants
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    inputs = [path.with_suffix(".npy"), path.with_suffix(".calibrate.npy")]
    values = built.sparse(shape, built.density())
    np.save(inputs[0], values)
    np.save(inputs[1], values * built.sparse(shape, random.choice([0.1, 0.5, 1.0])))
    return tuple(inputs)
