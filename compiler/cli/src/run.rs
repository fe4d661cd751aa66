//! `run`: compiles if need be, executes the program file's bytes, checks, reports.

use super::args::Run;
use super::build::{self, Sample};
use super::failure::Failure;
use super::given::is_program;
use super::stages::Stages;
use super::trace::Trace;
use super::{dump, grid, output, program, samples, table, tensors};
use scnn_isa::diagnostic::Code;
use scnn_isa::program::Program;
use scnn_simulator::report::{Accuracy, Report};
use scnn_simulator::timing::Timing;
use scnn_simulator::{Execution, Options, SimulateError, Simulator};
use scnnc::calibrate::synthetic;
use scnnc::compile::Compiled;
use scnnc::quantise::{Quantised, Step};
use scnnc::reference::accuracy::{Comparison, floats, top1};
use scnnc::reference::difference;
use scnnc::reference::float::run_once;
use scnnc::reference::interpret::interpret;
use std::path::Path;
use tract_onnx::prelude::Tensor;

/// `scnnc run`.
pub fn run(options: &Run) -> Result<(), Failure> {
    let stages = if is_program(&options.model) {
        Stages::new(2, options.compilation.loudness())
    } else {
        build::stages(&options.compilation, 1)
    };
    let (program, compiled, samples) = if is_program(&options.model) {
        stages.begin("read");
        open(options)?
    } else {
        compile(options, &stages)?
    };
    let labels = options
        .labels
        .as_deref()
        .map(|path| samples::read_labels(path, samples.len()))
        .transpose()?;
    let expected = options.expect.as_deref().map(tensors::read).transpose()?;

    let simulator = Simulator::new(&program).map_err(|e| simulate_failure(&options.model, &e))?;
    let timing = options.timing.into();
    if options.trace.is_some() && timing != Timing::Exact {
        return Err(Failure::usage("`--trace` needs `--timing exact`"));
    }
    let mut run = Tally::new(labels, timing);
    stages.begin(if options.check {
        "simulate and check"
    } else {
        "simulate"
    });
    stages.length(samples.len());
    for (number, sample) in samples.iter().enumerate() {
        let execution = match &options.trace {
            Some(path) if number == 0 => {
                let mut trace = Trace::create(&program, path, &options.trace_layer)?;
                let execution = simulator.run_observed(sample, &mut trace);
                trace.finish(path)?;
                execution
            }
            _ => simulator.run(sample, &Options { timing }),
        };
        let execution = execution.map_err(|e| simulate_failure(&options.model, &e))?;
        if let (Some(compiled), true) = (&compiled, options.check) {
            run.check(compiled, sample, &execution)?;
        }
        run.add(&program, execution);
        stages.reached(number + 1);
    }
    stages.finish();

    run.report_accuracy();
    if let (Some(report), Some(compiled)) = (&mut run.report, &compiled) {
        let predicted = compiled.mapped.predicted.iter();
        report.predict(predicted.map(|cost| cost.map(|cost| cost.cycles)));
    }
    let Some(report) = &run.report else {
        return Err(Failure::input(
            Code::InputMissing,
            "there are no samples",
            "give at least one input",
        ));
    };
    let summary = run.summary(options.check);
    if options.json {
        output::print_json(report);
        if !summary.is_empty() && !stages.quiet() {
            output::tell(summary.trim_end());
        }
    } else {
        output::print(&table::report(report));
        output::print(&grid::hanging(&summary));
    }
    if let Some(path) = &options.report {
        let json = serde_json::to_vec_pretty(report)
            .map_err(|e| Failure::file(Code::CannotWrite, path, &e.to_string()))?;
        output::write(path, &json)?;
    }
    if let Some(path) = &options.output {
        tensors::write_npz(path, &run.stacked())?;
    }
    if let (Some(folder), Some(last)) = (&options.dump, &run.last) {
        dump::write(folder, &program, last, report)?;
    }
    match expected {
        Some(expected) => run.expect(&expected),
        None => Ok(()),
    }
}

type Prepared = (Program, Option<Compiled>, Vec<Sample>);

fn open(options: &Run) -> Result<Prepared, Failure> {
    if options.check {
        return Err(Failure::usage(
            "`--check` compares with the model: give the .onnx file instead of the program",
        ));
    }
    let machine = options.compilation.machine.as_deref();
    let program = program::read_for(&options.model, machine)?;
    let inputs = build::inputs_of_program(&program);
    if options.input.is_empty() {
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        return Err(Failure::input(
            Code::InputMissing,
            &format!("the program has the inputs {}", names.join(", ")),
            "give them with `--input FILE`",
        ));
    }
    let samples = limited(build::read_samples(&options.input, &inputs)?, options);
    Ok((program, None, samples))
}

fn compile(options: &Run, stages: &Stages) -> Result<Prepared, Failure> {
    let imported = build::open(&options.model, &options.compilation, stages)?;
    let mut samples = Vec::new();
    if !options.input.is_empty() {
        let inputs = build::inputs_of(&imported);
        samples = limited(build::read_samples(&options.input, &inputs)?, options);
    }
    let compiled = build::build(
        &options.model,
        imported,
        &options.compilation,
        &samples,
        stages,
    )?;
    if samples.is_empty() {
        samples.push(synthetic(&compiled.graph, options.compilation.seed));
    }
    // What runs is the file: whatever it does not hold, the simulator cannot know.
    let bytes = compiled.program.to_bytes();
    let program = Program::from_bytes(&bytes).map_err(|e| {
        Failure::file(
            Code::Internal,
            &options.model,
            &format!("the program file: {e}"),
        )
    })?;
    Ok((program, Some(compiled), samples))
}

fn limited(mut samples: Vec<Sample>, options: &Run) -> Vec<Sample> {
    samples.truncate(options.samples.unwrap_or(usize::MAX));
    samples
}

/// Diagnostics of an execution that failed.
pub fn simulate_failure(path: &Path, error: &SimulateError) -> Failure {
    let code = match error {
        SimulateError::Section { .. } => Code::BadSection,
        SimulateError::MissingInput(_) => Code::InputMissing,
        SimulateError::Value { .. } => Code::InputShape,
        SimulateError::Host { .. } => Code::HostSegment,
        SimulateError::Overflow { .. } => Code::Overflow,
    };
    Failure::file(code, path, &error.to_string())
}

/// What is gathered over the samples.
struct Tally {
    timing: scnn_simulator::timing::Timing,
    labels: Option<Vec<usize>>,
    correct: u32,
    float_correct: u32,
    samples: usize,
    report: Option<Report>,
    outputs: Vec<(String, Vec<Tensor>)>,
    last: Option<Execution>,
    comparison: Comparison,
    layers: Vec<LayerComparison>,
    tensors_compared: u64,
}

/// The comparison of one layer's results.
#[derive(Clone, Copy, Default)]
struct LayerComparison {
    comparison: Comparison,
    values: usize,
    saturated: usize,
}

impl Tally {
    fn new(labels: Option<Vec<usize>>, timing: scnn_simulator::timing::Timing) -> Self {
        Self {
            timing,
            labels,
            correct: 0,
            float_correct: 0,
            samples: 0,
            report: None,
            outputs: Vec::new(),
            last: None,
            comparison: Comparison::default(),
            layers: Vec::new(),
            tensors_compared: 0,
        }
    }

    fn add(&mut self, program: &Program, execution: Execution) {
        let report = Report::of(program, &execution, self.timing.name());
        match &mut self.report {
            Some(sum) => sum.add(&report),
            None => self.report = Some(report),
        }
        for (index, &id) in program.outputs.iter().enumerate() {
            let name = &program.value(id).name;
            let Some(tensor) = execution.outputs.get(name) else {
                continue;
            };
            if index == 0
                && self
                    .labels
                    .as_ref()
                    .is_some_and(|l| top1(&floats(tensor)) == Some(l[self.samples]))
            {
                self.correct += 1;
            }
            match self.outputs.iter_mut().find(|(known, _)| known == name) {
                Some((_, all)) => all.push(tensor.clone()),
                None => self.outputs.push((name.clone(), vec![tensor.clone()])),
            }
        }
        self.samples += 1;
        self.last = Some(execution);
    }

    /// Bit for bit against the interpreter, in decibels against the float model.
    fn check(
        &mut self,
        compiled: &Compiled,
        sample: &Sample,
        execution: &Execution,
    ) -> Result<(), Failure> {
        let network = &compiled.network;
        let mut host = |step: &scnnc::quantise::HostStep, operands: &[Tensor]| {
            run_once(&step.model, operands).map_err(|e| e.to_string())
        };
        let internal = |message: String| Failure::check(Code::NotBitExact, message, Vec::new());
        let reference =
            interpret(network, sample, &mut host).map_err(|e| internal(e.to_string()))?;
        let found = difference::first(
            network,
            &compiled.program,
            &execution.tensors,
            &reference.tensors,
        );
        if let Some(difference) = found {
            return Err(Failure::check(
                Code::NotBitExact,
                format!("the simulator departs from the interpreter at {difference}"),
                vec![
                    difference.extent(),
                    format!("ONNX nodes {}", difference.onnx_nodes.join(", ")),
                ],
            ));
        }
        let layers = network.steps.iter();
        self.tensors_compared += layers.filter(|s| matches!(s, Step::Layer(_))).count() as u64;
        let float = compiled
            .float
            .run(sample)
            .map_err(|e| internal(e.to_string()))?;
        self.compare_layers(network, execution, &float);
        for (index, (name, ours)) in execution.outputs.iter().enumerate() {
            let Some(theirs) = float.get(name) else {
                continue;
            };
            let theirs = floats(theirs);
            if index == 0
                && self
                    .labels
                    .as_ref()
                    .is_some_and(|l| top1(&theirs) == Some(l[self.samples]))
            {
                self.float_correct += 1;
            }
            self.comparison.add(&floats(ours), &theirs);
        }
        Ok(())
    }

    /// Puts the comparison of the layers into the report.
    fn report_accuracy(&mut self) {
        let Some(report) = &mut self.report else {
            return;
        };
        let layers = report.layers.iter_mut().filter(|l| l.engine == "scnn");
        for (layer, entry) in layers.zip(&self.layers) {
            if entry.values > 0 {
                let ratio = entry.comparison.sqnr_db();
                layer.accuracy = Some(Accuracy {
                    sqnr_db: ratio.is_finite().then_some(ratio),
                    largest_error: entry.comparison.largest_error(),
                    saturated: entry.saturated as f64 / entry.values as f64,
                });
            }
        }
    }

    /// Every layer's result beside the float model's tensor.
    fn compare_layers(&mut self, network: &Quantised, execution: &Execution, float: &Sample) {
        let layers = network.steps.iter().filter_map(|step| match step {
            Step::Layer(layer) => Some(layer),
            Step::Host(_) => None,
        });
        for (index, layer) in layers.enumerate() {
            if self.layers.len() <= index {
                self.layers.push(LayerComparison::default());
            }
            let Some(reference) = float.get(&layer.tensor) else {
                continue;
            };
            let tensor = network.tensor(layer.destination.tensor);
            let values = dump::view_values(
                tensor.shape,
                layer.destination.channels,
                &execution.tensors[layer.destination.tensor.index()],
            );
            let entry = &mut self.layers[index];
            let ends = |value: &i16| i32::from(*value).abs() == 32767 || value == &tensor.range[1];
            entry.values += values.len();
            entry.saturated += values.iter().filter(|value| ends(value)).count();
            let ours: Vec<f32> = values
                .iter()
                .map(|&v| f32::from(v) * tensor.scale)
                .collect();
            entry.comparison.add(&ours, &floats(reference));
        }
    }

    fn summary(&self, checked: bool) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        let percent = |part: u32| 100.0 * f64::from(part) / self.samples.max(1) as f64;
        // Writing to a string does not fail.
        if checked {
            let (agreeing, compared) = self.comparison.agreement();
            let _ = writeln!(
                text,
                "check     bit-exact: {} tensors equal the integer interpreter's; against the float model {:.1} dB, top-1 agrees on {agreeing} of {compared}",
                self.tensors_compared,
                self.comparison.sqnr_db()
            );
        }
        if self.labels.is_some() {
            let _ = write!(
                text,
                "accuracy  {:.1} % of {} samples",
                percent(self.correct),
                self.samples
            );
            if checked {
                let _ = write!(text, " (float model {:.1} %)", percent(self.float_correct));
            }
            text.push('\n');
        } else if self.samples == 1
            && let Some((name, all)) = self.outputs.first()
            && let Some(class) = all
                .first()
                .map(floats)
                .filter(|v| v.len() > 1)
                .and_then(|v| top1(&v))
        {
            let _ = writeln!(text, "output    {name}: largest at index {class}");
        }
        text
    }

    /// All outputs, the samples stacked along the first dimension.
    fn stacked(&self) -> Vec<(String, Tensor)> {
        self.outputs
            .iter()
            .filter_map(|(name, all)| {
                let first = all.first()?;
                let mut shape = first.shape().to_vec();
                let values: Vec<f32> = all.iter().flat_map(floats).collect();
                match shape.first_mut() {
                    Some(batch) => *batch *= all.len(),
                    None => shape.push(all.len()),
                }
                Tensor::from_shape(&shape, &values)
                    .ok()
                    .map(|tensor| (name.clone(), tensor))
            })
            .collect()
    }

    /// Compares with expected outputs: within 2^-11 of their range.
    fn expect(&self, expected: &Sample) -> Result<(), Failure> {
        for (name, reference) in expected {
            let output = self.outputs.iter().find(|(known, _)| known == name);
            let only = (self.outputs.len() == 1 && expected.len() == 1).then(|| &self.outputs[0]);
            let Some((name, ours)) = output.or(only) else {
                let names: Vec<&str> = self.outputs.iter().map(|(name, _)| name.as_str()).collect();
                return Err(Failure::input(
                    Code::UnknownName,
                    &format!("there is no output `{name}`"),
                    &format!("the outputs are {}", names.join(", ")),
                ));
            };
            let (ours, theirs): (Vec<f32>, Vec<f32>) =
                (ours.iter().flat_map(floats).collect(), floats(reference));
            if ours.len() != theirs.len() {
                return Err(Failure::input(
                    Code::InputShape,
                    &format!(
                        "output `{name}` has {} values, {} are expected",
                        ours.len(),
                        theirs.len()
                    ),
                    "give the expected outputs of the same samples",
                ));
            }
            let largest = ours
                .iter()
                .zip(&theirs)
                .map(|(a, b)| (a - b).abs())
                .fold(0f32, f32::max);
            let range = theirs.iter().fold(0f32, |m, v| m.max(v.abs()));
            output::print(&format!(
                "expected  {name}: largest difference {largest:.3e} of a range of {range:.3e}\n"
            ));
            if largest > range / 2048.0 {
                return Err(Failure::check(
                    Code::NotAsExpected,
                    format!(
                        "output `{name}` differs by {largest:.3e}, more than 2^-11 of its range {range:.3e}"
                    ),
                    Vec::new(),
                ));
            }
        }
        Ok(())
    }
}
