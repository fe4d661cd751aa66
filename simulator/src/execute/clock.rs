//! Times of layers, taken while later ones compute: each by itself, or one after the other where the idle cycles at a layer's end
//! are a head start for the weights of the next (`sync.layers: overlap`).

use crate::timing::{DensityModel, LayerWork, Timed, Timing, uniform};
use rayon::Scope;
use scnn_isa::machine::{LayerSync, Machine};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A layer's index among the operations, its time, and what its densities alone would predict.
pub(super) type TimedLayer = (usize, Timed, Option<DensityModel>);

/// Times layers beside the execution.
pub(super) struct Clock<'a> {
    machine: &'a Machine,
    timing: Timing,
    /// Receives the index and the name of a layer that is timed.
    begin: &'a (dyn Fn(usize, &str) + Sync),
    line: Mutex<Line<'a>>,
}

/// Layers that wait to be timed, and those that were.
#[derive(Default)]
struct Line<'a> {
    waiting: VecDeque<(usize, LayerWork<'a>)>,
    /// Whether a thread is timing the waiting layers.
    busy: bool,
    head_start: HeadStart,
    timed: Vec<TimedLayer>,
}

impl<'a> Clock<'a> {
    /// A clock before the first layer.
    pub(super) fn new(
        machine: &'a Machine,
        timing: Timing,
        begin: &'a (dyn Fn(usize, &str) + Sync),
    ) -> Self {
        Self {
            machine,
            timing,
            begin,
            line: Mutex::default(),
        }
    }

    /// Times a layer on some thread. Layers come in the order of execution.
    pub(super) fn time<'s>(&'s self, scope: &Scope<'s>, operation: usize, work: LayerWork<'a>) {
        if self.timing == Timing::Exact && self.machine.sync.layers == LayerSync::Overlap {
            self.line().waiting.push_back((operation, work));
            scope.spawn(|_| self.time_waiting());
        } else {
            scope.spawn(move |_| {
                let timed = self.measure(operation, &work, 0);
                self.line().timed.push(timed);
            });
        }
    }

    /// Times the waiting layers, in order, unless another thread does.
    fn time_waiting(&self) {
        let mut line = self.line();
        while !line.busy
            && let Some((operation, work)) = line.waiting.pop_front()
        {
            line.busy = true;
            let head_start = line.head_start.of(operation);
            drop(line);
            let timed = self.measure(operation, &work, head_start);
            line = self.line();
            line.busy = false;
            line.head_start.end(self.machine, operation, &timed.1);
            line.timed.push(timed);
        }
    }

    fn measure(&self, operation: usize, work: &LayerWork, head_start: u64) -> TimedLayer {
        (self.begin)(operation, &work.layer.name);
        let timed = self.timing.of(self.machine, work, head_start);
        (operation, timed, uniform::model(self.machine, work))
    }

    fn line(&self) -> MutexGuard<'_, Line<'a>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The timed layers, in no order.
    pub(super) fn finish(self) -> Vec<TimedLayer> {
        let line = self.line.into_inner();
        line.unwrap_or_else(PoisonError::into_inner).timed
    }
}

/// The head start that a layer leaves to the next one. A host segment between them leaves none.
#[derive(Default)]
pub(super) struct HeadStart {
    next: usize,
    cycles: u64,
}

impl HeadStart {
    /// The head start of an operation.
    pub(super) fn of(&self, operation: usize) -> u64 {
        if operation == self.next {
            self.cycles
        } else {
            0
        }
    }

    /// Records the head start that an ended layer leaves.
    pub(super) fn end(&mut self, machine: &Machine, operation: usize, timed: &Timed) {
        self.next = operation + 1;
        self.cycles = match machine.sync.layers {
            LayerSync::Barrier => 0,
            LayerSync::Overlap => timed.head_start,
        };
    }
}
