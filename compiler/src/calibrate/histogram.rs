//! A histogram of magnitudes in bounded memory, and the two ways to cut its tail off.
//!
//! Bins are equally wide, and the width is a power of two: when a value does not fit, neighbours are joined until it
//! does. So the histogram of a set of values does not depend on their order.

use std::borrow::Cow;

/// Bins: enough for a tail of 1 in 10,000 to be seen, few enough to keep one for every tensor (16 KiB).
pub const BINS: usize = 2048;

/// Counts of magnitudes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Bin `i` counts magnitudes in `(i, i + 1] * 2^exponent`; zeros are in no bin.
    bins: Vec<u64>,
    exponent: i32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            bins: vec![0; BINS],
            exponent: FINEST,
        }
    }
}

/// Width of a bin at first: below any magnitude that could matter.
const FINEST: i32 = -140;

impl Histogram {
    /// Counts the magnitude of a finite value that is not zero.
    pub fn add(&mut self, value: f32) {
        let magnitude = f64::from(value.abs());
        while magnitude > BINS as f64 * self.width() {
            self.coarsen();
        }
        let bin = (magnitude / self.width()).ceil() as usize;
        self.bins[bin.clamp(1, BINS) - 1] += 1;
    }

    /// Adds the counts of another.
    pub fn join(&mut self, other: &Self) {
        let mut other = Cow::Borrowed(other);
        while self.exponent < other.exponent {
            self.coarsen();
        }
        while other.exponent < self.exponent {
            other.to_mut().coarsen();
        }
        for (count, other) in self.bins.iter_mut().zip(&other.bins) {
            *count += other;
        }
    }

    fn width(&self) -> f64 {
        2f64.powi(self.exponent)
    }

    /// Joins neighbours.
    fn coarsen(&mut self) {
        for i in 0..BINS {
            self.bins[i] = match i * 2 {
                first if first < BINS => self.bins[first] + self.bins[first + 1],
                _ => 0,
            };
        }
        self.exponent += 1;
    }

    /// The magnitude that `percent` of the values do not exceed, to the upper end of a bin.
    pub fn percentile(&self, percent: f64) -> f32 {
        let total: u64 = self.bins.iter().sum();
        let rank = (total as f64 * percent / 100.0).ceil() as u64;
        let mut below = 0;
        let bin = self.bins.iter().position(|&count| {
            below += count;
            below >= rank
        });
        self.end(bin.map_or(0, |bin| bin + 1))
    }

    /// The magnitude at which to saturate so that `levels` equal steps up to it tell the most of the distribution:
    /// the least Kullback-Leibler divergence of the quantised from the cut distribution.
    ///
    /// Where there are as many levels as bins, nothing is gained by cutting, and the largest magnitude is kept.
    pub fn entropy(&self, levels: usize) -> f32 {
        let used = self.bins.iter().rposition(|&count| count > 0);
        let used = used.map_or(0, |last| last + 1);
        // From the widest down, so that of equals the one that cuts least is taken.
        let best = (levels.max(1)..=used)
            .rev()
            .map(|end| (self.divergence(end, levels), end))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        self.end(best.map_or(used, |(_, end)| end))
    }

    /// Divergence of the first `end` bins in `levels` levels from the same bins with the tail in the last of them.
    fn divergence(&self, end: usize, levels: usize) -> f64 {
        let kept = &self.bins[..end];
        let tail: u64 = self.bins[end..].iter().sum();
        let total = (kept.iter().sum::<u64>() + tail) as f64;
        let inside = kept.iter().sum::<u64>() as f64;
        if inside == 0.0 {
            return f64::INFINITY;
        }
        let mut sum = 0.0;
        for level in 0..levels {
            let (begin, stop) = (level * end / levels, (level + 1) * end / levels);
            let bins = &kept[begin..stop];
            let filled = bins.iter().filter(|&&count| count > 0).count().max(1) as f64;
            // The level's values are spread evenly over the bins that had any.
            let even = bins.iter().sum::<u64>() as f64 / filled / inside;
            for (i, &count) in bins.iter().enumerate() {
                let count = count + if begin + i + 1 == end { tail } else { 0 };
                let share = count as f64 / total;
                if share > 0.0 {
                    // A tail that falls on an empty bin is lost altogether: as much as the smallest share there is.
                    sum += share * (share / even.max(1.0 / (total * total))).ln();
                }
            }
        }
        sum
    }

    fn end(&self, bins: usize) -> f32 {
        (bins as f64 * self.width()) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        for &value in values {
            histogram.add(value);
        }
        histogram
    }

    /// A bell around zero, from sums of twelve even numbers.
    fn bell(count: usize) -> Vec<f32> {
        let mut state = 1u64;
        let mut even = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        (0..count)
            .map(|_| (0..12).map(|_| even()).sum::<f32>() - 6.0)
            .collect()
    }

    #[test]
    fn entropy_cuts_the_outliers_of_a_bell_at_eight_bits_and_nothing_at_sixteen() {
        let mut values = bell(100_000);
        values.extend([40.0, -40.0]);
        let histogram = of(&values);
        let cut = histogram.entropy(127);
        assert!((2.0..10.0).contains(&cut), "{cut}");
        assert!(histogram.entropy(32767) >= 40.0);
    }

    proptest! {
        #[test]
        fn the_order_of_values_does_not_matter(mut values in prop::collection::vec(-1e6f32..1e6, 1..60)) {
            let forward = of(&values);
            values.reverse();
            prop_assert_eq!(forward, of(&values));
        }

        #[test]
        fn joined_histograms_are_that_of_all_values(values in prop::collection::vec(-1e6f32..1e6, 1..60), at in 0usize..60) {
            let (first, rest) = values.split_at(at.min(values.len()));
            let mut joined = of(first);
            joined.join(&of(rest));
            prop_assert_eq!(joined, of(&values));
        }

        #[test]
        fn a_percentile_is_the_ranked_value_to_a_bin(values in prop::collection::vec(0.001f32..100.0, 1..200), percent in 1f64..=100.0) {
            let mut sorted = values.clone();
            sorted.sort_by(f32::total_cmp);
            let rank = (values.len() as f64 * percent / 100.0).ceil() as usize;
            let exact = sorted[rank - 1];
            let got = of(&values).percentile(percent);
            // Half the bins are in use at least, so one is at most 2 / BINS of the largest.
            let bin = 2.0 * sorted[sorted.len() - 1] / BINS as f32;
            prop_assert!(got >= exact && got <= exact + bin * 1.001, "{got} for {exact}");
        }
    }
}
