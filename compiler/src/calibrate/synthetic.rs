//! What is calibrated on when there is no data.

use crate::graph::Graph;
use scnn_host::datum_type;
use scnn_isa::program::Dtype;
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

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
