//! Ctrl-C and termination: the process ends at once and leaves no half-written file.
//!
//! Files are written to temporaries and renamed ([`super::output`]); the temporaries of the moment are listed here,
//! and removed before the process ends.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

static TEMPORARIES: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Ends the process on an interrupt from now on, with exit status 128 + the signal's number, as shells expect.
#[cfg(unix)]
pub fn install() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    // Without a handler the signal ends the process all the same, and only a temporary may stay.
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]) else {
        return;
    };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            remove_temporaries();
            std::process::exit(128 + signal);
        }
    });
}

/// Elsewhere an interrupt ends the process without asking it; a temporary may stay.
#[cfg(not(unix))]
pub fn install() {}

/// A temporary file that is removed when the process ends early; forget it with [`done`].
pub fn writing(path: &Path) {
    let mut all = TEMPORARIES.lock().unwrap_or_else(PoisonError::into_inner);
    all.insert(path.to_owned());
}

/// Unregisters a temporary that was renamed or removed.
pub fn done(path: &Path) {
    let mut all = TEMPORARIES.lock().unwrap_or_else(PoisonError::into_inner);
    all.remove(path);
}

/// Removes the temporaries of the moment.
pub fn remove_temporaries() {
    let all = TEMPORARIES.try_lock().map(|all| all.clone());
    for path in all.unwrap_or_default() {
        // One that is gone was renamed.
        let _ = std::fs::remove_file(path);
    }
}
