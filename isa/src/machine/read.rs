//! From machine files to machines: presets, inheritance, and contradictions between parameters.

use super::{BankMap, Machine, Parameter, Stated, presets};
use crate::diagnostic::{Code, Diagnostic};
use crate::yaml::{self, YamlError, YamlFault};
use std::collections::BTreeMap;
use std::fmt::Write;
use thiserror::Error;

/// Why a machine file describes no machine.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum MachineError {
    /// The text is no YAML, or YAML of another form.
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
        /// The contradiction.
        reason: String,
        /// A setting that resolves it.
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

    /// Remedy.
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
    /// The preset of that name.
    Preset(String),
    /// The file that it extends, directly or by others.
    Base(String),
    /// A setting, as of `--set`.
    Setting,
}

/// A machine, and where each of its parameters comes from.
#[derive(Clone, Debug)]
pub struct Read {
    /// The machine.
    pub machine: Machine,
    /// Whether the file states a name, and not only a file that it extends.
    pub named: bool,
    /// By path.
    origins: BTreeMap<String, Origin>,
}

impl Read {
    /// From a complete machine, such as that of a program.
    pub fn of(machine: Machine) -> Self {
        let paths = machine.parameters().into_iter();
        Self {
            named: true,
            origins: paths.map(|p| (p.path, Origin::File)).collect(),
            machine,
        }
    }

    /// Where the parameter at `path` comes from.
    pub fn origin(&self, path: &str) -> Origin {
        self.origins.get(path).cloned().unwrap_or(Origin::File)
    }

    /// The machine with some parameters set, each `PATH=VALUE`; of two settings of one parameter the later counts. Its name
    /// has them, in the order of the table: `scnn+array.rows=4+pe.banks=64`.
    ///
    /// # Errors
    /// An unknown path, a value out of its range, or settings that contradict the rest.
    pub fn with_settings<W: AsRef<str>>(self, words: &[W]) -> Result<Self, MachineError> {
        if words.is_empty() {
            return Ok(self);
        }
        let parsed = words
            .iter()
            .map(|word| Setting::parse(word.as_ref(), &self.machine));
        let parsed: Vec<Setting> = parsed.collect::<Result<_, _>>()?;
        let mut machine = self.machine;
        for setting in &parsed {
            // A setting states one parameter alone; the base has all others.
            machine = setting
                .stated
                .clone()
                .complete(Some(&machine))
                .map_err(|paths| MachineError::Missing { paths })?;
        }
        let mut origins = self.origins;
        let mut suffix = String::new();
        for parameter in machine.parameters() {
            if parsed.iter().any(|setting| setting.path == parameter.path) {
                // Writing to a string does not fail.
                let _ = write!(suffix, "+{}={}", parameter.path, parameter.value);
                origins.insert(parameter.path, Origin::Setting);
            }
        }
        machine.name.push_str(&suffix);
        machine.check()?;
        Ok(Self {
            machine,
            named: self.named,
            origins,
        })
    }
}

/// One parameter that is set, as a machine file that states it alone.
struct Setting {
    path: String,
    stated: Stated,
}

impl Setting {
    fn parse(word: &str, machine: &Machine) -> Result<Self, MachineError> {
        let wrong = |fault, message: String, help: String| {
            MachineError::from(YamlError {
                fault,
                message,
                place: None,
                help: Some(help),
            })
        };
        let Some((path, value)) = word.split_once('=') else {
            let help = "give a parameter and its value, as in `pe.banks=64`".to_owned();
            return Err(wrong(
                YamlFault::Form,
                format!("`{word}` sets nothing"),
                help,
            ));
        };
        let parameters = machine.parameters();
        let Some(parameter) = parameters.iter().find(|p| p.path == path) else {
            return Err(wrong(
                YamlFault::UnknownKey,
                format!("`{word}`: a machine has no parameter `{path}`"),
                near_path(path, &parameters),
            ));
        };
        // A number alone is a price whose source is the setting.
        let value = match parameter.unit {
            "pJ" | "mm2" if value.parse::<f64>().is_ok() => {
                let key = parameter.unit.to_lowercase();
                format!("{{{key}: {value}, source: a setting}}")
            }
            _ => value.to_owned(),
        };
        let refused = |reason: &str| {
            let help = format!("`{path}` is {}", parameter.range);
            wrong(YamlFault::Value, format!("`{word}`: {reason}"), help)
        };
        if value.contains(['\n', '\r']) {
            return Err(refused("a value is one line"));
        }
        let (section, field) = path.split_once('.').unwrap_or((path, ""));
        let text = format!("{section}:\n  {field}: {value}\n");
        let stated: Stated = yaml::from_str(&text).map_err(|error| refused(&error.message))?;
        if !stated.states(path) {
            return Err(refused("there is no value"));
        }
        let path = path.to_owned();
        Ok(Self { path, stated })
    }
}

/// The path that an unknown one may have meant: one like it, or one whose last word is the same or alike.
fn near_path(path: &str, parameters: &[Parameter]) -> String {
    let paths = || parameters.iter().map(|p| p.path.as_str());
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let by_last_word = || {
        let words: Vec<String> = paths().map(last).collect();
        let word = yaml::nearest(&last(path), words.iter().map(String::as_str))?;
        paths().find(|path| last(path) == word)
    };
    let section = path.split('.').next().unwrap_or_default();
    if let Some(near) = yaml::nearest(path, paths()).or_else(by_last_word) {
        return format!("did you mean `{near}`?");
    }
    let inside = paths().filter(|p| p.split('.').next() == Some(section));
    let inside: Vec<&str> = inside.collect();
    if inside.is_empty() {
        "`scnnc machine show scnn` lists them".to_owned()
    } else {
        format!("the parameters there are {}", inside.join(", "))
    }
}

/// A machine file as it is written: what it states, and which machine it extends.
#[derive(Clone, Debug)]
pub struct MachineFile(Stated);

impl MachineFile {
    /// Reads the text.
    ///
    /// # Errors
    /// See [`MachineError`].
    pub fn parse(text: &str) -> Result<Self, MachineError> {
        Ok(Self(yaml::from_str(text)?))
    }

    /// The machine that it extends: name of a preset, or what the caller takes the word for.
    pub fn extends(&self) -> Option<&str> {
        self.0.extends.as_deref()
    }

    /// The machine, with what is not stated taken from `base`.
    ///
    /// # Errors
    /// See [`MachineError`].
    pub fn complete(self, base: Option<&Read>) -> Result<Read, MachineError> {
        let Self(stated) = self;
        let machine = stated.clone().complete(base.map(|base| &base.machine));
        let machine = machine.map_err(|paths| MachineError::Missing { paths })?;
        machine.check()?;
        let origin = |path: &str| match (base, &stated.extends) {
            (Some(base), Some(name)) if !stated.states(path) => match base.origin(path) {
                Origin::File if presets::text(name).is_some() => Origin::Preset(name.clone()),
                Origin::File => Origin::Base(name.clone()),
                further => further,
            },
            _ => Origin::File,
        };
        let parameters = machine.parameters().into_iter();
        let origins = parameters.map(|p| (p.path.clone(), origin(&p.path)));
        Ok(Read {
            named: stated.name.is_some(),
            origins: origins.collect(),
            machine,
        })
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

    /// Reads a machine file that extends a preset or nothing, and keeps where each parameter comes from.
    ///
    /// # Errors
    /// See [`MachineError`].
    pub fn read(text: &str) -> Result<Read, MachineError> {
        let file = MachineFile::parse(text)?;
        let base = file.extends().map(base).transpose()?;
        file.complete(base.as_ref())
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

fn base(name: &str) -> Result<Read, MachineError> {
    let unknown = || MachineError::UnknownPreset {
        name: name.to_owned(),
        nearest: yaml::nearest(name, presets::names().iter().copied()),
    };
    // Presets extend presets of the list before them, so this ends.
    Machine::read(presets::text(name).ok_or_else(unknown)?)
}
