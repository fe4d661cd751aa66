//! Traffic over the host link: each host segment with the tensors that it takes from the array and gives to it, their
//! placement, and the reasons that its nodes are on the host.

use crate::table::si;
use scnn_simulator::report::Report;
use scnnc::compile::Compiled;
use scnnc::graph::{HostOp, Op};
use scnnc::quantise::{HostOperation, Value};
use serde_json::json;
use std::fmt::Write;

/// Most reasons of a segment that are printed; they repeat each other.
const MOST_REASONS: usize = 4;

/// A host segment.
pub struct Segment<'a> {
    name: &'a str,
    cycles: u64,
    /// Share of all cycles.
    share: f64,
    /// Tensors from the array.
    takes: Vec<&'a Value>,
    /// Tensors to the array.
    gives: Vec<&'a Value>,
    reasons: Vec<String>,
}

/// The segments that share a tensor with the array, the most expensive first.
pub fn segments<'a>(compiled: &'a Compiled, report: &Report) -> Vec<Segment<'a>> {
    let total = report.totals.cycles.total.max(1);
    let operations = compiled.network.operations.iter().zip(&report.layers);
    let mut segments: Vec<Segment<'a>> = operations
        .filter_map(|(operation, layer)| Some((operation.segment()?, layer.costs.cycles.total)))
        .map(|(host, cycles)| Segment {
            name: &host.name,
            cycles,
            share: cycles as f64 / total as f64,
            takes: shared(compiled, &host.inputs, &compiled.network.inputs),
            gives: shared(compiled, &host.outputs, &compiled.network.outputs),
            reasons: reasons(compiled, host),
        })
        .collect();
    segments.sort_by_key(|segment| std::cmp::Reverse(segment.cycles));
    segments
}

/// The values that the machine holds too, but for those that cross the program's own border.
fn shared<'a>(compiled: &'a Compiled, values: &[usize], border: &[usize]) -> Vec<&'a Value> {
    let inner = values.iter().filter(|value| !border.contains(value));
    let values = inner.map(|&value| &compiled.network.values[value]);
    values.filter(|value| value.tensor.is_some()).collect()
}

/// Why each node of a segment is on the host.
fn reasons(compiled: &Compiled, operation: &HostOperation) -> Vec<String> {
    let results: Vec<&str> = operation
        .outputs
        .iter()
        .map(|&value| compiled.network.values[value].name.as_str())
        .collect();
    let is_it = |host: &&HostOp| {
        let mut outputs = host.outputs.iter();
        outputs.any(|(name, ..)| results.contains(&name.as_str()))
    };
    let hosts = compiled
        .graph
        .dag
        .node_weights()
        .filter_map(|node| match &node.op {
            Op::Host(host) => Some(&**host),
            _ => None,
        });
    let reasons = hosts.filter(is_it).flat_map(|host| &host.reasons);
    reasons.map(ToString::to_string).collect()
}

/// A value with its extents, and its placement where that is not by position.
fn describe(value: &Value) -> String {
    let placement = value.placement.as_ref();
    let lies = placement.map_or_else(String::new, |placement| format!(" at {placement}"));
    format!("{} {:?}{lies}", value.name, value.dims)
}

/// All segments as text; nothing where there are none.
pub fn text(segments: &[Segment<'_>]) -> String {
    if segments.is_empty() {
        return String::new();
    }
    let cycles: u64 = segments.iter().map(|segment| segment.cycles).sum();
    let share: f64 = segments.iter().map(|segment| segment.share).sum();
    let mut text = format!(
        "host link: {} ({:.1} %) in {} segment{}\n",
        si(cycles as f64, "cycles"),
        100.0 * share,
        segments.len(),
        if segments.len() == 1 { "" } else { "s" }
    );
    for segment in segments {
        segment.write(&mut text);
    }
    text
}

impl Segment<'_> {
    fn write(&self, text: &mut String) {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "  {}: {} ({:.1} %)",
            self.name,
            si(self.cycles as f64, "cycles"),
            100.0 * self.share
        );
        let mut line = |what: &str, content: &str| {
            let _ = writeln!(text, "    {what:10}{content}");
        };
        for value in &self.takes {
            line("takes", &describe(value));
        }
        for value in &self.gives {
            line("gives", &describe(value));
        }
        for reason in self.reasons.iter().take(MOST_REASONS) {
            line("because", reason);
        }
        let more = self.reasons.len().saturating_sub(MOST_REASONS);
        if more > 0 {
            line("", &format!("and {more} more, see `scnnc check`"));
        }
    }

    /// The segment in fields.
    pub fn json(&self) -> serde_json::Value {
        let values = |values: &[&Value]| -> Vec<serde_json::Value> {
            let fields = |value: &&Value| {
                let placement = value.placement.as_ref().map(ToString::to_string);
                json!({ "name": value.name, "shape": value.dims, "placement": placement })
            };
            values.iter().map(fields).collect()
        };
        json!({
            "name": self.name, "cycles": self.cycles, "cycles_ratio": self.share,
            "takes": values(&self.takes), "gives": values(&self.gives), "reasons": self.reasons,
        })
    }
}
