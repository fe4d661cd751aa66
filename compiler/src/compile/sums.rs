//! The largest sums that the accumulators see, as a share of what the weights allow.
//!
//! The integer interpreter runs on the calibration samples with the shifts that are proven safe, and so sees every
//! sum. A share does not depend on the shift or on the width of an accumulator, which makes it a number to keep.

use crate::quantise::Quantised;
use crate::quantise::weights::sum_bounds;
use crate::reference::interpret::{InterpretError, interpret_each};
use crate::reference::segments::Segments;
use scnn_isa::plane::TapPhases;
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

/// Observes the sums of every convolution of `network` on `samples`: the largest magnitude as a share, 0..=1, of the
/// largest that the weights and the range of the activations allow.
///
/// # Errors
/// A sample does not fit, or a host segment fails.
pub fn observe<'a>(
    network: &Quantised,
    samples: impl IntoIterator<Item = &'a BTreeMap<String, Tensor>>,
    segments: &Segments,
) -> Result<BTreeMap<String, f64>, InterpretError> {
    let mut peaks = vec![0; network.operations.len()];
    for sample in samples {
        let (_, seen) = interpret_each(network, sample, segments, &mut |_, _| {})?;
        for (peak, seen) in peaks.iter_mut().zip(seen) {
            *peak = seen.max(*peak);
        }
    }
    let shares = network
        .operations
        .iter()
        .zip(peaks)
        .filter_map(|(operation, peak)| {
            let layer = operation.layer()?;
            let conv = layer.conv.as_ref()?;
            let per_output = conv.weights.len() / layer.requantise.len().max(1);
            let range = network.tensor(layer.source.tensor).range;
            let phases = TapPhases::of(&conv.y, &conv.x);
            let (low, high) = sum_bounds(
                &conv.weights,
                per_output,
                &phases,
                range,
                conv.product_shift,
            );
            let bound = high.max(-low).max(1);
            Some((layer.name.clone(), f64::from(peak) / bound as f64))
        });
    Ok(shares.collect())
}
