//! tract's batch normalisation, which reads the second extent of its operand without looking whether there is one, behind
//! a look.

use std::sync::LazyLock;
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{
    EvalOp, Factoid, HashMap, InferenceFact, InferenceModel, InferenceNode, InferenceOp, Op,
    OutletId, StaticName, TValue, TVec, TractErrorContext, TractResult, TypedModel, TypedOp,
    ensure, not_a_typed_op,
};

/// Puts the look before tract's operator.
pub(super) fn guard(mut framework: Onnx) -> Onnx {
    let name = "BatchNormalization";
    framework.op_register.insert(name, guarded);
    framework
}

fn guarded(
    context: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    static UNGUARDED: LazyLock<Onnx> = LazyLock::new(tract_onnx::onnx);
    let build = UNGUARDED.op_register.0.get(&node.op_type);
    let (op, closures) = build.context("tract has batch normalisation")?(context, node)?;
    Ok((Box::new(Guarded(op)), closures))
}

/// An operator whose operand and result have two extents or more.
#[derive(Clone, Debug)]
struct Guarded(Box<dyn InferenceOp>);

impl PartialEq for Guarded {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Eq for Guarded {}

impl Op for Guarded {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    not_a_typed_op!();
}

impl EvalOp for Guarded {
    fn eval_out_of_plan(&self, _: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        Ok(None)
    }
}

impl InferenceOp for Guarded {
    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(
        TVec<InferenceFact>,
        TVec<InferenceFact>,
        TVec<InferenceFact>,
    )> {
        for fact in inputs.first().into_iter().chain(outputs.first()) {
            if let Some(rank) = fact.shape.rank().concretize() {
                ensure!(rank >= 2, "batch normalisation of a tensor of rank {rank}");
            }
        }
        self.0.infer_facts(inputs, outputs, observed)
    }

    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }

    fn to_typed(
        &self,
        source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        self.0.to_typed(source, node, target, mapping)
    }
}
