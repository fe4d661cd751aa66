//! A product of many dimensions, `[N, L, C] x [C, K]`, becomes one of `N L` rows between two changes of shape, which move
//! nothing.

use super::is_activation;
use crate::import::Facts;
use crate::import::reshape_node;
use crate::normalise::parts::{Parts, replace_known};
use crate::normalise::proto::{is_standard, result};
use scnn_isa::legal::MAX_EXTENT;
use scnn_isa::program::Dtype;
use tract_onnx::pb::{GraphProto, NodeProto};

/// Runs the pass.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts) -> bool {
    replace_known(
        graph,
        |node| product(node, facts),
        |node, product, parts| {
            let y = result(node);
            let x = reshape(
                parts,
                &node.input[0],
                format!("{y}.rows"),
                &[product.rows, product.columns],
            );
            let operands = vec![x, node.input[1].clone()];
            let rows = parts.node("MatMul", operands, format!("{y}.product"), &[]);
            reshape(parts, &rows, y, &product.out);
        },
    )
}

/// A product of `rows` rows of `columns` values each, whose result has the extents `out`.
struct RowProduct {
    rows: u64,
    columns: u64,
    out: Vec<u64>,
}

fn product(node: &NodeProto, facts: &Facts) -> Option<RowProduct> {
    if !is_standard(node) || node.op_type != "MatMul" || node.input.len() != 2 {
        return None;
    }
    let (x, weights) = (facts.get(&node.input[0])?, facts.get(&node.input[1])?);
    let constant = weights.constant.is_some() && weights.dtype == Dtype::F32;
    let (&columns, leading) = x.dims.split_last()?;
    let rows = leading.iter().copied().fold(1, u64::saturating_mul);
    let fits = rows <= u64::from(MAX_EXTENT);
    let matrix = constant && weights.dims.len() == 2;
    let out = facts.get(node.output.first()?)?.dims.clone();
    (is_activation(x) && matrix && leading.len() > 1 && fits).then_some(RowProduct {
        rows,
        columns,
        out,
    })
}

pub(super) fn reshape(parts: &mut Parts, input: &str, to: String, dims: &[u64]) -> String {
    let (_, shape) = reshape_node(input, &to, dims);
    let operands = vec![input.to_owned(), shape.name.clone()];
    parts.initializers.push(shape);
    parts.node("Reshape", operands, to, &[])
}
