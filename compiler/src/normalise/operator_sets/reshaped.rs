//! `Softmax` and its kin up to operator set 12 see a tensor as a matrix: the dimensions before an axis are its rows.

use super::{forget, int, int_of, operand, result};
use crate::normalise::parts::Parts;
use crate::normalise::ranks::Ranks;
use tract_onnx::pb::NodeProto;

impl Parts {
    /// The operator along the last axis alone, between two changes of shape where there are more axes than that.
    pub(super) fn one_axis(&mut self, mut node: NodeProto, ranks: &Ranks) -> Option<NodeProto> {
        let axis = int_of(&node, "axis").unwrap_or(1);
        let rank = ranks.get(&operand(&node, 0)).map(|rank| rank as i64);
        forget(&mut node, &["axis"]);
        node.attribute.push(int("axis", -1));
        if axis == -1 || rank.is_some_and(|rank| axis + 1 == rank) {
            return Some(node);
        }
        let y = result(&node);
        let x = operand(&node, 0);
        let shape = self.node("Shape", vec![x.clone()], format!("{y}.shape"), &[]);
        let rows = self.node(
            "Flatten",
            vec![x],
            format!("{y}.rows"),
            &[int("axis", axis)],
        );
        let operator = node.op_type.clone();
        let result = self.node(
            &operator,
            vec![rows],
            format!("{y}.matrix"),
            &node.attribute,
        );
        self.node("Reshape", vec![result, shape], y, &[]);
        None
    }
}
