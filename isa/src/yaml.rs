//! YAML in and out: the only module of the project that names `serde_yaml`.
//!
//! `serde_yaml` is archived upstream; `serde_yaml_ng`, or `serde-saphyr` with an adapter for [`YamlError`], would
//! replace it here without touching anything else.

use crate::diagnostic::{CodeEntry, Diagnostic, Place};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use thiserror::Error;

/// Longest text that is read, in bytes: YAML files here are written by people.
pub const MAX_BYTES: usize = 16 << 20;

/// Kinds of faults of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum YamlFault {
    /// No YAML, or YAML of another form.
    Form,
    /// A key that is not known.
    UnknownKey,
    /// A value that is not one of those allowed.
    Value,
}

/// Why a text is not the value that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct YamlError {
    /// Kind of the fault.
    pub fault: YamlFault,
    /// The fault, with the path to it.
    pub message: String,
    /// Line and column, from 1, where known.
    pub place: Option<(usize, usize)>,
    /// Remedy.
    pub help: Option<String>,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "line {line}, column {column}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Reads a value.
///
/// # Errors
/// Anything that is not exactly such a value; unknown keys come with the nearest known one.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    if text.len() > MAX_BYTES {
        let message = format!(
            "the text has {} bytes; at most {MAX_BYTES} are read",
            text.len()
        );
        return Err(YamlError {
            fault: YamlFault::Form,
            message,
            place: None,
            help: None,
        });
    }
    serde_yaml::from_str(text).map_err(|error| {
        let place = error.location().map(|at| (at.line(), at.column()));
        let full = error.to_string();
        let message = full.split(" at line ").next().unwrap_or(&full).to_owned();
        YamlError {
            fault: fault(&message),
            help: suggestion(&message),
            message,
            place,
        }
    })
}

/// Writes a value.
///
/// # Errors
/// A value that YAML cannot express, such as a map with structured keys.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, YamlError> {
    serde_yaml::to_string(value).map_err(|e| YamlError {
        fault: YamlFault::Form,
        message: e.to_string(),
        place: None,
        help: None,
    })
}

/// The nearest of `candidates` to `name`, when it is near enough to be a slip.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance * 3 <= candidate.len().max(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Words that the errors of values out of range have in common: [`out_of_range`] writes them.
const EXPECTED: &str = " is expected";

/// The message of a value that is not one of those allowed.
pub(crate) fn out_of_range(found: &str, allowed: &str) -> String {
    format!("{found} where {allowed}{EXPECTED}")
}

/// The kind of an error of serde's, which tells errors as text alone: here, and nowhere else, the text is read.
fn fault(message: &str) -> YamlFault {
    if message.contains("unknown field") {
        YamlFault::UnknownKey
    } else if message.contains(EXPECTED) {
        YamlFault::Value
    } else {
        YamlFault::Form
    }
}

impl YamlError {
    /// As a diagnostic about `text`, which is the file `file`.
    pub fn diagnostic(&self, code: impl Into<CodeEntry>, file: &str, text: &str) -> Diagnostic {
        let mut diagnostic = Diagnostic::of_file(code, file, &self.message);
        diagnostic.help = self.help.clone().or(diagnostic.help);
        if let (Some((line, column)), Some(location)) = (self.place, &mut diagnostic.location) {
            let text = text.lines().nth(line.saturating_sub(1));
            location.place = Place::Line {
                line,
                column,
                text: text.unwrap_or_default().to_owned(),
            };
        }
        diagnostic
    }
}

/// Turns "unknown field `x`, expected one of `a`, `b`" into a did-you-mean.
pub(crate) fn suggestion(message: &str) -> Option<String> {
    let (_, rest) = message
        .split_once("unknown field ")
        .or_else(|| message.split_once("unknown variant "))?;
    let mut names = rest.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    let known: Vec<&str> = names.collect();
    Some(match nearest(unknown, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("the keys here are {}", known.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)] // Only its reading is tested.
    struct Sample {
        rows: u32,
        cols: u32,
    }

    #[test]
    fn an_unknown_key_gets_its_line_and_the_nearest_key() {
        let error = from_str::<Sample>("cols: 8\nrosw: 8\n").unwrap_err();
        assert_eq!(error.place, Some((2, 1)));
        assert_eq!(error.help.as_deref(), Some("did you mean `rows`?"));
    }

    #[test]
    fn a_key_like_no_other_gets_the_list() {
        let error = from_str::<Sample>("zzzzzz: 8\n").unwrap_err();
        assert_eq!(error.help.as_deref(), Some("the keys here are rows, cols"));
    }
}
