//! Options that were given and would change nothing: a program is compiled already.

use super::args::{Compilation, Verb};
use super::failure::Failure;
use super::output;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};
use scnn_isa::file::MAGIC;
use std::path::Path;

/// Refuses options of a compilation where a program is given instead of a model.
pub fn reject_unused_options(verb: &Verb, matches: &ArgMatches) -> Result<(), Failure> {
    // A machine may price a program otherwise, and its host segments run on this host. A snapshot without inputs is of
    // noise, which has a seed.
    let meant = [
        "names",
        "settings",
        "progress",
        "quiet",
        "verbose",
        "runtime",
        "host_library",
    ];
    let (model, more) = match verb {
        Verb::Run(options) => (&options.model, None),
        Verb::Snapshot(options) => (&options.model, Some("seed")),
        _ => return Ok(()),
    };
    if !is_program(model) {
        return Ok(());
    }
    let Some((_, given)) = matches.subcommand() else {
        return Ok(());
    };
    let compilation = Compilation::augment_args(Command::new(""));
    let idle: Vec<String> = compilation
        .get_arguments()
        .filter(|argument| {
            let id = argument.get_id().as_str();
            !meant.contains(&id) && more != Some(id)
        })
        .filter(|argument| {
            let source = given.value_source(argument.get_id().as_str());
            source == Some(ValueSource::CommandLine)
        })
        .filter_map(|argument| Some(format!("`--{}`", argument.get_long()?)))
        .collect();
    if idle.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(&format!(
        "{} would change nothing: `{}` is compiled already; give the options to `scnnc compile`, or the ONNX file here",
        idle.join(", "),
        model.display()
    )))
}

/// Whether a file is a program: by its name, or, of standard input and pipes, by its first bytes.
pub fn is_program(path: &Path) -> bool {
    if output::is_stream(path) {
        return output::stream_begins_with(path, &MAGIC);
    }
    path.extension()
        .is_some_and(|extension| extension == "scnn")
}
