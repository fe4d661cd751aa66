//! Watching the units at work. [`NoWatcher`] compiles to nothing.

/// Work of a unit, in cycles from the layer's begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it began.
    pub begin: u64,
    /// When it ended.
    pub end: u64,
    /// Index of the task that it belongs to.
    pub task: usize,
    /// Kind of work.
    pub work: Work,
}

/// Kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A PE of the array in a round, from its begin to its end for this PE.
    Round {
        /// PE of the array.
        pe: usize,
        /// Round of the pass.
        round: u32,
        /// Steps.
        steps: u64,
        /// Cycles that steps waited for banks.
        stalls: u64,
    },
    /// The weights of a round on their way to a PE group.
    Weights {
        /// The PE group.
        group: u32,
        /// Round of the pass.
        round: u32,
    },
    /// All PEs at a `mac`.
    Multiply,
    /// The PPUs of a PE group at a round.
    Drain {
        /// The PE group.
        group: usize,
        /// The round, counted over the layer.
        ordinal: usize,
    },
    /// The PPUs at a source tile.
    Process,
    /// The mover.
    Move,
    /// Bytes from or to DRAM, for any unit.
    Transfer {
        /// How many.
        bytes: u64,
    },
}

/// Sees every event, in no order of time.
pub trait Watcher {
    /// Whether it receives any events.
    const WATCHES: bool = true;
    /// Receives an event.
    fn on_event(&mut self, event: Event);
}

/// Passes events on with cycles counted from the layer's begin; earlier cycles become 0.
pub struct FromBegin<'a, W> {
    /// Cycle in which the layer begins.
    pub begin: u64,
    /// Receiver of the events.
    pub watcher: &'a mut W,
}

impl<W: Watcher> Watcher for FromBegin<'_, W> {
    const WATCHES: bool = W::WATCHES;

    fn on_event(&mut self, mut event: Event) {
        event.begin = event.begin.saturating_sub(self.begin);
        event.end = event.end.saturating_sub(self.begin);
        self.watcher.on_event(event);
    }
}

/// Receives nothing.
pub struct NoWatcher;

impl Watcher for NoWatcher {
    const WATCHES: bool = false;
    fn on_event(&mut self, _: Event) {}
}
