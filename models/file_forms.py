"""Models that say the same in the ways that ONNX files say it, and what ONNX Runtime computes for them.

Each form is a small model of an operator set and an exporter's habit: axes as attributes or operands, composite operators,
operands that are left out, functions, branches, float types. The answers are ONNX Runtime's, or NumPy's where that no longer
reads the operator set. `cargo test` runs the bundle: every form is to compile, run and give these answers.

    python models/file_forms.py                     says how many forms there are, and which ONNX Runtime does not run
    python models/file_forms.py --bundle FILE.npz   writes models/file-forms.npz, which the tests read
"""

import argparse
import io
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

try:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(0)

MICROSOFT = "com.microsoft"
LEARN = "ai.onnx.ml"
random = np.random.default_rng(11)


def noise(*shape):
    return random.standard_normal(shape).astype(np.float32)


@dataclass
class Form:
    """A model under construction."""

    opset: int
    nodes: list = field(default_factory=list)
    constants: list = field(default_factory=list)
    sparse: list = field(default_factory=list)
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    functions: list = field(default_factory=list)
    samples: dict = field(default_factory=dict)
    want: Callable | None = None
    count: int = 0

    def input(self, *shape, dtype=np.float32, name="x", sample=None):
        value = noise(*shape) if sample is None else sample
        self.samples[name] = value.astype(dtype)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def constant(self, value, name=None):
        self.count += 1
        name = name or f"c{self.count}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, operator, inputs, outputs=1, domain=None, name=None, **attributes):
        self.count += 1
        if isinstance(outputs, int):
            outputs = [f"t{self.count}_{i}" for i in range(outputs)]
        name = f"{operator}_{self.count}" if name is None else name
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, domain=domain, **attributes))
        return outputs[0] if len(outputs) == 1 else outputs

    def conv(self, x, channels=3, filters=4, kernel=3):
        """A convolution, so that the array has something to do."""
        weights = noise(filters, channels, kernel, kernel) / kernel
        return self.node("Conv", [x, self.constant(weights)], pads=[kernel // 2] * 4)

    def planes(self, filters=4):
        """The result of a convolution of planes of 6 x 6."""
        return self.conv(self.input(1, 3, 6, 6), filters=filters)

    def output(self, name, kind=TensorProto.FLOAT):
        self.outputs.append(helper.make_tensor_value_info(name, kind, None))

    def model(self):
        graph = helper.make_graph(
            self.nodes, "form", self.inputs, self.outputs, self.constants, sparse_initializer=self.sparse
        )
        imports = [helper.make_opsetid("", self.opset)]
        domains = {n.domain for n in self.nodes if n.domain}
        imports += [helper.make_opsetid(domain, 1) for domain in sorted(domains)]
        model = helper.make_model(graph, opset_imports=imports, functions=self.functions)
        model.ir_version = 10 if self.opset > 20 else 8
        return model


FORMS: dict[str, Form] = {}


def form(*opsets):
    """Registers a builder, once for each operator set; the tensor that it returns is the output."""

    def register(build):
        for opset in opsets:
            made = Form(opset)
            result = build(made)
            if result is not None:
                made.output(result)
            FORMS[f"{build.__name__}_{opset}"] = made
        return build

    return register


# Axes, bounds and scales as attributes and as operands.


@form(7, 11)
def squeeze_axes(f):
    x = f.node("GlobalAveragePool", [f.planes()])
    return f.node("Squeeze", [x], axes=[2, 3])


@form(7, 11, 13)
def squeeze_without_axes(f):
    return f.node("Squeeze", [f.node("GlobalAveragePool", [f.planes()])])


@form(11)
def squeeze_negative_axes(f):
    x = f.node("GlobalAveragePool", [f.planes()])
    return f.node("Squeeze", [x], axes=[-1, -2])


@form(7, 11)
def unsqueeze_axes(f):
    x = f.node("Squeeze", [f.node("GlobalAveragePool", [f.planes()])], axes=[2, 3])
    return f.node("Unsqueeze", [x], axes=[2, 3])


@form(7, 12)
def split_sizes(f):
    first, second = f.node("Split", [f.planes()], 2, axis=1, split=[3, 1])
    return f.node("Mul", [first, second])


@form(7, 12, 13)
def split_equal(f):
    first, second = f.node("Split", [f.planes()], 2, axis=1)
    return f.node("Add", [first, f.node("Relu", [second])])


@form(18)
def split_by_number(f):
    first, second, _ = f.node("Split", [f.planes(5)], 3, axis=1, num_outputs=3)
    return f.node("Add", [first, second])


@form(7, 9)
def slice_attributes(f):
    return f.node("Slice", [f.planes()], axes=[1, 3], starts=[1, -4], ends=[3, 1000])


@form(7)
def slice_without_axes(f):
    return f.node("Slice", [f.planes()], starts=[0, 1, 2, 0], ends=[1, 4, 6, 5])


@form(7, 10)
def pad_attributes(f):
    return f.node("Pad", [f.planes()], pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.5)


@form(11, 18)
def pad_negative(f):
    pads = f.constant(np.array([0, 0, -1, 1, 0, 0, 0, -2]))
    return f.node("Pad", [f.planes(), pads])


@form(7, 10)
def clip_attributes(f):
    return f.node("Clip", [f.planes()], min=-0.25, max=0.5)


@form(7)
def clip_one_attribute(f):
    return f.node("Clip", [f.planes()], max=0.25)


@form(11, 13)
def clip_left_out(f):
    return f.node("Clip", [f.planes(), "", f.constant(np.float32(0.25))])


@form(13)
def clip_infinite(f):
    bounds = [f.constant(np.float32(0)), f.constant(np.float32(np.inf))]
    return f.node("Clip", [f.planes(), *bounds])


@form(9)
def top_k_attribute(f):
    x = f.node("Flatten", [f.node("GlobalAveragePool", [f.planes()])])
    values, _ = f.node("TopK", [x], 2, k=2)
    return values


@form(10, 11)
def top_k_operand(f):
    x = f.node("Flatten", [f.node("GlobalAveragePool", [f.planes()])])
    values, _ = f.node("TopK", [x, f.constant(np.array([2]))], 2)
    return values


@form(7, 12)
def reduce_sum_attributes(f):
    return f.node("ReduceSum", [f.planes()], axes=[2, 3], keepdims=0)


@form(12, 13)
def reduce_sum_of_all(f):
    return f.node("ReduceSum", [f.planes()])


@form(13)
def reduce_sum_operand(f):
    return f.node("ReduceSum", [f.planes(), f.constant(np.array([-1]))])


@form(9, 13, 17)
def reduce_mean_attributes(f):
    return f.node("ReduceMean", [f.planes()], axes=[2, 3])


@form(18)
def reduce_mean_operand(f):
    return f.node("ReduceMean", [f.planes(), f.constant(np.array([2, 3]))])


@form(18)
def reduce_max_left_out(f):
    return f.node("ReduceMax", [f.planes(), ""], keepdims=0)


# Operators whose meaning changed.


@form(7, 12, 13)
def softmax_of_planes(f):
    return f.node("Softmax", [f.planes()], axis=1)


@form(11)
def softmax_from_the_second_axis(f):
    return f.node("LogSoftmax", [f.planes()], axis=2)


@form(7, 11)
def softmax_by_default(f):
    return f.node("Softmax", [f.node("Flatten", [f.planes()])])


@form(11)
def hardmax_of_planes(f):
    return f.node("Hardmax", [f.planes()])


@form(7)
def upsample_attribute(f):
    return f.node("Upsample", [f.planes()], scales=[1.0, 1.0, 2.0, 3.0])


@form(9)
def upsample_linear(f):
    scales = f.constant(np.array([1, 1, 2, 2], np.float32))
    return f.node("Upsample", [f.planes(), scales], mode="linear")


@form(10)
def resize_scales(f):
    return f.node("Resize", [f.planes(), f.constant(np.array([1, 1, 2, 2], np.float32))])


@form(11, 12, 13)
def resize_with_empty_operands(f):
    empty = [f.constant(np.zeros(0, np.float32)) for _ in range(2)]
    sizes = f.constant(np.array([1, 4, 12, 12]))
    ways = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return f.node("Resize", [f.planes(), *empty, sizes], **ways)


@form(13, 18)
def resize_with_names_left_out(f):
    sizes = f.constant(np.array([1, 4, 12, 18]))
    ways = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return f.node("Resize", [f.planes(), "", "", sizes], **ways)


@form(6)
def broadcast_from_an_axis(f):
    bias = f.constant(noise(4))
    f.want = lambda run: run("Conv_1") + numpy_helper.to_array(f.constants[-1]).reshape(1, 4, 1, 1)
    x = f.planes()
    f.constants.append(f.constants.pop(0))
    f.nodes[-1].name = "Conv_1"
    return f.node("Add", [x, bias], broadcast=1, axis=1)


@form(9)
def scatter(f):
    x = f.node("Flatten", [f.planes()])
    places = f.constant(np.array([[0, 5, 7]]))
    return f.node("Scatter", [x, places, f.constant(noise(1, 3))], axis=1)


# Results that nothing reads, operands that are one or many.


@form(7, 10, 12)
def dropout_with_a_mask(f):
    value, _ = f.node("Dropout", [f.planes()], 2)
    return f.node("Relu", [value])


@form(7)
def dropout_ratio(f):
    return f.node("Dropout", [f.planes()], ratio=0.3)


@form(8, 12)
def max_pool_with_indices(f):
    value, _ = f.node("MaxPool", [f.planes()], 2, kernel_shape=[2, 2], strides=[2, 2])
    return value


@form(7, 9)
def batch_norm_of_five(f):
    parameters = [f.constant(noise(4)) for _ in range(3)]
    variance = f.constant(np.abs(noise(4)) + 0.5)
    values = f.node("BatchNormalization", [f.planes(), *parameters, variance], ["y"])
    return values


@form(8, 13)
def one_operand(f):
    x = f.planes()
    for operator in ["Sum", "Max", "Min", "Mean"]:
        x = f.node(operator, [x])
    return f.node("Concat", [x], axis=1)


@form(8, 13)
def sum_of_four(f):
    x = f.planes()
    return f.node("Sum", [x, f.node("Relu", [x]), x, f.node("Neg", [x])])


@form(13)
def concat_of_nothing(f):
    empty = f.node("ConstantOfShape", [f.constant(np.array([1, 4, 0, 6]))])
    return f.node("Concat", [f.planes(), empty], axis=2)


@form(13)
def bias_left_out(f):
    return f.node("Conv", [f.input(1, 3, 6, 6), f.constant(noise(4, 3, 3, 3)), ""])


@form(13)
def product_of_vectors(f):
    x = f.node("Reshape", [f.planes(1), f.constant(np.array([36]))])
    return f.node("MatMul", [x, f.constant(noise(36))])


@form(13)
def padded_by_minus_infinity(f):
    pads = f.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    x = f.node("Pad", [f.planes(), pads, f.constant(np.float32(-np.inf))])
    return f.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2])


# Constants.


@form(12, 13)
def constants_as_numbers(f):
    half = f.node("Constant", [], value_float=0.5)
    sizes = f.node("Constant", [], value_ints=[1, 144])
    x = f.node("Mul", [f.planes(), half])
    return f.node("Reshape", [x, sizes])


@form(13)
def constant_of_shape_by_default(f):
    zeros = f.node("ConstantOfShape", [f.constant(np.array([1, 4, 1, 1]))])
    return f.node("Max", [f.planes(), zeros])


def sparse_of(dense, name):
    places = np.flatnonzero(dense)
    values = numpy_helper.from_array(dense.ravel()[places], name)
    indices = numpy_helper.from_array(places.astype(np.int64), f"{name}_indices")
    return helper.make_sparse_tensor(values, indices, list(dense.shape))


@form(13)
def sparse_initializer(f):
    weights = noise(4, 3, 3, 3) * (random.random((4, 3, 3, 3)) < 0.3)
    f.sparse.append(sparse_of(weights.astype(np.float32), "w"))
    return f.node("Conv", [f.input(1, 3, 6, 6), "w"])


@form(13)
def sparse_constant(f):
    weights = noise(4, 3, 3, 3) * (random.random((4, 3, 3, 3)) < 0.3)
    value = sparse_of(weights.astype(np.float32), "")
    return f.node("Conv", [f.input(1, 3, 6, 6), f.node("Constant", [], sparse_value=value)])


# Functions and branches.


def reference_to(attribute, name):
    """An attribute of a node that is one of the function around it."""
    reference = helper.make_attribute_ref(name, onnx.AttributeProto.FLOAT)
    reference.ref_attr_name = attribute
    return reference


@form(17)
def function_with_attributes(f):
    reference = helper.make_node("LeakyRelu", ["a"], ["b"])
    reference.attribute.append(reference_to("slope", "alpha"))
    body = [reference, helper.make_node("Add", ["b", "a"], ["c"])]
    f.functions.append(
        helper.make_function("own", "Act", ["a"], ["c"], body, [helper.make_opsetid("", 17)], ["slope"])
    )
    x = f.node("Act", [f.planes()], domain="own", slope=0.25)
    return f.node("Act", [x], domain="own", slope=0.5)


@form(17)
def function_with_defaults(f):
    reference = helper.make_node("LeakyRelu", ["a"], ["b"])
    reference.attribute.append(reference_to("slope", "alpha"))
    function = helper.make_function(
        "own", "Act", ["a"], ["b"], [reference], [helper.make_opsetid("", 17)],
        attribute_protos=[helper.make_attribute("slope", 0.125)],
    )
    f.functions.append(function)
    return f.node("Act", [f.planes()], domain="own")


@form(17)
def function_of_functions(f):
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    inner = [helper.make_node("Relu", ["a"], ["b"])]
    outer = [
        helper.make_node("Inner", ["x"], ["y"], domain="own"),
        helper.make_node("Neg", ["y"], ["z"]),
        helper.make_node("Inner", ["z"], ["w"], domain="own"),
        helper.make_node("Add", ["w", "x"], ["v"]),
    ]
    f.functions.append(helper.make_function("own", "Inner", ["a"], ["b"], inner, imports))
    f.functions.append(helper.make_function("own", "Outer", ["x"], ["v"], outer, imports))
    return f.node("Outer", [f.planes()], domain="own")


def branch(name, nodes, output):
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, name, [], [result])


@form(13)
def condition_that_is_constant(f):
    x = f.planes()
    branches = {
        "then_branch": branch("then", [helper.make_node("Relu", [x], ["r"])], "r"),
        "else_branch": branch("else", [helper.make_node("Sigmoid", [x], ["s"])], "s"),
    }
    return f.node("If", [f.constant(np.bool_(False))], **branches)


@form(13)
def condition_of_a_shape(f):
    x = f.node("GlobalAveragePool", [f.planes()])
    extent = f.node("Gather", [f.node("Shape", [x]), f.constant(np.int64(3))])
    one = f.node("Equal", [extent, f.constant(np.int64(1))])
    axes = f.constant(np.array([3]))
    branches = {
        "then_branch": branch("then", [helper.make_node("Squeeze", [x, axes], ["r"])], "r"),
        "else_branch": branch("else", [helper.make_node("Identity", [x], ["s"])], "s"),
    }
    return f.node("If", [one], **branches)


@form(13)
def conditions_inside_of_conditions(f):
    x = f.planes()
    inner = {
        "then_branch": branch("then", [helper.make_node("Neg", ["t"], ["u"])], "u"),
        "else_branch": branch("else", [helper.make_node("Identity", ["t"], ["u"])], "u"),
    }
    truth = f.constant(np.bool_(True))
    nodes = [
        helper.make_node("Relu", [x], ["t"], name="relu"),
        helper.make_node("If", [truth], ["v"], name="if", **inner),
    ]
    outer = {
        "then_branch": branch("then", nodes, "v"),
        "else_branch": branch("else", [helper.make_node("Identity", [x], ["w"])], "w"),
    }
    return f.node("If", [truth], **outer)


# Names, inputs and outputs.


@form(13)
def names_that_are_not_unique(f):
    x = f.input(1, 3, 6, 6)
    for weights in (noise(3, 3, 1, 1), noise(3, 3, 1, 1)):
        value = numpy_helper.from_array(weights)
        constant = f.node("Constant", [], value=value, name="anonymous")
        x = f.node("Conv", [x, constant])
    return f.node("Relu", [x], name="")


@form(13)
def output_that_is_an_input(f):
    f.output("x")
    return f.planes()


@form(13)
def output_that_is_a_constant(f):
    f.output(f.constant(noise(2, 3)))
    return f.planes()


@form(13)
def output_of_integers(f):
    x = f.node("Flatten", [f.node("GlobalAveragePool", [f.planes()])])
    f.output(f.node("ArgMax", [x], axis=1, keepdims=0), TensorProto.INT64)


@form(13)
def output_that_is_a_scalar(f):
    return f.node("ReduceMean", [f.planes()], keepdims=0)


# Float types.


def typed_form(f, dtype, kind):
    weights = (noise(4, 3, 3, 3) / 3).astype(dtype)
    x = f.node("Conv", [f.input(1, 3, 6, 6, dtype=dtype), f.constant(weights)])
    f.output(f.node("Relu", [x]), kind)


@form(13)
def all_of_float16(f):
    typed_form(f, np.float16, TensorProto.FLOAT16)


@form(13)
def all_of_double(f):
    x = f.node("Flatten", [f.input(1, 3, 2, 2, dtype=np.float64)])
    x = f.node("Gemm", [x, f.constant(noise(12, 4).astype(np.float64))])
    f.output(f.node("Relu", [x]), TensorProto.DOUBLE)


@form(13)
def float16_inside(f):
    x = f.node("Cast", [f.input(1, 3, 6, 6)], to=TensorProto.FLOAT16)
    weights = (noise(4, 3, 3, 3) / 3).astype(np.float16)
    x = f.node("Conv", [x, f.constant(weights)])
    return f.node("Cast", [x], to=TensorProto.FLOAT)


# Operators of ONNX Runtime and of ai.onnx.ml.


@form(13)
def gelu(f):
    return f.node("Gelu", [f.planes()], domain=MICROSOFT)


@form(13)
def quick_gelu(f):
    return f.node("QuickGelu", [f.planes()], domain=MICROSOFT, alpha=1.5)


@form(13)
def bias_gelu(f):
    x = f.node("Flatten", [f.planes()])
    return f.node("BiasGelu", [x, f.constant(noise(144))], domain=MICROSOFT)


@form(13)
def fast_gelu(f):
    x = f.node("Flatten", [f.planes()])
    return f.node("FastGelu", [x, f.constant(noise(144))], domain=MICROSOFT)


@form(13)
def fused_conv(f):
    parameters = [f.constant(noise(4, 4, 3, 3) / 3), f.constant(noise(4))]
    ways = {"activation": "LeakyRelu", "activation_params": [0.25]}
    return f.node("FusedConv", [f.planes(), *parameters], domain=MICROSOFT, **ways)


@form(13)
def fused_conv_and_sum(f):
    x = f.planes()
    parameters = [f.constant(noise(4, 4, 1, 1)), f.constant(noise(4)), x]
    return f.node("FusedConv", [x, *parameters], domain=MICROSOFT, activation="Relu")


@form(13)
def fused_matmul(f):
    x = f.node("Flatten", [f.planes()])
    ways = {"transB": 1, "alpha": 0.5}
    return f.node("FusedMatMul", [x, f.constant(noise(5, 144))], domain=MICROSOFT, **ways)


@form(13)
def fused_gemm(f):
    x = f.node("Flatten", [f.planes()])
    parameters = [f.constant(noise(144, 5)), f.constant(noise(5))]
    return f.node("FusedGemm", [x, *parameters], domain=MICROSOFT, activation="Relu")


@form(13)
def skip_layer_normalisation(f):
    x = f.node("Reshape", [f.planes(), f.constant(np.array([1, 4, 36]))])
    rest = [f.constant(noise(36)) for _ in range(3)]
    return f.node("SkipLayerNormalization", [x, x, *rest], domain=MICROSOFT)


@form(13)
def scaler(f):
    x = f.node("Flatten", [f.node("GlobalAveragePool", [f.planes()])])
    numbers = {"offset": [0.5, -1.0, 0.0, 2.0], "scale": [1.0, 2.0, 0.5, -1.0]}
    return f.node("Scaler", [x], domain="ai.onnx.ml", **numbers)


@form(21)
def quantised_to_a_type(f):
    scale = f.constant(np.float32(0.05))
    x = f.node("QuantizeLinear", [f.planes(), scale], output_dtype=TensorProto.INT8)
    return f.node("DequantizeLinear", [x, scale])


def features(f):
    """Four numbers of a row."""
    return f.node("Flatten", [f.node("GlobalAveragePool", [f.planes()])])


def classifier(f, labels, post):
    """A linear classifier as skl2onnx writes it: the label, and a dictionary of probabilities."""
    words = isinstance(labels[0], str)
    numbers = {"coefficients": noise(12).tolist(), "intercepts": noise(3).tolist(), "post_transform": post}
    kept = {"classlabels_strings" if words else "classlabels_ints": labels}
    inputs, outputs = [features(f)], ["label", "scores"]
    f.node("LinearClassifier", inputs, outputs, domain=LEARN, multi_class=1, **numbers, **kept)
    scores = f.node("Normalizer", ["scores"], domain=LEARN, norm="L1")
    kept = {"classlabels_strings" if words else "classlabels_int64s": labels}
    f.node("ZipMap", [scores], ["probabilities"], domain=LEARN, **kept)
    f.output("label", TensorProto.STRING if words else TensorProto.INT64)
    kind = onnx.TypeProto()
    entry = kind.sequence_type.elem_type.map_type
    entry.key_type = TensorProto.STRING if words else TensorProto.INT64
    entry.value_type.tensor_type.elem_type = TensorProto.FLOAT
    f.outputs.append(helper.make_value_info("probabilities", kind))


@form(15)
def classifier_of_numbers(f):
    classifier(f, [3, 5, 8], "SOFTMAX")


@form(15)
def classifier_of_words(f):
    classifier(f, ["cat", "dog", "owl"], "LOGISTIC")


@form(15)
def linear_regressor(f):
    numbers = {"coefficients": noise(8).tolist(), "intercepts": noise(2).tolist(), "targets": 2}
    return f.node("LinearRegressor", [features(f)], domain=LEARN, **numbers)


@form(15)
def euclidean_normalizer(f):
    return f.node("Normalizer", [features(f)], domain=LEARN, norm="L2")


# The answers.


def answers(made: Form) -> list[np.ndarray] | str:
    """ONNX Runtime's, or NumPy's with what ONNX Runtime computes of the nodes before."""
    if made.want is not None:
        return [made.want(lambda name: value_of(made, name))]
    try:
        return [tensor(value) for value in run(made.model(), made.samples)]
    except Exception as error:  # Its errors have no class of their own.
        return str(error).splitlines()[0]


def tensor(value):
    """A result as a tensor: of a list of dictionaries their values, of words nothing."""
    if isinstance(value, list):
        return np.array([list(entry.values()) for entry in value], np.float32)
    return None if value.dtype == object else value


def run(model, samples):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    given = {value.name for value in session.get_inputs()}
    return session.run(None, {name: value for name, value in samples.items() if name in given})


def value_of(made: Form, name: str):
    """What the node of that name computes, in an operator set that ONNX Runtime reads."""
    node = next(n for n in made.nodes if n.name == name)
    info = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "part", made.inputs, [info], made.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return run(model, made.samples)[0]


def tolerance(wanted) -> float:
    """Absolute; where ONNX Runtime computes with halves, four of their steps at the largest value."""
    halves = [np.abs(v).max(initial=0) for v in wanted if v is not None and v.dtype == np.float16]
    return max([1e-4, *(4 * 2.0**-10 * float(value) for value in halves)])


def write(path: Path, forms: dict[str, Form], wanted: dict[str, list[np.ndarray]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name, array):
            buffer = io.BytesIO()
            if array.dtype in (np.float16, np.float64):
                array = array.astype(np.float32)
            np.save(buffer, array)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue())

        for name, made in forms.items():
            model = np.frombuffer(made.model().SerializeToString(), np.uint8)
            add(f"{name}/model", model)
            add(f"{name}/atol", np.array(tolerance(wanted[name])))
            for key, value in made.samples.items():
                add(f"{name}/in/{key}", value)
            for output, value in zip(made.outputs, wanted[name], strict=True):
                if value is not None:
                    add(f"{name}/out/{output.name}", np.asarray(value))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bundle", type=Path, metavar="FILE.npz")
    options = parser.parse_args()
    results = {name: answers(made) for name, made in FORMS.items()}
    refused = {name: reason for name, reason in results.items() if isinstance(reason, str)}
    for name, reason in refused.items():
        print(f"not run by ONNX Runtime: {name}: {reason}")
    kept = {name: made for name, made in FORMS.items() if name not in refused}
    print(f"{len(kept)} forms of {len(FORMS)}")
    if options.bundle:
        write(options.bundle, kept, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
