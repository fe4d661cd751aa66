//! Accelergy's tables (version 0.4): energy per action (ERT), area per component (ART), how often each action happened
//! (action counts).
//!
//! Out: a machine's table and a run's counts in one file; Accelergy's sum over them is the report's energy. In: an ERT or ART
//! of anyone's as the `energy:` and `area:` of a machine. Components of our own names are found by themselves; for
//! other names the caller assigns entries to parameters.

use super::quoted;
use scnn_isa::yaml;
use scnn_simulator::counters::Counters;
use scnn_simulator::report::{Parameter, Report};
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write;

/// Place of a component.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Pe,
    Chip,
}

/// An action: its component and name, the machine's parameter that prices it, and how often it happened.
struct Action {
    place: Place,
    component: &'static str,
    name: &'static str,
    parameter: &'static str,
    count: fn(&Counters) -> u64,
}

const fn action(
    place: Place,
    component: &'static str,
    name: &'static str,
    parameter: &'static str,
    count: fn(&Counters) -> u64,
) -> Action {
    Action {
        place,
        component,
        name,
        parameter,
        count,
    }
}

/// All actions, grouped by component.
#[rustfmt::skip] // A table.
const ACTIONS: &[Action] = &[
    action(Place::Pe, "multipliers", "multiply", "energy.multiply", |c| c.multiplies),
    action(Place::Pe, "coordinates", "compute", "energy.coordinate", |c| c.coordinates),
    action(Place::Pe, "crossbar", "transfer", "energy.crossbar_transfer", |c| c.crossbar_transfers),
    action(Place::Pe, "accumulators", "accumulate", "energy.accumulate", |c| c.accumulations),
    action(Place::Pe, "accumulators", "add", "energy.add", |c| c.accumulations),
    action(Place::Pe, "weight_fifo", "read", "energy.fifo_read_vector", |c| c.fifo_reads),
    action(Place::Pe, "weight_fifo", "write", "energy.fifo_write_vector", |c| c.fifo_writes),
    action(Place::Pe, "activation_rams", "read", "energy.iaram_read_vector", |c| c.iaram_reads),
    action(Place::Pe, "activation_rams", "write", "energy.oaram_write_vector", |c| c.oaram_writes),
    action(Place::Pe, "ppu", "process", "energy.ppu_element", |c| c.ppu_elements),
    action(Place::Pe, "halo", "transfer", "energy.halo_sum", |c| c.halo_hops),
    action(Place::Chip, "dram", "access_bit", "energy.dram_bit", |c| c.dram_bytes() * 8),
    action(Place::Chip, "host_link", "transfer_bit", "energy.host_bit", |c| c.host_bytes * 8),
];

/// Components with an area of a PE.
const AREAS: [&str; 6] = [
    "activation_rams",
    "weight_fifo",
    "multipliers",
    "crossbar",
    "accumulators",
    "other",
];

/// The tables of a machine: its parameters as [`Parameter::all`] gives them.
pub fn tables(parameters: &[Parameter], pes: u64) -> String {
    let mut text = String::from("ERT:\n  version: \"0.4\"\n  tables:\n");
    let value = |path: &str| {
        let parameter = parameters.iter().find(|parameter| parameter.path == path);
        parameter.map_or("0", |parameter| parameter.value.as_str())
    };
    let mut last = "";
    for action in ACTIONS {
        // Writing to a string does not fail.
        if action.component != last {
            let _ = writeln!(
                text,
                "    - name: {}\n      actions:",
                full_name(action, pes)
            );
            last = action.component;
        }
        let _ = writeln!(
            text,
            "        - {{name: {}, arguments: {{}}, energy: {}}}",
            action.name,
            value(action.parameter)
        );
    }
    text.push_str("ART:\n  version: \"0.4\"\n  tables:\n");
    for component in AREAS {
        let square_mm = value(&format!("area.{component}"));
        let square_um = square_mm.parse::<f64>().unwrap_or(0.0) * 1e6;
        let _ = writeln!(
            text,
            "    - name: scnn.pe[1..{pes}].{component}\n      area: {square_um}"
        );
    }
    text
}

fn full_name(action: &Action, pes: u64) -> String {
    match action.place {
        Place::Pe => format!("scnn.pe[1..{pes}].{}", action.component),
        Place::Chip => format!("scnn.{}", action.component),
    }
}

/// The tables of the machine of a report, and the counts of all its samples.
pub fn write(report: &Report) -> String {
    let [rows, cols] = report.pes;
    let pes = u64::from(rows) * u64::from(cols);
    let mut text = format!(
        "# {} on {}: {} samples.\n",
        quoted(&report.model),
        quoted(&report.machine),
        report.samples
    );
    text.push_str(&tables(&report.parameters, pes));
    text.push_str(
        "action_counts:\n  version: \"0.4\"\n  subtree:\n    - name: scnn\n      local:\n",
    );
    counts(&mut text, Place::Chip, "        ", &report.totals.counters);
    let _ = writeln!(
        text,
        "      subtree:\n        - name: pe[1..{pes}]\n          local:"
    );
    counts(
        &mut text,
        Place::Pe,
        "            ",
        &report.totals.counters,
    );
    text
}

fn counts(text: &mut String, place: Place, indent: &str, counters: &Counters) {
    let mut last = "";
    for action in ACTIONS.iter().filter(|action| action.place == place) {
        if action.component != last {
            let _ = writeln!(
                text,
                "{indent}- name: {}\n{indent}  action_counts:",
                action.component
            );
            last = action.component;
        }
        let _ = writeln!(
            text,
            "{indent}    - {{name: {}, counts: {}}}",
            action.name,
            (action.count)(counters)
        );
    }
}

/// A file of tables; either may be absent.
#[derive(Deserialize)]
struct TablesFile {
    #[serde(rename = "ERT")]
    energies: Option<Tables<EnergyTable>>,
    #[serde(rename = "ART")]
    areas: Option<Tables<AreaTable>>,
}

#[derive(Deserialize)]
struct Tables<T> {
    tables: Vec<T>,
}

#[derive(Deserialize)]
struct EnergyTable {
    name: String,
    actions: Vec<EnergyEntry>,
}

#[derive(Deserialize)]
struct EnergyEntry {
    name: String,
    arguments: Option<Value>,
    energy: f64,
}

#[derive(Deserialize)]
struct AreaTable {
    name: String,
    area: f64,
}

/// An entry of a table: the energy of an action in pJ, or the area of a component in mm2.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// `COMPONENT.ACTION` or `COMPONENT`, without the ranges of instances.
    pub name: String,
    /// Energy in pJ, or area in mm2.
    pub value: f64,
    /// Whether it is an area.
    pub is_area: bool,
    /// Arguments of the action that the energy is for; the costliest of several.
    pub arguments: Option<String>,
}

/// Reads the entries of a file: of an action with several arguments the costliest, which is a random access.
///
/// # Errors
/// A text of another form; the message says what is expected.
pub fn read(text: &str) -> Result<Vec<Entry>, String> {
    let file: TablesFile = yaml::from_str(text).map_err(|error| error.to_string())?;
    let mut entries: Vec<Entry> = Vec::new();
    for table in file.energies.into_iter().flat_map(|tables| tables.tables) {
        for action in table.actions {
            let arguments = action
                .arguments
                .filter(|arguments| arguments.as_object().is_some_and(|a| !a.is_empty()));
            let entry = Entry {
                name: format!("{}.{}", without_ranges(&table.name), action.name),
                value: action.energy,
                is_area: false,
                arguments: arguments.map(|arguments| arguments.to_string()),
            };
            match entries.iter_mut().find(|known| known.name == entry.name) {
                Some(known) if known.value < entry.value => *known = entry,
                Some(_) => {}
                None => entries.push(entry),
            }
        }
    }
    for table in file.areas.into_iter().flat_map(|tables| tables.tables) {
        entries.push(Entry {
            name: without_ranges(&table.name),
            value: table.area / 1e6,
            is_area: true,
            arguments: None,
        });
    }
    if entries.is_empty() {
        return Err("there is neither an `ERT:` nor an `ART:` with tables".to_owned());
    }
    Ok(entries)
}

/// `a.b[1..4].c` as `a.b.c`.
fn without_ranges(name: &str) -> String {
    let mut depth = 0;
    name.chars()
        .filter(|&letter| {
            depth += i32::from(letter == '[');
            let keep = depth == 0;
            depth -= i32::from(letter == ']');
            keep
        })
        .collect()
}

/// Result of an import: parameters of a machine with their values and sources, and unused entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Import {
    /// Path, value and source.
    pub parameters: Vec<(String, f64, String)>,
    /// Names of entries.
    pub unused: Vec<String>,
}

/// Finds the parameters that entries are for: by our names, or as `wanted` says, `PARAMETER` and the end of an entry's name.
///
/// # Errors
/// A name that is the end of no entry, or of several.
pub fn assign(
    entries: &[Entry],
    wanted: &[(String, String)],
    file: &str,
) -> Result<Import, String> {
    let mut import = Import::default();
    let mut used = vec![false; entries.len()];
    let mut take = |index: usize, parameter: &str| {
        used[index] = true;
        let entry = &entries[index];
        let arguments = entry
            .arguments
            .as_ref()
            .map_or_else(String::new, |a| format!(" with {a}"));
        let source = format!("Accelergy, {file}: {}{arguments}", entry.name);
        import
            .parameters
            .push((parameter.to_owned(), entry.value, source));
    };
    for (parameter, name) in wanted {
        let is_area = parameter.starts_with("area.");
        let matching: Vec<usize> = (0..entries.len())
            .filter(|&index| {
                entries[index].is_area == is_area && ends_with(&entries[index].name, name)
            })
            .collect();
        match matching[..] {
            [index] => take(index, parameter),
            [] => return Err(format!("nothing in the tables is called `{name}`")),
            [first, second, ..] => {
                return Err(format!(
                    "`{name}` may be `{}` or `{}`",
                    entries[first].name, entries[second].name
                ));
            }
        }
    }
    for (index, entry) in entries.iter().enumerate() {
        let energies = ACTIONS.iter().map(|a| {
            (
                false,
                format!("{}.{}", a.component, a.name),
                a.parameter.to_owned(),
            )
        });
        let areas = AREAS
            .iter()
            .map(|c| (true, format!("pe.{c}"), format!("area.{c}")));
        let mut known = energies.chain(areas);
        let parameter = known
            .find(|(is_area, name, _)| *is_area == entry.is_area && ends_with(&entry.name, name));
        if let Some((_, _, parameter)) = parameter
            && !wanted.iter().any(|(other, _)| *other == parameter)
        {
            take(index, &parameter);
        }
    }
    let unused = entries.iter().zip(&used).filter(|(_, used)| !**used);
    import.unused = unused.map(|(entry, _)| entry.name.clone()).collect();
    Ok(import)
}

/// Whether a dotted name ends in another.
fn ends_with(name: &str, end: &str) -> bool {
    name == end
        || name
            .strip_suffix(end)
            .is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::tests::report;

    #[test]
    fn tables_are_read_as_they_are_written() {
        let report = report();
        let entries = read(&write(&report)).unwrap();
        let import = assign(&entries, &[], "f.yaml").unwrap();
        assert_eq!(import.unused, [""; 0]);
        assert_eq!(import.parameters.len(), ACTIONS.len() + AREAS.len());
        for (path, value, _) in &import.parameters {
            let ours = report
                .parameters
                .iter()
                .find(|parameter| parameter.path == *path)
                .unwrap();
            let ours: f64 = ours.value.parse().unwrap();
            assert!(
                (ours - value).abs() <= 1e-12 * ours.abs(),
                "{path}: {ours}, {value}"
            );
        }
    }

    #[test]
    fn the_sum_over_actions_is_the_reports_energy() {
        let report = report();
        let entries = read(&write(&report)).unwrap();
        let sum: f64 = ACTIONS
            .iter()
            .map(|action| {
                let name = format!("{}.{}", action.component, action.name);
                let entry = entries
                    .iter()
                    .find(|entry| ends_with(&entry.name, &name))
                    .unwrap();
                entry.value * (action.count)(&report.totals.counters) as f64
            })
            .sum();
        let ours = report.totals.energy_pj.total;
        assert!((sum / ours - 1.0).abs() < 1e-12, "{sum} pJ, {ours} pJ");
    }

    #[test]
    fn tables_of_others_are_assigned_by_hand() {
        let text = "ERT:\n  version: 0.3\n  tables:\n  - name: System.PE[0..15].LMAC[0..3]\n    actions:\n    - name: mac\n      arguments: {}\n      energy: 3\n  \
                    - name: System.GLB\n    actions:\n    - {name: read, arguments: {data_delta: 0}, energy: 1.5}\n    - {name: read, arguments: {data_delta: 1}, energy: 2.5}\n\
                    ART:\n  version: 0.3\n  tables:\n  - name: System.PE[0..15].LMAC[0..3]\n    area: 332.25\n";
        let entries = read(text).unwrap();
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(
            names,
            ["System.PE.LMAC.mac", "System.GLB.read", "System.PE.LMAC"]
        );
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let wanted = [
            pair("energy.multiply", "LMAC.mac"),
            pair("energy.iaram_read_vector", "GLB.read"),
            pair("area.multipliers", "LMAC"),
        ];
        let import = assign(&entries, &wanted, "f").unwrap();
        let values: Vec<f64> = import
            .parameters
            .iter()
            .map(|(_, value, _)| *value)
            .collect();
        assert_eq!(values, [3.0, 2.5, 332.25e-6]);
        assert!(import.parameters[1].2.contains("{\"data_delta\":1}"));
        assert!(assign(&entries, &[pair("energy.add", "MAC.mac")], "f").is_err());
        assert_eq!(assign(&entries, &[], "f").unwrap().unused.len(), 3);
        assert!(read("ERT: {tables: []}\n").is_err());
    }
}
