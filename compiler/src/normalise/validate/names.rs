//! Names of tensors: each is defined once, before it is read; what a branch or a body reads may come from around it.

use super::ImportError;
use crate::codes::Code;
use crate::normalise::closure::reads;
use crate::normalise::proto::subgraphs;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::{GraphProto, NodeProto};

/// All problems of a graph, in which the names of `outer` are known.
pub(super) fn check(graph: &GraphProto, outer: &BTreeSet<&str>, errors: &mut Vec<ImportError>) {
    let scope = Scope::of(graph, outer);
    scope.duplicates(graph, errors);
    // The nodes are in order, so a name that is produced later is in a cycle.
    let mut known: BTreeSet<&str> = outer.union(&scope.defined).copied().collect();
    for node in &graph.node {
        for input in node
            .input
            .iter()
            .filter(|i| !i.is_empty() && !known.contains(i.as_str()))
        {
            errors.push(scope.unknown(graph, node, input));
        }
        for inner in subgraphs(node) {
            check(inner, &known, errors);
        }
        known.extend(node.output.iter().map(String::as_str));
    }
    for output in graph
        .output
        .iter()
        .filter(|output| !known.contains(output.name.as_str()))
    {
        errors.push(ImportError::model(
            Code::MissingTensor,
            format!(
                "the graph's output `{}` is computed by no node",
                output.name
            ),
            super::nearest(&output.name, known.iter().copied()),
        ));
    }
}

/// Names that a graph defines.
struct Scope<'a> {
    /// Inputs and constants.
    defined: BTreeSet<&'a str>,
    /// The node that computes each result.
    producers: BTreeMap<&'a str, usize>,
    outer: &'a BTreeSet<&'a str>,
}

impl<'a> Scope<'a> {
    fn of(graph: &'a GraphProto, outer: &'a BTreeSet<&'a str>) -> Self {
        let sparse = graph
            .sparse_initializer
            .iter()
            .filter_map(|s| s.values.as_ref());
        let constants = graph.initializer.iter().chain(sparse);
        let inputs = graph.input.iter().map(|input| input.name.as_str());
        Self {
            defined: inputs
                .chain(constants.map(|tensor| tensor.name.as_str()))
                .collect(),
            producers: BTreeMap::new(),
            outer,
        }
        .with_producers(graph)
    }

    fn with_producers(mut self, graph: &'a GraphProto) -> Self {
        for (index, node) in graph.node.iter().enumerate() {
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                self.producers.entry(output).or_insert(index);
            }
        }
        self
    }

    fn duplicates(&self, graph: &GraphProto, errors: &mut Vec<ImportError>) {
        for (index, node) in graph.node.iter().enumerate() {
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                let first = self.producers.get(output.as_str()) == Some(&index);
                if self.defined.contains(output.as_str()) || !first {
                    errors.push(ImportError::node(
                        Code::DuplicateName,
                        node,
                        format!("the tensor `{output}` is defined twice"),
                        "every tensor must be the result of one node; rename one of them",
                    ));
                }
            }
        }
    }

    fn unknown(&self, graph: &GraphProto, node: &NodeProto, input: &str) -> ImportError {
        if self.producers.contains_key(input) {
            return ImportError::node(
                Code::Cycle,
                node,
                format!(
                    "it uses `{input}`, which no order of the nodes computes before it: some form a cycle"
                ),
                "export the model again; no node can read what is computed of its own result",
            );
        }
        let computed_of_it = downstream(graph, node);
        let results = self.producers.keys();
        let names = self
            .defined
            .iter()
            .chain(results.filter(|result| !computed_of_it.contains(*result)))
            .chain(self.outer);
        ImportError::node(
            Code::MissingTensor,
            node,
            format!("it uses `{input}`, which nothing defines"),
            super::nearest(input, names.copied()),
        )
    }
}

/// The results of a node of a sorted graph, and all that is computed of them: it can read none of these.
fn downstream<'a>(graph: &'a GraphProto, node: &'a NodeProto) -> BTreeSet<&'a str> {
    let named = |node: &'a NodeProto| node.output.iter().map(String::as_str);
    let mut reached: BTreeSet<&str> = named(node).collect();
    for other in &graph.node {
        let mut operands = reads(other).into_iter();
        if operands.any(|name| reached.contains(name)) {
            reached.extend(named(other));
        }
    }
    reached
}
