//! How the command line was called: its words, and the command that repeats it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// A call of the command line.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The program and its fixed arguments, in front of the user's: `scnnc`, or `python -m scnnc`.
    pub program: Vec<OsString>,
    /// The words of the user: a verb and its options.
    pub words: Vec<OsString>,
    /// The file that holds this code, an executable or a library, where it is known.
    pub code: Option<PathBuf>,
}

impl Invocation {
    /// The call of a process that is `scnnc`.
    pub fn of_this_process() -> Self {
        let program = std::env::current_exe().ok();
        Self {
            program: program.clone().map(OsString::from).into_iter().collect(),
            words: std::env::args_os().skip(1).collect(),
            code: program,
        }
    }

    /// The words as clap reads them, after a name of the program.
    pub(crate) fn words_for_clap(&self) -> impl Iterator<Item = OsString> {
        let name = OsString::from("scnnc");
        std::iter::once(name).chain(self.words.iter().cloned())
    }

    /// The command with other words; `None` where the path of the program is unknown.
    pub(crate) fn command(&self, words: &[OsString]) -> Option<Command> {
        let (program, leading) = self.program.split_first()?;
        let mut command = Command::new(program);
        command.args(leading).args(words);
        Some(command)
    }
}
