//! A model that reaches a runtime is whole: nothing in it names a file, at any depth.

use super::HostError;
use prost::Message;
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};

/// Decodes a model and makes sure that all its data are inside of it.
///
/// # Errors
/// The bytes are no model, or data of a tensor lie outside.
pub fn self_contained(bytes: &[u8]) -> Result<ModelProto, HostError> {
    let model = ModelProto::decode(bytes)
        .map_err(|error| HostError::Refused(format!("it is no ONNX model: {error}")))?;
    let functions = model.functions.iter().flat_map(|f| &f.node);
    let outside = model.graph.iter().find_map(of_graph);
    match outside.or_else(|| functions.into_iter().find_map(of_node)) {
        None => Ok(model),
        Some(name) => Err(HostError::Refused(format!(
            "the data of `{name}` lie outside of it"
        ))),
    }
}

/// The name of a tensor of a graph whose data lie outside.
fn of_graph(graph: &GraphProto) -> Option<&str> {
    let tensor = graph.initializer.iter().find_map(of_tensor);
    let sparse = || graph.sparse_initializer.iter().find_map(of_sparse);
    tensor
        .or_else(sparse)
        .or_else(|| graph.node.iter().find_map(of_node))
}

fn of_node(node: &NodeProto) -> Option<&str> {
    node.attribute.iter().find_map(|attribute| {
        let tensors = attribute.t.iter().chain(&attribute.tensors);
        let sparse = attribute.sparse_tensor.iter();
        let mut graphs = attribute.g.iter().chain(&attribute.graphs);
        tensors
            .map(of_tensor)
            .chain(sparse.chain(&attribute.sparse_tensors).map(of_sparse))
            .find_map(|found| found)
            .or_else(|| graphs.find_map(of_graph))
    })
}

fn of_sparse(tensor: &SparseTensorProto) -> Option<&str> {
    let parts = tensor.values.iter().chain(&tensor.indices);
    parts.into_iter().find_map(of_tensor)
}

fn of_tensor(tensor: &TensorProto) -> Option<&str> {
    let outside = tensor.data_location == Some(DataLocation::External as i32);
    (outside || !tensor.external_data.is_empty()).then_some(&tensor.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::{AttributeProto, StringStringEntryProto};

    fn outside() -> TensorProto {
        TensorProto {
            name: "w".to_owned(),
            external_data: vec![StringStringEntryProto {
                key: "location".to_owned(),
                value: "/etc/passwd".to_owned(),
            }],
            ..TensorProto::default()
        }
    }

    fn model(graph: GraphProto) -> Vec<u8> {
        ModelProto {
            graph: Some(graph),
            ..ModelProto::default()
        }
        .encode_to_vec()
    }

    #[test]
    fn data_outside_are_found_at_any_depth() {
        let inner = GraphProto {
            initializer: vec![outside()],
            ..GraphProto::default()
        };
        let around = |attribute: AttributeProto| GraphProto {
            node: vec![NodeProto {
                attribute: vec![attribute],
                ..NodeProto::default()
            }],
            ..GraphProto::default()
        };
        let nested = around(AttributeProto {
            g: Some(around(AttributeProto {
                g: Some(inner.clone()),
                ..AttributeProto::default()
            })),
            ..AttributeProto::default()
        });
        let constant = around(AttributeProto {
            t: Some(outside()),
            ..AttributeProto::default()
        });
        let sparse = GraphProto {
            sparse_initializer: vec![SparseTensorProto {
                indices: Some(outside()),
                ..SparseTensorProto::default()
            }],
            ..GraphProto::default()
        };
        for graph in [inner, nested, constant, sparse] {
            let error = self_contained(&model(graph)).unwrap_err();
            assert!(error.to_string().contains("`w`"), "{error}");
        }
        assert!(self_contained(&model(GraphProto::default())).is_ok());
    }
}
