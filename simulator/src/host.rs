//! The host: quantisation at its border, and the sub-models that it runs.

use crate::error::SimulateError;
use scnn_host::{Host, HostError, RuntimeName, Session, datum_type};
use scnn_isa::arith;
use scnn_isa::program::{Dtype, HostSegment, Runtime, Tensor, Value};
use tract_onnx::prelude::{Tensor as HostTensor, TractError};

/// A host segment ready to run.
pub struct Segment {
    session: Box<dyn Session>,
    /// Runtime and version, as reports say it.
    pub runtime: String,
}

impl Segment {
    /// Loads the sub-model into the runtime that it needs, or that was asked for.
    pub fn new(segment: &HostSegment, host: &Host) -> Result<Self, SimulateError> {
        let needed = match segment.runtime {
            Runtime::Tract => RuntimeName::Tract,
            Runtime::OnnxRuntime => RuntimeName::OnnxRuntime,
        };
        let runtime = host
            .runtime(needed)
            .map_err(|error| failed(segment, error))?;
        let session = runtime.load(&segment.model);
        Ok(Self {
            session: session.map_err(|error| failed(segment, error))?,
            runtime: format!("{} {}", runtime.name().as_str(), runtime.version()),
        })
    }

    /// Runs it on its operands.
    pub fn run(
        &self,
        segment: &HostSegment,
        operands: Vec<HostTensor>,
    ) -> Result<Vec<HostTensor>, SimulateError> {
        let results = self.session.run(operands);
        results.map_err(|error| failed(segment, error))
    }
}

fn failed(segment: &HostSegment, source: HostError) -> SimulateError {
    SimulateError::Host {
        segment: segment.name.clone(),
        source,
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
    let given: Vec<f32> = view.iter().copied().collect();
    let stored = match &value.placement {
        None => given,
        Some(placement) => placement.to_machine(&given),
    };
    let planes = stored.chunks(plane(tensor)).zip(units(tensor));
    Ok(planes
        .flat_map(|(plane, unit)| {
            let integers = plane.iter();
            integers.map(move |&value| arith::quantise(value, unit, tensor.range))
        })
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
    let planes = data.chunks(plane(tensor)).zip(units(tensor));
    let floats: Vec<f32> = planes
        .flat_map(|(plane, unit)| {
            plane
                .iter()
                .map(move |&value| arith::dequantise(value, unit))
        })
        .collect();
    let floats = match &value.placement {
        None => floats,
        Some(placement) => placement.to_value(&floats),
    };
    let dims: Vec<usize> = value.shape.iter().map(|&d| d as usize).collect();
    let tensor = HostTensor::from_shape(&dims, &floats).map_err(border)?;
    Ok(tensor
        .cast_to_dt(datum_type(value.dtype))
        .map_err(border)?
        .into_owned())
}

/// A value converted to its type outside the program.
pub fn cast(
    value: &Value,
    data: &HostTensor,
    dtype: impl Fn(&Value) -> Dtype,
) -> Result<HostTensor, SimulateError> {
    let cast = data.cast_to_dt(datum_type(dtype(value)));
    let cast = cast.map_err(|error| SimulateError::Value {
        name: value.name.clone(),
        reason: error.to_string(),
    })?;
    Ok(cast.into_owned())
}

/// Values of a channel of an image.
fn plane(tensor: &Tensor) -> usize {
    (tensor.shape[2] * tensor.shape[3]) as usize
}

/// The unit of every channel, image after image.
fn units(tensor: &Tensor) -> impl Iterator<Item = f32> {
    let [images, channels, ..] = tensor.shape;
    (0..images).flat_map(move |_| (0..channels).map(|channel| tensor.unit(channel)))
}
