//! The stages of a command: on a terminal the one under way, counted as far as it can be; with `-v` how long each took.
//!
//! ```text
//! [6/7] simulate [#####-----] 12/500, 30/s, 16s left            while it is under way, on standard error
//! time      import 0.02 s, …, simulate 1.93 s; 2.10 s in all    afterwards, with -v
//! ```

use super::{memory, output};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use scnn_simulator::report::StageTime;
use std::cell::RefCell;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// How often a stage that does not count is drawn anew.
const TICK: Duration = Duration::from_millis(200);

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

/// Receives the stages and warnings of a command in the place of the terminal.
pub trait Listener: Send {
    /// A stage begins, the `number`th of about `count`.
    fn stage(&self, number: usize, count: usize, name: &str);
    /// `done` of `length` parts of the stage are done.
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
    bar: ProgressBar,
    listener: Option<Box<dyn Listener>>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Parts of the stage under way.
    length: usize,
    current: Option<(String, Instant)>,
    done: Vec<(String, Duration)>,
}

impl Stages {
    /// A command of `count` stages.
    pub fn new(count: usize, loudness: Loudness) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if loudness != Loudness::Quiet {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Self {
            count,
            loudness,
            data: false,
            bar,
            listener: None,
            state: RefCell::default(),
        }
    }

    /// The same with a listener in the place of the terminal.
    pub fn heard_by(mut self, listener: Box<dyn Listener>) -> Self {
        self.bar.set_draw_target(ProgressDrawTarget::hidden());
        self.listener = Some(listener);
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
        let mut state = self.state.borrow_mut();
        let number = state.done.len() + 1;
        let count = self.count.max(number);
        state.current = Some((name.to_owned(), Instant::now()));
        drop(state);
        if let Some(listener) = &self.listener {
            listener.stage(number, count, name);
            return;
        }
        self.style("{msg} ({elapsed})");
        self.bar.reset();
        self.bar.set_message(format!("[{number}/{count}] {name}"));
        self.bar.enable_steady_tick(TICK);
    }

    /// How much of the stage under way there is to do.
    pub fn length(&self, length: usize) {
        self.state.borrow_mut().length = length;
        self.bar.set_length(length as u64);
        self.style("{msg} [{bar:30}] {pos}/{len}, {rate}, {eta} left");
    }

    /// How much of it is done.
    pub fn reached(&self, done: usize) {
        if let Some(listener) = &self.listener {
            listener.reached(done, self.state.borrow().length);
        }
        self.bar.set_position(done as u64);
    }

    /// A line on standard error, above the stage under way.
    pub fn tell(&self, text: &str) {
        match &self.listener {
            Some(listener) => listener.warning(text.trim_start_matches("warning: ")),
            None => self.bar.suspend(|| output::tell(text)),
        }
    }

    /// A part of the result for people, above the stage under way; beside data it goes to standard error.
    pub fn print(&self, text: &str) {
        if self.listener.is_some() {
            return;
        }
        self.bar.suspend(|| {
            if !self.data {
                output::print(text);
            } else if !self.quiet() {
                output::tell(text.trim_end());
            }
        });
    }

    /// All stages are done: the line of the last one goes, and `-v` says how long each took.
    pub fn finish(&self) {
        self.end();
        self.bar.finish_and_clear();
        if self.loudness == Loudness::Verbose {
            output::tell(&times(&self.state.borrow().done));
        }
    }

    /// How long each stage took, with `-v`: times are never the same twice, so nothing holds them that is to be compared.
    pub fn times(&self) -> Vec<StageTime> {
        if self.loudness != Loudness::Verbose {
            return Vec::new();
        }
        let state = self.state.borrow();
        let sums = sums(&state.done).into_iter();
        sums.map(|(stage, time)| StageTime {
            stage: stage.to_owned(),
            seconds: time.as_secs_f64(),
        })
        .collect()
    }

    fn end(&self) {
        let mut state = self.state.borrow_mut();
        if let Some((name, begin)) = state.current.take() {
            state.done.push((name, begin.elapsed()));
        }
    }

    fn style(&self, template: &str) {
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let rate = |state: &ProgressState, text: &mut dyn Write| {
            // A text that cannot be written is not drawn.
            let _ = write!(text, "{:.1}/s", state.per_sec());
        };
        self.bar.set_style(style.with_key("rate", rate));
    }
}

/// What a command that ends early had on the terminal goes.
impl Drop for Stages {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
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
        let stages = Stages::new(2, Loudness::Quiet);
        stages.begin("import");
        stages.begin("map");
        stages.length(3);
        stages.reached(2);
        stages.finish();
        let names: Vec<String> = stages
            .state
            .borrow()
            .done
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        assert_eq!(names, ["import", "map"]);
    }
}
