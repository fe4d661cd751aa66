//! A run: a program on samples, with whatever it is to be compared with.

use crate::latency::Latency;
use crate::{Check, Classes, Outputs, RunError, batch_of};
use scnn_host::Host;
use scnn_isa::program::Program;
use scnn_isa::progress::Progress;
use scnn_simulator::observe::Observer;
use scnn_simulator::report::{Comparison, Report, tensors_hash};
use scnn_simulator::timing::Timing;
use scnn_simulator::{Execution, Simulator};
use scnnc::compile::{Compiled, Sample};
use scnnc::map::Mapped;
use scnnc::quantise::Quantised;
use scnnc::reference::accuracy::{Batch, Comparison as Apart};
use scnnc::reference::float::FloatModel;
use scnnc::reference::of_program;
use scnnc::reference::original::Original;
use scnnc::reference::segments::Segments;
use std::borrow::Cow;
use tract_onnx::prelude::Tensor;

/// Choices of a run.
#[derive(Default)]
pub struct Options<'a> {
    /// How time is counted; an observed run has exact timing.
    pub timing: Timing,
    /// What the program was compiled from; the report then has the mapper's predictions.
    pub compiled: Option<&'a Compiled>,
    /// Whether every sample is checked: against `compiled`, or without it against what the program says.
    pub check: bool,
    /// The file itself, if the floats that results are compared with are to be ONNX Runtime's and not the float model's.
    pub original: Option<&'a Original>,
    /// The class of every image of the samples, one after the other.
    pub labels: Option<&'a [usize]>,
    /// Whether to compute the cycles that no input exceeds.
    pub ceilings: bool,
    /// Sees the units in the first sample.
    pub observer: Option<&'a mut dyn Observer>,
    /// The runtimes of host segments.
    pub host: Host,
    /// Receives how many samples have run.
    pub progress: Option<&'a mut dyn FnMut(usize)>,
    /// Receives the layers of every sample.
    pub layers: Option<&'a dyn Progress>,
}

/// What a run computed and cost.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it cost, summed over the samples.
    pub report: Report,
    /// Cycles of every sample.
    pub latency: Latency,
    /// The outputs of every sample.
    pub outputs: Outputs,
    /// The execution of the last sample.
    pub last: Execution,
    /// Images of all samples.
    pub images: usize,
    /// The comparison with the references, where it was asked for.
    pub check: Option<Check>,
    /// The accuracy on labels, where there are labels.
    pub accuracy: Option<Accuracy>,
}

/// Images that are classified as their labels say, by the first output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accuracy {
    /// By the program.
    pub correct: usize,
    /// By the float model, where the run was checked against it.
    pub float_correct: Option<usize>,
}

/// Runs `program` on `samples`.
///
/// # Errors
/// See [`RunError`]; labels that do not fit are refused before anything runs.
pub fn run(program: &Program, samples: &[Sample], options: Options) -> Result<Run, RunError> {
    let batch = batch_of(program);
    let images = samples.len() * batch.images();
    if let Some(labels) = options.labels
        && labels.len() != images
    {
        return Err(RunError::Labels {
            labels: labels.len(),
            images,
        });
    }
    let layers = options.layers.unwrap_or(&());
    let simulator = Simulator::new(program, &options.host)?.with_progress(layers);
    let names = program.outputs.iter();
    let names = names.map(|&id| program.value(id).name.as_str());
    let reference = options.check.then(|| Reference::of(program, &options));
    let reference = reference.transpose()?;
    let checked = reference.is_some();
    let judged = reference
        .as_ref()
        .is_some_and(|known| known.float.is_some());
    let timing = match &options.observer {
        Some(_) => Timing::Exact,
        None => options.timing,
    };
    let ceilings = options.ceilings.then(|| simulator.ceilings(timing));
    let mut tally = Tally {
        program,
        batch,
        reference,
        classes: Classes::new(program, options.labels),
        latency: Latency::new(ceilings.transpose()?),
        outputs: Outputs::new(names),
        check: Check::default(),
        correct: 0,
        float_correct: 0,
    };
    let mut last = None;
    let mut progress = options.progress;
    let each = |number: usize, execution: Execution| -> Result<(), RunError> {
        tally.add(number, &samples[number], &execution)?;
        last = Some(execution);
        if let Some(progress) = &mut progress {
            progress(number + 1);
        }
        Ok(())
    };
    let mut report = match options.observer {
        Some(observer) => simulator.measure_observed(samples, observer, each)?,
        None => simulator.measure(samples, &scnn_simulator::Options { timing }, each)?,
    };
    let last = last.expect("a report is of one sample or more");
    if let Some(compiled) = options.compiled {
        predict(&mut report, &compiled.mapped);
    }
    tally.check.report(&mut report);
    let accuracy = options.labels.map(|_| Accuracy {
        correct: tally.correct,
        float_correct: judged.then_some(tally.float_correct),
    });
    let check = checked.then_some(tally.check);
    report.comparison = compared(check.as_ref(), accuracy, images);
    let outputs = tally.outputs.hash();
    identify(&mut report, program, samples, outputs, options.compiled);
    Ok(Run {
        report,
        latency: tally.latency,
        outputs: tally.outputs,
        last,
        images,
        accuracy,
        check,
    })
}

/// What a run was compared with, for its report; nothing where nothing was asked for.
fn compared(
    check: Option<&Check>,
    accuracy: Option<Accuracy>,
    images: usize,
) -> Option<Comparison> {
    if check.is_none() && accuracy.is_none() {
        return None;
    }
    let judged = check.filter(|check| check.reference.is_some());
    let outputs = judged.map(|check| &check.outputs);
    let count = |images: usize| images as u64;
    Some(Comparison {
        images: count(images),
        bit_exact_tensors: check.map(|check| check.tensors),
        reference: judged.and_then(|check| check.reference.clone()),
        sqnr_db: outputs
            .map(Apart::sqnr_db)
            .filter(|ratio| ratio.is_finite()),
        largest_error: outputs.map(Apart::largest_error),
        mean_error: outputs.map(Apart::mean_error),
        classified: outputs.map(|outputs| outputs.agreement().1.into()),
        agreeing: outputs.map(|outputs| outputs.agreement().0.into()),
        correct: accuracy.map(|accuracy| count(accuracy.correct)),
        reference_correct: accuracy
            .and_then(|accuracy| accuracy.float_correct)
            .map(count),
    })
}

/// The report of a compiled model on samples, with the mapper's predictions; `layers` receives the layer that is simulated.
///
/// # Errors
/// A program that does not run, or no samples.
pub fn report(
    compiled: &Compiled,
    samples: &[Sample],
    timing: Timing,
    layers: &dyn Progress,
) -> Result<Report, RunError> {
    let Compiled {
        program,
        mapped,
        host,
        ..
    } = compiled;
    let Measured {
        mut report,
        outputs,
        ..
    } = report_of(program, mapped, host, samples, None, timing, layers)?;
    identify(&mut report, program, samples, outputs.hash(), None);
    report.provenance.calibration_blake3 = calibration(compiled);
    Ok(report)
}

/// A program measured on samples.
pub(crate) struct Measured {
    /// Its costs, without provenance.
    pub report: Report,
    /// The outputs of every sample.
    pub outputs: Outputs,
    /// Where there are labels: the share of images that are classified as they say.
    pub top1: Option<f64>,
}

/// Measures a program that was made from a mapping.
pub(crate) fn report_of(
    program: &Program,
    mapped: &Mapped,
    host: &Host,
    samples: &[Sample],
    labels: Option<&[usize]>,
    timing: Timing,
    layers: &dyn Progress,
) -> Result<Measured, RunError> {
    let simulator = Simulator::new(program, host)?.with_progress(layers);
    let names = program.outputs.iter();
    let names = names.map(|&id| program.value(id).name.as_str());
    let mut outputs = Outputs::new(names);
    let classes = Classes::new(program, labels);
    let mut hits = 0;
    let each = |number: usize, execution: Execution| {
        hits += classes.hits(number, &execution.outputs);
        outputs.add(&execution);
        Ok::<_, RunError>(())
    };
    let options = scnn_simulator::Options { timing };
    let mut report = simulator.measure(samples, &options, each)?;
    predict(&mut report, mapped);
    Ok(Measured {
        report,
        outputs,
        top1: classes.share(hits, samples.len()),
    })
}

/// Fills in the provenance of a report.
fn identify(
    report: &mut Report,
    program: &Program,
    samples: &[Sample],
    outputs: String,
    compiled: Option<&Compiled>,
) {
    let inputs = samples.iter().flatten();
    let inputs = tensors_hash(inputs.map(|(name, tensor)| (name.as_str(), tensor)));
    report.identify(program, inputs, outputs);
    report.provenance.rules = crate::rules::newest();
    report.provenance.calibration_blake3 = compiled.and_then(calibration);
}

/// The hash of the calibrated ranges, without their source.
fn calibration(compiled: &Compiled) -> Option<String> {
    let mut calibration = compiled.calibration.clone();
    calibration.source.clear();
    let text = calibration.to_yaml().ok()?;
    Some(blake3::hash(text.as_bytes()).to_hex().to_string())
}

fn predict(report: &mut Report, mapped: &Mapped) {
    let predicted = mapped.predicted.iter();
    report.predict(predicted.map(|cost| cost.map(|cost| cost.cycles)));
}

/// What a run is checked against.
pub(crate) struct Reference<'a> {
    /// The network that the interpreter runs.
    pub network: Cow<'a, Quantised>,
    /// Its host segments, as the interpreter runs them.
    pub segments: Segments,
    /// The float reference; none where only the program is known.
    pub float: Option<Float<'a>>,
    /// Receives the layers, as they are compared.
    pub progress: &'a dyn Progress,
}

/// The model in floating point.
#[derive(Clone, Copy)]
pub(crate) enum Float<'a> {
    /// The compiler's.
    Model(&'a FloatModel),
    /// The file itself, on ONNX Runtime.
    File(&'a Original),
}

impl<'a> Reference<'a> {
    pub fn of(program: &Program, options: &Options<'a>) -> Result<Self, RunError> {
        let network = match options.compiled {
            Some(compiled) => Cow::Borrowed(&compiled.network),
            None => Cow::Owned(of_program::network(program)?),
        };
        let model = options.compiled.map(|known| Float::Model(&known.float));
        Ok(Self {
            segments: Segments::load(&network, &options.host)?,
            float: options.original.map(Float::File).or(model),
            progress: options.layers.unwrap_or(&()),
            network,
        })
    }
}

impl Float<'_> {
    /// Gives its outputs on a sample, and what layers compute, to `each`.
    pub fn run_each(
        self,
        sample: &Sample,
        each: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<(), RunError> {
        match self {
            Self::Model(model) => model.run_each(sample, &mut |name, value| each(name, value))?,
            Self::File(file) => {
                let values = file.run(sample)?;
                for (name, value) in &values {
                    each(name, value);
                }
            }
        }
        Ok(())
    }

    /// It in words.
    pub fn name(self) -> String {
        match self {
            Self::Model(_) => "the float model".to_owned(),
            Self::File(file) => format!("{} on the file itself", file.runtime),
        }
    }
}

/// What is gathered over the samples.
struct Tally<'a> {
    program: &'a Program,
    batch: Batch,
    reference: Option<Reference<'a>>,
    classes: Classes<'a>,
    latency: Latency,
    outputs: Outputs,
    check: Check,
    correct: usize,
    float_correct: usize,
}

impl Tally<'_> {
    fn add(
        &mut self,
        number: usize,
        sample: &Sample,
        execution: &Execution,
    ) -> Result<(), RunError> {
        self.correct += self.classes.hits(number, &execution.outputs);
        if let Some(reference) = &self.reference {
            let check = &mut self.check;
            let float = check.add(self.program, reference, sample, execution, self.batch)?;
            if let Some(float) = &float {
                self.float_correct += self.classes.hits(number, float);
            }
        }
        self.latency.add(execution);
        self.outputs.add(execution);
        Ok(())
    }
}
