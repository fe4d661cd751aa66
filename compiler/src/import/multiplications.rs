//! Multiplications of a node on a dense machine, by which a report of coverage weighs nodes.

use super::attributes::Attributes;
use std::collections::BTreeMap;
use tract_onnx::pb::NodeProto;

/// Multiplications of `node`; `extents` tells the extents of a tensor. A node of no known form, or without extents, is
/// counted as none: products of two tensors are counted, scaling of one is not.
pub fn multiplications(node: &NodeProto, extents: &dyn Fn(&str) -> Option<Vec<u64>>) -> u64 {
    count(node, extents).unwrap_or(0)
}

fn count(node: &NodeProto, extents: &dyn Fn(&str) -> Option<Vec<u64>>) -> Option<u64> {
    let operand = |index: usize| extents(node.input.get(index)?);
    let result = || Some(product(&extents(node.output.first()?)?));
    let attributes = Attributes::of(node);
    match node.op_type.as_str() {
        // Each output of a channel takes as many as the channel has weights.
        "Conv" | "ConvInteger" | "DeformConv" | "FusedConv" => {
            result()?.checked_mul(per_first(&operand(1)?))
        }
        "QLinearConv" => result()?.checked_mul(per_first(&operand(3)?)),
        // Each input of a channel meets as many weights as the channel has.
        "ConvTranspose" => product(&operand(0)?).checked_mul(per_first(&operand(1)?)),
        "MatMul" | "MatMulInteger" | "QLinearMatMul" | "FusedMatMul" => {
            result()?.checked_mul(*operand(0)?.last()?)
        }
        "Gemm" | "FusedGemm" => {
            let axis = usize::from(attributes.int("transA", 0) == 0);
            result()?.checked_mul(*operand(0)?.get(axis)?)
        }
        // Every step of every sequence passes through all weights of its input and of its state.
        "LSTM" | "GRU" | "RNN" | "DynamicQuantizeLSTM" => {
            let steps = product(operand(0)?.get(..2)?);
            let weights = product(&operand(1)?).checked_add(product(&operand(2)?))?;
            steps.checked_mul(weights)
        }
        "Einsum" => {
            let shapes: Option<Vec<Vec<u64>>> = (0..node.input.len()).map(operand).collect();
            let equation = node.attribute.iter().find(|a| a.name == "equation")?;
            einsum(std::str::from_utf8(&equation.s).ok()?, &shapes?)
        }
        _ => Some(0),
    }
}

/// An equation over two operands or more takes one multiplication less than it has operands for every value of all its
/// indices.
fn einsum(equation: &str, shapes: &[Vec<u64>]) -> Option<u64> {
    let operands = equation.split("->").next()?.split(',');
    let mut indices: BTreeMap<String, u64> = BTreeMap::new();
    for (letters, shape) in operands.zip(shapes) {
        let letters: String = letters.split_whitespace().collect();
        let (before, after) = letters.split_once("...").unwrap_or((&letters, ""));
        let implied = shape.len().checked_sub(before.len() + after.len())?;
        let names = before.chars().map(String::from);
        // Axes of an ellipsis are counted from the last one.
        let names = names.chain((0..implied).rev().map(|axis| format!("...{axis}")));
        let names = names.chain(after.chars().map(String::from));
        for (name, &extent) in names.zip(shape) {
            let known = indices.entry(name).or_insert(1);
            *known = extent.max(*known);
        }
    }
    let points = indices
        .values()
        .try_fold(1u64, |all, &extent| all.checked_mul(extent));
    points?.checked_mul((shapes.len() as u64).saturating_sub(1))
}

fn product(dims: &[u64]) -> u64 {
    dims.iter()
        .fold(1, |all, &extent| all.saturating_mul(extent))
}

/// Values for each entry of the first axis.
fn per_first(dims: &[u64]) -> u64 {
    product(dims.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(operator: &str, shapes: &[&[u64]], equation: Option<&str>) -> u64 {
        let names: Vec<String> = (0..shapes.len()).map(|index| format!("t{index}")).collect();
        let (output, inputs) = names.split_last().unwrap();
        let attribute = equation.map(|equation| tract_onnx::pb::AttributeProto {
            name: "equation".to_owned(),
            s: equation.as_bytes().to_vec(),
            ..Default::default()
        });
        let node = NodeProto {
            op_type: operator.to_owned(),
            input: inputs.to_vec(),
            output: vec![output.clone()],
            attribute: attribute.into_iter().collect(),
            ..NodeProto::default()
        };
        multiplications(&node, &|name| {
            let index = names.iter().position(|known| known == name)?;
            Some(shapes[index].to_vec())
        })
    }

    #[test]
    fn operators_that_multiply_two_tensors_are_counted() {
        let lstm: [&[u64]; 4] = [
            &[64, 1, 100],
            &[1, 400, 100],
            &[1, 400, 100],
            &[64, 1, 1, 100],
        ];
        assert_eq!(counted("LSTM", &lstm, None), 64 * 400 * 200);
        let matmul: [&[u64]; 3] = [&[1, 256, 64], &[1, 64, 256], &[1, 256, 256]];
        assert_eq!(counted("MatMul", &matmul, None), 256 * 64 * 256);
        let conv: [&[u64]; 3] = [&[1, 8, 16, 16], &[16, 8, 3, 3], &[1, 16, 14, 14]];
        assert_eq!(counted("ConvInteger", &conv, None), 16 * 14 * 14 * 72);
        let transposed: [&[u64]; 3] = [&[1, 6, 7, 7], &[6, 5, 4, 4], &[1, 5, 16, 16]];
        assert_eq!(counted("ConvTranspose", &transposed, None), 6 * 49 * 80);
        let gemm: [&[u64]; 3] = [&[2, 30], &[30, 10], &[2, 10]];
        assert_eq!(counted("Gemm", &gemm, None), 2 * 30 * 10);
        assert_eq!(counted("Add", &gemm, None), 0);
    }

    #[test]
    fn an_equation_counts_all_values_of_its_indices() {
        let shapes: [&[u64]; 3] = [&[2, 3, 4], &[2, 4, 5], &[2, 3, 5]];
        assert_eq!(
            counted("Einsum", &shapes, Some("bij,bjk->bik")),
            2 * 3 * 4 * 5
        );
        assert_eq!(
            counted("Einsum", &shapes, Some("...ij, ...jk -> ...ik")),
            2 * 3 * 4 * 5
        );
        assert_eq!(counted("Einsum", &shapes[..2], Some("bij->bji")), 0);
    }
}
