//! Sizes of the inputs.

use super::ImportOptions;
use super::error::{ImportError, ImportErrors};
use crate::codes::Code;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::tensor_shape_proto::dimension::Value as DimValue;
use tract_onnx::pb::{ModelProto, type_proto};

/// Gives every dimension of every input a number.
///
/// Dimension 0 is the batch and 1 unless said otherwise; any other symbol has to be bound.
pub(super) fn bind(model: &mut ModelProto, options: &ImportOptions) -> Result<(), ImportErrors> {
    let Some(graph) = &mut model.graph else {
        return Ok(());
    };
    let constants: BTreeSet<&String> = graph.initializer.iter().map(|i| &i.name).collect();
    let mut unbound: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut errors = Vec::new();
    for input in graph
        .input
        .iter_mut()
        .filter(|input| !constants.contains(&input.name))
    {
        let Some(type_proto::Value::TensorType(tensor)) =
            input.r#type.as_mut().and_then(|t| t.value.as_mut())
        else {
            errors.push(ImportError::model(
                Code::BadTensor,
                format!("the input `{}` is no tensor", input.name),
                "sequences and maps are not supported; export the model with tensor inputs",
            ));
            continue;
        };
        let Some(shape) = &mut tensor.shape else {
            errors.push(ImportError::model(
                Code::DynamicShape,
                format!("the input `{}` has no shape", input.name),
                "export the model with the shape of its inputs",
            ));
            continue;
        };
        for (index, dim) in shape.dim.iter_mut().enumerate() {
            let bound = match &dim.value {
                Some(DimValue::DimValue(value)) if *value > 0 => continue,
                Some(DimValue::DimValue(value)) if *value < 0 || index > 0 => {
                    errors.push(ImportError::model(
                        Code::ZeroSize,
                        format!("dimension {index} of the input `{}` is {value}", input.name),
                        "export the model with positive dimensions",
                    ));
                    continue;
                }
                Some(DimValue::DimParam(name)) => {
                    let value = options
                        .dims
                        .get(name)
                        .copied()
                        .or((index == 0).then_some(1));
                    if value.is_none() {
                        unbound
                            .entry(name.clone())
                            .or_default()
                            .push(format!("{}[{index}]", input.name));
                    }
                    value
                }
                Some(DimValue::DimValue(_)) | None => {
                    let name = format!("{}[{index}]", input.name);
                    let value = options
                        .dims
                        .get(&name)
                        .copied()
                        .or((index == 0).then_some(1));
                    if value.is_none() {
                        unbound.entry(name.clone()).or_default().push(name);
                    }
                    value
                }
            };
            if let Some(value) = bound {
                dim.value = Some(DimValue::DimValue(value as i64));
            }
        }
    }
    if !unbound.is_empty() {
        let list: Vec<String> = unbound
            .iter()
            .map(|(name, uses)| format!("{name} (in {})", uses.join(", ")))
            .collect();
        let help: Vec<String> = unbound
            .keys()
            .map(|name| format!("--dim {name}=VALUE"))
            .collect();
        let message = format!("dimensions without a value: {}", list.join("; "));
        errors.push(ImportError::model(
            Code::UnboundDimension,
            message,
            format!("give {}", help.join(" ")),
        ));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ImportErrors(errors))
    }
}
