//! Products with weights of few bits in blocks, as `MatMulNBits` has them, become products with floats.
//!
//! The operator itself says what its weights are: of a matrix of ones and zeros it computes them. That product reads
//! constants alone, so it is evaluated where shapes are inferred, and the weights are as any others from then on.

use super::super::parts::Parts;
use super::super::proto::{float_tensor, has_operand, int_of, operand, result};
use super::attention::Sizes;
use tract_onnx::pb::NodeProto;

/// Most values that are summed in a product: the matrix of ones and zeros has their square.
const MOST_SUMMED: i64 = 1 << 12;

impl Parts {
    /// A product with the weights that a node has. Whether they are constant, and not too many.
    pub(super) fn product_of_narrow(&mut self, node: &NodeProto, sizes: &Sizes) -> bool {
        let summed = int_of(node, "K").filter(|summed| (1..=MOST_SUMMED).contains(summed));
        let constant =
            |index: usize| !has_operand(node, index) || sizes.contains_key(&operand(node, index));
        let Some(summed) = summed.filter(|_| (1..5).all(constant)) else {
            return false;
        };
        let y = result(node);
        let side = summed as usize;
        let mut ones = vec![0.0; side * side];
        ones.iter_mut()
            .step_by(side + 1)
            .for_each(|value| *value = 1.0);
        let identity = format!("{y}.identity");
        self.initializers
            .push(float_tensor(&identity, &[summed, summed], &ones));
        let mut operands = vec![identity];
        operands.extend(node.input.iter().skip(1).take(4).cloned());
        let mut attributes = node.attribute.clone();
        // How exact a runtime may be is nothing that weights depend on.
        attributes.retain(|attribute| attribute.name != "accuracy_level");
        let weights = self.node("MatMulNBits", operands, format!("{y}.weights"), &attributes);
        if let Some(weights) = self.nodes.last_mut() {
            weights.domain.clone_from(&node.domain);
        }
        let product = vec![operand(node, 0), weights];
        if has_operand(node, 5) {
            let value = self.node("MatMul", product, format!("{y}.value"), &[]);
            self.node("Add", vec![value, operand(node, 5)], y, &[]);
        } else {
            self.node("MatMul", product, y, &[]);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::proto::{int, node_of};

    fn product(operands: &[&str], summed: i64) -> NodeProto {
        let mut node = node_of(operands, "y");
        "MatMulNBits".clone_into(&mut node.op_type);
        "com.microsoft".clone_into(&mut node.domain);
        node.attribute = vec![
            int("K", summed),
            int("N", 2),
            int("bits", 4),
            int("accuracy_level", 4),
        ];
        node
    }

    fn constants(names: &[&str]) -> Sizes {
        names
            .iter()
            .map(|&name| (name.to_owned(), vec![2]))
            .collect()
    }

    #[test]
    fn the_weights_are_the_product_of_ones_and_zeros() {
        let mut parts = Parts::default();
        let node = product(&["x", "b", "scales", "", "", "bias"], 2);
        assert!(parts.product_of_narrow(&node, &constants(&["b", "scales"])));
        let read: Vec<(&str, &[String])> = parts
            .nodes
            .iter()
            .map(|node| (node.op_type.as_str(), node.input.as_slice()))
            .collect();
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            read,
            [
                (
                    "MatMulNBits",
                    names(&["y.identity", "b", "scales", "", ""]).as_slice()
                ),
                ("MatMul", names(&["x", "y.weights"]).as_slice()),
                ("Add", names(&["y.value", "bias"]).as_slice()),
            ]
        );
        assert_eq!(parts.nodes[0].domain, "com.microsoft");
        assert!(int_of(&parts.nodes[0], "accuracy_level").is_none());
        assert_eq!(parts.initializers[0].float_data, [1.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn weights_that_are_computed_stay_as_they_are() {
        let mut parts = Parts::default();
        let node = product(&["x", "b", "scales"], 2);
        assert!(!parts.product_of_narrow(&node, &constants(&["scales"])));
        let far = product(&["x", "b", "scales"], MOST_SUMMED + 1);
        assert!(!parts.product_of_narrow(&far, &constants(&["b", "scales"])));
        assert!(parts.nodes.is_empty());
    }
}
