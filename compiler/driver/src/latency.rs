//! Latency as a distribution: cycles of a network and of each of its layers over the samples of a run.

use scnn_simulator::Execution;
use scnn_simulator::report::Report;
use serde::Serialize;

/// Samples that are named as the slowest.
const SLOWEST: usize = 3;

/// Cycles of every operation, sample by sample.
#[derive(Clone, Debug)]
pub struct Latency {
    samples: Vec<Vec<u64>>,
    /// By operation, the cycles that no input exceeds, where they were asked for.
    ceilings: Option<Vec<u64>>,
}

/// Cycles over the samples. A percentile is a measured value: the least one that this share of the samples does not exceed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// The layer; none for the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// Mean.
    pub mean: f64,
    /// Half of the samples take no longer.
    pub p50: u64,
    /// 95 of a hundred take no longer.
    pub p95: u64,
    /// 99 of a hundred take no longer.
    pub p99: u64,
    /// The slowest sample.
    pub most: u64,
    /// Cycles that no input exceeds, from weights and mapping, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<u64>,
    /// The slowest samples, counted from 0, slowest first.
    pub slowest: Vec<usize>,
}

/// The distributions of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distributions {
    /// Samples.
    pub samples: usize,
    /// The network.
    pub network: Distribution,
    /// Its layers and host segments, in the order of execution.
    pub layers: Vec<Distribution>,
}

impl Latency {
    /// Of a program whose operations have these ceilings.
    pub(crate) fn new(ceilings: Option<Vec<u64>>) -> Self {
        Self {
            samples: Vec::new(),
            ceilings,
        }
    }

    /// Adds the next sample.
    pub(crate) fn add(&mut self, execution: &Execution) {
        let operations = execution.operations.iter();
        self.samples
            .push(operations.map(|operation| operation.cycles).collect());
    }

    /// The distributions over the samples; `report` is the sum of the same samples.
    ///
    /// # Panics
    /// With the report of another program.
    pub fn distributions(&self, report: &Report) -> Distributions {
        let sums = self
            .samples
            .iter()
            .map(|operations| operations.iter().sum());
        let ceilings = self.ceilings.as_ref();
        let ceiling = |at: usize| ceilings.map(|all| all[at]);
        let of_layer = |(at, name): (usize, &String)| {
            let cycles: Vec<u64> = self
                .samples
                .iter()
                .map(|operations| operations[at])
                .collect();
            Distribution::of(Some(name.clone()), &cycles, ceiling(at))
        };
        let names = report.layers.iter().map(|layer| &layer.name);
        Distributions {
            samples: self.samples.len(),
            network: Distribution::of(
                None,
                &sums.collect::<Vec<_>>(),
                ceilings.map(|all| all.iter().sum()),
            ),
            layers: names.enumerate().map(of_layer).collect(),
        }
    }
}

impl Distribution {
    fn of(layer: Option<String>, cycles: &[u64], ceiling: Option<u64>) -> Self {
        let mut order: Vec<usize> = (0..cycles.len()).collect();
        order.sort_by_key(|&sample| (std::cmp::Reverse(cycles[sample]), sample));
        let count = order.len();
        let percentile = |percent: usize| {
            let rank = (count * percent).div_ceil(100).max(1);
            order
                .get(count.wrapping_sub(rank))
                .map_or(0, |&at| cycles[at])
        };
        Self {
            layer,
            mean: cycles.iter().sum::<u64>() as f64 / count.max(1) as f64,
            p50: percentile(50),
            p95: percentile(95),
            p99: percentile(99),
            most: order.first().map_or(0, |&at| cycles[at]),
            ceiling,
            slowest: order.iter().copied().take(SLOWEST).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values_that_so_many_do_not_exceed() {
        let all = Distribution::of(None, &(1..=200).rev().collect::<Vec<_>>(), Some(300));
        assert_eq!([all.p50, all.p95, all.p99, all.most], [100, 190, 198, 200]);
        assert_eq!(all.slowest, [0, 1, 2]);
        assert!((all.mean - 100.5).abs() < 1e-12);
        let one = Distribution::of(None, &[7], None);
        assert_eq!([one.p50, one.p95, one.p99, one.most], [7; 4]);
        assert_eq!(one.slowest, [0]);
        let equal = Distribution::of(None, &[5, 9, 9], None);
        assert_eq!(equal.slowest, [1, 2, 0], "of equals the first");
        assert_eq!(equal.p50, 9);
    }
}
