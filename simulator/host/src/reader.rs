//! tract's reader of ONNX models, with a look before each operator that reads shapes unseen.
//!
//! tract is not meant for hostile models. Its spatial operators read the extents of images and channels from a shape
//! without looking whether they are there (`get_unchecked` in its `BaseDataShape`), which no caller can contain; each has
//! a look before it here. Its panics can be contained, by [`contained`].

use crate::quantise;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{
    EvalOp, Factoid, HashMap, InferenceFact, InferenceModel, InferenceModelPatch, InferenceNode,
    InferenceOp, Op, OutletId, StaticName, TValue, TVec, TractErrorContext, TractResult,
    TypedModel, TypedOp, bail, ensure, not_a_typed_op,
};

/// The operators that read the first two extents of their first operand and of their first result unseen.
const SPATIAL: [&str; 7] = [
    "AveragePool",
    "BatchNormalization",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "MaxPool",
    "QLinearConv",
];

/// The fewest extents that they can take: images and channels.
const LEAST_RANK: usize = 2;

/// tract's reader of ONNX models, with a look before each operator that reads shapes unseen: a model in which one of
/// them has an operand of fewer than two extents is an error when its shapes are inferred.
pub fn reader() -> Onnx {
    let mut reader = tract_onnx::onnx();
    for operator in SPATIAL {
        reader.op_register.insert(operator, guarded);
    }
    let operators = &mut reader.op_register;
    operators.insert("QuantizeLinear", quantise::quantise);
    operators.insert("DequantizeLinear", quantise::dequantise);
    reader
}

/// Does tract's work on a model from outside; a panic there is an error of the model.
///
/// # Errors
/// What tract returns; that it panicked.
pub fn contained<T>(work: impl FnOnce() -> TractResult<T>) -> TractResult<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        bail!("tract gave up: {}", text.unwrap_or("it does not say why"))
    })
}

/// tract's operator of a node, behind the look.
fn guarded(
    context: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    static UNGUARDED: LazyLock<Onnx> = LazyLock::new(tract_onnx::onnx);
    let build = UNGUARDED.op_register.0.get(&node.op_type);
    let (op, closures) = build.context("tract has this operator")?(context, node)?;
    Ok((Box::new(Guarded(op)), closures))
}

/// An operator whose first operand and first result have [`LEAST_RANK`] extents or more.
#[derive(Clone, Debug)]
struct Guarded(Box<dyn InferenceOp>);

impl Guarded {
    fn look(&self, rank: usize) -> TractResult<()> {
        ensure!(
            rank >= LEAST_RANK,
            "{} of a tensor of {rank} extent(s), which needs images and channels",
            self.0.name()
        );
        Ok(())
    }
}

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
    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        if let Some(input) = inputs.first() {
            self.look(input.rank())?;
        }
        self.0.eval_out_of_plan(inputs)
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
                self.look(rank as usize)?;
            }
        }
        self.0.infer_facts(inputs, outputs, observed)
    }

    fn observe_outlets(
        &self,
        model: &InferenceModel,
        node: &InferenceNode,
    ) -> TractResult<Vec<OutletId>> {
        self.0.observe_outlets(model, node)
    }

    fn incorporate(
        &self,
        model: &InferenceModel,
        node: &InferenceNode,
    ) -> TractResult<Option<InferenceModelPatch>> {
        self.0.incorporate(model, node)
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.0.nboutputs()
    }

    fn as_op(&self) -> &dyn Op {
        self
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self
    }

    /// Looks again: the last inference may have learnt the rank itself.
    fn to_typed(
        &self,
        source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        if let Some(input) = node.inputs.first() {
            self.look(target.outlet_fact(mapping[input])?.rank())?;
        }
        self.0.to_typed(source, node, target, mapping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::attribute_proto::AttributeType;
    use tract_onnx::pb::tensor_proto::DataType;
    use tract_onnx::pb::tensor_shape_proto::Dimension;
    use tract_onnx::pb::tensor_shape_proto::dimension::Value as DimValue;
    use tract_onnx::pb::{
        AttributeProto, GraphProto, ModelProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
        TypeProto, ValueInfoProto, type_proto,
    };
    use tract_onnx::prelude::{Framework, InferenceModelExt};

    /// A model of one node, whose first operand and result are of one extent and whose other operands are constants.
    fn of_one_extent(operator: &str) -> ModelProto {
        let constants = match operator {
            "AveragePool" | "MaxPool" => 0,
            "BatchNormalization" => 4,
            "QLinearConv" => 7,
            _ => 1,
        };
        let constants: Vec<String> = (0..constants).map(|i| format!("c{i}")).collect();
        let shape = TensorShapeProto {
            dim: vec![Dimension {
                value: Some(DimValue::DimValue(1)),
                ..Dimension::default()
            }],
        };
        let value = |name: &str| ValueInfoProto {
            name: name.to_owned(),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                    elem_type: DataType::Float as i32,
                    shape: Some(shape.clone()),
                })),
                ..TypeProto::default()
            }),
            ..ValueInfoProto::default()
        };
        let constant = |name: &String| TensorProto {
            name: name.clone(),
            dims: vec![1],
            data_type: DataType::Float as i32,
            float_data: vec![1.0],
            ..TensorProto::default()
        };
        let node = NodeProto {
            op_type: operator.to_owned(),
            input: [vec!["x".to_owned()], constants.clone()].concat(),
            output: vec!["y".to_owned()],
            attribute: vec![AttributeProto {
                name: "kernel_shape".to_owned(),
                r#type: AttributeType::Ints as i32,
                ints: vec![1],
                ..AttributeProto::default()
            }],
            ..NodeProto::default()
        };
        ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto {
                version: 15,
                ..OperatorSetIdProto::default()
            }],
            graph: Some(GraphProto {
                node: vec![node],
                initializer: constants.iter().map(constant).collect(),
                input: vec![value("x")],
                output: vec![value("y")],
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        }
    }

    #[test]
    fn no_spatial_operator_of_one_extent_reaches_tract() {
        for operator in SPATIAL {
            let model = reader().model_for_proto_model(&of_one_extent(operator));
            let error = model
                .and_then(InferenceModelExt::into_typed)
                .expect_err(operator);
            let words: Vec<String> = error.chain().map(ToString::to_string).collect();
            assert!(
                words
                    .iter()
                    .any(|words| words.contains("of a tensor of 1 extent(s)")),
                "{operator}: {words:?}"
            );
        }
    }

    #[test]
    fn a_panic_of_tract_is_an_error() {
        let error = contained::<()>(|| panic!("inside tract")).unwrap_err();
        assert_eq!(error.to_string(), "tract gave up: inside tract");
    }
}
