//! The files that a command reads and those that it writes, known and tried before it does any work.
//!
//! A result that lands on an input or on another result would destroy it, and a folder that cannot be written would be
//! found out when all is computed.

use super::args::{Compilation, Machine, Run, Sweep, SweepVerb, Verb, Zoo};
use super::codes::Code;
use super::failure::Failure;
use super::output;
use super::view::View;
use std::path::{Path, PathBuf};

/// A file of a command, and what the command calls it.
struct Named {
    what: &'static str,
    path: PathBuf,
}

/// The files of a command.
#[derive(Default)]
struct Files {
    reads: Vec<Named>,
    writes: Vec<Named>,
    /// Folders that it makes, or writes into.
    folders: Vec<PathBuf>,
}

/// Refuses a command that would write one file twice or over one that it reads, or where it cannot write.
pub fn check(verb: &Verb) -> Result<(), Failure> {
    let files = Files::of(verb);
    let mut seen: Vec<(PathBuf, &Named)> = Vec::new();
    standard_streams(&files)?;
    let reads: Vec<(PathBuf, &Named)> = files.reads.iter().map(|f| (real(&f.path), f)).collect();
    for file in &files.writes {
        let real = real(&file.path);
        if is_device(&real) || output::is_standard(&file.path) {
            continue;
        }
        let same = |(other, _): &&(PathBuf, &Named)| *other == real;
        if let Some((_, read)) = reads.iter().find(same) {
            return Err(Failure::usage(&format!(
                "`{} {}` is {} itself, which would be lost: give another path",
                file.what,
                file.path.display(),
                read.what
            )));
        }
        if let Some((_, other)) = seen.iter().find(same) {
            return Err(Failure::usage(&format!(
                "`{}` and `{}` both name {}, and one of the two would be lost: give two paths",
                other.what,
                file.what,
                file.path.display()
            )));
        }
        let parent = real.parent().unwrap_or(Path::new("."));
        let exists = parent.is_dir();
        if !exists {
            return Err(cannot_write(&file.path, "its folder does not exist"));
        }
        if real.is_dir() {
            return Err(cannot_write(&file.path, "it is a folder"));
        }
        try_folder(parent, &file.path)?;
        seen.push((real, file));
    }
    for folder in &files.folders {
        let existing = folder.ancestors().find(|folder| folder.exists());
        let existing = existing.unwrap_or(Path::new("."));
        if !existing.is_dir() {
            return Err(cannot_write(folder, "a file is in the place of the folder"));
        }
        try_folder(existing, folder)?;
    }
    Ok(())
}

/// Refuses a command that reads standard input twice, or writes two files to standard output.
fn standard_streams(files: &Files) -> Result<(), Failure> {
    let standard = |all: &[Named]| -> Vec<&'static str> {
        let named = all.iter().filter(|file| output::is_standard(&file.path));
        named.map(|file| file.what).collect()
    };
    let (reads, writes) = (standard(&files.reads), standard(&files.writes));
    if let [first, second, ..] = reads[..] {
        return Err(Failure::usage(&format!(
            "{first} and {second} are both `-`, and standard input holds one of them: give a path for the other"
        )));
    }
    if let [first, second, ..] = writes[..] {
        return Err(Failure::usage(&format!(
            "`{first}` and `{second}` are both `-`, and standard output holds one of them: give a path for the other"
        )));
    }
    if !writes.is_empty() {
        output::take_standard_output();
    }
    Ok(())
}

fn cannot_write(path: &Path, reason: &str) -> Failure {
    Failure::file(
        Code::CannotWrite,
        path,
        &format!("cannot be written: {reason}"),
    )
}

/// Makes a file in a folder and removes it again, which is how one knows.
fn try_folder(folder: &Path, file: &Path) -> Result<(), Failure> {
    match tempfile::tempfile_in(folder) {
        Ok(_) => Ok(()),
        Err(error) => Err(cannot_write(file, &error.to_string())),
    }
}

/// What is there already and is no file: a terminal, a pipe, `/dev/null`.
fn is_device(path: &Path) -> bool {
    path.exists() && !path.is_file() && !path.is_dir()
}

/// The path without links and detours; of a file that is not there, its folder's.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    match (folder.canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

impl Files {
    fn of(verb: &Verb) -> Self {
        let mut files = Self::default();
        match verb {
            Verb::Compile(o) => {
                files.reads("the model", [&o.model]);
                files.writes("--output", &Some(o.output.clone()));
                files.compilation(&o.compilation);
            }
            Verb::Run(o) => files.run(o),
            Verb::Compare(o) => {
                files.reads("the model", [&o.model]);
                files.inputs(&o.input);
                files.writes("--report", &o.report);
                files.compilation(&o.compilation);
            }
            Verb::Snapshot(o) => {
                files.reads("the model", [&o.model]);
                files.inputs(&o.input);
                files.reads("the snapshot", &o.check);
                files.writes("--output", &o.output);
                files.writes("--update", &o.update);
                files.compilation(&o.compilation);
            }
            Verb::Sensitivity(o) => {
                files.reads("the model", [&o.model]);
                files.writes("--output", &o.output);
                files.compilation(&o.compilation);
            }
            Verb::Advise(o) => {
                files.reads("a model", &o.models);
                files.inputs(&o.input);
                files.compilation(&o.compilation);
            }
            Verb::Explain(o) => {
                files.reads("the model", [&o.model]);
                files.inputs(&o.input);
                files.compilation(&o.compilation);
            }
            Verb::Sweep(o) => files.sweep(o),
            Verb::Disasm(o) => {
                files.reads("the program", [&o.program]);
                files.writes("--output", &o.output);
            }
            Verb::Asm(o) => {
                files.reads("the assembly text", [&o.text]);
                files.writes("--output", &Some(o.output.clone()));
            }
            Verb::Inspect(o) => {
                files.reads("the program", [&o.program]);
                files.writes("--output", &o.output);
            }
            Verb::Report(o) => {
                files.reads("a report", &o.reports);
                files.writes("--output", &o.output);
                files.reads("the model", &o.model);
                files.writes("--csv", &o.csv);
                files.views(&o.view);
                files.folders.extend(o.svg.clone());
            }
            Verb::Replay(o) => {
                files.reads("the report", [&o.report]);
                files.reads("the model", &o.model);
                files.inputs(&o.input);
                files.writes("--output", &o.output);
            }
            Verb::Zoo(Zoo::Make(o)) => {
                files.reads("a table", &o.tables);
                files.folders.push(o.output.clone());
            }
            Verb::Machine(Machine::Import(o)) => {
                files.reads("a table", &o.tables);
                files.writes("--output", &o.output);
            }
            Verb::Paper(o) => files.folders.extend(o.output.clone()),
            Verb::Man { output } => files.folders.push(output.clone()),
            Verb::Verify(o) => files.reads("the program", [&o.program]),
            Verb::Check(o) => files.reads("the model", [&o.model]),
            Verb::Diff(o) => {
                files.reads("the program", [&o.before, &o.after]);
                files.inputs(&o.input);
            }
            Verb::Machine(
                Machine::List { .. }
                | Machine::Show { .. }
                | Machine::Diff { .. }
                | Machine::Check { .. },
            )
            | Verb::Ops(_)
            | Verb::Zoo(Zoo::List { .. })
            | Verb::Completions { .. } => {}
        }
        files
    }

    fn run(&mut self, o: &Run) {
        self.reads("the model", [&o.model]);
        self.inputs(&o.input);
        self.reads("the file of labels", &o.labels);
        self.reads("the file of expected outputs", &o.expect);
        self.writes("--output", &o.output);
        self.writes("--report", &o.report);
        self.writes("--latency", &o.latency);
        self.writes("--trace", &o.trace);
        self.views(&o.view);
        self.folders.extend(o.dump.clone());
        self.compilation(&o.compilation);
    }

    fn sweep(&mut self, o: &Sweep) {
        self.reads("the specification", &o.spec);
        self.folders.extend(o.output.clone());
        match &o.verb {
            Some(SweepVerb::Merge { output, .. }) => self.folders.push(output.clone()),
            Some(SweepVerb::Serve { spec, output }) => {
                self.reads("the specification", [spec]);
                self.folders.extend(output.clone());
            }
            Some(SweepVerb::Export { spec, output, .. }) => {
                self.reads("the specification", [spec]);
                self.writes("--output", output);
            }
            Some(SweepVerb::Report(o)) => {
                self.writes("--output", &o.output);
                self.folders.extend(o.svg.clone());
            }
            None => {}
        }
    }

    fn compilation(&mut self, o: &Compilation) {
        self.reads("the mapping file", &o.mapping_file);
        self.reads("the calibration data", &o.calibrate);
        self.reads("the calibration", &o.calibration);
        self.reads("the file of densities", &o.pruning.prune_file);
        self.reads("the file of labels", &o.pruning.calibration_labels);
        let machines = o.machine.names.iter().map(PathBuf::from);
        for machine in machines.filter(|path| path.is_file()) {
            self.reads("the machine file", [&machine]);
        }
        self.writes("--save-mapping", &o.save_mapping);
        self.writes("--save-calibration", &o.save_calibration);
        self.writes("--save-densities", &o.pruning.save_densities);
        self.writes("--save-onnx", &o.pruning.save_onnx);
        self.folders.extend(o.dump_ir.clone());
    }

    fn reads<'a>(&mut self, what: &'static str, paths: impl IntoIterator<Item = &'a PathBuf>) {
        let paths = paths.into_iter().cloned();
        self.reads.extend(paths.map(|path| Named { what, path }));
    }

    /// Inputs, `[NAME=]FILE` each.
    fn inputs(&mut self, words: &[String]) {
        for word in words {
            let whole = Path::new(word);
            let file = word.split_once('=').map(|(_, file)| Path::new(file));
            let path = if whole.exists() {
                whole
            } else {
                file.unwrap_or(whole)
            };
            self.reads("an input", [&path.to_owned()]);
        }
    }

    fn views(&mut self, views: &[View]) {
        for view in views {
            let path = view.path.clone();
            if view.is_folder() {
                self.folders.push(path);
            } else {
                let what = "--view";
                self.writes.push(Named { what, path });
            }
        }
    }

    #[expect(clippy::ref_option)] // The options are fields of the command line.
    fn writes(&mut self, what: &'static str, path: &Option<PathBuf>) {
        let path = path.clone();
        self.writes.extend(path.map(|path| Named { what, path }));
    }
}
