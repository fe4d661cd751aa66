//! Files that are written whole or not at all, and standard output that may be closed.

use super::failure::Failure;
use scnn_isa::diagnostic::Code;
use std::io::Write;
use std::path::Path;

/// Writes a file: to a temporary beside it, then renamed.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_with(path, |file| file.write_all(bytes))
}

/// Writes a file piece by piece: to a temporary beside it, then renamed.
pub fn write_with<T, E: std::fmt::Display + From<std::io::Error>>(
    path: &Path,
    pieces: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, Failure> {
    let attempt = || -> Result<T, E> {
        let folder = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        let written = pieces(&mut file)?;
        file.as_file().sync_all()?;
        set_usual_permissions(file.path())?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(written)
    };
    attempt()
        .map_err(|e| Failure::file(Code::CannotWrite, path, &format!("cannot be written: {e}")))
}

/// Creates a folder and its parents.
pub fn folder(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path)
        .map_err(|e| Failure::file(Code::CannotWrite, path, &format!("cannot be created: {e}")))
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|e| Failure::file(Code::CannotRead, path, &format!("cannot be read: {e}")))
}

/// Prints to standard output; a reader that went away (`| head`) is no failure.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if out
        .write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_err()
    {
        std::process::exit(0);
    }
}

/// Temporary files are private; what a user asks for is as readable as any other file.
fn set_usual_permissions(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}
