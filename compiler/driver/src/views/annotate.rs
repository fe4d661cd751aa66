//! The model itself with the numbers of a run in its `metadata_props`, which ONNX has for every node and value: keys
//! `scnnc.cycles`, `scnnc.energy_pj`, `scnnc.lost_to` and so on. Everything else is kept byte for byte.

use super::Nodes;
use super::facts::{Fact, of_model, of_node};
use super::wire::{FileNode, NotOnnx, fields, nodes_of, put, tag, text};
use scnn_simulator::report::Report;
use std::collections::{BTreeMap, BTreeSet};

/// `model`, the bytes of the ONNX file that has run, with the numbers of its report.
///
/// Nodes have the facts of their layers, values that the file declares the share of non-zeros of a layer's result. Where
/// several nodes of a file have one name, the first has the facts. External data stays where the file says.
///
/// # Errors
/// Bytes that are not an ONNX model.
pub fn annotate(report: &Report, model: &[u8]) -> Result<Vec<u8>, NotOnnx> {
    let nodes = Nodes::of(report);
    let by_node = nodes.nodes.iter().map(|node| (node.name, of_node(node)));
    let mut notes = Notes {
        nodes: by_node.collect(),
        values: densities(report, &nodes_of(model)?),
        done: BTreeSet::new(),
    };
    let mut annotated = Vec::with_capacity(model.len() + model.len() / 64);
    for field in fields(model)? {
        match (field.number, field.content) {
            (tag::MODEL_GRAPH, Some(graph)) => {
                put(&mut annotated, tag::MODEL_GRAPH, &notes.graph(graph)?);
            }
            _ => annotated.extend_from_slice(field.whole),
        }
    }
    for fact in of_model(report, &nodes) {
        put_entry(
            &mut annotated,
            tag::MODEL_METADATA,
            fact.name,
            &fact.value.text(),
        );
    }
    Ok(annotated)
}

/// The share of non-zeros of each layer's result, by the name of the value.
fn densities(report: &Report, file: &[FileNode]) -> BTreeMap<String, f64> {
    let results: BTreeMap<&str, &[String]> = file
        .iter()
        .map(|node| (node.name.as_str(), node.results.as_slice()))
        .collect();
    let layers = report.layers.iter().filter(|layer| layer.on_array());
    layers
        .filter_map(|layer| {
            let last = results.get(layer.onnx_nodes.last()?.as_str())?;
            Some((last.first()?.clone(), layer.density.output))
        })
        .collect()
}

/// What is noted where.
struct Notes<'a> {
    nodes: BTreeMap<&'a str, Vec<Fact>>,
    values: BTreeMap<String, f64>,
    /// Nodes that have their notes.
    done: BTreeSet<String>,
}

impl Notes<'_> {
    fn graph(&mut self, graph: &[u8]) -> Result<Vec<u8>, NotOnnx> {
        let mut annotated = Vec::with_capacity(graph.len());
        for field in fields(graph)? {
            match (field.number, field.content) {
                (tag::GRAPH_NODE, Some(node)) => {
                    put(&mut annotated, field.number, &self.node(node)?);
                }
                (tag::GRAPH_OUTPUT | tag::GRAPH_VALUE_INFO, Some(value)) => {
                    put(&mut annotated, field.number, &self.value(value)?);
                }
                _ => annotated.extend_from_slice(field.whole),
            }
        }
        Ok(annotated)
    }

    fn node(&mut self, node: &[u8]) -> Result<Vec<u8>, NotOnnx> {
        let name = FileNode::read(node)?.name;
        let mut annotated = node.to_vec();
        if let Some(facts) = self.nodes.get(name.as_str())
            && self.done.insert(name)
        {
            for fact in facts {
                put_entry(
                    &mut annotated,
                    tag::NODE_METADATA,
                    fact.name,
                    &fact.value.text(),
                );
            }
        }
        Ok(annotated)
    }

    fn value(&self, value: &[u8]) -> Result<Vec<u8>, NotOnnx> {
        let mut annotated = value.to_vec();
        if let Some(density) = self.values.get(&text(value, tag::VALUE_NAME)?) {
            put_entry(
                &mut annotated,
                tag::VALUE_METADATA,
                "density",
                &density.to_string(),
            );
        }
        Ok(annotated)
    }
}

/// Appends a `StringStringEntryProto`.
fn put_entry(message: &mut Vec<u8>, number: u32, key: &str, value: &str) {
    let mut entry = Vec::new();
    put(
        &mut entry,
        tag::ENTRY_KEY,
        format!("scnnc.{key}").as_bytes(),
    );
    put(&mut entry, tag::ENTRY_VALUE, value.as_bytes());
    put(message, number, &entry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::tests::{lenet, report};
    use prost::Message;
    use tract_onnx::pb::ModelProto;

    #[test]
    fn a_model_without_the_notes_is_the_model() {
        let model = std::fs::read(lenet()).unwrap();
        let report = report();
        let annotated = annotate(&report, &model).unwrap();
        // The schema that reads here has `metadata_props` for models and skips those of nodes and values.
        let read = |bytes: &[u8]| {
            let mut model = ModelProto::decode(bytes).unwrap();
            model
                .metadata_props
                .retain(|entry| !entry.key.starts_with("scnnc."));
            model
        };
        assert_eq!(read(&annotated), read(&model));
        let cycles = format!("{}", report.totals.cycles.total);
        let model = ModelProto::decode(annotated.as_slice()).unwrap();
        let entry = |e: &&tract_onnx::pb::StringStringEntryProto| e.key == "scnnc.cycles";
        assert_eq!(
            model.metadata_props.iter().find(entry).unwrap().value,
            cycles
        );
    }

    #[test]
    fn bytes_that_end_early_are_refused() {
        let model = std::fs::read(lenet()).unwrap();
        assert!(annotate(&report(), &model[..model.len() / 2]).is_err());
        assert!(annotate(&report(), &[]).is_err());
    }
}
