//! Outputs that are no tensors of numbers are left out: a program has no form for words, lists and dictionaries.
//!
//! A classifier of scikit-learn has the word of its class beside the probabilities of all. Each output that goes is noted; a
//! model all of whose outputs are such is refused later, by the node that computes the first.

use super::Draft;
use super::error::ImportError;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{TypeProto, ValueInfoProto, type_proto};

/// Runs the pass.
#[expect(clippy::unnecessary_wraps)] // A pass may refuse.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let Some(graph) = &mut draft.model.graph else {
        return Ok(());
    };
    if graph.output.iter().all(|output| what(output).is_some()) {
        return Ok(());
    }
    let mut kept = Vec::new();
    for output in std::mem::take(&mut graph.output) {
        match what(&output) {
            None => kept.push(output),
            Some(what) => draft.notes.push(format!(
                "the output `{}` is left out: it is {what}, and a program computes numbers",
                output.name
            )),
        }
    }
    graph.output = kept;
    Ok(())
}

/// Whether an output is a tensor of numbers, as far as its type says.
pub(crate) fn is_of_numbers(output: &ValueInfoProto) -> bool {
    what(output).is_none()
}

/// What an output is, if it is no tensor of numbers. An output without a type may be anything.
fn what(output: &ValueInfoProto) -> Option<&'static str> {
    let TypeProto { value, .. } = output.r#type.as_ref()?;
    match value {
        Some(type_proto::Value::TensorType(tensor)) => {
            (tensor.elem_type == DataType::String as i32).then_some("of words")
        }
        // tract's form of a type has tensors alone.
        None => Some("a list or a dictionary"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::proto::value_info;
    use super::*;
    use scnn_isa::program::Dtype;

    #[test]
    fn words_and_lists_are_told_from_numbers() {
        let numbers = value_info("y", Dtype::I64, &[1]);
        assert_eq!(what(&numbers), None);
        let mut words = numbers.clone();
        if let Some(tensor) = super::super::proto::tensor_type_mut(&mut words) {
            tensor.elem_type = DataType::String as i32;
        }
        assert_eq!(what(&words), Some("of words"));
        let list = ValueInfoProto {
            r#type: Some(TypeProto::default()),
            ..numbers.clone()
        };
        assert_eq!(what(&list), Some("a list or a dictionary"));
        let untyped = ValueInfoProto {
            r#type: None,
            ..numbers
        };
        assert_eq!(what(&untyped), None);
    }
}
