//! The stages of a command: on a terminal the one under way, counted as far as it can be, and the layer it is at; in a log
//! as lines, if they are asked for; with `-v` how long each took.
//!
//! ```text
//! [5/7] map (2s) 12/66 /layer3/conv2/Conv                                   while it is under way, on standard error
//! [7/7] simulate [#####-----] 12/500, 30/s, 16s left 2/4 /conv2/Conv
//! time      import 0.02 s, …, simulate 1.93 s; 2.10 s in all                afterwards, with -v
//! ```

mod display;

use super::{memory, messages, output};
use display::{Display, Position};
use scnn_isa::progress::Progress;
use scnn_simulator::report::StageTime;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much is said beside the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// `-q`: neither progress nor warnings.
    Quiet,
    /// Progress on a terminal.
    Usual,
    /// `-v`: the time of each stage, too.
    Verbose,
}

impl Loudness {
    /// Of the flags `-q` and `-v`.
    pub fn of(quiet: bool, verbose: bool) -> Self {
        match (quiet, verbose) {
            (true, _) => Self::Quiet,
            (false, true) => Self::Verbose,
            (false, false) => Self::Usual,
        }
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Shown {
    /// A line that changes, on a terminal; nothing elsewhere.
    #[default]
    Auto,
    /// A line for each stage, and one a second with the layer under way: for logs.
    Lines,
}

/// Receives the stages and warnings of a command in the place of the terminal.
pub trait Listener: Send + Sync {
    /// A stage begins, the `number`th of about `count`.
    fn stage(&self, number: usize, count: usize, name: &str);
    /// `done` of `length` parts of the stage are done. A stage that does not count its own has its layers for parts.
    fn reached(&self, done: usize, length: usize);
    /// A warning, in a sentence.
    fn warning(&self, text: &str);
}

/// The stages of a command, how many there are and which is under way.
pub struct Stages {
    count: usize,
    loudness: Loudness,
    /// Whether the result is data, so that standard output takes nothing else.
    data: bool,
    display: Display,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    position: Position,
    begin: Option<Instant>,
    done: Vec<(String, Duration)>,
}

impl Stages {
    /// A command of `count` stages.
    pub fn new(count: usize, loudness: Loudness, shown: Shown) -> Self {
        let display = match (loudness, shown) {
            (Loudness::Quiet, _) => Display::hidden(),
            (_, Shown::Auto) => Display::line(),
            (_, Shown::Lines) => Display::log(),
        };
        Self {
            count,
            loudness,
            data: false,
            display,
            state: Mutex::default(),
        }
    }

    /// The same with a listener in the place of the terminal.
    pub fn heard_by(mut self, listener: Box<dyn Listener>) -> Self {
        self.display = Display::Listener(listener);
        self
    }

    /// The same for a command whose standard output is data for a program, if `data`.
    pub fn with_data(mut self, data: bool) -> Self {
        self.data = data;
        self
    }

    /// Whether progress and warnings are not wanted.
    pub fn quiet(&self) -> bool {
        self.loudness == Loudness::Quiet
    }

    /// A stage begins, and the one before ends.
    pub fn begin(&self, name: &str) {
        self.end();
        memory::release_free_pages();
        let mut state = self.locked();
        let number = state.done.len() + 1;
        state.begin = Some(Instant::now());
        state.position = Position {
            stage: (number, self.count.max(number)),
            name: name.to_owned(),
            ..Position::default()
        };
        self.display.stage(&state.position);
    }

    /// How much of the stage under way there is to do.
    pub fn length(&self, length: usize) {
        let position = &mut self.locked().position;
        position.parts = (0, length);
        self.display.length(position);
    }

    /// How much of it is done.
    pub fn reached(&self, done: usize) {
        let position = &mut self.locked().position;
        position.parts.0 = done;
        self.display.reached(position);
    }

    /// A line on standard error, above the stage under way.
    pub fn tell(&self, text: &str) {
        match &self.display {
            Display::Listener(listener) => listener.warning(text.trim_start_matches("warning: ")),
            display => display.above(|| messages::tell(text)),
        }
    }

    /// A part of the result for people, above the stage under way; beside data it goes to standard error.
    pub fn print(&self, text: &str) {
        if matches!(self.display, Display::Listener(_)) {
            return;
        }
        self.display.above(|| {
            if !self.data {
                output::print(text);
            } else if !self.quiet() {
                messages::tell(text.trim_end());
            }
        });
    }

    /// All stages are done: the line of the last one goes, and `-v` says how long each took.
    pub fn finish(&self) {
        self.end();
        self.display.clear();
        if self.loudness == Loudness::Verbose {
            messages::tell(&times(&self.locked().done));
        }
    }

    /// How long each stage took, with `-v`: times are never the same twice, so nothing holds them that is to be compared.
    pub fn times(&self) -> Vec<StageTime> {
        if self.loudness != Loudness::Verbose {
            return Vec::new();
        }
        let state = self.locked();
        let sums = sums(&state.done).into_iter();
        sums.map(|(stage, time)| StageTime {
            stage: stage.to_owned(),
            seconds: time.as_secs_f64(),
        })
        .collect()
    }

    fn end(&self) {
        let state = &mut *self.locked();
        if let Some(begin) = state.begin.take() {
            let name = std::mem::take(&mut state.position.name);
            state.done.push((name, begin.elapsed()));
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Stages {
    fn layer(&self, number: usize, count: usize, name: &str) {
        let position = &mut self.locked().position;
        position.layer.clear();
        // Writing to a string does not fail.
        let _ = write!(position.layer, "{number}/{count} {name}");
        self.display.layer(position, number, count);
    }
}

/// What a command that ends early had on the terminal goes.
impl Drop for Stages {
    fn drop(&mut self) {
        self.display.clear();
    }
}

/// How long the stages took; one that came several times is summed.
fn sums(done: &[(String, Duration)]) -> Vec<(&str, Duration)> {
    let mut sums: Vec<(&str, Duration)> = Vec::new();
    for (name, time) in done {
        match sums.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += *time,
            None => sums.push((name, *time)),
        }
    }
    sums
}

/// The line of these times.
fn times(done: &[(String, Duration)]) -> String {
    let sums = sums(done);
    let all: Duration = sums.iter().map(|(_, time)| *time).sum();
    let mut text = "time      ".to_owned();
    for (index, (name, time)) in sums.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}{name} {:.2} s", time.as_secs_f64());
    }
    let _ = write!(text, "; {:.2} s in all", all.as_secs_f64());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_comes_again_is_summed() {
        let stage = |name: &str, ms| (name.to_owned(), Duration::from_millis(ms));
        assert_eq!(
            times(&[stage("map", 20), stage("emit", 10), stage("map", 1000)]),
            "time      map 1.02 s, emit 0.01 s; 1.03 s in all"
        );
    }

    #[test]
    fn stages_are_counted_as_they_end() {
        let stages = Stages::new(2, Loudness::Quiet, Shown::Auto);
        stages.begin("import");
        stages.begin("map");
        stages.length(3);
        stages.reached(2);
        stages.finish();
        let state = stages.locked();
        let names: Vec<&str> = state.done.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["import", "map"]);
    }
}
