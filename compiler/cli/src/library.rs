//! What the command line does, as functions: for bindings of other languages, which have tensors instead of files and
//! exceptions instead of a terminal.
//!
//! Options are the command line's own words (`--prune 0.4`). A binding therefore needs no list of options: names, meanings
//! and errors are the command line's. Results equal the same command's to the byte.

pub use crate::failure::Failure;
pub use crate::model::Model;
pub use crate::stages::Listener;
pub use crate::sweep::Outcomes;

use crate::args::{self, Compilation, Timing};
use crate::codes::{CompilerCode, IsaCode};
use crate::report::{figures, page};
use crate::stages::{Loudness, Shown, Stages};
use crate::{
    advise, build, check, machine, output, program, report, samples, sensitivity, sweep, zoo,
};
use clap::{Args, Parser};
use scnn_host::Host;
use scnn_isa::machine::Machine;
use scnn_isa::program::Program;
use scnn_models::zoo::{Made, NETWORKS, Network};
use scnn_simulator::Tensor;
use scnn_simulator::report::Report;
use scnnc::compile::{Compiled, Sample};
use scnnc::import::Imported;
use scnnc::pruning_cost::{CostError, Originals, PruningCost};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Arrays by the name of their input; the array of an only input may have the empty name. The first dimension may hold
/// any number of samples.
pub type Arrays = BTreeMap<String, Tensor>;

/// Choices of a compilation.
pub struct Options {
    compilation: Compilation,
    machine: Option<Machine>,
}

/// Words of the command line that are all options.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Words<T: Args> {
    #[command(flatten)]
    options: T,
}

fn parse<T: Args>(words: Vec<OsString>) -> Result<T, Failure> {
    match Words::try_parse_from(words) {
        Ok(Words { options }) => Ok(options),
        Err(error) => Err(Failure::usage(&words_of(&error))),
    }
}

/// What clap says, without the usage of a command that nobody called.
fn words_of(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or_default();
    text.trim_start_matches("error: ").trim().to_owned()
}

impl Options {
    /// Reads the options of `scnnc compile`.
    ///
    /// # Errors
    /// [`Failure::Usage`], as on the command line.
    pub fn parse(words: Vec<OsString>, machine: Option<Machine>) -> Result<Self, Failure> {
        let compilation: Compilation = parse(words)?;
        Ok(Self {
            compilation,
            machine,
        })
    }

    fn machine(&self) -> Result<Machine, Failure> {
        match &self.machine {
            Some(machine) => Ok(machine.clone()),
            None => machine::of_model(&self.compilation.machine),
        }
    }
}

/// Compiles a model, as `scnnc run` does: without calibration data of its own it is calibrated on `inputs`.
///
/// # Errors
/// As the command line's.
pub fn compile(
    model: &Model,
    options: &Options,
    inputs: Option<Arrays>,
    listener: Box<dyn Listener>,
) -> Result<Compiled, Failure> {
    let compilation = &options.compilation;
    if let (Model::Bytes { .. }, Some(_)) = (model, &compilation.pruning.save_onnx) {
        return Err(Failure::usage(
            "`--save-onnx` keeps the file as it is but for its weights: give the model as a file",
        ));
    }
    let machine = options.machine()?;
    let stages = build::stages(compilation, 0).heard_by(listener);
    let (imported, samples) = import(model, compilation, inputs, &stages)?;
    build::build_for(
        model.path(),
        imported,
        compilation,
        &samples,
        machine,
        &stages,
    )
}

/// The costs of a model for any zeros of its weights: it is compiled as [`compile`] does.
///
/// # Errors
/// As the command line's, or a model without weights to prune.
pub fn pruning_cost(
    model: &Model,
    options: &Options,
    inputs: Option<Arrays>,
    listener: Box<dyn Listener>,
) -> Result<PruningCost, Failure> {
    let (compilation, path) = (&options.compilation, model.path());
    let machine = options.machine()?;
    let stages = build::stages(compilation, 0).heard_by(listener);
    let (imported, samples) = import(model, compilation, inputs, &stages)?;
    let (imported, pruning) =
        build::pruned(path, imported, compilation, &samples, &machine, &stages)?;
    let originals = Originals::of(&imported);
    let compiled = build::build_on(
        path,
        imported,
        compilation,
        &samples,
        machine,
        pruning,
        &stages,
    )?;
    PruningCost::new(originals, compiled).map_err(|error| cost_failure(&error))
}

/// Why there is no cost, as a failure.
pub fn cost_failure(error: &CostError) -> Failure {
    let message = error.to_string();
    match error {
        CostError::NoWeights => Failure::input(
            CompilerCode::NothingToPrune,
            &message,
            "`scnnc check` tells which nodes run on the array",
        ),
        CostError::Name(name) => Failure::input(IsaCode::UnknownName, &message, &name.help()),
        CostError::Shape { .. }
        | CostError::Activations { .. }
        | CostError::Twice(_)
        | CostError::Part(_) => Failure::usage(&message),
    }
}

/// A model, and the samples that `inputs` are for it; dimensions that it leaves open are as in these.
fn import(
    model: &Model,
    compilation: &Compilation,
    inputs: Option<Arrays>,
    stages: &Stages,
) -> Result<(Imported, Vec<Sample>), Failure> {
    let given = || match &inputs {
        None => build::given(&[], compilation),
        Some(arrays) => {
            let arrays = arrays.iter();
            let given = arrays.map(|(name, array)| (name.clone(), samples::known_of(array)));
            Ok(given.collect())
        }
    };
    let imported = build::import(model, compilation, given, stages)?;
    let samples = match inputs {
        None => Vec::new(),
        Some(arrays) => samples::of_arrays(arrays, &build::inputs_of(&imported))?,
    };
    Ok((imported, samples))
}

/// What pruning each layer to several densities costs and saves, as `scnnc sensitivity --json` prints it: `words` are its
/// options. Without calibration data of their own, the network is calibrated on `inputs` and executed on these.
///
/// # Errors
/// As the command line's.
pub fn sensitivity(
    model: &Model,
    words: Vec<OsString>,
    machine: Option<Machine>,
    inputs: Option<Arrays>,
    listener: Box<dyn Listener>,
) -> Result<Value, Failure> {
    let options: args::Sensitivity = parse(about(model, words))?;
    let machine = match machine {
        Some(machine) => machine,
        None => machine::of_model(&options.compilation.machine)?,
    };
    let stages = sensitivity::stages(&options).heard_by(listener);
    let (imported, samples) = import(model, &options.compilation, inputs, &stages)?;
    let path = model.path();
    let study = sensitivity::study(path, imported, &options, machine, &samples, &stages)?;
    serde_json::to_value(study).map_err(|error| Failure::usage(&error.to_string()))
}

/// What one change of each parameter of a machine gains or costs, as `scnnc advise --json` prints it: `words` are its
/// options. `inputs`, of a single model, are what it runs on and, without calibration data of its own, is calibrated on.
///
/// # Errors
/// As the command line's.
pub fn advise(
    models: &[Model],
    mut words: Vec<OsString>,
    machine: Option<Machine>,
    inputs: Option<&Arrays>,
    listener: Box<dyn Listener>,
) -> Result<Value, Failure> {
    words.push("--".into());
    words.extend(models.iter().map(|model| model.path().into()));
    let options: args::Advise = parse(words)?;
    let compilation = &options.compilation;
    if models.len() > 1 && inputs.is_some() {
        return Err(Failure::usage("inputs are of a single model"));
    }
    let machine = match machine {
        Some(machine) => machine,
        None => machine::of_model(&compilation.machine)?,
    };
    let stages = advise::stages(&options).heard_by(listener);
    let open = |index: usize| match inputs {
        Some(arrays) => import(&models[index], compilation, Some(arrays.clone()), &stages),
        None => build::open_model(&models[index], compilation, &options.input, &stages),
    };
    let advice = advise::study(&options, &machine, &open, &stages)?;
    serde_json::to_value(advice).map_err(|error| Failure::usage(&error.to_string()))
}

/// A sweep: where its specification and its results are.
pub struct Sweep {
    /// Path of the specification; its files are beside it.
    pub path: PathBuf,
    /// Its text, if it is not that of the file.
    pub text: Option<String>,
    /// Folder of the results, whose finished points are not measured again; none keeps nothing.
    pub folder: Option<PathBuf>,
    /// A part of the points, `I/N`.
    pub shard: Option<String>,
    /// The file that holds this code: another one measures anew.
    pub code: Option<PathBuf>,
}

/// The points of a sweep and their outcomes, as `scnnc sweep` measures and keeps them.
///
/// # Errors
/// As the command line's.
pub fn sweep(sweep: &Sweep, listener: Box<dyn Listener>) -> Result<Outcomes, Failure> {
    let text = match &sweep.text {
        Some(text) => text.clone(),
        None => String::from_utf8_lossy(&output::read(&sweep.path)?).into_owned(),
    };
    let shard = sweep.shard.as_deref().map(str::parse).transpose();
    let asked = sweep::Asked {
        spec: (&sweep.path, &text),
        folder: sweep.folder.as_deref(),
        shard: shard.map_err(|error: String| Failure::usage(&error))?,
        code: sweep.code.as_deref(),
    };
    let stages = Stages::new(1, Loudness::Usual, Shown::Auto).heard_by(listener);
    sweep::outcomes(&asked, &stages)
}

/// The page of a sweep, as `scnnc sweep report -o` writes it.
pub fn sweep_page(outcomes: &Outcomes) -> String {
    sweep::page_of(outcomes)
}

/// Options followed by the model that they are for.
fn about(model: &Model, mut words: Vec<OsString>) -> Vec<OsString> {
    words.push("--".into());
    words.push(model.path().into());
    words
}

/// Choices of a run.
pub struct RunOptions {
    /// `exact` or `fast`.
    pub timing: String,
    /// Whether every tensor is compared with the integer interpreter's.
    pub check: bool,
    /// The class of every image.
    pub labels: Option<Vec<usize>>,
    /// Most samples to use.
    pub samples: Option<usize>,
    /// Seed of the noise that a compiled model runs on where there are no inputs.
    pub seed: u64,
}

/// Runs a program, as `scnnc run` does, on the runtimes of `host`; `compiled` is what it was compiled from, where that
/// is known.
///
/// # Errors
/// As the command line's.
pub fn run(
    program: &Program,
    compiled: Option<&Compiled>,
    inputs: Option<Arrays>,
    options: &RunOptions,
    host: Host,
    listener: Box<dyn Listener>,
) -> Result<scnnc_driver::Run, Failure> {
    let timing = <Timing as clap::ValueEnum>::from_str(&options.timing, false)
        .map_err(|_| Failure::usage("the timing is `exact` or `fast`"))?;
    let mut samples = samples_of(program, compiled, inputs, options.seed)?;
    samples.truncate(options.samples.unwrap_or(usize::MAX));
    let stages = Stages::new(1, Loudness::Usual, Shown::Auto).heard_by(listener);
    stages.begin("simulate");
    stages.length(samples.len());
    let choices = scnnc_driver::Options {
        timing: timing.into(),
        compiled,
        check: options.check,
        original: None,
        labels: options.labels.as_deref(),
        ceilings: false,
        observer: None,
        host,
        progress: Some(&mut |done| stages.reached(done)),
        layers: Some(&stages),
    };
    let run = scnnc_driver::run(program, &samples, choices);
    run.map_err(|error| Failure::run(Path::new(&program.provenance.model), &error))
}

fn samples_of(
    program: &Program,
    compiled: Option<&Compiled>,
    inputs: Option<Arrays>,
    seed: u64,
) -> Result<Vec<Sample>, Failure> {
    let wanted = build::inputs_of_program(program);
    match (inputs, compiled) {
        (Some(arrays), _) => samples::of_arrays(arrays, &wanted),
        (None, Some(compiled)) => Ok(scnnc_driver::samples_or_noise(compiled, Vec::new(), seed)),
        (None, None) => {
            let names: Vec<&str> = wanted.iter().map(|input| input.name.as_str()).collect();
            Err(Failure::input(
                IsaCode::InputMissing,
                &format!("the program has the inputs {}", names.join(", ")),
                "give an array for each",
            ))
        }
    }
}

/// The runtimes that the options name, for host segments.
pub fn host(options: &Options) -> Host {
    options.compilation.host.runtimes()
}

/// The seed of the options.
pub fn seed(options: &Options) -> u64 {
    options.compilation.seed
}

/// The assembly text of the layers of a name, or of a part of one, as `scnnc disasm --layer` prints it.
///
/// # Errors
/// A layer that there is not.
pub fn disassemble_layer(program: &Program, name: &str) -> Result<String, Failure> {
    program::layers_text(program, name)
}

/// Reads a program file and verifies it.
///
/// # Errors
/// A file that cannot be read, or is no well-formed program.
pub fn load_file(path: &Path) -> Result<Program, Failure> {
    program::read(path)
}

/// The outputs of a run; outputs of several samples are stacked along the first dimension.
///
/// # Errors
/// Outputs of other extents in each sample.
pub fn outputs(
    program: &Program,
    run: &scnnc_driver::Run,
) -> Result<Vec<(String, Tensor)>, Failure> {
    let outputs = run.outputs.stacked();
    outputs.map_err(|error| Failure::run(Path::new(&program.provenance.model), &error))
}

/// The reports in the bytes of a file of reports; `path` is what diagnostics name.
///
/// # Errors
/// Bytes that are no reports.
pub fn reports(path: &Path, bytes: &[u8]) -> Result<Vec<Report>, Failure> {
    report::of_bytes(path, bytes)
}

/// Reads a program and verifies it; `path` is what diagnostics name.
///
/// # Errors
/// Bytes that are no well-formed program.
pub fn load(path: &Path, bytes: &[u8]) -> Result<Program, Failure> {
    program::of_bytes(path, bytes)
}

/// What of a model would run where, as `scnnc check --json` prints it. A model that is refused is a result, too.
///
/// # Errors
/// Options that are wrong, or a machine that is none.
pub fn check(
    model: &Model,
    words: Vec<OsString>,
    machine: Option<Machine>,
) -> Result<Value, Failure> {
    let options: args::Check = parse(about(model, words))?;
    let machine = match machine {
        Some(machine) => machine,
        None => check::machine(&options)?,
    };
    Ok(check::judge(model, &options, machine)?.json())
}

/// The machine of a preset's name or a file, with some parameters set, as in `pe.banks=64`.
///
/// # Errors
/// A machine that there is not, or parameters that it cannot have.
pub fn machine(name: &str, settings: &[String]) -> Result<Machine, Failure> {
    machine::with_settings(name, settings)
}

/// Every parameter of a machine, as `scnnc machine show --json` lists them.
pub fn parameters(machine: &Machine) -> Value {
    let parameters = machine.parameters().into_iter().map(|parameter| {
        serde_json::json!({
            "parameter": parameter.path, "value": parameter.value, "unit": parameter.unit,
            "allowed": parameter.range, "meaning": parameter.meaning,
        })
    });
    Value::Array(parameters.collect())
}

/// The networks of the zoo, as `scnnc zoo list --json` prints them.
pub fn zoo_list() -> Value {
    Value::Array(NETWORKS.iter().map(zoo::entry).collect())
}

/// Makes a network of the zoo: its ONNX file, and the image that its densities are set on.
///
/// # Errors
/// A network that there is not, or densities that are none.
pub fn zoo_make(
    name: &str,
    seed: u64,
    density: Option<(f64, f64)>,
) -> Result<(Vec<u8>, Made), Failure> {
    let network: &Network = zoo::find(name)?;
    let choices = zoo::choices(seed, density)?;
    let mut bytes = std::io::Cursor::new(Vec::new());
    let made = scnn_models::zoo::make(network, &choices, &mut bytes, &mut |_| {});
    let made = made.map_err(|error| Failure::usage(&format!("`{name}`: {error}")))?;
    Ok((bytes.into_inner(), made))
}

/// The table of a report, as `scnnc run` prints it.
pub fn report_table(report: &Report) -> String {
    report::text(report)
}

/// The page of reports, as `scnnc report -o` writes it.
pub fn report_page(reports: &[Report]) -> String {
    page::html(reports)
}

/// The figures of a report by name, as `scnnc report --svg` writes them.
pub fn report_figures(report: &Report) -> [(&'static str, String); 3] {
    figures::of(report)
}

/// The explanation of a code or a term, as `scnnc --explain` prints it.
///
/// # Errors
/// A word that is neither.
pub fn explain(word: &str) -> Result<String, Failure> {
    program::explanation(word)
}
