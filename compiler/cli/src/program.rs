//! `disasm`, `asm`, `verify`, and `--explain`.

use super::args::{self, MachineChoice};
use super::failure::Failure;
use super::names::{self, Known};
use super::{codes, highlight, machine, memory, output};
use crate::codes::IsaCode;
use scnn_isa::asm;
use scnn_isa::diagnostic::{Diagnostic, Location, Place};
use scnn_isa::glossary;
use scnn_isa::machine::Machine;
use scnn_isa::plane::Span;
use scnn_isa::program::Program;
use scnn_isa::{verify, yaml};
use serde_json::json;
use std::path::Path;

/// Reads a program file; it is verified.
pub fn read(path: &Path) -> Result<Program, Failure> {
    of_bytes(path, &output::read(path)?)
}

/// Reads the bytes of a program file and verifies the program; `path` is what diagnostics name.
pub fn of_bytes(path: &Path, bytes: &[u8]) -> Result<Program, Failure> {
    let program = decode(path, bytes)?;
    let limits = verify::Limits {
        memory_bytes: memory::limit_bytes(),
        ..verify::Limits::default()
    };
    verify::verify_within(&program, &limits)
        .map_err(|problems| Failure::problems(path, &problems))?;
    Ok(program)
}

/// Reads a program file to run it: on its own machine, or on another, which may differ in parameters of cost.
pub fn read_for(path: &Path, choice: &MachineChoice) -> Result<Program, Failure> {
    let mut program = read(path)?;
    if let Some(machine) = machine::of_program(choice, &program.machine)? {
        check_machine(&program, &machine, choice, path)?;
        program.machine = machine;
    }
    Ok(program)
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Program, Failure> {
    Program::from_bytes(bytes)
        .map_err(|error| Failure::file(error.code(), path, &error.to_string()))
}

/// `scnnc disasm`.
pub fn disasm(options: &args::Disasm) -> Result<(), Failure> {
    let program = decode(&options.program, &output::read(&options.program)?)?;
    if let Some(path) = &options.output {
        let data = !options.code;
        let text = asm::disassemble(&program, &asm::Options { data });
        return output::write(path, text.as_bytes());
    }
    let text = match (&options.layer, &options.range) {
        (Some(name), _) => layers_text(&program, name)?,
        (None, Some(range)) => asm::disassemble_range(&program, parse_range(range)?),
        (None, None) => {
            let data = !options.code;
            asm::disassemble(&program, &asm::Options { data })
        }
    };
    output::print_styled(&highlight::assembly(&text));
    Ok(())
}

/// The names of the layers and host segments of a program that `wanted` names.
pub fn find_layers<'a>(program: &'a Program, wanted: &str) -> Result<Vec<&'a str>, Failure> {
    let known = program.operations().map(|(id, span)| Known {
        name: program.operation_name(id),
        nodes: program.nodes_of(span.begin),
    });
    let known: Vec<Known<'a>> = known.collect();
    let found = names::find(wanted, &known)?;
    Ok(found.into_iter().map(|index| known[index].name).collect())
}

/// The assembly text of the layers of a name, or of a part of one.
pub fn layers_text(program: &Program, name: &str) -> Result<String, Failure> {
    let layers = find_layers(program, name)?.into_iter();
    let texts = layers.filter_map(|name| asm::disassemble_layer(program, name));
    Ok(texts.collect::<Vec<_>>().join("\n"))
}

/// `FROM..TO`, either of which may be left out.
fn parse_range(word: &str) -> Result<Span, Failure> {
    let parsed = word.split_once("..").and_then(|(from, to)| {
        let bound = |text: &str, otherwise| match text {
            "" => Some(otherwise),
            text => text.parse().ok(),
        };
        Some(Span::new(bound(from, 0)?, bound(to, u32::MAX)?))
    });
    parsed.ok_or_else(|| {
        Failure::usage(&format!(
            "`--range {word}`: give FROM..TO, as `inspect` prints it"
        ))
    })
}

/// `scnnc asm`.
pub fn asm(options: &args::Asm) -> Result<(), Failure> {
    let bytes = output::read(&options.text)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::file(
            IsaCode::AssemblySyntax,
            &options.text,
            "this is no UTF-8 text",
        )
    })?;
    let program = asm::assemble(&text).map_err(|error| {
        let line = text
            .lines()
            .nth(error.line.saturating_sub(1))
            .unwrap_or_default()
            .chars()
            .take(160)
            .collect();
        Failure::Refused(vec![Diagnostic {
            code: IsaCode::AssemblySyntax.into(),
            message: error.message.clone(),
            location: Some(Location {
                file: Some(options.text.display().to_string()),
                place: Place::Line {
                    line: error.line,
                    column: error.column,
                    text: line,
                },
            }),
            attribute: None,
            allowed: None,
            notes: Vec::new(),
            help: error.help.clone(),
        }])
    })?;
    verify::verify(&program).map_err(|problems| Failure::problems(&options.text, &problems))?;
    output::write(&options.output, &program.to_bytes())
}

/// `scnnc verify`.
pub fn verify(options: &args::Verify) -> Result<(), Failure> {
    let program = read(&options.program)?;
    let other = machine::of_program(&options.machine, &program.machine)?;
    if let Some(machine) = &other {
        check_machine(&program, machine, &options.machine, &options.program)?;
    }
    let machine = &other.as_ref().unwrap_or(&program.machine).name;
    if options.json {
        output::print_json(&json!({
            "program": options.program,
            "machine": machine,
            "layers": program.layers.len(),
            "instructions": program.code.len(),
        }));
        return Ok(());
    }
    output::print(&format!(
        "{}: valid for machine `{machine}`; {} layers, {} instructions\n",
        options.program.display(),
        program.layers.len(),
        program.code.len()
    ));
    Ok(())
}

/// Refuses a program compiled for another machine than the one chosen.
fn check_machine(
    program: &Program,
    machine: &Machine,
    choice: &MachineChoice,
    path: &Path,
) -> Result<(), Failure> {
    let differences = program.machine.fingerprint_differences(machine);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Failure::Refused(vec![Diagnostic {
        code: IsaCode::OtherMachine.into(),
        message: format!(
            "the program was compiled for machine `{}`, not for `{}`",
            program.machine.name, machine.name
        ),
        location: Some(Location {
            file: Some(path.display().to_string()),
            place: Place::File,
        }),
        attribute: None,
        allowed: None,
        notes: differences
            .iter()
            .map(|d| format!("{}: program {}, machine {}", d.path, d.program, d.machine))
            .collect(),
        help: Some(format!("compile the model again with `{}`", words(choice))),
    }]))
}

/// The options of a machine as they were given.
fn words(choice: &MachineChoice) -> String {
    let name = choice.names.iter();
    let name = name.map(|name| format!("--machine {name}"));
    let settings = choice.settings.iter().map(|word| format!("--set {word}"));
    name.chain(settings).collect::<Vec<_>>().join(" ")
}

/// `scnnc --explain`: a code of a diagnostic, or a term of the glossary.
pub fn explain(word: &str) -> Result<(), Failure> {
    output::print(&explanation(word)?);
    Ok(())
}

/// The explanation of a code, or of a term in each of its senses.
pub fn explanation(word: &str) -> Result<String, Failure> {
    let codes = codes::all();
    let upper = word.to_uppercase();
    if let Some(entry) = codes.iter().find(|entry| entry.code == upper) {
        return Ok(format!(
            "{}: {}\n\n{}\n",
            entry.code, entry.title, entry.explanation
        ));
    }
    let senses = glossary::find(word).map(|entry| {
        format!(
            "{} ({}): {}\n",
            entry.term,
            entry.section.to_lowercase(),
            entry.meaning
        )
    });
    let senses: String = senses.collect();
    if !senses.is_empty() {
        return Ok(senses);
    }
    let codes = codes.iter().map(|entry| entry.code);
    let known = codes.chain(glossary::entries().map(|entry| entry.term));
    let near = yaml::nearest(word, known).map_or_else(
        || ".".to_owned(),
        |near| format!("; did you mean `{near}`?"),
    );
    Err(Failure::usage(&format!(
        "there is no code and no term `{word}`{near} A code looks like `E0101` and stands in brackets after `error`; \
         the terms are those of tables, reports and assembly text, such as `fragmentation`"
    )))
}
