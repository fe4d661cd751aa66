//! A matrix product with a very large constant, which is read where it lies.
//!
//! tract's own product first copies its operands into the order of its kernels. For the 411 MB of a fully connected
//! layer, met by a single row of activations, that copy takes longer than the product and a third of the compiler's memory.

use rayon::prelude::*;
use tract_onnx::prelude::{
    DatumType, TValue, TVec, Tensor, TractResult, TypedFact, TypedModel, TypedNode, tvec,
};
use tract_onnx::tract_hir::internal::{DatumTypeExt, EvalContext, EvalOp, Op, StaticName, TypedOp};
use tract_onnx::tract_hir::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_hir::tract_core::ops::konst::Const;

/// `[m, k]` times a constant `[n, k]`, or `[k, n]`: `[m, n]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LargeGemm {
    /// Whether the constant is `[n, k]`.
    transposed: bool,
}

/// Outputs that a thread computes before it looks for more.
const OUTPUTS: usize = 64;

/// Sums that are kept apart, so that they need not wait for each other.
const LANES: usize = 16;

/// Replaces the products with constants of `bytes` and more.
pub(super) fn read_in_place(model: &mut TypedModel, bytes: usize) {
    for index in 0..model.nodes.len() {
        if let Some(gemm) = LargeGemm::of(model, &model.nodes[index], bytes) {
            model.nodes[index].op = Box::new(gemm);
        }
    }
}

impl LargeGemm {
    /// The form that a node has, if it is such a product.
    fn of(model: &TypedModel, node: &TypedNode, bytes: usize) -> Option<Self> {
        let einsum = node.op_as::<EinSum>()?;
        let [_, weights] = node.inputs[..] else {
            return None;
        };
        let constant = model.node(weights.node).op_as::<Const>()?.val();
        let size = constant.len() * constant.datum_type().size_of();
        let floats =
            constant.datum_type() == DatumType::F32 && einsum.operating_dt == DatumType::F32;
        if size < bytes || !floats || einsum.q_params.is_some() {
            return None;
        }
        let (inputs, outputs) = einsum.axes.to_strs();
        let axes = |text: &str| <[char; 2]>::try_from(text.chars().collect::<Vec<_>>()).ok();
        let ([m, k], right, [row, n]) = (axes(&inputs[0])?, axes(&inputs[1])?, axes(&outputs[0])?);
        if m != row {
            return None;
        }
        [(true, [n, k]), (false, [k, n])]
            .into_iter()
            .find(|(_, form)| *form == right)
            .map(|(transposed, _)| Self { transposed })
    }

    fn product(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (left, right) = (inputs[0].try_as_plain_ram()?, inputs[1].try_as_plain_ram()?);
        let (shape, other) = (inputs[0].shape(), inputs[1].shape());
        let (m, k) = (shape[0], shape[1]);
        let n = if self.transposed { other[0] } else { other[1] };
        let (left, right) = (left.as_slice::<f32>()?, right.as_slice::<f32>()?);
        let mut result = vec![0f32; m * n];
        for (left, result) in left
            .chunks_exact(k.max(1))
            .zip(result.chunks_exact_mut(n.max(1)))
        {
            result
                .par_chunks_mut(OUTPUTS)
                .enumerate()
                .for_each(|(chunk, result)| {
                    let first = chunk * OUTPUTS;
                    if self.transposed {
                        for (at, result) in result.iter_mut().enumerate() {
                            let row = (first + at) * k;
                            *result = dot(left, &right[row..row + k]);
                        }
                        return;
                    }
                    for (at, &scale) in left.iter().enumerate().filter(|(_, scale)| **scale != 0.0)
                    {
                        let row = &right[at * n + first..][..result.len()];
                        for (sum, weight) in result.iter_mut().zip(row) {
                            *sum += scale * weight;
                        }
                    }
                });
        }
        Ok(tvec!(Tensor::from_shape(&[m, n], &result)?.into()))
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b);
    sums.iter().sum::<f32>() + rest.sum::<f32>()
}

impl Op for LargeGemm {
    fn name(&self) -> StaticName {
        "LargeGemm".into()
    }

    fn as_typed(&self) -> Option<&dyn TypedOp> {
        Some(self)
    }
}

impl EvalOp for LargeGemm {
    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.product(&inputs)
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        self.product(&inputs).map(Some)
    }
}

impl TypedOp for LargeGemm {
    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let column = usize::from(!self.transposed);
        let shape = [inputs[0].shape[0].clone(), inputs[1].shape[column].clone()];
        Ok(tvec!(inputs[0].datum_type.fact(shape)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::IntoRunnable;
    use tract_onnx::tract_hir::internal::{AxesMapping, SpecialOps};

    /// Against tract's own product, in both orders of the constant.
    #[test]
    fn it_computes_what_tract_computes() {
        let values = |count: usize, seed: usize| -> Vec<f32> {
            (0..count)
                .map(|i| ((i * 7919 + seed) % 23) as f32 - 11.0)
                .collect()
        };
        for transposed in [true, false] {
            let (m, k, n) = (3, 37, 70);
            let mut model = TypedModel::default();
            let fact = DatumType::F32.fact([m, k]);
            let source = model.add_source("x", fact).unwrap();
            let shape = if transposed { [n, k] } else { [k, n] };
            let weights = Tensor::from_shape(&shape, &values(n * k, 5)).unwrap();
            let weights = model.add_const("w", weights).unwrap();
            let axes = AxesMapping::for_numpy_matmul(2, false, transposed, false).unwrap();
            let einsum = EinSum::new(axes, DatumType::F32);
            let wire = model.wire_node("y", einsum, &[source, weights]).unwrap();
            model.select_output_outlets(&wire).unwrap();
            let input = Tensor::from_shape(&[m, k], &values(m * k, 1)).unwrap();
            let expected = model
                .clone()
                .into_optimized()
                .unwrap()
                .into_runnable()
                .unwrap();
            let expected = expected.run(tvec!(input.clone().into())).unwrap();
            read_in_place(&mut model, 0);
            assert!(model.nodes.iter().any(TypedNode::op_is::<LargeGemm>));
            let ours = model.into_optimized().unwrap().into_runnable().unwrap();
            let ours = ours.run(tvec!(input.into())).unwrap();
            // Integers of this size are exact in any order of additions.
            assert_eq!(ours[0], expected[0]);
        }
    }
}
