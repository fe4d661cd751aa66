//! `--dim`, `--shape` and `--input-value`: what a file leaves open of its inputs.

use super::args::{Bindings, HostChoice};
use super::failure::Failure;
use scnnc::import::ImportOptions;
use std::collections::BTreeMap;

/// The options as the importer takes them.
pub fn import_options(bindings: &Bindings, host: &HostChoice) -> Result<ImportOptions, Failure> {
    let dims = pairs(
        "--dim",
        &bindings.dims,
        "NAME=VALUE with a value from 0, which makes an input empty",
        extent,
    )?;
    let numbers = |text: &str| text.split(',').map(extent).collect();
    let shapes = "INPUT=N,N,… with a number from 0 for each dimension";
    let shapes = pairs("--shape", &bindings.shapes, shapes, numbers)?;
    let value = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let values = "INPUT=VALUE, with commas between several values";
    let values = pairs("--input-value", &bindings.input_values, values, value)?;
    Ok(ImportOptions {
        dims,
        shapes,
        values,
        arrays: BTreeMap::new(),
        host: host.runtimes(),
    })
}

fn extent(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Options of the form `NAME=VALUE`, each name once.
fn pairs<T>(
    option: &str,
    words: &[String],
    form: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<BTreeMap<String, T>, Failure> {
    let mut pairs = BTreeMap::new();
    for word in words {
        // Names may hold the sign, values do not.
        let pair = word.rsplit_once('=').filter(|(name, _)| !name.is_empty());
        let value = pair.and_then(|(name, value)| Some((name, parse(value)?)));
        let (name, value) =
            value.ok_or_else(|| Failure::usage(&format!("`{option} {word}`: give {form}")))?;
        if pairs.insert(name.to_owned(), value).is_some() {
            return Err(Failure::usage(&format!(
                "`{option}` gives `{name}` two values"
            )));
        }
    }
    Ok(pairs)
}
