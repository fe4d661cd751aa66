//! `scnnc`, the command line: joins the compiler and the simulator, reads and writes files, talks to people.
//!
//! The binary and the command of the Python wheel both call [`run`]; bindings of other languages use [`library`].
//!
//! Results go to standard output, diagnostics to standard error. Exit status: 0 done, 1 the input was refused,
//! 2 the command line was wrong, 3 a check that was asked for did not hold, 4 nothing of a model that is checked would run on
//! the machine, 101 an internal error, 130 interrupted.

mod advise;
mod args;
mod bindings;
mod build;
mod check;
pub mod codes;
mod compare;
mod diff;
mod dump;
mod explain;
mod failure;
mod files;
mod given;
mod grid;
mod highlight;
mod inspect;
mod internal;
mod interrupt;
mod invocation;
mod latency;
pub mod library;
mod machine;
mod markup;
mod memory;
mod messages;
mod model;
mod names;
mod operators;
mod output;
mod paper;
mod program;
mod prune;
mod reduce;
mod replay;
mod report;
mod run;
mod samples;
mod sensitivity;
mod shell;
mod snapshot;
mod stages;
mod sweep;
mod table;
mod tensors;
mod trace;
mod view;
mod widths;
mod zoo;

pub use invocation::Invocation;
pub use memory::Counting;

use args::{Arguments, Verb};
use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use failure::Failure;
use std::path::Path;

/// Exit status of a command that did what was asked.
const DONE: u8 = 0;

/// Does what a command line says; returns the exit status. It is meant for a process of its own: it handles signals and
/// panics, and keeps the limit of memory where [`Counting`] is the allocator.
pub fn run(invocation: &Invocation) -> u8 {
    interrupt::install();
    let matches = match Arguments::command().try_get_matches_from(invocation.words_for_clap()) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => match file_for_verb(&error) {
            Some(failure) => return finish(Err(failure)),
            None => error.exit(),
        },
        // Help and version are results like others.
        Err(text) => {
            output::print_styled(&text.render().ansi().to_string());
            return DONE;
        }
    };
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let subject = arguments.subject().map(|path| path.display().to_string());
    memory::limit(arguments.limit_memory, subject);
    if arguments.reducing {
        output::discard();
    }
    internal::guard(&arguments, invocation, || {
        run_verb(&arguments, &matches, invocation)
    })
}

/// What to say to a file that stands where a verb should.
fn file_for_verb(error: &clap::Error) -> Option<Failure> {
    let ContextValue::String(word) = error.get(ContextKind::InvalidSubcommand)? else {
        return None;
    };
    let path = Path::new(word);
    if path.is_file() {
        let verb = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => "report",
            Some("s") => "asm",
            Some("yaml" | "yml") => "sweep",
            _ => "run",
        };
        return Some(Failure::usage(&format!(
            "`{word}` is a file: say what to do with it, as in `scnnc {verb} {word}`"
        )));
    }
    let is_model = path.extension().is_some_and(|e| e == "onnx" || e == "scnn");
    is_model.then(|| {
        Failure::usage(&format!(
            "say what to do, as in `scnnc run {word}`; but there is no file `{word}`"
        ))
    })
}

fn run_verb(arguments: &Arguments, matches: &ArgMatches, invocation: &Invocation) -> u8 {
    if let Some(code) = &arguments.explain {
        return finish(program::explain(code));
    }
    let Some(verb) = &arguments.verb else {
        return finish(Err(Failure::usage(
            "say what to do: `scnnc run MODEL.onnx`, or `scnnc --help`",
        )));
    };
    if let Some(threads) = arguments.threads {
        // Fails only when a pool exists already, and none does before this line.
        let _ = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global();
    }
    if let Err(failure) = given::reject_unused_options(verb, matches) {
        return finish(Err(failure));
    }
    if let Err(failure) = files::check(verb) {
        return finish(Err(failure));
    }
    finish(match verb {
        Verb::Compile(options) => build::compile(options),
        Verb::Run(options) => run::run(options, replay::words(matches)),
        Verb::Compare(options) => compare::compare(options),
        Verb::Advise(options) => advise::advise(options),
        Verb::Explain(options) => explain::explain(options),
        Verb::Sensitivity(options) => sensitivity::sensitivity(options),
        Verb::Sweep(options) => sweep::sweep(options, invocation.code.as_deref()),
        Verb::Disasm(options) => program::disasm(options),
        Verb::Asm(options) => program::asm(options),
        Verb::Verify(options) => program::verify(options),
        Verb::Inspect(options) => inspect::inspect(options),
        Verb::Diff(options) => diff::diff(options),
        Verb::Report(options) => report::report(options),
        Verb::Replay(options) => replay::replay(options),
        Verb::Machine(verb) => machine::machine(verb),
        Verb::Ops(options) => {
            operators::ops(options);
            Ok(())
        }
        Verb::Check(options) => check::check(options),
        Verb::Zoo(verb) => zoo::zoo(verb),
        Verb::Paper(options) => paper::paper(options),
        Verb::Snapshot(options) => snapshot::snapshot(options),
        Verb::Completions { shell } => {
            shell::completions(*shell);
            Ok(())
        }
        Verb::Man { output } => shell::manual(output),
    })
}

fn finish(result: Result<(), Failure>) -> u8 {
    match result {
        Ok(()) => DONE,
        Err(failure) => {
            failure.report();
            failure.status()
        }
    }
}
