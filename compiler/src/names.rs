//! Names that people write, found among the names of a model.
//!
//! Exporters give long names, `/layer1/conv2/Conv`; a person may write any part between slashes that says which one
//! is meant, `conv2`.

use scnn_isa::yaml::nearest;
use thiserror::Error;

/// A name that means nothing, or more than one thing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// There is nothing of that name.
    #[error("there is no layer `{name}`")]
    Unknown {
        /// The name.
        name: String,
        /// The nearest name there is.
        nearest: Option<String>,
        /// All names there are.
        known: Vec<String>,
    },
    /// Several are called so in part.
    #[error("`{name}` may be any of {}", candidates.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// What it may be.
        candidates: Vec<String>,
    },
}

impl NameError {
    /// What to do.
    pub fn help(&self) -> String {
        match self {
            Self::Unknown {
                nearest: Some(nearest),
                ..
            } => format!("did you mean `{nearest}`?"),
            Self::Unknown { known, .. } => format!("the layers are {}", known.join(", ")),
            Self::Ambiguous { .. } => "write the whole name".to_owned(),
        }
    }
}

impl NameError {
    /// Nothing of `entries` is called `wanted`.
    pub fn unknown<T>(wanted: &str, entries: &[(&str, T)]) -> Self {
        let names = entries.iter().map(|(name, _)| *name);
        let parts = names.clone().flat_map(|name| name.split('/'));
        let all = names.clone().chain(parts).filter(|part| !part.is_empty());
        Self::Unknown {
            name: wanted.to_owned(),
            nearest: nearest(wanted, all).map(str::to_owned),
            known: names.map(str::to_owned).collect(),
        }
    }
}

/// What `wanted` names: an entry of that very name, or the only one with it as a part between slashes.
///
/// Several entries may stand for the same thing, as the nodes of a fused layer do.
///
/// # Errors
/// Nothing is called so, or several things are.
pub fn resolve<T: Copy + PartialEq>(wanted: &str, entries: &[(&str, T)]) -> Result<T, NameError> {
    if let Some((_, thing)) = entries.iter().find(|(name, _)| *name == wanted) {
        return Ok(*thing);
    }
    let mut found: Vec<(&str, T)> = Vec::new();
    for &(name, thing) in entries {
        let is_part = name.split('/').any(|part| part == wanted);
        if is_part && found.iter().all(|(_, other)| *other != thing) {
            found.push((name, thing));
        }
    }
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    match found.as_slice() {
        [(_, thing)] => Ok(*thing),
        [] => Err(NameError::unknown(wanted, entries)),
        several => Err(NameError::Ambiguous {
            name: wanted.to_owned(),
            candidates: owned(several.iter().map(|(name, _)| *name).collect()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: &[(&str, u32)] = &[
        ("/block1/conv1/Conv", 0),
        ("/block1/conv1/Relu", 0),
        ("/block1/conv2/Conv", 1),
        ("fc", 2),
    ];

    #[test]
    fn a_part_between_slashes_is_enough_when_it_means_one_thing() {
        assert_eq!(resolve("conv1", ENTRIES), Ok(0));
        assert_eq!(resolve("/block1/conv2/Conv", ENTRIES), Ok(1));
        assert_eq!(resolve("fc", ENTRIES), Ok(2));
        let error = resolve("block1", ENTRIES).unwrap_err();
        assert!(matches!(error, NameError::Ambiguous { candidates, .. } if candidates.len() == 2));
    }

    #[test]
    fn a_slip_gets_the_nearest_name() {
        let error = resolve("conv3", ENTRIES).unwrap_err();
        assert_eq!(error.help(), "did you mean `conv1`?");
    }
}
