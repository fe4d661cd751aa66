//! What the standard allows for the attributes of the known operators, checked before tract sees a model.
//!
//! What is allowed but more than the array takes is no error: such a node runs on the host
//! ([`super::attributes::outside`]).

use super::ImportError;
use crate::codes::Code;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto};

/// What an attribute may be.
#[derive(Clone, Copy)]
enum Allowed {
    /// A whole number from 1.
    Count,
    /// A list of whole numbers from 1.
    Counts,
    /// 0 or 1.
    Switch,
    /// A finite number.
    Number,
    /// One of these words.
    Word(&'static [&'static str]),
}

use Allowed::{Count, Counts, Number, Switch, Word};

const CONVOLUTIONS: &[&str] = &["Conv", "ConvTranspose"];
const POOLS: &[&str] = &["AveragePool", "MaxPool"];
const WINDOWS: &[&str] = &["AveragePool", "Conv", "ConvTranspose", "MaxPool"];
const BLOCKS: &[&str] = &["DepthToSpace", "SpaceToDepth"];
const SCALED: &[&str] = &[
    "Elu",
    "Gemm",
    "HardSigmoid",
    "LRN",
    "LeakyRelu",
    "Selu",
    "Swish",
];
const AUTO_PAD: Allowed = Word(&["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]);
const COORDINATES: Allowed = Word(&[
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
]);
const NEAREST: Allowed = Word(&["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]);

#[rustfmt::skip] // One attribute a line reads as the table it is.
const RULES: &[(&[&str], &str, Allowed)] = &[
    (WINDOWS, "auto_pad", AUTO_PAD),
    (WINDOWS, "dilations", Counts),
    (WINDOWS, "kernel_shape", Counts),
    (WINDOWS, "strides", Counts),
    (CONVOLUTIONS, "group", Count),
    (POOLS, "ceil_mode", Switch),
    (POOLS, "count_include_pad", Switch),
    (&["BatchNormalization"], "epsilon", Number),
    (&["BatchNormalization"], "training_mode", Switch),
    (&["Gelu"], "approximate", Word(&["none", "tanh"])),
    (&["LRN"], "size", Count),
    (&["Pad"], "mode", Word(&["constant", "reflect", "edge", "wrap"])),
    (&["Resize"], "coordinate_transformation_mode", COORDINATES),
    (&["Resize"], "mode", Word(&["nearest", "linear", "cubic"])),
    (&["Resize"], "nearest_mode", NEAREST),
    (&["Selu"], "gamma", Number),
    (&["Split"], "num_outputs", Count),
    (BLOCKS, "blocksize", Count),
    (SCALED, "alpha", Number),
    (&["Gemm", "HardSigmoid", "LRN"], "beta", Number),
];

/// All attributes of the graph that are not what the standard allows.
pub(super) fn check(graph: &GraphProto, errors: &mut Vec<ImportError>) {
    let standard = |node: &&NodeProto| ["", "ai.onnx"].contains(&node.domain.as_str());
    for node in graph.node.iter().filter(standard) {
        for attribute in &node.attribute {
            let known = |(operators, name, _): &&(&[&str], &str, Allowed)| {
                *name == attribute.name && operators.contains(&node.op_type.as_str())
            };
            if let Some((_, _, allowed)) = RULES.iter().find(known)
                && !allowed.holds(attribute)
            {
                errors.push(ImportError::node(
                    Code::BadAttribute,
                    node,
                    format!("its attribute `{}` is {}", attribute.name, shown(attribute)),
                    format!("give {}", allowed.words()),
                ));
            }
        }
    }
}

impl Allowed {
    fn holds(self, attribute: &AttributeProto) -> bool {
        // Old exporters leave the type out.
        let of = |wanted: AttributeType| {
            [AttributeType::Undefined as i32, wanted as i32].contains(&attribute.r#type)
        };
        match self {
            Count => of(AttributeType::Int) && attribute.i >= 1,
            Counts => of(AttributeType::Ints) && attribute.ints.iter().all(|&value| value >= 1),
            Switch => of(AttributeType::Int) && [0, 1].contains(&attribute.i),
            Number => of(AttributeType::Float) && attribute.f.is_finite(),
            Word(words) => {
                of(AttributeType::String) && words.iter().any(|w| w.as_bytes() == attribute.s)
            }
        }
    }

    fn words(self) -> String {
        match self {
            Count => "a whole number from 1".to_owned(),
            Counts => "a list of whole numbers from 1, one for each axis of the plane".to_owned(),
            Switch => "0 or 1".to_owned(),
            Number => "a finite number".to_owned(),
            Word(words) => format!("one of {}", words.join(", ")),
        }
    }
}

/// The value of an attribute, as its type has it.
fn shown(attribute: &AttributeProto) -> String {
    match attribute.r#type() {
        AttributeType::Float => format!("{}", attribute.f),
        AttributeType::Int => format!("{}", attribute.i),
        AttributeType::String => format!("`{}`", String::from_utf8_lossy(&attribute.s)),
        AttributeType::Ints => format!("{:?}", attribute.ints),
        AttributeType::Floats => format!("{:?}", attribute.floats),
        other => format!("of type {}", other.as_str_name()),
    }
}
