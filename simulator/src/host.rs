//! The host: quantisation at its border, and sub-models run by tract.

use crate::error::SimulateError;
use scnn_host::{contained, reader};
use scnn_isa::arith;
use scnn_isa::program::{Dtype, HostSegment, Tensor, Value};
use std::sync::Arc;
use tract_onnx::prelude::{
    DatumType, Framework, InferenceModelExt, IntoRunnable, IntoTValue, IntoTensor, TVec,
    Tensor as HostTensor, TractError, TypedSimplePlan,
};

/// A host segment ready to run.
pub struct Segment {
    plan: Arc<TypedSimplePlan>,
}

impl Segment {
    /// Reads and plans the sub-model.
    pub fn new(segment: &HostSegment) -> Result<Self, SimulateError> {
        let plan = || -> Result<Arc<TypedSimplePlan>, TractError> {
            reader()
                .model_for_read(&mut segment.model.as_slice())?
                .into_optimized()?
                .into_runnable()
        };
        let plan = contained(plan).map_err(|error| failed(segment, &error))?;
        Ok(Self { plan })
    }

    /// Runs it on its operands.
    pub fn run(
        &self,
        segment: &HostSegment,
        operands: Vec<HostTensor>,
    ) -> Result<Vec<HostTensor>, SimulateError> {
        let operands: TVec<_> = operands.into_iter().map(IntoTValue::into_tvalue).collect();
        let results =
            contained(|| self.plan.run(operands)).map_err(|error| failed(segment, &error))?;
        Ok(results.into_iter().map(IntoTensor::into_tensor).collect())
    }
}

fn failed(segment: &HostSegment, error: &TractError) -> SimulateError {
    let chain: Vec<String> = error.chain().map(ToString::to_string).take(3).collect();
    SimulateError::Host {
        segment: segment.name.clone(),
        reason: chain.join(": "),
    }
}

/// The integers of a value that arrives from the host.
pub fn quantise(
    value: &Value,
    tensor: &Tensor,
    data: &HostTensor,
) -> Result<Vec<i16>, SimulateError> {
    let border = |reason: String| SimulateError::Value {
        name: value.name.clone(),
        reason,
    };
    let floats = data.cast_to::<f32>().map_err(|e| border(e.to_string()))?;
    let view = floats
        .to_plain_array_view::<f32>()
        .map_err(|e| border(e.to_string()))?;
    if view.len() as u64 != tensor.elements() {
        return Err(border(format!(
            "{} values where {} are declared",
            view.len(),
            tensor.elements()
        )));
    }
    Ok(view
        .iter()
        .map(|&v| arith::quantise(v, tensor.scale, tensor.range))
        .collect())
}

/// The host's form of a machine tensor.
pub fn dequantise(
    value: &Value,
    tensor: &Tensor,
    data: &[i16],
) -> Result<HostTensor, SimulateError> {
    let border = |e: TractError| SimulateError::Value {
        name: value.name.clone(),
        reason: e.to_string(),
    };
    let floats: Vec<f32> = data
        .iter()
        .map(|&q| arith::dequantise(q, tensor.scale))
        .collect();
    let dims: Vec<usize> = value.shape.iter().map(|&d| d as usize).collect();
    let tensor = HostTensor::from_shape(&dims, &floats).map_err(border)?;
    Ok(tensor
        .cast_to_dt(datum_type(value.dtype))
        .map_err(border)?
        .into_owned())
}

/// tract's name of an element type.
fn datum_type(dtype: Dtype) -> DatumType {
    match dtype {
        Dtype::F32 => DatumType::F32,
        Dtype::F64 => DatumType::F64,
        Dtype::F16 => DatumType::F16,
        Dtype::I8 => DatumType::I8,
        Dtype::I16 => DatumType::I16,
        Dtype::I32 => DatumType::I32,
        Dtype::I64 => DatumType::I64,
        Dtype::U8 => DatumType::U8,
        Dtype::U16 => DatumType::U16,
        Dtype::U32 => DatumType::U32,
        Dtype::U64 => DatumType::U64,
        Dtype::Bool => DatumType::Bool,
    }
}
