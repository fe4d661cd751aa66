//! What the standard allows for the attributes of operators: their names, types and values, checked before tract sees a
//! model.
//!
//! What is allowed but more than the array takes is no error: such a node runs on the host
//! ([`super::attributes::outside`]).

use super::ImportError;
use crate::codes::Code;
use crate::normalise::proto::is_standard;
use crate::normalise::standard::{Definition, definition, version_of};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, NodeProto, OperatorSetIdProto};

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

/// All attributes that are not what the standard allows.
pub(super) fn check(
    nodes: &[NodeProto],
    imports: &[OperatorSetIdProto],
    errors: &mut Vec<ImportError>,
) {
    for node in nodes {
        let version = version_of(imports, &node.domain).unwrap_or(1);
        if let Some(definition) = definition(node, version) {
            required(node, definition, errors);
            for attribute in &node.attribute {
                let problem = problem(node, attribute, definition, version);
                errors.extend(problem.map(|problem| {
                    let AttributeProblem {
                        message,
                        remedy,
                        allowed,
                    } = problem;
                    ImportError::node(Code::BadAttribute, node, message, remedy)
                        .of_attribute(&attribute.name, allowed)
                }));
            }
        }
    }
}

/// The attributes that a node must have and has not.
fn required(node: &NodeProto, definition: &Definition, errors: &mut Vec<ImportError>) {
    let given = |name: &str| node.attribute.iter().any(|a| a.name == name);
    let required = definition.attributes.iter().filter(|a| a.required);
    for attribute in required.filter(|a| !given(a.name)) {
        let kind = words_of(attribute.kind);
        let error = ImportError::node(
            Code::BadAttribute,
            node,
            format!("its attribute `{}` is missing", attribute.name),
            format!("{} needs it: {kind}; export the model again", node.op_type),
        );
        errors.push(error.of_attribute(attribute.name, Some(kind.to_owned())));
    }
}

/// What is wrong with an attribute.
struct AttributeProblem {
    message: String,
    remedy: String,
    /// What it may be; absent where it may not be at all.
    allowed: Option<String>,
}

/// What is wrong with an attribute, if anything is.
fn problem(
    node: &NodeProto,
    attribute: &AttributeProto,
    definition: &Definition,
    version: i64,
) -> Option<AttributeProblem> {
    let name = &attribute.name;
    let Some(known) = definition.attribute(name) else {
        let message = format!(
            "its attribute `{name}` is none that {} has in operator set {version}",
            node.op_type
        );
        return Some(AttributeProblem {
            message,
            remedy: candidates(node, name, definition),
            allowed: None,
        });
    };
    // A function's body may name an attribute of the function.
    if !attribute.ref_attr_name.is_empty() {
        return None;
    }
    let rule = |(operators, rule, _): &&(&[&str], &str, Allowed)| {
        rule == name && operators.contains(&node.op_type.as_str())
    };
    let rule = RULES.iter().find(rule).filter(|_| is_standard(node));
    let (holds, words) = if let Some((_, _, allowed)) = rule {
        (allowed.holds(attribute), allowed.words())
    } else {
        // Old exporters leave the type out.
        let types = [AttributeType::Undefined as i32, known.kind as i32];
        (
            types.contains(&attribute.r#type),
            words_of(known.kind).to_owned(),
        )
    };
    let message = || format!("its attribute `{name}` is {}", shown(attribute));
    (!holds).then(|| AttributeProblem {
        message: message(),
        remedy: format!("give {words}"),
        allowed: Some(words),
    })
}

/// The attributes that an operator has.
fn candidates(node: &NodeProto, name: &str, definition: &Definition) -> String {
    let names = || definition.attributes.iter().map(|a| a.name);
    if let Some(nearest) = scnn_isa::yaml::nearest(name, names()) {
        return format!("did you mean `{nearest}`?");
    }
    let all: Vec<&str> = names().collect();
    match all.as_slice() {
        [] => format!("remove it: {} has no attributes", node.op_type),
        _ => format!("remove it: {} has {}", node.op_type, all.join(", ")),
    }
}

fn words_of(kind: AttributeType) -> &'static str {
    match kind {
        AttributeType::Float => "a number",
        AttributeType::Int => "a whole number",
        AttributeType::String => "a word",
        AttributeType::Tensor => "a tensor",
        AttributeType::Graph => "a graph",
        AttributeType::Floats => "a list of numbers",
        AttributeType::Ints => "a list of whole numbers",
        AttributeType::Strings => "a list of words",
        AttributeType::Tensors => "a list of tensors",
        AttributeType::SparseTensor => "a sparse tensor",
        _ => "a value of the standard's type",
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
