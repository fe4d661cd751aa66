//! The columns of a report's layer table: what CSV holds, and what pages sort and filter by.
//!
//! A name ends in its unit; names of things, and numbers that count layers, have none. Columns that are summed appear
//! with the same name in the totals.

use super::{Costs, Layer, Report};
use crate::timing::DensityModel;
use std::fmt;

/// Contents of a cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A count.
    Count(u64),
    /// A measure.
    Number(f64),
    /// Nothing: the column does not concern this layer.
    Empty,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) if text.contains([',', '"', '\n', '\r']) => {
                write!(f, "\"{}\"", text.replace('"', "\"\""))
            }
            Self::Text(text) => f.write_str(text),
            Self::Count(count) => write!(f, "{count}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Empty => Ok(()),
        }
    }
}

impl From<Cell> for serde_json::Value {
    fn from(cell: Cell) -> Self {
        match cell {
            Cell::Text(text) => text.into(),
            Cell::Count(count) => count.into(),
            Cell::Number(number) => number.into(),
            Cell::Empty => Self::Null,
        }
    }
}

/// A column's name and a layer's value in it.
pub type Entry = (String, Cell);

/// Ends of names: the units.
pub const UNITS: [&str; 16] = [
    "bytes",
    "channels",
    "cols",
    "count",
    "cycles",
    "db",
    "events",
    "images",
    "multiplies",
    "pj",
    "ratio",
    "rows",
    "slots",
    "taps",
    "positions",
    "value",
];

/// The row of a layer.
pub fn row(layer: &Layer) -> Vec<Entry> {
    let mut row: Vec<Entry> = identity(layer);
    row.extend(shape(layer));
    row.extend(mapping(layer));
    row.extend(densities(layer));
    row.extend(density_model(layer));
    row.extend(costs(&layer.costs));
    row
}

/// The columns that are summed: of a layer, or of the totals.
pub fn costs(costs: &Costs) -> Vec<Entry> {
    let count = |name: &str, value: u64| (name.to_owned(), Cell::Count(value));
    let number = |name: String, value: f64| (name, Cell::Number(value));
    let (baselines, energy, dram) = (&costs.baselines, &costs.energy_pj, &costs.dram_bytes);
    let mut row = vec![
        count("total_cycles", costs.cycles.total),
        (
            "predicted_cycles".to_owned(),
            costs.cycles.predicted.map_or(Cell::Empty, Cell::Count),
        ),
        count("dcnn_cycles", baselines.dcnn),
        count("dcnn_lanes_cycles", baselines.dcnn_lanes),
        count("dcnn_ideal_cycles", baselines.dcnn_ideal),
        count("oracle_cycles", baselines.oracle),
        count("useful_multiplies", costs.multiplies.useful),
        count("issued_multiplies", costs.multiplies.issued),
        count("dense_multiplies", costs.multiplies.dense),
    ];
    let slots = costs.cycles.slots.entries();
    row.extend(
        slots
            .iter()
            .map(|(name, slots)| count(&format!("{name}_slots"), *slots)),
    );
    let components = energy.components.components();
    row.extend(components.map(|(name, pj)| number(format!("{name}_energy_pj"), pj)));
    row.extend([
        number("total_energy_pj".to_owned(), energy.total),
        number("least_energy_pj".to_owned(), energy.band[0]),
        number("most_energy_pj".to_owned(), energy.band[1]),
        number("dcnn_energy_pj".to_owned(), energy.dcnn),
        number("dcnn_opt_energy_pj".to_owned(), energy.dcnn_opt),
        count("dram_weights_bytes", dram.weights),
        count("dram_in_bytes", dram.read),
        count("dram_out_bytes", dram.written),
        count("dram_spill_bytes", dram.spill),
        count("host_link_bytes", costs.counters.host_bytes),
    ]);
    let events = costs.counters.entries();
    // Bytes stand above.
    let events = events.iter().filter(|(name, _)| !name.ends_with("_bytes"));
    row.extend(events.map(|(name, events)| count(&format!("{name}_events"), *events)));
    row
}

fn identity(layer: &Layer) -> Vec<Entry> {
    let text = |name: &str, text: &str| (name.to_owned(), Cell::Text(text.to_owned()));
    vec![
        ("index".to_owned(), Cell::Count(layer.index.into())),
        text("layer", &layer.name),
        text("onnx_nodes", &layer.onnx_nodes.join(" ")),
        text("engine", &layer.engine),
        text("kind", &layer.kind),
        text("bound", layer.bound.map_or("", |bound| bound.words())),
        text("lost_to", layer.lost_to.map_or("", |loss| loss.words())),
    ]
}

fn shape(layer: &Layer) -> Vec<Entry> {
    let value = |name: &str, pick: fn(&super::Shape) -> u32| {
        let value = layer.shape.as_ref().map(pick);
        (
            name.to_owned(),
            value.map_or(Cell::Empty, |v| Cell::Count(v.into())),
        )
    };
    vec![
        value("n_images", |s| s.n),
        value("c_channels", |s| s.c),
        value("h_rows", |s| s.h),
        value("w_cols", |s| s.w),
        value("k_channels", |s| s.k),
        value("r_taps", |s| s.r),
        value("s_taps", |s| s.s),
        value("stride_y_positions", |s| s.stride[0]),
        value("stride_x_positions", |s| s.stride[1]),
        value("groups_count", |s| s.groups),
        value("out_h_rows", |s| s.out_h),
        value("out_w_cols", |s| s.out_w),
    ]
}

fn mapping(layer: &Layer) -> Vec<Entry> {
    let value = |name: &str, pick: fn(&super::Mapping) -> u32| {
        let value = layer.mapping.as_ref().map(pick);
        (
            name.to_owned(),
            value.map_or(Cell::Empty, |v| Cell::Count(v.into())),
        )
    };
    let memory = |name: &str, pick: fn(&super::Mapping) -> scnn_isa::program::Memory| {
        let memory = layer.mapping.as_ref().map(pick);
        (
            name.to_owned(),
            memory.map_or(Cell::Empty, |m| Cell::Text(memory_name(m).to_owned())),
        )
    };
    vec![
        value("tile_h_rows", |m| m.tile_h),
        value("tile_w_cols", |m| m.tile_w),
        value("kc_channels", |m| m.kc),
        value("pe_groups_count", |m| m.pe_groups),
        value("temporal_tiles_count", |m| m.temporal_tiles),
        value("phases_count", |m| m.phases),
        memory("resident_in", |m| m.resident_in),
        memory("resident_out", |m| m.resident_out),
    ]
}

fn densities(layer: &Layer) -> Vec<Entry> {
    let share = |name: &str, concerns: bool, value: f64| {
        let cell = if concerns {
            Cell::Number(value)
        } else {
            Cell::Empty
        };
        (name.to_owned(), cell)
    };
    let (on_array, on_machine) = (layer.on_array(), layer.mapping.is_some());
    let accuracy = |name: &str, pick: fn(&super::Accuracy) -> Option<f64>| {
        let value = layer.accuracy.as_ref().and_then(pick);
        (name.to_owned(), value.map_or(Cell::Empty, Cell::Number))
    };
    vec![
        share("weight_density_ratio", on_array, layer.density.weights),
        share("input_density_ratio", on_machine, layer.density.input),
        share("output_density_ratio", on_machine, layer.density.output),
        share("utilisation_ratio", on_array, layer.costs.utilisation),
        accuracy("sqnr_db", |a| a.sqnr_db),
        accuracy("largest_error_value", |a| Some(a.largest_error)),
        accuracy("mean_error_value", |a| Some(a.mean_error)),
        accuracy("saturated_ratio", |a| Some(a.saturated)),
    ]
}

/// Predictions from the densities alone, beside the simulated figures.
fn density_model(layer: &Layer) -> Vec<Entry> {
    let number = |name: &str, pick: fn(&DensityModel) -> f64| {
        let value = layer.density_model.as_ref().map(pick);
        (name.to_owned(), value.map_or(Cell::Empty, Cell::Number))
    };
    let count = |name: &str, pick: fn(&DensityModel) -> u64| {
        let value = layer.density_model.as_ref().map(pick);
        (name.to_owned(), value.map_or(Cell::Empty, Cell::Count))
    };
    vec![
        number("density_model_useful_multiplies", |m| m.predicted_products),
        number("density_model_fullest_pe_cycles", |m| {
            m.predicted_fullest_pe_steps
        }),
        count("fullest_pe_cycles", |m| m.fullest_pe_steps),
        number("density_model_array_cycles", |m| m.predicted_cycles),
        count("array_cycles", |m| m.cycles),
    ]
}

/// How people call a memory.
pub const fn memory_name(memory: scnn_isa::program::Memory) -> &'static str {
    match memory {
        scnn_isa::program::Memory::A => "A",
        scnn_isa::program::Memory::B => "B",
        scnn_isa::program::Memory::Dram => "DRAM",
    }
}

/// The layers of some reports as CSV with one header. Numbers sum over the samples of their report.
pub fn csv(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        for layer in &report.layers {
            let mut row = run(report);
            row.extend(self::row(layer));
            if text.is_empty() {
                line(&mut text, row.iter().map(|(name, _)| name));
            }
            line(&mut text, row.iter().map(|(_, cell)| cell));
        }
    }
    text
}

/// The columns that say to which run a row belongs.
fn run(report: &Report) -> Vec<Entry> {
    let text = |name: &str, text: &str| (name.to_owned(), Cell::Text(text.to_owned()));
    vec![
        text("model", &report.model),
        text("machine", &report.machine),
        text("mapping", &report.mapping),
        text("timing", &report.timing),
        (
            "samples_count".to_owned(),
            Cell::Count(report.samples.into()),
        ),
    ]
}

fn line(text: &mut String, cells: impl Iterator<Item = impl fmt::Display>) {
    let cells: Vec<String> = cells.map(|cell| cell.to_string()).collect();
    text.push_str(&cells.join(","));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_unit_in_the_name() {
        let names_of_things = [
            "index",
            "layer",
            "onnx_nodes",
            "engine",
            "kind",
            "bound",
            "lost_to",
            "resident_in",
            "resident_out",
        ];
        let layer = crate::report::tests::layer();
        for (name, _) in row(&layer) {
            let unit = name.rsplit('_').next().unwrap_or_default();
            assert!(
                names_of_things.contains(&name.as_str()) || UNITS.contains(&unit),
                "{name}"
            );
        }
    }

    #[test]
    fn commas_and_quotes_stay_in_their_cell() {
        let cell = Cell::Text("a,\"b\"".to_owned());
        assert_eq!(cell.to_string(), "\"a,\"\"b\"\"\"");
    }
}
