//! Folded stacks, a line a stack and its weight: what flame graph scripts and speedscope read.
//!
//! The stacks are model, layer, node and cause of [`Slots`](scnn_simulator::timing::Slots), weights are multiplier slots;
//! so the widths of a flame graph are where the array's time went. Layers without the array have their cycles, times the
//! multipliers, as one cause.

use scnn_simulator::report::{Layer, Report};
use scnn_simulator::timing::Cause;
use std::fmt::Write;

/// The stacks of a report.
pub fn folded(report: &Report) -> String {
    let mut text = String::new();
    for layer in &report.layers {
        let node = layer.onnx_nodes.first().unwrap_or(&layer.name);
        let frames = [&report.model, &layer.name, node].map(|name| frame(name));
        for (cause, slots) in causes(layer, report.multipliers) {
            if slots > 0 {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{};{cause} {slots}", frames.join(";"));
            }
        }
    }
    text
}

fn causes(layer: &Layer, multipliers: u64) -> Vec<(String, u64)> {
    let slots = &layer.costs.cycles.slots;
    let whole = layer.costs.cycles.total * multipliers;
    let shares = Cause::all(slots).into_iter();
    let mut causes: Vec<(String, u64)> = shares
        .map(|(cause, share)| (cause.to_string(), share))
        .collect();
    causes.push((
        "without the array".to_owned(),
        whole.saturating_sub(slots.total()),
    ));
    causes
}

/// A name as a frame: semicolons end frames, line ends end stacks.
fn frame(name: &str) -> String {
    name.replace(';', ":").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::tests::report;

    #[test]
    fn weights_are_cycles_times_multipliers() {
        let mut report = report();
        report.layers[0].name = "a;b".to_owned();
        let text = folded(&report);
        let mut sum = 0;
        for line in text.lines() {
            let (stack, weight) = line.rsplit_once(' ').unwrap();
            assert_eq!(stack.split(';').count(), 4, "{line}");
            sum += weight.parse::<u64>().unwrap();
        }
        assert_eq!(sum, report.totals.cycles.total * report.multipliers);
    }
}
