//! Operator set 6 broadcasts the second operand from an axis on; later ones align the last axes.

use super::{forget, int, int_of, operand, result};
use crate::codes::Code;
use crate::normalise::error::ImportError;
use crate::normalise::parts::Parts;
use crate::normalise::ranks::Ranks;
use tract_onnx::pb::NodeProto;

/// Operators of two operands, of which operator set 6 broadcasts the second.
const FROM_AXIS: &[&str] = &[
    "Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor",
];

impl Parts {
    /// Gives the second operand as many axes of extent 1 behind its own as the first has behind them.
    ///
    /// # Errors
    /// The place of the second operand cannot be told.
    pub(super) fn broadcast(
        &mut self,
        mut node: NodeProto,
        ranks: &Ranks,
    ) -> Result<Option<NodeProto>, ImportError> {
        let aligned = aligned_from(&node, ranks)?;
        if FROM_AXIS.contains(&node.op_type.as_str()) {
            forget(&mut node, &["axis", "broadcast"]);
        }
        if let Some((axis, rank)) = aligned {
            let behind = |whole: usize| whole as i64 - axis - rank as i64;
            match ranks.get(&operand(&node, 0)).map(behind) {
                Some(..=0) => {}
                Some(count) => self.unsqueeze(&mut node, rank, count),
                None => self.align(&mut node, axis, rank),
            }
        }
        Ok(Some(node))
    }

    /// Adds `count` axes behind the `rank` ones of the second operand.
    fn unsqueeze(&mut self, node: &mut NodeProto, rank: usize, count: i64) {
        let result = result(node);
        let axes: Vec<i64> = (rank as i64..rank as i64 + count).collect();
        let axes = self.integers(format!("{result}.axes"), &axes);
        let operands = vec![operand(node, 1), axes];
        node.input[1] = self.node("Unsqueeze", operands, format!("{result}.aligned"), &[]);
    }

    /// The same where the rank of the first operand is not known.
    fn align(&mut self, node: &mut NodeProto, axis: i64, rank: usize) {
        let result = result(node);
        let part = |name: &str| format!("{result}.{name}");
        let shape = self.node("Shape", vec![operand(node, 0)], part("shape"), &[]);
        let starts = self.integers(part("starts"), &[axis + rank as i64]);
        let ends = self.integers(part("ends"), &[i64::from(i32::MAX)]);
        let behind = self.node("Slice", vec![shape, starts, ends], part("behind"), &[]);
        let ones = self.node("Div", vec![behind.clone(), behind], part("ones"), &[]);
        let own = self.node("Shape", vec![operand(node, 1)], part("own"), &[]);
        let whole = vec![own, ones];
        let whole = self.node("Concat", whole, part("aligned.shape"), &[int("axis", 0)]);
        let operands = vec![operand(node, 1), whole];
        node.input[1] = self.node("Reshape", operands, part("aligned"), &[]);
    }
}

/// From which axis on the second operand is broadcast, and its rank; none where that is what later operator sets do.
fn aligned_from(node: &NodeProto, ranks: &Ranks) -> Result<Option<(i64, usize)>, ImportError> {
    let second = operand(node, 1);
    let rank = ranks.get(&second);
    if node.op_type == "PRelu" {
        // One slope for each channel.
        return Ok(rank.filter(|&rank| rank == 1).map(|rank| (1, rank)));
    }
    let broadcast =
        FROM_AXIS.contains(&node.op_type.as_str()) && int_of(node, "broadcast") == Some(1);
    let Some(axis) = int_of(node, "axis").filter(|_| broadcast) else {
        return Ok(None);
    };
    match rank {
        // A number has no axis.
        Some(0) => Ok(None),
        Some(rank) if axis >= 0 => Ok(Some((axis, rank))),
        _ => Err(ImportError::node(
            Code::Opset,
            node,
            format!(
                "its operand `{second}` is broadcast from axis {axis} on, in the way of operator set 6; \
                 an axis from 0 and an operand whose rank the file tells are possible"
            ),
            "convert the model to operator set 7 or later with onnx.version_converter",
        )),
    }
}
