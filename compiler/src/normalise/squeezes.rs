//! The axes of a `Squeeze` that are constants ascend: tract takes them away from the last one listed to the first, and
//! counts in what is left.
//!
//! Axes from the end are counted from the beginning where the rank is known. Where it is not, they are listed after the
//! others, which is their order unless they pass each other.

use super::Draft;
use super::error::ImportError;
use super::parts::replace_nodes;
use super::proto::{int64_values, is_standard, operand, result};
use super::ranks::Ranks;
use std::collections::BTreeMap;

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let version = draft.operator_set();
    draft.each_graph(|graph| {
        let ranks = Ranks::of(graph, version);
        let constants = graph.initializer.iter();
        let constants: BTreeMap<String, Vec<i64>> = constants
            .filter_map(|tensor| Some((tensor.name.clone(), int64_values(tensor)?)))
            .collect();
        replace_nodes(graph, |mut node, parts| {
            if is_standard(&node)
                && node.op_type == "Squeeze"
                && let Some(axes) = constants.get(&operand(&node, 1))
            {
                let ordered = ascending(axes, ranks.get(&operand(&node, 0)));
                if ordered != *axes {
                    node.input[1] = parts.integers(format!("{}.axes", result(&node)), &ordered);
                }
            }
            Ok(Some(node))
        })
    })
}

fn ascending(axes: &[i64], rank: Option<usize>) -> Vec<i64> {
    let rank = rank.map_or(0, |rank| rank as i64);
    let axes = axes.iter();
    let mut axes: Vec<i64> = axes
        .map(|&axis| if axis < 0 { axis + rank } else { axis })
        .collect();
    axes.sort_by_key(|&axis| (axis < 0, axis));
    axes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_ascend_in_the_operand() {
        assert_eq!(ascending(&[-1, -2], Some(4)), [2, 3]);
        assert_eq!(ascending(&[3, -2], Some(4)), [2, 3]);
        assert_eq!(ascending(&[-1, 0, -2], None), [0, -2, -1]);
    }
}
