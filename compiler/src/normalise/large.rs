//! Initializers so large that a second copy of them matters.
//!
//! They are most of a model file. They are read into tensors ([`super::decode`]), and handed to tract and to the graph as
//! they are, so that a network's weights are in memory once.

use super::Draft;
use super::error::ImportError;
use super::proto::value_info;
use crate::codes::Code;
use scnn_isa::program::Dtype;
use std::collections::BTreeMap;
use std::sync::Arc;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, TensorProto};
use tract_onnx::prelude::{Tensor, TractResult};
use tract_onnx::tensor::load_tensor;

/// Large initializers by name.
pub(crate) type Large = BTreeMap<String, Arc<Tensor>>;

/// The data of large initializers by their number in the graph, without a shape yet.
pub(super) type LargeData = BTreeMap<usize, Tensor>;

/// Bytes from which an initializer is large.
pub(super) const LARGE: usize = 1 << 16;

/// Takes the large initializers out of the model and declares them as inputs instead, where they are not.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let Some(graph) = &mut draft.model.graph else {
        return Ok(());
    };
    let (mut kept, mut errors) = (Vec::new(), Vec::new());
    let initializers = std::mem::take(&mut graph.initializer);
    for (number, tensor) in initializers.into_iter().enumerate() {
        let value = match draft.data.remove(&number) {
            Some(value) => shaped(&tensor, value),
            // Data that came from a file of their own, or of another type.
            None if tensor.raw_data.len() >= LARGE
                && tensor.data_type == DataType::Float as i32 =>
            {
                load_tensor(&*tract_onnx::onnx().provider, &tensor, None)
            }
            None => {
                kept.push(tensor);
                continue;
            }
        };
        match value {
            Ok(value) => {
                declare(graph, &tensor);
                draft.large.insert(tensor.name, Arc::new(value));
            }
            Err(error) => errors.push(ImportError::model(
                Code::BadTensor,
                format!("the initializer `{}`: {error}", tensor.name),
                "the file is damaged; export the model again",
            )),
        }
    }
    graph.initializer = kept;
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

fn declare(graph: &mut GraphProto, tensor: &TensorProto) {
    if graph.input.iter().all(|input| input.name != tensor.name) {
        let dims: Vec<u64> = tensor.dims.iter().map(|&d| d as u64).collect();
        graph
            .input
            .push(value_info(&tensor.name, Dtype::F32, &dims));
    }
}

/// Data in the shape of their initializer.
fn shaped(tensor: &TensorProto, mut data: Tensor) -> TractResult<Tensor> {
    let dims: Vec<usize> = tensor.dims.iter().map(|&dim| dim as usize).collect();
    data.set_shape(&dims)?;
    Ok(data)
}
