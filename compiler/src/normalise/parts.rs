//! Nodes in place of others, each of which says of which node it is a part, so that reports speak of what the file has.

use super::error::ImportError;
use super::proto::{float_tensor, int64_tensor};
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// What the documentation of a part says in front of the name of the node that it is a part of.
const PART_OF: &str = "part of ";

/// The name of a node as the file has it; nameless nodes are called after operator and first result.
pub fn node_name(node: &NodeProto) -> String {
    if let Some(origin) = node.doc_string.strip_prefix(PART_OF) {
        origin.to_owned()
    } else if node.name.is_empty() {
        format!("{}:{}", node.op_type, node.output.first().map_or("", |o| o))
    } else {
        node.name.clone()
    }
}

/// Notes of a node that it is a part of the one called `origin`.
pub(crate) fn set_origin(node: &mut NodeProto, origin: &str) {
    node.doc_string = format!("{PART_OF}{origin}");
}

/// The nodes so far, and the name of the one that is being replaced.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) nodes: Vec<NodeProto>,
    /// Constants that the parts need.
    pub(crate) initializers: Vec<TensorProto>,
    pub(crate) origin: String,
}

impl Parts {
    /// A part that computes `to`; returns that name.
    pub(crate) fn node(
        &mut self,
        operator: &str,
        input: Vec<String>,
        to: String,
        attributes: &[AttributeProto],
    ) -> String {
        let mut node = NodeProto {
            // tract asks for names of which no two are alike.
            name: format!("{to}:{operator}"),
            op_type: operator.to_owned(),
            input,
            output: vec![to.clone()],
            attribute: attributes.to_vec(),
            ..NodeProto::default()
        };
        set_origin(&mut node, &self.origin);
        self.nodes.push(node);
        to
    }

    /// A constant list of integers; returns its name.
    pub(crate) fn integers(&mut self, name: String, values: &[i64]) -> String {
        let tensor = int64_tensor(&name, &[values.len() as i64], values);
        self.initializers.push(tensor);
        name
    }

    /// A constant number; returns its name.
    pub(crate) fn number(&mut self, name: String, value: f32) -> String {
        self.initializers.push(float_tensor(&name, &[], &[value]));
        name
    }
}

/// Replaces nodes of a graph. `replace` hands a node back, changed or not, or adds what stands for it to the parts.
///
/// # Errors
/// All that `replace` returns.
pub(crate) fn replace_nodes(
    graph: &mut GraphProto,
    mut replace: impl FnMut(NodeProto, &mut Parts) -> Result<Option<NodeProto>, ImportError>,
) -> Result<(), Vec<ImportError>> {
    let (mut parts, mut errors) = (Parts::default(), Vec::new());
    for node in std::mem::take(&mut graph.node) {
        parts.origin = node_name(&node);
        match replace(node, &mut parts) {
            Ok(node) => parts.nodes.extend(node),
            Err(error) => errors.push(error),
        }
    }
    graph.node = parts.nodes;
    graph.initializer.append(&mut parts.initializers);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// Replaces the nodes of a graph of which something is known; whether there were any.
pub(crate) fn replace_known<T>(
    graph: &mut GraphProto,
    known: impl Fn(&NodeProto) -> Option<T>,
    mut replace: impl FnMut(&NodeProto, T, &mut Parts),
) -> bool {
    let found: Vec<Option<T>> = graph.node.iter().map(known).collect();
    if found.iter().all(Option::is_none) {
        return false;
    }
    let mut parts = Parts::default();
    for (node, found) in std::mem::take(&mut graph.node).into_iter().zip(found) {
        parts.origin = node_name(&node);
        match found {
            None => parts.nodes.push(node),
            Some(found) => replace(&node, found, &mut parts),
        }
    }
    graph.node = parts.nodes;
    graph.initializer.append(&mut parts.initializers);
    true
}
