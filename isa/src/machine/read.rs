//! From machine files to machines: presets, inheritance, and what only the parameters together can get wrong.

use super::{BankMap, Machine, Stated, presets};
use crate::diagnostic::{Code, Diagnostic};
use crate::yaml::{self, YamlError, YamlFault};
use thiserror::Error;

/// Why a machine file describes no machine.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum MachineError {
    /// Not such a file: no YAML, or YAML of another form.
    #[error("{0}")]
    Syntax(YamlError),
    /// A key that no machine has.
    #[error("{0}")]
    UnknownKey(YamlError),
    /// A value that its parameter does not take.
    #[error("{0}")]
    OutOfRange(YamlError),
    /// `extends` names no preset.
    #[error("there is no machine `{name}`; the presets are {}", presets::names().join(", "))]
    UnknownPreset {
        /// The name.
        name: String,
        /// The nearest preset.
        nearest: Option<&'static str>,
    },
    /// A file without `extends` leaves parameters out.
    #[error("the file states no {}", paths.join(", "))]
    Missing {
        /// Paths of the parameters.
        paths: Vec<&'static str>,
    },
    /// The parameters contradict each other.
    #[error("`{path}`: {reason}")]
    Impossible {
        /// Path of the parameter at fault.
        path: &'static str,
        /// What is wrong.
        reason: String,
        /// What to do.
        remedy: String,
    },
}

impl MachineError {
    /// Its code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Syntax(_) => Code::MachineSyntax,
            Self::UnknownKey(_) => Code::MachineUnknownKey,
            Self::OutOfRange(_) => Code::MachineOutOfRange,
            Self::UnknownPreset { .. } => Code::MachineUnknownPreset,
            Self::Missing { .. } | Self::Impossible { .. } => Code::MachineImpossible,
        }
    }

    /// As a diagnostic about `text`, which is the file `file`.
    pub fn diagnostic(&self, file: &str, text: &str) -> Diagnostic {
        match self {
            Self::Syntax(error) | Self::UnknownKey(error) | Self::OutOfRange(error) => {
                error.diagnostic(self.code(), file, text)
            }
            other => {
                let mut diagnostic = Diagnostic::of_file(self.code(), file, other.to_string());
                diagnostic.help = self.help().or(diagnostic.help);
                diagnostic
            }
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Syntax(error) | Self::UnknownKey(error) | Self::OutOfRange(error) => {
                error.help.clone()
            }
            Self::UnknownPreset { nearest, .. } => {
                nearest.map(|name| format!("did you mean `{name}`?"))
            }
            Self::Missing { .. } => {
                Some("begin the file with `extends: scnn` and state what differs".to_owned())
            }
            Self::Impossible { remedy, .. } => Some(remedy.clone()),
        }
    }

    /// Line and column, where known.
    pub fn place(&self) -> Option<(usize, usize)> {
        match self {
            Self::Syntax(error) | Self::UnknownKey(error) | Self::OutOfRange(error) => error.place,
            Self::UnknownPreset { .. } | Self::Missing { .. } | Self::Impossible { .. } => None,
        }
    }
}

impl From<YamlError> for MachineError {
    fn from(error: YamlError) -> Self {
        match error.fault {
            YamlFault::Form => Self::Syntax(error),
            YamlFault::UnknownKey => Self::UnknownKey(error),
            YamlFault::Value => Self::OutOfRange(error),
        }
    }
}

/// Where a parameter's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file itself.
    File,
    /// The preset it extends.
    Preset(String),
}

/// A machine together with the origin of its parameters.
#[derive(Clone, Debug)]
pub struct Read {
    /// The machine.
    pub machine: Machine,
    stated: Stated,
}

impl Read {
    /// Where the parameter at `path` comes from.
    pub fn origin(&self, path: &str) -> Origin {
        match &self.stated.extends {
            Some(preset) if !self.stated.states(path) => Origin::Preset(preset.clone()),
            _ => Origin::File,
        }
    }
}

impl Machine {
    /// The preset of that name.
    pub fn preset(name: &str) -> Option<Self> {
        let text = presets::text(name)?;
        Some(Self::from_yaml(text).expect("the presets are machines, as a test checks"))
    }

    /// The presets: names and files.
    pub fn presets() -> impl Iterator<Item = (&'static str, &'static str)> {
        presets::PRESETS.iter().copied()
    }

    /// Reads a machine file.
    ///
    /// # Errors
    /// See [`MachineError`].
    pub fn from_yaml(text: &str) -> Result<Self, MachineError> {
        Self::read(text).map(|read| read.machine)
    }

    /// Reads a machine file and keeps where each parameter comes from.
    ///
    /// # Errors
    /// See [`MachineError`].
    pub fn read(text: &str) -> Result<Read, MachineError> {
        let stated: Stated = yaml::from_str(text)?;
        let base = match &stated.extends {
            None => None,
            Some(name) => Some(base(name)?),
        };
        let machine = stated
            .clone()
            .complete(base.as_ref())
            .map_err(|paths| MachineError::Missing { paths })?;
        machine.check()?;
        Ok(Read { machine, stated })
    }

    /// The whole description as a machine file.
    pub fn to_yaml(&self) -> String {
        yaml::to_string(self).expect("a machine is maps of scalars, which YAML can express")
    }

    fn check(&self) -> Result<(), MachineError> {
        let impossible = |path, reason: String, remedy: &str| {
            Err(MachineError::Impossible {
                path,
                reason,
                remedy: remedy.to_owned(),
            })
        };
        if self.pe.bank_map == BankMap::Xor && !self.pe.banks.is_power_of_two() {
            let reason = format!(
                "the xor map needs a power of two of banks, there are {}",
                self.pe.banks
            );
            return impossible(
                "pe.bank_map",
                reason,
                "set `pe.banks` to a power of two or `pe.bank_map: modulo`",
            );
        }
        let vector_bits =
            self.pe.activations_per_vector * (self.pe.operand_bits + self.encoding.index_bits);
        for (path, bytes) in [
            ("activation_ram.a_bytes", self.activation_ram.a_bytes),
            ("activation_ram.b_bytes", self.activation_ram.b_bytes),
        ] {
            if u64::from(bytes) * 8 < u64::from(vector_bits) {
                let reason = format!("{bytes} bytes do not hold one vector of {vector_bits} bits");
                return impossible(path, reason, "make the RAM larger or the vector shorter");
            }
        }
        if self.pe.accumulator_bits < self.pe.operand_bits {
            let reason = format!(
                "{} bits are fewer than an operand's {}",
                self.pe.accumulator_bits, self.pe.operand_bits
            );
            return impossible(
                "pe.accumulator_bits",
                reason,
                "make the accumulators at least as wide as the operands",
            );
        }
        Ok(())
    }
}

fn base(name: &str) -> Result<Machine, MachineError> {
    let unknown = || MachineError::UnknownPreset {
        name: name.to_owned(),
        nearest: yaml::nearest(name, presets::names().iter().copied()),
    };
    let text = presets::text(name).ok_or_else(unknown)?;
    // Presets extend presets of the list before them, so this ends.
    Machine::from_yaml(text)
}
