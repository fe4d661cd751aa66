//! Comparison of values with a reference: signal-to-noise ratio, top-1 agreement, accuracy on labels.

use tract_onnx::prelude::Tensor;

/// Accumulates the comparison of machine outputs with float outputs over samples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Comparison {
    signal: f64,
    noise: f64,
    samples: u32,
    agreeing: u32,
    largest_error: f64,
}

impl Comparison {
    /// Adds an output and its reference.
    pub fn add(&mut self, ours: &[f32], reference: &[f32]) {
        for (&ours, &reference) in ours.iter().zip(reference) {
            let (ours, reference) = (f64::from(ours), f64::from(reference));
            self.signal += reference * reference;
            self.noise += (ours - reference) * (ours - reference);
            self.largest_error = self.largest_error.max((ours - reference).abs());
        }
        self.samples += 1;
        self.agreeing += u32::from(top1(ours) == top1(reference));
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

    /// Samples whose largest output is the same one, and all samples.
    pub fn agreement(&self) -> (u32, u32) {
        (self.agreeing, self.samples)
    }
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
        assert_eq!(comparison.agreement(), (1, 1));
    }
}
