//! Files that are written whole or not at all, and standard output that may be closed.

use super::failure::Failure;
use super::interrupt;
use crate::codes::{Code, CompilerCode};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes a file: to a temporary beside it, then renamed.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_with(path, |file| file.write_all(bytes))
}

/// Writes a file piece by piece: to a temporary beside it, then renamed.
pub fn write_with<T, E: std::fmt::Display + From<std::io::Error>>(
    path: &Path,
    pieces: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, Failure> {
    let failed = |e: E| Failure::file(Code::CannotWrite, path, &format!("cannot be written: {e}"));
    if DISCARD.load(Ordering::Relaxed) {
        return pieces(&mut std::io::sink()).map_err(failed);
    }
    let attempt = || -> Result<T, E> {
        let folder = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        // A device or a pipe cannot be replaced by a file.
        if path.exists() && !path.is_file() {
            let mut device = std::fs::File::options().write(true).open(path)?;
            return pieces(&mut device);
        }
        let mut file = temporary_in(folder)?;
        let temporary = file.path().to_owned();
        interrupt::writing(&temporary);
        let finish = || -> Result<T, E> {
            let written = pieces(&mut file)?;
            file.as_file().sync_all()?;
            Ok(written)
        };
        let written = finish();
        let kept = written.and_then(|written| {
            file.persist(path).map_err(|error| error.error)?;
            Ok(written)
        });
        interrupt::done(&temporary);
        kept
    };
    attempt().map_err(failed)
}

/// Creates a folder and its parents.
pub fn folder(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path)
        .map_err(|e| Failure::file(Code::CannotWrite, path, &format!("cannot be created: {e}")))
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| {
        Failure::file(
            CompilerCode::CannotRead,
            path,
            &format!("cannot be read: {e}"),
        )
    })
}

/// Prints to standard output. A reader that went away (`| head`) is no failure; a full disk is one.
pub fn print(text: &str) {
    print_to(&mut std::io::stdout().lock(), text);
}

/// Prints text with colours: to a terminal as it is, elsewhere and under `NO_COLOR` without them.
pub fn print_styled(text: &str) {
    print_to(&mut anstream::stdout().lock(), text);
}

fn print_to(out: &mut impl Write, text: &str) {
    let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) else {
        return;
    };
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return;
    }
    let failure = Failure::file(
        Code::CannotWrite,
        Path::new("standard output"),
        &format!("cannot be written: {error}"),
    );
    failure.report();
    std::process::exit(i32::from(failure.status()));
}

/// Prints a value as JSON.
pub fn print_json(value: &impl serde::Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => unreachable!("values to print have names as keys: {error}"),
    }
}

/// Prints a line to standard error; if that is closed, there is no one to tell.
pub fn tell(text: &str) {
    let mut error = anstream::stderr().lock();
    let _ = writeln!(error, "{text}");
}

/// Whether files are written to nowhere: when a failing command is repeated to reduce its model.
static DISCARD: AtomicBool = AtomicBool::new(false);

/// Writes no files from now on.
pub fn discard() {
    DISCARD.store(true, Ordering::Relaxed);
}

/// Temporary files are private; what a user asks for is as readable as the user's other files.
fn temporary_in(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Less what the user's mask takes away.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
