//! A limit on the memory of this process, so that a small file cannot ask for all of the machine's.
//!
//! [`Counting`], the allocator of a process that is the command line, counts bytes. What goes beyond `--limit-memory` ends the process with a diagnostic and exit
//! status 1, whoever asked for it: a constant that tract unfolds, an array with an absurd shape, a table of a program.
//! Each thread adds up small blocks by itself and tells the count of all now and then, which is an atomic addition.

use super::failure::Failure;
use super::{interrupt, messages};
use crate::codes::Code;
use mimalloc::MiMalloc;
use scnn_isa::diagnostic::{Diagnostic, Location, Place};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The limit where the machine does not tell how much memory it has.
const FALLBACK_BYTES: u64 = 16 << 30;

/// Bytes in use that threads have told; below zero for moments, when one frees what another has not told yet.
static USED: AtomicI64 = AtomicI64::new(0);
static LIMIT: AtomicU64 = AtomicU64::new(u64::MAX);
static SUBJECT: OnceLock<String> = OnceLock::new();

/// Bytes that a thread takes or gives back before it tells.
const UNTOLD_BYTES: i64 = 64 << 10;

thread_local! {
    /// Bytes that this thread has taken, less those that it has given back, since it told.
    static UNTOLD: Cell<i64> = const { Cell::new(0) };
}

/// Sets the limit, and the file that diagnostics name: what the command is about.
pub fn limit(bytes: Option<u64>, subject: Option<String>) {
    if let Some(subject) = subject {
        // Set once, at the start.
        let _ = SUBJECT.set(subject);
    }
    LIMIT.store(bytes.unwrap_or_else(default_limit), Ordering::Relaxed);
}

/// The limit in force, bytes; where none was set, what a command would have without an option.
pub fn limit_bytes() -> u64 {
    match LIMIT.load(Ordering::Relaxed) {
        u64::MAX => default_limit(),
        limit => limit,
    }
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

/// Memory in use beyond which what is free is given back between the stages of a command, bytes.
const RELEASE_ABOVE_BYTES: u64 = 256 << 20;

/// `mi_option_purge_delay` of mimalloc.h, which the crate does not name: milliseconds for which free pages are kept.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Gives back what is free, and from now on soon, if much is in use: a large model needs the memory, a small one the time.
pub fn release_free_pages() {
    if USED.load(Ordering::Relaxed) > RELEASE_ABOVE_BYTES as i64 {
        // SAFETY: both may be called at any time, by any thread.
        unsafe {
            libmimalloc_sys::mi_option_set(PURGE_DELAY, 10);
            libmimalloc_sys::mi_collect(true);
        }
    }
}

/// Two allocators, counted: mimalloc, which keeps pages for what is allocated next, and for large blocks the system's,
/// which gives them back at once. Pages that come and go would be a fifth of what a small model takes to compile; large
/// blocks that stay would be more memory than twice the model's.
pub struct Counting;

/// Bytes from which a block is large.
const LARGE: usize = 16 << 20;

impl Counting {
    fn allocator(bytes: usize) -> &'static dyn GlobalAlloc {
        if bytes < LARGE { &MiMalloc } else { &System }
    }

    fn take(bytes: usize) {
        if let Some(used) = Self::count(bytes as i64)
            && u64::try_from(used).is_ok_and(|used| used > LIMIT.load(Ordering::Relaxed))
        {
            exceeded(bytes as u64);
        }
    }

    fn give_back(bytes: usize) {
        Self::count(-(bytes as i64));
    }

    /// Counts bytes; those in use by all threads, where this one tells them.
    fn count(bytes: i64) -> Option<i64> {
        let told = UNTOLD.try_with(|untold| {
            let sum = untold.get().saturating_add(bytes);
            let tells = sum.abs() >= UNTOLD_BYTES;
            untold.set(if tells { 0 } else { sum });
            tells.then_some(sum)
        });
        // A thread that ends has no count of its own any more.
        let told = told.unwrap_or(Some(bytes))?;
        let before = USED.fetch_add(told, Ordering::Relaxed);
        Some(before.saturating_add(told))
    }
}

// SAFETY: every call goes with the same arguments to one of two allocators, and a block back to the one that it is
// from, as its size tells; only numbers are kept beside them.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::take(layout.size());
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { Self::allocator(layout.size()).alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::take(layout.size());
        // SAFETY: likewise.
        unsafe { Self::allocator(layout.size()).alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::give_back(layout.size());
        // SAFETY: likewise.
        unsafe { Self::allocator(layout.size()).dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if (layout.size() < LARGE) == (size < LARGE) {
            Self::take(size);
            Self::give_back(layout.size());
            // SAFETY: likewise.
            return unsafe { Self::allocator(size).realloc(pointer, layout, size) };
        }
        // SAFETY: the caller's `size` is not zero and, rounded up to the alignment, no overflow.
        let moved = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !moved.is_null() {
            // SAFETY: both blocks have so many bytes, and a new block overlaps no other.
            unsafe {
                moved.copy_from_nonoverlapping(pointer, layout.size().min(size));
                self.dealloc(pointer, layout);
            }
        }
        moved
    }
}

/// Ends the process. The first thread that gets here lifts the limit, so that it can say why; others go on meanwhile.
fn exceeded(bytes: u64) {
    let limit = LIMIT.swap(u64::MAX, Ordering::Relaxed);
    if limit == u64::MAX {
        return;
    }
    let diagnostic = Diagnostic {
        code: Code::MemoryLimit.into(),
        message: format!(
            "more memory is needed than the limit of {} MB allows; the piece that exceeds it has {} MB",
            limit / 1_000_000,
            bytes.div_ceil(1_000_000)
        ),
        location: SUBJECT.get().map(|file| Location {
            file: Some(file.clone()),
            place: Place::File,
        }),
        attribute: None,
        allowed: None,
        notes: Vec::new(),
        help: Some("if that is meant, raise the limit with `--limit-memory`".to_owned()),
    };
    messages::tell(&super::failure::drawn(&diagnostic));
    interrupt::remove_temporaries();
    std::process::exit(i32::from(Failure::Refused(Vec::new()).status()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An option is known by its number, which another version might give to another.
    #[test]
    fn the_option_is_the_delay_of_purges() {
        // SAFETY: options are read at any time.
        let default = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(default, 1000, "the default that mimalloc documents");
    }

    /// Other tests run beside it: each has far less in use.
    #[test]
    fn what_threads_take_and_give_back_is_counted_to_what_they_have_not_told() {
        const EACH: usize = 1 << 30;
        let used = || USED.load(Ordering::Relaxed);
        let before = used();
        for _ in 0..EACH / 1000 {
            Counting::take(1000);
        }
        let taken = used() - before;
        assert!((taken - EACH as i64).abs() < 100 << 20, "{taken}");
        let given = std::thread::spawn(|| {
            for _ in 0..EACH / 1000 {
                Counting::give_back(1000);
            }
        });
        given.join().unwrap();
        let left = used() - before;
        assert!(left.abs() < 100 << 20, "{left}");
    }

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
