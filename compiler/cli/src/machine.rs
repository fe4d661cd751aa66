//! `machine list | show | diff | check`, and the options `--machine` and `--set`.

mod import;

use super::args::{self, MachineChoice};
use super::failure::Failure;
use super::{grid, output};
use crate::codes::IsaCode;
use scnn_isa::machine::{Machine, MachineError, MachineFile, Origin, Read, Scope};
use scnn_simulator::area::Area;
use scnn_simulator::report::Parameter;
use scnn_simulator::trust::Trust;
use scnnc_driver::formats::accelergy;
use serde_json::json;
use std::path::{Path, PathBuf};

/// `scnnc machine`.
pub fn machine(verb: &args::Machine) -> Result<(), Failure> {
    match verb {
        args::Machine::List { json } => list(*json),
        args::Machine::Show {
            machine,
            settings,
            yaml: true,
            ..
        } => output::print(&set(read(machine)?, settings)?.machine.to_yaml()),
        args::Machine::Show {
            machine,
            settings,
            accelergy: true,
            ..
        } => {
            let machine = set(read(machine)?, settings)?.machine;
            let parameters = Parameter::all(&machine);
            let tables = accelergy::tables(&parameters, machine.pe_count().into());
            output::print(&tables);
        }
        args::Machine::Import(options) => import::import(options)?,
        args::Machine::Show {
            machine,
            settings,
            json,
            ..
        } => show(machine, &set(read(machine)?, settings)?, *json),
        args::Machine::Diff {
            before,
            after,
            json,
        } => diff(&read(before)?.machine, &read(after)?.machine, *json),
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
pub fn of_model(choice: &MachineChoice) -> Result<Machine, Failure> {
    with_settings(one(choice)?.unwrap_or(DEFAULT), &choice.settings)
}

/// The machines that a model is compiled for, one after the other, each with all settings.
pub fn several(choice: &MachineChoice) -> Result<Vec<Machine>, Failure> {
    let names = choice.names.iter();
    let machines = names.map(|name| with_settings(name, &choice.settings));
    machines.collect()
}

/// The one machine that is named, if any is.
fn one(choice: &MachineChoice) -> Result<Option<&str>, Failure> {
    match choice.names.as_slice() {
        [] => Ok(None),
        [name] => Ok(Some(name)),
        several => Err(Failure::usage(&format!(
            "`--machine` names {} machines, and this is about one: `scnnc compare` takes several, `scnnc sweep` many",
            several.len()
        ))),
    }
}

/// The machine of a name with some parameters set, `PATH=VALUE` each.
pub fn with_settings(name: &str, settings: &[String]) -> Result<Machine, Failure> {
    Ok(set(read(name)?, settings)?.machine)
}

/// The machine that a program runs on, where it is not to be its own alone.
pub fn of_program(choice: &MachineChoice, own: &Machine) -> Result<Option<Machine>, Failure> {
    let base = match one(choice)? {
        Some(name) => read(name)?,
        None if choice.settings.is_empty() => return Ok(None),
        None => Read::of(own.clone()),
    };
    Ok(Some(set(base, &choice.settings)?.machine))
}

fn set(read: Read, settings: &[String]) -> Result<Read, Failure> {
    let set = read.with_settings(settings);
    set.map_err(|e| Failure::input(e.code(), &e.to_string(), &e.help().unwrap_or_default()))
}

/// The machine that `--machine` names: a preset, or a file.
pub fn read(name: &str) -> Result<Read, Failure> {
    if let Some(text) = preset(name) {
        return Machine::read(text).map_err(|error| Failure::machine(name, text, &error));
    }
    let path = Path::new(name);
    if !path.exists() {
        return Err(no_machine(name));
    }
    read_file(path, &mut Vec::new())
}

fn preset(name: &str) -> Option<&'static str> {
    Machine::presets().find_map(|(preset, text)| (preset == name).then_some(text))
}

fn no_machine(name: &str) -> Failure {
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
    Failure::input(
        IsaCode::MachineUnknownPreset,
        &format!("`{name}` is neither a preset nor a file"),
        &help,
    )
}

/// Reads a machine file; what it extends is a preset, or a file beside it or further away. `open` are the files that extend
/// this one. A file without a name is named as the file is.
fn read_file(path: &Path, open: &mut Vec<PathBuf>) -> Result<Read, Failure> {
    let bytes = output::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let shown = path.display().to_string();
    let refused = |error: &MachineError| Failure::machine(&shown, &text, error);
    let file = MachineFile::parse(&text).map_err(|e| refused(&e))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let base = match file.extends() {
        None => None,
        Some(name) => match preset(name) {
            Some(text) => Some(Machine::read(text).map_err(|e| Failure::machine(name, text, &e))?),
            None if folder.join(name).is_file() => {
                open.push(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
                let next = folder.join(name);
                let real = next.canonicalize().unwrap_or_else(|_| next.clone());
                if open.contains(&real) {
                    return Err(Failure::file(
                        IsaCode::MachineImpossible,
                        path,
                        &format!("`extends: {name}` leads back to {}", next.display()),
                    ));
                }
                Some(read_file(&next, open)?)
            }
            None => {
                let names = Machine::presets().map(|(name, _)| name);
                return Err(refused(&MachineError::UnknownPreset {
                    name: name.to_owned(),
                    nearest: scnn_isa::yaml::nearest(name, names),
                }));
            }
        },
    };
    let mut read = file.complete(base.as_ref()).map_err(|e| refused(&e))?;
    if !read.named
        && let Some(stem) = path.file_stem()
    {
        read.machine.name = stem.to_string_lossy().into_owned();
    }
    Ok(read)
}

/// Prints the parameters in which two machines differ.
fn diff(before: &Machine, after: &Machine, as_json: bool) {
    let pairs = before.parameters().into_iter().zip(after.parameters());
    let differing = pairs.filter(|(before, after)| before.value != after.value);
    let differing: Vec<_> = differing.collect();
    let areas = [before, after].map(|machine| Area::of(machine).total());
    if as_json {
        let entries = differing.iter().map(|(before, after)| {
            json!({
                "parameter": before.path, "before": before.value, "after": after.value, "unit": before.unit,
                "decides": decides(before.scope),
            })
        });
        output::print_json(&json!({
            "before": before.name, "after": after.name, "parameters": entries.collect::<Vec<_>>(), "area_mm2": areas,
        }));
        return;
    }
    if differing.is_empty() {
        output::print(&format!(
            "{} and {} have the same parameters\n",
            before.name, after.name
        ));
        return;
    }
    let mut table = grid::plain(&["parameter", &before.name, &after.name, "unit", "decides"]);
    for (before, after) in differing {
        table.add_row([
            before.path,
            before.value,
            after.value,
            before.unit.to_owned(),
            decides(before.scope).to_owned(),
        ]);
    }
    grid::right(&mut table, [1, 2]);
    output::print(&format!(
        "{}\n\narea {:.1} mm2, {:.1} mm2\n",
        grid::wrapped(table, &[0]),
        areas[0],
        areas[1]
    ));
}

/// What a parameter decides, in a word.
fn decides(scope: Scope) -> &'static str {
    match scope {
        Scope::Program => "program",
        Scope::Cost => "cost",
    }
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

fn show(name: &str, read: &Read, as_json: bool) {
    let mut table = grid::plain(&["parameter", "value", "unit", "from", "allowed", "meaning"]);
    let mut entries = Vec::new();
    for parameter in read.machine.parameters() {
        let origin = match read.origin(&parameter.path) {
            Origin::File => name.to_owned(),
            Origin::Preset(preset) => format!("preset {preset}"),
            Origin::Base(file) => file,
            Origin::Setting => "--set".to_owned(),
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
    let outside = read.machine.outside_fit();
    let outside: Vec<String> = outside.iter().map(ToString::to_string).collect();
    if as_json {
        output::print_json(&json!({
            "machine": read.machine.name, "parameters": entries, "area_mm2": area,
            "energies": energies_json(&read.machine), "energy_outside_fit": outside,
        }));
        return;
    }
    output::print(&format!("{}\n", grid::wrapped(table, &[4, 3])));
    output::print(&format!("\n{}\n", energies(&read.machine)));
    for sentence in outside {
        output::print(&format!("{sentence}\n"));
    }
    let parts = area.components().into_iter().filter(|(_, mm2)| *mm2 > 0.0);
    let parts: Vec<String> = parts
        .map(|(name, mm2)| format!("{name} {mm2:.2}"))
        .collect();
    output::print(&format!(
        "\narea {:.1} mm2: {} ({})\n",
        area.total(),
        parts.join(", "),
        Trust::of_area(&read.machine).shares()
    ));
}

/// A number of picojoules, as far as it is known.
fn picojoules(pj: f64) -> String {
    let text = format!("{pj:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The energies of events: each on this machine and on the paper's, and the law that scales one to the other.
fn energies(machine: &Machine) -> String {
    let mut table = grid::plain(&[
        "energy",
        "pJ",
        "band",
        "paper's",
        "trust",
        "grows with",
        "sources",
    ]);
    for (name, energy) in machine.energy.entries() {
        let band = energy
            .band
            .map_or_else(String::new, |band| band.map(picojoules).join(" to "));
        let (paper, formula, law_source) = match energy.law {
            Some(follows) => (
                picojoules(follows.paper_pj),
                follows.law.formula(),
                format!("; {}", follows.law.source()),
            ),
            None => (String::new(), "", String::new()),
        };
        table.add_row([
            name.to_owned(),
            picojoules(energy.pj),
            band,
            paper,
            energy.confidence.word().to_owned(),
            formula.to_owned(),
            format!("{}{law_source}", energy.source),
        ]);
    }
    grid::right(&mut table, [1, 3]);
    grid::wrapped(table, &[6, 5]).clone()
}

fn energies_json(machine: &Machine) -> Vec<serde_json::Value> {
    let entries = machine.energy.entries().into_iter();
    let entries = entries.map(|(name, energy)| {
        json!({
            "energy": name, "pj": energy.pj, "band": energy.band, "confidence": energy.confidence,
            "source": energy.source,
            "law": energy.law.map(|follows| json!({
                "name": follows.law, "paper_pj": follows.paper_pj, "grows_with": follows.law.formula(),
                "source": follows.law.source(), "ratio": follows.law.ratio(machine),
            })),
        })
    });
    entries.collect()
}
