//! `snapshot`: a compiled model and one run of it as a short, stable text, written, compared or brought up to date.
//!
//! The text is [`scnn_simulator::snapshot::text`]; a difference is shown as a unified diff and exit status 3.

use super::args::Snapshot;
use super::build::{self, Sample};
use super::failure::Failure;
use super::given::is_program;
use super::stages::Stages;
use super::{output, program};
use crate::codes::{Code, SimulatorCode};
use scnn_isa::program::Program;
use scnn_simulator::snapshot;
use scnnc_driver::Options as RunOptions;
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
            SimulatorCode::SnapshotForm,
            path,
            &format!(
                "the snapshot has form {version}; this scnnc writes form {}",
                snapshot::VERSION
            ),
        )),
        None => Err(Failure::file(
            SimulatorCode::SnapshotForm,
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
    // What is not a file is the snapshot, on standard output.
    let stages = build::stages(&options.compilation, 1).with_data(options.output.is_none());
    let (program, samples) = if is_program(&options.model) {
        open(options)?
    } else {
        compile(options, &stages)?
    };
    stages.begin("simulate");
    stages.length(samples.len());
    let run = scnnc_driver::run(
        &program,
        &samples,
        RunOptions {
            timing: options.timing.into(),
            host: options.compilation.host.runtimes(),
            progress: Some(&mut |done| stages.reached(done)),
            ..RunOptions::default()
        },
    );
    let run = run.map_err(|e| Failure::run(&options.model, &e))?;
    stages.finish();
    Ok(snapshot::text(&program, &run.report))
}

fn open(options: &Snapshot) -> Result<(Program, Vec<Sample>), Failure> {
    let program = program::read_for(&options.model, &options.compilation.machine)?;
    if options.input.is_empty() {
        let noise = scnnc_driver::noise_for(&program, options.compilation.seed);
        let sample = noise.map_err(|e| Failure::run(&options.model, &e))?;
        return Ok((program, vec![sample]));
    }
    let inputs = build::inputs_of_program(&program);
    let samples = limited(build::read_samples(&options.input, &inputs)?, options);
    Ok((program, samples))
}

fn compile(options: &Snapshot, stages: &Stages) -> Result<(Program, Vec<Sample>), Failure> {
    let (imported, samples) =
        build::open_with(&options.model, &options.compilation, &options.input, stages)?;
    let samples = limited(samples, options);
    let compiled = build::build(
        &options.model,
        imported,
        &options.compilation,
        &samples,
        stages,
    )?;
    let samples = scnnc_driver::samples_or_noise(&compiled, samples, options.compilation.seed);
    Ok((compiled.program, samples))
}

fn limited(mut samples: Vec<Sample>, options: &Snapshot) -> Vec<Sample> {
    samples.truncate(options.samples);
    samples
}
