//! Samples: a program run on one inference's inputs after the other, its costs summed into one report.
//!
//! ```text
//! [Inputs] --Simulator::measure--> Report, and each Execution to whoever wants its values
//! ```

use crate::error::SimulateError;
use crate::execute::{Execution, Options, Simulator};
use crate::observe::Observer;
use crate::report::Report;
use crate::timing::Timing;
use std::collections::BTreeMap;
use tract_onnx::prelude::Tensor;

/// One inference's inputs by ONNX name.
pub type Inputs = BTreeMap<String, Tensor>;

impl Simulator<'_> {
    /// Runs every sample and sums the reports; `each` takes the number and the execution of a sample as it ends.
    ///
    /// # Errors
    /// As [`Self::run`], [`SimulateError::NoSamples`], and whatever `each` fails with.
    pub fn measure<E: From<SimulateError>>(
        &self,
        samples: &[Inputs],
        options: &Options,
        each: impl FnMut(usize, Execution) -> Result<(), E>,
    ) -> Result<Report, E> {
        self.measure_samples(samples, options.timing, None, each)
    }

    /// As [`Self::measure`], with exact timing and the first sample run before an observer.
    ///
    /// # Errors
    /// As [`Self::measure`].
    pub fn measure_observed<E: From<SimulateError>>(
        &self,
        samples: &[Inputs],
        observer: &mut dyn Observer,
        each: impl FnMut(usize, Execution) -> Result<(), E>,
    ) -> Result<Report, E> {
        self.measure_samples(samples, Timing::Exact, Some(observer), each)
    }

    fn measure_samples<E: From<SimulateError>>(
        &self,
        samples: &[Inputs],
        timing: Timing,
        mut observer: Option<&mut dyn Observer>,
        mut each: impl FnMut(usize, Execution) -> Result<(), E>,
    ) -> Result<Report, E> {
        let mut sum: Option<Report> = None;
        for (number, sample) in samples.iter().enumerate() {
            let execution = match observer.take() {
                Some(observer) => self.run_observed(sample, observer)?,
                None => self.run(sample, &Options { timing })?,
            };
            let report = Report::of(self.program(), &execution, timing);
            match &mut sum {
                Some(sum) => sum.add(&report),
                None => sum = Some(report),
            }
            each(number, execution)?;
        }
        sum.ok_or_else(|| SimulateError::NoSamples.into())
    }
}
