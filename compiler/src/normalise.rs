//! Brings an ONNX file into one canonical form before it is typed.
//!
//! ```text
//! file --decode--> Decoded --order, validate--> Draft --PASSES--> Normalised
//! ```
//!
//! The standard lets a model say one thing in many ways: operands left out or written as empty names, axes as attributes
//! or as operands, composite operators, functions, six floating-point types. Each pass takes one of these freedoms away, so
//! that whatever follows (the importer, tract, a host runtime) meets one way only. A pass changes how a model is written
//! and not what it computes, and leaves a model alone that is in canonical form already.
//!
//! Initializers keep their places in the main graph, and passes only append some: the data of large ones lie beside the
//! model, by number (`large`).

mod bindings;
pub(crate) mod closure;
mod constants;
mod control_flow;
mod decode;
mod dimensions;
mod error;
mod external;
mod file;
mod floats;
mod four_bits;
mod functions;
mod integers;
mod large;
mod limits;
mod lp_pools;
mod microsoft;
mod ml;
mod names;
mod operator_sets;
mod optional;
mod order;
mod output_types;
mod outputs;
pub(crate) mod parts;
mod print;
pub(crate) mod proto;
mod quantised;
mod ranges;
mod ranks;
mod rename;
mod single;
mod sizes;
mod softplus;
mod sparse;
mod squeezes;
mod standard;
mod sums;
mod transposed;
mod unread;
mod validate;
mod vectors;

pub use error::{ImportError, ImportErrors};
pub(crate) use large::Large;
pub(crate) use limits::{MOST_ERRORS, elements};
pub(crate) use names::make_unique;
pub(crate) use outputs::is_of_numbers;
pub use parts::node_name;
pub(crate) use unread::leave_out_unread;

use crate::codes::Code;
use decode::{Decoded, decode};
use file::FileBytes;
use large::LargeData;
use proto::visit_graphs;
use scnn_host::Host;
use scnn_isa::program::Dtype;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto};
use tract_onnx::prelude::Tensor;

/// Choices of an import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Values of open dimensions, by name or as `input[index]`.
    pub dims: BTreeMap<String, u64>,
    /// All extents of inputs.
    pub shapes: BTreeMap<String, Vec<u64>>,
    /// Arrays that are to be inputs, the empty name for the only one: their extents are the values of open dimensions that
    /// have no other, all but an input's first, along which an array may hold many samples; their values decide branches.
    pub arrays: BTreeMap<String, Given>,
    /// Values of inputs that are to be constants, with commas between them.
    pub values: BTreeMap<String, String>,
    /// The runtimes of the host.
    pub host: Host,
}

/// What is known of an array that is to be an input.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Its extents.
    pub extents: Vec<u64>,
    /// The integer or truth that all of it is, if it is short and all of it is one.
    pub value: Option<String>,
    /// It, if it is of integers or truths and short, or one number: shapes may depend on it.
    pub numbers: Option<Arc<Tensor>>,
}

/// A node whose branch an input decides.
#[derive(Clone, Debug)]
pub(crate) struct Undecided {
    /// Which input, in words that follow the node's name.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

/// A pass: its name, what it does, and the function.
pub struct Pass {
    /// Name, as in `--dump-ir`.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    run: fn(&mut Draft<'_>) -> Result<(), Vec<ImportError>>,
}

/// The passes in their order.
#[rustfmt::skip] // One pass a line.
pub const PASSES: &[Pass] = &[
    Pass { name: "external", about: "data of other files are read into the model", run: external::run },
    Pass { name: "operator-sets", about: "operators of old operator sets become those of operator set 13", run: operator_sets::run },
    Pass { name: "functions", about: "functions of the model are replaced by their bodies", run: functions::run },
    Pass { name: "sparse", about: "sparse constants become dense", run: sparse::run },
    Pass { name: "constants", about: "constants have their values as tensors", run: constants::run },
    Pass { name: "floats", about: "float16, bfloat16 and double become float32", run: floats::run },
    Pass { name: "microsoft", about: "fused operators of com.microsoft become operators of ONNX", run: microsoft::run },
    Pass { name: "ml", about: "arithmetic of ai.onnx.ml becomes that of ONNX", run: ml::run },
    Pass { name: "outputs", about: "outputs that are no tensors of numbers are left out", run: outputs::run },
    Pass { name: "output-types", about: "types of quantised results become zero points of that type", run: output_types::run },
    Pass { name: "four-bits", about: "constants of 4-bit integers that are dequantised become such of 8", run: four_bits::run },
    Pass { name: "quantised", about: "operators on integers become dequantise, compute, quantise", run: quantised::run },
    Pass { name: "integers", about: "products of integers become products of floats that hold them", run: integers::run },
    Pass { name: "optional", about: "operands that are not there have empty names, or none at the end", run: optional::run },
    Pass { name: "single", about: "what computes nothing of its one operand becomes an identity", run: single::run },
    Pass { name: "sums", about: "sums of many become sums of two", run: sums::run },
    Pass { name: "softplus", about: "the logarithm of an exponential becomes one that stays finite", run: softplus::run },
    Pass { name: "squeezes", about: "axes of a Squeeze ascend", run: squeezes::run },
    Pass { name: "ranges", about: "bounds of a Range that are lists of one become numbers", run: ranges::run },
    Pass { name: "lp-pools", about: "pools of norms become averages of powers", run: lp_pools::run },
    Pass { name: "transposed", about: "transposed convolutions that keep their size get pads in numbers", run: transposed::run },
    Pass { name: "vectors", about: "products of two vectors become sums of products", run: vectors::run },
    Pass { name: "bindings", about: "inputs that are given a value become constants", run: bindings::run },
    Pass { name: "dimensions", about: "every dimension of every input gets a number", run: dimensions::run },
    Pass { name: "large", about: "data of large constants go beside the model", run: large::run },
    Pass { name: "names", about: "every node gets a name of its own", run: names::run },
    Pass { name: "sizes", about: "constants beyond any memory are refused", run: sizes::run },
    Pass { name: "control-flow", about: "branches that are taken, and loops that run a constant number of times, are written out", run: control_flow::run },
    Pass { name: "ranges-again", about: "so do those that branches compute", run: ranges::run },
    Pass { name: "large-again", about: "data of large constants of branches go beside the model", run: large::run },
    Pass { name: "sizes-again", about: "constants of branches beyond any memory are refused", run: sizes::run },
    Pass { name: "unread", about: "results and nodes that nothing reads go", run: unread::run },
    Pass { name: "names-again", about: "so do those of branches", run: names::run },
];

/// The value of a tensor that a model computes of its constants alone, if it has one. The large ones lie beside it.
pub(crate) type Evaluate = fn(&ModelProto, &Large, &str) -> Option<Arc<Tensor>>;

/// A model on its way to the canonical form.
pub(crate) struct Draft<'a> {
    /// The model, without the data of its large initializers.
    pub model: ModelProto,
    /// The data of large initializers that are still in the model.
    data: LargeData,
    /// The large constants that were taken out of the model.
    large: Large,
    /// See [`Decoded::defaults`].
    defaults: Vec<Vec<AttributeProto>>,
    /// The types that inputs and outputs are declared with, where they are not what is computed.
    declared: BTreeMap<String, Dtype>,
    /// What a person should know of the rewriting.
    notes: Vec<String>,
    /// Inputs that have become constants, and their values as `--input-value` writes them.
    bound: BTreeMap<String, String>,
    /// Nodes with branches of which an input decides.
    undecided: BTreeMap<String, Undecided>,
    options: &'a ImportOptions,
    /// Where external data are looked for.
    folder: &'a Path,
    evaluate: Evaluate,
}

impl Draft<'_> {
    /// The operator set of ONNX's own operators.
    fn operator_set(&self) -> i64 {
        standard::operator_set(&self.model)
    }

    /// Calls `pass` for every graph, branches and bodies first.
    fn each_graph(
        &mut self,
        mut pass: impl FnMut(&mut GraphProto) -> Result<(), Vec<ImportError>>,
    ) -> Result<(), Vec<ImportError>> {
        let mut errors = Vec::new();
        if let Some(graph) = &mut self.model.graph {
            visit_graphs(graph, &mut |graph| {
                errors.extend(pass(graph).err().into_iter().flatten());
            });
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

/// Receives the model as text after every pass that changes it, and before the first.
pub type Observer<'a> = dyn FnMut(&str, &str) + 'a;

/// A model in canonical form.
pub(crate) struct Normalised {
    /// The model with bound dimensions and loaded data.
    pub model: ModelProto,
    /// Its large initializers.
    pub large: Large,
    /// The types that inputs and outputs are declared with, where they are not what is computed.
    pub declared: BTreeMap<String, Dtype>,
    /// What a person should know of the rewriting, in sentences.
    pub notes: Vec<String>,
    /// Inputs that have become constants, and their values as `--input-value` writes them.
    pub bound: BTreeMap<String, String>,
    /// Nodes with branches of which an input decides.
    pub undecided: BTreeMap<String, Undecided>,
    /// What short arrays for inputs hold: see [`Given::numbers`].
    pub numbers: BTreeMap<String, Arc<Tensor>>,
}

/// A model as its file has it, and the hash of the file.
pub(crate) struct Opened {
    decoded: Decoded,
    /// blake3, hexadecimal.
    pub hash: String,
}

impl Opened {
    /// The model, without the data of its large initializers.
    pub(crate) fn into_model(self) -> ModelProto {
        self.decoded.model
    }
}

/// Reads a model file.
pub(crate) fn open(path: &Path) -> Result<Opened, ImportErrors> {
    let cannot_read = |error: std::io::Error| {
        let message = format!("the file cannot be read: {error}");
        ImportErrors(vec![ImportError::model(
            Code::CannotRead,
            message,
            "check the path and its permissions",
        )])
    };
    let mut bytes = FileBytes::open(path).map_err(cannot_read)?;
    let decoded = decode(&mut bytes);
    let hash = bytes.finish().map_err(cannot_read)?;
    let decoded = decoded.map_err(|error| ImportErrors(vec![error]))?;
    Ok(Opened { decoded, hash })
}

/// Reads a model from bytes.
pub(crate) fn open_bytes(bytes: &[u8]) -> Result<Opened, ImportErrors> {
    let decoded = decode(bytes).map_err(|error| ImportErrors(vec![error]))?;
    let hash = blake3::hash(bytes).to_hex().to_string();
    Ok(Opened { decoded, hash })
}

/// A model as its file has it, whole: external data are read into it, and the inputs that are given a value are constants.
pub(crate) fn as_written(path: &Path, options: &ImportOptions) -> Result<ModelProto, ImportErrors> {
    let Decoded {
        mut model,
        data,
        defaults,
    } = open(path)?.decoded;
    if let Some(graph) = &mut model.graph {
        for (number, values) in data {
            graph.initializer[number].raw_data = values.as_bytes().to_vec();
        }
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut draft = Draft {
        model,
        data: LargeData::new(),
        large: Large::new(),
        defaults,
        declared: BTreeMap::new(),
        notes: Vec::new(),
        bound: BTreeMap::new(),
        undecided: BTreeMap::new(),
        options,
        folder: folder.unwrap_or(Path::new(".")),
        evaluate: |_, _, _| None,
    };
    for pass in [external::run, bindings::run] {
        pass(&mut draft).map_err(ImportErrors)?;
    }
    Ok(draft.model)
}

/// The files beside a model's that hold some of its data, relative to its folder.
///
/// # Errors
/// A file that is no model.
pub fn external_files(path: &Path) -> Result<BTreeSet<String>, ImportErrors> {
    let opened = open(path)?;
    let graph = opened.decoded.model.graph.as_ref();
    Ok(graph.map_or_else(BTreeSet::new, external::locations))
}

/// Validates a model and brings it into canonical form; external data is looked for in `folder`.
///
/// # Errors
/// All problems of the first stage that finds any.
pub(crate) fn normalise(
    opened: Opened,
    folder: &Path,
    options: &ImportOptions,
    evaluate: Evaluate,
    observe: Option<&mut Observer<'_>>,
) -> Result<Normalised, ImportErrors> {
    let mut decoded = opened.decoded;
    order::sort(&mut decoded.model);
    let errors = validate::validate(&decoded, folder);
    if !errors.is_empty() {
        return Err(ImportErrors(errors));
    }
    let notes = standard::of_the_future(&decoded.model)
        .into_iter()
        .collect();
    let mut draft = Draft {
        model: decoded.model,
        data: decoded.data,
        large: Large::new(),
        defaults: decoded.defaults,
        declared: BTreeMap::new(),
        notes,
        bound: BTreeMap::new(),
        undecided: BTreeMap::new(),
        options,
        folder,
        evaluate,
    };
    run_passes(&mut draft, observe)?;
    let arrays = options.arrays.iter();
    let numbers = arrays.filter_map(|(name, given)| Some((name.clone(), given.numbers.clone()?)));
    Ok(Normalised {
        numbers: numbers.collect(),
        model: draft.model,
        large: draft.large,
        declared: draft.declared,
        notes: draft.notes,
        bound: draft.bound,
        undecided: draft.undecided,
    })
}

fn run_passes(
    draft: &mut Draft<'_>,
    mut observe: Option<&mut Observer<'_>>,
) -> Result<(), ImportErrors> {
    let mut before = String::new();
    let mut tell = |name: &str, draft: &Draft<'_>| {
        let Some(observe) = &mut observe else { return };
        let after = print::text(&draft.model);
        if after != before {
            observe(name, &after);
            before = after;
        }
    };
    tell("file", draft);
    for pass in PASSES {
        (pass.run)(draft).map_err(ImportErrors)?;
        tell(pass.name, draft);
    }
    Ok(())
}
