//! What a view says of a node or of the model: names, values and units, the same in every view.

use super::{Node, Nodes};
use scnn_simulator::report::{Layer, Mapping, Report};

/// Something that a view says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fact {
    /// Name, which ends in the unit where there is one.
    pub name: &'static str,
    pub value: FactValue,
}

/// What is said: a measure, or words.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum FactValue {
    Count(u64),
    Number(f64),
    Text(String),
}

impl FactValue {
    pub fn text(&self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// What the report says of a node.
pub(super) fn of_node(node: &Node<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    if !node.layers.is_empty() {
        facts.extend(costs(&node.layers));
        facts.extend(circumstances(&node.layers));
    }
    if !node.part_of.is_empty() {
        let parts = node.part_of.iter();
        let parts = parts.map(|layer| format!("{} (costs at {})", layer.name, layer.onnx_nodes[0]));
        let parts: Vec<String> = parts.collect();
        facts.push(text("part_of", parts.join(", ")));
    }
    facts
}

/// What the report says of the model.
pub(super) fn of_model(report: &Report, nodes: &Nodes<'_>) -> Vec<Fact> {
    let mut facts = vec![
        count("cycles", report.totals.cycles.total),
        number("energy_pj", report.totals.energy_pj.total),
        count("dram_bytes", report.totals.dram_bytes.total()),
        count("host_bytes", report.totals.counters.host_bytes),
        number("utilisation", report.totals.utilisation),
        count("samples", u64::from(report.samples)),
        text("machine", report.machine.clone()),
        text("timing", report.timing.clone()),
        text("tool", report.tool.clone()),
    ];
    if !nodes.elsewhere.is_empty() {
        let cycles = nodes.elsewhere.iter().map(|l| l.costs.cycles.total);
        facts.push(count("cycles_of_no_node", cycles.sum()));
    }
    facts
}

fn costs(layers: &[&Layer]) -> Vec<Fact> {
    let sum = |of: fn(&Layer) -> u64| layers.iter().map(|layer| of(layer)).sum();
    let energy = layers.iter().map(|layer| layer.costs.energy_pj.total).sum();
    let mut facts = vec![
        count("cycles", sum(|layer| layer.costs.cycles.total)),
        number("energy_pj", energy),
        count("multiplies", sum(|layer| layer.costs.multiplies.issued)),
        count("dram_bytes", sum(|layer| layer.costs.dram_bytes.total())),
        count("host_bytes", sum(|layer| layer.costs.counters.host_bytes)),
    ];
    let sqnr = |layer: &&Layer| layer.accuracy.and_then(|accuracy| accuracy.sqnr_db);
    // The result of the node is that of the last.
    facts.extend(layers.last().and_then(sqnr).map(|db| number("sqnr_db", db)));
    facts
}

fn circumstances(layers: &[&Layer]) -> Vec<Fact> {
    let mut facts = vec![
        text("layer", each(layers, |layer| Some(layer.name.clone()))),
        text("engine", each(layers, |layer| Some(engine(layer)))),
    ];
    let on_array = |layer: &Layer, fact: String| layer.on_array().then_some(fact);
    facts.extend(
        [
            (
                "lost_to",
                each(layers, |layer| layer.lost_to.map(|cause| cause.to_string())),
            ),
            ("mapping", each(layers, |l| l.mapping.as_ref().map(mapping))),
            (
                "density",
                each(layers, |layer| on_array(layer, densities(layer))),
            ),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| text(name, value)),
    );
    facts
}

/// The different words for some layers, in their order.
fn each(layers: &[&Layer], word: impl Fn(&Layer) -> Option<String>) -> String {
    let mut words: Vec<String> = layers.iter().filter_map(|layer| word(layer)).collect();
    words.dedup();
    words.join("; ")
}

fn engine(layer: &Layer) -> String {
    let runtime = layer.runtime.as_deref();
    runtime.map_or_else(
        || format!("{}, {}", layer.engine, layer.kind),
        |runtime| format!("{}, {runtime}", layer.engine),
    )
}

fn densities(layer: &Layer) -> String {
    let density = layer.density;
    format!(
        "weights {:.3}, input {:.3}, output {:.3}",
        density.weights, density.input, density.output
    )
}

fn mapping(mapping: &Mapping) -> String {
    format!(
        "tiles of at most {} x {}, output-channel groups of at most {}, PE groups: {}, temporal tiles: {}",
        mapping.tile_h, mapping.tile_w, mapping.kc, mapping.pe_groups, mapping.temporal_tiles
    )
}

fn count(name: &'static str, value: u64) -> Fact {
    let value = FactValue::Count(value);
    Fact { name, value }
}

fn number(name: &'static str, value: f64) -> Fact {
    let value = FactValue::Number(value);
    Fact { name, value }
}

fn text(name: &'static str, value: String) -> Fact {
    let value = FactValue::Text(value);
    Fact { name, value }
}
