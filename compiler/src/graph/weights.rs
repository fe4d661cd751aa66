//! The weights of a convolution, shared with the float model until somebody changes them.
//!
//! A network's weights are most of its memory. They are read from the file once; the graph, tract's model and the
//! facts of the importer all refer to that one tensor, and only what a transform really changes is copied.

use std::ops::Deref;
use std::sync::Arc;
use tract_onnx::prelude::tract_ndarray::{Array1, ArrayViewMutD};
use tract_onnx::prelude::{DatumType, Tensor};

/// Floats in row-major order, behind a shared tensor.
#[derive(Clone, Debug)]
pub struct Weights(Arc<Tensor>);

impl Weights {
    /// The values of a tensor: shared if they are `f32`, converted if they are other numbers.
    ///
    /// # Errors
    /// tract's words for a tensor that has no numbers.
    pub fn of(tensor: &Arc<Tensor>) -> Result<Self, String> {
        if tensor.datum_type() == DatumType::F32 && tensor.is_plain_ram() {
            return Ok(Self(Arc::clone(tensor)));
        }
        let cast = tensor.cast_to::<f32>().map_err(|e| e.to_string())?;
        let plain = cast.try_as_plain_ram().map_err(|e| e.to_string())?;
        let values = plain.as_slice::<f32>().map_err(|e| e.to_string())?;
        Ok(Self::from(values.to_vec()))
    }

    /// The values, to be changed; copied first if somebody else refers to them.
    pub fn make_mut(&mut self) -> &mut [f32] {
        Arc::make_mut(&mut self.0)
            .to_plain_array_view_mut::<f32>()
            .ok()
            .and_then(ArrayViewMutD::into_slice)
            .expect("the tensor holds floats in row-major order, as its constructors saw to")
    }
}

impl From<Vec<f32>> for Weights {
    fn from(values: Vec<f32>) -> Self {
        Self(Arc::new(Tensor::from(Array1::from(values))))
    }
}

impl Deref for Weights {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0
            .as_plain_ram()
            .and_then(|plain| plain.as_slice::<f32>().ok())
            .expect("the tensor holds floats in row-major order, as its constructors saw to")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_does_not_reach_whoever_shares_the_tensor() {
        let tensor = Arc::new(Tensor::from_shape(&[2, 2], &[1f32, 2.0, 3.0, 4.0]).unwrap());
        let mut weights = Weights::of(&tensor).unwrap();
        weights.make_mut()[0] = 7.0;
        assert_eq!(weights[..], [7.0, 2.0, 3.0, 4.0]);
        assert_eq!(Weights::of(&tensor).unwrap()[0], 1.0);
    }

    #[test]
    fn other_numbers_are_converted() {
        let tensor = Arc::new(Tensor::from_shape(&[3], &[1i32, -2, 0]).unwrap());
        assert_eq!(Weights::of(&tensor).unwrap()[..], [1.0, -2.0, 0.0]);
    }
}
