//! Files that are written whole or not at all, and standard output that may be closed. `-` is standard input and output.

use super::failure::Failure;
use super::interrupt;
use crate::codes::{Code, CompilerCode};
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Writes a file: to a temporary beside it, then renamed.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_with(path, |file| file.write_all(bytes))
}

/// Writes a file piece by piece: to a temporary beside it, then renamed.
pub fn write_with<T, E: std::fmt::Display>(
    path: &Path,
    pieces: impl FnOnce(&mut Pending) -> Result<T, E>,
) -> Result<T, Failure> {
    let mut file = Pending::begin(path)?;
    let written = pieces(&mut file).map_err(|error| unwritable(path, &error))?;
    file.finish()?;
    Ok(written)
}

/// Writes a value as JSON.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), Failure> {
    let json = serde_json::to_vec_pretty(value)
        .map_err(|error| Failure::file(Code::CannotWrite, path, &error.to_string()))?;
    write(path, &json)
}

/// Whether a file is to be JSON: by its extension.
pub fn is_json(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "json")
}

/// Whether a path is the word for standard input and output.
pub fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Whether a path can be read once only: standard input, a pipe.
pub fn is_stream(path: &Path) -> bool {
    is_standard(path) || (path.exists() && !path.is_file() && !path.is_dir())
}

/// A file under way, whole or not at all: to a temporary beside it, then renamed. A device or a pipe, which cannot be
/// replaced by a file, is written as it is.
pub struct Pending {
    path: PathBuf,
    to: Target,
}

enum Target {
    Nowhere,
    StandardOutput,
    Device(std::fs::File),
    Temporary(tempfile::NamedTempFile),
}

impl Pending {
    /// Begins to write the file at a path.
    pub fn begin(path: &Path) -> Result<Self, Failure> {
        let open = || -> std::io::Result<Target> {
            Ok(if DISCARD.load(Ordering::Relaxed) {
                Target::Nowhere
            } else if is_standard(path) {
                Target::StandardOutput
            } else if is_stream(path) {
                Target::Device(std::fs::File::options().write(true).open(path)?)
            } else {
                let file = temporary_in(folder_of(path))?;
                interrupt::writing(file.path());
                Target::Temporary(file)
            })
        };
        Ok(Self {
            path: path.to_owned(),
            to: open().map_err(|error| unwritable(path, &error))?,
        })
    }

    /// Ends it: on the disk, under its own name.
    pub fn finish(mut self) -> Result<(), Failure> {
        let flushed = self.flush();
        let Self { path, to } = &mut self;
        flushed.map_err(|error| unwritable(path, &error))?;
        let Target::Temporary(file) = std::mem::replace(to, Target::Nowhere) else {
            return Ok(());
        };
        let temporary = file.path().to_owned();
        let synced = file.as_file().sync_all();
        let kept = synced.and_then(|()| file.persist(&*path).map_err(|error| error.error));
        interrupt::done(&temporary);
        kept.map(|_| ()).map_err(|error| unwritable(path, &error))
    }

    /// Why it cannot be written.
    pub fn failed(&self, error: &std::io::Error) -> Failure {
        unwritable(&self.path, error)
    }
}

impl Write for Pending {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut self.to {
            Target::Nowhere => Ok(bytes.len()),
            Target::StandardOutput => std::io::stdout().write(bytes),
            Target::Device(file) => file.write(bytes),
            Target::Temporary(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match &mut self.to {
            Target::Nowhere => Ok(()),
            Target::StandardOutput => std::io::stdout().flush(),
            Target::Device(file) => file.flush(),
            Target::Temporary(file) => file.flush(),
        }
    }
}

/// Seeks in files alone: discarded output has no positions, and a stream cannot go back to one.
impl Seek for Pending {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        match &mut self.to {
            Target::Nowhere => Ok(0),
            Target::StandardOutput => Err(std::io::ErrorKind::NotSeekable.into()),
            Target::Device(file) => file.seek(to),
            Target::Temporary(file) => file.seek(to),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Target::Temporary(file) = &self.to {
            interrupt::done(file.path());
        }
    }
}

fn unwritable(path: &Path, error: &impl std::fmt::Display) -> Failure {
    Failure::file(
        Code::CannotWrite,
        path,
        &format!("cannot be written: {error}"),
    )
}

fn folder_of(path: &Path) -> &Path {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Creates a folder and its parents.
pub fn folder(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path)
        .map_err(|e| Failure::file(Code::CannotWrite, path, &format!("cannot be created: {e}")))
}

/// Reads a file; a stream is kept, so that it can be read again.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = if is_stream(path) {
        with_stream(path, <[u8]>::to_vec)
    } else {
        std::fs::read(path)
    };
    bytes.map_err(|e| {
        Failure::file(
            CompilerCode::CannotRead,
            path,
            &format!("cannot be read: {e}"),
        )
    })
}

/// Bytes of the streams that were read.
static STREAMS: Mutex<BTreeMap<PathBuf, Vec<u8>>> = Mutex::new(BTreeMap::new());

/// Whether a stream begins with these bytes; one that cannot be read does not.
pub fn stream_begins_with(path: &Path, begin: &[u8]) -> bool {
    with_stream(path, |bytes| bytes.starts_with(begin)).unwrap_or(false)
}

/// Looks at the bytes of a stream, which is read when it is first asked for.
fn with_stream<T>(path: &Path, look: impl FnOnce(&[u8]) -> T) -> std::io::Result<T> {
    let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bytes) = streams.get(path) {
        return Ok(look(bytes));
    }
    let mut bytes = Vec::new();
    if is_standard(path) {
        std::io::stdin().read_to_end(&mut bytes)?;
    } else {
        bytes = std::fs::read(path)?;
    }
    let found = look(&bytes);
    streams.insert(path.to_owned(), bytes);
    Ok(found)
}

/// Prints to standard output, or beside a file that is written there. A reader that went away (`| head`) is no failure; a
/// full disk is one.
pub fn print(text: &str) {
    if TAKEN.load(Ordering::Relaxed) {
        print_to(&mut std::io::stderr().lock(), text);
    } else {
        print_to(&mut std::io::stdout().lock(), text);
    }
}

/// Whether a file is written to standard output.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Reserves standard output for a file: other text goes to standard error from now on.
pub fn take_standard_output() {
    TAKEN.store(true, Ordering::Relaxed);
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

/// Whether files are written to nowhere: when a failing command is repeated to reduce its model.
static DISCARD: AtomicBool = AtomicBool::new(false);

/// Writes no files from now on.
pub fn discard() {
    DISCARD.store(true, Ordering::Relaxed);
}

/// Prefix of the names of temporary files.
pub const TEMPORARY: &str = ".tmp";

/// Temporary files are private; what a user asks for is as readable as the user's other files.
fn temporary_in(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Less what the user's mask takes away.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
