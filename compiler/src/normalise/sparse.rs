//! Sparse initializers and constants become dense ones.

use super::Draft;
use super::error::ImportError;
use super::limits::dense_elements;
use super::parts::node_name;
use super::proto::{attribute, tensor};
use crate::codes::Code;
use tract_onnx::pb::{GraphProto, SparseTensorProto, TensorProto};
use tract_onnx::tensor::load_tensor;

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    draft.each_graph(|graph| {
        let mut errors = Vec::new();
        for sparse in std::mem::take(&mut graph.sparse_initializer) {
            let name = sparse
                .values
                .as_ref()
                .map_or("", |values| &values.name)
                .to_owned();
            match dense(&sparse) {
                Ok(value) => graph.initializer.push(TensorProto { name, ..value }),
                Err(reason) => errors.push(refused(&format!("the initializer `{name}`"), &reason)),
            }
        }
        constants(graph, &mut errors);
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    })
}

fn constants(graph: &mut GraphProto, errors: &mut Vec<ImportError>) {
    for node in graph
        .node
        .iter_mut()
        .filter(|node| node.op_type == "Constant")
    {
        let sparse = attribute(node, "sparse_value").and_then(|a| a.sparse_tensor.as_ref());
        match sparse.map(dense) {
            Some(Ok(value)) => node.attribute = vec![tensor("value", value)],
            Some(Err(reason)) => {
                errors.push(refused(
                    &format!("the constant `{}`", node_name(node)),
                    &reason,
                ));
            }
            None => {}
        }
    }
}

fn refused(what: &str, reason: &str) -> ImportError {
    ImportError::model(
        Code::BadTensor,
        format!("{what} is no sparse tensor: {reason}"),
        "the file is damaged; export the model again",
    )
}

/// The dense form of a sparse tensor, whose indices are positions or lists of coordinates.
fn dense(sparse: &SparseTensorProto) -> Result<TensorProto, String> {
    let (Some(values), Some(indices)) = (&sparse.values, &sparse.indices) else {
        return Err("it has no values or no indices".to_owned());
    };
    let dims = sparse.dims.iter().map(|&dim| usize::try_from(dim).ok());
    let dims: Vec<usize> = dims
        .collect::<Option<_>>()
        .ok_or("a dimension is negative")?;
    let elements = dense_elements(&dims).ok_or("it is too large")?;
    let (values, width) = bytes(values)?;
    let count = values.len() / width;
    let positions = positions(indices, count, &dims)?;
    let mut data = vec![0u8; elements * width];
    for (value, position) in values.chunks(width).zip(positions) {
        let to = data.chunks_exact_mut(width).nth(position);
        to.ok_or("an index is out of range")?.copy_from_slice(value);
    }
    Ok(TensorProto {
        dims: sparse.dims.clone(),
        data_type: sparse.values.as_ref().map_or(0, |values| values.data_type),
        raw_data: data,
        ..TensorProto::default()
    })
}

/// The bytes of a tensor's values, and of each of them.
fn bytes(values: &TensorProto) -> Result<(Vec<u8>, usize), String> {
    let tensor = load_tensor(&*tract_onnx::onnx().provider, values, None);
    let tensor = tensor.map_err(|error| error.to_string())?;
    if tensor.datum_type().is_number() {
        Ok((tensor.as_bytes().to_vec(), tensor.datum_type().size_of()))
    } else {
        Err("its values are no numbers".to_owned())
    }
}

/// The position of each value in the dense tensor.
fn positions(indices: &TensorProto, count: usize, dims: &[usize]) -> Result<Vec<usize>, String> {
    let tensor = load_tensor(&*tract_onnx::onnx().provider, indices, None);
    let tensor = tensor.map_err(|error| error.to_string())?;
    let plain = tensor
        .try_as_plain_ram()
        .map_err(|error| error.to_string())?;
    let indices = plain.as_slice::<i64>().map_err(|error| error.to_string())?;
    let index =
        |&index: &i64| usize::try_from(index).map_err(|_| "an index is negative".to_owned());
    let out_of_range = || "an index is out of range".to_owned();
    match tensor.rank() {
        1 if indices.len() == count => indices.iter().map(index).collect(),
        2 if indices.len() == count * dims.len() => indices
            .chunks(dims.len().max(1))
            .map(|coordinates| {
                let mut pairs = coordinates.iter().zip(dims);
                pairs.try_fold(0usize, |position, (at, &dim)| {
                    let at = index(at)?;
                    let inside = at < dim;
                    inside
                        .then_some(position * dim + at)
                        .ok_or_else(out_of_range)
                })
            })
            .collect(),
        _ => Err(format!("{} indices for {count} values", indices.len())),
    }
}
