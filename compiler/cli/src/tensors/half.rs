//! Half-precision numbers in `.npy` arrays, numpy's `float16`: `ndarray_npy` has them not.

use ndarray_npy::{ReadDataError, ReadableElement, WritableElement, WriteDataError};
use py_literal::Value;
use std::io::{Read, Write};
use tract_onnx::prelude::f16;

/// A half-precision number.
#[derive(Clone, Copy)]
pub struct Half(pub f16);

const DESCRIPTOR: &str = "<f2";

impl WritableElement for Half {
    fn type_descriptor() -> Value {
        Value::String(DESCRIPTOR.to_owned())
    }

    fn write<W: Write>(&self, mut writer: W) -> Result<(), WriteDataError> {
        Ok(writer.write_all(&self.0.to_le_bytes())?)
    }

    fn write_slice<W: Write>(slice: &[Self], mut writer: W) -> Result<(), WriteDataError> {
        slice.iter().try_for_each(|value| value.write(&mut writer))
    }
}

impl ReadableElement for Half {
    fn read_to_end_exact_vec<R: Read>(
        mut reader: R,
        descriptor: &Value,
        length: usize,
    ) -> Result<Vec<Self>, ReadDataError> {
        if !matches!(descriptor, Value::String(text) if text == DESCRIPTOR) {
            return Err(ReadDataError::WrongDescriptor(descriptor.clone()));
        }
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        let (values, rest) = bytes.as_chunks::<2>();
        if values.len() < length {
            return Err(ReadDataError::MissingData);
        }
        if values.len() > length || !rest.is_empty() {
            return Err(ReadDataError::ExtraBytes(bytes.len() - 2 * length));
        }
        let values = values.iter();
        Ok(values
            .map(|&bytes| Self(f16::from_le_bytes(bytes)))
            .collect())
    }
}
