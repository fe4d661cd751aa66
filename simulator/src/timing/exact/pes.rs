//! The PEs: progress of each, the products before its banks, and how it runs a part.

use super::stream::PartBounds;
use crate::timing::Slots;
use crate::timing::queues::{AllQueues, FewSteps, Queues, Steps};
use crate::timing::table::Table;
use crate::timing::vectors::{BlockVectors, Classes, Lone, PassVectors};
use scnn_isa::machine::Machine;

/// The PEs of the array.
pub struct Pes {
    /// By PE: cycle in which it has finished the parts that ran.
    pub finish: Vec<u64>,
    /// By PE: cycles that it has waited, by cause.
    pub waits: Vec<Slots>,
    /// Steps, and cycles that they waited for banks, in the round under way; kept only for those who watch.
    pub busy: Vec<[u64; 2]>,
    queues: AllQueues,
    depth: u16,
}

impl Pes {
    /// PEs that are idle until the layer begins.
    pub fn new(machine: &Machine, begin: u64) -> Self {
        let pes = machine.pe_count() as usize;
        Self {
            finish: vec![begin; pes],
            waits: vec![Slots::default(); pes],
            busy: vec![[0; 2]; pes],
            queues: AllQueues::new(machine),
            depth: machine.pe.queue_depth as u16,
        }
    }

    /// Makes a PE wait for other PEs, for PPUs and for the bounds of a part; returns the cycle until which it waits.
    pub fn wait(&mut self, pe: usize, others: [u64; 2], part: PartBounds) -> u64 {
        let from = self.finish[pe];
        let at = wait(&mut self.waits[pe], from, others, part);
        match &mut self.queues {
            AllQueues::Bytes(queues) => queues[pe].idle(at - from),
            AllQueues::Wide(queues) => queues[pe].idle(at - from),
        }
        self.finish[pe] = at;
        at
    }

    /// Cycle in which the last product of a PE leaves its queue.
    pub fn retired(&self, pe: usize) -> u64 {
        let longest = match &self.queues {
            AllQueues::Bytes(queues) => queues[pe].longest(),
            AllQueues::Wide(queues) => queues[pe].longest(),
        };
        self.finish[pe] + longest
    }

    /// Runs a part on the PEs that have activations for it; returns the cycle in which the last of them finishes.
    pub fn run(&mut self, run: PartRun<'_>, watched: bool) -> u64 {
        let Self {
            finish,
            waits,
            busy,
            queues,
            depth,
        } = self;
        let busy = watched.then_some(&mut busy[..]);
        match queues {
            AllQueues::Bytes(queues) => run.on(queues, finish, busy, *depth, waits),
            AllQueues::Wide(queues) => run.on(queues, finish, busy, *depth, waits),
        }
    }
}

/// A part to be run, with the data that it needs.
pub struct PartRun<'a> {
    pub bounds: PartBounds,
    /// PEs of the array by PE of the group.
    pub pes: &'a [usize],
    pub vectors: &'a PassVectors,
    pub blocks: &'a [BlockVectors],
    pub classes: &'a Classes,
    /// The part has begun in it.
    pub table: &'a mut Table,
}

impl PartRun<'_> {
    fn on<Q: Queues>(
        self,
        queues: &mut [Q],
        finish: &mut [u64],
        mut busy: Option<&mut [[u64; 2]]>,
        depth: u16,
        waits: &mut [Slots],
    ) -> u64 {
        let at = self.bounds.all();
        let mut latest = 0;
        for &block in self.blocks {
            let pe = self.pes[block.pe as usize];
            let mut begin = finish[pe];
            if begin < at {
                wait(&mut waits[pe], begin, [0; 2], self.bounds);
                queues[pe].idle(at - begin);
                begin = at;
            }
            let vectors = self.table.vectors as u32;
            let stalls = if let Some(Lone { tap, address }) = block.lone {
                let banks = self.table.spacing().banks;
                let lanes = self.table.of_tap(tap);
                let steps = FewSteps {
                    lanes,
                    address,
                    vectors,
                    banks,
                    depth,
                };
                queues[pe].run_few(&steps)
            } else {
                self.table.know(block.classes, self.classes);
                queues[pe].run(&Steps {
                    vectors: self.vectors,
                    block,
                    table: self.table,
                    classes: self.classes,
                    depth,
                })
            };
            let count = u64::from(block.end - block.begin) * u64::from(vectors);
            finish[pe] = begin + count + stalls;
            waits[pe].bank_stall += stalls;
            latest = latest.max(finish[pe]);
            if let Some(busy) = busy.as_deref_mut() {
                busy[pe][0] += count;
                busy[pe][1] += stalls;
            }
        }
        latest
    }
}

/// Divides the time from `from` to the latest of the bounds by cause: other PEs, PPUs and links, then those of a part;
/// returns that time.
pub fn wait(waits: &mut Slots, from: u64, [others, ppus]: [u64; 2], part: PartBounds) -> u64 {
    let mut at = from;
    let mut until = |cause: &mut u64, bound: u64| {
        *cause += bound.saturating_sub(at);
        at = at.max(bound);
    };
    until(&mut waits.barrier, others);
    until(&mut waits.drain, ppus);
    until(&mut waits.dram, part.loaded);
    until(&mut waits.fifo, part.by_bus);
    until(&mut waits.dram, part.arrived);
    at
}
