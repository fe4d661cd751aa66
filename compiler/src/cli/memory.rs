//! A limit on the memory of this process, so that a small file cannot ask for all of the machine's.
//!
//! The global allocator counts bytes. What goes beyond `--limit-memory` ends the process with a diagnostic and exit
//! status 1, whoever asked for it: a constant that tract unfolds, an array with an absurd shape, a table of a program.
//! The count costs an atomic addition for each allocation; loops that matter do not allocate.

use super::failure::Failure;
use super::{interrupt, output};
use scnn_isa::diagnostic::{Code, Diagnostic, Location, Place};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The limit where the machine does not tell how much memory it has.
const FALLBACK_BYTES: u64 = 16 << 30;

static USED: AtomicU64 = AtomicU64::new(0);
static LIMIT: AtomicU64 = AtomicU64::new(u64::MAX);
static SUBJECT: OnceLock<String> = OnceLock::new();

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Sets the limit, and the file that diagnostics name: what the command is about.
pub fn limit(bytes: Option<u64>, subject: Option<String>) {
    if let Some(subject) = subject {
        // Set once, at the start.
        let _ = SUBJECT.set(subject);
    }
    LIMIT.store(bytes.unwrap_or_else(default_limit), Ordering::Relaxed);
}

/// The limit in force, bytes.
pub fn limit_bytes() -> u64 {
    LIMIT.load(Ordering::Relaxed)
}

/// Three quarters of the machine's memory.
fn default_limit() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok());
    kilobytes.map_or(FALLBACK_BYTES, |kilobytes| kilobytes * 1024 / 4 * 3)
}

/// Reads `4GB`, `512MiB`, `1000000`.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1_048_576.0,
        "gib" => 1_073_741_824.0,
        _ => return Err("give a number with B, kB, MB, GB, KiB, MiB or GiB".to_owned()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "give a number of bytes".to_owned())?;
    let bytes = number * factor;
    // Less than what the program itself needs to tell that it is too little makes no sense.
    if (16e6..=1e15).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err("the limit is from 16 MB to 1 PB".to_owned())
    }
}

/// The system's allocator, counted.
struct Counting;

impl Counting {
    fn take(bytes: usize) {
        let before = USED.fetch_add(bytes as u64, Ordering::Relaxed);
        if before.saturating_add(bytes as u64) > LIMIT.load(Ordering::Relaxed) {
            exceeded(bytes as u64);
        }
    }

    fn give_back(bytes: usize) {
        USED.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator with the same arguments; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::take(layout.size());
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::take(layout.size());
        // SAFETY: likewise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::give_back(layout.size());
        // SAFETY: likewise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::take(size);
        Self::give_back(layout.size());
        // SAFETY: likewise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Ends the process. The first thread that gets here lifts the limit, so that it can say why; others go on meanwhile.
fn exceeded(bytes: u64) {
    let limit = LIMIT.swap(u64::MAX, Ordering::Relaxed);
    if limit == u64::MAX {
        return;
    }
    let diagnostic = Diagnostic {
        code: Code::MemoryLimit,
        message: format!(
            "more memory is needed than the limit of {} MB allows; the piece that exceeds it has {} MB",
            limit / 1_000_000,
            bytes.div_ceil(1_000_000)
        ),
        location: SUBJECT.get().map(|file| Location {
            file: Some(file.clone()),
            place: Place::File,
        }),
        notes: Vec::new(),
        help: Some("if that is meant, raise the limit with `--limit-memory`".to_owned()),
    };
    output::tell(&diagnostic.to_string());
    interrupt::remove_temporaries();
    std::process::exit(i32::from(Failure::Refused(Vec::new()).status()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse("2GB"), Ok(2_000_000_000));
        assert_eq!(parse("1.5 GiB"), Ok(1_610_612_736));
        assert_eq!(parse("64000000"), Ok(64_000_000));
        for wrong in ["", "GB", "12", "-4GB", "4 apples", "1e99GB"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
