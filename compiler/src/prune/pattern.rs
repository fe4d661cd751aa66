//! Which weights of a layer go: by magnitude, one by one, by whole kernels, or N of every M.
//!
//! A density is the share of the layer's weights that are not zero. What is zero in the file stays zero and counts; a
//! layer that is sparser than asked is left as it is. The smallest go first, of equals the first in the file.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How pruned weights lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pattern {
    /// Anywhere.
    #[default]
    Unstructured,
    /// All R x S weights of an output channel and an input channel together, by the mean of their squares.
    Kernel,
    /// At most `keep` of every `of` neighbouring input channels, for each output channel and tap.
    OfEvery {
        /// Weights that may stay.
        keep: u32,
        /// Neighbouring input channels.
        of: u32,
    },
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstructured => f.write_str("unstructured"),
            Self::Kernel => f.write_str("kernel"),
            Self::OfEvery { keep, of } => write!(f, "{keep}:{of}"),
        }
    }
}

crate::text::kept_as_text!(Pattern);

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not one of unstructured, kernel, or N:M such as 2:4");
        match text {
            "unstructured" => Ok(Self::Unstructured),
            "kernel" => Ok(Self::Kernel),
            _ => {
                let (keep, of) = text.split_once(':').ok_or_else(bad)?;
                let number = |word: &str| word.parse::<u32>().map_err(|_| bad());
                let (keep, of) = (number(keep)?, number(of)?);
                if keep == 0 || keep > of {
                    return Err(format!("`{text}`: N is 1 to M"));
                }
                Ok(Self::OfEvery { keep, of })
            }
        }
    }
}

/// How the weights of a layer lie in memory: K x C x taps, or C x K x taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Output channels, K (of a group where inputs come first).
    pub outputs: usize,
    /// Input channels of a group, C (all of them where they come first).
    pub inputs: usize,
    /// R x S.
    pub taps: usize,
    /// Whether input channels are the outermost dimension.
    pub inputs_first: bool,
}

impl Layout {
    /// Number of weights.
    pub fn len(&self) -> usize {
        self.outputs * self.inputs * self.taps
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Position of tap `tap` of output channel `k` and input channel `c`.
    pub fn index(&self, k: usize, c: usize, tap: usize) -> usize {
        let kernel = if self.inputs_first {
            c * self.outputs + k
        } else {
            k * self.inputs + c
        };
        kernel * self.taps + tap
    }
}

/// Share of non-zeros, 0..=1.
pub fn density(weights: &[f32]) -> f64 {
    weights.iter().filter(|w| **w != 0.0).count() as f64 / weights.len().max(1) as f64
}

/// Sets weights to zero until at most the share `target` of them is left, in `pattern`.
///
/// Reached is the largest density that the pattern has at or below `target`: exact to one weight where it is
/// unstructured, to one kernel where those go whole.
pub fn prune(weights: &mut [f32], layout: &Layout, pattern: Pattern, target: f64) {
    let keep = (weights.len() as f64 * target + 1e-9).floor() as usize;
    match pattern {
        Pattern::Unstructured => smallest(weights, keep),
        Pattern::Kernel => weakest_kernels(weights, layout.taps, keep),
        Pattern::OfEvery { keep: few, of } => {
            of_every(weights, layout, few as usize, of as usize);
            smallest(weights, keep);
        }
    }
}

/// The density that is left when everything goes whose square, or mean square in a kernel, is at most `threshold`.
///
/// A pattern N:M is taken whole or not at all: when the mean square of what it would remove is.
pub fn density_at(weights: &[f32], layout: &Layout, pattern: Pattern, threshold: f64) -> f64 {
    let stays = |square: f64| square > threshold;
    let left = match pattern {
        Pattern::Unstructured => {
            let nonzero = weights.iter().filter(|w| **w != 0.0);
            nonzero.filter(|w| stays(square(**w))).count()
        }
        Pattern::Kernel => weights
            .chunks(layout.taps.max(1))
            .map(|kernel| {
                if stays(mean_square(kernel)) {
                    nonzeros(kernel)
                } else {
                    0
                }
            })
            .sum(),
        Pattern::OfEvery { keep, of } => {
            let mut pruned = weights.to_vec();
            of_every(&mut pruned, layout, keep as usize, of as usize);
            let gone = nonzeros(weights) - nonzeros(&pruned);
            let lost = energy(weights) - energy(&pruned);
            if stays(lost / gone.max(1) as f64) {
                nonzeros(weights)
            } else {
                nonzeros(&pruned)
            }
        }
    };
    left as f64 / weights.len().max(1) as f64
}

fn square(weight: f32) -> f64 {
    f64::from(weight) * f64::from(weight)
}

/// Sum of squares.
pub fn energy(weights: &[f32]) -> f64 {
    weights.iter().map(|&w| square(w)).sum()
}

/// Mean square of the weights that are not zero.
fn mean_square(weights: &[f32]) -> f64 {
    energy(weights) / nonzeros(weights).max(1) as f64
}

fn nonzeros(weights: &[f32]) -> usize {
    weights.iter().filter(|w| **w != 0.0).count()
}

/// Keeps the `keep` largest.
fn smallest(weights: &mut [f32], keep: usize) {
    let mut magnitudes: Vec<f32> = weights
        .iter()
        .filter(|w| **w != 0.0)
        .map(|w| w.abs())
        .collect();
    let Some(mut gone) = magnitudes.len().checked_sub(keep).filter(|gone| *gone > 0) else {
        return;
    };
    let (_, &mut last, _) = magnitudes.select_nth_unstable_by(gone - 1, f32::total_cmp);
    let below = |w: f32| w != 0.0 && w.abs() < last;
    gone -= weights.iter().filter(|w| below(**w)).count();
    for weight in weights {
        if below(*weight) {
            *weight = 0.0;
        } else if weight.abs() == last && gone > 0 {
            *weight = 0.0;
            gone -= 1;
        }
    }
}

/// Clears the weakest kernels until at most `keep` weights are left.
fn weakest_kernels(weights: &mut [f32], taps: usize, keep: usize) {
    let mut left = nonzeros(weights);
    let mut kernels: Vec<(f64, usize)> = weights
        .chunks(taps.max(1))
        .map(mean_square)
        .enumerate()
        .filter(|(_, mean)| *mean > 0.0)
        .map(|(index, mean)| (mean, index))
        .collect();
    kernels.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for (_, index) in kernels {
        if left <= keep {
            return;
        }
        let kernel = &mut weights[index * taps..(index + 1) * taps];
        left -= nonzeros(kernel);
        kernel.fill(0.0);
    }
}

/// Keeps the `keep` largest of every `of` neighbouring input channels.
fn of_every(weights: &mut [f32], layout: &Layout, keep: usize, of: usize) {
    let mut block: Vec<(f32, usize)> = Vec::with_capacity(of);
    for k in 0..layout.outputs {
        for tap in 0..layout.taps {
            for begin in (0..layout.inputs).step_by(of) {
                let end = (begin + of).min(layout.inputs);
                block.clear();
                block.extend((begin..end).map(|c| {
                    let index = layout.index(k, c, tap);
                    (weights[index].abs(), index)
                }));
                block.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
                for &(_, index) in block.iter().skip(keep) {
                    weights[index] = 0.0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern() -> impl Strategy<Value = Pattern> {
        prop_oneof![
            Just(Pattern::Unstructured),
            Just(Pattern::Kernel),
            (1u32..5, 0u32..4).prop_map(|(keep, more)| Pattern::OfEvery {
                keep,
                of: keep + more
            }),
        ]
    }

    /// Weights in a layout; few different magnitudes, so that there are ties, and zeros.
    fn layer() -> impl Strategy<Value = (Layout, Vec<f32>)> {
        (1usize..5, 1usize..9, 1usize..5, any::<bool>()).prop_flat_map(
            |(outputs, inputs, taps, inputs_first)| {
                let layout = Layout {
                    outputs,
                    inputs,
                    taps,
                    inputs_first,
                };
                let weight = (-6i8..7).prop_map(|w| f32::from(w) / 4.0);
                (
                    Just(layout),
                    prop::collection::vec(weight, layout.len()..=layout.len()),
                )
            },
        )
    }

    proptest! {
        #[test]
        fn the_density_is_reached_and_nothing_else_changes(
            (layout, weights) in layer(), pattern in pattern(), target in 0.0f64..=1.0,
        ) {
            let mut pruned = weights.clone();
            prune(&mut pruned, &layout, pattern, target);
            for (after, before) in pruned.iter().zip(&weights) {
                prop_assert!(after == before || *after == 0.0);
            }
            prop_assert!(density(&pruned) <= target + 1e-9);
            let keep = (weights.len() as f64 * target + 1e-9).floor() as usize;
            let available = nonzeros(&weights);
            let left = nonzeros(&pruned);
            match pattern {
                Pattern::Unstructured => prop_assert_eq!(left, keep.min(available)),
                Pattern::Kernel => prop_assert!(left + layout.taps > keep.min(available)),
                Pattern::OfEvery { .. } => {
                    // The pattern alone, unless that is not sparse enough.
                    let mut alone = weights.clone();
                    prune(&mut alone, &layout, pattern, 1.0);
                    prop_assert_eq!(left, keep.min(nonzeros(&alone)));
                }
            }
        }

        #[test]
        fn no_weight_that_went_is_larger_than_one_that_stayed((layout, weights) in layer(), target in 0.0f64..=1.0) {
            let mut pruned = weights.clone();
            prune(&mut pruned, &layout, Pattern::Unstructured, target);
            let went = pruned.iter().zip(&weights).filter(|(after, before)| after != before).map(|(_, w)| w.abs());
            let stayed = pruned.iter().filter(|w| **w != 0.0).map(|w| w.abs());
            prop_assert!(went.fold(0.0, f32::max) <= stayed.fold(f32::INFINITY, f32::min));
        }

        #[test]
        fn the_patterns_hold((layout, weights) in layer(), pattern in pattern(), target in 0.0f64..=1.0) {
            let mut pruned = weights.clone();
            prune(&mut pruned, &layout, pattern, target);
            for k in 0..layout.outputs {
                match pattern {
                    Pattern::Unstructured => {}
                    Pattern::Kernel => for c in 0..layout.inputs {
                        let taps = (0..layout.taps).map(|tap| layout.index(k, c, tap));
                        let (same, gone): (Vec<_>, Vec<_>) = taps.partition(|&i| pruned[i] == weights[i]);
                        prop_assert!(gone.is_empty() || same.iter().all(|&i| pruned[i] == 0.0));
                    },
                    Pattern::OfEvery { keep, of } => for tap in 0..layout.taps {
                        for begin in (0..layout.inputs).step_by(of as usize) {
                            let end = (begin + of as usize).min(layout.inputs);
                            let left = (begin..end).filter(|&c| pruned[layout.index(k, c, tap)] != 0.0);
                            prop_assert!(left.count() <= keep as usize);
                        }
                    },
                }
            }
        }

        #[test]
        fn a_threshold_gives_the_density_that_pruning_to_it_reaches((layout, weights) in layer(), pattern in pattern(), threshold in 0.0f64..3.0) {
            let target = density_at(&weights, &layout, pattern, threshold);
            let mut pruned = weights.clone();
            prune(&mut pruned, &layout, pattern, target);
            // A pattern N:M that costs too much is not to be taken at all.
            let declined = matches!(pattern, Pattern::OfEvery { .. }) && target == density(&weights);
            prop_assert!(declined || (density(&pruned) - target).abs() < 1e-9);
            prop_assert!(density_at(&weights, &layout, pattern, f64::MAX) <= target);
        }
    }

    #[test]
    fn patterns_are_read_as_they_are_written() {
        for text in ["unstructured", "kernel", "2:4"] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
        for text in ["", "4", "0:4", "5:4", "a:b", "kernels"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }
}
