//! `replay`: the command of a report once more, and whether the report still holds.
//!
//! A report has the words of its command without the files that it writes ([`words`]). A report from someone else can
//! therefore neither write a file nor load a library: such words are ignored if it has them all the same.

use super::args::{self, Arguments, Run, Verb};
use super::failure::Failure;
use super::run::{self, Done};
use super::{grid, output, report, table};
use crate::codes::Code;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, Parser};
use scnn_simulator::report::Report;
use scnnc_driver::replay::{Difference, causes, differences, fields};
use scnnc_driver::rules::{self, Rule};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Options of `run` that have no influence on the report.
const NO_CAUSE: [&str; 22] = [
    "dump",
    "dump_ir",
    "expect",
    "host_library",
    "json",
    "latency",
    "limit_memory",
    "output",
    "progress",
    "provoke",
    "quiet",
    "report",
    "save_calibration",
    "save_densities",
    "save_mapping",
    "save_onnx",
    "threads",
    "trace",
    "trace_layer",
    "verbose",
    "verify_passes",
    "view",
];

/// The words of a command that decide its report: the verb, and the options that were given.
pub fn words(matches: &ArgMatches) -> Vec<String> {
    let Some((verb, given)) = matches.subcommand() else {
        return Vec::new();
    };
    let command = Arguments::command();
    let Some(command) = command.find_subcommand(verb) else {
        return Vec::new();
    };
    let mut words = vec![verb.to_owned()];
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        if NO_CAUSE.contains(&id) {
            continue;
        }
        // Asking for an id that the matches do not know would panic.
        if !matches!(given.try_contains_id(id), Ok(true))
            || given.value_source(id) != Some(ValueSource::CommandLine)
        {
            continue;
        }
        let values = given.get_raw(id).into_iter().flatten();
        let values: Vec<String> = values
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        match argument.get_long() {
            None => words.extend(values),
            Some(long) if argument.get_action().takes_values() => {
                words.extend(values.into_iter().map(|value| format!("--{long}={value}")));
            }
            Some(long) => words.push(format!("--{long}")),
        }
    }
    words
}

/// `scnnc replay`.
pub fn replay(options: &args::Replay) -> Result<(), Failure> {
    let was = read(&options.report)?;
    let run = again(options, &was)?;
    let stages = run::stages(&run);
    let Done { run, .. } = run::execute(&run, &stages)?;
    let mut now = run.report;
    now.provenance.command.clone_from(&was.provenance.command);
    if let Some(path) = &options.output {
        output::write_json(path, &now)?;
    }
    let verdict = ReplayVerdict::of(&was, &now);
    if options.json {
        output::print_json(&verdict.json());
    } else {
        output::print(&grid::hanging(&verdict.text(&was, &now)));
    }
    match verdict.differences.first() {
        None => Ok(()),
        Some(first) => Err(Failure::check(
            Code::ReportDiffers,
            format!("{} does not hold: {first}", options.report.display()),
            Vec::new(),
        )),
    }
}

fn read(path: &Path) -> Result<Report, Failure> {
    let mut reports = report::of_bytes(path, &output::read(path)?)?;
    match (reports.pop(), reports.is_empty()) {
        (Some(report), true) => Ok(report),
        _ => Err(Failure::file(
            Code::NotReplayable,
            path,
            "the file does not hold one report of a run",
        )),
    }
}

/// The run that a report is of, with the model and the inputs of this command.
fn again(options: &args::Replay, was: &Report) -> Result<Run, Failure> {
    let refused = |reason: &str| Failure::file(Code::NotReplayable, &options.report, reason);
    let words = &was.provenance.command;
    if words.is_empty() {
        return Err(refused(
            "no command made the report: it has no words to repeat",
        ));
    }
    let name = std::iter::once("scnnc");
    let parsed = Arguments::try_parse_from(name.chain(words.iter().map(String::as_str)));
    let verb = parsed.map_err(|error| {
        refused(&format!(
            "its command is not understood: {}",
            first_line(&error)
        ))
    })?;
    let Some(Verb::Run(mut run)) = verb.verb else {
        return Err(refused(&format!(
            "its command is `{}`, and only `run` is repeated",
            words[0]
        )));
    };
    without_side_effects(&mut run);
    run.compilation.quiet = options.quiet;
    run.json = true;
    let folder = options.report.parent().unwrap_or(Path::new(""));
    for path in paths(&mut run) {
        *path = located(path, folder);
    }
    for word in run
        .input
        .iter_mut()
        .chain(&mut run.compilation.bits)
        .chain(&mut run.compilation.machine.names)
    {
        *word = located_word(word, folder);
    }
    if let Some(model) = &options.model {
        run.model.clone_from(model);
    }
    if !options.input.is_empty() {
        run.input.clone_from(&options.input);
    }
    Ok(run)
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .to_owned()
}

/// Drops options that write a file or load a library.
fn without_side_effects(run: &mut Run) {
    run.output = None;
    run.report = None;
    run.latency = None;
    run.dump = None;
    run.trace = None;
    run.expect = None;
    run.view.clear();
    run.trace_layer.clear();
    let compilation = &mut run.compilation;
    compilation.save_mapping = None;
    compilation.save_calibration = None;
    compilation.dump_ir = None;
    compilation.provoke = None;
    compilation.host.host_library = None;
    compilation.pruning.save_densities = None;
    compilation.pruning.save_onnx = None;
}

/// The files that a run reads.
fn paths(run: &mut Run) -> impl Iterator<Item = &mut PathBuf> {
    let compilation = &mut run.compilation;
    let others = [
        &mut run.labels,
        &mut compilation.mapping_file,
        &mut compilation.calibrate,
        &mut compilation.calibration,
        &mut compilation.pruning.prune_file,
        &mut compilation.pruning.calibration_labels,
    ];
    std::iter::once(&mut run.model).chain(others.into_iter().flatten())
}

/// Where a file is: as it was named, from the report's folder, or beside the report.
fn located(path: &Path, folder: &Path) -> PathBuf {
    let beside = path.file_name().map(|name| folder.join(name));
    let places = [Some(path.to_owned()), Some(folder.join(path)), beside];
    let found = places.into_iter().flatten().find(|place| place.exists());
    found.unwrap_or_else(|| path.to_owned())
}

/// The same for the file in `[NAME=]FILE`; a word that names no file stays as it is.
fn located_word(word: &str, folder: &Path) -> String {
    let place = |path: &str| located(Path::new(path), folder).display().to_string();
    match word.split_once('=') {
        Some((name, file)) if !Path::new(word).exists() => format!("{name}={}", place(file)),
        _ => place(word),
    }
}

/// Result of a replay.
struct ReplayVerdict {
    causes: Vec<Difference>,
    differences: Vec<Difference>,
    /// Rules that are newer than the report; rules that move the first difference come first.
    rules: Vec<Rule>,
}

impl ReplayVerdict {
    fn of(was: &Report, now: &Report) -> Self {
        let differences = differences(was, now);
        let mut rules = rules::all();
        rules.retain(|rule| rule.number > was.provenance.rules);
        if let Some(first) = differences.first() {
            rules.sort_by_key(|rule| !rule.moves(&first.field));
        }
        Self {
            causes: causes(was, now),
            differences,
            rules,
        }
    }

    fn text(&self, was: &Report, now: &Report) -> String {
        let mut text = format!("command   scnnc {}\n", was.provenance.command.join(" "));
        // Writing to a string does not fail.
        for cause in &self.causes {
            let _ = writeln!(text, "changed   {cause}");
        }
        let cycles = |report: &Report| table::si(report.totals.cycles.total as f64, "cycles");
        match self.differences.split_first() {
            None => {
                let _ = writeln!(
                    text,
                    "equal     {} layers, {} values; {}",
                    now.layers.len(),
                    fields(now),
                    cycles(now)
                );
            }
            Some((first, rest)) => {
                let _ = writeln!(text, "differs   {first}");
                if !rest.is_empty() {
                    let _ = writeln!(text, "more      {}", places(rest));
                }
                let _ = writeln!(text, "total     {}, was {}", cycles(now), cycles(was));
            }
        }
        for rule in &self.rules {
            let _ = writeln!(
                text,
                "rule {:<4} {} ({})",
                rule.number,
                rule.text,
                rule.fields.join(", ")
            );
        }
        if !self.differences.is_empty() && was.provenance.rules > rules::newest() {
            let _ = writeln!(
                text,
                "rules     the report knows rules to {}, this tool to {}: it is older",
                was.provenance.rules,
                rules::newest()
            );
        }
        text
    }

    fn json(&self) -> Value {
        let list = |differences: &[Difference]| -> Vec<Value> {
            let entry = |d: &Difference| json!({"layer": d.layer, "field": d.field, "was": d.was, "now": d.now});
            differences.iter().map(entry).collect()
        };
        let rule =
            |rule: &Rule| json!({"rule": rule.number, "fields": rule.fields, "text": rule.text});
        json!({
            "equal": self.differences.is_empty(),
            "changed": list(&self.causes),
            "differences": list(&self.differences),
            "rules": self.rules.iter().map(rule).collect::<Vec<_>>(),
        })
    }
}

/// Number of values that differ, in layers and in the whole report.
fn places(differences: &[Difference]) -> String {
    let mut counts: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for difference in differences {
        *counts.entry(difference.layer.as_deref()).or_default() += 1;
    }
    let layers = counts.keys().flatten().count();
    let of_report = counts.get(&None).copied().unwrap_or(0);
    let of_layers = differences.len() - of_report;
    let plural = if layers == 1 { "" } else { "s" };
    format!("{of_layers} values of {layers} layer{plural}, {of_report} of the whole report")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(line: &str) -> Vec<String> {
        let words = std::iter::once("scnnc").chain(line.split(' '));
        super::words(&Arguments::command().get_matches_from(words))
    }

    #[test]
    fn words_are_those_that_decide_the_report() {
        let line = "run m.onnx --input x=a.npy --check --threads 3 --report r.json --view netron=n --trace t.json \
                    --save-mapping m.yaml --seed 7 --host-library l.so --dump d --latency l.csv -v --set pe.banks=64 --input y=b.npy";
        assert_eq!(
            words_of(line),
            [
                "run",
                "m.onnx",
                "--input=x=a.npy",
                "--input=y=b.npy",
                "--check",
                "--set=pe.banks=64",
                "--seed=7"
            ]
        );
    }

    #[test]
    fn the_words_of_a_strange_report_write_nothing() {
        let line = "run m.onnx --output=o --report=r --latency=l --dump=d --trace=t --view=netron=n --save-mapping=m --save-calibration=c \
                    --dump-ir=i --save-densities=d --save-onnx=o --host-library=l";
        let parsed =
            Arguments::try_parse_from(std::iter::once("scnnc").chain(line.split_whitespace()));
        let Some(Verb::Run(mut run)) = parsed.unwrap().verb else {
            unreachable!("the verb is run")
        };
        without_side_effects(&mut run);
        let none = format!("{run:?}");
        let written = [
            "output",
            "report",
            "latency",
            "dump",
            "trace",
            "save_mapping",
            "save_calibration",
            "dump_ir",
            "save_densities",
            "save_onnx",
            "host_library",
        ];
        for name in written {
            assert!(none.contains(&format!("{name}: None")), "{name}: {none}");
        }
        assert!(none.contains("view: []"), "{none}");
    }

    #[test]
    fn a_file_is_found_beside_its_report() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.npy"), "").unwrap();
        let there = folder.path().join("a.npy");
        assert_eq!(located(Path::new("elsewhere/a.npy"), folder.path()), there);
        assert_eq!(
            located_word("x=a.npy", folder.path()),
            format!("x={}", there.display())
        );
        assert_eq!(located_word("pe=8", folder.path()), "pe=8");
    }
}
