//! The tables of a sweep as CSV: a row a point, and a row a layer of every point that was measured.

use super::outcome::{LayerRow, Measures, Outcome};
use super::spec::Settings;
use scnn_simulator::report::columns::Cell;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// A point as tables name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Number, from 1, in the order of the specification.
    pub point: usize,
    /// The model.
    pub model: String,
    /// The machine.
    pub machine: String,
    /// How mappings are found.
    pub mapping: String,
    /// Objective of the search.
    pub objective: String,
    /// How it is measured.
    pub fidelity: String,
    /// Inferences that the measures are the mean of.
    pub samples: usize,
    /// Area of the machine, mm2; none where there is no such machine.
    pub area_mm2: Option<f64>,
    /// The settings that vary.
    pub settings: Vec<(String, String)>,
}

/// Columns that every table has; an axis of such a name has no column of its own.
const FIXED: [&str; 5] = ["machine", "mapping", "objective", "fidelity", "samples"];

impl Row {
    /// The values of the axes among the settings of a point.
    pub fn values(axes: &[&str], settings: &Settings) -> Vec<(String, String)> {
        let axes = axes.iter().filter(|name| !FIXED.contains(name));
        let value = |name: &&str| {
            let value = settings.get(name).map(ToString::to_string);
            ((*name).to_owned(), value.unwrap_or_default())
        };
        axes.map(value).collect()
    }

    /// The machine's name without the settings behind it.
    pub fn base_machine(&self) -> &str {
        self.machine.split('+').next().unwrap_or_default()
    }

    fn cells(&self) -> Vec<(String, Cell)> {
        let text = |name: &str, text: &str| (name.to_owned(), Cell::Text(text.to_owned()));
        let mut cells = vec![
            ("point".to_owned(), Cell::Count(self.point as u64)),
            text("model", &self.model),
        ];
        cells.extend(self.settings.iter().map(|(name, value)| text(name, value)));
        cells.extend([
            text("machine", &self.machine),
            text("mapping", &self.mapping),
            text("objective", &self.objective),
            text("fidelity", &self.fidelity),
            ("samples".to_owned(), Cell::Count(self.samples as u64)),
        ]);
        cells
    }
}

/// The models of rows, each once, in the order of their first rows.
pub fn models<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<&'a str> {
    let mut models: Vec<&str> = Vec::new();
    for row in rows {
        if !models.contains(&row.model.as_str()) {
            models.push(&row.model);
        }
    }
    models
}

fn measures(measures: Option<&Measures>) -> Vec<(String, Cell)> {
    let cell = |name: &str, pick: &dyn Fn(&Measures) -> Option<f64>| {
        let value = measures.and_then(pick);
        (name.to_owned(), value.map_or(Cell::Empty, Cell::Number))
    };
    vec![
        cell("total_cycles", &|m| Some(m.cycles)),
        cell("predicted_cycles", &|m| m.predicted_cycles),
        cell("total_energy_pj", &|m| Some(m.energy_pj)),
        cell("utilisation_ratio", &|m| m.utilisation),
        cell("host_link_ratio", &|m| m.host_link_share),
        cell("host_link_bytes", &|m| m.host_link_bytes),
        cell("dram_bytes", &|m| m.dram_bytes),
        cell("top1_ratio", &|m| m.top1),
    ]
}

/// A row a point.
pub fn points(rows: &[(&Row, &Outcome)]) -> String {
    csv(rows.iter().map(|(row, outcome)| point(row, outcome)))
}

/// The row of a point, by column.
pub fn point(row: &Row, outcome: &Outcome) -> Vec<(String, Cell)> {
    let (network, failed) = match outcome {
        Outcome::Measured { network, .. } => (Some(network), None),
        Outcome::Failed(failed) => (None, Some(failed)),
    };
    let text = |text: Option<&String>| text.map_or(Cell::Empty, |text| Cell::Text(text.clone()));
    let mut cells = row.cells();
    cells.extend(measures(network));
    cells.push((
        "area_mm2".to_owned(),
        row.area_mm2.map_or(Cell::Empty, Cell::Number),
    ));
    cells.push(("error".to_owned(), text(failed.map(|f| &f.code))));
    cells.push(("message".to_owned(), text(failed.map(|f| &f.message))));
    cells
}

/// A row a layer of every point that was measured.
pub fn layers(rows: &[(&Row, &Outcome)]) -> String {
    let layers = rows.iter();
    csv(layers.flat_map(|(row, outcome)| layers_of(row, outcome)))
}

/// The rows of a point's layers, by column; none where it was not measured.
pub fn layers_of(row: &Row, outcome: &Outcome) -> Vec<Vec<(String, Cell)>> {
    let layers = match outcome {
        Outcome::Measured { layers, .. } => layers.as_slice(),
        Outcome::Failed(_) => &[],
    };
    let layers = layers.iter().enumerate();
    layers
        .map(|(index, layer)| layer_cells(row, index, layer))
        .collect()
}

fn layer_cells(row: &Row, index: usize, layer: &LayerRow) -> Vec<(String, Cell)> {
    let mut cells = row.cells();
    let mut put = |name: &str, cell: Cell| cells.push((name.to_owned(), cell));
    put("index", Cell::Count(index as u64));
    put("layer", Cell::Text(layer.name.clone()));
    put("engine", Cell::Text(layer.engine.clone()));
    let names = [
        "tile_h_rows",
        "tile_w_cols",
        "kc_channels",
        "pe_groups_count",
        "temporal_tiles_count",
    ];
    for (at, name) in names.into_iter().enumerate() {
        let value = layer.mapping.map(|mapping| Cell::Count(mapping[at].into()));
        put(name, value.unwrap_or(Cell::Empty));
    }
    put(
        "lost_to",
        layer.lost_to.clone().map_or(Cell::Empty, Cell::Text),
    );
    cells.extend(measures(Some(&layer.measures)));
    cells
}

fn csv(rows: impl Iterator<Item = Vec<(String, Cell)>>) -> String {
    let mut text = String::new();
    for (index, row) in rows.enumerate() {
        if index == 0 {
            line(
                &mut text,
                row.iter().map(|(name, _)| Cell::Text(name.clone())),
            );
        }
        line(&mut text, row.into_iter().map(|(_, cell)| cell));
    }
    text
}

fn line(text: &mut String, cells: impl Iterator<Item = Cell>) {
    for (index, cell) in cells.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}{cell}");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Failed;
    use super::*;

    #[test]
    fn a_point_that_failed_is_a_row_with_its_error() {
        let row = Row {
            point: 3,
            model: "a, b".to_owned(),
            machine: "scnn".to_owned(),
            mapping: "search".to_owned(),
            objective: "cycles".to_owned(),
            fidelity: "exact".to_owned(),
            samples: 1,
            area_mm2: None,
            settings: vec![("pe.banks".to_owned(), "64".to_owned())],
        };
        let failed = Outcome::Failed(Failed {
            code: "E0205".to_owned(),
            message: "no \"such\" thing".to_owned(),
        });
        let measured = Outcome::Measured {
            network: Measures {
                cycles: 12.5,
                ..Measures::default()
            },
            layers: Vec::new(),
        };
        assert_eq!(
            points(&[(&row, &failed), (&row, &measured)]),
            "point,model,pe.banks,machine,mapping,objective,fidelity,samples,total_cycles,predicted_cycles,total_energy_pj,\
             utilisation_ratio,host_link_ratio,host_link_bytes,dram_bytes,top1_ratio,area_mm2,error,message\n\
             3,\"a, b\",64,scnn,search,cycles,exact,1,,,,,,,,,,E0205,\"no \"\"such\"\" thing\"\n\
             3,\"a, b\",64,scnn,search,cycles,exact,1,12.5,,0,,,,,,,,\n"
        );
        assert_eq!(layers(&[(&row, &failed)]), "");
    }
}
