//! Values of constants in the forms that translations use: by channel, by output, along an axis.

use super::shape;
use crate::graph::NodeId;
use crate::graph::placement::{self, Factor, Slot};
use crate::import::Importer;
use rayon::prelude::*;
use tract_onnx::prelude::Tensor;

/// One value per channel of a constant that varies only along axes that lie on channels.
pub(super) fn per_channel(
    importer: &Importer<'_>,
    activation: NodeId,
    constant: &Tensor,
) -> Result<Vec<f32>, String> {
    let dims = &importer.graph.dag[activation].dims;
    let [_, channels, ..] = shape(importer, activation)?;
    let values = floats(constant)?;
    if values.len() == 1 && constant.rank() <= dims.len() {
        return Ok(vec![values[0]; channels as usize]);
    }
    let Some(missing) = dims.len().checked_sub(constant.rank()) else {
        return Err(format!(
            "its constant is {:?}, of more dimensions than its operand: export it as one value per channel",
            constant.shape()
        ));
    };
    let shape = [vec![1; missing], constant.shape().to_vec()].concat();
    spread(&values, &shape, dims, &importer.axes(activation)?).ok_or_else(|| {
        format!(
            "its constant is {:?}, the PPU takes one value, or one for each of {channels} channels",
            constant.shape()
        )
    })
}

/// The values of a constant of extents `shape` at each channel of a tensor of extents `dims`.
fn spread(values: &[f32], shape: &[usize], dims: &[u64], axes: &[Vec<Factor>]) -> Option<Vec<f32>> {
    let on_channels = |axis: &Vec<Factor>| axis.iter().all(|f| f.slot == Slot::Channel);
    let suits = (0..dims.len()).all(|axis| {
        shape[axis] == 1 || (shape[axis] as u64 == dims[axis] && on_channels(&axes[axis]))
    });
    if !suits {
        return None;
    }
    let at = |place: Vec<u64>| {
        let along = shape.iter().zip(place);
        let index = along.fold(0, |index, (&extent, place)| {
            index * extent + if extent == 1 { 0 } else { place as usize }
        });
        values.get(index).copied()
    };
    let places = placement::coordinates(axes, Slot::Channel);
    places.into_iter().map(at).collect()
}

/// One value per output of a matrix product, of a bias that is broadcast to `[.., k]`.
pub(super) fn per_output(constant: &Tensor, k: usize) -> Option<Vec<f32>> {
    let values = floats(constant).ok()?;
    if values.len() == 1 {
        return Some(vec![values[0]; k]);
    }
    let last = constant.shape().last() == Some(&k);
    (last && values.len() == k).then_some(values)
}

/// One value for each position of `axis`, of a constant that varies along no other axis.
pub(in crate::import) fn along(constant: &Tensor, axis: usize) -> Result<Vec<f32>, String> {
    let values = floats(constant)?;
    let shape = constant.shape();
    let Some((&extent, behind)) = shape.get(axis..).and_then(<[usize]>::split_first) else {
        return Err(format!("its constant {shape:?} has no axis {axis}"));
    };
    let behind: usize = behind.iter().product();
    let of_position = |position: usize| {
        let blocks = values.chunks((behind * extent).max(1));
        blocks.flat_map(move |block| &block[position * behind..(position + 1) * behind])
    };
    let one_value = |position: usize| {
        let mut values = of_position(position);
        let first = *values.next()?;
        values.all(|&value| value == first).then_some(first)
    };
    let along: Option<Vec<f32>> = (0..extent).map(one_value).collect();
    along.ok_or_else(|| {
        format!("its constant {shape:?} is no single value for each position of axis {axis}")
    })
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
