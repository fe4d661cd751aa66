//! Operators of the operator sets 6 to 12 become those of operator set 13.
//!
//! Between the two the standard moved bounds, axes and scales from attributes to operands, gave `Softmax` and its kin one
//! axis instead of two dimensions, replaced `Upsample` by `Resize`, and dropped broadcasting from an axis on, and the
//! operators that were an experiment. A model of
//! operator set 13 or later stays as it is.

mod broadcast;
mod experimental;
mod reshaped;

use super::Draft;
use super::error::ImportError;
use super::parts::{Parts, replace_nodes};
use super::proto::{
    attribute, float_of, float_tensor, int, int_of, ints_of, is_standard, operand, result, text,
    text_of,
};
use super::ranks::Ranks;
use super::standard;
use tract_onnx::pb::{GraphProto, NodeProto, OperatorSetIdProto};

/// The operator set that all older ones become.
const CANONICAL: i64 = 13;

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let version = draft.operator_set();
    let functions = draft.model.functions.iter();
    let functions =
        functions.filter_map(|function| standard::version_of(&function.opset_import, ""));
    let canonical = functions.fold(version.max(CANONICAL), i64::max);
    if version == canonical {
        return Ok(());
    }
    let imports = draft.model.opset_import.clone();
    draft.each_graph(|graph| raise(graph, &imports, canonical))?;
    let imports = &mut draft.model.opset_import;
    imports.retain(|import| standard::version_of(std::slice::from_ref(import), "").is_none());
    let import = OperatorSetIdProto {
        version: canonical,
        ..OperatorSetIdProto::default()
    };
    imports.insert(0, import);
    Ok(())
}

/// Raises the nodes of a graph from the operator set in `imports` to `canonical`; those of graphs inside stay.
///
/// # Errors
/// Operands whose place cannot be told.
pub(super) fn raise(
    graph: &mut GraphProto,
    imports: &[OperatorSetIdProto],
    canonical: i64,
) -> Result<(), Vec<ImportError>> {
    let version = standard::version_of(imports, "").unwrap_or(1);
    let ranks = Ranks::of(graph, version);
    replace_nodes(graph, |node, parts| {
        let known = is_standard(&node);
        let node = if known && version < CANONICAL {
            replace(node, version, &ranks, parts)?
        } else {
            Some(node)
        };
        Ok(node.map(|mut node| {
            if known && version < 18 && canonical >= 18 {
                to_18(&mut node, parts);
            }
            node
        }))
    })
}

/// Operator set 18 has the axes of all reductions in an operand, and the number of equal parts in an attribute.
fn to_18(node: &mut NodeProto, parts: &mut Parts) {
    if node.op_type.starts_with("Reduce") {
        list(node, "axes", 1, parts);
    } else if node.op_type == "Split" && node.input.len() == 1 {
        let count = node.output.len() as i64;
        node.attribute.push(int("num_outputs", count));
    }
}

fn replace(
    mut node: NodeProto,
    version: i64,
    ranks: &Ranks,
    parts: &mut Parts,
) -> Result<Option<NodeProto>, ImportError> {
    match node.op_type.as_str() {
        "BatchNormalization" => forget(&mut node, &["is_test", "spatial"]),
        "Clip" => bounds(&mut node, parts),
        "Dropout" => forget(&mut node, &["is_test", "ratio"]),
        "GRU" | "LSTM" | "RNN" => forget(&mut node, &["output_sequence"]),
        "Gemm" => forget(&mut node, &["broadcast"]),
        "Hardmax" | "LogSoftmax" | "Softmax" => return Ok(parts.one_axis(node, ranks)),
        "Pad" => pads(&mut node, parts),
        "ReduceSum" | "Squeeze" | "Unsqueeze" => list(&mut node, "axes", 1, parts),
        "Resize" => resize(&mut node, version),
        "Scatter" => "ScatterElements".clone_into(&mut node.op_type),
        "Slice" => slice(&mut node, parts),
        "Split" => list(&mut node, "split", 1, parts),
        "TopK" => top_k(&mut node, parts),
        "Upsample" => upsample(&mut node, parts),
        _ if parts.experimental(&node) => return Ok(None),
        _ if version < 7 => return parts.broadcast(node, ranks),
        _ => {}
    }
    Ok(Some(node))
}

/// Removes attributes that say nothing for inference.
fn forget(node: &mut NodeProto, names: &[&str]) {
    node.attribute.retain(|a| !names.contains(&a.name.as_str()));
}

/// Puts an operand at `index`; those in front of it that are left out have empty names.
fn set_operand(node: &mut NodeProto, index: usize, name: String) {
    if node.input.len() <= index {
        node.input.resize(index + 1, String::new());
    }
    node.input[index] = name;
}

/// A list of integers goes from an attribute to the operand at `index`.
fn list(node: &mut NodeProto, name: &str, index: usize, parts: &mut Parts) {
    if let Some(values) = ints_of(node, name) {
        let constant = parts.integers(format!("{}.{name}", result(node)), values);
        set_operand(node, index, constant);
        forget(node, &[name]);
    }
}

/// A number goes from an attribute to the operand at `index`.
fn number(node: &mut NodeProto, name: &str, index: usize, parts: &mut Parts) {
    if let Some(value) = float_of(node, name) {
        let constant = parts.number(format!("{}.{name}", result(node)), value);
        set_operand(node, index, constant);
        forget(node, &[name]);
    }
}

fn bounds(node: &mut NodeProto, parts: &mut Parts) {
    number(node, "min", 1, parts);
    number(node, "max", 2, parts);
}

fn pads(node: &mut NodeProto, parts: &mut Parts) {
    list(node, "pads", 1, parts);
    number(node, "value", 2, parts);
}

fn slice(node: &mut NodeProto, parts: &mut Parts) {
    for (index, name) in ["starts", "ends", "axes"].into_iter().enumerate() {
        list(node, name, index + 1, parts);
    }
}

fn top_k(node: &mut NodeProto, parts: &mut Parts) {
    if let Some(k) = int_of(node, "k") {
        let constant = parts.integers(format!("{}.k", result(node)), &[k]);
        set_operand(node, 1, constant);
        forget(node, &["k"]);
    }
}

/// Operator set 10 counts from the corner and downward, for which there were no attributes yet, and has no region of
/// interest in front of the scales.
fn resize(node: &mut NodeProto, version: i64) {
    if version < 11 {
        node.input.insert(1, String::new());
        from_the_corner(node);
    }
    // Operator set 13 lacks one way to count; where it rounds like this, it is another's rounding.
    let coordinates = "coordinate_transformation_mode";
    if text_of(node, coordinates) == Some("tf_half_pixel_for_nn") {
        let rounding = match text_of(node, "nearest_mode").unwrap_or("round_prefer_floor") {
            "floor" => "round_prefer_ceil",
            "round_prefer_floor" => "ceil",
            _ => return,
        };
        forget(node, &[coordinates, "nearest_mode"]);
        node.attribute.push(text(coordinates, "half_pixel"));
        node.attribute.push(text("nearest_mode", rounding));
    }
}

fn from_the_corner(node: &mut NodeProto) {
    let ways = [
        ("coordinate_transformation_mode", "asymmetric"),
        ("nearest_mode", "floor"),
    ];
    for (name, way) in ways {
        if attribute(node, name).is_none() {
            node.attribute.push(text(name, way));
        }
    }
}

/// `Upsample` has its scales in an operand from operator set 9 on, as one attribute before, and as one for each axis of the
/// plane before operator set 7.
fn upsample(node: &mut NodeProto, parts: &mut Parts) {
    let name = format!("{}.scales", result(node));
    let mut scales = operand(node, 1);
    let given = attribute(node, "scales").map(|a| a.floats.clone());
    let of_plane = ["height_scale", "width_scale"].map(|name| float_of(node, name));
    let given = given.or_else(|| match of_plane {
        [Some(height), Some(width)] => Some(vec![1.0, 1.0, height, width]),
        _ => None,
    });
    if let Some(given) = given {
        let tensor = float_tensor(&name, &[given.len() as i64], &given);
        parts.initializers.push(tensor);
        scales = name;
    }
    let mode = match text_of(node, "mode").unwrap_or("nearest") {
        "nearest" => "nearest",
        _ => "linear",
    };
    "Resize".clone_into(&mut node.op_type);
    node.input.truncate(1);
    set_operand(node, 2, scales);
    node.attribute = vec![text("mode", mode)];
    from_the_corner(node);
}
