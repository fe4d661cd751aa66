"""Random single-node cases of the operators that a host runs: attributes, shapes and values drawn anew for each."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

F = np.float32


class Draw:
    """A random source of values, and the model of one node that is built with it."""

    def __init__(self, rng):
        self.rng = rng
        self.given, self.constants, self.names = [], [], []

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def dims(self, low=1, high=4, least=1, most=6):
        return [int(n) for n in self.rng.integers(least, most + 1, self.rng.integers(low, high + 1))]

    def floats(self, shape, scale=2.0):
        return (self.rng.standard_normal(shape) * scale).astype(F)

    def input(self, value):
        name = f"x{len(self.names)}"
        self.given.append((name, np.asarray(value)))
        self.names.append(name)

    def constant(self, value):
        name = f"c{len(self.names)}"
        self.constants.append((name, np.asarray(value)))
        self.names.append(name)

    def without(self):
        self.names.append("")

    def model(self, operator, results=1, opset=21, **attributes):
        attributes = {key: value for key, value in attributes.items() if value is not None}
        outputs = [f"y{i}" for i in range(results)]
        node = helper.make_node(operator, self.names, outputs, name="node", **attributes)
        info = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in self.given
        ]
        results = [helper.make_empty_tensor_value_info(name) for name in outputs]
        initializers = [numpy_helper.from_array(value, name) for name, value in self.constants]
        graph = helper.make_graph([node], "g", info, results, initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 9
        return model, [value for _, value in self.given]


def unary(operator, low, high, **attributes):
    def make(d):
        shape = d.dims()
        d.input(d.rng.uniform(low, high, shape).astype(F))
        return d.model(operator, **{key: value(d) for key, value in attributes.items()})

    return make


def some(low, high):
    """A float attribute, or none of it."""
    return lambda d: d.pick(None, float(d.rng.uniform(low, high)), float(d.rng.uniform(low, high)))


def one_of(*choices):
    return lambda d: d.pick(*choices)


def broadcast(d):
    shape = d.dims(1, 4)
    other = [n if d.rng.random() < 0.6 else 1 for n in shape][d.rng.integers(0, len(shape)) :]
    return (shape, other) if d.rng.random() < 0.5 else (other, shape)


def binary(operator, values=lambda d, s: d.floats(s), **attributes):
    def make(d):
        for shape in broadcast(d):
            d.input(values(d, shape))
        return d.model(operator, **{key: value(d) for key, value in attributes.items()})

    return make


def many(operator):
    def make(d):
        shape, other = broadcast(d)
        for number in range(d.rng.integers(1, 4)):
            d.input(d.floats([shape, other][number % 2]))
        return d.model(operator)

    return make


def positive(d, shape):
    return d.rng.uniform(0.1, 3, shape).astype(F)


def same_integers(operator, low, high, **attributes):
    def make(d):
        kind = d.pick(np.int32, np.int64, np.uint8)
        for shape in broadcast(d):
            d.input(d.rng.integers(low, high, shape).astype(kind))
        return d.model(operator, **{key: value(d) for key, value in attributes.items()})

    return make


def booleans(operator):
    return binary(operator, lambda d, shape: d.rng.random(shape) < 0.5)


def negated(d):
    d.input(d.rng.random(d.dims(1, 4)) < 0.5)
    return d.model("Not")


def along(operator, **attributes):
    def make(d):
        shape = d.dims(1, 4)
        d.input(d.floats(shape))
        axis = int(d.rng.integers(-len(shape), len(shape)))
        opset = d.pick(11, 13, 21)
        axis = max(axis, 0) if opset == 11 and operator in ("Hardmax",) else axis
        return d.model(operator, opset=opset, axis=d.pick(None, axis), **attributes)

    return make


def reduced(operator):
    def make(d):
        shape = d.dims(1, 4)
        positive_only = operator in ("ReduceLogSum", "ReduceProd")
        d.input(positive(d, shape) if positive_only else d.floats(shape))
        axes = sorted(set(d.rng.integers(-len(shape), len(shape), 2).tolist()), key=lambda a: a % len(shape))
        axes = [a for i, a in enumerate(axes) if a % len(shape) not in {b % len(shape) for b in axes[:i]}]
        keep = d.pick(None, 0, 1)
        if d.rng.random() < 0.4:
            return d.model(operator, opset=11, axes=d.pick(None, axes), keepdims=keep)
        if d.rng.random() < 0.8:
            d.constant(np.array(axes, np.int64))
        return d.model(operator, opset=18, keepdims=keep, noop_with_empty_axes=d.pick(None, 0, 1))

    return make


def arg(operator):
    def make(d):
        shape = d.dims(1, 4)
        d.input(np.round(d.floats(shape)))
        axis = int(d.rng.integers(-len(shape), len(shape)))
        return d.model(operator, axis=axis, keepdims=d.pick(0, 1), select_last_index=d.pick(None, 0, 1))

    return make


def window(d, rank, kernel=3):
    size = [int(n) for n in d.rng.integers(1, kernel + 1, rank)]
    pads = [int(n) for n in d.rng.integers(0, 2, 2 * rank)]
    pads = [min(p, size[i % rank] - 1) for i, p in enumerate(pads)]
    attributes = {"strides": d.pick(None, [int(n) for n in d.rng.integers(1, 3, rank)])}
    if d.rng.random() < 0.3:
        attributes["auto_pad"] = d.pick("SAME_UPPER", "SAME_LOWER", "VALID")
    else:
        attributes["pads"] = d.pick(None, pads)
        attributes["dilations"] = d.pick(None, [int(n) for n in d.rng.integers(1, 3, rank)])
    return size, attributes


def image(d, rank, channels=None):
    return [d.pick(1, 2), channels or int(d.rng.integers(1, 5)), *(int(n) for n in d.rng.integers(5, 9, rank))]


def pool(operator, **more):
    def make(d):
        rank = d.pick(1, 2, 2, 2, 3)
        size, attributes = window(d, rank)
        d.input(d.floats(image(d, rank)))
        more_here = {key: value(d) for key, value in more.items()}
        return d.model(operator, opset=22 if operator == "LpPool" else 19, kernel_shape=size, ceil_mode=d.pick(None, 0, 1), **attributes, **more_here)

    return make


def global_pool(operator, **more):
    def make(d):
        d.input(d.floats(image(d, d.pick(1, 2, 2, 3))))
        return d.model(operator, **{key: value(d) for key, value in more.items()})

    return make


def conv(d):
    rank, groups = d.pick(1, 2, 2, 3), d.pick(1, 1, 2)
    size, attributes = window(d, rank)
    d.input(d.floats(image(d, rank, 2 * groups)))
    d.constant(d.floats([3 * groups, 2, *size], 0.5))
    if d.rng.random() < 0.5:
        d.constant(d.floats([3 * groups]))
    return d.model("Conv", group=groups, **attributes)


def conv_transpose(d):
    rank, groups = d.pick(1, 2, 2, 3), d.pick(1, 1, 2)
    size, attributes = window(d, rank)
    strides = attributes.get("strides") or [1] * rank
    d.input(d.floats(image(d, rank, 2 * groups)))
    d.constant(d.floats([2 * groups, 3, *size], 0.5))
    if d.rng.random() < 0.3:
        d.constant(d.floats([3 * groups]))
    extra = [int(d.rng.integers(0, s)) for s in strides]
    return d.model("ConvTranspose", group=groups, output_padding=d.pick(None, extra), **attributes)


def resize(d):
    rank = d.pick(1, 2, 2)
    shape = image(d, rank)
    d.input(d.floats(shape))
    mode = d.pick("nearest", "linear", "linear", "cubic")
    coordinates = d.pick(
        None, "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"
    )
    nearest = d.pick(None, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil") if mode == "nearest" else None
    factors = [1.0, 1.0, *(float(d.pick(0.5, 0.75, 1.5, 2, 3, d.rng.uniform(0.4, 3))) for _ in range(rank))]
    d.without()
    # Of a size that is no whole number, the standard's reference and ONNX Runtime align other corners.
    # Of as many values as there are, ONNX Runtime copies them whatever the factor.
    factors = [1.0 if int(n * f) == n else f for n, f in zip(shape, factors)]
    if coordinates != "align_corners" and d.rng.random() < 0.5:
        d.constant(np.array(factors, F))
    else:
        d.without()
        d.constant(np.array([max(1, int(n * f)) for n, f in zip(shape, factors)], np.int64))
    cubic = {"cubic_coeff_a": d.pick(None, -0.5), "exclude_outside": d.pick(None, 0, 1)} if mode == "cubic" else {}
    antialias = d.pick(None, None, 1) if mode != "nearest" else None
    return d.model(
        "Resize", opset=19, mode=mode, coordinate_transformation_mode=coordinates, nearest_mode=nearest,
        antialias=antialias, **cubic,
    )


def recurrent(operator, gates):
    def make(d):
        direction = d.pick("forward", "reverse", "bidirectional")
        both, hidden, size, length, batch = 1 + (direction == "bidirectional"), 5, 4, 6, d.pick(1, 3)
        d.input(d.floats([length, batch, size], 0.7))
        d.constant(d.floats([both, gates * hidden, size], 0.4))
        d.constant(d.floats([both, gates * hidden, hidden], 0.4))
        if d.rng.random() < 0.7:
            d.constant(d.floats([both, 2 * gates * hidden], 0.4))
        else:
            d.without()
        if d.rng.random() < 0.3:
            d.constant(d.rng.integers(1, length + 1, batch).astype(np.int32))
        else:
            d.without()
        if d.rng.random() < 0.4:
            d.input(d.floats([both, batch, hidden], 0.4))
            if operator == "LSTM" and d.rng.random() < 0.7:
                d.input(d.floats([both, batch, hidden], 0.4))
                if d.rng.random() < 0.4:
                    d.constant(d.floats([both, 3 * hidden], 0.4))
        attributes = {"clip": d.pick(None, None, 0.5)}
        per = {"LSTM": 3, "GRU": 2, "RNN": 1}[operator]
        if d.rng.random() < 0.3:
            names = ["Sigmoid", "Tanh", "Relu", "HardSigmoid", "Softsign"]
            attributes["activations"] = [d.pick(*names) for _ in range(per * both)]
        if operator == "GRU":
            attributes["linear_before_reset"] = d.pick(None, 0, 1)
        if operator == "LSTM":
            attributes["input_forget"] = d.pick(None, None, 1)
        results = 3 if operator == "LSTM" else 2
        return d.model(operator, results=results, opset=14, direction=direction, hidden_size=hidden, **attributes)

    return make


def normalised(operator):
    def make(d):
        shape = image(d, d.pick(1, 2, 2))
        if operator == "LayerNormalization":
            axis = int(d.rng.integers(1, len(shape)))
            d.input(d.floats(shape))
            d.constant(d.floats(shape[axis:]))
            if d.rng.random() < 0.6:
                d.constant(d.floats(shape[axis:]))
            return d.model(operator, opset=17, axis=d.pick(axis, axis - len(shape)), epsilon=d.pick(None, 1e-2))
        if operator == "GroupNormalization":
            shape[1] = 4
            d.input(d.floats(shape))
            d.constant(d.floats([4]))
            d.constant(d.floats([4]))
            return d.model(operator, opset=21, num_groups=d.pick(1, 2, 4), epsilon=d.pick(None, 1e-2))
        if operator == "BatchNormalization":
            d.input(d.floats(shape))
            for _ in range(3):
                d.constant(d.floats([shape[1]]))
            d.constant(positive(d, [shape[1]]))
            return d.model(operator, opset=15, epsilon=d.pick(None, 1e-2))
        if operator == "InstanceNormalization":
            d.input(d.floats(shape))
            d.constant(d.floats([shape[1]]))
            d.constant(d.floats([shape[1]]))
            return d.model(operator, epsilon=d.pick(None, 1e-2))
        if operator == "LRN":
            d.input(d.floats(image(d, 2, 6)))
            return d.model(operator, size=d.pick(1, 2, 3, 4, 5), alpha=d.pick(None, 0.1), beta=d.pick(None, 0.5), bias=d.pick(None, 2.0))
        if operator == "MeanVarianceNormalization":
            d.input(d.floats(image(d, 2, 3)))
            return d.model(operator, opset=13, axes=d.pick(None, [0, 2, 3], [2, 3], [1]))
        d.input(d.floats(shape))
        return d.model(operator, opset=22, axis=d.pick(-1, 1), p=d.pick(1, 2))

    return make


def concat(d):
    shape = d.dims(1, 4)
    axis = int(d.rng.integers(-len(shape), len(shape)))
    for _ in range(d.rng.integers(1, 4)):
        own = list(shape)
        own[axis] = int(d.rng.integers(1, 4))
        d.input(d.floats(own))
    return d.model("Concat", axis=axis)


def split(d):
    shape = d.dims(1, 4, 2)
    axis = int(d.rng.integers(-len(shape), len(shape)))
    d.input(d.floats(shape))
    first = int(d.rng.integers(1, shape[axis]))
    if d.rng.random() < 0.6:
        d.constant(np.array([first, shape[axis] - first], np.int64))
        return d.model("Split", results=2, opset=13, axis=axis)
    return d.model("Split", results=2, opset=18, axis=axis, num_outputs=2)


def sliced(d):
    shape = d.dims(1, 4, 2)
    d.input(d.floats(shape))
    axes = sorted(set(d.rng.integers(0, len(shape), 2).tolist()))
    starts = [int(d.rng.integers(-shape[a] - 1, shape[a])) for a in axes]
    ends = [int(d.pick(2**31, d.rng.integers(1, shape[a] + 2), -1)) for a in axes]
    steps = [int(d.pick(1, 1, 2, -1, -2)) for _ in axes]
    for i, step in enumerate(steps):
        if step < 0:
            starts[i], ends[i] = shape[axes[i]], -(2**31)
    for values in (starts, ends, axes, steps):
        d.constant(np.array(values, np.int64))
    return d.model("Slice", opset=13)


def gather(operator):
    def make(d):
        shape = d.dims(2, 4, 2)
        d.input(d.floats(shape))
        if operator == "GatherND":
            batch = d.pick(0, 0, 1)
            depth = int(d.rng.integers(1, len(shape) - batch + 1))
            leading = [*shape[:batch], *d.dims(1, 2)]
            indices = np.stack([d.rng.integers(-shape[batch + i], shape[batch + i], leading) for i in range(depth)], -1)
            d.input(indices.astype(np.int64))
            return d.model(operator, batch_dims=d.pick(batch, batch or None))
        axis = int(d.rng.integers(-len(shape), len(shape)))
        own = list(shape)
        if operator == "GatherElements":
            own[axis] = int(d.rng.integers(1, 5))
        else:
            own = d.dims(0, 2) if d.rng.random() < 0.8 else []
        indices = d.rng.integers(-shape[axis], shape[axis], own).astype(d.pick(np.int32, np.int64))
        d.pick(d.input, d.constant)(indices)
        return d.model(operator, axis=axis)

    return make


def scatter(operator):
    def make(d):
        shape = d.dims(2, 3, 2)
        d.input(d.floats(shape))
        if operator == "ScatterND":
            depth = int(d.rng.integers(1, len(shape) + 1))
            count = 2
            flat = d.rng.choice(int(np.prod(shape[:depth])), count, replace=False)
            indices = np.stack(np.unravel_index(flat, shape[:depth]), -1).astype(np.int64)
            d.input(indices)
            d.input(d.floats([count, *shape[depth:]]))
        else:
            axis = int(d.rng.integers(0, len(shape)))
            own = list(shape)
            own[axis] = 1
            d.input(d.rng.integers(-shape[axis], shape[axis], own).astype(np.int64))
            d.input(d.floats(own))
        more = {} if operator == "ScatterND" else {"axis": axis}
        return d.model(operator, opset=18, reduction=d.pick(None, "none", "add", "mul", "max", "min"), **more)

    return make


def padded(d):
    shape = d.dims(1, 4, 3)
    d.input(d.floats(shape))
    mode = d.pick(None, "constant", "reflect", "edge", "wrap")
    pads = d.rng.integers(0 if mode not in (None, "constant") else -1, 3, 2 * len(shape))
    d.constant(pads.astype(np.int64))
    if mode in (None, "constant") and d.rng.random() < 0.5:
        d.constant(np.array(1.5, F))
    return d.model("Pad", opset=19, mode=mode)


def moved(operator):
    def make(d):
        if operator in ("DepthToSpace", "SpaceToDepth"):
            d.input(d.floats([d.pick(1, 2), 8, 4, 6]))
            mode = {"mode": d.pick(None, "DCR", "CRD")} if operator == "DepthToSpace" else {}
            return d.model(operator, blocksize=2, **mode)
        shape = d.dims(2, 4)
        d.input(d.floats(shape))
        if operator == "Transpose":
            perm = [int(i) for i in d.rng.permutation(len(shape))]
            return d.model(operator, perm=d.pick(None, perm))
        if operator == "Tile":
            d.constant(d.rng.integers(1, 4, len(shape)).astype(np.int64))
        if operator == "Expand":
            own = [1 if d.rng.random() < 0.5 else n for n in shape]
            d.given[0] = ("x0", d.floats(own))
            d.constant(np.array([2, *shape], np.int64))
        if operator == "Trilu":
            if d.rng.random() < 0.6:
                d.constant(np.array(int(d.rng.integers(-2, 3)), np.int64))
            return d.model(operator, upper=d.pick(None, 0, 1))
        if operator == "Flatten":
            return d.model(operator, axis=d.pick(None, *range(-len(shape), len(shape) + 1)))
        if operator == "Reshape":
            d.constant(np.array([*shape[:1], -1], np.int64))
        return d.model(operator)

    return make


def matmul(d):
    m, k, n = (int(v) for v in d.rng.integers(1, 6, 3))
    lead, other = broadcast(d) if d.rng.random() < 0.6 else ([], [])
    d.input(d.floats([*lead, m, k]))
    d.pick(d.input, d.constant)(d.floats([*other, k, n]))
    return d.model("MatMul")


def gemm(d):
    m, k, n = (int(v) for v in d.rng.integers(1, 6, 3))
    ta, tb = d.pick(0, 1), d.pick(0, 1)
    d.input(d.floats([k, m] if ta else [m, k]))
    d.pick(d.input, d.constant)(d.floats([n, k] if tb else [k, n]))
    if d.rng.random() < 0.7:
        d.constant(d.floats(d.pick([n], [1, n], [m, n], [m, 1], [])))
    return d.model("Gemm", transA=d.pick(ta, ta or None), transB=tb, alpha=d.pick(None, 0.5), beta=d.pick(None, 0.3))


def einsum(d):
    equation, shapes = d.pick(
        ("ij,jk->ik", ([3, 4], [4, 2])), ("bij,bjk->bik", ([2, 3, 4], [2, 4, 5])), ("bhid,bhjd->bhij", ([1, 2, 3, 4], [1, 2, 5, 4])),
        ("ij->ji", ([3, 4],)), ("ij->i", ([3, 4],)), ("i,j->ij", ([3], [4])), ("bij,bij->b", ([2, 3, 4], [2, 3, 4])),
        ("...ij,...jk->...ik", ([2, 3, 4], [2, 4, 5])), ("ii->i", ([4, 4],)), ("ij,jk", ([3, 4], [4, 2])),
    )
    for shape in shapes:
        d.input(d.floats(shape))
    return d.model("Einsum", equation=equation)


def top_k(d):
    shape = d.dims(1, 3, 3)
    axis = int(d.rng.integers(-len(shape), len(shape)))
    d.input(d.rng.permutation(int(np.prod(shape))).reshape(shape).astype(F))
    d.constant(np.array([int(d.rng.integers(1, shape[axis] + 1))], np.int64))
    return d.model("TopK", results=2, axis=axis, largest=d.pick(None, 0, 1))


def cast(d):
    kinds = [np.float32, np.int32, np.int64, np.uint8, np.int8, np.bool_]
    source, target = d.pick(*kinds), d.pick(*kinds)
    values = d.rng.uniform(0, 100, d.dims()) if source != np.bool_ else d.rng.random(d.dims()) < 0.5
    d.input(values.astype(source))
    return d.model("Cast", to=helper.np_dtype_to_tensor_dtype(np.dtype(target)))


def where(d):
    shape, other = broadcast(d)
    d.input(d.rng.random(shape) < 0.5)
    d.input(d.floats(other))
    d.input(d.floats(shape))
    return d.model("Where")


def one_hot(d):
    d.input(d.rng.integers(-4, 4, d.dims(1, 2)).astype(np.int64))
    d.constant(np.array(4, np.int64))
    d.constant(np.array([0.5, 2], F))
    return d.model("OneHot", axis=d.pick(None, 0, -1))


def cumulated(d):
    shape = d.dims(1, 3)
    d.input(d.floats(shape))
    d.constant(np.array(int(d.rng.integers(-len(shape), len(shape))), np.int64))
    return d.model("CumSum", exclusive=d.pick(None, 0, 1), reverse=d.pick(None, 0, 1))


def quantised(operator):
    def make(d):
        shape, kind = image(d, 2), d.pick(np.uint8, np.int8)
        per_channel = d.rng.random() < 0.4
        count = [shape[1]] if per_channel else []
        scale, zero = d.rng.uniform(0.01, 0.1, count).astype(F), d.rng.integers(0, 20, count).astype(kind)
        if operator == "QuantizeLinear":
            d.input(d.floats(shape))
        else:
            d.input(d.rng.integers(0, 100, shape).astype(kind))
        d.constant(scale)
        if d.rng.random() < 0.8:
            d.constant(zero)
        elif operator == "DequantizeLinear":
            d.without()
        return d.model(operator, opset=13, axis=1 if per_channel else None)

    return make


def dynamically(d):
    d.input(d.floats(d.dims(), d.pick(0.1, 1, 10)))
    return d.model("DynamicQuantizeLinear", results=3)


def integer_product(operator):
    def make(d):
        kinds = d.pick((np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8))
        if operator == "MatMulInteger":
            d.input(d.rng.integers(0, 100, [3, 4]).astype(kinds[0]))
            d.constant(d.rng.integers(0, 100, [4, 5]).astype(kinds[1]))
            attributes = {}
        else:
            size, attributes = window(d, 2)
            d.input(d.rng.integers(0, 100, image(d, 2, 2)).astype(kinds[0]))
            d.constant(d.rng.integers(0, 100, [3, 2, *size]).astype(kinds[1]))
        if d.rng.random() < 0.7:
            d.constant(np.array(7, kinds[0]))
            if d.rng.random() < 0.6:
                d.constant(np.array(3, kinds[1]))
        return d.model(operator, **attributes)

    return make


def grid_sample(d):
    d.input(d.floats(image(d, 2)))
    batch = d.given[0][1].shape[0]
    d.input(d.rng.uniform(-1.2, 1.2, [batch, 3, 4, 2]).astype(F))
    return d.model(
        "GridSample", opset=20, mode=d.pick("linear", "nearest", "cubic"), align_corners=d.pick(0, 1),
        padding_mode=d.pick("zeros", "border", "reflection"),
    )


UNARY = {
    "Abs": (-3, 3), "Acos": (-1, 1), "Acosh": (1, 5), "Asin": (-1, 1), "Asinh": (-5, 5), "Atan": (-5, 5), "Atanh": (-0.99, 0.99),
    "Ceil": (-5, 5), "Cos": (-9, 9), "Cosh": (-4, 4), "Erf": (-3, 3), "Exp": (-9, 9), "Floor": (-5, 5), "HardSwish": (-5, 5),
    "Identity": (-5, 5), "IsNaN": (-5, 5), "Log": (0.01, 9), "Mish": (-9, 9), "Neg": (-5, 5), "Reciprocal": (0.1, 5), "Relu": (-3, 3),
    "Round": (-5, 5), "Sigmoid": (-20, 20), "Sign": (-3, 3), "Sin": (-9, 9), "Sinh": (-4, 4), "Softplus": (-120, 120),
    "Softsign": (-9, 9), "Sqrt": (0, 9), "Tan": (-1.4, 1.4), "Tanh": (-9, 9),
}  # fmt: skip

CASES = {
    **{operator: unary(operator, *bounds) for operator, bounds in UNARY.items()},
    "Celu": unary("Celu", -4, 4, alpha=some(0.2, 3)),
    "Elu": unary("Elu", -4, 4, alpha=some(0.2, 3)),
    "Selu": unary("Selu", -4, 4, alpha=some(0.2, 3), gamma=some(0.5, 2)),
    "HardSigmoid": unary("HardSigmoid", -6, 6, alpha=some(0.1, 1), beta=some(0.1, 1)),
    "LeakyRelu": unary("LeakyRelu", -4, 4, alpha=some(-1, 2)),
    "ThresholdedRelu": unary("ThresholdedRelu", -4, 4, alpha=some(0.2, 3)),
    "Shrink": unary("Shrink", -4, 4, bias=some(0.1, 1), lambd=some(0.1, 2)),
    "Gelu": unary("Gelu", -5, 5, approximate=one_of(None, "none", "tanh")),
    "Add": binary("Add"), "Sub": binary("Sub"), "Mul": binary("Mul"),
    "Div": binary("Div", positive), "Pow": binary("Pow", positive),
    "Mod": same_integers("Mod", 1, 9),
    "Max": many("Max"), "Min": many("Min"), "Mean": many("Mean"), "Sum": many("Sum"),
    "And": booleans("And"), "Or": booleans("Or"), "Xor": booleans("Xor"), "Not": negated,
    "Equal": same_integers("Equal", 0, 3),
    **{name: binary(name, lambda d, s: np.round(d.floats(s))) for name in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")},
    "BitwiseAnd": same_integers("BitwiseAnd", 0, 100), "BitwiseOr": same_integers("BitwiseOr", 0, 100),
    "BitwiseXor": same_integers("BitwiseXor", 0, 100),
    **{name: along(name) for name in ("Softmax", "LogSoftmax", "Hardmax")},
    **{name: reduced(name) for name in (
        "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
        "ReduceSum", "ReduceSumSquare")},
    "ArgMax": arg("ArgMax"), "ArgMin": arg("ArgMin"),
    "AveragePool": pool("AveragePool", count_include_pad=one_of(None, 0, 1)), "MaxPool": pool("MaxPool"),
    "LpPool": pool("LpPool", p=one_of(None, 1, 2, 3)),
    "GlobalAveragePool": global_pool("GlobalAveragePool"), "GlobalMaxPool": global_pool("GlobalMaxPool"),
    "GlobalLpPool": global_pool("GlobalLpPool", p=one_of(None, 1, 2, 3)),
    "Conv": conv, "ConvTranspose": conv_transpose, "Resize": resize, "GridSample": grid_sample,
    "LSTM": recurrent("LSTM", 4), "GRU": recurrent("GRU", 3), "RNN": recurrent("RNN", 1),
    **{name: normalised(name) for name in (
        "BatchNormalization", "GroupNormalization", "InstanceNormalization", "LRN", "LayerNormalization",
        "LpNormalization", "MeanVarianceNormalization")},
    "Concat": concat, "Split": split, "Slice": sliced, "Pad": padded, "Where": where, "OneHot": one_hot, "CumSum": cumulated,
    **{name: gather(name) for name in ("Gather", "GatherElements", "GatherND")},
    **{name: scatter(name) for name in ("ScatterElements", "ScatterND")},
    **{name: moved(name) for name in (
        "DepthToSpace", "Expand", "Flatten", "Reshape", "SpaceToDepth", "Tile", "Transpose", "Trilu")},
    "MatMul": matmul, "Gemm": gemm, "Einsum": einsum, "TopK": top_k, "Cast": cast,
    "QuantizeLinear": quantised("QuantizeLinear"), "DequantizeLinear": quantised("DequantizeLinear"),
    "DynamicQuantizeLinear": dynamically,
    "MatMulInteger": integer_product("MatMulInteger"), "ConvInteger": integer_product("ConvInteger"),
}  # fmt: skip


def random_models(count, rng):
    """Operator, number, model and inputs of `count` cases of each operator."""
    for operator, make in sorted(CASES.items()):
        for number in range(count):
            model, inputs = make(Draw(rng))
            yield operator, number, model, inputs
