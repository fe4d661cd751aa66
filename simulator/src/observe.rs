//! Watching an execution: an [`Observer`] receives the work of the units, cycle by cycle.

use crate::operations::OperationCounts;
use crate::timing::watch::{Event, Watcher};
use scnn_isa::operation::OperationId;

/// Receives the layers and host segments one after the other, with the events of the units in them.
pub trait Observer {
    /// An operation of `rounds` rounds begins at cycle `begin` of the execution. Returns whether its events are wanted.
    fn begin(&mut self, operation: OperationId, begin: u64, rounds: u64) -> bool;
    /// A unit did something for an instruction, at cycles counted from the operation's begin. Events come in no order of time.
    fn on_event(&mut self, event: &Event, instruction: u32);
    /// The operation has ended; it began at cycle `begin`.
    fn end(&mut self, counts: &OperationCounts, begin: u64);
}

/// Passes a layer's events on.
pub(crate) struct Events<'a> {
    pub observer: &'a mut dyn Observer,
    /// The instruction of each task.
    pub instructions: &'a [u32],
}

impl Watcher for Events<'_> {
    fn on_event(&mut self, event: Event) {
        self.observer
            .on_event(&event, self.instructions[event.task]);
    }
}
