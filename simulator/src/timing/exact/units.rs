//! The mover and the PPUs, and all requests for bulk transfers: theirs, and the array's for spilled elements.

use super::Engine;
use crate::timing::watch::{Event, Watcher, Work};
use crate::timing::work::{LayerWork, Place, Process, Round, RoundDrain, Task, share};
use std::collections::VecDeque;

/// Why a request was made.
enum Reason {
    Load { task: usize },
    Store { task: usize, vectors: u64 },
    Spill { item: usize },
    Operand { task: usize, group: usize },
    Source { task: usize },
    Result { task: usize, group: usize },
}

impl Reason {
    /// Rank among requests that are ready in the same cycle; the least is served first.
    const fn rank(&self) -> (u8, usize) {
        match self {
            Self::Load { .. } | Self::Store { .. } => (0, 0),
            Self::Spill { .. } => (1, 0),
            Self::Operand { group, .. } => (2, *group),
            Self::Source { .. } => (2, 0),
            Self::Result { group, .. } => (3, *group),
        }
    }
}

struct Request {
    ready: u64,
    bytes: u64,
    reason: Reason,
}

/// A drain of one round in a PE group.
struct PendingDrain {
    task: usize,
    ordinal: usize,
    cycles: u64,
    operand: Option<Place>,
    operand_bytes: u64,
    result_bytes: u64,
}

/// The PPUs of a PE group.
#[derive(Default)]
struct Ppus {
    drains: VecDeque<PendingDrain>,
    /// Next task.
    next: usize,
    free: u64,
    busy: bool,
    /// End of the drain of each round, by ordinal.
    drained: Vec<Option<u64>>,
}

/// Progress of the mover and the PPUs.
pub struct Units {
    requests: Vec<Request>,
    /// The request that DRAM serves.
    in_service: Option<Request>,
    /// By PE group; of a layer of the PPU alone, one for all.
    ppus: Vec<Ppus>,
    /// By task: drains that have not ended, in all PE groups, and when the last one that has did.
    running: Vec<(usize, u64)>,
    /// The item that closes each round, by ordinal.
    closing: Vec<usize>,
    /// Next task for the mover.
    next_mover: usize,
    mover_busy: bool,
    mover_free: u64,
    /// Tasks that have ended, with their end.
    ended: Vec<Option<u64>>,
    /// By task: cycle in which each column had arrived that a load has brought so far.
    loaded: Vec<Vec<u64>>,
}

impl Units {
    /// Idle units before a layer that begins at cycle `begin`.
    pub fn new(work: &LayerWork, groups: usize, rounds: &[Round], begin: u64) -> Self {
        let mut closing = Vec::new();
        for (number, round) in rounds.iter().enumerate() {
            closing.resize(closing.len().max(round.ordinal + 1), 0);
            closing[round.ordinal] = number;
        }
        let drains = |task: &Task| match task {
            Task::Drain(drain) => drain.rounds.len() * groups,
            _ => 0,
        };
        let ppus = || Ppus {
            drained: vec![None; closing.len()],
            free: begin,
            ..Ppus::default()
        };
        Self {
            requests: Vec::new(),
            in_service: None,
            ppus: (0..groups.max(1)).map(|_| ppus()).collect(),
            running: work.tasks.iter().map(|task| (drains(task), 0)).collect(),
            closing,
            next_mover: 0,
            mover_busy: false,
            mover_free: begin,
            ended: vec![None; work.tasks.len()],
            loaded: vec![Vec::new(); work.tasks.len()],
        }
    }

    /// Cycle in which a load had brought a column; none if it has not yet.
    pub fn loaded(&self, load: usize, column: u32) -> Option<u64> {
        self.loaded[load].get(column as usize).copied()
    }

    /// The request to serve next: cycle in which it was ready, and its index. While DRAM serves one, only empty ones count.
    pub fn first_request(&self) -> Option<(u64, usize)> {
        self.requests
            .iter()
            .enumerate()
            .filter(|(_, request)| self.in_service.is_none() || request.bytes == 0)
            .min_by_key(|(_, request)| (request.ready, request.reason.rank()))
            .map(|(index, request)| (request.ready, index))
    }

    /// Whether a request has no bytes, and so needs no DRAM.
    pub fn is_empty_request(&self, index: usize) -> bool {
        self.requests[index].bytes == 0
    }

    /// Requests the spilled elements of a round's source, or moves that request to an earlier cycle.
    pub fn request_spill(&mut self, number: usize, ready: u64, bytes: u64, asked: bool) {
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

    /// Cycle in which a round, by ordinal, was drained in a PE group.
    pub fn drained(&self, ordinal: usize, group: usize) -> Option<u64> {
        self.ppus[group].drained[ordinal]
    }

    /// The item that closes a round, by ordinal.
    pub fn closing(&self, ordinal: usize) -> usize {
        self.closing[ordinal]
    }

    /// Cycle in which a task ended.
    pub fn ended(&self, task: usize) -> Option<u64> {
        self.ended[task]
    }

    /// Records the end of a task.
    pub fn end(&mut self, task: usize, at: u64) {
        self.ended[task] = Some(at);
    }

    /// Whether all tasks have ended.
    pub fn all_ended(&self) -> bool {
        self.ended.iter().all(Option::is_some)
    }

    /// Cycle in which all PPUs are free.
    pub fn ppus_free(&self) -> u64 {
        let free = self.ppus.iter().map(|ppus| ppus.free);
        free.max().unwrap_or(0)
    }
}

impl<W: Watcher> Engine<'_, W> {
    /// Starts the mover's next transfer, if the cycle until which it waits is known.
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
                        Task::Multiply(multiply) => [Some(multiply.from), None],
                        Task::Process(process) => [Some(process.from), process.operand],
                        Task::Drain(drain) => [drain.operand, None],
                        Task::Load(_) | Task::Store(_) => [None; 2],
                    };
                    let mut reads = reads.iter().flatten();
                    if reads.any(|place| place.overlaps(&load.place)) {
                        let Some(end) = self.units.ended[index] else {
                            return false;
                        };
                        ready = ready.max(end);
                    }
                }
                let bytes = load.columns.first().map_or(0, |column| column.bytes);
                (bytes, Reason::Load { task })
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
                (store.bytes, Reason::Store { task, vectors })
            }
            _ => return false,
        };
        self.units.next_mover = task + 1;
        self.units.mover_busy = true;
        self.units.request(ready, bytes, reason);
        true
    }

    /// Starts the next work of the PPUs of some PE group, if the cycle until which it waits is known.
    pub(super) fn advance_ppus(&mut self) -> bool {
        (0..self.units.ppus.len()).any(|group| self.advance_ppu(group))
    }

    fn advance_ppu(&mut self, group: usize) -> bool {
        let ppus = &self.units.ppus[group];
        if ppus.busy {
            return false;
        }
        if ppus.drains.is_empty() {
            let Some(task) = (ppus.next..self.work.tasks.len())
                .find(|&t| matches!(self.work.tasks[t], Task::Drain(_) | Task::Process(_)))
            else {
                return false;
            };
            if let Task::Process(process) = &self.work.tasks[task] {
                return self.start_process(task, process);
            }
            self.units.ppus[group].next = task + 1;
            self.list_drains(group, task);
        }
        let ppus = &self.units.ppus[group];
        let Some(drain) = ppus.drains.front() else {
            return false;
        };
        let Some(done) = &self.items[self.units.closing[drain.ordinal]].groups[group] else {
            return false;
        };
        let Some(loaded) = self.loaded_before(drain.task, drain.operand) else {
            return false;
        };
        let begin = done.retired.max(ppus.free).max(loaded);
        if drain.operand_bytes > 0 {
            let (task, bytes) = (drain.task, drain.operand_bytes);
            self.units.ppus[group].busy = true;
            self.units
                .request(begin, bytes, Reason::Operand { task, group });
        } else {
            self.end_drain(group, begin, begin);
        }
        true
    }

    /// Lists the rounds that a `drn` drains in a PE group.
    fn list_drains(&mut self, group: usize, task: usize) {
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
        let all = drain.outputs();
        let outputs = |drains: &[RoundDrain]| drains.iter().map(|drain| drain.outputs).sum::<u64>();
        let mut rounds_before = 0;
        for (round, ordinal) in drain.rounds.iter().zip(ordinals) {
            let of_group = round[group];
            let done = rounds_before + outputs(&round[..group]);
            self.units.ppus[group].drains.push_back(PendingDrain {
                task,
                ordinal,
                cycles: of_group.cycles,
                operand: drain.operand,
                operand_bytes: share(drain.operand_bytes, done, of_group.outputs, all),
                result_bytes: of_group.result_bytes,
            });
            rounds_before += outputs(round);
        }
    }

    /// Cycle in which the last load before `task` into a place ended; none if that is not known yet.
    fn loaded_before(&self, task: usize, place: Option<Place>) -> Option<u64> {
        let load = place.and_then(|place| load_before(&self.work.tasks, task, &place));
        load.map_or(Some(0), |load| self.units.ended[load])
    }

    /// Ends the drain in front of a PE group: `begin` when it began, `operand` when its operand was there.
    fn end_drain(&mut self, group: usize, begin: u64, operand: u64) {
        let ppus = &mut self.units.ppus[group];
        let Some(drain) = ppus.drains.pop_front() else {
            return;
        };
        let end = (begin + drain.cycles).max(operand);
        ppus.free = end;
        ppus.drained[drain.ordinal] = Some(end);
        self.latest = self.latest.max(end);
        let (running, last) = &mut self.units.running[drain.task];
        (*running, *last) = (*running - 1, end.max(*last));
        if *running == 0 {
            self.units.ended[drain.task] = Some(*last);
        }
        self.write(drain.task, group, end, drain.result_bytes);
        if W::WATCHES {
            self.watcher.on_event(Event {
                begin,
                end,
                task: drain.task,
                work: Work::Drain {
                    group,
                    ordinal: drain.ordinal,
                },
            });
        }
    }

    fn start_process(&mut self, task: usize, process: &Process) -> bool {
        let source = self.loaded_before(task, Some(process.from));
        let operand = self.loaded_before(task, process.operand);
        let (Some(source), Some(operand)) = (source, operand) else {
            return false;
        };
        let ppus = &mut self.units.ppus[0];
        ppus.next = task + 1;
        let begin = ppus.free.max(source).max(operand);
        if process.read_bytes > 0 {
            ppus.busy = true;
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
        self.units.ppus[0].free = end;
        self.latest = self.latest.max(end);
        self.units.ended[task] = Some(end);
        self.write(task, 0, end, process.result_bytes);
        if W::WATCHES {
            self.watcher.on_event(Event {
                begin,
                end,
                task,
                work: Work::Process,
            });
        }
    }

    fn write(&mut self, task: usize, group: usize, ready: u64, bytes: u64) {
        if bytes > 0 {
            self.units
                .request(ready, bytes, Reason::Result { task, group });
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
            Reason::Load { task } => {
                self.end_column(task, ready, end);
                task
            }
            Reason::Store { task, vectors } => {
                self.end_move(task, ready, end.max(ready + vectors));
                task
            }
            Reason::Spill { item } => {
                self.items[item].spill = Some(end);
                self.rounds[item].task
            }
            Reason::Operand { task, group } => {
                self.units.ppus[group].busy = false;
                self.end_drain(group, ready, end);
                task
            }
            Reason::Source { task } => {
                self.units.ppus[0].busy = false;
                self.end_process(task, ready, end);
                task
            }
            Reason::Result { task, .. } => task,
        };
        self.transfer(task, end, request.bytes);
    }

    /// DRAM has served a column of a load that was ready at cycle `ready`: the next one follows.
    fn end_column(&mut self, task: usize, ready: u64, served: u64) {
        let Task::Load(load) = &self.work.tasks[task] else {
            return;
        };
        let loaded = &mut self.units.loaded[task];
        let vectors = load.columns.get(loaded.len()).map_or(0, |it| it.vectors);
        let before = loaded.last().copied().unwrap_or(0);
        let moved = before.max(served).max(ready + vectors);
        loaded.push(moved);
        match load.columns.get(loaded.len()) {
            Some(next) => self.units.request(ready, next.bytes, Reason::Load { task }),
            None => self.end_move(task, ready, moved),
        }
    }

    /// The mover has ended a task, that was ready at cycle `ready`.
    fn end_move(&mut self, task: usize, ready: u64, end: u64) {
        self.latest = self.latest.max(end);
        self.units.mover_free = end;
        self.units.mover_busy = false;
        self.units.ended[task] = Some(end);
        if W::WATCHES {
            self.watcher.on_event(Event {
                begin: ready,
                end,
                task,
                work: Work::Move,
            });
        }
    }
}

/// The last load before `task` into `place`.
pub fn load_before(tasks: &[Task], task: usize, place: &Place) -> Option<usize> {
    let loads =
        |task: &usize| matches!(&tasks[*task], Task::Load(load) if load.place.overlaps(place));
    (0..task).rev().find(loads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timing::exact::time;
    use crate::timing::work::{Load, LoadedColumn};
    use scnn_isa::ids::{SectionId, TensorId};
    use scnn_isa::layer::{Layer, PpuStage, View};
    use scnn_isa::layout::Layout;
    use scnn_isa::machine::Machine;
    use scnn_isa::plane::{Rect, Span};
    use scnn_isa::program::{Memory, Region};

    fn place(base: u64) -> Place {
        Place::of(&Region {
            name: String::new(),
            tensor: TensorId(0),
            tiles: Span::new(0, 1),
            memory: Memory::A,
            base,
            size: 10,
        })
    }

    fn load(base: u64, bytes: u64) -> Task {
        let column = LoadedColumn { bytes, vectors: 1 };
        Task::Load(Load {
            place: place(base),
            columns: vec![column; 2],
        })
    }

    fn process(base: u64, operand: u64) -> Task {
        Task::Process(Process {
            pass: 0,
            from: place(base),
            operand: Some(place(operand)),
            cycles: 7,
            read_bytes: 0,
            result_bytes: 0,
        })
    }

    /// Cycles of a layer of the PPU alone that does `tasks`.
    fn cycles(tasks: Vec<Task>) -> u64 {
        let mut machine = Machine::preset("scnn").unwrap();
        machine.dram.gigabytes_per_second = 1.0;
        let view = View {
            tensor: TensorId(0),
            channels: Span::new(0, 2),
        };
        let layer = Layer {
            name: String::new(),
            source: view,
            destination: view,
            array: None,
            ppu: PpuStage {
                requantise: SectionId(0),
                source_shift: 0,
                rounding: scnn_isa::arith::Rounding::Away,
                divisor: 1.0,
                operand: None,
                function: None,
                slope_exponent: 0,
                approximates: None,
                clamp: [0, 1],
                pool: None,
            },
            passes: Vec::new(),
        };
        let work = LayerWork {
            layer: &layer,
            weights: None,
            source_layout: &Layout::whole(Rect::plane(1, 8, 8), machine.pes()),
            densities: [1.0; 2],
            useful: 0,
            has_tile: vec![true; machine.pe_count() as usize],
            instructions: (0..tasks.len() as u32).collect(),
            tasks,
        };
        time(&machine, &work, 0).cycles
    }

    #[test]
    fn ppus_wait_for_the_loads_of_source_and_operand() {
        assert_eq!(cycles(vec![load(0, 20), process(0, 10)]), 2 * 20 + 7);
        assert_eq!(cycles(vec![load(10, 20), process(0, 10)]), 2 * 20 + 7);
        assert_eq!(cycles(vec![load(20, 20), process(0, 10)]), 2 * 20);
    }

    #[test]
    fn a_load_waits_for_the_ppus_that_read_its_place() {
        for base in [0, 10] {
            let tasks = vec![load(base, 20), process(0, 10), load(base, 20)];
            assert_eq!(cycles(tasks), 2 * 20 + 7 + 2 * 20);
        }
        let tasks = vec![load(0, 20), process(0, 10), load(20, 20)];
        assert_eq!(cycles(tasks), 2 * 20 + 2 * 20);
    }
}
