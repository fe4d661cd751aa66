//! Spells out what can only be told once shapes are known, in operators that the machine has.
//!
//! A product of many rows, `[N, L, C] x [C, K]`, is one of `N L` rows between two changes of shape, which move nothing; the
//! difference of two activations is a sum with the negative of one. The parts are nodes of the model, so that tract
//! computes them too and calibration knows each by a name of its own.

use super::facts::{Facts, TensorFact};
use crate::normalise::parts::{Parts, node_name};
use crate::normalise::proto::result;
use scnn_isa::legal::MAX_EXTENT;
use scnn_isa::program::Dtype;
use tract_onnx::pb::{ModelProto, NodeProto};

/// Spells out; tells whether there was anything.
pub(super) fn decompose_typed(model: &mut ModelProto, facts: &Facts) -> bool {
    let Some(graph) = &mut model.graph else {
        return false;
    };
    let forms: Vec<Option<Form>> = graph.node.iter().map(|node| form(node, facts)).collect();
    if forms.iter().all(Option::is_none) {
        return false;
    }
    let mut parts = Parts::default();
    for (node, form) in std::mem::take(&mut graph.node).into_iter().zip(forms) {
        parts.origin = node_name(&node);
        match form {
            None => parts.nodes.push(node),
            Some(Form::Rows { rows, columns, out }) => parts.rows(&node, [rows, columns], &out),
            Some(Form::Difference) => parts.difference(&node),
        }
    }
    graph.node = parts.nodes;
    graph.initializer.append(&mut parts.initializers);
    true
}

/// What a node is spelled out as.
enum Form {
    /// A product of `rows` rows of `columns` values each, whose result has the extents `out`.
    Rows {
        rows: u64,
        columns: u64,
        out: Vec<u64>,
    },
    /// A sum with the negative.
    Difference,
}

fn form(node: &NodeProto, facts: &Facts) -> Option<Form> {
    if !node.domain.is_empty() && node.domain != "ai.onnx" {
        return None;
    }
    let operand = |index: usize| facts.get(node.input.get(index)?);
    match (node.op_type.as_str(), node.input.len()) {
        ("MatMul", 2) => rows(operand(0)?, operand(1)?, facts.get(node.output.first()?)?),
        ("Sub", 2) => {
            let (a, b) = (operand(0)?, operand(1)?);
            let planes = (2..=4).contains(&a.dims.len());
            (activation(a) && activation(b) && a.dims == b.dims && planes)
                .then_some(Form::Difference)
        }
        _ => None,
    }
}

fn rows(x: &TensorFact, weights: &TensorFact, out: &TensorFact) -> Option<Form> {
    let constant = weights.constant.is_some() && weights.dtype == Dtype::F32;
    let (&columns, leading) = x.dims.split_last()?;
    let rows: u64 = leading.iter().product();
    (activation(x)
        && constant
        && leading.len() > 1
        && weights.dims.len() == 2
        && rows <= u64::from(MAX_EXTENT))
    .then(|| Form::Rows {
        rows,
        columns,
        out: out.dims.clone(),
    })
}

fn activation(fact: &TensorFact) -> bool {
    fact.constant.is_none() && fact.dtype == Dtype::F32
}

impl Parts {
    fn rows(&mut self, node: &NodeProto, shape: [u64; 2], out: &[u64]) {
        let y = result(node);
        let x = self.reshape(&node.input[0], format!("{y}.rows"), &shape);
        let product = self.node(
            "MatMul",
            vec![x, node.input[1].clone()],
            format!("{y}.product"),
            &[],
        );
        self.reshape(&product, y, out);
    }

    fn difference(&mut self, node: &NodeProto) {
        let y = result(node);
        let negative = vec![node.input[1].clone()];
        let negative = self.node("Neg", negative, format!("{y}.negative"), &[]);
        self.node("Add", vec![node.input[0].clone(), negative], y, &[]);
    }

    fn reshape(&mut self, input: &str, to: String, dims: &[u64]) -> String {
        let (_, shape) = super::reshape_node(input, &to, dims);
        let operands = vec![input.to_owned(), shape.name.clone()];
        self.initializers.push(shape);
        self.node("Reshape", operands, to, &[])
    }
}
