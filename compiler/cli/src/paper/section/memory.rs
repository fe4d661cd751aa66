//! Layers whose activations exceed the RAMs, what DRAM adds to their energy, and how slow it may be (section 6.5 of the
//! paper).

use super::{Scope, names};
use crate::paper::finding::{Cell, Finding, Section, Table};
use crate::paper::lab::{Measured, Need, Results, Workload};
use crate::paper::reading::{HEADLINE, Reading};
use crate::paper::sums::{Sums, counted, mean};
use scnn_isa::machine::Machine;
use scnn_isa::program::Memory;
use scnn_simulator::report::Layer;

/// DRAM bandwidths that are tried, GB/s.
const RATES: [f64; 5] = [50.0, 20.0, 10.0, 4.0, 2.0];
/// A slow-down that counts as one.
const SLOWER: f64 = 1.05;

fn need(network: &'static str, reading: Reading) -> Need {
    Need::new(Workload::published(network), "scnn", reading)
}

pub fn needs(scope: Scope) -> Vec<Need> {
    let mut needs: Vec<Need> = scope.networks().iter().map(|n| need(n, HEADLINE)).collect();
    if !scope.quick {
        needs.extend(RATES.map(|rate| need("vgg16", Reading::at_bandwidth(rate))));
    }
    needs
}

pub fn evaluate(scope: Scope, results: &Results) -> Section {
    let machine = Machine::preset("scnn").expect("a preset");
    let capacity = machine
        .ram_elements(Memory::A)
        .min(machine.ram_elements(Memory::B));
    let of = |network| results.get(&need(network, HEADLINE));
    let others = scope.networks().iter().filter(|n| **n != "vgg16");
    let others: usize = others.map(|n| exceeding(n, of(n), capacity).len()).sum();
    let mut section = Section {
        name: "memory",
        title: "Activations beyond the RAMs",
        convention: format!(
            "a layer exceeds the RAMs if the non-zero activations of its input or output, as computed, are more than the {capacity} \
             elements of a RAM in some PE, the plane in one tile per PE; DRAM's part is the energy of activations to and from DRAM over \
             all other energy of the layer"
        ),
        findings: vec![Finding::new("memory.others", others as f64)],
        tables: Vec::new(),
        charts: Vec::new(),
    };
    if scope.quick {
        return section;
    }
    let vgg = of("vgg16");
    let large = exceeding("vgg16", vgg, capacity);
    let added: Vec<f64> = large
        .iter()
        .map(|&i| added(&machine, &vgg.report.layers[i]))
        .collect();
    let extreme = |pick: fn(f64, f64) -> f64| added.iter().copied().reduce(pick);
    let cycles = |reading| -> u64 {
        let report = &results.get(&need("vgg16", reading)).report;
        large
            .iter()
            .map(|&i| report.layers[i].costs.cycles.total)
            .sum()
    };
    let unlimited = cycles(HEADLINE);
    let slower: Vec<(f64, f64)> = RATES
        .iter()
        .map(|&rate| {
            (
                rate,
                cycles(Reading::at_bandwidth(rate)) as f64 / unlimited as f64,
            )
        })
        .collect();
    section.findings = vec![
        Finding::new("memory.vgg16", large.len() as f64),
        Finding::new("memory.others", others as f64),
        Finding::new("memory.least", extreme(f64::min)),
        Finding::new("memory.mean", mean(&added)),
        Finding::new("memory.most", extreme(f64::max)),
        Finding::new("memory.bandwidth", bound(&slower)),
    ];
    let rows = large.iter().zip(&added).map(|(&i, added)| {
        let (layer, [input, output]) = (&vgg.report.layers[i], vgg.fullest[i]);
        vec![
            layer.name.as_str().into(),
            input.into(),
            output.into(),
            (activation_bytes(layer) as f64 * 1e-6).into(),
            (layer.costs.counters.dram_weight_bytes as f64 * 1e-6).into(),
            Cell::Share(*added),
        ]
    });
    section.tables = vec![
        Table {
            name: "memory",
            title: format!(
                "layers of VGG-16 whose fullest PE would hold more than {capacity} activations"
            ),
            printed: true,
            columns: names([
                "layer",
                "input, fullest PE",
                "output, fullest PE",
                "activations from and to DRAM, MB",
                "weights, MB",
                "energy DRAM adds",
            ]),
            rows: rows.collect(),
        },
        Table {
            name: "bandwidth",
            title: "those layers at other DRAM bandwidths; weights come by the same DRAM"
                .to_owned(),
            printed: true,
            columns: names(["DRAM, GB/s", "cycles over those with unlimited DRAM"]),
            rows: slower
                .iter()
                .map(|&(rate, slower)| vec![rate.into(), slower.into()])
                .collect(),
        },
    ];
    section
}

/// Indices of the layers that count and exceed a RAM.
fn exceeding(network: &str, measured: &Measured, capacity: u64) -> Vec<usize> {
    let layers = measured.report.layers.iter().enumerate();
    layers
        .filter(|(index, layer)| {
            counted(network, layer) && measured.fullest[*index].iter().any(|&held| held > capacity)
        })
        .map(|(index, _)| index)
        .collect()
}

fn activation_bytes(layer: &Layer) -> u64 {
    layer.costs.counters.dram_bytes() - layer.costs.counters.dram_weight_bytes
}

/// Energy of activations to and from DRAM over all other energy of the layer.
fn added(machine: &Machine, layer: &Layer) -> f64 {
    let pj = activation_bytes(layer) as f64 * 8.0 * machine.energy.dram_bit.pj;
    pj / (Sums::of([layer]).energy_pj.total() - pj)
}

/// The bandwidth below which the layers slow down, interpolated on logarithmic scales.
fn bound(slower: &[(f64, f64)]) -> Option<f64> {
    let pairs = slower.iter().zip(slower.iter().skip(1));
    let mut crossing = pairs.filter(|((_, fast), (_, slow))| *fast <= SLOWER && *slow > SLOWER);
    let (&(high, fast), &(low, slow)) = crossing.next()?;
    let share = (SLOWER.ln() - fast.ln()) / (slow.ln() - fast.ln());
    Some((high.ln() + (low.ln() - high.ln()) * share).exp())
}

#[cfg(test)]
mod tests {
    use super::bound;

    #[test]
    fn the_bound_lies_where_the_slow_down_begins() {
        let bound = |slower: &[(f64, f64)]| bound(slower);
        assert_eq!(bound(&[(50.0, 1.0), (20.0, 1.0)]), None);
        let found = bound(&[(50.0, 1.0), (20.0, 1.0), (10.0, 1.5)]).unwrap();
        assert!(found > 10.0 && found < 20.0, "{found}");
    }
}
