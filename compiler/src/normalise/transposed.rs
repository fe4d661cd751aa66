//! A `ConvTranspose` with `auto_pad` SAME and `output_padding` gets its pads in numbers.
//!
//! Its result has input times stride rows and columns. What is cut off, `output_padding + (kernel - 1) dilation + 1 -
//! stride`, does not depend on the input; where that is negative, nothing is. The odd one is at the end for `SAME_UPPER`.

use super::Draft;
use super::error::ImportError;
use super::parts::replace_nodes;
use super::proto::{ints, ints_of, is_standard, text_of};
use std::collections::BTreeMap;
use tract_onnx::pb::NodeProto;

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    draft.each_graph(|graph| {
        let weights = graph.initializer.iter();
        let kernels: BTreeMap<String, Vec<i64>> = weights
            .filter(|tensor| tensor.dims.len() > 2)
            .map(|tensor| (tensor.name.clone(), tensor.dims[2..].to_vec()))
            .collect();
        replace_nodes(graph, |mut node, _| {
            if is_standard(&node) && node.op_type == "ConvTranspose" {
                let kernel = node.input.get(1).and_then(|weights| kernels.get(weights));
                with_pads(&mut node, kernel);
            }
            Ok(Some(node))
        })
    })
}

/// Writes the pads into a node, if it has both attributes and the extents of its kernel are known.
fn with_pads(node: &mut NodeProto, kernel: Option<&Vec<i64>>) -> Option<()> {
    let upper = match text_of(node, "auto_pad")? {
        "SAME_UPPER" => true,
        "SAME_LOWER" => false,
        _ => return None,
    };
    let extra = ints_of(node, "output_padding")?.to_vec();
    if ints_of(node, "output_shape").is_some() {
        return None;
    }
    let kernel = ints_of(node, "kernel_shape")
        .map(<[i64]>::to_vec)
        .or_else(|| kernel.cloned())?;
    let of = |name: &str| ints_of(node, name).map_or(vec![1; kernel.len()], <[i64]>::to_vec);
    let (strides, dilations) = (of("strides"), of("dilations"));
    let lengths = [extra.len(), strides.len(), dilations.len()];
    if lengths.iter().any(|&length| length != kernel.len()) {
        return None;
    }
    let (mut begins, mut ends) = (Vec::new(), Vec::new());
    for axis in 0..kernel.len() {
        let reach = (kernel[axis] - 1)
            .checked_mul(dilations[axis])?
            .checked_add(1)?;
        let total = extra[axis].checked_add(reach)?.checked_sub(strides[axis])?;
        let total = total.max(0);
        let (small, large) = (total / 2, total - total / 2);
        begins.push(if upper { small } else { large });
        ends.push(if upper { large } else { small });
    }
    node.attribute
        .retain(|attribute| !["auto_pad", "pads"].contains(&attribute.name.as_str()));
    node.attribute.push(ints("pads", &[begins, ends].concat()));
    Some(())
}
