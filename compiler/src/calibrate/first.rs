//! The float values on the first calibration sample, for those who ask after the ranges are known: where activations are
//! zero as integers, and what rounding loses of them.
//!
//! All activations of a network are kept while they are few. Of many only the sample is kept, and the float model runs
//! again: that takes less than the memory would.

use crate::reference::float::{FloatError, FloatModel};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::prelude::{IntoTensor, TValue, Tensor};

/// Bytes of activations that are kept.
const MOST_KEPT: usize = 256 << 20;

/// The first sample, with the values that the float model computes of it, if they are kept.
#[derive(Debug)]
pub struct First {
    sample: BTreeMap<String, Tensor>,
    values: Option<BTreeMap<String, Tensor>>,
}

impl First {
    /// The values that `model` computes on a sample.
    ///
    /// # Errors
    /// The sample does not fit the model, or the model fails on it.
    pub fn observe(
        model: &FloatModel,
        sample: &BTreeMap<String, Tensor>,
    ) -> Result<Self, FloatError> {
        let mut kept = Kept::default();
        model.run_each(sample, &mut |name, value| kept.take(name, value))?;
        Ok(Self::new(sample, kept))
    }

    /// What was kept of a run on a sample.
    pub(super) fn new(sample: &BTreeMap<String, Tensor>, kept: Kept) -> Self {
        Self {
            sample: sample.clone(),
            values: kept.values.map(|values| {
                let values = values.into_iter();
                let values = values.map(|(name, value)| (name, value.into_tensor()));
                with_inputs(values.collect(), sample)
            }),
        }
    }

    /// Whether the float model is not needed for them any more.
    pub fn is_kept(&self) -> bool {
        self.values.is_some()
    }

    /// Keeps the sample alone.
    pub fn release(&mut self) {
        self.values = None;
    }

    /// Gives all values to `each`, and returns those named, perhaps with others.
    ///
    /// # Errors
    /// The model fails.
    pub fn each(
        &self,
        model: &FloatModel,
        named: &BTreeSet<&str>,
        each: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Cow<'_, BTreeMap<String, Tensor>>, FloatError> {
        if let Some(values) = &self.values {
            for (name, value) in values {
                each(name, value);
            }
            return Ok(Cow::Borrowed(values));
        }
        let mut taken = BTreeMap::new();
        let mut known = BTreeSet::new();
        model.run_each(&self.sample, &mut |name, value| {
            each(name, value);
            known.insert(name.to_owned());
            if named.contains(name) {
                taken.insert(name.to_owned(), Tensor::clone(value));
            }
        })?;
        let inputs = self.sample.iter();
        for (name, value) in inputs.filter(|(name, _)| !known.contains(*name)) {
            each(name, value);
        }
        Ok(Cow::Owned(with_inputs(taken, &self.sample)))
    }
}

/// Values, and the inputs that are not among them.
fn with_inputs(
    mut values: BTreeMap<String, Tensor>,
    sample: &BTreeMap<String, Tensor>,
) -> BTreeMap<String, Tensor> {
    for (name, tensor) in sample {
        values.entry(name.clone()).or_insert_with(|| tensor.clone());
    }
    values
}

/// Values as they are computed, until they are too many.
pub(super) struct Kept {
    values: Option<BTreeMap<String, TValue>>,
    bytes: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            values: Some(BTreeMap::new()),
            bytes: 0,
        }
    }
}

impl Kept {
    pub(super) fn take(&mut self, name: &str, value: &TValue) {
        self.bytes += value.len() * value.datum_type().size_of();
        if self.bytes > MOST_KEPT {
            self.values = None;
        }
        if let Some(values) = &mut self.values {
            values.insert(name.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{ImportOptions, import_bytes, value_info};
    use prost::Message;
    use scnn_isa::program::Dtype;
    use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
    use tract_onnx::prelude::IntoTValue;

    /// `y = relu(x) + x`, with the tensor between them.
    fn model() -> FloatModel {
        let node = |operator: &str, operands: &[&str], result: &str| NodeProto {
            op_type: operator.to_owned(),
            input: operands.iter().map(|&name| name.to_owned()).collect(),
            output: vec![result.to_owned()],
            name: result.to_owned(),
            ..NodeProto::default()
        };
        let of = |name: &str| value_info(name, Dtype::F32, &[1, 4]);
        let graph = GraphProto {
            name: "g".to_owned(),
            node: vec![node("Relu", &["x"], "r"), node("Add", &["r", "x"], "y")],
            input: vec![of("x")],
            output: vec![of("y")],
            ..GraphProto::default()
        };
        let model = ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto {
                version: 17,
                ..OperatorSetIdProto::default()
            }],
            graph: Some(graph),
            ..ModelProto::default()
        };
        let bytes = model.encode_to_vec();
        let imported = import_bytes("g", &bytes, ".".as_ref(), &ImportOptions::default()).unwrap();
        FloatModel::new(imported.typed, &["r".to_owned(), "x".to_owned()]).unwrap()
    }

    #[test]
    fn values_that_are_not_kept_are_computed_again() {
        let model = model();
        let x = Tensor::from_shape(&[1, 4], &[-1.0f32, 0.0, 2.0, 3.0]).unwrap();
        let sample = BTreeMap::from([("x".to_owned(), x)]);
        let kept = First::observe(&model, &sample).unwrap();
        assert!(kept.is_kept());
        let mut computed = First::observe(&model, &sample).unwrap();
        computed.release();
        let seen = |first: &First| {
            let mut seen = BTreeMap::new();
            let each = &mut |name: &str, value: &Tensor| {
                seen.insert(name.to_owned(), value.clone());
            };
            let named = first.each(&model, &BTreeSet::from(["r"]), each).unwrap();
            assert_eq!(named["r"], seen["r"]);
            seen
        };
        let values = seen(&kept);
        assert_eq!(values.keys().collect::<Vec<_>>(), ["r", "x", "y"]);
        assert_eq!(values, seen(&computed));
    }

    #[test]
    fn too_many_values_are_not_kept() {
        let value = Tensor::zero::<u8>(&[8]).unwrap().into_tvalue();
        let mut kept = Kept {
            bytes: MOST_KEPT - 8,
            ..Kept::default()
        };
        kept.take("a", &value);
        assert!(kept.values.is_some());
        kept.take("b", &value);
        assert!(kept.values.is_none());
    }
}
