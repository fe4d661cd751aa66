//! Values of constants as the translations want them.

use super::shape;
use crate::graph::NodeId;
use crate::import::Importer;
use rayon::prelude::*;
use tract_onnx::prelude::Tensor;

/// A constant that is broadcast along everything but channels, one value per channel.
pub(super) fn per_channel(
    importer: &Importer<'_>,
    activation: NodeId,
    constant: &Tensor,
) -> Result<Vec<f32>, String> {
    let node = &importer.graph.dag[activation];
    let [_, channels, ..] = shape(importer, activation)?;
    if constant.rank() > node.dims.len() {
        return Err(format!(
            "its constant is {:?}, of more dimensions than its operand: export it as one value per channel",
            constant.shape()
        ));
    }
    finite(constant)?;
    spread(constant, &node.dims, channels).ok_or_else(|| {
        format!(
            "its constant is {:?}, the PPU takes one value, or one for each of {channels} channels",
            constant.shape()
        )
    })
}

pub(super) fn spread(constant: &Tensor, dims: &[u64], channels: u32) -> Option<Vec<f32>> {
    let values = floats(constant).ok()?;
    if values.len() == 1 {
        return Some(vec![values[0]; channels as usize]);
    }
    let missing = dims.len().checked_sub(constant.rank())?;
    let only_channels = constant.shape().iter().enumerate().all(|(i, &d)| {
        if i + missing == 1 {
            d == channels as usize
        } else {
            d == 1
        }
    });
    (only_channels && values.len() == channels as usize).then_some(values)
}

/// The values of a constant that goes into integers: infinities and not-a-numbers have none.
pub(in crate::import) fn floats(tensor: &Tensor) -> Result<Vec<f32>, String> {
    finite(tensor)?;
    bounds(tensor)
}

/// Fails if a tensor holds infinities or not-a-numbers.
pub(super) fn finite(tensor: &Tensor) -> Result<(), String> {
    // Whole blocks at a time: a loop that may stop at any value does not become one over vectors.
    let bad = |values: &[f32]| values.iter().fold(false, |bad, v| bad | !v.is_finite());
    let cast = tensor.cast_to::<f32>().map_err(|e| e.to_string())?;
    let plain = cast.try_as_plain_ram().map_err(|e| e.to_string())?;
    let values = plain.as_slice::<f32>().map_err(|e| e.to_string())?;
    if values.par_chunks(1 << 14).any(bad) {
        return Err(
            "its constants hold infinities or not-a-numbers, which have no integer form".into(),
        );
    }
    Ok(())
}

/// The values of a constant of which none is computed with: an infinite bound is no bound.
pub(in crate::import) fn bounds(tensor: &Tensor) -> Result<Vec<f32>, String> {
    let cast = tensor.cast_to::<f32>().map_err(|e| e.to_string())?;
    let view = cast
        .to_plain_array_view::<f32>()
        .map_err(|e| e.to_string())?;
    Ok(view.iter().copied().collect())
}

pub(in crate::import) fn integers(tensor: &Tensor) -> Result<Vec<i64>, String> {
    let cast = tensor.cast_to::<i64>().map_err(|e| e.to_string())?;
    let view = cast
        .to_plain_array_view::<i64>()
        .map_err(|e| e.to_string())?;
    Ok(view.iter().copied().collect())
}
