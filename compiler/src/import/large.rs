//! Initializers so large that a second copy of them matters.
//!
//! They are most of a model file. They are turned into tensors one after the other, each leaving the protobuf as it
//! is, and handed to tract and to the graph as they are, so that a network's weights are in memory once.

use super::ImportError;
use scnn_isa::diagnostic::Code;
use std::collections::BTreeMap;
use std::sync::Arc;
use tract_onnx::pb::ModelProto;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::prelude::Tensor;
use tract_onnx::tensor::load_tensor;

/// Large initializers by name.
pub(crate) type Large = BTreeMap<String, Arc<Tensor>>;

/// Bytes from which an initializer is large.
const LARGE: usize = 1 << 16;

/// Takes the large initializers out of a validated model and declares them as inputs instead, where they are not.
pub(super) fn take(model: &mut ModelProto) -> Result<Large, ImportError> {
    let mut large = Large::new();
    let Some(graph) = &mut model.graph else {
        return Ok(large);
    };
    let framework = tract_onnx::onnx();
    let mut kept = Vec::new();
    for tensor in std::mem::take(&mut graph.initializer) {
        if tensor.raw_data.len() < LARGE || tensor.data_type != DataType::Float as i32 {
            kept.push(tensor);
            continue;
        }
        let value = load_tensor(&*framework.provider, &tensor, None).map_err(|error| {
            ImportError::model(
                Code::BadTensor,
                format!("the initializer `{}`: {error}", tensor.name),
                "the file is damaged; export the model again",
            )
        })?;
        if graph.input.iter().all(|input| input.name != tensor.name) {
            let dims: Vec<u64> = tensor.dims.iter().map(|&d| d as u64).collect();
            let info = super::value_info(&tensor.name, scnn_isa::program::Dtype::F32, &dims);
            graph.input.push(info);
        }
        large.insert(tensor.name, Arc::new(value));
    }
    graph.initializer = kept;
    Ok(large)
}
