//! Latency of many samples: a line below the table of a run, and a file with a row for the network and for every layer.

use super::failure::Failure;
use super::{output, table};
use scnnc_driver::latency::{Distribution, Distributions};
use std::fmt::Write;
use std::path::Path;

/// The network's distribution in a line; nothing where there is a single sample.
pub fn line(distributions: &Distributions) -> String {
    if distributions.samples < 2 {
        return String::new();
    }
    let network = &distributions.network;
    let cycles = |cycles: u64| table::si(cycles as f64, "");
    let slowest = network.slowest.iter().map(|sample| format!("#{sample}"));
    let slowest: Vec<String> = slowest.collect();
    let ceiling = network.ceiling.map_or_else(String::new, |ceiling| {
        format!("; no input takes more than {}", cycles(ceiling))
    });
    format!(
        "latency   {} cycles in the mean of {} samples, p50 {}, p95 {}, p99 {}, at most {} (slowest: {}){ceiling}\n",
        table::si(network.mean, ""),
        distributions.samples,
        cycles(network.p50),
        cycles(network.p95),
        cycles(network.p99),
        cycles(network.most),
        slowest.join(", ")
    )
}

/// Writes them as CSV or JSON, by the file's extension.
pub fn write(path: &Path, distributions: &Distributions) -> Result<(), Failure> {
    if output::is_json(path) {
        return output::write_json(path, distributions);
    }
    let mut csv = "layer,mean_cycles,p50_cycles,p95_cycles,p99_cycles,most_cycles,ceiling_cycles,slowest_sample\n".to_owned();
    let all = std::iter::once(&distributions.network).chain(&distributions.layers);
    for Distribution {
        layer,
        mean,
        p50,
        p95,
        p99,
        most,
        ceiling,
        slowest,
    } in all
    {
        let name = layer.as_deref().unwrap_or("network").replace('"', "\"\"");
        let slowest = slowest.first().copied().unwrap_or_default();
        let ceiling = ceiling.map_or_else(String::new, |ceiling| ceiling.to_string());
        // Writing to a string does not fail.
        let _ = writeln!(
            csv,
            "\"{name}\",{mean},{p50},{p95},{p99},{most},{ceiling},{slowest}"
        );
    }
    output::write(path, csv.as_bytes())
}
