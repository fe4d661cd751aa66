//! `machine list | show | check`, and the `--machine` option.

use super::args;
use super::failure::Failure;
use super::output;
use comfy_table::Table;
use scnn_isa::diagnostic::Code;
use scnn_isa::machine::{Machine, Origin, Read};
use scnn_simulator::area::Area;
use std::path::Path;

/// `scnnc machine`.
pub fn machine(verb: &args::Machine) -> Result<(), Failure> {
    match verb {
        args::Machine::List => list(),
        args::Machine::Show { machine, yaml } => show(machine, *yaml)?,
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

/// The machine that `--machine` names: a preset, or a file.
pub fn load(name: &str) -> Result<Machine, Failure> {
    read(name).map(|read| read.machine)
}

fn read(name: &str) -> Result<Read, Failure> {
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
            Code::MachineUnknownPreset,
            &format!("`{name}` is neither a preset nor a file"),
            &help,
        ));
    }
    let bytes = output::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    Machine::read(&text).map_err(|error| Failure::machine(name, &text, &error))
}

fn list() {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["machine", "PEs", "multipliers", "what it is"]);
    for (name, text) in Machine::presets() {
        let Some(machine) = Machine::preset(name) else {
            continue;
        };
        let about = text.lines().next().unwrap_or_default();
        table.add_row([
            name.to_owned(),
            format!("{} x {}", machine.array.rows, machine.array.cols),
            (machine.pe_count() * machine.multipliers_per_pe()).to_string(),
            about.trim_start_matches("# ").to_owned(),
        ]);
    }
    output::print(&format!("{}\n", table.trim_fmt()));
}

fn show(name: &str, yaml: bool) -> Result<(), Failure> {
    let read = read(name)?;
    if yaml {
        output::print(&read.machine.to_yaml());
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["parameter", "value", "unit", "from", "allowed", "meaning"]);
    for parameter in read.machine.parameters() {
        let origin = match read.origin(&parameter.path) {
            Origin::File => name.to_owned(),
            Origin::Preset(preset) => format!("preset {preset}"),
        };
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
    output::print(&format!("{}\n", table.trim_fmt()));
    let area = Area::of(&read.machine);
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
