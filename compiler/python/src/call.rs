//! Long calls: work on a thread of its own, while the caller's waits without the interpreter's lock.
//!
//! The waiting thread passes stages and warnings to a Python listener, and looks for signals twenty times a second. An
//! interrupt, or an exception of the listener, ends the call at once; the work is then abandoned, and its thread ends
//! where its next stage or sample would begin. An internal error becomes an exception and not the end of the process.

use crate::error;
use pyo3::prelude::*;
use scnnc_cli::library::{Failure, Listener};
use std::any::Any;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How often the waiting thread looks for signals.
const WAIT: Duration = Duration::from_millis(50);

/// The stack of a working thread, bytes: as much as the main thread of a command has.
const STACK: usize = 8 << 20;

/// What the work tells of itself.
enum Event {
    Stage {
        number: usize,
        count: usize,
        name: String,
    },
    Reached {
        done: usize,
        length: usize,
    },
    Warning(String),
}

/// Unwinds the thread of work that nobody waits for.
struct Abandoned;

/// The working thread's end of the conversation.
struct Speaker {
    events: Sender<Event>,
    abandoned: Arc<AtomicBool>,
}

impl Speaker {
    fn say(&self, event: Event) {
        if self.abandoned.load(Ordering::Relaxed) {
            resume_unwind(Box::new(Abandoned));
        }
        // Without a receiver the work is abandoned, as the next event finds.
        let _ = self.events.send(event);
    }
}

impl Listener for Speaker {
    fn stage(&self, number: usize, count: usize, name: &str) {
        let name = name.to_owned();
        self.say(Event::Stage {
            number,
            count,
            name,
        });
    }

    fn reached(&self, done: usize, length: usize) {
        self.say(Event::Reached { done, length });
    }

    fn warning(&self, text: &str) {
        self.say(Event::Warning(text.to_owned()));
    }
}

/// Does `work` on a thread of its own and returns its result. `listener` has the methods `stage(number, count, name)`,
/// `reached(done, length)` and `warning(text)`.
///
/// # Errors
/// The work's failure, an internal error, what the listener raises, or `KeyboardInterrupt`.
pub fn long<T: Send + 'static>(
    py: Python<'_>,
    listener: &Bound<'_, PyAny>,
    work: impl FnOnce(Box<dyn Listener>) -> Result<T, Failure> + Send + 'static,
) -> PyResult<T> {
    let (events, mut heard) = channel();
    let abandoned = Arc::new(AtomicBool::new(false));
    let speaker = Box::new(Speaker {
        events: events.clone(),
        abandoned: Arc::clone(&abandoned),
    });
    let job = move || {
        // The channel stays open until all is done, whenever the speaker goes.
        let _open = events;
        work(speaker)
    };
    let thread = Builder::new().name("scnnc".to_owned()).stack_size(STACK);
    let thread = thread.spawn(job)?;
    loop {
        let (receiver, event) = py.detach(move || next(heard));
        heard = receiver;
        let told = match event {
            Ok(event) => tell(listener, event),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if let Err(raised) = told.and_then(|()| py.check_signals()) {
            abandoned.store(true, Ordering::Relaxed);
            return Err(raised);
        }
    }
    finish(py, thread)
}

fn next(heard: Receiver<Event>) -> (Receiver<Event>, Result<Event, RecvTimeoutError>) {
    let event = heard.recv_timeout(WAIT);
    (heard, event)
}

fn tell(listener: &Bound<'_, PyAny>, event: Event) -> PyResult<()> {
    match event {
        Event::Stage {
            number,
            count,
            name,
        } => listener.call_method1("stage", (number, count, name)),
        Event::Reached { done, length } => listener.call_method1("reached", (done, length)),
        Event::Warning(text) => listener.call_method1("warning", (text,)),
    }
    .map(drop)
}

fn finish<T: Send>(py: Python<'_>, thread: JoinHandle<Result<T, Failure>>) -> PyResult<T> {
    match py.detach(|| thread.join()) {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(failure)) => Err(error::raised(py, &failure)),
        Err(panic) => Err(error::internal(py, &words_of(&*panic))),
    }
}

/// Where the latest panic was.
static LATEST: Mutex<String> = Mutex::new(String::new());

/// Keeps the place of a panic for the exception that it becomes, instead of printing it.
pub fn remember_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(String::new, ToString::to_string);
        let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = place;
    }));
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
    let place = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    format!(
        "{} at {place}",
        message.unwrap_or("a panic without a message")
    )
}
