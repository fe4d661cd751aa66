//! `machine list | show | check`, and the `--machine` option.

use super::args;
use super::failure::Failure;
use super::{grid, output};
use crate::codes::IsaCode;
use scnn_isa::machine::{Machine, Origin, Read};
use scnn_simulator::area::Area;
use serde_json::json;
use std::path::Path;

/// `scnnc machine`.
pub fn machine(verb: &args::Machine) -> Result<(), Failure> {
    match verb {
        args::Machine::List { json } => list(*json),
        args::Machine::Show {
            machine,
            yaml: true,
            ..
        } => output::print(&read(machine)?.machine.to_yaml()),
        args::Machine::Show { machine, json, .. } => show(machine, *json)?,
        args::Machine::Check { file } => {
            let read = read(&file.display().to_string())?;
            output::print(&format!(
                "{}: the machine `{}` is valid\n",
                file.display(),
                read.machine.name
            ));
        }
    }
    Ok(())
}

/// The machine that a model is compiled for where `--machine` names none.
pub const DEFAULT: &str = "scnn";

/// The machine that a model is compiled for.
pub fn of_compilation(compilation: &args::Compilation) -> Result<Machine, Failure> {
    load(compilation.machine.as_deref().unwrap_or(DEFAULT))
}

/// The machine that `--machine` names: a preset, or a file.
pub fn load(name: &str) -> Result<Machine, Failure> {
    read(name).map(|read| read.machine)
}

pub(crate) fn read(name: &str) -> Result<Read, Failure> {
    if let Some((_, text)) = Machine::presets().find(|(preset, _)| *preset == name) {
        return Machine::read(text).map_err(|error| Failure::machine(name, text, &error));
    }
    let path = Path::new(name);
    if !path.exists() {
        let names: Vec<&str> = Machine::presets().map(|(name, _)| name).collect();
        let nearest = scnn_isa::yaml::nearest(name, names.iter().copied());
        let help = nearest.map_or_else(
            || {
                format!(
                    "the presets are {}; anything else is the path of a YAML file",
                    names.join(", ")
                )
            },
            |nearest| format!("did you mean `{nearest}`?"),
        );
        return Err(Failure::input(
            IsaCode::MachineUnknownPreset,
            &format!("`{name}` is neither a preset nor a file"),
            &help,
        ));
    }
    let bytes = output::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    Machine::read(&text).map_err(|error| Failure::machine(name, &text, &error))
}

fn list(as_json: bool) {
    let mut table = grid::plain(&["machine", "PEs", "multipliers", "what it is"]);
    let mut entries = Vec::new();
    for (name, text) in Machine::presets() {
        let Some(machine) = Machine::preset(name) else {
            continue;
        };
        let about = text.lines().next().unwrap_or_default();
        let about = about.trim_start_matches("# ");
        let multipliers = machine.pe_count() * machine.multipliers_per_pe();
        entries.push(json!({
            "machine": name, "rows": machine.array.rows, "cols": machine.array.cols, "multipliers": multipliers,
            "about": about,
        }));
        table.add_row([
            name.to_owned(),
            format!("{} x {}", machine.array.rows, machine.array.cols),
            multipliers.to_string(),
            about.to_owned(),
        ]);
    }
    if as_json {
        output::print_json(&entries);
        return;
    }
    grid::right(&mut table, [2]);
    output::print(&format!("{}\n", grid::wrapped(table, &[2])));
}

fn show(name: &str, as_json: bool) -> Result<(), Failure> {
    let read = read(name)?;
    let mut table = grid::plain(&["parameter", "value", "unit", "from", "allowed", "meaning"]);
    let mut entries = Vec::new();
    for parameter in read.machine.parameters() {
        let origin = match read.origin(&parameter.path) {
            Origin::File => name.to_owned(),
            Origin::Preset(preset) => format!("preset {preset}"),
        };
        entries.push(json!({
            "parameter": parameter.path, "value": parameter.value, "unit": parameter.unit, "from": origin,
            "allowed": parameter.range, "meaning": parameter.meaning,
        }));
        let cells = [
            parameter.path.clone(),
            parameter.value,
            parameter.unit.to_owned(),
            origin,
            parameter.range,
            parameter.meaning.to_owned(),
        ];
        table.add_row(cells);
    }
    let area = Area::of(&read.machine);
    if as_json {
        output::print_json(&json!({
            "machine": read.machine.name, "parameters": entries, "area_mm2": area,
        }));
        return Ok(());
    }
    output::print(&format!("{}\n", grid::wrapped(table, &[4, 3])));
    let parts = area.components().into_iter().filter(|(_, mm2)| *mm2 > 0.0);
    let parts: Vec<String> = parts
        .map(|(name, mm2)| format!("{name} {mm2:.2}"))
        .collect();
    output::print(&format!(
        "\narea {:.1} mm2: {}\n",
        area.total(),
        parts.join(", ")
    ));
    Ok(())
}
