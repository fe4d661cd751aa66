//! What a compilation computes on the calibration samples beside the ranges of activations: sums, the integer network's outputs.

use super::CompileError;
use super::observed::calibrated;
use super::options::{Options, Sample};
use super::sums;
use crate::calibrate::{self, Calibration};
use crate::graph::Graph;
use crate::import::Imported;
use crate::quantise;
use crate::reference::interpret::interpret;
use crate::reference::segments::Segments;
use crate::transform;
use scnn_isa::program::Ranges;
use scnn_isa::progress::Progress;
use std::borrow::Cow;
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

/// What the integer network of a model computes for each of its calibration samples.
///
/// # Errors
/// See [`CompileError`].
pub fn interpret_samples(
    imported: Imported,
    options: &Options,
) -> Result<Vec<BTreeMap<String, Tensor>>, CompileError> {
    let mut graph = imported.graph;
    transform::run_all(
        &mut graph,
        &options.machine,
        &options.skipped,
        &mut |_, _| {},
    );
    let wanted = calibrate::wanted(&graph);
    let (_, calibration) = calibrated(&graph, imported.typed, wanted, options, None, &())?;
    let (machine, choices) = (&options.machine, &options.quantise);
    let network = quantise::quantise(&graph, &calibration, machine, choices, &())?;
    let segments = Segments::load(&network, &options.host)?;
    samples(&graph, options)
        .iter()
        .map(|sample| Ok(interpret(&network, sample, &segments)?.outputs))
        .collect()
}

/// What to calibrate on: the samples given, or seeded noise.
pub fn samples<'a>(graph: &Graph, options: &'a Options) -> Cow<'a, [Sample]> {
    if options.samples.inputs.is_empty() {
        let seeds = (0..2).map(|i| options.seed.wrapping_add(i));
        seeds
            .map(|seed| calibrate::synthetic(graph, seed))
            .collect()
    } else {
        Cow::Borrowed(&options.samples.inputs)
    }
}

/// The sums in the accumulators, observed with product shifts that are safe for any.
pub(super) fn observe_sums(
    graph: &Graph,
    calibration: &Calibration,
    samples: &[Sample],
    options: &Options,
    progress: &dyn Progress,
) -> Result<BTreeMap<String, f64>, CompileError> {
    let safe = quantise::Options {
        ranges: Ranges::Proven,
        ..options.quantise.clone()
    };
    let network = quantise::quantise(graph, calibration, &options.machine, &safe, progress)?;
    let segments = Segments::load(&network, &options.host)?;
    Ok(sums::observe(&network, samples, &segments)?)
}
