//! The specification of a sweep: a YAML file that says which models, which settings vary, and which points are wanted.
//!
//! ```yaml
//! models:
//!   - {file: net.onnx, input: images.npz}
//! base: {machine: scnn, fidelity: exact}     # settings of every point
//! grid:                                      # every combination
//!   pe.banks: [16, 32, 64]
//!   array.rows: {from: 2, to: 8, factor: 2}
//! list:                                      # beside each of these
//!   - {mapping: paper}
//!   - {mapping: search, objective: energy}
//! where:                                     # points that are kept
//!   - pe.banks * pe.entries_per_bank <= 1024
//! ```
//!
//! A setting is a parameter of the machine, by its path, or one of [`OPTIONS`].

use super::sampling::Sampling;
use scnn_isa::yaml::{self, YamlError};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::marker::PhantomData;

/// Settings that are no parameters of the machine. `dim.NAME` besides is the value of an open dimension of the model.
pub const OPTIONS: [&str; 7] = [
    "machine",
    "mapping",
    "objective",
    "bits",
    "prune",
    "samples",
    "fidelity",
];

/// What `dim.NAME` begins with.
pub const DIMENSION: &str = "dim.";

/// A value of a setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// `true` or `false`.
    Truth(bool),
    /// A whole number.
    Whole(i64),
    /// Another number.
    Real(f64),
    /// Anything else.
    Word(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truth(value) => write!(f, "{value}"),
            Self::Whole(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value}"),
            Self::Word(value) => f.write_str(value),
        }
    }
}

/// A map in the order of the file, each key once.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordered<T>(pub Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Ordered<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of settings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
                let mut entries: Vec<(String, T)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    if entries.iter().any(|(known, _)| *known == name) {
                        let twice = format!("the setting `{name}` stands here twice");
                        return Err(serde::de::Error::custom(twice));
                    }
                    entries.push((name, value));
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// The settings of a point.
pub type Settings = Ordered<Value>;

impl Settings {
    /// The value of a setting.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    }

    /// The same with the settings of another, which win.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut all = self.clone();
        for (name, value) in &other.0 {
            match all.0.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => *old = value.clone(),
                None => all.0.push((name.clone(), value.clone())),
            }
        }
        all
    }
}

/// Values of a setting that varies.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// One after the other.
    List(Vec<Value>),
    /// Between two ends.
    Range(Range),
}

/// Values between two ends, both included: in steps, or each `factor` times the one before. A sampled setting may have
/// neither, and is a whole number then where both ends are.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The first.
    pub from: Value,
    /// The last.
    pub to: Value,
    /// Difference of neighbours.
    pub step: Option<Value>,
    /// Quotient of neighbours.
    pub factor: Option<Value>,
}

/// A model, and the inputs that it is calibrated and run on.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The ONNX file, relative to the specification.
    pub file: String,
    /// Name in tables; the file's without its extension otherwise.
    pub name: Option<String>,
    /// Inputs, as of `scnnc run --input`; seeded noise otherwise.
    pub input: Option<String>,
    /// Inputs to calibrate on, if not on those.
    pub calibrate: Option<String>,
    /// The class of every image of `input`, as of `scnnc run --labels`: points that are executed have their accuracy.
    pub labels: Option<String>,
}

/// A specification.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Models; every point is measured with each.
    pub models: Vec<ModelSpec>,
    /// Settings of every point that do not vary.
    #[serde(default)]
    pub base: Settings,
    /// Settings of which every combination is a point.
    #[serde(default)]
    pub grid: Ordered<Values>,
    /// Settings that vary together.
    #[serde(default)]
    pub list: Vec<Settings>,
    /// Settings that are sampled.
    pub sample: Option<Sampling>,
    /// What holds for every point that is kept.
    #[serde(default, rename = "where")]
    pub constraints: Vec<String>,
}

impl Spec {
    /// Reads a specification.
    ///
    /// # Errors
    /// What is not of this form, with line and column.
    pub fn read(text: &str) -> Result<Self, YamlError> {
        yaml::from_str(text)
    }

    /// The settings that vary, in the order of the file, each once.
    pub fn axes(&self) -> Vec<&str> {
        let listed = self.list.iter().flat_map(|settings| &settings.0);
        let listed = listed.map(|(name, _)| name.as_str());
        let grid = self.grid.0.iter().map(|(name, _)| name.as_str());
        let sampled = self.sample.iter().flat_map(|sample| &sample.axes.0);
        let sampled = sampled.map(|(name, _)| name.as_str());
        let mut axes: Vec<&str> = Vec::new();
        for name in listed.chain(grid).chain(sampled) {
            if !axes.contains(&name) {
                axes.push(name);
            }
        }
        axes
    }

    /// Every setting that is named, varying or not.
    pub fn names(&self) -> Vec<&str> {
        let base = self.base.0.iter().map(|(name, _)| name.as_str());
        base.chain(self.axes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_keeps_its_order_and_refuses_a_second_value() {
        let read = |text| yaml::from_str::<Settings>(text);
        let settings = read("pe.banks: 64\narray.rows: 4\nmapping: paper\n").unwrap();
        let names: Vec<&str> = settings.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["pe.banks", "array.rows", "mapping"]);
        assert_eq!(settings.get("mapping"), Some(&Value::Word("paper".into())));
        let error = read("pe.banks: 64\npe.banks: 32\n").unwrap_err();
        assert!(error.message.contains("twice"), "{error}");
    }

    #[test]
    fn an_unknown_part_of_a_specification_is_refused_with_its_line() {
        let error = Spec::read("models: []\ngird: {}\n").unwrap_err();
        assert_eq!(error.place, Some((2, 1)));
        assert_eq!(error.help.as_deref(), Some("did you mean `grid`?"));
    }
}
