//! Elementwise operators behind a product of rows are computed on the rows, `[N L, K]`, where the last axis is channels: a
//! bias is one value per channel there, functions are stages of the product, and the next product finds its rows as they are.
//!
//! ```text
//! rows -> reshape [N, L, K] -> f -> reshape [N L, K]      becomes      rows -> f -> identity
//! ```
//!
//! The result keeps its name and its form for whoever else reads it, behind a change of shape of its own.

use super::is_activation;
use super::rows::reshape;
use crate::import::Facts;
use crate::import::facts::to_proto;
use crate::import::nodes::elementwise;
use crate::normalise::parts::{Parts, node_name};
use crate::normalise::proto::{is_standard, result};
use std::collections::BTreeMap;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

/// Runs the pass.
pub(super) fn run(graph: &mut GraphProto, facts: &Facts) -> bool {
    let mut rows = Rows {
        facts,
        behind: BTreeMap::new(),
    };
    let (mut parts, mut changed) = (Parts::default(), false);
    for node in std::mem::take(&mut graph.node) {
        parts.origin = node_name(&node);
        if let Some(operands) = rows.operands(&node) {
            rows.compute(&node, operands, &mut parts);
            changed = true;
        } else if let Some(same) = rows.same(&node) {
            parts.node("Identity", vec![same], result(&node), &[]);
            changed = true;
        } else {
            rows.note(&node);
            parts.nodes.push(node);
        }
    }
    graph.node = parts.nodes;
    graph.initializer.append(&mut parts.initializers);
    changed
}

struct Rows<'a> {
    facts: &'a Facts,
    /// Tensors `[.., K]` that are rows in another shape, and these rows.
    behind: BTreeMap<String, String>,
}

/// An operand of a function on rows.
enum RowOperand {
    /// One that is left out, or a constant as it is.
    Same(String),
    /// The rows of an activation.
    Rows(String),
    /// A constant of too many dimensions, under a name and with dimensions of its own.
    Constant(Box<TensorProto>),
}

impl Rows<'_> {
    /// Notes a change of shape of rows that keeps their last axis.
    fn note(&mut self, node: &NodeProto) {
        if !is_standard(node) || node.op_type != "Reshape" {
            return;
        }
        let (rows, to) = (&node.input[0], result(node));
        let Some(dims) = self.facts.get(&to).map(|fact| &fact.dims) else {
            return;
        };
        let columns = dims.last();
        let matrix = self.facts.get(rows).is_some_and(|fact| {
            is_activation(fact) && matches!(&*fact.dims, [_, k] if Some(k) == columns)
        });
        if matrix && dims.len() > 2 {
            self.behind.insert(to, rows.clone());
        }
    }

    /// The rows that a node brings into the form that they have already.
    fn same(&self, node: &NodeProto) -> Option<String> {
        let reshape = is_standard(node) && node.op_type == "Reshape";
        let rows = self.behind.get(node.input.first().filter(|_| reshape)?)?;
        let [from, to] = [rows, &result(node)].map(|name| self.facts.get(name));
        (from?.dims == to?.dims).then(|| rows.clone())
    }

    /// The operands of an elementwise operator all of whose activations are rows in the shape of its result.
    fn operands(&self, node: &NodeProto) -> Option<Vec<RowOperand>> {
        if !is_standard(node) || !elementwise::is_elementwise(node) {
            return None;
        }
        let dims = &self.facts.get(&result(node))?.dims;
        let columns = *dims.last()?;
        let operands = node.input.iter().enumerate().map(|(index, name)| {
            if name.is_empty() {
                return Some(RowOperand::Same(name.clone()));
            }
            let fact = self.facts.get(name)?;
            let Some(constant) = &fact.constant else {
                let rows = self.behind.get(name).filter(|_| fact.dims == *dims)?;
                return Some(RowOperand::Rows(rows.clone()));
            };
            // One value, or one for each column.
            let inner = match fact.dims.split_last() {
                Some((&last, leading)) if last == columns => leading.iter().all(|&d| d == 1),
                _ => fact.dims.iter().all(|&d| d == 1),
            };
            if fact.dims.len() <= 2 {
                return inner.then(|| RowOperand::Same(name.clone()));
            }
            let mut tensor = to_proto(name, constant).filter(|_| inner)?;
            tensor.name = format!("{}.operand{index}", result(node));
            tensor.dims.drain(..fact.dims.len() - 1);
            Some(RowOperand::Constant(Box::new(tensor)))
        });
        let operands: Vec<RowOperand> = operands.collect::<Option<_>>()?;
        let varies = operands
            .iter()
            .any(|operand| matches!(operand, RowOperand::Rows(_)));
        varies.then_some(operands)
    }

    /// Adds the operator on rows, and the change of shape that gives the result its own.
    fn compute(&mut self, node: &NodeProto, operands: Vec<RowOperand>, parts: &mut Parts) {
        let y = result(node);
        let names = operands.into_iter().map(|operand| match operand {
            RowOperand::Same(name) | RowOperand::Rows(name) => name,
            RowOperand::Constant(tensor) => {
                let name = tensor.name.clone();
                parts.initializers.push(*tensor);
                name
            }
        });
        let names = names.collect();
        let rows = parts.node(&node.op_type, names, format!("{y}.rows"), &node.attribute);
        let dims = self
            .facts
            .get(&y)
            .map_or(Vec::new(), |fact| fact.dims.clone());
        reshape(parts, &rows, y.clone(), &dims);
        self.behind.insert(y, rows);
    }
}
