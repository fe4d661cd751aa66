//! `machine import`: energies and areas of Accelergy's tables as a machine file.

use crate::args::MachineImport;
use crate::codes::IsaCode;
use crate::failure::Failure;
use crate::messages;
use crate::output;
use scnn_isa::machine::{Machine, MachineFile};
use scnn_isa::yaml::nearest;
use scnnc_driver::formats::accelergy::{Import, assign, read};
use std::fmt::Write;
use std::path::Path;

/// `scnnc machine import`.
pub fn import(options: &MachineImport) -> Result<(), Failure> {
    let wanted = pairs(&options.map)?;
    let mut found = Import::default();
    let mut remaining = wanted;
    for (number, path) in options.tables.iter().enumerate() {
        let text = String::from_utf8_lossy(&output::read(path)?).into_owned();
        let refused = |reason: &str| Failure::file(IsaCode::MachineSyntax, path, reason);
        let entries = read(&text).map_err(|reason| refused(&reason))?;
        // A name may be in any of the files; names that no earlier file has must be in the last.
        let is_last = number + 1 == options.tables.len();
        let here = |pair: &(String, String)| {
            is_last || assign(&entries, std::slice::from_ref(pair), "").is_ok()
        };
        let (here, later) = remaining.into_iter().partition(here);
        remaining = later;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let import = assign(&entries, &here, &name).map_err(|reason| {
            unknown(
                path,
                &reason,
                &entries.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(),
            )
        })?;
        found.parameters.extend(import.parameters);
        found.unused.extend(import.unused);
    }
    if found.parameters.is_empty() {
        return Err(unknown(
            &options.tables[0],
            "no entry has a name of ours",
            &found.unused.iter().map(String::as_str).collect::<Vec<_>>(),
        ));
    }
    let text = machine_file(options, &found);
    check(options, &text)?;
    for name in &found.unused {
        messages::tell(&format!(
            "warning: nothing is made of `{name}`; `--map PARAMETER={name}` says what it is"
        ));
    }
    if let Some(path) = &options.output {
        output::write(path, text.as_bytes())
    } else {
        output::print(&text);
        Ok(())
    }
}

fn unknown(path: &Path, reason: &str, names: &[&str]) -> Failure {
    let message = format!("{}: {reason}", path.display());
    let help = format!(
        "say with `--map PARAMETER=ENTRY` which entry is which parameter, as in `--map energy.multiply=MAC.mac`; the entries are {}",
        names.join(", ")
    );
    Failure::input(IsaCode::UnknownName, &message, &help)
}

/// `PARAMETER=ENTRY` options; parameters are those of machines.
fn pairs(words: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let parameters =
        Machine::preset(super::DEFAULT).map_or_else(Vec::new, |machine| machine.parameters());
    let known = || {
        let paths = parameters.iter().map(|parameter| parameter.path.as_str());
        paths.filter(|path| path.starts_with("energy.") || path.starts_with("area."))
    };
    let pair = |word: &String| {
        let (parameter, entry) = word.split_once('=').ok_or_else(|| {
            Failure::usage(&format!(
                "`--map {word}`: give PARAMETER=ENTRY, as in `energy.multiply=MAC.mac`"
            ))
        })?;
        if known().any(|path| path == parameter) {
            return Ok((parameter.to_owned(), entry.to_owned()));
        }
        let near = nearest(parameter, known());
        let near = near.map_or_else(
            || format!("they are {}", known().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        Err(Failure::usage(&format!(
            "`--map {word}`: there is no energy and no area `{parameter}`; {near}"
        )))
    };
    words.iter().map(pair).collect()
}

fn machine_file(options: &MachineImport, import: &Import) -> String {
    let mut text = format!(
        "# Energies and areas of Accelergy's tables, by `scnnc machine import`.\nextends: {}\n",
        options.extends
    );
    for (section, unit) in [("energy", "pj"), ("area", "mm2")] {
        let prefix = format!("{section}.");
        let entries: Vec<_> = import
            .parameters
            .iter()
            .filter(|(path, ..)| path.starts_with(&prefix))
            .collect();
        if entries.is_empty() {
            continue;
        }
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n{section}:");
        for (path, value, source) in entries {
            let source = serde_json::Value::from(source.as_str());
            let _ = writeln!(
                text,
                "  {}: {{{unit}: {value}, source: {source}}}",
                &path[prefix.len()..]
            );
        }
    }
    text
}

/// Refuses tables of which no machine is made: an energy out of its range, a preset that there is not.
fn check(options: &MachineImport, text: &str) -> Result<(), Failure> {
    let base = super::read(&options.extends)?;
    let name = options
        .output
        .as_deref()
        .unwrap_or(Path::new("machine.yaml"))
        .display()
        .to_string();
    let file = MachineFile::parse(text).and_then(|file| file.complete(Some(&base)));
    file.map(|_| ())
        .map_err(|error| Failure::machine(&name, text, &error))
}
