//! `QuantizeLinear` and `DequantizeLinear` as ONNX defines them, for tract.
//!
//! tract's own know 8 bits, take scales as constants alone and multiply by the reciprocal of the scale, which moves values
//! that lie in the middle of two integers. These divide, round halves to even, and take integers of any width with a scale
//! for the tensor, for each index of an axis, or for each block of such indices.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::tract_hir::internal::{
    DatumType, EvalContext, EvalOp, Expansion, InferenceOp, IntoTValue, Op, OutletId, Solver,
    SpecialOps, StaticName, TValue, TVec, Tensor, TensorProxy, TractErrorContext, TractResult,
    TypedFact, TypedModel, TypedOp, as_op, bail, check_input_arity, check_output_arity, ensure,
    expand, format_err, op_as_typed_op, op_out_of_plan, tvec,
};

/// Reads a `QuantizeLinear`.
pub(crate) fn quantise(
    _: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let given = node.get_attr_opt::<i64>("output_dtype")?.unwrap_or(0);
    let given = match given {
        0 => None,
        number => Some(integers(number)?),
    };
    let quantise = Linear::of(node, Direction::Quantise(given))?;
    Ok((expand(quantise), vec![]))
}

/// Reads a `DequantizeLinear`.
pub(crate) fn dequantise(
    _: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let dequantise = Linear::of(node, Direction::Dequantise)?;
    Ok((expand(dequantise), vec![]))
}

/// The integer type that ONNX gives a number.
fn integers(number: i64) -> TractResult<DatumType> {
    let known = i32::try_from(number).ok();
    match known.and_then(|number| DataType::try_from(number).ok()) {
        Some(DataType::Uint8) => Ok(DatumType::U8),
        Some(DataType::Int8) => Ok(DatumType::I8),
        Some(DataType::Uint16) => Ok(DatumType::U16),
        Some(DataType::Int16) => Ok(DatumType::I16),
        _ => bail!("quantised to the type {number}: integers of 8 and 16 bits are known"),
    }
}

/// Which way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Direction {
    /// To integers, of the type that is given where there is no zero point.
    Quantise(Option<DatumType>),
    /// To floats.
    Dequantise,
}

/// Either operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Linear {
    direction: Direction,
    has_zero: bool,
    axis: i64,
    /// Indices of the axis that share a scale; 0 where each has its own.
    block: usize,
}

impl Linear {
    fn of(node: &NodeProto, direction: Direction) -> TractResult<Self> {
        let block = node.get_attr_opt::<i64>("block_size")?.unwrap_or(0);
        Ok(Self {
            direction,
            has_zero: node.input.get(2).is_some_and(|name| !name.is_empty()),
            axis: node.get_attr_opt("axis")?.unwrap_or(1),
            block: usize::try_from(block).context("block_size")?,
        })
    }

    /// The type of the result for those of scale and zero point.
    fn result(&self, scale: DatumType, zero: Option<DatumType>) -> DatumType {
        match self.direction {
            Direction::Dequantise => scale,
            Direction::Quantise(given) => zero.or(given).unwrap_or(DatumType::U8),
        }
    }

    fn compute(&self, x: &Tensor, scale: &Tensor, zero: Option<&Tensor>) -> TractResult<Tensor> {
        let result = self.result(scale.datum_type(), zero.map(Tensor::datum_type));
        let parameters = Parameters::of(x.shape(), scale.shape(), self.axis, self.block)?;
        if let Some(zero) = zero {
            ensure!(
                zero.len() == scale.len(),
                "{} zero points for {} scales",
                zero.len(),
                scale.len()
            );
        }
        let (values, scales) = (x.cast_to::<f32>()?, scale.cast_to::<f32>()?);
        let (values, scales) = (values.try_as_plain_ram()?, scales.try_as_plain_ram()?);
        let (values, scales) = (values.as_slice::<f32>()?, scales.as_slice::<f32>()?);
        let zeros: Vec<f32> = match zero {
            None => vec![0.0; scales.len()],
            Some(zero) => {
                let zero = zero.cast_to::<f32>()?;
                zero.try_as_plain_ram()?.as_slice::<f32>()?.to_vec()
            }
        };
        let mut results = Vec::with_capacity(values.len());
        match self.direction {
            Direction::Dequantise => parameters.each(values, |value, at| {
                results.push((value - zeros[at]) * scales[at]);
            }),
            Direction::Quantise(_) => {
                let (low, high) = bounds(result)?;
                parameters.each(values, |value, at| {
                    let rounded = (value / scales[at]).round_ties_even() + zeros[at];
                    results.push(rounded.clamp(low, high));
                });
            }
        }
        let results = Tensor::from_shape(x.shape(), &results)?;
        Ok(results.cast_to_dt(result)?.into_owned())
    }
}

/// Smallest and largest integer of a type.
fn bounds(integers: DatumType) -> TractResult<(f32, f32)> {
    Ok(match integers {
        DatumType::U8 => (0.0, 255.0),
        DatumType::I8 => (-128.0, 127.0),
        DatumType::U16 => (0.0, 65535.0),
        DatumType::I16 => (-32768.0, 32767.0),
        other => bail!("quantised to {other:?}: integers of 8 and 16 bits are known"),
    })
}

/// Which scale is each element's: the tensor as `[outer, axis, inner]`.
struct Parameters {
    axis: usize,
    inner: usize,
    /// Indices of the axis that share a scale.
    block: usize,
    /// Scales of a block differ by `inner` too.
    each_inner: bool,
    /// One scale for all.
    one: bool,
}

impl Parameters {
    fn of(shape: &[usize], scales: &[usize], axis: i64, block: usize) -> TractResult<Self> {
        let count: usize = scales.iter().product();
        let rank = shape.len() as i64;
        let at = if axis < 0 { axis + rank } else { axis };
        if count == 1 {
            return Ok(Self {
                axis: 1,
                inner: 1,
                block: 1,
                each_inner: false,
                one: true,
            });
        }
        ensure!((0..rank).contains(&at), "there is no axis {axis} of {rank}");
        let at = at as usize;
        let blocks = shape[at].div_ceil(block.max(1));
        let of_blocks = [&shape[..at], &[blocks], &shape[at + 1..]].concat();
        let fits = match block {
            0 => scales == [shape[at]],
            _ => scales == of_blocks,
        };
        ensure!(fits, "scales {scales:?} for {shape:?} along axis {axis}");
        Ok(Self {
            axis: shape[at],
            inner: shape[at + 1..].iter().product(),
            block: block.max(1),
            each_inner: block > 0,
            one: false,
        })
    }

    /// Each value with the number of its scale.
    fn each(&self, values: &[f32], mut of: impl FnMut(f32, usize)) {
        if self.one {
            for &value in values {
                of(value, 0);
            }
            return;
        }
        let blocks = self.axis.div_ceil(self.block);
        for (outer, plane) in values.chunks((self.axis * self.inner).max(1)).enumerate() {
            for (index, row) in plane.chunks(self.inner.max(1)).enumerate() {
                for (inner, &value) in row.iter().enumerate() {
                    let at = if self.each_inner {
                        (outer * blocks + index / self.block) * self.inner + inner
                    } else {
                        index
                    };
                    of(value, at);
                }
            }
        }
    }
}

impl Expansion for Linear {
    fn name(&self) -> StaticName {
        Op::name(self)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> TractResult<()> {
        check_input_arity(inputs, 2 + usize::from(self.has_zero))?;
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].shape, &outputs[0].shape)?;
        match (&self.direction, self.has_zero) {
            (Direction::Dequantise, _) => {
                s.equals(&outputs[0].datum_type, &inputs[1].datum_type)?;
            }
            (Direction::Quantise(_), true) => {
                s.equals(&outputs[0].datum_type, &inputs[2].datum_type)?;
            }
            (Direction::Quantise(given), false) => {
                s.equals(&outputs[0].datum_type, given.unwrap_or(DatumType::U8))?;
            }
        }
        Ok(())
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for Linear {
    fn name(&self) -> StaticName {
        match self.direction {
            Direction::Quantise(_) => "QuantizeLinear".into(),
            Direction::Dequantise => "DequantizeLinear".into(),
        }
    }

    op_as_typed_op!();
}

impl EvalOp for Linear {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let operand = |index: usize| {
            let operand = inputs.get(index);
            operand.ok_or_else(|| format_err!("operand {index} is missing"))
        };
        let zero = self.has_zero.then(|| operand(2)).transpose()?;
        let result = self.compute(operand(0)?, operand(1)?, zero.map(|zero| &**zero))?;
        Ok(tvec!(result.into_tvalue()))
    }
}

impl TypedOp for Linear {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.len() == 2 + usize::from(self.has_zero), "operands");
        let zero = inputs.get(2).map(|zero| zero.datum_type);
        let result = self.result(inputs[1].datum_type, zero);
        Ok(tvec!(TypedFact::dt_shape(result, inputs[0].shape.clone())))
    }

    as_op!();
}
