//! `snapshot`: a compiled model and one run of it as a short, stable text, written, compared or brought up to date.
//!
//! The text is [`scnn_simulator::snapshot::text`]; a difference is shown as a unified diff and exit status 3.

use super::args::Snapshot;
use super::build::{self, Sample};
use super::failure::Failure;
use super::given::is_program;
use super::stages::Stages;
use super::{output, program, run};
use scnn_isa::diagnostic::Code;
use scnn_isa::program::Program;
use scnn_simulator::report::Report;
use scnn_simulator::{Options, Simulator, snapshot};
use scnnc::calibrate::{synthetic, synthetic_input};
use similar::TextDiff;
use std::path::Path;

/// Lines around a difference.
const CONTEXT: usize = 3;

/// `scnnc snapshot`.
pub fn snapshot(options: &Snapshot) -> Result<(), Failure> {
    if let Some(path) = &options.check {
        let accepted = accepted(path, false)?;
        return check(path, &accepted, &text(options)?);
    }
    if let Some(path) = &options.update {
        let old = if path.exists() {
            accepted(path, true)?
        } else {
            String::new()
        };
        let text = text(options)?;
        if old == text {
            output::print(&format!("{}: up to date\n", path.display()));
            return Ok(());
        }
        output::write(path, text.as_bytes())?;
        output::print(&diff(path, &old, &text));
        return Ok(());
    }
    let text = text(options)?;
    if let Some(path) = &options.output {
        output::write(path, text.as_bytes())
    } else {
        output::print(&text);
        Ok(())
    }
}

/// A snapshot that was accepted before, of this form or of `any`; editors and version control may have changed its
/// line ends.
fn accepted(path: &Path, any: bool) -> Result<String, Failure> {
    let text = String::from_utf8_lossy(&output::read(path)?).replace("\r\n", "\n");
    match snapshot::version_of(&text) {
        Some(version) if any || version == snapshot::VERSION => Ok(text),
        Some(version) => Err(Failure::file(
            Code::SnapshotForm,
            path,
            &format!(
                "the snapshot has form {version}; this scnnc writes form {}",
                snapshot::VERSION
            ),
        )),
        None => Err(Failure::file(
            Code::SnapshotForm,
            path,
            "this is no snapshot: its first line is not `scnnc-snapshot VERSION`",
        )),
    }
}

fn check(path: &Path, accepted: &str, text: &str) -> Result<(), Failure> {
    if accepted == text {
        output::print(&format!("{}: holds\n", path.display()));
        return Ok(());
    }
    output::print(&diff(path, accepted, text));
    let mut failure = Failure::check(
        Code::SnapshotDiffers,
        format!("{} differs from what is compiled now", path.display()),
        Vec::new(),
    );
    if let Failure::Check(diagnostic) = &mut failure {
        diagnostic.help = Some(format!(
            "if the change is meant, accept it with `scnnc snapshot ... --update {}`",
            path.display()
        ));
    }
    Err(failure)
}

fn diff(path: &Path, old: &str, new: &str) -> String {
    let name = path.display().to_string();
    TextDiff::from_lines(old, new)
        .unified_diff()
        .context_radius(CONTEXT)
        .header(&name, &format!("{name} (now)"))
        .to_string()
}

fn text(options: &Snapshot) -> Result<String, Failure> {
    let stages = build::stages(&options.compilation, 1);
    let (program, samples) = if is_program(&options.model) {
        open(options)?
    } else {
        compile(options, &stages)?
    };
    stages.begin("simulate");
    stages.length(samples.len());
    let timing = options.timing.into();
    let failed = |e| run::simulate_failure(&options.model, &e);
    let simulator = Simulator::new(&program).map_err(failed)?;
    let mut report: Option<Report> = None;
    for (number, sample) in samples.iter().enumerate() {
        let execution = simulator.run(sample, &Options { timing }).map_err(failed)?;
        stages.reached(number + 1);
        let one = Report::of(&program, &execution, timing.name());
        match &mut report {
            Some(sum) => sum.add(&one),
            None => report = Some(one),
        }
    }
    stages.finish();
    let report = report.ok_or_else(|| {
        Failure::input(
            Code::InputMissing,
            "there are no samples",
            "give at least one input",
        )
    })?;
    Ok(snapshot::text(&program, &report))
}

fn open(options: &Snapshot) -> Result<(Program, Vec<Sample>), Failure> {
    let machine = options.compilation.machine.as_deref();
    let program = program::read_for(&options.model, machine)?;
    let values = program.inputs.iter().map(|&id| program.value(id));
    if options.input.is_empty() {
        let mut sample = Sample::new();
        for (index, value) in values.enumerate() {
            let seed = options.compilation.seed.wrapping_add(index as u64);
            let noise = synthetic_input(value.dtype, &value.shape, seed).ok_or_else(|| {
                Failure::input(
                    Code::InputMissing,
                    &format!("there is no noise of the type of input `{}`", value.name),
                    "give it with `--input FILE`",
                )
            })?;
            sample.insert(value.name.clone(), noise);
        }
        return Ok((program, vec![sample]));
    }
    let inputs = build::inputs_of_program(&program);
    let samples = limited(build::read_samples(&options.input, &inputs)?, options);
    Ok((program, samples))
}

fn compile(options: &Snapshot, stages: &Stages) -> Result<(Program, Vec<Sample>), Failure> {
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
    Ok((compiled.program, samples))
}

fn limited(mut samples: Vec<Sample>, options: &Snapshot) -> Vec<Sample> {
    samples.truncate(options.samples.max(1));
    samples
}
