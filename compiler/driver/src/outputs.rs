//! The outputs of a run: of every sample, each of its ONNX type.

use crate::RunError;
use scnn_simulator::Execution;
use scnn_simulator::report::tensors_hash;
use scnnc::compile::Sample;
use scnnc::reference::accuracy::floats;
use tract_onnx::prelude::{Tensor, TractResult};

/// Largest difference from an expected output, in parts of its range.
pub const TOLERANCE: f32 = 1.0 / 2048.0;

/// Outputs in the order of the program, each with the tensors of all samples.
#[derive(Clone, Debug, Default)]
pub struct Outputs(Vec<(String, Vec<Tensor>)>);

/// An output beside the one that is expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// The output.
    pub name: String,
    /// Largest difference of a value; infinite where only one of them is a number.
    pub largest: f32,
    /// Largest magnitude that is expected.
    pub range: f32,
}

impl Expected {
    /// Whether the difference is at most [`TOLERANCE`] of the range.
    pub fn holds(&self) -> bool {
        self.largest <= self.range * TOLERANCE
    }
}

impl Outputs {
    /// No samples yet of the outputs of those names.
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = names.into_iter();
        Self(names.map(|name| (name.to_owned(), Vec::new())).collect())
    }

    pub(crate) fn add(&mut self, execution: &Execution) {
        for (name, samples) in &mut self.0 {
            samples.extend(execution.outputs.get(name).cloned());
        }
    }

    /// The hash of all outputs of all samples.
    pub fn hash(&self) -> String {
        let outputs = self.0.iter();
        tensors_hash(
            outputs
                .flat_map(|(name, samples)| samples.iter().map(|sample| (name.as_str(), sample))),
        )
    }

    /// Names and tensors, one for each sample.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Tensor])> {
        let outputs = self.0.iter();
        outputs.map(|(name, samples)| (name.as_str(), samples.as_slice()))
    }

    /// The outputs as arrays: one sample as it is, several stacked along the first dimension, or along a new one where
    /// the output has none. Samples of different extents, which depend on data, are arrays `NAME.0`, `NAME.1` of their own.
    /// Element types are the model's.
    ///
    /// # Errors
    /// Tensors that cannot be stacked.
    pub fn stacked(&self) -> Result<Vec<(String, Tensor)>, RunError> {
        let mut arrays = Vec::new();
        for (name, samples) in &self.0 {
            if samples
                .windows(2)
                .any(|two| two[0].shape() != two[1].shape())
            {
                let each = samples.iter().enumerate();
                arrays.extend(each.map(|(i, sample)| (format!("{name}.{i}"), sample.clone())));
                continue;
            }
            let stacked = stack(samples).map_err(|error| RunError::Stack {
                name: name.clone(),
                reason: error.to_string(),
            })?;
            arrays.push((name.clone(), stacked));
        }
        Ok(arrays)
    }

    /// Compares with expected outputs of the same samples, stacked as [`Self::stacked`] stacks them. The one output of
    /// a program may be expected without a name.
    ///
    /// # Errors
    /// Expected outputs of a name or a size that there is not.
    pub fn compare(&self, expected: &Sample) -> Result<Vec<Expected>, RunError> {
        let compare = |(name, reference): (&String, &Tensor)| {
            let (name, samples) = self.find(name, expected.len())?;
            let ours: Vec<f32> = samples.iter().flat_map(floats).collect();
            let theirs = floats(reference);
            if ours.len() != theirs.len() {
                return Err(RunError::OutputSize {
                    name: name.clone(),
                    ours: ours.len(),
                    expected: theirs.len(),
                });
            }
            let differences = ours.iter().zip(&theirs).map(|(&a, &b)| difference(a, b));
            let magnitudes = theirs.iter().map(|v| v.abs()).filter(|v| v.is_finite());
            Ok(Expected {
                name: name.clone(),
                largest: differences.fold(0.0, f32::max),
                range: magnitudes.fold(0.0, f32::max),
            })
        };
        expected.iter().map(compare).collect()
    }

    fn find(&self, name: &str, expected: usize) -> Result<&(String, Vec<Tensor>), RunError> {
        let unnamed = name.is_empty() && self.0.len() == 1 && expected == 1;
        let mut outputs = self.0.iter();
        let found = outputs.find(|(known, _)| unnamed || known == name);
        found.ok_or_else(|| RunError::UnknownOutput {
            name: name.to_owned(),
            outputs: self.0.iter().map(|(name, _)| name.clone()).collect(),
        })
    }
}

/// The distance of two values; equal infinities and two not-a-numbers have none.
fn difference(a: f32, b: f32) -> f32 {
    if a == b || (a.is_nan() && b.is_nan()) {
        return 0.0;
    }
    let distance = (a - b).abs();
    if distance.is_nan() {
        f32::INFINITY
    } else {
        distance
    }
}

fn stack(samples: &[Tensor]) -> TractResult<Tensor> {
    match samples {
        [one] => Ok(one.clone()),
        samples if samples.iter().all(|sample| sample.rank() == 0) => {
            let rows: TractResult<Vec<Tensor>> = samples
                .iter()
                .map(|sample| sample.clone().into_shape(&[1]))
                .collect();
            Tensor::stack_tensors(0, &rows?)
        }
        samples => Tensor::stack_tensors(0, samples),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::prelude::{DatumType, tensor0, tensor1};

    #[test]
    fn integers_keep_their_type_and_scalars_their_shape() {
        let one = stack(&[tensor0(3i64)]).unwrap();
        assert_eq!(
            (one.datum_type(), one.shape()),
            (DatumType::I64, &[] as &[usize])
        );
        let two = stack(&[tensor0(3i64), tensor0(4i64)]).unwrap();
        assert_eq!(two, tensor1(&[3i64, 4]));
        let rows = stack(&[tensor1(&[1i8, 2]), tensor1(&[3i8, 4])]).unwrap();
        assert_eq!(rows, tensor1(&[1i8, 2, 3, 4]));
    }

    #[test]
    fn samples_of_different_extents_are_arrays_of_their_own() {
        let samples = [&[1.0f32, 2.0][..], &[3.0]].map(tensor1).to_vec();
        let stacked = Outputs(vec![("y".to_owned(), samples)]).stacked().unwrap();
        let names: Vec<(&str, usize)> =
            stacked.iter().map(|(n, t)| (n.as_str(), t.len())).collect();
        assert_eq!(names, [("y.0", 2), ("y.1", 1)]);
    }

    fn outputs(values: &[f32]) -> Outputs {
        Outputs(vec![("y".to_owned(), vec![tensor1(values)])])
    }

    #[test]
    fn an_output_that_is_no_number_is_not_as_expected() {
        let expected =
            |name: &str, values: &[f32]| Sample::from([(name.to_owned(), tensor1(values))]);
        let nan = outputs(&[1.0, f32::NAN]);
        assert!(!nan.compare(&expected("y", &[1.0, 2.0])).unwrap()[0].holds());
        assert!(nan.compare(&expected("y", &[1.0, f32::NAN])).unwrap()[0].holds());
        let infinite = outputs(&[1.0, f32::INFINITY]);
        assert!(
            infinite
                .compare(&expected("", &[1.0, f32::INFINITY]))
                .unwrap()[0]
                .holds()
        );
        assert!(!infinite.compare(&expected("y", &[1.0, 0.0])).unwrap()[0].holds());
    }

    #[test]
    fn an_expected_output_of_another_name_is_refused() {
        let expected = Sample::from([("z".to_owned(), tensor1(&[1.0f32]))]);
        let error = outputs(&[1.0]).compare(&expected).unwrap_err();
        assert_eq!(error.to_string(), "there is no output `z`");
    }
}
