//! Weights that a model holds as integers, behind a `DequantizeLinear`.

use crate::import::Source;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{Datum, DatumType, Tensor};

/// How the integers `q` of a tensor stand for weights: `(q - zero) * scale`, with one pair for the tensor or one for
/// each index along an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerWeights {
    scales: Vec<f32>,
    zeros: Vec<i64>,
    /// Neighbouring elements that have a pair in common.
    inner_len: usize,
}

impl IntegerWeights {
    /// What the result of `node` stands for, and the name of its integers; none where `node` is no `DequantizeLinear`
    /// of constants, or one with a scale for each block of an axis.
    pub fn of(node: &NodeProto, source: &Source) -> Option<(String, Self)> {
        let number = |name: &str| node.attribute.iter().find(|a| a.name == name).map(|a| a.i);
        if node.op_type != "DequantizeLinear" || number("block_size").unwrap_or(0) != 0 {
            return None;
        }
        let [integers, scale] = [node.input.first()?, node.input.get(1)?];
        let tensor = source.tensor(integers)?;
        let types = [
            DatumType::I8,
            DatumType::U8,
            DatumType::I16,
            DatumType::U16,
            DatumType::I32,
        ];
        if !types.contains(&tensor.datum_type()) {
            return None;
        }
        let scales: Vec<f32> = values(&*source.tensor(scale)?)?;
        let zeros = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => values(&*source.tensor(name)?)?,
            None => vec![0; scales.len()],
        };
        let dims = tensor.shape();
        let axis = number("axis").unwrap_or(1);
        let axis = usize::try_from(if axis < 0 {
            axis + dims.len() as i64
        } else {
            axis
        })
        .ok()?;
        let whole = scales.len() == 1;
        if zeros.len() != scales.len() || !whole && dims.get(axis) != Some(&scales.len()) {
            return None;
        }
        let inner_len = if whole {
            tensor.len()
        } else {
            dims[axis + 1..].iter().product()
        };
        let quantised = Self {
            scales,
            zeros,
            inner_len: inner_len.max(1),
        };
        Some((integers.clone(), quantised))
    }

    fn pair(&self, index: usize) -> usize {
        index / self.inner_len % self.scales.len()
    }

    /// The integer that stands for zero in the place of an element.
    pub fn zero(&self, index: usize) -> i64 {
        self.zeros[self.pair(index)]
    }

    /// What the integers of a tensor stand for.
    pub fn weights(&self, integers: &Tensor) -> Option<Vec<f32>> {
        let integers: Vec<i64> = values(integers)?;
        let weight = |(index, q)| (q - self.zero(index)) as f32 * self.scales[self.pair(index)];
        Some(integers.into_iter().enumerate().map(weight).collect())
    }

    /// The integers `original` with those for zero where `weights` has one.
    pub fn cleared(&self, original: &Tensor, weights: &[f32]) -> Option<Tensor> {
        let mut integers: Vec<i64> = values(original)?;
        for (index, (integer, weight)) in integers.iter_mut().zip(weights).enumerate() {
            if *weight == 0.0 {
                *integer = self.zero(index);
            }
        }
        let tensor = Tensor::from_shape(original.shape(), &integers).ok()?;
        Some(tensor.cast_to_dt(original.datum_type()).ok()?.into_owned())
    }
}

fn values<T: Datum + Copy>(tensor: &Tensor) -> Option<Vec<T>> {
    let cast = tensor.cast_to::<T>().ok()?;
    let view = cast.to_plain_array_view::<T>().ok()?;
    Some(view.iter().copied().collect())
}
