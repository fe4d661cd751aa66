//! Element type, shape and constant value of every tensor, from the initializers and from tract's typed model.

use super::fold::fold;
use super::{ImportError, ImportErrors, Large};
use crate::codes::Code;
use crate::normalise::proto::onnx_type;
use crate::normalise::{MOST_ERRORS, elements};
use scnn_host::datum_type;
use scnn_host::reader;
use scnn_isa::program::Dtype;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as DimValue;
use tract_onnx::pb::{ModelProto, TensorProto, ValueInfoProto, type_proto};
use tract_onnx::prelude::{
    DatumType, InferenceModelExt, OutletId, Tensor, TractResult, TypedFact, TypedModel,
};
use tract_onnx::tensor::load_tensor;
use tract_onnx::tract_hir::ops::konst::Const;

/// Type, extents and, if it is constant, value of a tensor.
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

    /// The facts of the initializers.
    pub(super) fn of_constants(model: &ModelProto, large: &Large) -> Self {
        let mut facts = Self::default();
        for (name, tensor) in large {
            facts.constant_is(name, Arc::clone(tensor));
        }
        let onnx = tract_onnx::onnx();
        for tensor in model.graph.iter().flat_map(|graph| &graph.initializer) {
            // Nodes that read one of another type are not given to tract.
            if let Ok(value) = load_tensor(&*onnx.provider, tensor, None) {
                facts.constant_is(&tensor.name, Arc::new(value));
            }
        }
        facts
    }

    /// Records the declared types of the inputs, whose dimensions are bound.
    pub(super) fn declare_inputs(&mut self, model: &ModelProto) {
        for input in model.graph.iter().flat_map(|graph| &graph.input) {
            if let (None, Some((dtype, dims))) = (self.get(&input.name), declared_type(input)) {
                let constant = None;
                let fact = TensorFact {
                    dtype,
                    dims,
                    constant,
                };
                self.insert(input.name.clone(), fact);
            }
        }
    }

    /// Records tract's fact of a tensor, unless there is one already.
    pub(super) fn learn(&mut self, name: &str, fact: &TypedFact) {
        let known = self.get(name);
        if known.is_some_and(|known| known.constant.is_some()) {
            return;
        }
        let dims: Option<Vec<u64>> = fact
            .shape
            .as_concrete()
            .map(|dims| dims.iter().map(|&d| d as u64).collect());
        if let (Some(dims), Some(dtype)) = (dims, dtype(fact.datum_type)) {
            let constant = fact.konst.clone();
            let fact = TensorFact {
                dtype,
                dims,
                constant,
            };
            self.insert(name.to_owned(), fact);
        }
    }

    /// Records the fact of a tensor.
    pub(super) fn insert(&mut self, name: String, fact: TensorFact) {
        self.facts.insert(name, fact);
    }

    /// Records the value of a constant tensor.
    pub(super) fn constant_is(&mut self, name: &str, value: Arc<Tensor>) {
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
    pub(super) fn require_shapes(
        &self,
        model: &ModelProto,
        internal: &BTreeSet<String>,
    ) -> Result<(), ImportErrors> {
        let Some(graph) = &model.graph else {
            return Ok(());
        };
        let read = graph.node.iter().flat_map(|node| &node.input);
        let used: BTreeSet<&String> = read.chain(graph.output.iter().map(|o| &o.name)).collect();
        let mut errors = Vec::new();
        for node in &graph.node {
            for name in node.output.iter().filter(|o| !o.is_empty()) {
                let problem = match self.get(name) {
                    None if used.contains(name) && !internal.contains(name) => (
                        Code::DynamicShape,
                        format!("the shape of its result `{name}` depends on data"),
                        "export the model with fixed shapes",
                    ),
                    // An empty list is a shape without extents.
                    Some(fact) if fact.dims.contains(&0) && fact.constant.is_none() => (
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

/// Our name of tract's element type.
pub(crate) fn dtype(datum: DatumType) -> Option<Dtype> {
    Some(match datum {
        DatumType::F32 => Dtype::F32,
        DatumType::F64 => Dtype::F64,
        DatumType::F16 => Dtype::F16,
        DatumType::I8 => Dtype::I8,
        DatumType::I16 => Dtype::I16,
        DatumType::I32 => Dtype::I32,
        // tract computes shapes symbolically; concrete ones are 64-bit integers.
        DatumType::I64 | DatumType::TDim => Dtype::I64,
        DatumType::U8 => Dtype::U8,
        DatumType::U16 => Dtype::U16,
        DatumType::U32 => Dtype::U32,
        DatumType::U64 => Dtype::U64,
        DatumType::Bool => Dtype::Bool,
        _ => return None,
    })
}

/// All element types.
const ALL_TYPES: [Dtype; 12] = [
    Dtype::F32,
    Dtype::F64,
    Dtype::F16,
    Dtype::I8,
    Dtype::I16,
    Dtype::I32,
    Dtype::I64,
    Dtype::U8,
    Dtype::U16,
    Dtype::U32,
    Dtype::U64,
    Dtype::Bool,
];

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

/// The initializer of that name.
pub(super) fn declared<'a>(model: &'a ModelProto, name: &str) -> Option<&'a TensorProto> {
    let mut initializers = model.graph.iter().flat_map(|graph| &graph.initializer);
    initializers.find(|tensor| tensor.name == name)
}

/// The type of an input whose dimensions are bound.
fn declared_type(input: &ValueInfoProto) -> Option<(Dtype, Vec<u64>)> {
    let value = input.r#type.as_ref()?.value.as_ref()?;
    let type_proto::Value::TensorType(tensor) = value;
    let data_type = DataType::try_from(tensor.elem_type).ok()?;
    let dtype = ALL_TYPES
        .into_iter()
        .find(|&dtype| onnx_type(dtype) == data_type)?;
    let dims = tensor
        .shape
        .as_ref()?
        .dim
        .iter()
        .map(|dim| match dim.value {
            Some(DimValue::DimValue(value)) => u64::try_from(value).ok(),
            Some(DimValue::DimParam(_)) | None => None,
        });
    Some((dtype, dims.collect::<Option<_>>()?))
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
pub(super) fn model_outputs(model: &ModelProto) -> Vec<String> {
    let graph = model.graph.iter();
    graph
        .flat_map(|graph| &graph.output)
        .map(|output| output.name.clone())
        .collect()
}

/// The value of a tensor that a model computes of its constants alone, if tract can tell.
pub(super) fn value_of(model: &ModelProto, large: &Large, name: &str) -> Option<Arc<Tensor>> {
    let names = [name.to_owned()];
    let (model, outlets) = scnn_host::contained(|| typed(model, large, &names)).ok()?;
    model.outlet_fact(*outlets.get(name)?).ok()?.konst.clone()
}

/// Has tract type a model. Its labels do not survive operators that change nothing, whose result is their operand; the
/// list of its outputs does. So every name asked for is made an output for as long as it takes.
/// Returns it, and where it computes each of the names.
pub(super) fn typed(
    proto: &ModelProto,
    large: &Large,
    names: &[String],
) -> TractResult<(TypedModel, BTreeMap<String, OutletId>)> {
    // The file's types of results are not needed, and tract would refuse a model for them.
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
    // An output that is an input has lost its fact to that of the output, which is empty.
    for input in proto.graph.iter().flat_map(|graph| &graph.input) {
        let outlet = parsed.outlets_by_name.get(&input.name);
        let outlet = outlet.filter(|outlet| parsed.model.outputs.contains(outlet));
        if let (Some(&outlet), Some((dtype, dims))) = (outlet, declared_type(input)) {
            let fact = TypedFact::dt_shape(datum_type(dtype), dims.iter().map(|&dim| dim as usize));
            parsed.model.set_outlet_fact(outlet, fact.into())?;
        }
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
    fold(&mut model)?;
    let asked = model.outputs.split_off(outputs);
    let outlets = known
        .into_iter()
        .map(|(name, _)| name.clone())
        .zip(asked)
        .collect();
    Ok((model, outlets))
}
