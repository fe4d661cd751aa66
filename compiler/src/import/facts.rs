//! Element type, shape and constant value of every tensor, from the initializers and from tract's typed model.

use super::culprit::culprit;
use super::{ImportError, ImportErrors, Large};
use crate::codes::Code;
use crate::normalise::proto::onnx_type;
use crate::normalise::{MOST_ERRORS, elements};
use scnn_host::{contained, reader};
use scnn_isa::program::Dtype;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};
use tract_onnx::prelude::{
    DatumType, InferenceModelExt, OutletId, Tensor, TractError, TractResult, TypedFact, TypedModel,
};
use tract_onnx::tensor::load_tensor;
use tract_onnx::tract_hir::ops::konst::Const;

/// What is known of a tensor.
#[derive(Clone, Debug)]
pub struct TensorFact {
    /// Element type.
    pub dtype: Dtype,
    /// Extents.
    pub dims: Vec<u64>,
    /// Its value, if it is constant.
    pub constant: Option<Arc<Tensor>>,
}

/// Facts by tensor name.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    facts: BTreeMap<String, TensorFact>,
}

impl Facts {
    /// The fact of a tensor.
    pub fn get(&self, name: &str) -> Option<&TensorFact> {
        self.facts.get(name)
    }

    /// The value of a constant tensor.
    pub fn constant(&self, name: &str) -> Option<&Tensor> {
        self.facts.get(name)?.constant.as_deref()
    }

    /// The value of a constant tensor, to be shared.
    pub fn shared(&self, name: &str) -> Option<&Arc<Tensor>> {
        self.facts.get(name)?.constant.as_ref()
    }

    /// Infers the facts of a model with bound dimensions, of which the `large` initializers have been taken out;
    /// and the model as tract types it.
    pub(super) fn infer(model: &ModelProto, large: &Large) -> Result<(Self, Typed), ImportErrors> {
        let (facts, typed) = contained(|| Self::from_tract(model, large))
            .map_err(|error| ImportErrors(vec![not_typed(model, large, &error)]))?;
        facts.require_shapes(model)?;
        Ok((facts, typed))
    }

    fn from_tract(model: &ModelProto, large: &Large) -> TractResult<(Self, Typed)> {
        let onnx = reader();
        let names = result_names(model);
        let typed = typed(model, large, &names)?;
        let mut facts = Self::default();
        let Some(graph) = &model.graph else {
            return Ok((facts, typed));
        };
        for (name, tensor) in large {
            facts.constant_is(name, Arc::clone(tensor));
        }
        for tensor in &graph.initializer {
            let value = load_tensor(&*onnx.provider, tensor, None)?;
            facts.constant_is(&tensor.name, Arc::new(value));
        }
        for name in &names {
            if facts.facts.contains_key(name) {
                continue;
            }
            let outlet = typed.outlets.get(name).copied();
            let Some(fact) = outlet.and_then(|outlet| typed.model.outlet_fact(outlet).ok()) else {
                continue;
            };
            let dims: Option<Vec<u64>> = fact
                .shape
                .as_concrete()
                .map(|dims| dims.iter().map(|&d| d as u64).collect());
            let (Some(dims), Some(dtype)) = (dims, dtype(fact.datum_type)) else {
                continue;
            };
            let constant = fact.konst.clone();
            facts.facts.insert(
                name.clone(),
                TensorFact {
                    dtype,
                    dims,
                    constant,
                },
            );
        }
        Ok((facts, typed))
    }

    fn constant_is(&mut self, name: &str, value: Arc<Tensor>) {
        let Some(dtype) = dtype(value.datum_type()) else {
            return;
        };
        let fact = TensorFact {
            dtype,
            dims: value.shape().iter().map(|&d| d as u64).collect(),
            constant: Some(value),
        };
        self.facts.insert(name.to_owned(), fact);
    }

    /// Every result that is used must have a shape, without zeros and of a size that fits a memory.
    fn require_shapes(&self, model: &ModelProto) -> Result<(), ImportErrors> {
        let Some(graph) = &model.graph else {
            return Ok(());
        };
        let read = graph.node.iter().flat_map(|node| &node.input);
        let used: BTreeSet<&String> = read.chain(graph.output.iter().map(|o| &o.name)).collect();
        let mut errors = Vec::new();
        for node in &graph.node {
            for name in node.output.iter().filter(|o| !o.is_empty()) {
                let problem = match self.get(name) {
                    None if used.contains(name) => (
                        Code::DynamicShape,
                        format!("the shape of its result `{name}` depends on data"),
                        "export the model with fixed shapes",
                    ),
                    Some(fact) if fact.dims.contains(&0) => (
                        Code::ZeroSize,
                        format!("its result `{name}` {:?} is empty", fact.dims),
                        "give inputs that are large enough for the network",
                    ),
                    Some(fact) if elements(&fact.dims).is_none() => (
                        Code::TooLarge,
                        format!(
                            "its result `{name}` {:?} has more than 2^31 elements",
                            fact.dims
                        ),
                        "give smaller inputs, or a smaller batch with `--dim`",
                    ),
                    None | Some(_) => continue,
                };
                let (code, message, remedy) = problem;
                errors.push(ImportError::node(code, node, message, remedy));
            }
        }
        errors.truncate(MOST_ERRORS);
        if errors.is_empty() {
            Ok(())
        } else {
            Err(ImportErrors(errors))
        }
    }
}

/// Why tract cannot type a model, and which node is at fault.
fn not_typed(model: &ModelProto, large: &Large, error: &TractError) -> ImportError {
    let chain: Vec<String> = error.chain().map(ToString::to_string).take(4).collect();
    let chain = chain.join(": ");
    let remedy = "check the model with onnx.checker and onnx.shape_inference; bind dimensions with `--dim NAME=VALUE`";
    // tract often names the node in quotes.
    let named =
        |node: &&NodeProto| !node.name.is_empty() && chain.contains(&format!("\"{}\"", node.name));
    let mut nodes = model.graph.iter().flat_map(|graph| &graph.node);
    if let Some(node) = nodes.find(named).or_else(|| culprit(model, large)) {
        let message = format!("the shape of its result cannot be inferred: {chain}");
        ImportError::node(Code::ShapeInference, node, message, remedy)
    } else {
        let message = format!("the shapes of this model cannot be inferred: {chain}");
        ImportError::model(Code::ShapeInference, message, remedy)
    }
}

/// Our name of tract's element type.
pub(crate) fn dtype(datum: DatumType) -> Option<Dtype> {
    Some(match datum {
        DatumType::F32 => Dtype::F32,
        DatumType::F64 => Dtype::F64,
        DatumType::F16 => Dtype::F16,
        DatumType::I8 => Dtype::I8,
        DatumType::I16 => Dtype::I16,
        DatumType::I32 => Dtype::I32,
        // tract computes shapes symbolically; whatever is concrete is a 64-bit integer.
        DatumType::I64 | DatumType::TDim => Dtype::I64,
        DatumType::U8 => Dtype::U8,
        DatumType::U16 => Dtype::U16,
        DatumType::U32 => Dtype::U32,
        DatumType::U64 => Dtype::U64,
        DatumType::Bool => Dtype::Bool,
        _ => return None,
    })
}

/// A constant as an initializer.
pub(crate) fn to_proto(name: &str, tensor: &Tensor) -> Option<TensorProto> {
    let tensor = if tensor.datum_type() == DatumType::TDim {
        tensor.cast_to_dt(DatumType::I64).ok()?
    } else {
        std::borrow::Cow::Borrowed(tensor)
    };
    Some(TensorProto {
        name: name.to_owned(),
        dims: tensor.shape().iter().map(|&d| d as i64).collect(),
        data_type: onnx_type(dtype(tensor.datum_type())?) as i32,
        raw_data: tensor.as_bytes().to_vec(),
        ..TensorProto::default()
    })
}

/// Names of all inputs and results of a model.
pub(crate) fn result_names(model: &ModelProto) -> Vec<String> {
    let graph = model.graph.iter();
    graph
        .flat_map(|graph| {
            let inputs = graph.input.iter().map(|input| &input.name);
            inputs.chain(graph.node.iter().flat_map(|node| &node.output))
        })
        .filter(|name| !name.is_empty())
        .cloned()
        .collect()
}

/// Names of the outputs of a model.
fn model_outputs(model: &ModelProto) -> Vec<String> {
    let graph = model.graph.iter();
    graph
        .flat_map(|graph| &graph.output)
        .map(|output| output.name.clone())
        .collect()
}

/// A model as tract types it.
#[derive(Clone, Debug)]
pub struct Typed {
    /// The model.
    pub(crate) model: TypedModel,
    /// Where it computes each of the names asked for.
    pub(crate) outlets: BTreeMap<String, OutletId>,
    /// Names of its outputs, in order.
    pub(crate) outputs: Vec<String>,
}

/// Has tract type a model. Its labels do not survive operators that change nothing, whose result is their operand; the
/// list of its outputs does. So every name asked for is made an output for as long as it takes.
pub(crate) fn typed(proto: &ModelProto, large: &Large, names: &[String]) -> TractResult<Typed> {
    // What the file says of results is not needed, and tract would refuse a model for it.
    let reader = reader()
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true);
    let mut parsed = reader.parse(proto, None)?;
    for (name, tensor) in large {
        let Some(&outlet) = parsed.outlets_by_name.get(name) else {
            continue;
        };
        let fact = TypedFact::try_from(Arc::clone(tensor))?;
        parsed.model.node_mut(outlet.node).op = Box::new(Const::new(Arc::clone(tensor))?);
        parsed.model.set_outlet_fact(outlet, fact.into())?;
        parsed.model.inputs.retain(|input| *input != outlet);
    }
    let outputs = parsed.model.outputs.len();
    let known: Vec<(&String, OutletId)> = names
        .iter()
        .filter_map(|name| Some((name, *parsed.outlets_by_name.get(name)?)))
        .collect();
    let mut inferred = parsed.model;
    inferred
        .outputs
        .extend(known.iter().map(|(_, outlet)| *outlet));
    let mut model = inferred.into_typed()?;
    let asked = model.outputs.split_off(outputs);
    let outlets = known
        .into_iter()
        .map(|(name, _)| name.clone())
        .zip(asked)
        .collect();
    let outputs = model_outputs(proto);
    Ok(Typed {
        model,
        outlets,
        outputs,
    })
}
