//! Ranges of activations, observed by running the float model.

use crate::float::{FloatError, FloatModel};
use crate::graph::{Graph, Op};
use scnn_isa::program::Dtype;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tract_onnx::prelude::{DatumType, Tensor};

/// What was observed of every activation tensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Where the samples came from.
    pub source: String,
    /// How many samples were run.
    pub samples: u32,
    /// By ONNX tensor name.
    pub ranges: BTreeMap<String, Range>,
}

/// Range of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Smallest value.
    pub min: f32,
    /// Largest value.
    pub max: f32,
    /// Share of non-zeros, 0..=1.
    pub density: f64,
}

/// The tensors whose ranges quantisation needs.
pub fn wanted(graph: &Graph) -> Vec<String> {
    let mut names: Vec<String> = graph
        .dag
        .node_weights()
        .filter(|node| node.dtype == Dtype::F32 && !matches!(node.op, Op::Host(_)))
        .map(|node| node.tensor.clone())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Observes the [`wanted`] tensors on `samples`, maps from input name to tensor.
///
/// # Errors
/// A sample does not fit the model, or the model fails on it.
pub fn calibrate(
    graph: &Graph,
    model: &FloatModel,
    source: &str,
    samples: impl IntoIterator<Item = BTreeMap<String, Tensor>>,
) -> Result<Calibration, FloatError> {
    let wanted = wanted(graph);
    let mut calibration = Calibration {
        source: source.to_owned(),
        ..Calibration::default()
    };
    for sample in samples {
        let results = model.run(&sample)?;
        calibration.samples += 1;
        for name in &wanted {
            if let Some(tensor) = results.get(name).or_else(|| sample.get(name)) {
                observe(&mut calibration.ranges, name, tensor, calibration.samples);
            }
        }
    }
    Ok(calibration)
}

fn observe(ranges: &mut BTreeMap<String, Range>, name: &str, tensor: &Tensor, samples: u32) {
    let Ok(view) = tensor.to_plain_array_view::<f32>() else {
        return;
    };
    let (mut min, mut max, mut nonzero, mut total) = (0f32, 0f32, 0u64, 0u64);
    for &value in view {
        min = min.min(value);
        max = max.max(value);
        nonzero += u64::from(value != 0.0);
        total += 1;
    }
    let density = nonzero as f64 / total.max(1) as f64;
    ranges
        .entry(name.to_owned())
        .and_modify(|range| {
            range.min = range.min.min(min);
            range.max = range.max.max(max);
            range.density += (density - range.density) / f64::from(samples);
        })
        .or_insert(Range { min, max, density });
}

/// A seeded, spatially correlated sample for every graph input: sums of a few plane waves, between 0 and 1 for floats.
///
/// Used when no calibration data is given; the caller warns that real data would be better.
pub fn synthetic(graph: &Graph, seed: u64) -> BTreeMap<String, Tensor> {
    graph
        .inputs
        .iter()
        .enumerate()
        .filter_map(|(index, &id)| {
            let node = &graph.dag[id];
            let noise = synthetic_input(node.dtype, &node.dims, seed.wrapping_add(index as u64))?;
            Some((node.tensor.clone(), noise))
        })
        .collect()
}

/// Seeded noise for one input; zeros where it is not of floats.
pub fn synthetic_input(dtype: Dtype, dims: &[u64], seed: u64) -> Option<Tensor> {
    let dims: Vec<usize> = dims.iter().map(|&d| d as usize).collect();
    if dtype == Dtype::F32 {
        Tensor::from_shape(&dims, &waves(&dims, seed)).ok()
    } else {
        Tensor::zero_dt(datum_type(dtype), &dims).ok()
    }
}

fn waves(dims: &[usize], seed: u64) -> Vec<f32> {
    let total: usize = dims.iter().product();
    let (width, height) = (
        dims.last().copied().unwrap_or(1).max(1),
        dims.iter().rev().nth(1).copied().unwrap_or(1).max(1),
    );
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let mut values = Vec::with_capacity(total);
    while values.len() < total {
        let waves: Vec<[f32; 4]> = (0..4)
            .map(|_| [random() * 6.3, random() * 9.0, random() * 9.0, random()])
            .collect();
        for i in 0..(width * height).min(total - values.len()) {
            let (y, x) = (
                (i / width) as f32 / height as f32,
                (i % width) as f32 / width as f32,
            );
            let sum: f32 = waves
                .iter()
                .map(|[phase, fy, fx, a]| a * (phase + fy * y + fx * x).sin())
                .sum();
            values.push((0.5 + 0.2 * sum + 0.1 * (random() - 0.5)).clamp(0.0, 1.0));
        }
    }
    values
}

/// tract's name of an element type.
pub fn datum_type(dtype: Dtype) -> DatumType {
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
