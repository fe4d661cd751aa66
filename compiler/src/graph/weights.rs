//! The weights of a convolution, shared with the float model until somebody changes them.
//!
//! A network's weights are most of its memory. They are read from the file once; the graph, tract's model and the
//! facts of the importer all refer to that one tensor, and only what a transform really changes is copied. Weights that
//! the file holds as integers know what one unit of them stands for, so that they become those integers again.

use std::ops::Deref;
use std::sync::Arc;
use tract_onnx::prelude::tract_ndarray::{Array1, ArrayViewMutD};
use tract_onnx::prelude::{DatumType, Tensor};

/// Floats in row-major order, behind a shared tensor.
#[derive(Clone, Debug)]
pub struct Weights {
    values: Arc<Tensor>,
    units: Option<Arc<[f32]>>,
}

impl Weights {
    /// The values of a tensor: shared if they are `f32`, converted if they are other numbers.
    ///
    /// # Errors
    /// tract's words for a tensor that has no numbers.
    pub fn of(tensor: &Arc<Tensor>) -> Result<Self, String> {
        if tensor.datum_type() == DatumType::F32 && tensor.is_plain_ram() {
            return Ok(Self::shared(Arc::clone(tensor)));
        }
        let cast = tensor.cast_to::<f32>().map_err(|e| e.to_string())?;
        let plain = cast.try_as_plain_ram().map_err(|e| e.to_string())?;
        let values = plain.as_slice::<f32>().map_err(|e| e.to_string())?;
        Ok(Self::from(values.to_vec()))
    }

    fn shared(values: Arc<Tensor>) -> Self {
        Self {
            values,
            units: None,
        }
    }

    /// The same weights, multiples of a unit for each output channel.
    #[must_use]
    pub fn in_units(self, units: Option<Vec<f32>>) -> Self {
        Self {
            units: units.map(Arc::from),
            ..self
        }
    }

    /// By output channel what one unit of the weights stands for, where the file holds them as integers.
    pub fn units(&self) -> Option<&[f32]> {
        self.units.as_deref()
    }

    /// Multiplies the weights of each output channel by a factor; of each there are `per_output`.
    pub fn scale_outputs(&mut self, per_output: usize, factors: &[f32]) {
        let rows = self.make_mut().chunks_mut(per_output.max(1));
        for (row, factor) in rows.zip(factors) {
            for weight in row {
                *weight *= factor;
            }
        }
        self.units = self.units.as_deref().map(|units| {
            let scaled = units.iter().zip(factors);
            scaled.map(|(unit, factor)| unit * factor.abs()).collect()
        });
    }

    /// The values, to be changed; copied first if somebody else refers to them.
    fn make_mut(&mut self) -> &mut [f32] {
        Arc::make_mut(&mut self.values)
            .to_plain_array_view_mut::<f32>()
            .ok()
            .and_then(ArrayViewMutD::into_slice)
            .expect("the tensor holds floats in row-major order, as its constructors saw to")
    }
}

impl From<Vec<f32>> for Weights {
    fn from(values: Vec<f32>) -> Self {
        Self::shared(Arc::new(Tensor::from(Array1::from(values))))
    }
}

impl Deref for Weights {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.values
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
    fn units_follow_the_weights() {
        let weights = Weights::from(vec![0.5, -1.0, 0.25, 0.75]);
        let mut weights = weights.in_units(Some(vec![0.5, 0.25]));
        weights.scale_outputs(2, &[2.0, -4.0]);
        assert_eq!(weights[..], [1.0, -2.0, -1.0, -3.0]);
        assert_eq!(weights.units(), Some(&[1.0, 1.0][..]));
    }

    #[test]
    fn other_numbers_are_converted() {
        let tensor = Arc::new(Tensor::from_shape(&[3], &[1i32, -2, 0]).unwrap());
        assert_eq!(Weights::of(&tensor).unwrap()[..], [1.0, -2.0, 0.0]);
    }
}
