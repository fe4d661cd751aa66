//! What points are measured on: a model with its inputs, open dimensions and pruning; hashed by content, loaded once.

use crate::args::{HostChoice, Runtime};
use crate::build::{inputs_of, read_samples};
use crate::codes::CompilerCode;
use crate::failure::Failure;
use crate::{output, prune, samples};
use scnn_isa::machine::Machine;
use scnnc::compile::{self, Samples};
use scnnc::import::{ImportOptions, import};
use scnnc::normalise::external_files;
use scnnc::prune::budget::Judge;
use scnnc::prune::{self as pruning, Pattern, Target};
use scnnc_driver::sweep::{DIMENSION, Failed, ModelSpec, Settings, Subject};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Samples to calibrate on at most, as for `run`.
const CALIBRATION_SAMPLES: usize = 16;

/// A model, and what points have it measured with.
#[derive(Clone, Debug, PartialEq)]
pub struct SubjectKey {
    /// Name in tables.
    pub name: String,
    model: PathBuf,
    input: Option<PathBuf>,
    calibrate: Option<PathBuf>,
    labels: Option<PathBuf>,
    dims: BTreeMap<String, u64>,
    samples: usize,
    density: Option<f64>,
}

/// The name of a model in tables.
pub fn name_of(model: &ModelSpec) -> String {
    let stem = Path::new(&model.file).file_stem();
    let stem = stem.map(|stem| stem.to_string_lossy().into_owned());
    let name = model.name.clone().or(stem);
    name.unwrap_or_else(|| model.file.clone())
}

impl SubjectKey {
    /// Of a model of the specification in `folder`, at a point.
    pub fn of(
        folder: &Path,
        model: &ModelSpec,
        settings: &Settings,
        samples: usize,
        density: Option<f64>,
    ) -> Self {
        let path = folder.join(&model.file);
        let dims = settings.0.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(DIMENSION)?;
            Some((name.to_owned(), value.to_string().parse().ok()?))
        });
        Self {
            name: name_of(model),
            input: model.input.as_ref().map(|file| folder.join(file)),
            calibrate: model.calibrate.as_ref().map(|file| folder.join(file)),
            labels: model.labels.as_ref().map(|file| folder.join(file)),
            model: path,
            dims: dims.collect(),
            samples,
            density,
        }
    }

    /// What of it decides an outcome: contents, not names.
    pub fn decides(&self, files: &mut FileHashes) -> Result<Value, Failure> {
        let model = files.hash_model(&self.model)?;
        let mut hash =
            |path: &Option<PathBuf>| path.as_ref().map(|path| files.hash(path)).transpose();
        Ok(json!({
            "model": model,
            "input": hash(&self.input)?,
            "calibrate": hash(&self.calibrate)?,
            "labels": hash(&self.labels)?,
            "dims": self.dims,
            "samples": self.samples,
            "prune": self.density,
        }))
    }

    /// Imports, prunes and reads it.
    pub fn load(&self) -> Result<Subject, Failed> {
        let host = HostChoice {
            runtime: Runtime::Auto,
            host_library: None,
        };
        let import_options = ImportOptions {
            dims: self.dims.clone(),
            host: host.runtimes(),
            ..ImportOptions::default()
        };
        let imported =
            import(&self.model, &import_options).map_err(|e| Failed::first(&e.diagnostics("")))?;
        let inputs = inputs_of(&imported);
        let word = |path: &PathBuf| [path.display().to_string()];
        let mut given = match &self.input {
            None => Vec::new(),
            Some(path) => read_samples(&word(path), &inputs).map_err(failed)?,
        };
        let images = inputs.batch().images();
        let labels = match &self.labels {
            None => None,
            Some(path) => {
                let read = samples::read_labels(path, given.len() * images);
                let mut labels = read.map_err(failed)?;
                labels.truncate(self.samples * images);
                Some(labels)
            }
        };
        given.truncate(self.samples);
        let mut options =
            compile::Options::new(Machine::preset("scnn").expect("a preset is there"));
        options.import = import_options;
        options.host = host.runtimes();
        options.samples = match &self.calibrate {
            None => Samples::new(
                "the inputs of this run",
                samples::spread(&given, CALIBRATION_SAMPLES),
            ),
            Some(path) => {
                let words = word(path);
                let read =
                    samples::read_spread(&words, &inputs, CALIBRATION_SAMPLES).map_err(failed)?;
                Samples::new(&words[0], read)
            }
        };
        let mut subject = Subject {
            imported,
            options,
            samples: given,
            labels,
        };
        if let Some(density) = self.density {
            prune_subject(&mut subject, density)?;
        }
        Ok(subject)
    }
}

fn prune_subject(subject: &mut Subject, density: f64) -> Result<(), Failed> {
    let request = pruning::Options {
        pattern: Pattern::default(),
        target: Target::Density(density),
    };
    let judge = Judge {
        samples: &compile::samples(&subject.imported.graph, &subject.options),
        labels: None,
        integer: &|_| Err("a density asks for no judgement".to_owned()),
    };
    let pruned = pruning::prune(&subject.imported, &request, &judge, &mut |_, _| ());
    let (imported, pruned) = pruned.map_err(|e| Failed::first(&e.diagnostics("")))?;
    subject.options.pruning = Some(prune::words(&request, &pruned));
    subject.imported = imported;
    Ok(())
}

/// A failure of reading, as the outcome of every point that needs what was read.
pub fn failed(failure: Failure) -> Failed {
    match failure {
        Failure::Refused(diagnostics) => Failed::first(&diagnostics),
        Failure::Check(diagnostic) | Failure::Nothing(diagnostic) => Failed::first(&[*diagnostic]),
        Failure::Usage(message) => Failed {
            code: CompilerCode::CannotRead.entry().code.to_owned(),
            message,
        },
    }
}

/// Hashes of files, each read once, and of the compiler itself.
pub struct FileHashes {
    /// Version of scnnc, and the hash of its code: who changes the compiler measures anew.
    pub version: String,
    hashes: BTreeMap<PathBuf, String>,
    /// By model, the files that it names.
    external: BTreeMap<PathBuf, BTreeSet<String>>,
}

impl FileHashes {
    /// `code` is the file that holds this code.
    pub fn new(code: Option<&Path>) -> Result<Self, Failure> {
        let mut files = Self {
            version: String::new(),
            hashes: BTreeMap::new(),
            external: BTreeMap::new(),
        };
        let hash = match code {
            Some(path) => files.hash(path)?,
            // Where the system does not tell, the version has to do.
            None => String::new(),
        };
        files.version = format!("scnnc {} {hash}", env!("CARGO_PKG_VERSION"));
        Ok(files)
    }

    /// The hashes of a model's file and of the external files that it names. A file that cannot be read is left out: the
    /// import of the model will fail and name it.
    fn hash_model(&mut self, path: &Path) -> Result<Vec<String>, Failure> {
        let mut hashes = vec![self.hash(path)?];
        let known = self.external.get(path).cloned();
        let external = known.unwrap_or_else(|| external_files(path).unwrap_or_default());
        let folder = path.parent().unwrap_or(Path::new(""));
        for name in &external {
            hashes.extend(self.hash(&folder.join(name)).ok());
        }
        self.external.insert(path.to_owned(), external);
        Ok(hashes)
    }

    /// The hash of a file, or of a folder's files with their names.
    fn hash(&mut self, path: &Path) -> Result<String, Failure> {
        if let Some(known) = self.hashes.get(path) {
            return Ok(known.clone());
        }
        let mut hasher = blake3::Hasher::new();
        if path.is_dir() {
            for file in files_in(path)? {
                let name = file.strip_prefix(path).unwrap_or(&file).to_string_lossy();
                hasher.update(name.as_bytes());
                hasher.update(self.hash(&file)?.as_bytes());
            }
        } else {
            hasher.update(&output::read(path)?);
        }
        let hash = hasher.finalize().to_hex().to_string();
        self.hashes.insert(path.to_owned(), hash.clone());
        Ok(hash)
    }
}

/// The files and folders of a folder, by name.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |e: std::io::Error| {
        Failure::file(
            CompilerCode::CannotRead,
            folder,
            &format!("cannot be read: {e}"),
        )
    };
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let entries = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut files: Vec<PathBuf> = entries.collect::<Result<_, _>>().map_err(failed)?;
    files.sort();
    Ok(files)
}
