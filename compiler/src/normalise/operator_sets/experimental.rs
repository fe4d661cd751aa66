//! Operators that were an experiment of the first operator sets and are in none since: converters of Core ML models wrote
//! them, as `ImageScaler` in front of Tiny YOLO. ONNX Runtime has them up to operator set 10.

use super::{attribute, float_of, float_tensor, ints_of, operand, result};
use crate::normalise::parts::Parts;
use tract_onnx::pb::NodeProto;

/// An end beyond any extent.
const TO_THE_END: i64 = i64::MAX;

impl Parts {
    /// What stands for an operator of the experiment. Whether it was one.
    pub(super) fn experimental(&mut self, node: &NodeProto) -> bool {
        let (x, y) = (operand(node, 0), result(node));
        let stated = |name: &str, default: f32| float_of(node, name).unwrap_or(default);
        match node.op_type.as_str() {
            "Affine" => {
                let scaled = self.times(x, stated("alpha", 1.0), format!("{y}.scaled"));
                let shift = self.number(format!("{y}.shift"), stated("beta", 0.0));
                self.node("Add", vec![scaled, shift], y, &[]);
            }
            "ParametricSoftplus" => self.around("Softplus", node),
            "ScaledTanh" => self.around("Tanh", node),
            "ImageScaler" => {
                let bias = attribute(node, "bias").map_or(&[][..], |a| &a.floats);
                let scaled = self.times(x, stated("scale", 1.0), format!("{y}.scaled"));
                let shift = format!("{y}.shift");
                let extents = [bias.len() as i64, 1, 1];
                self.initializers.push(float_tensor(&shift, &extents, bias));
                self.node("Add", vec![scaled, shift], y, &[]);
            }
            "Crop" => return self.crop(node),
            _ => return false,
        }
        true
    }

    /// `alpha f(beta x)`.
    fn around(&mut self, function: &str, node: &NodeProto) {
        let y = result(node);
        let stated = |name: &str| float_of(node, name).unwrap_or(1.0);
        let inner = self.times(operand(node, 0), stated("beta"), format!("{y}.inner"));
        let value = self.node(function, vec![inner], format!("{y}.value"), &[]);
        self.times(value, stated("alpha"), y);
    }

    fn times(&mut self, x: String, factor: f32, to: String) -> String {
        let factor = self.number(format!("{to}.factor"), factor);
        self.node("Mul", vec![x, factor], to, &[])
    }

    /// A plane without `border` values at its left, its top, its right and its bottom, or of the extents `scale` from its
    /// left and its top on.
    fn crop(&mut self, node: &NodeProto) -> bool {
        let Some(&[left, top, right, bottom]) = ints_of(node, "border") else {
            return false;
        };
        let ends = match ints_of(node, "scale") {
            Some(&[height, width]) => [top.saturating_add(height), left.saturating_add(width)],
            _ => [bottom, right].map(|cut| {
                if cut == 0 {
                    TO_THE_END
                } else {
                    cut.saturating_neg()
                }
            }),
        };
        let y = result(node);
        let starts = self.integers(format!("{y}.starts"), &[top, left]);
        let ends = self.integers(format!("{y}.ends"), &ends);
        let axes = self.integers(format!("{y}.axes"), &[2, 3]);
        self.node("Slice", vec![operand(node, 0), starts, ends, axes], y, &[]);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::proto::{float, ints, node_of};
    use tract_onnx::pb::AttributeProto;

    fn written(operator: &str, attributes: Vec<AttributeProto>) -> Option<Parts> {
        let mut node = node_of(&["x"], "y");
        operator.clone_into(&mut node.op_type);
        node.attribute = attributes;
        let mut parts = Parts::default();
        parts.experimental(&node).then_some(parts)
    }

    /// Operators and what they read, with the numbers of constants in the place of their names.
    fn steps(parts: &Parts) -> Vec<String> {
        let value = |name: &String| {
            let constant = parts.initializers.iter().find(|c| c.name == *name);
            constant.map_or_else(
                || name.clone(),
                |c| {
                    if c.int64_data.is_empty() {
                        format!("{:?}", c.float_data)
                    } else {
                        format!("{:?}", c.int64_data)
                    }
                },
            )
        };
        let step = |node: &NodeProto| {
            let operands: Vec<String> = node.input.iter().map(value).collect();
            format!(
                "{} = {}({})",
                node.output[0],
                node.op_type,
                operands.join(", ")
            )
        };
        parts.nodes.iter().map(step).collect()
    }

    #[test]
    fn each_is_written_with_the_operators_of_today() {
        let numbers = || vec![float("alpha", 2.0), float("beta", 0.5)];
        let bias = AttributeProto {
            name: "bias".to_owned(),
            floats: vec![1.0, 2.0],
            ..AttributeProto::default()
        };
        let of = |operator: &str, attributes| steps(&written(operator, attributes).unwrap());
        assert_eq!(
            of("Affine", numbers()),
            ["y.scaled = Mul(x, [2.0])", "y = Add(y.scaled, [0.5])"]
        );
        assert_eq!(
            of("ScaledTanh", numbers()),
            [
                "y.inner = Mul(x, [0.5])",
                "y.value = Tanh(y.inner)",
                "y = Mul(y.value, [2.0])"
            ]
        );
        assert_eq!(
            of("ParametricSoftplus", numbers())[1],
            "y.value = Softplus(y.inner)"
        );
        assert_eq!(
            of("ImageScaler", vec![float("scale", 0.5), bias]),
            ["y.scaled = Mul(x, [0.5])", "y = Add(y.scaled, [1.0, 2.0])"]
        );
        assert!(written("Relu", vec![]).is_none());
    }

    /// Left, top, right, bottom.
    #[test]
    fn a_crop_is_a_slice_of_the_plane() {
        let border = || ints("border", &[1, 2, 3, 0]);
        let cut = steps(&written("Crop", vec![border()]).unwrap());
        assert_eq!(
            cut,
            [format!("y = Slice(x, [2, 1], [{TO_THE_END}, -3], [2, 3])")]
        );
        let sized = steps(&written("Crop", vec![border(), ints("scale", &[5, 6])]).unwrap());
        assert_eq!(sized, ["y = Slice(x, [2, 1], [7, 7], [2, 3])"]);
        assert!(written("Crop", vec![]).is_none());
        let ends = || ints("border", &[i64::MAX, i64::MAX, i64::MIN, i64::MIN]);
        assert!(written("Crop", vec![ends()]).is_some());
        assert!(written("Crop", vec![ends(), ints("scale", &[i64::MAX; 2])]).is_some());
    }
}
