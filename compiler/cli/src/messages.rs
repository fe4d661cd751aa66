//! Messages to people, on standard error.

use std::io::Write;

/// Prints a line to standard error; if that is closed, there is no one to tell.
pub fn tell(text: &str) {
    let mut error = anstream::stderr().lock();
    let _ = writeln!(error, "{text}");
}
