//! `completions` and `man`: what shells and `man` want to know of the command line, made from its own table.

use super::args::Arguments;
use super::failure::Failure;
use super::output;
use crate::codes::Code;
use clap::CommandFactory;
use std::path::Path;

/// `scnnc completions SHELL`.
pub fn completions(shell: clap_complete::Shell) {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "scnnc", &mut text);
    output::print(&String::from_utf8_lossy(&text));
}

/// `scnnc man`: a page for the command, for each verb, and for the verbs of verbs.
pub fn manual(folder: &Path) -> Result<(), Failure> {
    output::folder(folder)?;
    let mut command = Arguments::command();
    command.build();
    pages(folder, "scnnc", &command)
}

fn pages(folder: &Path, name: &str, command: &clap::Command) -> Result<(), Failure> {
    page(folder, name, command)?;
    // Each `help` has a page of every verb beside it, which says nothing of its own.
    let verbs = command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help");
    for verb in verbs {
        pages(folder, &format!("{name}-{}", verb.get_name()), verb)?;
    }
    Ok(())
}

fn page(folder: &Path, name: &str, command: &clap::Command) -> Result<(), Failure> {
    let path = folder.join(format!("{name}.1"));
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut text)
        .map_err(|e| Failure::file(Code::CannotWrite, &path, &e.to_string()))?;
    output::write(&path, &text)
}
