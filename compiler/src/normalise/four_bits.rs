//! Constants of 4-bit integers that are only dequantised become constants of 8-bit integers: the same numbers, of a type that
//! every runtime has, whatever the operator set of the model.
//!
//! Two numbers lie in a byte, the first in its lower half.

use super::Draft;
use super::error::ImportError;
use super::proto::is_standard;
use std::collections::BTreeMap;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

/// ONNX's numbers of the two types, which tract's form of a model does not name.
const UINT4: i32 = 21;
const INT4: i32 = 22;

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    draft.each_graph(|graph| {
        widen(graph);
        Ok(())
    })
}

/// Widens the constants that a graph dequantises.
fn widen(graph: &mut GraphProto) {
    const DATA: usize = 0;
    const ZERO_POINT: usize = 2;
    let constants = graph.initializer.iter();
    let wide: BTreeMap<String, TensorProto> = constants
        .filter_map(|tensor| Some((tensor.name.clone(), in_bytes(tensor)?)))
        .collect();
    if wide.is_empty() {
        return;
    }
    let mut read: BTreeMap<String, &TensorProto> = BTreeMap::new();
    for node in graph.node.iter_mut().filter(|node| dequantises(node)) {
        if !node
            .input
            .get(DATA)
            .is_some_and(|name| wide.contains_key(name))
        {
            continue;
        }
        for index in [DATA, ZERO_POINT] {
            let operand = node.input.get_mut(index);
            if let Some(operand) = operand
                && let Some(tensor) = wide.get(operand.as_str())
            {
                read.insert(operand.clone(), tensor);
                operand.clone_from(&tensor.name);
            }
        }
    }
    graph.initializer.extend(read.into_values().cloned());
}

fn dequantises(node: &NodeProto) -> bool {
    let known = is_standard(node) || node.domain == "com.microsoft";
    known && node.op_type == "DequantizeLinear"
}

/// The numbers of a tensor of 4-bit integers, a byte each; none of another type, or if it has too few of them.
fn in_bytes(tensor: &TensorProto) -> Option<TensorProto> {
    let (signed, data_type) = match tensor.data_type {
        UINT4 => (false, DataType::Uint8),
        INT4 => (true, DataType::Int8),
        _ => return None,
    };
    let pairs: Vec<u8> = if tensor.raw_data.is_empty() {
        let pairs = tensor.int32_data.iter();
        pairs.map(|&pair| pair.to_le_bytes()[0]).collect()
    } else {
        tensor.raw_data.clone()
    };
    let mut extents = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok());
    let count = extents.try_fold(1usize, |count, dim| count.checked_mul(dim?))?;
    if pairs.len() != count.div_ceil(2) {
        return None;
    }
    let halves = pairs.iter().flat_map(|pair| [pair & 15, pair >> 4]);
    let number = |half: u8| {
        if signed && half > 7 {
            half | 0xf0
        } else {
            half
        }
    };
    Some(TensorProto {
        name: format!("{}:bytes", tensor.name),
        dims: tensor.dims.clone(),
        data_type: data_type as i32,
        raw_data: halves.take(count).map(number).collect(),
        ..TensorProto::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::proto::node_of;
    use super::*;

    fn constant(name: &str, data_type: i32, dims: &[i64], raw: &[u8]) -> TensorProto {
        TensorProto {
            name: name.to_owned(),
            dims: dims.to_vec(),
            data_type,
            raw_data: raw.to_vec(),
            ..TensorProto::default()
        }
    }

    #[test]
    fn numbers_keep_their_sign_and_their_order() {
        let signed = in_bytes(&constant("w", INT4, &[3], &[0x8f, 0x07])).unwrap();
        assert_eq!(signed.raw_data, [-1i8, -8, 7].map(i8::cast_unsigned));
        let unsigned = in_bytes(&constant("w", UINT4, &[3], &[0x8f, 0x07])).unwrap();
        assert_eq!(unsigned.raw_data, [15, 8, 7]);
        assert!(
            in_bytes(&constant("w", INT4, &[5], &[0, 0])).is_none(),
            "too few"
        );
        assert!(in_bytes(&constant("w", DataType::Int8 as i32, &[2], &[0, 0])).is_none());
    }

    #[test]
    fn what_is_dequantised_is_read_in_bytes_and_what_is_quantised_to_stays() {
        let node = |operator: &str, operands: &[&str], result: &str| {
            let mut node = node_of(operands, result);
            operator.clone_into(&mut node.op_type);
            node
        };
        let mut graph = GraphProto {
            node: vec![
                node("DequantizeLinear", &["w", "scale", "zero"], "weights"),
                node("QuantizeLinear", &["x", "scale", "zero"], "q"),
                node("DequantizeLinear", &["q", "scale", "zero"], "y"),
            ],
            initializer: vec![
                constant("w", INT4, &[2], &[0x21]),
                constant("zero", INT4, &[], &[0]),
            ],
            ..GraphProto::default()
        };
        widen(&mut graph);
        assert_eq!(graph.node[0].input, ["w:bytes", "scale", "zero:bytes"]);
        assert_eq!(graph.node[1].input, ["x", "scale", "zero"]);
        assert_eq!(graph.node[2].input, ["q", "scale", "zero"]);
        assert_eq!(graph.initializer.len(), 4);
    }
}
