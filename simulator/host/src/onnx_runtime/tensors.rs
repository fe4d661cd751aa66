//! Tensors on their way into ONNX Runtime and back.

use ort::value::{DynValue, Tensor as OrtTensor, TensorElementType, ValueType};
use tract_onnx::prelude::{Datum, DatumType, Tensor, f16};

/// Finds the row whose column `$column` matches `$value`, and does `$body` with its Rust type.
macro_rules! of_type {
    ($value:expr, $column:ident, $rust:ident => $body:expr, _ => $other:expr) => {
        of_type!(@ $value, $column, $rust, $body, $other;
            (F32 Float32 f32) (F64 Float64 f64) (F16 Float16 f16)
            (I8 Int8 i8) (I16 Int16 i16) (I32 Int32 i32) (I64 Int64 i64)
            (U8 Uint8 u8) (U16 Uint16 u16) (U32 Uint32 u32) (U64 Uint64 u64) (Bool Bool bool))
    };
    (@ $value:expr, tract, $rust:ident, $body:expr, $other:expr; $(($tract:ident $ort:ident $type:ty))*) => {
        match $value {
            $(DatumType::$tract => { type $rust = $type; $body })*
            _ => $other,
        }
    };
    (@ $value:expr, ort, $rust:ident, $body:expr, $other:expr; $(($tract:ident $ort:ident $type:ty))*) => {
        match $value {
            $(Some(TensorElementType::$ort) => { type $rust = $type; $body })*
            _ => $other,
        }
    };
}

/// A copy for ONNX Runtime.
pub(super) fn to_value(tensor: &Tensor) -> ort::Result<DynValue> {
    // tract computes shapes symbolically; whatever is concrete is a 64-bit integer.
    let tensor = match tensor.datum_type() {
        DatumType::TDim => tensor.cast_to_dt(DatumType::I64).map_err(ours)?,
        _ => std::borrow::Cow::Borrowed(tensor),
    };
    let shape = tensor.shape().to_vec();
    let datum = tensor.datum_type().unquantized();
    of_type!(datum, tract, T => {
        let plain = tensor.try_as_plain_ram().map_err(ours)?;
        let values = plain.as_slice::<T>().map_err(ours)?;
        Ok(OrtTensor::<T>::from_array((shape, values.to_vec()))?.into_dyn())
    }, _ => Err(ort::Error::new(format!("an operand is of type {datum:?}"))))
}

/// A copy from ONNX Runtime.
pub(super) fn to_tensor(value: &DynValue) -> ort::Result<Tensor> {
    of_type!(value.dtype().tensor_type(), ort, T => {
        let (shape, values) = value.try_extract_tensor::<T>()?;
        let shape: Vec<usize> = shape.iter().map(|&dim| dim as usize).collect();
        Tensor::from_shape(&shape, values).map_err(ours)
    }, _ => Err(ort::Error::new(format!("a result is of type {}", value.dtype()))))
}

/// tract's name of an element type.
pub(super) fn datum(value: &ValueType) -> Option<DatumType> {
    of_type!(value.tensor_type(), ort, T => Some(<T as Datum>::datum_type()), _ => None)
}

#[expect(clippy::needless_pass_by_value)] // `map_err` gives it away.
fn ours(error: tract_onnx::prelude::TractError) -> ort::Error {
    ort::Error::new(error.to_string())
}
