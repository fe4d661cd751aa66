//! `compile`, and the compilation that `run` begins with.

use super::args::{Compilation, Compile, Mapping};
use super::failure::Failure;
use super::model::Model;
pub use super::samples::{inputs_of, inputs_of_program, read_samples};
use super::stages::Stages;
use super::{bindings, machine, output, prune, samples, widths};
use crate::codes::{Code, CompilerCode};
use scnn_host::Policy;
use scnn_isa::machine::Machine;
use scnn_isa::progress::Progress;
use scnnc::calibrate::{Calibration, synthetic};
use scnnc::compile::fallback::Fallback;
use scnnc::compile::{self, CompileError, Compiled, Observer, Options, Samples, Stage};
use scnnc::graph::Graph;
use scnnc::import::host_operators::unverified;
use scnnc::import::{Given, ImportError, ImportOptions, Imported};
use scnnc::map::{self, Strategy};
use scnnc::normalise;
use scnnc::prune::budget::Budget;
use scnnc::quantise;
use scnnc::reference::pass_check::PassCheck;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

pub use scnnc::compile::Sample;

/// `scnnc compile`.
pub fn compile(options: &Compile) -> Result<(), Failure> {
    let stages = stages(&options.compilation, 0).with_data(options.json);
    let imported = open(&options.model, &options.compilation, &stages)?;
    let compiled = build(&options.model, imported, &options.compilation, &[], &stages)?;
    stages.finish();
    let bytes = compiled.program.to_bytes();
    output::write(&options.output, &bytes)?;
    let program = &compiled.program;
    let segments = program.segments.len();
    if options.json {
        output::print_json(&json!({
            "program": options.output,
            "layers": program.layers.len(),
            "instructions": program.code.len(),
            "host_segments": segments,
            "bytes": bytes.len(),
        }));
        return Ok(());
    }
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

/// The stages of a command that compiles a model once and does `more` with it.
pub fn stages(compilation: &Compilation, more: usize) -> Stages {
    let pruning = usize::from(compilation.pruning.says_how_much());
    let count = 1 + pruning + Stage::ALL.len() + more;
    Stages::new(count, compilation.loudness(), compilation.progress)
}

/// Imports the model in a file.
pub fn open(path: &Path, compilation: &Compilation, stages: &Stages) -> Result<Imported, Failure> {
    Ok(open_with(path, compilation, &[], stages)?.0)
}

/// Imports the model in a file and reads `inputs` as its samples, none if none are given.
pub fn open_with(
    path: &Path,
    compilation: &Compilation,
    inputs: &[String],
    stages: &Stages,
) -> Result<(Imported, Vec<Sample>), Failure> {
    open_model(&Model::at(path)?, compilation, inputs, stages)
}

/// The same of a model.
pub fn open_model(
    model: &Model,
    compilation: &Compilation,
    inputs: &[String],
    stages: &Stages,
) -> Result<(Imported, Vec<Sample>), Failure> {
    let imported = import(model, compilation, || given(inputs, compilation), stages)?;
    if inputs.is_empty() {
        return Ok((imported, Vec::new()));
    }
    match read_samples(inputs, &inputs_of(&imported)) {
        Ok(samples) => Ok((imported, samples)),
        // They may be one sample, whose first extent is no batch.
        Err(failure) => {
            let whole = import_whole(model, compilation, given(inputs, compilation)?, stages);
            let read = whole.and_then(|imported| {
                let samples = read_samples(inputs, &inputs_of(&imported)).ok()?;
                Some((imported, samples))
            });
            read.ok_or(failure)
        }
    }
}

/// Extents and constant values of the arrays of `inputs`, or else of the calibration data.
pub fn given(
    inputs: &[String],
    compilation: &Compilation,
) -> Result<BTreeMap<String, Given>, Failure> {
    let calibrate = compilation.calibrate.as_ref();
    let calibrate: Vec<String> = calibrate.iter().map(|p| p.display().to_string()).collect();
    let arrays = [inputs, &calibrate]
        .into_iter()
        .find(|words| !words.is_empty());
    samples::given(arrays.unwrap_or_default())
}

/// Imports a model. Dimensions that it leaves open are as in `arrays`, and so are inputs that decide branches.
pub fn import(
    model: &Model,
    compilation: &Compilation,
    arrays: impl Fn() -> Result<BTreeMap<String, Given>, Failure>,
    stages: &Stages,
) -> Result<Imported, Failure> {
    stages.begin("import");
    let mut options = bindings::import_options(&compilation.bindings, &compilation.host)?;
    let mut dump = Dump::of(compilation, "normalise-");
    let mut observe = |pass: &str, text: &str| dump.write(pass, || text.to_owned());
    let observe: Option<&mut normalise::Observer<'_>> = match &compilation.dump_ir {
        Some(_) => Some(&mut observe),
        None => None,
    };
    // A name may stand for two sizes, of which `--dim` says one.
    if !options.dims.is_empty() {
        options.arrays = arrays()?;
    }
    let mut imported = model.import(&options, observe);
    let open = match &imported {
        Ok(imported) => imported.source.is_undecided() || imported.source.wants_numbers(),
        Err(errors) => errors.0.iter().any(is_open),
    };
    if options.arrays.is_empty() && open {
        options.arrays = arrays()?;
        if !options.arrays.is_empty() {
            imported = model.import(&options, None);
        }
    }
    if imported.is_err() {
        let arrays = arrays()?;
        let other = import_bound(model, &options, &arrays, stages)
            .or_else(|| import_whole(model, compilation, arrays, stages));
        imported = other.map_or(imported, Ok);
    }
    if let Some(failure) = dump.failure {
        return Err(failure);
    }
    let file = || model.path().display().to_string();
    let imported = imported.map_err(|errors| Failure::Refused(errors.diagnostics(&file())))?;
    for note in imported.source.notes().iter().filter(|_| !stages.quiet()) {
        stages.tell(&format!("warning: {note}"));
    }
    Ok(imported)
}

/// The model with the inputs that are one integer bound to those of `arrays`: shapes depend on them in a way that no runtime
/// can type, as where a graph network repeats rows.
fn import_bound(
    model: &Model,
    options: &ImportOptions,
    arrays: &BTreeMap<String, Given>,
    stages: &Stages,
) -> Option<Imported> {
    let single = |given: &&Given| given.extents.iter().product::<u64>() == 1;
    let known = arrays.iter().filter(|(name, _)| !name.is_empty());
    let known = known.filter_map(|(name, given)| {
        let value = Some(given).filter(single)?.value.clone()?;
        (!options.values.contains_key(name)).then(|| (name.clone(), value))
    });
    let bound: BTreeMap<String, String> = known.collect();
    if bound.is_empty() {
        return None;
    }
    let mut options = options.clone();
    options.arrays.clone_from(arrays);
    options.values.extend(bound.clone());
    let imported = model.import(&options, None).ok()?;
    for (name, value) in bound.iter().filter(|_| !stages.quiet()) {
        stages.tell(&format!(
            "warning: compiled for `{name}` = {value} alone, as the array has it: shapes depend on it"
        ));
    }
    Some(imported)
}

/// The model with inputs of the extents of `arrays`, the first ones too: where a batch of one has no form, or these are not
/// samples of it.
fn import_whole(
    model: &Model,
    compilation: &Compilation,
    arrays: BTreeMap<String, Given>,
    stages: &Stages,
) -> Option<Imported> {
    let firsts = arrays.values().filter_map(|given| given.extents.first());
    if firsts.max().is_none_or(|&first| first < 2) {
        return None;
    }
    let options = bindings::import_options(&compilation.bindings, &compilation.host);
    let mut options: ImportOptions = options.ok()?;
    for (name, given) in arrays.iter().filter(|(name, _)| !name.is_empty()) {
        let shape = options.shapes.entry(name.clone());
        shape.or_insert_with(|| given.extents.clone());
    }
    options.arrays = arrays;
    let imported = model.import(&options, None).ok()?;
    if !stages.quiet() {
        stages.tell(
            "warning: compiled for the whole arrays that are given as one sample: they are none of a batch of one",
        );
    }
    Some(imported)
}

/// Whether an array could decide this error: an open dimension, the branch of an `If`, or a shape that integers decide.
fn is_open(error: &ImportError) -> bool {
    let operator = error.node.as_ref().map(|(_, operator)| operator.as_str());
    let open = [
        CompilerCode::UnboundDimension,
        CompilerCode::DynamicShape,
        CompilerCode::ShapeInference,
    ];
    open.contains(&error.code) || operator == Some("If")
}

/// Compiles an imported model; without calibration data of its own it is calibrated on `samples`.
pub fn build(
    path: &Path,
    imported: Imported,
    compilation: &Compilation,
    samples: &[Sample],
    stages: &Stages,
) -> Result<Compiled, Failure> {
    let machine = machine::of_model(&compilation.machine)?;
    build_for(path, imported, compilation, samples, machine, stages)
}

/// The same for a machine of the caller's.
pub fn build_for(
    path: &Path,
    imported: Imported,
    compilation: &Compilation,
    samples: &[Sample],
    machine: Machine,
    stages: &Stages,
) -> Result<Compiled, Failure> {
    let (imported, pruning) = pruned(path, imported, compilation, samples, &machine, stages)?;
    build_on(
        path,
        imported,
        compilation,
        samples,
        machine,
        pruning,
        stages,
    )
}

/// Prunes an imported model as the options ask, tells of it and saves what they want saved. The model, and what was
/// done to it in a few words.
pub fn pruned(
    path: &Path,
    imported: Imported,
    compilation: &Compilation,
    samples: &[Sample],
    machine: &Machine,
    stages: &Stages,
) -> Result<(Imported, Option<String>), Failure> {
    let Some(request) = prune::request(&compilation.pruning)? else {
        return Ok((imported, None));
    };
    stages.begin("prune");
    let (options, labels) = options(&imported, compilation, samples, machine.clone())?;
    let labels = labels.as_deref();
    let (imported, pruned) = prune::prune(path, &imported, &request, &options, labels, stages)?;
    stages.print(&prune::table(&pruned));
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
    stages: &Stages,
) -> Result<Compiled, Failure> {
    let (mut options, _) = options(&imported, compilation, samples, machine)?;
    options.pruning = pruning;
    let mut watch = Watch {
        compilation,
        stages,
        dump: Dump::of(compilation, ""),
        check: None,
    };
    if compilation.verify_passes {
        let noise = || synthetic(&imported.graph, options.seed);
        let inputs = options
            .samples
            .inputs
            .first()
            .cloned()
            .unwrap_or_else(noise);
        watch.check = Some(PassCheck::new(inputs, options.host.clone()));
    }
    let result = compile::compile_imported(imported, &options, &mut watch);
    if let Some(failure) = watch.dump.failure {
        return Err(failure);
    }
    if let Some(check) = watch.check {
        let passes = check.finish().map_err(|error| {
            Failure::check(CompilerCode::PassChanged, error.to_string(), Vec::new())
        })?;
        stages.print(&format!(
            "verified  {passes} passes: none changes what the network computes\n"
        ));
    }
    let compiled = result.map_err(|error| match (&error, &compilation.mapping_file) {
        (CompileError::MappingFile(_) | CompileError::IllegalMapping(_), Some(file)) => {
            Failure::compile(file, &error)
        }
        _ => Failure::compile(path, &error),
    })?;
    warn_of_noise(&options, stages);
    warn_of_unverified(&compiled, stages);
    warn_of_open(&compiled, stages);
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

/// Tells of the stages of a compilation, and of nothing else.
pub struct Told<'a>(pub &'a Stages);

impl Observer for Told<'_> {
    fn stage(&mut self, stage: Stage) {
        self.0.begin(stage.name());
    }

    fn layers(&self) -> &dyn Progress {
        self.0
    }
}

/// What is done while a model is compiled.
struct Watch<'a> {
    compilation: &'a Compilation,
    stages: &'a Stages,
    dump: Dump<'a>,
    check: Option<PassCheck>,
}

impl Observer for Watch<'_> {
    fn stage(&mut self, stage: Stage) {
        self.stages.begin(stage.name());
    }

    fn layers(&self) -> &dyn Progress {
        self.stages
    }

    fn fallback(&mut self, fallback: &Fallback) {
        if !self.stages.quiet() {
            self.stages.tell(&warning(fallback));
        }
    }

    fn graph(&mut self, pass: &str, graph: &Graph) {
        provoke(self.compilation, pass, graph);
        self.dump.write(pass, || graph.to_string());
        if let Some(check) = &mut self.check {
            check.observe(pass, graph);
        }
    }
}

/// What is said of nodes that run on the host because they could not be compiled.
pub fn warning(fallback: &Fallback) -> String {
    let nodes: Vec<String> = fallback.nodes.iter().map(|n| format!("`{n}`")).collect();
    let (nodes, reason) = (nodes.join(", "), &fallback.reason);
    if fallback.is_fault {
        format!(
            "warning: {nodes} cannot be compiled for the array and runs on the host: {reason}; this is a fault of scnnc: \
             please report it with the model"
        )
    } else {
        format!("warning: {nodes} runs on the host: {reason}")
    }
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

/// Names the outputs that have as many values as there are.
fn warn_of_open(compiled: &Compiled, stages: &Stages) {
    if stages.quiet() {
        return;
    }
    for (name, node) in &compiled.graph.outputs {
        if compiled.graph.open.contains(name) {
            let dims = &compiled.graph.dag[*node].dims;
            stages.tell(&format!(
                "warning: the shape of the output `{name}` depends on data: each run hands on what there is, traffic is counted for {dims:?}"
            ));
        }
    }
}

/// Names the host's operators that tract runs and nobody has compared with another runtime.
fn warn_of_unverified(compiled: &Compiled, stages: &Stages) {
    let on_tract = compiled.host.policy() != Policy::OnnxRuntime;
    if stages.quiet() || !on_tract {
        return;
    }
    for (node, operator) in unverified(&compiled.graph) {
        stages.tell(&format!(
            "warning: `{node}` runs on tract, whose {operator} is verified against nothing; `--host onnxruntime` runs it on another runtime"
        ));
    }
}

/// Says so when nothing was given to calibrate on.
pub fn warn_of_noise(options: &Options, stages: &Stages) {
    if options.samples.inputs.is_empty() && options.calibration.is_none() && !stages.quiet() {
        stages.tell(
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
    let mut import = bindings::import_options(&compilation.bindings, &compilation.host)?;
    import.values.clone_from(imported.source.bound());
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
            Samples::new(&words[0], samples)
        }
        None => Samples::new("the inputs of this run", samples::spread(given, limit)),
    };
    let calibration = match &compilation.calibration {
        None => None,
        Some(file) => {
            let text = String::from_utf8_lossy(&output::read(file)?).into_owned();
            let read = Calibration::from_yaml(&text);
            Some(read.map_err(|e| Failure::yaml(CompilerCode::CalibrationFile, file, &text, &e))?)
        }
    };
    let options = Options {
        machine,
        mapping: mapping_options(compilation),
        mapping_file: match &compilation.mapping_file {
            None => None,
            Some(file) => Some(String::from_utf8_lossy(&output::read(file)?).into_owned()),
        },
        skipped: compilation.skip_pass.iter().cloned().collect(),
        quantise: quantise::Options {
            widths: widths::read(&compilation.bits)?,
            headroom: positive("--headroom", compilation.headroom)?,
            ranges: compilation.ranges.into(),
            sum_margin: positive("--sum-margin", Some(compilation.sum_margin))?.unwrap_or(1.0),
        },
        import,
        samples,
        method: compilation.calibration_method,
        calibration,
        pruning: None,
        seed: compilation.seed,
        allow_host_only: compilation.allow_host_only,
        no_host: compilation.no_host,
        host: compilation.host.runtimes(),
    };
    Ok((options, labels))
}

/// How mappings are found.
pub fn mapping_options(compilation: &Compilation) -> map::Options {
    map::Options {
        strategy: match compilation.mapping {
            Mapping::Paper => Strategy::Paper,
            Mapping::Search => Strategy::Search,
        },
        objective: compilation.objective,
    }
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

/// Writes the model or the graph after each pass, numbered.
struct Dump<'a> {
    folder: Option<&'a Path>,
    /// What stands in front of the number in the files' names.
    stage: &'static str,
    number: u32,
    failure: Option<Failure>,
}

impl<'a> Dump<'a> {
    fn of(compilation: &'a Compilation, stage: &'static str) -> Self {
        Self {
            folder: compilation.dump_ir.as_deref(),
            stage,
            number: 0,
            failure: None,
        }
    }

    fn write(&mut self, name: &str, text: impl FnOnce() -> String) {
        let Some(folder) = self.folder else { return };
        if self.failure.is_some() {
            return;
        }
        let file = format!("{}{:02}-{name}.txt", self.stage, self.number);
        let file = folder.join(file);
        self.number += 1;
        let result = output::folder(folder).and_then(|()| output::write(&file, text().as_bytes()));
        self.failure = result.err();
    }
}
