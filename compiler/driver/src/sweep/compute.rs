//! Measures points: what they share once, the rest on all threads.
//!
//! Points of one subject (a model with its inputs, dimensions and pruning) are taken together, and of these the ones that
//! share a front. The first of them is compiled from the beginning, which leaves the front; the others begin there. A point
//! that a front does not serve (part of it has to fall back to the host, or it fails) is compiled from the beginning, too:
//! its outcome is that of a single run in any case.

use super::outcome::{Failed, Outcome};
use crate::run::report_of;
use scnn_host::Host;
use scnn_isa::machine::Machine;
use scnn_isa::program::Program;
use scnn_simulator::timing::Timing;
use scnnc::compile::{self, Compiled, Front, Sample, compile_imported};
use scnnc::import::Imported;
use scnnc::map::{self, Mapped};
use scnnc::quantise::Quantised;
use scnnc::widths::Widths;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// How a point is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fidelity {
    /// By the predictions of the cost model: nothing is run.
    Model,
    /// By steps and barriers, a lower bound.
    Fast,
    /// Cycle by cycle.
    #[default]
    Exact,
}

impl Fidelity {
    /// All of them, cheapest first.
    pub const ALL: [Self; 3] = [Self::Model, Self::Fast, Self::Exact];
}

/// A point to measure.
#[derive(Clone, Debug)]
pub struct Task {
    /// The caller's number of the point.
    pub point: usize,
    /// The caller's number of its subject.
    pub subject: usize,
    /// The machine.
    pub machine: Machine,
    /// How mappings are found.
    pub mapping: map::Options,
    /// Widths of operands.
    pub widths: Widths,
    /// How it is measured.
    pub fidelity: Fidelity,
}

/// What the points of a subject are measured with.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The model, pruned if it is to be.
    pub imported: Imported,
    /// The choices of its compilation, but for machine, mapping and widths.
    pub options: compile::Options,
    /// The samples to run; seeded noise without any.
    pub samples: Vec<Sample>,
    /// The class of every image of the samples, one after the other, if that is known.
    pub labels: Option<Vec<usize>>,
}

/// Stack of a thread that compiles: as much as the main thread has.
const STACK_BYTES: usize = 8 << 20;

/// Measures every task on at most `threads` threads. `load` gives a subject when its first task comes; `done` takes each
/// outcome with the point's number, as they come.
///
/// # Errors
/// Those of `done`, after which nothing more is begun.
pub fn compute<E>(
    tasks: &[Task],
    threads: usize,
    load: &dyn Fn(usize) -> Result<Subject, Failed>,
    done: &mut dyn FnMut(usize, Outcome) -> Result<(), E>,
) -> Result<(), E> {
    for of_subject in grouped(tasks.iter().collect(), |task| task.subject) {
        let subject = match load(of_subject[0].subject) {
            Ok(subject) => subject,
            Err(failed) => {
                for task in of_subject {
                    done(task.point, Outcome::Failed(failed.clone()))?;
                }
                continue;
            }
        };
        let front = |task: &&Task| (Front::depends_on(&task.machine), task.widths.clone());
        for sharing in grouped(of_subject, front) {
            measure_sharing(&subject, &sharing, threads, done)?;
        }
    }
    Ok(())
}

/// Items that agree in a key, in the order of their first.
fn grouped<T, K: PartialEq>(items: Vec<T>, key: impl Fn(&T) -> K) -> Vec<Vec<T>> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for item in items {
        let key = key(&item);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Measures tasks that share a front, once one of them has it.
fn measure_sharing<E>(
    subject: &Subject,
    tasks: &[&Task],
    threads: usize,
    done: &mut dyn FnMut(usize, Outcome) -> Result<(), E>,
) -> Result<(), E> {
    let mut rest = tasks;
    let front = loop {
        let Some((task, others)) = rest.split_first() else {
            return Ok(());
        };
        rest = others;
        let (outcome, front) = guarded(|| from_the_beginning(subject, task))
            .unwrap_or_else(|failed| (Outcome::Failed(failed), None));
        done(task.point, outcome)?;
        if let Some(front) = front {
            break front;
        }
    };
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, rest.len().max(1)) {
            let (sender, next, front) = (sender.clone(), &next, &front);
            let work = move || {
                while let Some(task) = rest.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = guarded(|| from_front(subject, front, task));
                    let outcome = outcome.unwrap_or_else(Outcome::Failed);
                    if sender.send((task.point, outcome)).is_err() {
                        return;
                    }
                }
            };
            let thread = thread::Builder::new().stack_size(STACK_BYTES);
            thread
                .spawn_scoped(scope, work)
                .expect("the system has a thread more");
        }
        drop(sender);
        for (point, outcome) in receiver {
            if let Err(error) = done(point, outcome) {
                next.store(rest.len(), Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    })
}

/// Measures points one after the other on request, and keeps subjects and fronts that later points share.
#[derive(Default)]
pub struct Session {
    subjects: BTreeMap<usize, Result<Subject, Failed>>,
    /// Fronts by the values that they depend on, the last used ones first.
    fronts: Vec<(FrontKey, Front)>,
}

/// The subject of a front, the machine's values that it depends on, and the widths.
type FrontKey = (usize, Vec<String>, Widths);

/// Fronts that a session keeps: each holds a network's weights.
const MOST_FRONTS: usize = 4;

impl Session {
    /// Measures a task; `load` gives its subject when it first comes.
    pub fn measure(
        &mut self,
        task: &Task,
        load: &dyn Fn(usize) -> Result<Subject, Failed>,
    ) -> Outcome {
        let loaded = self.subjects.entry(task.subject);
        let subject = match loaded.or_insert_with(|| load(task.subject)) {
            Ok(subject) => subject,
            Err(failed) => return Outcome::Failed(failed.clone()),
        };
        let parameters = Front::depends_on(&task.machine);
        let key = (task.subject, parameters, task.widths.clone());
        if let Some(at) = self.fronts.iter().position(|(known, _)| *known == key) {
            let kept = self.fronts.remove(at);
            self.fronts.insert(0, kept);
            let front = &self.fronts[0].1;
            return guarded(|| from_front(subject, front, task)).unwrap_or_else(Outcome::Failed);
        }
        let measured = guarded(|| from_the_beginning(subject, task));
        let (outcome, front) = measured.unwrap_or_else(|failed| (Outcome::Failed(failed), None));
        if let Some(front) = front {
            self.fronts.insert(0, (key, front));
            self.fronts.truncate(MOST_FRONTS);
        }
        outcome
    }
}

/// A panic is a fault of ours and ends the point, not the sweep.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Failed> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Failed::internal(text.unwrap_or("a panic without a message"))
    })
}

fn options_of(subject: &Subject, task: &Task) -> compile::Options {
    let mut options = subject.options.clone();
    options.machine = task.machine.clone();
    options.mapping = task.mapping;
    options.quantise.widths = task.widths.clone();
    options
}

fn from_the_beginning(subject: &Subject, task: &Task) -> (Outcome, Option<Front>) {
    let options = options_of(subject, task);
    let compiled = match compile_imported(subject.imported.clone(), &options, &mut ()) {
        Ok(compiled) => compiled,
        Err(error) => return (Outcome::Failed(Failed::compile(&error)), None),
    };
    let Compiled {
        network,
        mapped,
        program,
        host,
        ..
    } = &compiled;
    let samples = crate::samples_or_noise(&compiled, subject.samples.clone(), options.seed);
    let found = (network, mapped, program);
    let outcome = measured(
        found,
        host,
        &samples,
        subject.labels.as_deref(),
        task.fidelity,
    );
    (outcome, Front::of(compiled))
}

fn from_front(subject: &Subject, front: &Front, task: &Task) -> Outcome {
    let options = options_of(subject, task);
    let Some((mapped, program)) = front.compile(&options) else {
        return from_the_beginning(subject, task).0;
    };
    let samples = if subject.samples.is_empty() {
        crate::noise_for(&program, options.seed).map(|noise| vec![noise])
    } else {
        Ok(subject.samples.clone())
    };
    match samples {
        Err(error) => Outcome::Failed(Failed::run(&error)),
        Ok(samples) => {
            let found = (front.network(), &mapped, &program);
            let labels = subject.labels.as_deref();
            measured(found, &options.host, &samples, labels, task.fidelity)
        }
    }
}

fn measured(
    (network, mapped, program): (&Quantised, &Mapped, &Program),
    host: &Host,
    samples: &[Sample],
    labels: Option<&[usize]>,
    fidelity: Fidelity,
) -> Outcome {
    let timing = match fidelity {
        Fidelity::Model => return Outcome::of_predictions(network, mapped),
        Fidelity::Fast => Timing::Fast,
        Fidelity::Exact => Timing::Exact,
    };
    match report_of(program, mapped, host, samples, labels, timing, &()) {
        Ok(measured) => Outcome::of_report(&measured.report, measured.top1),
        Err(error) => Outcome::Failed(Failed::run(&error)),
    }
}
