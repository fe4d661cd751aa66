//! A counter over time, in a bounded number of points.

/// Points of a counter in a layer, at most.
const POINTS: usize = 256;

/// Sums over equal stretches of time, which double in length whenever there would be too many.
pub struct Buckets {
    width: u64,
    sums: Vec<f64>,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            width: 1,
            sums: Vec::new(),
        }
    }
}

impl Buckets {
    /// Spreads `amount` evenly over a span of cycles.
    pub fn add(&mut self, [begin, end]: [u64; 2], amount: f64) {
        if begin >= end {
            return;
        }
        while (end - 1) / self.width >= POINTS as u64 {
            self.width *= 2;
            self.sums = self.sums.chunks(2).map(|pair| pair.iter().sum()).collect();
        }
        let (first, last) = (begin / self.width, (end - 1) / self.width);
        self.sums
            .resize(self.sums.len().max(last as usize + 1), 0.0);
        let density = amount / (end - begin) as f64;
        for bucket in first..=last {
            let inside = end.min((bucket + 1) * self.width) - begin.max(bucket * self.width);
            self.sums[bucket as usize] += density * inside as f64;
        }
    }

    /// Begin, sum and length of every stretch, the last one cut at `end`.
    pub fn points(&self, end: u64) -> impl Iterator<Item = (u64, f64, u64)> {
        let width = self.width;
        let point = move |(index, &sum): (usize, &f64)| {
            let begin = index as u64 * width;
            (begin, sum, width.min(end.saturating_sub(begin).max(1)))
        };
        self.sums.iter().enumerate().map(point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_keep_the_sum_however_often_they_double() {
        let mut buckets = Buckets::default();
        for begin in 0..10_000u64 {
            buckets.add([begin, begin + 1 + begin % 700], 3.0);
        }
        buckets.add([5, 5], 100.0);
        assert!(buckets.sums.len() <= POINTS);
        assert!((buckets.sums.iter().sum::<f64>() - 30_000.0).abs() < 1e-6);
    }
}
