//! Comparison of values with a reference: signal-to-noise ratio, top-1 agreement, accuracy on labels.

use crate::graph::Graph;
use tract_onnx::prelude::Tensor;

/// Accumulates the comparison of outputs with reference outputs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Comparison {
    signal: f64,
    noise: f64,
    values: u64,
    largest_error: f64,
    sum_of_errors: f64,
    images: u32,
    agreeing: u32,
}

impl Comparison {
    /// Adds values and their references. What one of them has more is compared with zeros: outputs whose extents depend on
    /// data may have different ones.
    pub fn add(&mut self, ours: &[f32], reference: &[f32]) {
        let values = ours.len().max(reference.len());
        for index in 0..values {
            let at = |values: &[f32]| values.get(index).map_or(0.0, |&value| f64::from(value));
            let (ours, reference) = (at(ours), at(reference));
            let error = (ours - reference).abs();
            self.signal += reference * reference;
            self.noise += error * error;
            self.largest_error = self.largest_error.max(error);
            self.sum_of_errors += error;
        }
        self.values += values as u64;
    }

    /// Adds an output of the network and its reference: values, and whether the class of each image is the same.
    pub fn add_output(&mut self, ours: &Tensor, reference: &Tensor, batch: Batch) {
        self.add(&floats(ours), &floats(reference));
        let classes = classes(ours, batch)
            .into_iter()
            .zip(classes(reference, batch));
        for (ours, reference) in classes {
            self.images += 1;
            self.agreeing += u32::from(ours == reference);
        }
    }

    /// Signal-to-quantisation-noise ratio in dB; infinite when nothing differs.
    pub fn sqnr_db(&self) -> f64 {
        if self.noise == 0.0 {
            // Also where there is no signal either.
            return f64::INFINITY;
        }
        10.0 * (self.signal / self.noise).log10()
    }

    /// Largest difference of a value.
    pub fn largest_error(&self) -> f64 {
        self.largest_error
    }

    /// Mean difference of a value.
    pub fn mean_error(&self) -> f64 {
        self.sum_of_errors / self.values.max(1) as f64
    }

    /// Images whose class is the same one, and all images.
    pub fn agreement(&self) -> (u32, u32) {
        (self.agreeing, self.images)
    }
}

/// Images that one inference of a network takes: the first extent that all its inputs of rank 2 and above share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch(usize);

impl Batch {
    /// The batch of a network with inputs of these extents; inputs that disagree, as those of a recurrence with its
    /// state may, have none.
    pub fn of<'a>(inputs: impl IntoIterator<Item = &'a [u64]>) -> Self {
        let mut firsts = inputs
            .into_iter()
            .filter(|dims| dims.len() > 1)
            .map(|dims| dims[0] as usize);
        let first = firsts.next().unwrap_or(1);
        Self(if firsts.all(|other| other == first) {
            first.max(1)
        } else {
            1
        })
    }

    /// The batch of a graph.
    pub fn of_graph(graph: &Graph) -> Self {
        Self::of(graph.inputs.iter().map(|&id| graph.dag[id].dims.as_slice()))
    }

    /// Images of an inference.
    pub fn images(self) -> usize {
        self.0
    }

    /// Images that an output of this shape has entries of: all of the batch if that is its first extent, else one.
    pub fn images_in(self, shape: &[usize]) -> usize {
        if shape.first() == Some(&self.0) {
            self.0
        } else {
            1
        }
    }
}

/// The class of each image in an output: the index of its largest value, or an integer output's one value.
pub fn classes(output: &Tensor, batch: Batch) -> Vec<Option<usize>> {
    let values = floats(output);
    let images = batch.images_in(output.shape());
    let per_image = values.len() / images;
    let are_classes = per_image == 1 && output.datum_type().is_integer();
    let class = |image: usize| {
        let values = &values[image * per_image..][..per_image];
        match values {
            [class] if are_classes => (*class >= 0.0).then_some(*class as usize),
            values => top1(values),
        }
    };
    (0..images).map(class).collect()
}

/// How many of the images have the class that their label names.
pub fn correct(output: &Tensor, batch: Batch, labels: &[usize]) -> usize {
    let classes = classes(output, batch).into_iter().zip(labels);
    classes
        .filter(|(class, label)| *class == Some(**label))
        .count()
}

/// The values of a tensor as floats.
pub fn floats(tensor: &Tensor) -> Vec<f32> {
    let cast = tensor.cast_to::<f32>();
    cast.ok()
        .and_then(|cast| {
            cast.to_plain_array_view::<f32>()
                .map(|view| view.iter().copied().collect())
                .ok()
        })
        .unwrap_or_default()
}

/// Index of the largest value; the first of equals.
pub fn top1(values: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (index, &value) in values.iter().enumerate() {
        if best.is_none_or(|(_, largest)| value > largest) {
            best = Some((index, value));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_a_thousandth_of_the_signal_is_sixty_decibels() {
        let mut comparison = Comparison::default();
        comparison.add(&[1.001, 0.0], &[1.0, 0.0]);
        assert!((comparison.sqnr_db() - 60.0).abs() < 0.01);
        assert!((comparison.largest_error() - 0.001).abs() < 1e-6);
        assert!((comparison.mean_error() - 0.0005).abs() < 1e-6);
    }

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::from_shape(shape, values).unwrap()
    }

    #[test]
    fn every_image_of_a_batch_has_a_class_of_its_own() {
        let batch = Batch::of([[3, 1, 8, 8].as_slice(), &[1]]);
        assert_eq!(batch.images(), 3);
        let ours = tensor(&[3, 2], &[0.0, 1.0, 1.0, 0.0, 5.0, 9.0]);
        assert_eq!(classes(&ours, batch), [Some(1), Some(0), Some(1)]);
        assert_eq!(correct(&ours, batch, &[1, 1, 1]), 2);
        let reference = tensor(&[3, 2], &[0.0, 1.0, 0.0, 1.0, 5.0, 9.0]);
        let mut comparison = Comparison::default();
        comparison.add_output(&ours, &reference, batch);
        assert_eq!(comparison.agreement(), (2, 3));
    }

    #[test]
    fn an_output_of_integers_may_be_the_classes_themselves() {
        let batch = Batch::of([[2, 4].as_slice()]);
        let output = Tensor::from_shape(&[2], &[7i64, 3]).unwrap();
        assert_eq!(classes(&output, batch), [Some(7), Some(3)]);
        // Boxes of one image, and not images.
        let boxes = tensor(&[5, 2], &[0.0; 10]);
        assert_eq!(classes(&boxes, batch).len(), 1);
    }

    #[test]
    fn inputs_that_disagree_have_no_batch() {
        let state: [&[u64]; 2] = [&[1, 512], &[2, 1, 128]];
        assert_eq!(Batch::of(state).images(), 1);
    }
}
