//! Names that a node reads: its operands, and what the graphs inside of it read of the graph around it.

use std::collections::BTreeSet;
use tract_onnx::pb::{GraphProto, NodeProto};

/// All tensors that a node reads, without repetition, its operands first.
pub(crate) fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    let operands = node.input.iter().map(String::as_str);
    for name in operands.chain(captures(node)) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What the graphs inside of a node read of the graph around it.
pub(crate) fn captures(node: &NodeProto) -> Vec<&str> {
    let graphs = node
        .attribute
        .iter()
        .flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
    graphs.flat_map(captured).collect()
}

/// Whether a node has graphs inside of it.
pub(crate) fn has_graphs(node: &NodeProto) -> bool {
    let mut attributes = node.attribute.iter();
    attributes.any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty())
}

/// What a graph reads that is not defined in it.
fn captured(graph: &GraphProto) -> Vec<&str> {
    let mut defined: BTreeSet<&str> = BTreeSet::new();
    defined.extend(graph.input.iter().map(|input| input.name.as_str()));
    defined.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
    let sparse = graph
        .sparse_initializer
        .iter()
        .filter_map(|s| s.values.as_ref());
    defined.extend(sparse.map(|values| values.name.as_str()));
    let results = graph.node.iter().flat_map(|node| &node.output);
    defined.extend(results.map(String::as_str));
    let read = graph.node.iter().flat_map(reads);
    let outputs = graph.output.iter().map(|output| output.name.as_str());
    read.chain(outputs)
        .filter(|name| !defined.contains(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::{AttributeProto, ValueInfoProto};

    fn node(inputs: &[&str], outputs: &[&str]) -> NodeProto {
        NodeProto {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: outputs.iter().map(|&name| name.to_owned()).collect(),
            ..NodeProto::default()
        }
    }

    fn around(graph: GraphProto, inputs: &[&str]) -> NodeProto {
        NodeProto {
            attribute: vec![AttributeProto {
                g: Some(graph),
                ..AttributeProto::default()
            }],
            ..node(inputs, &["y"])
        }
    }

    #[test]
    fn a_graph_inside_reads_what_it_does_not_define_at_any_depth() {
        let output = |name: &str| ValueInfoProto {
            name: name.to_owned(),
            ..ValueInfoProto::default()
        };
        let inner = GraphProto {
            node: vec![node(&["a", "t"], &["u"])],
            output: vec![output("u"), output("b")],
            ..GraphProto::default()
        };
        let outer = GraphProto {
            node: vec![node(&["c", ""], &["t"]), around(inner, &["t"])],
            ..GraphProto::default()
        };
        let node = around(outer, &["x", "", "x"]);
        assert_eq!(reads(&node), ["x", "c", "a", "b"]);
    }
}
