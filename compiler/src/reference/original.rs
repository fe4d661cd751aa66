//! The file itself, run by ONNX Runtime: a float reference that shares nothing with the compiler but the reader of
//! protobuf. Nothing is normalised, decomposed or typed; the tensors that are compared are made outputs.

use crate::normalise::{self, ImportOptions};
use crate::reference::float::FloatError;
use prost::Message;
use scnn_host::{Host, HostError, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{ModelProto, ValueInfoProto, type_proto};
use tract_onnx::prelude::{DatumType, Tensor};

/// A model file in a session of ONNX Runtime.
pub struct Original {
    session: Box<dyn Session>,
    /// Names, and the types that the file declares.
    inputs: Vec<(String, Option<DatumType>)>,
    outputs: Vec<String>,
    /// Runtime and version.
    pub runtime: String,
}

impl Original {
    /// Loads the file at `path`, to compute its outputs and those of the tensors in `wanted` that it has by that name.
    ///
    /// # Errors
    /// ONNX Runtime is missing, or cannot run the model.
    pub fn load(
        path: &Path,
        wanted: &[String],
        options: &ImportOptions,
        host: &Host,
    ) -> Result<Self, HostError> {
        let runtime = host.onnx_runtime()?;
        let mut model = normalise::as_written(path, options)
            .map_err(|errors| HostError::Refused(errors.to_string()))?;
        let inputs = open_inputs(&model);
        let outputs = ask_for(&mut model, wanted);
        Ok(Self {
            session: runtime.load(&model.encode_to_vec())?,
            inputs,
            outputs,
            runtime: format!("{} {}", runtime.name(), runtime.version()),
        })
    }

    /// Runs it on inputs by name, in the types that the file declares.
    ///
    /// # Errors
    /// An input is missing or does not fit.
    pub fn run(
        &self,
        inputs: &BTreeMap<String, Tensor>,
    ) -> Result<BTreeMap<String, Tensor>, FloatError> {
        let operand = |(name, datum): &(String, Option<DatumType>)| {
            let missing = || FloatError(format!("the input `{name}` is missing"));
            let tensor = inputs.get(name).ok_or_else(missing)?;
            match datum {
                Some(datum) => Ok(tensor.cast_to_dt(*datum)?.into_owned()),
                None => Ok(tensor.clone()),
            }
        };
        let operands: Result<Vec<Tensor>, FloatError> = self.inputs.iter().map(operand).collect();
        let results = self.session.run(operands?);
        let results = results.map_err(|error| FloatError(error.to_string()))?;
        Ok(self.outputs.iter().cloned().zip(results).collect())
    }
}

/// The inputs that are no constants.
fn open_inputs(model: &ModelProto) -> Vec<(String, Option<DatumType>)> {
    let Some(graph) = &model.graph else {
        return Vec::new();
    };
    let constants = graph.initializer.iter().map(|tensor| &tensor.name);
    let constants: BTreeSet<&String> = constants.collect();
    let open = graph
        .input
        .iter()
        .filter(|input| !constants.contains(&input.name));
    open.map(|input| (input.name.clone(), datum(input)))
        .collect()
}

fn datum(input: &ValueInfoProto) -> Option<DatumType> {
    let type_proto::Value::TensorType(tensor) = input.r#type.as_ref()?.value.as_ref()?;
    Some(match DataType::try_from(tensor.elem_type).ok()? {
        DataType::Float => DatumType::F32,
        DataType::Double => DatumType::F64,
        DataType::Float16 => DatumType::F16,
        DataType::Int8 => DatumType::I8,
        DataType::Int16 => DatumType::I16,
        DataType::Int32 => DatumType::I32,
        DataType::Int64 => DatumType::I64,
        DataType::Uint8 => DatumType::U8,
        DataType::Uint16 => DatumType::U16,
        DataType::Uint32 => DatumType::U32,
        DataType::Uint64 => DatumType::U64,
        DataType::Bool => DatumType::Bool,
        _ => return None,
    })
}

/// Makes outputs of the tensors in `wanted` that a node computes, and leaves out those that are no tensors of numbers, as
/// words and dictionaries of a classifier; the names of all outputs.
fn ask_for(model: &mut ModelProto, wanted: &[String]) -> Vec<String> {
    let Some(graph) = &mut model.graph else {
        return Vec::new();
    };
    graph.output.retain(normalise::is_of_numbers);
    let mut known: BTreeSet<String> = graph.output.iter().map(|o| o.name.clone()).collect();
    let results = graph.node.iter().flat_map(|node| &node.output);
    let results: BTreeSet<String> = results.cloned().collect();
    for name in wanted {
        if results.contains(name) && known.insert(name.clone()) {
            graph.output.push(ValueInfoProto {
                name: name.clone(),
                ..ValueInfoProto::default()
            });
        }
    }
    graph
        .output
        .iter()
        .map(|output| output.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::proto::{node_of, value_info};
    use scnn_isa::program::Dtype;
    use tract_onnx::pb::{GraphProto, TypeProto};

    /// As a classifier of scikit-learn has them.
    #[test]
    fn dictionaries_are_no_outputs_of_the_reference_and_what_they_are_made_of_is() {
        let mut dictionaries = value_info("zipped", Dtype::F32, &[]);
        dictionaries.r#type = Some(TypeProto::default());
        let graph = GraphProto {
            node: vec![node_of(&["x"], "shares"), node_of(&["shares"], "zipped")],
            output: vec![value_info("label", Dtype::I64, &[1]), dictionaries],
            ..GraphProto::default()
        };
        let mut model = ModelProto {
            graph: Some(graph),
            ..ModelProto::default()
        };
        let outputs = ask_for(&mut model, &["shares".to_owned()]);
        assert_eq!(outputs, ["label", "shares"]);
    }
}
