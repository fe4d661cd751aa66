//! The record of a tensor over the samples: its extremes, density, spacing, and the magnitudes of its channels.

use super::histogram::Histogram;
use super::octaves::Octaves;
use super::spacing::Spacing;
use super::{Method, Range};
use crate::widths;
use multiversion::multiversion;
use scnn_isa::placement::Placement;
use tract_onnx::prelude::Tensor;

/// The record of a tensor over the samples so far.
#[derive(Debug)]
pub(super) struct TensorRecord {
    min: f32,
    max: f32,
    density: f64,
    pub(super) spacing: Spacing,
    samples: u32,
    histogram: Histogram,
    /// By channel, its largest magnitude; and values seen of each.
    channels: Vec<f32>,
    per_channel: u64,
}

impl Default for TensorRecord {
    fn default() -> Self {
        Self {
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
            density: 0.0,
            spacing: Spacing::default(),
            samples: 0,
            histogram: Histogram::default(),
            channels: Vec::new(),
            per_channel: 0,
        }
    }
}

impl TensorRecord {
    pub(super) fn add(&mut self, tensor: &Tensor, placement: Option<&Placement>, histogram: bool) {
        let Ok(view) = tensor.to_plain_array_view::<f32>() else {
            return;
        };
        let values = view.as_standard_layout();
        let values = values.as_slice().unwrap_or_default();
        let extent = self.extent(values, placement);
        self.min = self.min.min(extent.min);
        self.max = self.max.max(extent.max);
        self.spacing.see(values);
        if histogram {
            let counted = |value: &&f32| value.is_finite() && **value != 0.0;
            for value in values.iter().filter(counted) {
                self.histogram.add(*value);
            }
        }
        let density = extent.nonzero as f64 / values.len().max(1) as f64;
        self.samples += 1;
        self.density += (density - self.density) / f64::from(self.samples);
    }

    /// Adds what was observed on later samples.
    pub(super) fn join(&mut self, later: &Self) {
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.spacing.join(&later.spacing);
        self.histogram.join(&later.histogram);
        if self.channels.len() < later.channels.len() {
            self.channels.resize(later.channels.len(), 0.0);
        }
        for (largest, &later) in self.channels.iter_mut().zip(&later.channels) {
            *largest = largest.max(later);
        }
        self.per_channel += later.per_channel;
        self.samples += later.samples;
        let further = (later.density - self.density) * f64::from(later.samples);
        self.density += further / f64::from(self.samples.max(1));
    }

    /// The extent of values; also records the magnitude of each channel, where the placement has channels.
    fn extent(&mut self, values: &[f32], placement: Option<&Placement>) -> Extent {
        let sized = |lies: &&Placement| lies.elements() == values.len() as u64;
        let lies = placement.filter(sized);
        let Some((lies, [images, channels, rows, cols])) = lies.and_then(|p| Some((p, p.shape()?)))
        else {
            return extent(values);
        };
        let stored = (!lies.is_row_major()).then(|| lies.to_machine(values));
        let values = stored.as_deref().unwrap_or(values);
        self.channels.resize(channels as usize, 0.0);
        self.per_channel += u64::from(images) * u64::from(rows) * u64::from(cols);
        let mut whole = extent(&[]);
        let planes = values.chunks((rows * cols).max(1) as usize);
        for (index, plane) in planes.enumerate() {
            let of_plane = extent(plane);
            let largest = &mut self.channels[index % channels as usize];
            *largest = largest.max(of_plane.max).max(-of_plane.min);
            whole = whole.and(&of_plane);
        }
        whole
    }

    /// The octaves of the channels, as far as what was seen of them tells.
    pub(super) fn octaves(&self, range: Range) -> Option<Octaves> {
        let whole = range.max.abs().max(range.min.abs());
        Octaves::of(&self.channels, self.per_channel, whole)
    }

    pub(super) fn range(&self, method: Method, bits: u32) -> Range {
        let cut = match method {
            Method::MinMax => f32::INFINITY,
            Method::Percentile(percent) => self.histogram.percentile(percent),
            Method::Entropy => self.histogram.entropy(widths::magnitude(bits) as usize),
        };
        // Of no finite value, zeros.
        let (min, max) = if self.min <= self.max {
            (self.min, self.max)
        } else {
            (0.0, 0.0)
        };
        Range {
            min: min.clamp(-cut, cut),
            max: max.clamp(-cut, cut),
            density: self.density,
        }
    }
}

/// Extremes and non-zeros of values; values that are not finite do not count.
struct Extent {
    min: f32,
    max: f32,
    nonzero: u64,
}

impl Extent {
    /// The extent of both sets of values together.
    fn and(&self, other: &Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            nonzero: self.nonzero + other.nonzero,
        }
    }
}

/// Values that are looked at together.
const LANES: usize = 16;

#[multiversion(targets("x86_64+avx2"))]
fn extent(values: &[f32]) -> Extent {
    let (mut min, mut max) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    let mut nonzero = 0u64;
    // `<` instead of `f32::min`: no NaN handling, so it vectorises.
    let mut see = |values: &[f32; LANES]| {
        let mut here = 0u32;
        for (lane, &value) in values.iter().enumerate() {
            let finite = value.abs() < f32::INFINITY;
            min[lane] = if finite && value < min[lane] {
                value
            } else {
                min[lane]
            };
            max[lane] = if finite && value > max[lane] {
                value
            } else {
                max[lane]
            };
            here += u32::from(finite && value != 0.0);
        }
        nonzero += u64::from(here);
    };
    let (whole, rest) = values.as_chunks::<LANES>();
    for values in whole {
        see(values);
    }
    // Values that are not finite change nothing.
    let mut last = [f32::NAN; LANES];
    last[..rest.len()].copy_from_slice(rest);
    see(&last);
    Extent {
        min: min.into_iter().fold(f32::INFINITY, f32::min),
        max: max.into_iter().fold(f32::NEG_INFINITY, f32::max),
        nonzero,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_is_that_of_the_finite_values() {
        for count in [0, 1, 15, 16, 17, 100] {
            let value = |index: usize| match index % 7 {
                0 => f32::NAN,
                1 => f32::INFINITY,
                2 => f32::NEG_INFINITY,
                3 => 0.0,
                _ => (index as f32 - 50.0) / 3.0,
            };
            let values: Vec<f32> = (0..count).map(value).collect();
            let finite = || values.iter().copied().filter(|value| value.is_finite());
            let extent = extent(&values);
            assert_eq!(extent.min, finite().fold(f32::INFINITY, f32::min));
            assert_eq!(extent.max, finite().fold(f32::NEG_INFINITY, f32::max));
            let nonzero = finite().filter(|&value| value != 0.0).count();
            assert_eq!(extent.nonzero, nonzero as u64);
        }
    }

    /// Three channels, of which one is an eighth of the largest and one is always zero.
    #[test]
    fn the_octaves_of_channels_are_kept_where_they_differ_and_less_where_little_was_seen() {
        let octaves_of = |factors: [f32; 3], samples: usize| {
            let plane = |factor: f32| (0..32).map(move |i| factor * (i as f32 - 31.0) / 31.0);
            let values: Vec<f32> = factors.into_iter().flat_map(plane).collect();
            let tensor = Tensor::from_shape(&[1, 3, 4, 8], &values).unwrap();
            let mut observed = TensorRecord::default();
            (0..samples)
                .for_each(|_| observed.add(&tensor, "3c 4y 8x".parse().ok().as_ref(), false));
            let range = observed.range(Method::MinMax, 16);
            observed.octaves(range).map(|octaves| octaves.0)
        };
        assert_eq!(octaves_of([2.0, 0.25, 0.0], 2), Some(vec![0, 3, 0]));
        assert_eq!(
            octaves_of([2.0, 0.25, 0.0], 1),
            None,
            "32 values of a channel"
        );
        assert_eq!(octaves_of([2.0, 0.1, 0.0], 2), Some(vec![0, 4, 0]));
        assert_eq!(octaves_of([2.0, 0.1, 0.0], 1), Some(vec![0, 3, 0]));
        assert_eq!(
            octaves_of([2.0, 0.3, 0.5], 2),
            None,
            "within a factor of eight"
        );
    }

    #[test]
    fn a_cut_range_keeps_its_signs() {
        let values: Vec<f32> = (0..1000).map(|i| i as f32 / 1000.0).chain([50.0]).collect();
        let mut observed = TensorRecord::default();
        observed.add(&Tensor::from_shape(&[1001], &values).unwrap(), None, true);
        let range = observed.range(Method::Percentile(99.0), 16);
        assert!(range.min == 0.0 && range.max < 1.1, "{range:?}");
        assert_eq!(observed.range(Method::MinMax, 16).max, 50.0);
        assert!((range.density - 1000.0 / 1001.0).abs() < 1e-9);
    }
}
