//! Ranges of activations: those given, or those that the float model shows on the samples.

use super::CompileError;
use super::options::{Options, Sample};
use crate::calibrate::{self, Calibration, sums};
use crate::graph::Graph;
use crate::import::{Imported, Typed};
use crate::quantise::{self, QuantiseError};
use crate::reference::float::FloatModel;
use crate::reference::interpret::interpret;
use crate::reference::segments::Segments;
use crate::transform;
use scnn_isa::program::Ranges;
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
    let (_, calibration, _) = calibrated(&graph, imported.typed, &wanted, options)?;
    let network = quantise::quantise(&graph, &calibration, &options.machine, &options.quantise)?;
    let segments = Segments::load(&network, &options.host)?;
    samples(&graph, options)
        .iter()
        .map(|sample| Ok(interpret(&network, sample, &segments)?.outputs))
        .collect()
}

/// The float model, the ranges that were given or that it shows, and its values on the first sample.
pub(super) fn calibrated(
    graph: &Graph,
    typed: Typed,
    wanted: &[String],
    options: &Options,
) -> Result<(FloatModel, Calibration, Sample), CompileError> {
    let float = FloatModel::new(typed, wanted)?;
    let samples = samples(graph, options);
    let (mut calibration, observed) = match (&options.calibration, samples.first()) {
        (Some(calibration), Some(sample)) => {
            (calibration.clone(), calibrate::observe_one(&float, sample)?)
        }
        _ => observe_ranges(graph, &float, wanted, &samples, options)?,
    };
    if options.quantise.ranges == Ranges::Calibrated && calibration.sums.is_empty() {
        calibration.sums = observe_sums(graph, &calibration, &samples, options)?;
    }
    Ok((float, calibration, observed))
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

fn observe_ranges(
    graph: &Graph,
    float: &FloatModel,
    wanted: &[String],
    samples: &[Sample],
    options: &Options,
) -> Result<(Calibration, Sample), CompileError> {
    let source = if options.samples.inputs.is_empty() {
        "seeded noise"
    } else {
        &options.samples.source
    };
    let operand_bits = options.machine.pe.operand_bits;
    let widths = options.quantise.widths.resolve(graph, operand_bits);
    let widths = widths.map_err(QuantiseError::from)?;
    let samples = samples.iter().cloned();
    let method = options.method;
    Ok(calibrate::calibrate(
        graph, float, wanted, source, method, &widths, samples,
    )?)
}

/// The sums in the accumulators, observed with product shifts that are safe for any.
fn observe_sums(
    graph: &Graph,
    calibration: &Calibration,
    samples: &[Sample],
    options: &Options,
) -> Result<BTreeMap<String, f64>, CompileError> {
    let safe = quantise::Options {
        ranges: Ranges::Proven,
        ..options.quantise.clone()
    };
    let network = quantise::quantise(graph, calibration, &options.machine, &safe)?;
    let segments = Segments::load(&network, &options.host)?;
    Ok(sums::observe(&network, samples, &segments)?)
}
