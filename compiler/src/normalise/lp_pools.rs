//! `LpPool` and `GlobalLpPool` become averages of powers: the p-th root of the number of values times the mean of
//! `|x|^p`. tract does not have the first, and divides the second by the p-th root of the number of values.
//!
//! ```text
//! |x| --^p--> AveragePool, padding counted --* positions--> --^(1/p)-->
//! ```

use super::Draft;
use super::error::ImportError;
use super::parts::{Parts, replace_nodes};
use super::proto::{float_tensor, int, int_of, ints_of, is_standard, operand, result};
use tract_onnx::pb::{AttributeProto, NodeProto};

/// The operator set that gave `AveragePool` dilations; `LpPool` had them before.
const DILATED_AVERAGES: i64 = 19;

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let opset = draft.operator_set();
    draft.each_graph(|graph| {
        replace_nodes(graph, |node, parts| {
            match node.op_type.as_str() {
                "GlobalLpPool" if is_standard(&node) => parts.global_lp_pool(&node),
                "LpPool" if is_standard(&node) && is_average(&node, opset) => parts.lp_pool(&node),
                _ => return Ok(Some(node)),
            }
            Ok(None)
        })
    })
}

/// Whether an average counts the values of every window as the sum has them: not where the last windows are cut.
fn is_average(node: &NodeProto, opset: i64) -> bool {
    let dilated =
        ints_of(node, "dilations").is_some_and(|dilations| dilations.iter().any(|&d| d != 1));
    int_of(node, "ceil_mode").unwrap_or(0) == 0
        && ints_of(node, "kernel_shape").is_some()
        && (opset >= DILATED_AVERAGES || !dilated)
}

impl Parts {
    fn lp_pool(&mut self, node: &NodeProto) {
        let y = result(node);
        let powers = self.powers(node);
        let mut attributes: Vec<AttributeProto> = node.attribute.clone();
        attributes.retain(|attribute| !["p", "ceil_mode"].contains(&attribute.name.as_str()));
        attributes.push(int("count_include_pad", 1));
        let mean = self.node(
            "AveragePool",
            vec![powers],
            format!("{y}.mean"),
            &attributes,
        );
        let kernel = ints_of(node, "kernel_shape").unwrap_or_default();
        let count: i64 = kernel.iter().product();
        let count = self.number(format!("{y}.count"), count as f32);
        self.root(node, mean, count);
    }

    fn global_lp_pool(&mut self, node: &NodeProto) {
        let y = result(node);
        let powers = self.powers(node);
        let mean = self.node("GlobalAveragePool", vec![powers], format!("{y}.mean"), &[]);
        // The extents behind images and channels; constants once shapes are known.
        let shape = self.node("Shape", vec![operand(node, 0)], format!("{y}.shape"), &[]);
        let begin = self.integers(format!("{y}.begin"), &[2]);
        let end = self.integers(format!("{y}.end"), &[i64::MAX]);
        let plane = self.node("Slice", vec![shape, begin, end], format!("{y}.plane"), &[]);
        let reduced = [int("keepdims", 0)];
        let positions = self.node(
            "ReduceProd",
            vec![plane],
            format!("{y}.positions"),
            &reduced,
        );
        let count = self.node(
            "Cast",
            vec![positions],
            format!("{y}.count"),
            &[int("to", 1)],
        );
        self.root(node, mean, count);
    }

    /// `|x|^p`.
    fn powers(&mut self, node: &NodeProto) -> String {
        let y = result(node);
        let magnitude = self.node("Abs", vec![operand(node, 0)], format!("{y}.magnitude"), &[]);
        match power(node) {
            1 => magnitude,
            2 => self.node(
                "Mul",
                vec![magnitude.clone(), magnitude],
                format!("{y}.powers"),
                &[],
            ),
            p => {
                let exponent = format!("{y}.p");
                self.initializers
                    .push(float_tensor(&exponent, &[], &[p as f32]));
                self.node("Pow", vec![magnitude, exponent], format!("{y}.powers"), &[])
            }
        }
    }

    /// The p-th root of `count` times `mean`: the result of the node.
    fn root(&mut self, node: &NodeProto, mean: String, count: String) {
        let y = result(node);
        let factors = vec![mean, count];
        match power(node) {
            1 => self.node("Mul", factors, y, &[]),
            2 => {
                let sum = self.node("Mul", factors, format!("{y}.sum"), &[]);
                self.node("Sqrt", vec![sum], y, &[])
            }
            p => {
                let sum = self.node("Mul", factors, format!("{y}.sum"), &[]);
                let exponent = self.number(format!("{y}.root"), 1.0 / p as f32);
                self.node("Pow", vec![sum, exponent], y, &[])
            }
        };
    }
}

/// The exponent; 2 unless the node says otherwise.
fn power(node: &NodeProto) -> i64 {
    int_of(node, "p").unwrap_or(2)
}
