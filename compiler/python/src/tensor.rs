//! Tensors from and to numpy arrays, of every element type that models take.

use numpy::ndarray::{ArrayD, IxDyn};
use numpy::{PyArray, PyArrayDyn, PyArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use scnnc_cli::library::Arrays;
use tract_onnx::prelude::{Datum, Tensor, f16};

/// The tensors of a dictionary of arrays.
pub fn of_arrays(arrays: &Bound<'_, PyDict>) -> PyResult<Arrays> {
    let arrays = arrays.iter();
    arrays
        .map(|(name, array)| Ok((name.extract()?, of_array(&array)?)))
        .collect()
}

/// The tensor of an array; the values are copied once, into memory that is aligned as the simulator wants it.
fn of_array(array: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    macro_rules! attempt {
        ($($type:ty),*) => {
            $(if let Ok(array) = array.cast::<PyArrayDyn<$type>>() {
                let array = array.try_readonly()?;
                let view = array.as_array();
                let tensor = match view.as_slice() {
                    Some(values) => Tensor::from_shape(view.shape(), values),
                    // Another order of axes: the values in row-major order.
                    None => Tensor::from_shape(view.shape(), &view.iter().copied().collect::<Vec<$type>>()),
                };
                return tensor.map_err(|e| PyValueError::new_err(e.to_string()));
            })*
        };
    }
    attempt!(f32, f64, f16, u8, i64, i32, i8, i16, u16, u32, u64, bool);
    Err(PyTypeError::new_err(format!(
        "no model takes an array of {}",
        array.getattr("dtype")?
    )))
}

/// The array of a tensor; its memory becomes the array's.
pub fn to_array(py: Python<'_>, tensor: Tensor) -> PyResult<Bound<'_, PyAny>> {
    macro_rules! attempt {
        ($($type:ty),*) => {
            $(if tensor.datum_type() == <$type as Datum>::datum_type() {
                let array = tensor.into_plain_array::<$type>();
                let array = array.map_err(|e| PyValueError::new_err(e.to_string()))?;
                return Ok(PyArray::from_owned_array(py, array).into_any());
            })*
        };
    }
    attempt!(f32, f64, f16, u8, i64, i32, i8, i16, u16, u32, u64, bool);
    let floats = tensor.cast_to::<f32>();
    let floats = floats.map_err(|e| PyTypeError::new_err(e.to_string()))?;
    to_array(py, floats.into_owned())
}

/// The array of `values` in row-major order.
pub fn array<'py>(
    py: Python<'py>,
    shape: &[usize],
    values: Vec<f32>,
) -> PyResult<Bound<'py, PyAny>> {
    let array = ArrayD::from_shape_vec(IxDyn(shape), values);
    let array = array.map_err(|e| PyValueError::new_err(e.to_string()))?;
    Ok(PyArray::from_owned_array(py, array).into_any())
}
