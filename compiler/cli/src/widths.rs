//! `--bits`: widths of operands from words and files.

use super::failure::Failure;
use super::output;
use crate::codes::CompilerCode;
use scnnc::widths::{OperandBits, Widths};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A file of widths.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Of every layer that is not named.
    network: Option<OperandBits>,
    /// By name.
    #[serde(default)]
    layers: BTreeMap<String, OperandBits>,
}

/// Reads `8`, `w8a16`, `conv1=8` and names of YAML files; what comes later wins.
pub fn read(words: &[String]) -> Result<Widths, Failure> {
    let mut widths = Widths::default();
    for word in words {
        let path = Path::new(word);
        let is_file = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_file {
            let text = String::from_utf8_lossy(&output::read(path)?).into_owned();
            let file: File = scnn_isa::yaml::from_str(&text)
                .map_err(|e| Failure::yaml(CompilerCode::WidthsFile, path, &text, &e))?;
            widths.network = file.network.or(widths.network);
            widths.layers.extend(file.layers);
            continue;
        }
        // Names may hold `=`; widths do not.
        let (layer, bits) = match word.rsplit_once('=') {
            Some((layer, bits)) => (Some(layer), bits),
            None => (None, word.as_str()),
        };
        let bits: OperandBits = bits
            .parse()
            .map_err(|e| Failure::usage(&format!("`--bits {word}`: {e}")))?;
        match layer {
            Some(layer) => drop(widths.layers.insert(layer.to_owned(), bits)),
            None => widths.network = Some(bits),
        }
    }
    Ok(widths)
}
