//! Where the stages of a command are shown: as a line that changes, as lines of a log, or by a listener.

use super::Listener;
use crate::messages;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a line that nothing changes is drawn anew.
const TICK: Duration = Duration::from_millis(200);

/// The least time between two lines of a stage in a log.
const PAUSE: Duration = Duration::from_secs(1);

/// Where stages are shown.
pub enum Display {
    /// A line on a terminal; elsewhere it draws nothing.
    Line(ProgressBar),
    /// Lines on standard error, and when the last one was written.
    Log(Mutex<Instant>),
    /// A listener.
    Listener(Box<dyn Listener>),
}

/// The point that a command has reached.
#[derive(Default)]
pub struct Position {
    /// The stage, from 1, and how many there are.
    pub stage: (usize, usize),
    /// Its name.
    pub name: String,
    /// Parts of it that are done, and how many there are; 0 where it does not count.
    pub parts: (usize, usize),
    /// The layer it is at, as in `3/9 conv4`; empty where it names none.
    pub layer: String,
}

impl Position {
    fn head(&self) -> String {
        let Self { stage, name, .. } = self;
        format!("[{}/{}] {name}", stage.0, stage.1)
    }

    /// Whether its parts are worth a bar.
    fn counts(&self) -> bool {
        self.parts.1 > 1
    }
}

impl Display {
    /// A line that is hidden.
    pub fn hidden() -> Self {
        Self::Line(ProgressBar::with_draw_target(
            None,
            ProgressDrawTarget::hidden(),
        ))
    }

    /// A line on the terminal.
    pub fn line() -> Self {
        Self::Line(ProgressBar::with_draw_target(
            None,
            ProgressDrawTarget::stderr(),
        ))
    }

    /// Lines on standard error.
    pub fn log() -> Self {
        Self::Log(Mutex::new(Instant::now()))
    }

    /// A stage begins.
    pub fn stage(&self, at: &Position) {
        match self {
            Self::Line(bar) => {
                bar.set_style(style("{prefix} ({elapsed}) {wide_msg}"));
                bar.reset();
                bar.set_message("");
                bar.set_prefix(at.head());
                bar.enable_steady_tick(TICK);
            }
            Self::Log(last) => {
                messages::tell(&at.head());
                *last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            }
            Self::Listener(listener) => listener.stage(at.stage.0, at.stage.1, &at.name),
        }
    }

    /// The parts of the stage are known.
    pub fn length(&self, at: &Position) {
        if let (Self::Line(bar), true) = (self, at.counts()) {
            bar.set_length(at.parts.1 as u64);
            bar.set_style(style(
                "{prefix} [{bar:30}] {pos}/{len}, {rate}, {eta} left {wide_msg}",
            ));
        }
    }

    /// Another part is done.
    pub fn reached(&self, at: &Position) {
        match self {
            Self::Line(bar) => bar.set_position(at.parts.0 as u64),
            Self::Log(last) => log(last, at),
            Self::Listener(listener) => listener.reached(at.parts.0, at.parts.1),
        }
    }

    /// Another layer is worked on: the `number`th of `count`.
    pub fn layer(&self, at: &Position, number: usize, count: usize) {
        match self {
            Self::Line(bar) => bar.set_message(at.layer.clone()),
            Self::Log(last) => log(last, at),
            Self::Listener(listener) if at.parts.1 == 0 => listener.reached(number, count),
            Self::Listener(_) => {}
        }
    }

    /// Runs `work`, whose lines appear above the progress line.
    pub fn above(&self, work: impl FnOnce()) {
        match self {
            Self::Line(bar) => bar.suspend(work),
            Self::Log(_) | Self::Listener(_) => work(),
        }
    }

    /// Removes the progress line.
    pub fn clear(&self) {
        if let Self::Line(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Writes where a stage is, if the last line is old enough.
fn log(last: &Mutex<Instant>, at: &Position) {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    if last.elapsed() < PAUSE {
        return;
    }
    *last = Instant::now();
    let mut line = at.head();
    // Writing to a string does not fail.
    if at.counts() {
        let _ = write!(line, " {}/{}", at.parts.0, at.parts.1);
    }
    if !at.layer.is_empty() {
        let comma = if at.counts() { "," } else { "" };
        let _ = write!(line, "{comma} {}", at.layer);
    }
    messages::tell(&line);
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let rate = |state: &ProgressState, text: &mut dyn Write| {
        // A text that cannot be written is not drawn.
        let _ = write!(text, "{:.1}/s", state.per_sec());
    };
    style.with_key("rate", rate)
}
