//! The mover and the PPUs, and what they and the array ask of DRAM.

use super::Engine;
use crate::timing::watch::{Event, Watcher, Work};
use crate::timing::work::{LayerWork, Place, Process, Round, Task, share};
use std::collections::VecDeque;

/// Why a request was made.
enum Reason {
    Move { task: usize, vectors: u64 },
    Spill { item: usize },
    Operand { task: usize },
    Source { task: usize },
    Result { task: usize },
}

impl Reason {
    /// Who comes first at the same time.
    const fn rank(&self) -> u8 {
        match self {
            Self::Move { .. } => 0,
            Self::Spill { .. } => 1,
            Self::Operand { .. } | Self::Source { .. } => 2,
            Self::Result { .. } => 3,
        }
    }
}

struct Request {
    ready: u64,
    bytes: u64,
    reason: Reason,
}

/// A drain of one round.
struct RoundDrain {
    task: usize,
    ordinal: usize,
    cycles: u64,
    operand_bytes: u64,
    result_bytes: u64,
}

/// How far the mover and the PPUs are.
pub struct Units {
    requests: Vec<Request>,
    /// The request that DRAM serves.
    in_service: Option<Request>,
    /// End of the drain of each round, by ordinal.
    drained: Vec<Option<u64>>,
    /// The item that closes each round, by ordinal.
    closing: Vec<usize>,
    drains: VecDeque<RoundDrain>,
    ppu_free: u64,
    /// Next task for the mover and for the PPUs.
    next_mover: usize,
    next_ppu: usize,
    mover_busy: bool,
    ppu_busy: bool,
    mover_free: u64,
    /// Tasks that have ended, with their end.
    ended: Vec<Option<u64>>,
}

impl Units {
    /// Nothing has begun.
    pub fn new(work: &LayerWork, rounds: &[Round]) -> Self {
        let mut closing = Vec::new();
        for (number, round) in rounds.iter().enumerate() {
            closing.resize(closing.len().max(round.ordinal + 1), 0);
            closing[round.ordinal] = number;
        }
        Self {
            requests: Vec::new(),
            in_service: None,
            drained: vec![None; closing.len()],
            closing,
            drains: VecDeque::new(),
            ppu_free: 0,
            next_mover: 0,
            next_ppu: 0,
            mover_busy: false,
            ppu_busy: false,
            mover_free: 0,
            ended: vec![None; work.tasks.len()],
        }
    }

    /// The request that comes first: when it was ready, and its index. While DRAM serves one, only those of no bytes.
    pub fn first_request(&self) -> Option<(u64, usize)> {
        self.requests
            .iter()
            .enumerate()
            .filter(|(_, request)| self.in_service.is_none() || request.bytes == 0)
            .min_by_key(|(_, request)| (request.ready, request.reason.rank()))
            .map(|(index, request)| (request.ready, index))
    }

    /// Whether a request has no bytes, and so needs no DRAM.
    pub fn is_of_nothing(&self, index: usize) -> bool {
        self.requests[index].bytes == 0
    }

    /// Asks for what of a round's source had spilled, or asks earlier than before.
    pub fn ask_spill(&mut self, number: usize, ready: u64, bytes: u64, asked: bool) {
        if !asked {
            let reason = Reason::Spill { item: number };
            self.request(ready, bytes, reason);
            return;
        }
        for request in &mut self.requests {
            if matches!(request.reason, Reason::Spill { item } if item == number) {
                request.ready = ready;
            }
        }
    }

    fn request(&mut self, ready: u64, bytes: u64, reason: Reason) {
        self.requests.push(Request {
            ready,
            bytes,
            reason,
        });
    }

    /// When a round, by ordinal, was drained.
    pub fn drained(&self, ordinal: usize) -> Option<u64> {
        self.drained[ordinal]
    }

    /// The item that closes a round, by ordinal.
    pub fn closing(&self, ordinal: usize) -> usize {
        self.closing[ordinal]
    }

    /// When a task ended.
    pub fn ended(&self, task: usize) -> Option<u64> {
        self.ended[task]
    }

    /// A task has ended.
    pub fn end(&mut self, task: usize, at: u64) {
        self.ended[task] = Some(at);
    }

    /// Whether all tasks have ended.
    pub fn all_ended(&self) -> bool {
        self.ended.iter().all(Option::is_some)
    }

    /// When the PPUs are free.
    pub fn ppu_free(&self) -> u64 {
        self.ppu_free
    }
}

impl<W: Watcher> Engine<'_, W> {
    /// When the last load before `task` into `place` ended: 0 if there is none, none if that is not known yet.
    pub(super) fn loaded(&self, task: usize, place: &Place) -> Option<u64> {
        let loads = |task: &usize| matches!(&self.work.tasks[*task], Task::Load(load) if load.place.overlaps(place));
        let load = (0..task).rev().find(loads);
        load.map_or(Some(0), |task| self.units.ended[task])
    }

    /// Starts the mover's next transfer, if what it waits for is known.
    pub(super) fn advance_mover(&mut self) -> bool {
        if self.units.mover_busy {
            return false;
        }
        let is_move = |task: &Task| matches!(task, Task::Load(_) | Task::Store(_));
        let tasks = &self.work.tasks;
        while tasks
            .get(self.units.next_mover)
            .is_some_and(|task| !is_move(task))
        {
            self.units.next_mover += 1;
        }
        let task = self.units.next_mover;
        if task == tasks.len() {
            return false;
        }
        let before = &self.work.tasks[..task];
        let mut ready = self.units.mover_free;
        let (bytes, reason) = match &self.work.tasks[task] {
            Task::Load(load) => {
                for (index, other) in before.iter().enumerate() {
                    let reads = match other {
                        Task::Multiply(multiply) => multiply.from.overlaps(&load.place),
                        Task::Process(process) => process.from.overlaps(&load.place),
                        _ => false,
                    };
                    if reads {
                        let Some(end) = self.units.ended[index] else {
                            return false;
                        };
                        ready = ready.max(end);
                    }
                }
                let vectors = load.vectors;
                (load.bytes, Reason::Move { task, vectors })
            }
            Task::Store(store) => {
                for (index, other) in before.iter().enumerate() {
                    if matches!(other, Task::Drain(_) | Task::Process(_)) {
                        let Some(end) = self.units.ended[index] else {
                            return false;
                        };
                        ready = ready.max(end);
                    }
                }
                let vectors = store.vectors;
                (store.bytes, Reason::Move { task, vectors })
            }
            _ => return false,
        };
        self.units.next_mover = task + 1;
        self.units.mover_busy = true;
        self.units.request(ready, bytes, reason);
        true
    }

    /// Starts the PPUs' next drain or tile, if what it waits for is known.
    pub(super) fn advance_ppu(&mut self) -> bool {
        if self.units.ppu_busy {
            return false;
        }
        if self.units.drains.is_empty() {
            let Some(task) = (self.units.next_ppu..self.work.tasks.len())
                .find(|&t| matches!(self.work.tasks[t], Task::Drain(_) | Task::Process(_)))
            else {
                return false;
            };
            if let Task::Process(process) = &self.work.tasks[task] {
                return self.start_process(task, process);
            }
            self.units.next_ppu = task + 1;
            self.list_drains(task);
        }
        let Some(drain) = self.units.drains.front() else {
            return false;
        };
        let item = &self.items[self.units.closing[drain.ordinal]];
        if item.running > 0 {
            return false;
        }
        let begin = item.retired.max(self.units.ppu_free);
        if drain.operand_bytes > 0 {
            self.units.ppu_busy = true;
            let (task, bytes) = (drain.task, drain.operand_bytes);
            self.units.request(begin, bytes, Reason::Operand { task });
        } else {
            self.end_drain(begin, begin);
        }
        true
    }

    /// Lists the rounds that a `drn` drains.
    fn list_drains(&mut self, task: usize) {
        let Task::Drain(drain) = &self.work.tasks[task] else {
            return;
        };
        // The rounds of the last `mac` before it that closes them.
        let mac = self
            .rounds
            .iter()
            .rev()
            .find(|round| round.task < task && round.multiply.closes)
            .map(|round| round.task);
        let ordinals: Vec<usize> = self
            .rounds
            .iter()
            .filter(|round| Some(round.task) == mac)
            .map(|round| round.ordinal)
            .collect();
        let all: u64 = drain.outputs.iter().sum();
        let (before, whole) = self.outputs_before(task);
        let mut done = 0;
        for (index, ordinal) in ordinals.into_iter().enumerate() {
            let outputs = drain.outputs[index];
            self.units.drains.push_back(RoundDrain {
                task,
                ordinal,
                cycles: drain.cycles[index],
                operand_bytes: share(drain.operand_bytes, done, outputs, all),
                result_bytes: share(self.work.result_bytes, before + done, outputs, whole),
            });
            done += outputs;
        }
    }

    /// Outputs of the PPU tasks before `task`, and of all.
    fn outputs_before(&self, task: usize) -> (u64, u64) {
        let outputs = |task: &Task| match task {
            Task::Drain(drain) => drain.outputs.iter().sum(),
            Task::Process(process) => process.outputs,
            _ => 0,
        };
        (
            self.work.tasks[..task].iter().map(outputs).sum(),
            self.work.tasks.iter().map(outputs).sum(),
        )
    }

    /// Ends the drain in front: `begin` when it began, `operand` when its operand was there.
    fn end_drain(&mut self, begin: u64, operand: u64) {
        let Some(drain) = self.units.drains.pop_front() else {
            return;
        };
        let end = (begin + drain.cycles).max(operand);
        self.units.ppu_free = end;
        self.units.drained[drain.ordinal] = Some(end);
        self.latest = self.latest.max(end);
        self.write(drain.task, end, drain.result_bytes);
        if W::WATCHES {
            self.watcher.see(Event {
                begin,
                end,
                task: drain.task,
                work: Work::Drain {
                    ordinal: drain.ordinal,
                },
            });
        }
        if self.units.drains.is_empty() {
            self.units.ended[drain.task] = Some(end);
        }
    }

    fn start_process(&mut self, task: usize, process: &Process) -> bool {
        let Some(loaded) = self.loaded(task, &process.from) else {
            return false;
        };
        self.units.next_ppu = task + 1;
        let begin = self.units.ppu_free.max(loaded);
        if process.read_bytes > 0 {
            self.units.ppu_busy = true;
            self.units
                .request(begin, process.read_bytes, Reason::Source { task });
        } else {
            self.end_process(task, begin, begin);
        }
        true
    }

    fn end_process(&mut self, task: usize, begin: u64, read: u64) {
        let Task::Process(process) = &self.work.tasks[task] else {
            return;
        };
        let end = (begin + process.cycles).max(read);
        self.units.ppu_free = end;
        self.latest = self.latest.max(end);
        self.units.ended[task] = Some(end);
        let (before, whole) = self.outputs_before(task);
        let bytes = share(self.work.result_bytes, before, process.outputs, whole);
        self.write(task, end, bytes);
        if W::WATCHES {
            self.watcher.see(Event {
                begin,
                end,
                task,
                work: Work::Process,
            });
        }
    }

    fn write(&mut self, task: usize, ready: u64, bytes: u64) {
        if bytes > 0 {
            self.units.request(ready, bytes, Reason::Result { task });
        }
    }

    /// DRAM begins with a request; one of no bytes has been served at once.
    pub(super) fn serve(&mut self, index: usize) {
        let request = self.units.requests.remove(index);
        if request.bytes == 0 {
            self.served(&request, request.ready);
        } else {
            self.dram.begin_bulk(request.ready, request.bytes);
            self.units.in_service = Some(request);
        }
    }

    /// DRAM has served the request that it began with, at cycle `end`.
    pub(super) fn end_service(&mut self, end: u64) {
        self.dram.end_bulk();
        if let Some(request) = self.units.in_service.take() {
            self.served(&request, end);
        }
    }

    fn served(&mut self, request: &Request, end: u64) {
        let ready = request.ready;
        self.latest = self.latest.max(end);
        let task = match request.reason {
            Reason::Move { task, vectors } => {
                let moved = end.max(ready + vectors);
                self.latest = self.latest.max(moved);
                self.units.mover_free = moved;
                self.units.mover_busy = false;
                self.units.ended[task] = Some(moved);
                if W::WATCHES {
                    self.watcher.see(Event {
                        begin: ready,
                        end: moved,
                        task,
                        work: Work::Move,
                    });
                }
                task
            }
            Reason::Spill { item } => {
                self.items[item].spill = Some(end);
                self.rounds[item].task
            }
            Reason::Operand { task } => {
                self.units.ppu_busy = false;
                self.end_drain(ready, end);
                task
            }
            Reason::Source { task } => {
                self.units.ppu_busy = false;
                self.end_process(task, ready, end);
                task
            }
            Reason::Result { task } => task,
        };
        self.transfer(task, end, request.bytes);
    }
}
