//! `compile`, and the compilation that `run` begins with.

use super::args::{Compilation, Compile, Mapping, Objective};
use super::failure::Failure;
pub use super::samples::{inputs_of, inputs_of_program, read_samples};
use super::{machine, output, prune, samples, widths};
use scnn_isa::diagnostic::Code;
use scnn_isa::machine::Machine;
use scnnc::calibrate::{Calibration, synthetic};
use scnnc::compile::{self, CompileError, Compiled, Options};
use scnnc::graph::Graph;
use scnnc::import::{ImportOptions, Imported, import};
use scnnc::map::{self, Strategy};
use scnnc::pass_check::PassCheck;
use scnnc::prune::budget::Budget;
use scnnc::quantise;
use std::collections::BTreeMap;
use std::path::Path;

pub use scnnc::compile::Sample;

/// `scnnc compile`.
pub fn compile(options: &Compile) -> Result<(), Failure> {
    let imported = open(&options.model, &options.compilation)?;
    let compiled = build(&options.model, imported, &options.compilation, &[])?;
    let bytes = compiled.program.to_bytes();
    output::write(&options.output, &bytes)?;
    let program = &compiled.program;
    let segments = program.segments.len();
    output::print(&format!(
        "{}: {} layers, {} instructions, {} host segment{}, {} bytes\n",
        options.output.display(),
        program.layers.len(),
        program.code.len(),
        segments,
        if segments == 1 { "" } else { "s" },
        bytes.len()
    ));
    Ok(())
}

/// Imports a model.
pub fn open(path: &Path, compilation: &Compilation) -> Result<Imported, Failure> {
    let options = ImportOptions {
        dims: dims(&compilation.dims)?,
    };
    import(path, &options)
        .map_err(|errors| Failure::Refused(errors.diagnostics(&path.display().to_string())))
}

/// Compiles an imported model; without calibration data of its own it is calibrated on `samples`.
pub fn build(
    path: &Path,
    imported: Imported,
    compilation: &Compilation,
    samples: &[Sample],
) -> Result<Compiled, Failure> {
    let machine = machine::load(&compilation.machine)?;
    let (imported, pruning) = pruned(path, imported, compilation, samples, &machine)?;
    build_on(path, imported, compilation, samples, machine, pruning)
}

/// Prunes an imported model as the options ask, tells of it and saves what they want saved. The model, and what was
/// done to it in a few words.
pub fn pruned(
    path: &Path,
    imported: Imported,
    compilation: &Compilation,
    samples: &[Sample],
    machine: &Machine,
) -> Result<(Imported, Option<String>), Failure> {
    let Some(request) = prune::request(&compilation.pruning)? else {
        return Ok((imported, None));
    };
    let (options, labels) = options(&imported, compilation, samples, machine.clone())?;
    let (labels, quiet) = (labels.as_deref(), compilation.quiet);
    let (imported, pruned) = prune::prune(path, &imported, &request, &options, labels, quiet)?;
    output::print(&prune::table(&pruned));
    prune::save(path, &compilation.pruning, &pruned)?;
    Ok((imported, Some(prune::words(&request, &pruned))))
}

/// The same for another machine than the options name, and a model that is pruned already.
pub fn build_on(
    path: &Path,
    imported: Imported,
    compilation: &Compilation,
    samples: &[Sample],
    machine: Machine,
    pruning: Option<String>,
) -> Result<Compiled, Failure> {
    let (mut options, _) = options(&imported, compilation, samples, machine)?;
    options.pruning = pruning;
    let mut dump = Dump {
        folder: compilation.dump_ir.as_deref(),
        number: 0,
        failure: None,
    };
    let mut check = None;
    if compilation.verify_passes {
        let noise = || synthetic(&imported.graph, options.seed);
        let inputs = options.samples.1.first().cloned().unwrap_or_else(noise);
        check = Some(PassCheck::new(inputs));
    }
    let result = compile::compile_imported(imported, &options, &mut |name, graph| {
        provoke(compilation, name, graph);
        dump.write(name, graph);
        if let Some(check) = &mut check {
            check.observe(name, graph);
        }
    });
    if let Some(failure) = dump.failure {
        return Err(failure);
    }
    if let Some(check) = check {
        let passes = check
            .finish()
            .map_err(|error| Failure::check(Code::PassChanged, error.to_string(), Vec::new()))?;
        output::print(&format!(
            "verified  {passes} passes: none changes what the network computes\n"
        ));
    }
    let compiled = result.map_err(|error| match (&error, &compilation.mapping_file) {
        (CompileError::MappingFile(_) | CompileError::IllegalMapping(_), Some(file)) => {
            Failure::compile(file, &error)
        }
        _ => Failure::compile(path, &error),
    })?;
    warn_of_noise(&options, compilation);
    if let Some(file) = &compilation.save_calibration {
        let text = compiled
            .calibration
            .to_yaml()
            .map_err(|e| Failure::file(Code::CannotWrite, file, &e.to_string()))?;
        output::write(file, text.as_bytes())?;
    }
    if let Some(file) = &compilation.save_mapping {
        let text = map::file::write(&compiled.network, &compiled.mapped)
            .map_err(|e| Failure::file(Code::CannotWrite, file, &e.to_string()))?;
        output::write(file, text.as_bytes())?;
    }
    Ok(compiled)
}

/// An internal error, where one is asked for.
fn provoke(compilation: &Compilation, pass: &str, graph: &Graph) {
    let Some(name) = &compilation.provoke else {
        return;
    };
    let holds = |node: &scnnc::graph::Node| node.onnx_nodes.contains(name);
    assert!(
        pass == "import" || !graph.dag.node_weights().any(holds),
        "asked to fail when `{name}` has passed {pass}"
    );
}

/// Says so when nothing was given to calibrate on.
pub fn warn_of_noise(options: &Options, compilation: &Compilation) {
    if options.samples.1.is_empty() && options.calibration.is_none() && !compilation.quiet {
        output::tell(
            "warning: activation ranges are calibrated on seeded noise; `--calibrate FILE` with real inputs is better",
        );
    }
}

/// The choices that the options name, and the classes of the calibration samples where a budget asks for them.
pub fn options(
    imported: &Imported,
    compilation: &Compilation,
    given: &[Sample],
    machine: Machine,
) -> Result<(Options, Option<Vec<usize>>), Failure> {
    let dims = dims(&compilation.dims)?;
    let labelled = matches!(compilation.pruning.prune_budget, Some(Budget::Top1(_)));
    let usual = if labelled { usize::MAX } else { 16 };
    let limit = compilation.calibration_samples.unwrap_or(usual).max(1);
    let mut labels = None;
    let samples = match &compilation.calibrate {
        Some(file) => {
            let inputs = inputs_of(imported);
            let words = [file.display().to_string()];
            let samples = if labelled {
                let labelled = samples::labelled(file, &compilation.pruning, &inputs, limit)?;
                labels = labelled.labels;
                labelled.samples
            } else {
                samples::read_spread(&words, &inputs, limit)?
            };
            (words[0].clone(), samples)
        }
        None => (
            "the inputs of this run".to_owned(),
            samples::spread(given, limit),
        ),
    };
    let calibration = match &compilation.calibration {
        None => None,
        Some(file) => {
            let text = String::from_utf8_lossy(&output::read(file)?).into_owned();
            let read = Calibration::from_yaml(&text);
            Some(read.map_err(|e| Failure::yaml(Code::CalibrationFile, file, &text, &e))?)
        }
    };
    let options = Options {
        machine,
        mapping: map::Options {
            strategy: match compilation.mapping {
                Mapping::Paper => Strategy::Paper,
                Mapping::Search => Strategy::Search,
            },
            objective: match compilation.objective {
                Objective::Cycles => map::Objective::Cycles,
                Objective::Energy => map::Objective::Energy,
                Objective::Edp => map::Objective::EnergyDelay,
            },
        },
        mapping_file: match &compilation.mapping_file {
            None => None,
            Some(file) => Some(String::from_utf8_lossy(&output::read(file)?).into_owned()),
        },
        quantise: quantise::Options {
            widths: widths::read(&compilation.bits)?,
            headroom: positive("--headroom", compilation.headroom)?,
            ranges: compilation.ranges.into(),
            sum_margin: positive("--sum-margin", Some(compilation.sum_margin))?.unwrap_or(1.0),
        },
        dims,
        samples,
        method: compilation.calibration_method,
        calibration,
        pruning: None,
        seed: compilation.seed,
        allow_host_only: compilation.allow_host_only,
        no_host: compilation.no_host,
    };
    Ok((options, labels))
}

/// A factor has to be positive.
fn positive(option: &str, factor: Option<f32>) -> Result<Option<f32>, Failure> {
    match factor {
        Some(factor) if !(factor > 0.0 && factor.is_finite()) => Err(Failure::usage(&format!(
            "`{option} {factor}`: give a positive factor"
        ))),
        factor => Ok(factor),
    }
}

/// Parses `NAME=VALUE` options.
pub fn dims(words: &[String]) -> Result<BTreeMap<String, u64>, Failure> {
    words
        .iter()
        .map(|word| {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match value.parse() {
                Ok(value) if value > 0 && !name.is_empty() => Ok((name.to_owned(), value)),
                _ => Err(Failure::usage(&format!(
                    "`--dim {word}`: give NAME=VALUE with a positive value"
                ))),
            }
        })
        .collect()
}

/// Writes the graph after each pass, numbered.
struct Dump<'a> {
    folder: Option<&'a Path>,
    number: u32,
    failure: Option<Failure>,
}

impl Dump<'_> {
    fn write(&mut self, name: &str, graph: &Graph) {
        let Some(folder) = self.folder else { return };
        if self.failure.is_some() {
            return;
        }
        let file = folder.join(format!("{:02}-{name}.txt", self.number));
        self.number += 1;
        let result = output::folder(folder)
            .and_then(|()| output::write(&file, format!("{graph}").as_bytes()));
        self.failure = result.err();
    }
}
