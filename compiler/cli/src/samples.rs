//! Samples: one inference's inputs each, from files and folders.

use super::args::Pruning;
use super::failure::Failure;
use super::tensors;
use crate::codes::{Code, CompilerCode, DriverCode, IsaCode};
use scnn_isa::program::Program;
use scnn_isa::yaml::nearest;
use scnnc::compile::Sample;
use scnnc::import::{Given, Imported};
use scnnc::reference::accuracy::{Batch, floats};
use scnnc_driver::RunError;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tract_onnx::prelude::{Datum, Tensor};

/// An input of a model: name, element type, extents.
#[derive(Clone, Debug)]
pub struct Input {
    pub name: String,
    pub dtype: tract_onnx::prelude::DatumType,
    pub dims: Vec<u64>,
}

/// The inputs of a model or a program.
#[derive(Clone, Debug)]
pub struct Inputs {
    open: Vec<Input>,
    /// Inputs of the file that have become constants, with their values in the form of `--input-value`.
    bound: BTreeMap<String, String>,
}

impl std::ops::Deref for Inputs {
    type Target = [Input];

    fn deref(&self) -> &[Input] {
        &self.open
    }
}

/// The inputs of a model.
pub fn inputs_of(imported: &Imported) -> Inputs {
    let graph = &imported.graph;
    let inputs = graph.inputs.iter().map(|&id| &graph.dag[id]);
    let open = inputs.map(|node| Input {
        name: node.tensor.clone(),
        dtype: scnn_host::datum_type(node.dtype),
        dims: node.dims.clone(),
    });
    Inputs {
        open: open.collect(),
        bound: imported.source.bound().clone(),
    }
}

/// The inputs of a program.
pub fn inputs_of_program(program: &Program) -> Inputs {
    let inputs = program.inputs.iter().map(|&id| program.value(id));
    let open = inputs.map(|value| Input {
        name: value.name.clone(),
        dtype: scnn_host::datum_type(value.dtype),
        dims: value.shape.clone(),
    });
    let options = program.provenance.options.iter();
    let bound = options.filter_map(|option| {
        let pair = option.strip_prefix(BOUND)?.trim_start();
        let (name, value) = pair.rsplit_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    Inputs {
        open: open.collect(),
        bound: bound.collect(),
    }
}

/// Reads `[NAME=]FILE` inputs and cuts them into samples.
pub fn read_samples(words: &[String], inputs: &Inputs) -> Result<Vec<Sample>, Failure> {
    let mut found: BTreeMap<String, Vec<Tensor>> = BTreeMap::new();
    let mut left: Vec<String> = Vec::new();
    for word in words {
        let (name, file) = match word.split_once('=') {
            Some((name, file)) if inputs.knows(name) => (Some(name), file),
            Some((name, _)) if !Path::new(word).exists() => return Err(unknown(name, inputs)),
            _ => (None, word.as_str()),
        };
        let path = Path::new(file);
        if path.is_dir() && name.is_none() {
            return folder(path, inputs, usize::MAX);
        }
        let mut arrays = tensors::read(path)?;
        inputs.check_bound(name, &mut arrays)?;
        for input in inputs.iter() {
            let array = match name {
                None if inputs.len() == 1 && arrays.contains_key("") => arrays.remove(""),
                _ => take(&mut arrays, name, &input.name),
            };
            if let Some(array) = array {
                let samples = tensors::samples(&input.name, &array, &input.dims, input.dtype)?;
                found.insert(input.name.clone(), samples);
            }
        }
        left.extend(arrays.into_keys().filter(|name| !name.is_empty()));
    }
    let missing = inputs.iter().map(|input| input.name.as_str());
    let missing: Vec<&str> = missing.filter(|name| !found.contains_key(*name)).collect();
    if !missing.is_empty() {
        return Err(absent(&missing, &left));
    }
    in_step(&found)
}

/// Takes the array of an input out of a file's arrays. A file given for one input, `name`, may call its only array
/// otherwise.
fn take(arrays: &mut BTreeMap<String, Tensor>, name: Option<&str>, input: &str) -> Option<Tensor> {
    match name {
        Some(name) if name != input => None,
        Some(_) if arrays.len() == 1 => arrays.pop_first().map(|(_, array)| array),
        _ => arrays.remove(input),
    }
}

/// Cuts arrays of the caller's into samples; the array of a model's only input may have the empty name.
pub fn of_arrays(
    mut arrays: BTreeMap<String, Tensor>,
    inputs: &Inputs,
) -> Result<Vec<Sample>, Failure> {
    inputs.check_bound(None, &mut arrays)?;
    if let [input] = &**inputs
        && let Some(array) = arrays.remove("")
    {
        arrays.insert(input.name.clone(), array);
    }
    let mut found = BTreeMap::new();
    for (name, array) in &arrays {
        let input = inputs.iter().find(|input| input.name == *name);
        let input = input.ok_or_else(|| unknown(name, inputs))?;
        let samples = tensors::samples(name, array, &input.dims, input.dtype)?;
        found.insert(name.clone(), samples);
    }
    let names = inputs.iter().map(|input| input.name.as_str());
    let missing: Vec<&str> = names.filter(|name| !found.contains_key(*name)).collect();
    if !missing.is_empty() {
        return Err(absent(&missing, &[]));
    }
    in_step(&found)
}

impl Inputs {
    /// Images that one inference takes.
    pub fn batch(&self) -> Batch {
        Batch::of(self.open.iter().map(|input| input.dims.as_slice()))
    }

    /// Whether a file may be given for that name.
    fn knows(&self, name: &str) -> bool {
        self.bound.contains_key(name) || self.open.iter().any(|input| input.name == name)
    }

    /// Takes the arrays of inputs that have become constants away; refused if they hold another value. The file is meant
    /// for `name`, if for one.
    fn check_bound(
        &self,
        name: Option<&str>,
        arrays: &mut BTreeMap<String, Tensor>,
    ) -> Result<(), Failure> {
        for (input, value) in &self.bound {
            let array = take(arrays, name, input);
            if array.is_some_and(|array| !holds(&array, value)) {
                let remedy = if is_empty(value) {
                    "compile the model with the extents that are meant (`--dim`, `--shape`)"
                        .to_owned()
                } else {
                    let option = format!("`--input-value {input}=VALUE`");
                    format!("compile the model with {option} for the value that is meant")
                };
                return Err(Failure::input(
                    IsaCode::InputShape,
                    &format!(
                        "the input `{input}` is {} in this program, and something else in the array",
                        if is_empty(value) { "empty" } else { value }
                    ),
                    &remedy,
                ));
            }
        }
        Ok(())
    }
}

/// Word in front of `NAME=VALUE` in a program's provenance, for an input that has become a constant.
const BOUND: &str = "input-value";

/// Whether a value is the extents of an array that has none.
fn is_empty(value: &str) -> bool {
    value.starts_with('[')
}

/// Whether an array holds values with commas between them, any number of times, or is empty.
fn holds(array: &Tensor, values: &str) -> bool {
    if is_empty(values) {
        return array.len() == 0;
    }
    let number = |word: &str| match word.trim() {
        "true" => Some(1.0),
        "false" => Some(0.0),
        word => word.parse::<f64>().ok(),
    };
    let wanted: Option<Vec<f64>> = values.split(',').map(number).collect();
    let (Some(wanted), Ok(array)) = (wanted, array.cast_to::<f64>()) else {
        return false;
    };
    let Ok(view) = array.to_plain_array_view::<f64>() else {
        return false;
    };
    view.iter().zip(wanted.iter().cycle()).all(|(a, b)| a == b)
}

/// The samples of inputs; refused where one input has more of them than another.
fn in_step(found: &BTreeMap<String, Vec<Tensor>>) -> Result<Vec<Sample>, Failure> {
    refuse_unequal(found)?;
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

/// Most integers that are looked at before an array is cut into samples.
const SHORT: usize = 1 << 16;

/// Extents and constant values of the arrays in `[NAME=]FILE` inputs, by name; of a folder, of its first sample.
pub fn given(words: &[String]) -> Result<BTreeMap<String, Given>, Failure> {
    let mut all = BTreeMap::new();
    for word in words {
        let named = word.split_once('=').filter(|_| !Path::new(word).exists());
        let (name, file) = named.map_or((None, word.as_str()), |(name, file)| (Some(name), file));
        for path in first_files(Path::new(file))? {
            for (own, array) in tensors::read(&path)? {
                all.insert(name.unwrap_or(&own).to_owned(), known_of(&array));
            }
        }
    }
    Ok(all)
}

/// Extents of an array, and its value if it has only one, before it is cut into samples.
pub fn known_of(array: &Tensor) -> Given {
    Given {
        extents: array.shape().iter().map(|&extent| extent as u64).collect(),
        value: only_value(array),
        numbers: short_numbers(array),
    }
}

/// An array of not many integers or truths, or of one number: a threshold may decide how many boxes there are.
fn short_numbers(array: &Tensor) -> Option<Arc<Tensor>> {
    let kind = array.datum_type();
    let counts = kind.is_integer() || kind == bool::datum_type();
    let known = array.len() == 1 || counts && array.len() <= SHORT;
    known.then(|| Arc::new(array.clone()))
}

/// The integer or truth value that all elements of an array have.
fn only_value(array: &Tensor) -> Option<String> {
    let kind = array.datum_type();
    let truth = kind == bool::datum_type();
    if !(kind.is_integer() || truth) {
        return None;
    }
    let array = array.cast_to::<i64>().ok()?;
    let view = array.to_plain_array_view::<i64>().ok()?;
    let mut values = view.iter();
    let first = *values.next()?;
    values
        .all(|&value| value == first)
        .then(|| match (truth, first) {
            (false, value) => value.to_string(),
            (true, value) => (value != 0).to_string(),
        })
}

/// The files that hold the first sample: the path itself if it is a file, all inputs of an ONNX test set, the first file of
/// any other folder.
fn first_files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if is_test_set(path) {
        let is_input = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("input_")) && is_array_file(path)
        };
        return Ok(entries(path)?.into_iter().filter(is_input).collect());
    }
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut sources = entries(path)?.into_iter();
    match sources.find(|path| is_test_set(path) || is_array_file(path)) {
        Some(first) if first.is_dir() => first_files(&first),
        first => Ok(first.into_iter().collect()),
    }
}

/// Refuses inputs of which one has more samples than another.
fn refuse_unequal(found: &BTreeMap<String, Vec<Tensor>>) -> Result<(), Failure> {
    let counts: BTreeSet<usize> = found.values().map(Vec::len).collect();
    if counts.len() <= 1 {
        return Ok(());
    }
    let words = found.iter();
    let words: Vec<String> = words
        .map(|(name, samples)| format!("`{name}` has {}", samples.len()))
        .collect();
    Err(Failure::input(
        IsaCode::InputShape,
        &format!("the inputs differ in samples: {}", words.join(", ")),
        "give every input for every sample",
    ))
}

/// Inputs for which no file has an array; `others` are arrays that no input has the name of.
fn absent(missing: &[&str], others: &[String]) -> Failure {
    let plural = if missing.len() == 1 { "" } else { "s" };
    let mut message = format!(
        "there is no array for the input{plural} {}",
        missing.join(", ")
    );
    let mut help =
        "name the arrays of an .npz as the inputs, or give `--input NAME=FILE`".to_owned();
    if !others.is_empty() {
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        let _ = write!(message, "; the arrays are called {}", others.join(", "));
        let near = missing.iter().find_map(|name| {
            let near = nearest(name, others.iter().copied())?;
            Some(format!(
                "is `{near}` the input `{name}`? Rename it, or give `--input {name}=FILE`"
            ))
        });
        help = near.unwrap_or(help);
    }
    Failure::input(IsaCode::InputMissing, &message, &help)
}

fn unknown(name: &str, inputs: &[Input]) -> Failure {
    let names = || inputs.iter().map(|input| input.name.as_str());
    let help = nearest(name, names()).map_or_else(
        || format!("the inputs are {}", names().collect::<Vec<_>>().join(", ")),
        |nearest| format!("did you mean `{nearest}`?"),
    );
    Failure::input(
        IsaCode::UnknownName,
        &format!("there is no input `{name}`"),
        &help,
    )
}

/// At most `limit` of the samples, evenly spread.
pub fn spread(all: &[Sample], limit: usize) -> Vec<Sample> {
    let step = all.len().div_ceil(limit.max(1)).max(1);
    all.iter().step_by(step).cloned().collect()
}

/// Reads at most `limit` samples; of a folder, only the files that are needed for them.
pub fn read_spread(
    words: &[String],
    inputs: &Inputs,
    limit: usize,
) -> Result<Vec<Sample>, Failure> {
    match words {
        [word] if Path::new(word).is_dir() => folder(Path::new(word), inputs, limit),
        _ => Ok(spread(&read_samples(words, inputs)?, limit)),
    }
}

/// Samples and, if there are any, their classes.
pub struct Labelled {
    pub samples: Vec<Sample>,
    /// One for each image of the samples.
    pub labels: Option<Vec<usize>>,
}

/// Reads at most `limit` samples with their classes: from a file of their own, or the array `labels` beside them.
pub fn labelled(
    file: &Path,
    options: &Pruning,
    inputs: &Inputs,
    limit: usize,
) -> Result<Labelled, Failure> {
    let all = read_samples(&[file.display().to_string()], inputs)?;
    let batch = inputs.batch().images();
    let images = all.len() * batch;
    let labels = match &options.calibration_labels {
        Some(path) => Some(read_labels(path, images)?),
        None if file.is_file() && tensors::read(file)?.contains_key("labels") => {
            Some(read_labels(file, images)?)
        }
        None => None,
    };
    let step = all.len().div_ceil(limit).max(1);
    let of_samples = |labels: Vec<usize>| {
        let samples = labels.chunks(batch).step_by(step);
        samples.flatten().copied().collect()
    };
    Ok(Labelled {
        labels: labels.map(of_samples),
        samples: all.into_iter().step_by(step).collect(),
    })
}

/// The classes of `images` images: the array `labels` of a file, or its only one.
pub fn read_labels(path: &Path, images: usize) -> Result<Vec<usize>, Failure> {
    let mut arrays = tensors::read(path)?;
    let bad = |reason: &str| Failure::file(Code::BadArray, path, reason);
    let array = arrays
        .remove("labels")
        .or_else(|| {
            if arrays.len() == 1 {
                arrays.pop_first().map(|(_, a)| a)
            } else {
                None
            }
        })
        .ok_or_else(|| bad("there is no array `labels`"))?;
    let class = |value: f32| (value >= 0.0 && value.fract() == 0.0).then_some(value as usize);
    let labels = floats(&array).into_iter().map(|value| {
        let reason = || {
            bad(&format!(
                "{value} is no label: labels are whole numbers from 0"
            ))
        };
        class(value).ok_or_else(reason)
    });
    let labels: Vec<usize> = labels.collect::<Result<_, _>>()?;
    if labels.len() != images {
        let error = RunError::Labels {
            labels: labels.len(),
            images,
        };
        return Err(Failure::file(
            DriverCode::LabelCount,
            path,
            &error.to_string(),
        ));
    }
    Ok(labels)
}

/// The samples in a folder, in the natural order of its names: files of arrays with one sample or more each, or ONNX
/// test sets (`input_0.pb`, `input_1.pb`, ...) in it or in folders in it.
fn folder(folder: &Path, inputs: &Inputs, limit: usize) -> Result<Vec<Sample>, Failure> {
    let mut sources = if is_test_set(folder) {
        vec![folder.to_owned()]
    } else {
        entries(folder)?
    };
    sources.retain(|path| is_test_set(path) || is_array_file(path));
    if sources.is_empty() {
        return Err(Failure::file(
            IsaCode::InputMissing,
            folder,
            "the folder has neither files of arrays nor ONNX test sets",
        ));
    }
    let step = sources.len().div_ceil(limit.max(1));
    let mut samples = Vec::new();
    for source in sources.iter().step_by(step) {
        if source.is_dir() {
            samples.extend(test_set(source, inputs)?);
        } else {
            samples.extend(read_samples(&[source.display().to_string()], inputs)?);
        }
    }
    Ok(spread(&samples, limit))
}

fn is_test_set(path: &Path) -> bool {
    path.join("input_0.pb").is_file()
}

fn is_array_file(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str());
    path.is_file() && extension.is_some_and(|e| tensors::EXTENSIONS.contains(&e))
}

/// The inputs of one ONNX test set: by the names in the tensors, or by number where these are no inputs.
fn test_set(folder: &Path, inputs: &Inputs) -> Result<Vec<Sample>, Failure> {
    let mut words = Vec::new();
    for (number, input) in inputs.iter().enumerate() {
        let path = folder.join(format!("input_{number}.pb"));
        let arrays = tensors::read(&path)?;
        let named = arrays.keys().next().map_or("", |name| name);
        let name = inputs
            .iter()
            .find(|input| input.name == named)
            .map_or(&input.name, |input| &input.name);
        words.push(format!("{name}={}", path.display()));
    }
    read_samples(&words, inputs)
}

/// What a folder holds, in natural order.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |e: std::io::Error| {
        let reason = format!("the folder cannot be read: {e}");
        Failure::file(CompilerCode::CannotRead, folder, &reason)
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort_by_cached_key(|path| {
        natural(&path.file_name().unwrap_or_default().to_string_lossy())
    });
    Ok(paths)
}

/// A key that sorts `a10` behind `a9`: runs of digits count as numbers.
fn natural(name: &str) -> Vec<(u64, String)> {
    let mut parts: Vec<(u64, String)> = Vec::new();
    let mut digits = false;
    for letter in name.chars() {
        if letter.is_ascii_digit() {
            let digit = u64::from(letter as u32 - '0' as u32);
            match parts.last_mut() {
                Some((number, _)) if digits => {
                    *number = number.saturating_mul(10).saturating_add(digit);
                }
                _ => parts.push((digit, String::new())),
            }
            digits = true;
        } else {
            match parts.last_mut() {
                Some((_, text)) => text.push(letter),
                None => parts.push((0, letter.to_string())),
            }
            digits = false;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn names_with_numbers_are_in_the_order_of_the_numbers() {
        let mut names = ["set_10", "set_9", "b", "set_1.npy", "a2", "a10"];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names, ["a2", "a10", "b", "set_1.npy", "set_9", "set_10"]);
    }
}
