//! Diagnostics: the one table of codes of the whole project, and the shape in which a problem is told.

use std::fmt;

macro_rules! codes {
    ($($name:ident $code:literal $title:literal $explanation:literal;)*) => {
        /// A stable code, the same in every version.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = concat!($code, ": ", $title, ".")] $name,)*
        }

        impl Code {
            /// Every code, ascending.
            pub const fn all() -> &'static [Self] {
                &[$(Self::$name),*]
            }

            /// The code, such as `E0101`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What it is about, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// Cause and remedy.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$name => $explanation,)* }
            }

            /// The code of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::all().iter().copied().find(|code| code.as_str() == name)
            }
        }
    };
}

codes! {
    CannotRead "E0101" "a file cannot be read" "The path does not exist, is a folder, or may not be read. Check the spelling and the permissions.";
    CannotWrite "E0102" "a file cannot be written" "The folder does not exist, may not be written, or the disk is full. Files are written to a temporary beside the target and renamed, so an older file is still whole.";
    EmptyFile "E0103" "the file is empty" "An export or a download was cut off. Make the file again.";
    NotOnnx "E0104" "this is no ONNX model" "The bytes are not an ONNX ModelProto with a graph, or only the beginning of one. Weights alone (.pt, .safetensors), TensorFlow graphs and zip archives have to be exported to ONNX first.";
    InputShape "E0105" "an input has the wrong shape or type" "The array does not fit the model's input. Its first dimension may be any number of samples; the others must be the model's. `scnnc check MODEL` shows the inputs.";
    InputMissing "E0106" "an input is missing" "Every input of the model needs an array: name the arrays of an .npz as the inputs, or give `--input NAME=FILE` for each.";
    BadArray "E0107" "an array file cannot be read" "Arrays are read from .npy, .npz, ONNX tensors (.pb), .csv files of numbers, and .raw or .bin files of 32-bit floats, little-endian.";
    UnknownName "E0108" "there is nothing of that name" "The name is not one of this model or program; the message lists what there is.";
    CalibrationFile "E0109" "a calibration file is not of that form" "It is the YAML that `--save-calibration` writes: `source`, `samples`, `method`, and under `ranges` each tensor's `min`, `max` and `density`.";
    WidthsFile "E0110" "a file of widths is not of that form" "It is YAML with `network: 16` and, under `layers`, a width for each layer that differs: `conv1: 8`, `fc: w8a16`.";
    DensitiesFile "E0111" "a file of densities is not of that form" "It is the YAML that `--save-densities` writes: `pattern`, `default` and, under `layers`, the density of each.";
    NothingToPrune "E0112" "there is nothing to prune" "Only constant weights of convolutions and matrix products that run on the array are pruned: floats, or integers behind a DequantizeLinear.";
    LabelCount "E0113" "the labels do not fit the samples" "Every image of every sample needs one label: a batch of 8 images takes 8. The message has both numbers.";
    NotAReport "E0121" "this is no report" "Reports are the JSON that `scnnc run --report` and `scnnc compare --report` write.";
    ReportSchema "E0122" "the report has another version" "It was written by another version of scnnc. Run the model again with `--report`.";
    MachineSyntax "E0201" "a machine file is no YAML of that form" "A machine file is a map of sections; begin it with `extends: scnn` and state what differs.";
    MachineUnknownKey "E0202" "a machine file has an unknown key" "Keys are checked strictly, so that a slip of the pen cannot go unnoticed. `scnnc machine show scnn` lists all.";
    MachineOutOfRange "E0203" "a machine parameter is out of range" "Every parameter has a type and a range; the message names it.";
    MachineUnknownPreset "E0204" "there is no such machine" "`scnnc machine list` shows the presets; anything else is taken as the path of a YAML file.";
    MachineImpossible "E0205" "the machine is impossible" "Parameters are missing or contradict each other; the message says which and what to do.";
    ControlFlow "E0301" "the graph uses control flow" "Loop, If and Scan have no place in a static program. Export the model with fixed shapes, so that the exporter unrolls them.";
    ExternalData "E0302" "external data are missing" "The weights of this model lie in a file of their own, which has to be beside the model.";
    UnboundDimension "E0303" "a dimension has no value" "The model has symbolic dimensions. The batch is 1 unless said otherwise; give the others with `--dim NAME=VALUE`.";
    MissingTensor "E0304" "a tensor is used but never defined" "A node or output names a tensor that no node, input or initializer defines.";
    DuplicateName "E0305" "a tensor is defined twice" "ONNX is in single-assignment form: every tensor is the result of one node.";
    Cycle "E0306" "the graph has a cycle or is out of order" "ONNX asks for nodes in topological order; a node may use only what was computed before it.";
    Opset "E0307" "the operator set is too old" "Operator sets from 6 on are read. Convert the model with onnx.version_converter.";
    NotFinite "E0308" "weights are not finite" "An initializer holds infinities or not-a-numbers, which have no integer form.";
    ZeroSize "E0309" "a tensor is empty" "A dimension is zero or negative, usually because the input is too small for the network.";
    DynamicShape "E0310" "a shape depends on data" "A program is compiled for fixed shapes. Export the model without NonZero, NonMaxSuppression and the like, or cut it before them.";
    ShapeInference "E0311" "shapes cannot be inferred" "The model's operators and shapes contradict each other. onnx.checker and onnx.shape_inference tell more.";
    BadTensor "E0312" "a tensor is malformed" "An initializer or input has a type, shape or amount of data that is not possible.";
    FloatModel "E0313" "the float model does not run" "The model is run in floating point for calibration; tract could not do so and its message says why.";
    TooLarge "E0314" "a tensor is too large" "A tensor may have 2^31 elements. Dimensions beyond that are usually a damaged file, or a symbol that was bound to a wrong value.";
    BadAttribute "E0315" "an attribute is not possible" "The standard allows other values for it, which the message lists; a file that was exported has them, one that was edited may not.";
    OperandCount "E0316" "a node has too few or too many operands or results" "The standard says how many tensors each operator reads and computes; the message has both numbers. A file that was exported keeps to it, one that was edited or damaged may not.";
    NothingOnArray "E0401" "nothing would run on the array" "Every node of this model would run on the host, so a program would tell nothing about SCNN. `--allow-host-only` compiles it all the same.";
    DoesNotFit "E0402" "a layer does not fit the machine" "The message names the buffer and by how much it is too small; `scnnc machine show` tells its size.";
    CalibrationMissing "E0403" "a tensor cannot be quantised" "Its range is missing from the calibration, or its sums fit no accumulator. Calibrate again, or with more headroom.";
    HostRefused "E0404" "a node would run on the host" "`--no-host` was given, and these nodes have no place on the array.";
    BadMapping "E0405" "a mapping file is no mapping of this network" "It names other tensors or layers, or asks for something that the machine does not do; the message names the layer and, for a buffer, by how many bytes it is exceeded. `--save-mapping` writes a mapping that can be edited.";
    NotAProgram "E0501" "this is no program file" "Program files begin with `SCNN`; `scnnc compile` writes them.";
    ProgramVersion "E0502" "the program has another version" "It was written by another version of scnnc. Compile the model again.";
    ProgramChecksum "E0503" "the program file is damaged" "A checksum does not match its bytes; the message names the part. Compile the model again.";
    ProgramMalformed "E0504" "the program file is malformed" "A part does not have the form that its checksum vouches for.";
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
    ProgramTooLarge "E0611" "the program asks for too much" "Executing it would take more memory or more operations than its limits allow. `--limit-memory` raises the first.";
    Overflow "E0701" "an accumulator overflowed" "The program was compiled with calibrated ranges, and this input exceeds them. Calibrate with such inputs, or use proven ranges.";
    HostSegment "E0702" "a host segment failed" "tract could not run a sub-model of the program; its message says why.";
    NotBitExact "E0801" "the result is not exact to the bit" "The simulator and the integer interpreter disagree: a bug of scnnc. The message names the first tensor.";
    NotAsExpected "E0802" "the result is not as expected" "An output differs from the expected one by more than the tolerance.";
    SnapshotDiffers "E0803" "a snapshot does not hold" "What is compiled now differs from the accepted snapshot; the diff shows where. If the change is meant, `--update` accepts it.";
    SnapshotForm "E0804" "a snapshot has another form" "Its first line names the version of its form, and this scnnc writes another. `--update` writes a snapshot of any form anew; a file that is no snapshot is left alone.";
    MemoryLimit "E0805" "more memory is needed than the limit allows" "The model, its data or the program need more memory than `--limit-memory` allows; without it the limit is three quarters of the machine's memory.";
    PassChanged "E0806" "a transform changes what the network computes" "A bug of scnnc: `--verify-passes` computed the network before and after every transform, and the message names the first that changed a value, and the tensor.";
    Internal "E0901" "a bug of scnnc" "Something that cannot happen did. Please report it together with the model and the command.";
}

/// A problem, told to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its code.
    pub code: Code,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where.
    pub location: Option<Location>,
    /// What else helps to understand it.
    pub notes: Vec<String>,
    /// What to do.
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

/// What a diagnostic points at.
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

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code.as_str(), self.message)?;
        if let Some(location) = &self.location {
            let file = location.file.as_deref().unwrap_or("<input>");
            match &location.place {
                Place::File => write!(f, "\n  --> {file}")?,
                Place::Node { name, operator } => {
                    write!(f, "\n  --> {file}: node `{name}` ({operator})")?;
                }
                Place::Entry(entry) => write!(f, "\n  --> {file}: {entry}")?,
                Place::Line { line, column, text } => {
                    let gutter = line.to_string().len();
                    let indent = " ".repeat(column.saturating_sub(1));
                    write!(
                        f,
                        "\n  --> {file}:{line}:{column}\n{:gutter$} |\n{line} | {text}\n{:gutter$} | {indent}^",
                        "", ""
                    )?;
                }
            }
        }
        for note in &self.notes {
            write!(f, "\n   = note: {note}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n   = help: {help}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_ascending() {
        assert!(
            Code::all()
                .windows(2)
                .all(|pair| pair[0].as_str() < pair[1].as_str())
        );
        assert_eq!(Code::from_name("E0303"), Some(Code::UnboundDimension));
    }

    #[test]
    fn a_diagnostic_points_at_its_column() {
        let diagnostic = Diagnostic {
            code: Code::MachineUnknownKey,
            message: "unknown field `rosw`".into(),
            location: Some(Location {
                file: Some("m.yaml".into()),
                place: Place::Line {
                    line: 2,
                    column: 3,
                    text: "  rosw: 8".into(),
                },
            }),
            notes: vec![],
            help: Some("did you mean `rows`?".into()),
        };
        assert_eq!(
            diagnostic.to_string(),
            "error[E0202]: unknown field `rosw`\n  --> m.yaml:2:3\n  |\n2 |   rosw: 8\n  |   ^\n   = help: did you mean `rows`?"
        );
    }
}
