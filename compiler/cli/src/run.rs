//! `run`: compiles if need be, executes the program file's bytes, checks, reports.

use super::args::{FloatReference, Run};
use super::bindings::import_options;
use super::build::{self, Sample};
use super::failure::Failure;
use super::given::is_program;
use super::stages::Stages;
use super::trace::Trace;
use super::{dump, grid, latency, output, program, samples, table, tensors, view};
use crate::codes::{DriverCode, IsaCode};
use scnn_isa::program::Program;
use scnn_simulator::observe::Observer;
use scnn_simulator::timing::Timing;
use scnnc::compile::Compiled;
use scnnc::quantise::Operation;
use scnnc::reference::accuracy::{floats, top1};
use scnnc::reference::original::Original;
use scnnc_driver::{Options, Outputs, RunError, batch_of};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// `scnnc run`; `command` are the words that repeat it.
pub fn run(options: &Run, command: Vec<String>) -> Result<(), Failure> {
    let stages = stages(options);
    let expected = options.expect.as_deref().map(tensors::read).transpose()?;
    let Done { program, mut run } = execute(options, &stages)?;
    run.report.provenance.command = command;
    run.report.stage_times = stages.times();
    present(options, &program, &run, &stages)?;
    match expected {
        Some(expected) => expect(options, &run.outputs, &expected, &stages),
        None => Ok(()),
    }
}

/// The stages of a run.
pub fn stages(options: &Run) -> Stages {
    let stages = if is_program(&options.model) {
        let compilation = &options.compilation;
        Stages::new(2, compilation.loudness(), compilation.progress)
    } else {
        build::stages(&options.compilation, 1)
    };
    stages.with_data(options.json)
}

/// A run that has come to its end.
pub struct Done {
    /// The program.
    pub program: Program,
    /// Its outputs and costs.
    pub run: scnnc_driver::Run,
}

/// Compiles the model, or reads the program, and runs it on the samples.
pub fn execute(options: &Run, stages: &Stages) -> Result<Done, Failure> {
    let timing: Timing = options.timing.into();
    if options.trace.is_some() && timing != Timing::Exact {
        return Err(Failure::usage("`--trace` needs `--timing exact`"));
    }
    view::check(&options.view, model_of(options))?;
    let prepared = if is_program(&options.model) {
        stages.begin("read");
        open(options)?
    } else {
        compile(options, stages)?
    };
    let labels = labels(options, &prepared)?;
    let Prepared {
        program,
        compiled,
        samples,
        bound,
        ..
    } = prepared;
    let mut trace = match &options.trace {
        None => None,
        Some(path) => Some(Trace::create(&program, path, &options.trace_layer)?),
    };
    stages.begin(if options.check {
        "simulate and check"
    } else {
        "simulate"
    });
    stages.length(samples.len());
    let original = match &compiled {
        Some(compiled) if options.reference == FloatReference::Onnxruntime => {
            Some(original(options, compiled, bound)?)
        }
        _ => None,
    };
    let choices = Options {
        timing,
        compiled: compiled.as_ref(),
        check: options.check,
        original: original.as_ref(),
        labels: labels.as_deref(),
        ceilings: samples.len() > 1 || options.latency.is_some(),
        observer: trace.as_mut().map(|trace| trace as &mut dyn Observer),
        host: options.compilation.host.runtimes(),
        progress: Some(&mut |done| stages.reached(done)),
        layers: Some(stages),
    };
    let run = scnnc_driver::run(&program, &samples, choices);
    let run = run.map_err(|e| Failure::run(&options.model, &e))?;
    stages.finish();
    if let Some(trace) = trace {
        trace.finish()?;
    }
    Ok(Done { program, run })
}

/// The ONNX file of a run, if it is not one of a program.
fn model_of(options: &Run) -> Option<&Path> {
    (!is_program(&options.model)).then_some(options.model.as_path())
}

/// The classes of the images that run.
fn labels(options: &Run, prepared: &Prepared) -> Result<Option<Vec<usize>>, Failure> {
    let Some(path) = &options.labels else {
        return Ok(None);
    };
    let images = batch_of(&prepared.program).images();
    let mut labels = samples::read_labels(path, prepared.given * images)?;
    labels.truncate(prepared.samples.len() * images);
    Ok(Some(labels))
}

/// Prints the result, and writes the files that were asked for.
fn present(
    options: &Run,
    program: &Program,
    run: &scnnc_driver::Run,
    stages: &Stages,
) -> Result<(), Failure> {
    let distributions = run.latency.distributions(&run.report);
    if let Some(path) = &options.latency {
        latency::write(path, &distributions)?;
    }
    let mut summary = table::comparison(&run.report);
    if run.accuracy.is_none()
        && let Some((name, class)) = single_class(run)
    {
        // Writing to a string does not fail.
        let _ = writeln!(summary, "output    {name}: largest at index {class}");
    }
    summary.push_str(&latency::line(&distributions));
    if options.json {
        output::print_json(&run.report);
    } else {
        output::print(&table::report(&run.report));
    }
    if !summary.is_empty() {
        stages.print(&grid::hanging(&summary));
    }
    if let Some(path) = &options.report {
        output::write_json(path, &run.report)?;
    }
    view::write(&options.view, &run.report, model_of(options))?;
    if let Some(path) = &options.output {
        let outputs = run.outputs.stacked();
        let outputs = outputs.map_err(|e| Failure::run(&options.model, &e))?;
        tensors::write_npz(path, &outputs)?;
    }
    if let Some(folder) = &options.dump {
        dump::write(folder, program, &run.last, &run.report)?;
    }
    Ok(())
}

/// What is run.
struct Prepared {
    program: Program,
    compiled: Option<Compiled>,
    samples: Vec<Sample>,
    /// Samples that the inputs hold, before `--samples` limits them.
    given: usize,
    /// Inputs of the model that are constants of the program, and their values.
    bound: BTreeMap<String, String>,
}

fn open(options: &Run) -> Result<Prepared, Failure> {
    if options.reference == FloatReference::Onnxruntime {
        return Err(Failure::usage(
            "`--reference onnxruntime` runs the model: give the .onnx file instead of the program",
        ));
    }
    let program = program::read_for(&options.model, &options.compilation.machine)?;
    let inputs = build::inputs_of_program(&program);
    if options.input.is_empty() {
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        return Err(Failure::input(
            IsaCode::InputMissing,
            &format!("the program has the inputs {}", names.join(", ")),
            "give them with `--input FILE`",
        ));
    }
    let samples = build::read_samples(&options.input, &inputs)?;
    let given = samples.len();
    Ok(Prepared {
        program,
        compiled: None,
        samples: limited(samples, options),
        given,
        bound: BTreeMap::new(),
    })
}

fn compile(options: &Run, stages: &Stages) -> Result<Prepared, Failure> {
    let (imported, samples) =
        build::open_with(&options.model, &options.compilation, &options.input, stages)?;
    let given = samples.len().max(1);
    let samples = limited(samples, options);
    let bound = imported.source.bound().clone();
    let compiled = build::build(
        &options.model,
        imported,
        &options.compilation,
        &samples,
        stages,
    )?;
    let seed = options.compilation.seed;
    // What runs is the file: whatever it does not hold, the simulator cannot know.
    let bytes = compiled.program.to_bytes();
    let program = Program::from_bytes(&bytes).map_err(|e| {
        Failure::file(
            IsaCode::Internal,
            &options.model,
            &format!("the program file: {e}"),
        )
    })?;
    Ok(Prepared {
        program,
        samples: scnnc_driver::samples_or_noise(&compiled, samples, seed),
        compiled: Some(compiled),
        given,
        bound,
    })
}

fn limited(mut samples: Vec<Sample>, options: &Run) -> Vec<Sample> {
    samples.truncate(options.samples.unwrap_or(usize::MAX));
    samples
}

/// The file itself, as ONNX Runtime runs it: its outputs, and what the layers compute.
fn original(
    options: &Run,
    compiled: &Compiled,
    bound: BTreeMap<String, String>,
) -> Result<Original, Failure> {
    let mut bindings = import_options(&options.compilation.bindings, &options.compilation.host)?;
    bindings.values = bound;
    let layers = compiled
        .network
        .operations
        .iter()
        .filter_map(|operation| match operation {
            Operation::Layer(layer) => Some(layer.tensor.clone()),
            Operation::Host(_) => None,
        });
    let wanted: Vec<String> = layers.collect();
    let loaded = Original::load(&options.model, &wanted, &bindings, &compiled.host);
    loaded.map_err(|error| Failure::run(&options.model, &RunError::Original(error)))
}

/// The index of the largest value of the first output, if a single image has run.
fn single_class(run: &scnnc_driver::Run) -> Option<(&str, usize)> {
    if run.images != 1 {
        return None;
    }
    let (name, tensors) = run.outputs.iter().next()?;
    let values = floats(tensors.first()?);
    let class = if values.len() > 1 {
        top1(&values)?
    } else {
        return None;
    };
    Some((name, class))
}

/// Prints every expected output beside ours, and fails at the first that differs.
fn expect(
    options: &Run,
    outputs: &Outputs,
    expected: &Sample,
    stages: &Stages,
) -> Result<(), Failure> {
    let compared = outputs.compare(expected);
    let compared = compared.map_err(|e| Failure::run(&options.model, &e))?;
    for scnnc_driver::Expected {
        name,
        largest,
        range,
    } in &compared
    {
        stages.print(&format!(
            "expected  {name}: largest difference {largest:.3e} of a range of {range:.3e}\n"
        ));
    }
    match compared.iter().find(|output| !output.holds()) {
        None => Ok(()),
        Some(output) => Err(Failure::check(
            DriverCode::NotAsExpected,
            format!(
                "output `{}` differs by {:.3e}, more than 2^-11 of its range {:.3e}",
                output.name, output.largest, output.range
            ),
            Vec::new(),
        )),
    }
}
