//! Brings an ONNX file into one canonical form before it is typed.
//!
//! ```text
//! file --decode--> Decoded --validate--> Draft --PASSES--> Draft --bind--> Normalised
//! ```
//!
//! The standard lets a model say one thing in many ways: operands left out or written as empty names, axes as attributes
//! or as operands, composite operators, functions, six floating-point types. Each pass takes one of these freedoms away, so
//! that whatever follows (the importer, tract, a host runtime) meets one way only. A pass changes how a model is written
//! and not what it computes, and leaves a model alone that is in canonical form already.
//!
//! Initializers keep their places in the main graph, and passes only append some: the data of large ones lie beside the
//! model, by number ([`large`]).

mod decode;
mod dimensions;
mod error;
mod external;
mod file;
mod floats;
mod functions;
mod large;
mod limits;
mod microsoft;
mod ml;
mod names;
mod operator_sets;
mod optional;
pub(crate) mod parts;
mod print;
pub(crate) mod proto;
mod quantised;
mod ranks;
mod single;
mod softplus;
mod sparse;
mod standard;
mod sums;
mod unread;
mod validate;
mod vectors;

pub use error::{ImportError, ImportErrors};
pub(crate) use large::Large;
pub(crate) use limits::{MOST_ERRORS, elements};

use crate::codes::Code;
use decode::{Decoded, decode};
use file::FileBytes;
use large::LargeData;
use proto::visit_graphs;
use scnn_host::Host;
use scnn_isa::program::Dtype;
use std::collections::BTreeMap;
use std::path::Path;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto};

/// Choices of an import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Values of symbolic dimensions.
    pub dims: BTreeMap<String, u64>,
    /// The runtimes of the host.
    pub host: Host,
}

/// A pass: its name, what it does, and the function.
pub struct Pass {
    /// Name, as in `--dump-ir`.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    run: fn(&mut Draft) -> Result<(), Vec<ImportError>>,
}

/// The passes in their order.
#[rustfmt::skip] // One pass a line.
pub const PASSES: &[Pass] = &[
    Pass { name: "operator-sets", about: "operators of old operator sets become those of operator set 13", run: operator_sets::run },
    Pass { name: "functions", about: "functions of the model are replaced by their bodies", run: functions::run },
    Pass { name: "sparse", about: "sparse constants become dense", run: sparse::run },
    Pass { name: "floats", about: "float16, bfloat16 and double become float32", run: floats::run },
    Pass { name: "microsoft", about: "fused operators of com.microsoft become operators of ONNX", run: microsoft::run },
    Pass { name: "ml", about: "arithmetic of ai.onnx.ml becomes that of ONNX", run: ml::run },
    Pass { name: "quantised", about: "operators on integers become dequantise, compute, quantise", run: quantised::run },
    Pass { name: "optional", about: "operands that are not there have empty names, or none at the end", run: optional::run },
    Pass { name: "single", about: "what computes nothing of its one operand becomes an identity", run: single::run },
    Pass { name: "sums", about: "sums of many become sums of two", run: sums::run },
    Pass { name: "softplus", about: "the logarithm of an exponential becomes one that stays finite", run: softplus::run },
    Pass { name: "vectors", about: "products of two vectors become sums of products", run: vectors::run },
    Pass { name: "unread", about: "results and nodes that nothing reads go", run: unread::run },
    Pass { name: "names", about: "every node gets a name of its own", run: names::run },
];

/// A model on its way to the canonical form.
pub(crate) struct Draft {
    /// The model, without the data of its large initializers.
    pub model: ModelProto,
    /// See [`Decoded::defaults`].
    pub defaults: Vec<Vec<AttributeProto>>,
    /// The types that inputs and outputs are declared with, where they are not what is computed.
    pub declared: BTreeMap<String, Dtype>,
}

impl Draft {
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
}

/// A model as its file has it, and the hash of the file.
pub(crate) struct Opened {
    decoded: Decoded,
    /// blake3, hexadecimal.
    pub hash: String,
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

/// Validates a model and brings it into canonical form; external data is looked for in `folder`.
///
/// # Errors
/// All problems of the first stage that finds any.
pub(crate) fn normalise(
    opened: Opened,
    folder: &Path,
    options: &ImportOptions,
    observe: Option<&mut Observer<'_>>,
) -> Result<Normalised, ImportErrors> {
    let decoded = opened.decoded;
    let errors = validate::validate(&decoded, folder);
    if !errors.is_empty() {
        return Err(ImportErrors(errors));
    }
    let Decoded {
        model,
        data,
        defaults,
    } = decoded;
    let mut draft = Draft {
        model,
        defaults,
        declared: BTreeMap::new(),
    };
    run_passes(&mut draft, observe)?;
    bind(draft, data, folder, options)
}

fn run_passes(
    draft: &mut Draft,
    mut observe: Option<&mut Observer<'_>>,
) -> Result<(), ImportErrors> {
    let mut before = String::new();
    let mut tell = |name: &str, draft: &Draft| {
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

/// Loads external data, gives every dimension a number and takes the large initializers out.
fn bind(
    draft: Draft,
    data: LargeData,
    folder: &Path,
    options: &ImportOptions,
) -> Result<Normalised, ImportErrors> {
    let one = |error| ImportErrors(vec![error]);
    let mut model = draft.model;
    external::load(&mut model, folder).map_err(one)?;
    dimensions::bind(&mut model, options)?;
    let large = large::take(&mut model, data).map_err(one)?;
    Ok(Normalised { model, large })
}
