//! Densities by layer as YAML that people read and edit.

use super::pattern::Pattern;
use scnn_isa::yaml::{self, YamlError, YamlFault};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Densities by layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Densities {
    /// Which weights go.
    #[serde(default)]
    pub pattern: Pattern,
    /// Of every layer that is not named; absent: they stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<f64>,
    /// By ONNX node, or a part of its name; see [`crate::names`].
    #[serde(default)]
    pub layers: BTreeMap<String, f64>,
}

/// What stands above the densities in their file.
const HEAD: &str = "\
# Densities of weights, above 0 and at most 1, read by `--prune-file`. `default` is that of every layer that is not
# named; without it they stay as they are. `pattern` is unstructured, kernel, or N:M such as 2:4.
";

impl Densities {
    /// As YAML, with a head that explains it.
    ///
    /// # Errors
    /// A value that YAML cannot express.
    pub fn to_yaml(&self) -> Result<String, YamlError> {
        Ok(format!("{HEAD}{}", yaml::to_string(self)?))
    }

    /// Reads what [`Densities::to_yaml`] wrote, or a person.
    ///
    /// # Errors
    /// An unknown key, or a density that is none.
    pub fn from_yaml(text: &str) -> Result<Self, YamlError> {
        let densities: Self = yaml::from_str(text)?;
        let named = densities.layers.iter().map(|(name, d)| (name.as_str(), *d));
        for (name, density) in named.chain(densities.default.map(|d| ("default", d))) {
            if !is_density(density) {
                return Err(YamlError {
                    fault: YamlFault::Value,
                    message: format!("`{name}`: {density} is no density"),
                    place: None,
                    help: Some("densities are above 0 and at most 1".to_owned()),
                });
            }
        }
        Ok(densities)
    }
}

/// Whether something can be pruned to it.
pub fn is_density(density: f64) -> bool {
    density > 0.0 && density <= 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let densities = Densities {
            pattern: "2:4".parse().unwrap(),
            default: Some(0.5),
            layers: BTreeMap::from([("conv1".to_owned(), 0.75)]),
        };
        let text = densities.to_yaml().unwrap();
        assert_eq!(Densities::from_yaml(&text), Ok(densities));
    }

    #[test]
    fn slips_are_told() {
        let error = Densities::from_yaml("layer: {conv1: 0.5}\n").unwrap_err();
        assert_eq!(error.help.as_deref(), Some("did you mean `layers`?"));
        let error = Densities::from_yaml("layers: {conv1: 1.5}\n").unwrap_err();
        assert_eq!(error.message, "`conv1`: 1.5 is no density");
        assert!(Densities::from_yaml("pattern: 4:2\n").is_err());
    }
}
