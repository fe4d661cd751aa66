//! The float model of a compilation and what was observed of it, kept from one attempt at compiling a model to the next: an
//! attempt with more on the host mostly asks for the same tensors, and the float model is the same.

use super::CompileError;
use super::options::{Options, Sample};
use super::ranges::{observe_sums, samples};
use crate::calibrate::{self, Calibration, First, Observations};
use crate::graph::Graph;
use crate::import::Typed;
use crate::quantise::QuantiseError;
use crate::reference::float::{FloatError, FloatModel};
use scnn_isa::program::Ranges;
use scnn_isa::progress::Progress;
use std::borrow::Cow;
use std::collections::BTreeSet;
use tract_onnx::prelude::Tensor;

/// A float model and what was observed of it.
pub(super) struct ObservedModel {
    /// The float model, made ready for the tensors that are asked for.
    pub(super) float: FloatModel,
    wanted: Vec<String>,
    /// None where the ranges are given.
    observations: Option<Observations>,
    first: Option<First>,
}

/// The float model and the ranges that were given or that it shows; `kept` is what an earlier attempt has observed.
pub(super) fn calibrated(
    graph: &Graph,
    typed: Typed,
    wanted: Vec<String>,
    options: &Options,
    kept: Option<ObservedModel>,
    progress: &dyn Progress,
) -> Result<(ObservedModel, Calibration), CompileError> {
    let kept = kept.filter(|observed| observed.wanted == wanted);
    let known = match kept {
        Some(observed) => {
            let calibration = observed.calibration(graph, options)?;
            calibration.map(|calibration| (observed, calibration))
        }
        None => None,
    };
    let (observed, mut calibration) = if let Some(known) = known {
        known
    } else {
        let observed = ObservedModel::new(graph, typed, wanted, options, progress)?;
        let calibration = observed.calibration(graph, options)?;
        let calibration = calibration.expect("all of this graph is observed");
        (observed, calibration)
    };
    if options.quantise.ranges == Ranges::Calibrated && calibration.sums.is_empty() {
        let samples = samples(graph, options);
        calibration.sums = observe_sums(graph, &calibration, &samples, options, progress)?;
    }
    Ok((observed, calibration))
}

impl ObservedModel {
    fn new(
        graph: &Graph,
        typed: Typed,
        wanted: Vec<String>,
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<Self, CompileError> {
        let float = FloatModel::new(typed, &wanted)?;
        let samples = samples(graph, options);
        let given = options.calibration.is_some();
        let (observations, first) = if let Some(sample) = samples.first().filter(|_| given) {
            (None, Some(First::observe(&float, sample)?))
        } else {
            let (samples, method) = (samples.iter().cloned(), options.method);
            let (observations, first) =
                calibrate::observe(graph, &float, &wanted, method, samples, progress)?;
            (Some(observations), first)
        };
        if first.as_ref().is_none_or(First::is_kept) {
            float.release_plan();
        }
        Ok(Self {
            float,
            wanted,
            observations,
            first,
        })
    }

    /// The ranges that a graph needs; none where some were not observed.
    fn calibration(
        &self,
        graph: &Graph,
        options: &Options,
    ) -> Result<Option<Calibration>, CompileError> {
        let Some(observations) = &self.observations else {
            return Ok(options.calibration.clone());
        };
        let source = if options.samples.inputs.is_empty() {
            "seeded noise"
        } else {
            &options.samples.source
        };
        let operand_bits = options.machine.pe.operand_bits;
        let widths = options.quantise.widths.resolve(graph, operand_bits);
        let widths = widths.map_err(QuantiseError::from)?;
        let (wanted, method) = (&self.wanted, options.method);
        Ok(observations.calibration(graph, wanted, source, method, &widths))
    }

    /// Gives the values of the first sample to `each`, and returns those named, perhaps with others.
    pub(super) fn values(
        &self,
        named: &BTreeSet<&str>,
        each: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Cow<'_, Sample>, FloatError> {
        match &self.first {
            Some(first) => first.each(&self.float, named, each),
            None => Ok(Cow::Owned(Sample::new())),
        }
    }

    /// Lets go what can be computed again.
    pub(super) fn release(&mut self) {
        self.float.release_plan();
        if let Some(first) = &mut self.first {
            first.release();
        }
    }
}
