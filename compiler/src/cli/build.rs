//! `compile`, and the compilation that `run` begins with.

use super::args::{Compilation, Compile, Mapping};
use super::failure::Failure;
use super::{machine, output, tensors};
use scnn_isa::diagnostic::Code;
use scnn_isa::machine::Machine;
use scnnc::compile::{self, Compiled, Options};
use scnnc::graph::Graph;
use scnnc::import::{ImportOptions, Imported, import};
use scnnc::map::Strategy;
use scnnc::quantise;
use std::collections::BTreeMap;
use std::path::Path;
use tract_onnx::prelude::Tensor;

/// One inference's inputs by name.
pub type Sample = BTreeMap<String, Tensor>;

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
    build_on(path, imported, compilation, samples, machine)
}

/// The same for another machine than the options name.
pub fn build_on(
    path: &Path,
    imported: Imported,
    compilation: &Compilation,
    samples: &[Sample],
    machine: Machine,
) -> Result<Compiled, Failure> {
    let options = options(&imported, compilation, samples, machine)?;
    let mut dump = Dump {
        folder: compilation.dump_ir.as_deref(),
        number: 0,
        failure: None,
    };
    let result = compile::compile_imported(imported, &options, &mut |name, graph| {
        dump.write(name, graph);
    });
    if let Some(failure) = dump.failure {
        return Err(failure);
    }
    let compiled = result.map_err(|error| Failure::compile(path, &error))?;
    if options.samples.1.is_empty() && compilation.calibration.is_none() && !compilation.quiet {
        anstream::eprintln!(
            "warning: activation ranges are calibrated on seeded noise; `--calibrate FILE` with real inputs is better"
        );
    }
    if let Some(file) = &compilation.save_calibration {
        let text = scnn_isa::yaml::to_string(&compiled.calibration)
            .map_err(|e| Failure::file(Code::CannotWrite, file, &e.to_string()))?;
        output::write(file, text.as_bytes())?;
    }
    Ok(compiled)
}

fn options(
    imported: &Imported,
    compilation: &Compilation,
    samples: &[Sample],
    machine: Machine,
) -> Result<Options, Failure> {
    let dims = dims(&compilation.dims)?;
    let limit = compilation.calibration_samples.max(1);
    let spread = |all: &[Sample]| -> Vec<Sample> {
        let step = all.len().div_ceil(limit).max(1);
        all.iter().step_by(step).cloned().collect()
    };
    let samples = match &compilation.calibrate {
        Some(file) => {
            let all = read_samples(&[file.display().to_string()], &inputs_of(imported))?;
            (file.display().to_string(), spread(&all))
        }
        None => ("the inputs of this run".to_owned(), spread(samples)),
    };
    let calibration = match &compilation.calibration {
        None => None,
        Some(file) => {
            let text = String::from_utf8_lossy(&output::read(file)?).into_owned();
            let read = scnn_isa::yaml::from_str(&text)
                .map_err(|e| Failure::file(Code::CalibrationMissing, file, &e.to_string()))?;
            Some(read)
        }
    };
    Ok(Options {
        machine,
        strategy: match compilation.mapping {
            Mapping::Paper => Strategy::Paper,
        },
        quantise: quantise::Options {
            bits: compilation.bits,
            headroom: compilation.headroom,
        },
        dims,
        samples,
        calibration,
        seed: compilation.seed,
        allow_host_only: compilation.allow_host_only,
    })
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

/// An input of a model: name, element type, extents.
#[derive(Clone, Debug)]
pub struct Input {
    pub name: String,
    pub dtype: tract_onnx::prelude::DatumType,
    pub dims: Vec<u64>,
}

/// The inputs of a model.
pub fn inputs_of(imported: &Imported) -> Vec<Input> {
    let graph = &imported.graph;
    let inputs = graph.inputs.iter().map(|&id| &graph.dag[id]);
    inputs
        .map(|node| Input {
            name: node.tensor.clone(),
            dtype: scnnc::calibrate::datum_type(node.dtype),
            dims: node.dims.clone(),
        })
        .collect()
}

/// Reads `[NAME=]FILE` inputs and cuts them into samples.
pub fn read_samples(words: &[String], inputs: &[Input]) -> Result<Vec<Sample>, Failure> {
    let mut found: BTreeMap<String, Vec<Tensor>> = BTreeMap::new();
    for word in words {
        let (name, file) = match word.split_once('=') {
            Some((name, file)) if inputs.iter().any(|input| input.name == name) => {
                (Some(name), file)
            }
            _ => (None, word.as_str()),
        };
        let path = Path::new(file);
        let mut arrays = tensors::read(path)?;
        let only = (inputs.len() == 1 && arrays.len() == 1).then(|| inputs[0].name.clone());
        for input in inputs {
            let array = match name {
                Some(name) if name != input.name => None,
                Some(_) => arrays.pop_first().map(|(_, array)| array),
                None if only.as_ref() == Some(&input.name) => {
                    arrays.pop_first().map(|(_, array)| array)
                }
                None => arrays.remove(&input.name),
            };
            if let Some(array) = array {
                let samples = tensors::samples(&input.name, &array, &input.dims, input.dtype)?;
                found.insert(input.name.clone(), samples);
            }
        }
    }
    let missing: Vec<&str> = inputs
        .iter()
        .filter(|input| !found.contains_key(&input.name))
        .map(|input| input.name.as_str())
        .collect();
    if !missing.is_empty() {
        return Err(Failure::input(
            Code::InputMissing,
            &format!(
                "there is no array for the input{} {}",
                if missing.len() == 1 { "" } else { "s" },
                missing.join(", ")
            ),
            "name the arrays of an .npz as the inputs, or give `--input NAME=FILE`",
        ));
    }
    let count = found.values().map(Vec::len).min().unwrap_or(0);
    Ok((0..count)
        .map(|i| {
            found
                .iter()
                .map(|(name, samples)| (name.clone(), samples[i].clone()))
                .collect()
        })
        .collect())
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
