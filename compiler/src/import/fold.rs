//! Evaluates the nodes of a typed model that depend on constants alone. tract folds no constants above a few
//! megabytes: without this pass the transposed weights of a large product and the parts of a split kernel have no value.

use tract_onnx::prelude::{IntoTensor, TVec, Tensor, TractResult, TypedFact, TypedModel};
use tract_onnx::tract_hir::internal::{IntoTValue, TypedOp};

/// Factor by which a result may be larger than its operands: weights of four bits become floats. Larger results are repetitions.
const MOST_GROWTH: usize = 8;

/// Bytes that a result may have however small its operands are.
const SMALL: usize = 4 << 20;

/// Records the value of every tensor that depends on constants alone. A result that cannot be evaluated has none: its
/// runtime says why.
pub(super) fn fold(model: &mut TypedModel) -> TractResult<()> {
    for id in model.eval_order()? {
        let values = values_of(model, id)?;
        for (result, value) in model.node_mut(id).outputs.iter_mut().zip(values) {
            result.fact.konst = Some(value.into());
        }
    }
    Ok(())
}

/// The results of a node, if they are constant and not known to be.
fn values_of(model: &TypedModel, id: usize) -> TractResult<TVec<Tensor>> {
    let (operands, results) = model.node_facts(id)?;
    if operands.is_empty() || results.iter().all(|fact| fact.konst.is_some()) {
        return Ok(TVec::new());
    }
    let op = &*model.node(id).op;
    Ok(evaluated(op, &operands, &results).unwrap_or_default())
}

/// The results of an operator whose operands are constants.
fn evaluated(
    op: &dyn TypedOp,
    operands: &[&TypedFact],
    results: &[&TypedFact],
) -> Option<TVec<Tensor>> {
    let constant = |fact: &&TypedFact| fact.konst.clone().filter(|value| value.is_plain_ram());
    let values: TVec<_> = operands.iter().map(constant).collect::<Option<_>>()?;
    let bytes = |facts: &[&TypedFact]| -> Option<usize> {
        let each = facts.iter().map(|fact| fact.mem_size().as_i64());
        usize::try_from(each.sum::<Option<i64>>()?).ok()
    };
    let most = bytes(operands)?.saturating_mul(MOST_GROWTH).max(SMALL);
    if bytes(results)? > most {
        return None;
    }
    let values = values.into_iter().map(IntoTValue::into_tvalue).collect();
    let computed = op.eval_out_of_plan(values).ok()??;
    Some(computed.into_iter().map(IntoTensor::into_tensor).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::ShapeFact;
    use tract_onnx::tract_hir::internal::{AxisOp, SpecialOps};
    use tract_onnx::tract_hir::ops::konst::Const;
    use tract_onnx::tract_hir::tract_core::ops::array::MultiBroadcastTo;

    /// Elements of a constant that tract leaves as it is.
    const MANY: usize = SMALL / 4 + 2;

    /// Applies `op` to a constant, folds, and gives the fact of the result.
    fn folded(constant: Tensor, op: impl Into<Box<dyn TypedOp>>) -> TypedFact {
        let mut model = TypedModel::default();
        let constant = Const::new(constant.into()).unwrap();
        let constant = model.wire_node("constant", constant, &[]).unwrap();
        let results = model.wire_node("result", op, &constant).unwrap();
        model.select_output_outlets(&results).unwrap();
        fold(&mut model).unwrap();
        model.outlet_fact(results[0]).unwrap().clone()
    }

    #[test]
    fn what_is_computed_of_a_large_constant_is_constant() {
        let values: Vec<f32> = (0..MANY).map(|i| i as f32).collect();
        let constant = Tensor::from_shape(&[2, MANY / 2], &values).unwrap();
        let value = folded(constant, AxisOp::Move(0, 1)).konst.unwrap();
        assert_eq!(value.shape(), [MANY / 2, 2]);
        let value = value.to_plain_array_view::<f32>().unwrap();
        assert_eq!(value[[1, 0]], 1.0);
        assert_eq!(value[[1, 1]], (MANY / 2 + 1) as f32);
    }

    #[test]
    fn a_small_constant_that_is_repeated_very_often_has_no_value() {
        // Results of fewer than 16 constants are constants whatever their size.
        let repeated = |times: usize| {
            let shape = ShapeFact::from_dims([16, times]);
            let ones = Tensor::from_shape(&[16, 1], &[1f32; 16]).unwrap();
            folded(ones, MultiBroadcastTo { shape }).konst
        };
        assert!(repeated(MANY / 32).is_some());
        assert!(repeated(MANY / 16 + 1).is_none());
    }
}
