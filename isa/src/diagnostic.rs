//! Diagnostics: the form of a reported problem, its stable code, and the codes of this crate.
//!
//! Each crate has a table of its own, of the problems that it raises; the binary collects them for `--explain`. Those of
//! this crate are problems of machines, programs and their inputs, which every crate above can meet.

use std::fmt;

/// A stable code with its meaning, the same in every version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodeEntry {
    /// The code, such as `E0101`.
    pub code: &'static str,
    /// The problem in a few words.
    pub title: &'static str,
    /// Cause and remedy.
    pub explanation: &'static str,
    /// Remedy that helps with any file that has this fault, in one line.
    pub remedy: Option<&'static str>,
}

/// Makes the enum `Code` of a crate from its table: name, code, title, explanation and, where one line helps with any
/// file of that fault, a remedy.
#[macro_export]
macro_rules! codes {
    ($($name:ident $code:literal $title:literal $explanation:literal $(remedy $remedy:literal)?;)*) => {
        /// A stable code of this crate, the same in every version.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = concat!($code, ": ", $title, ".")] $name,)*
        }

        impl Code {
            /// Every code, ascending.
            pub const fn all() -> &'static [Self] {
                &[$(Self::$name),*]
            }

            /// The code with its meaning.
            pub const fn entry(self) -> $crate::diagnostic::CodeEntry {
                match self {
                    $(Self::$name => $crate::diagnostic::CodeEntry {
                        code: $code,
                        title: $title,
                        explanation: $explanation,
                        remedy: $crate::codes!(@remedy $($remedy)?),
                    },)*
                }
            }
        }

        impl From<Code> for $crate::diagnostic::CodeEntry {
            fn from(code: Code) -> Self {
                code.entry()
            }
        }
    };
    (@remedy) => { None };
    (@remedy $remedy:literal) => { Some($remedy) };
}

codes! {
    InputShape "E0105" "an input has the wrong shape or type" "The array does not fit the model's input. Its first dimension may be any number of samples; the others must be the model's. `scnnc check MODEL` shows the inputs.";
    InputMissing "E0106" "an input is missing" "Every input of the model needs an array: name the arrays of an .npz as the inputs, or give `--input NAME=FILE` for each.";
    UnknownName "E0108" "there is nothing of that name" "The name is not one of this model or program; the message lists what there is.";
    MachineSyntax "E0201" "a machine file is no YAML of that form" "A machine file is a map of sections; begin it with `extends: scnn` and state what differs.";
    MachineUnknownKey "E0202" "a machine file has an unknown key" "Keys are checked strictly, so that a slip of the pen cannot go unnoticed. `scnnc machine show scnn` lists all.";
    MachineOutOfRange "E0203" "a machine parameter is out of range" "Every parameter has a type and a range; the message names it.";
    MachineUnknownPreset "E0204" "there is no such machine" "`scnnc machine list` shows the presets; anything else is taken as the path of a YAML file.";
    MachineImpossible "E0205" "the machine is impossible" "Parameters are missing or contradict each other; the message says which and what to do.";
    NotAProgram "E0501" "this is no program file" "Program files begin with `SCNN`; `scnnc compile` writes them." remedy "give a .scnn file, as `scnnc compile` writes it";
    ProgramVersion "E0502" "the program has another version" "It was written by another version of scnnc. Compile the model again." remedy "compile the model again";
    ProgramChecksum "E0503" "the program file is damaged" "A checksum does not match its bytes; the message names the part. Compile the model again." remedy "compile the model again";
    ProgramMalformed "E0504" "the program file is malformed" "A part does not have the form that its checksum vouches for." remedy "compile the model again";
    OtherMachine "E0505" "the program is for another machine" "A program runs only on machines that agree on everything that shaped it; the differing parameters are listed.";
    AssemblySyntax "E0506" "the assembly text is not understood" "The message names line and column and what was expected there.";
    BadTable "E0601" "a table entry of the program is not valid" "An id, name, shape, range or scale is out of its bounds.";
    BadLayout "E0602" "a tensor's layout is not valid" "Tiles must be ascending cuts that cover the plane, over exactly the PEs of a group.";
    BadRegion "E0603" "a region is not valid" "A region must lie inside its memory, and in DRAM hold the worst case without overlapping another.";
    BadLayer "E0604" "a layer descriptor is not valid" "Its extents, groups, views or passes contradict each other or its tensors.";
    AccumulatorsExceeded "E0605" "an output-channel group exceeds the accumulators" "Kc times the positions of the largest accumulator tile must fit one half of a PE's accumulators.";
    BadSection "E0606" "a section is not valid" "Its bytes are not exactly what its layer asks for.";
    SumOverflow "E0607" "an accumulator could overflow" "The program claims proven ranges, but the weights and the range of the activations allow a sum beyond the accumulator.";
    BadCode "E0608" "the instructions break a rule" "Rounds must be streamed, multiplied and drained in step, halves alternate, and every region be written before it is read.";
    BadValue "E0609" "a host value or segment is not valid" "Its shape, region or place in the order of segments is not possible.";
    BadSourceMap "E0610" "the source map is not valid" "Ranges must be ascending, disjoint and inside the code.";
    ProgramTooLarge "E0611" "the program asks for too much" "Executing it would take more memory or more work than its limits allow. `--limit-memory` raises the first.";
    HostSegment "E0702" "a host segment failed" "A runtime of the host could not run a sub-model of the program; its message says why.";
    RuntimeMissing "E0703" "a runtime of the host is missing" "The program or model has an operator that only ONNX Runtime runs, and its library was not found. `pip install onnxruntime` in the active virtual environment brings it; `--host-library FILE` or the variable ORT_DYLIB_PATH name a library that lies elsewhere." remedy "`pip install onnxruntime`, or name its library with `--host-library FILE`";
    Internal "E0901" "a bug of scnnc" "Something that cannot happen did. Please report it together with the model and the command.";
}

/// A problem, as it is reported to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its code.
    pub code: CodeEntry,
    /// The problem, in one sentence.
    pub message: String,
    /// Where.
    pub location: Option<Location>,
    /// The attribute of a node that is at fault.
    pub attribute: Option<String>,
    /// The values that are allowed there instead.
    pub allowed: Option<String>,
    /// Further facts that help to understand it.
    pub notes: Vec<String>,
    /// Remedy.
    pub help: Option<String>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub file: Option<String>,
    /// The place in it.
    pub place: Place,
}

/// The place at which a diagnostic points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A place in a text.
    Line {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The line.
        text: String,
    },
    /// A node of an ONNX graph.
    Node {
        /// Its name.
        name: String,
        /// Its operator.
        operator: String,
    },
    /// Something in a program: `layer conv1`, `instruction 7`.
    Entry(String),
}

impl Diagnostic {
    /// A problem of a file as a whole, with the remedy of its code.
    pub fn of_file(code: impl Into<CodeEntry>, file: &str, message: impl Into<String>) -> Self {
        let code = code.into();
        Self {
            code,
            message: message.into(),
            location: Some(Location {
                file: Some(file.to_owned()),
                place: Place::File,
            }),
            attribute: None,
            allowed: None,
            notes: Vec::new(),
            help: code.remedy.map(str::to_owned),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_deref().unwrap_or("<input>");
        match &self.place {
            Place::File => f.write_str(file),
            Place::Node { name, operator } => write!(f, "{file}: node `{name}` ({operator})"),
            Place::Entry(entry) => write!(f, "{file}: {entry}"),
            Place::Line { line, column, .. } => write!(f, "{file}:{line}:{column}"),
        }
    }
}

/// In one line, for logs; on a terminal the command line draws it.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code.code, self.message)?;
        if let Some(location) = &self.location {
            write!(f, " ({location})")?;
        }
        for note in &self.notes {
            write!(f, "; {note}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "; help: {help}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_ascending() {
        let codes = Code::all().iter().map(|code| code.entry().code);
        assert!(codes.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_diagnostic_names_its_place_and_its_remedy() {
        let diagnostic = Diagnostic {
            code: Code::MachineUnknownKey.into(),
            message: "unknown field `rosw`".into(),
            location: Some(Location {
                file: Some("m.yaml".into()),
                place: Place::Line {
                    line: 2,
                    column: 3,
                    text: "  rosw: 8".into(),
                },
            }),
            attribute: None,
            allowed: None,
            notes: vec![],
            help: Some("did you mean `rows`?".into()),
        };
        assert_eq!(
            diagnostic.to_string(),
            "error[E0202]: unknown field `rosw` (m.yaml:2:3); help: did you mean `rows`?"
        );
    }
}
