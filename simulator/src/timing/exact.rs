//! Timing `exact`: every step, every queue, every transfer.
//!
//! The rules, all times in cycles from the layer's begin:
//!
//! - **DRAM** serves requests one after the other, by the time at which they are ready; at the same time the mover and
//!   the PPUs come before the weights, and the weights of lower PE groups before those of higher ones.
//! - **Weights.** Each PE group has a stream of weight blocks, over all rounds and passes of the layer, in parts of at
//!   most a full FIFO. A part is requested when the one before it has arrived, every PE of the group that has a tile
//!   has room for it, and a lane of the weight bus is free; it takes the lane for one cycle per vector, longer if DRAM
//!   is late. A block without weights costs no cycle. The room of a part is free when the PE has finished it.
//! - **PEs** run the parts in order, each as a whole once it has arrived: for every activation vector of the part's
//!   channel all its weight vectors, one step a cycle unless a bank queue is full (`timing::queues`). Queues empty
//!   while a PE waits. A PE without activations for a part finishes it on arrival.
//! - **Rounds.** A PE begins a round when the half that it fills has been drained (the round before the last), with
//!   drift `group` also not before all PEs have finished the round before, and when the source tile is loaded. What
//!   of the source had spilled is read again in each round, requested when the first PE begins it, and no PE finishes
//!   the round before it has arrived.
//! - **Drains** run one after the other. The drain of a round begins when the last product of the round has left its
//!   queue in every PE; it takes the cycles of the busiest halo link and then those of the PE with most outputs, and
//!   not less than its residual operand takes from DRAM. Its results go to DRAM, if that is where they go, when it
//!   has ended.
//! - **The mover** executes `lda` and `sta` in order. A load begins when no earlier instruction reads the region any
//!   more, a store when the drains before it have ended; each takes as long as DRAM, and at least a cycle for every
//!   vector of the fullest PE.
//! - The layer ends when every unit is idle.
//!
//! Waiting is divided by what is waited for, in this order: for other PEs, for PPUs and links, for activations
//! from DRAM, for the weight bus, for weights from DRAM.

use super::dram::Dram;
use super::queues;
use super::vectors::{AccumulatorTile, BankOf, PassVectors, WeightVectors};
use super::work::{LayerWork, Process, Round, Task, rounds, share};
use super::{Slots, Timed};
use scnn_isa::layer::ArrayStage;
use scnn_isa::layout::Grid;
use scnn_isa::machine::{Drift, Machine};
use scnn_isa::section::group_channels;
use std::collections::VecDeque;

/// Simulates a layer.
pub fn time(machine: &Machine, work: &LayerWork) -> Timed {
    let mut engine = Engine::new(machine, work);
    engine.run();
    engine.finish()
}

/// A round and how far it is.
struct Item<'a> {
    round: Round<'a>,
    /// PE groups that have not finished it.
    running: u32,
    /// When the first PE began and the last one finished.
    begun: Option<u64>,
    finished: u64,
    /// When the last product left its queue.
    retired: u64,
    /// When what had spilled has arrived.
    spill: Option<u64>,
}

/// A part of a weight block.
struct Part {
    item: usize,
    channel: u32,
    residue: u32,
    elements: std::ops::Range<usize>,
    vectors: u64,
    bytes: u64,
    /// Whether it is the first or last part of its item.
    first: bool,
    last: bool,
}

/// The weight stream of a PE group.
struct Stream {
    group: u32,
    /// Items whose parts are already listed.
    listed: usize,
    /// Parts to be delivered.
    waiting: VecDeque<Part>,
    /// Parts delivered and not yet run, with the time by the bus alone and the time with DRAM.
    arrived: VecDeque<(Part, u64, u64)>,
    /// Vectors of parts in the FIFOs, and when the last PE finished each, as far as known.
    held: VecDeque<(u64, Option<u64>)>,
    held_vectors: u64,
    /// When the room was last known to become free.
    room: u64,
    last_arrival: u64,
    /// The last part that has run, if its round has not ended.
    ending: Option<Ending>,
    /// When the last PE of the group finished what it has run.
    busiest: u64,
    /// The PEs of the group, as (PE of the array, PE of the group).
    pes: Vec<(usize, usize)>,
}

/// The end of a round for a PE group.
#[derive(Clone, Copy)]
struct Ending {
    item: usize,
    /// When its last part was there, by the bus alone and with DRAM.
    by_bus: u64,
    arrival: u64,
}

/// Why a request was made.
enum Reason {
    Move { task: usize, vectors: u64 },
    Spill { item: usize },
    Operand,
    Source { task: usize },
    Result,
}

impl Reason {
    /// Who comes first at the same time.
    const fn rank(&self) -> u8 {
        match self {
            Self::Move { .. } => 0,
            Self::Spill { .. } => 1,
            Self::Operand | Self::Source { .. } => 2,
            Self::Result => 3,
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

/// What the parts of a `mac` share.
struct Prepared {
    vectors: PassVectors,
    accumulators: AccumulatorTile,
    /// By PE group: the PEs that have a tile.
    pes: Vec<Vec<(usize, usize)>>,
}

struct Engine<'a> {
    machine: &'a Machine,
    work: &'a LayerWork<'a>,
    array: Option<&'a ArrayStage>,
    depth: u16,
    dram: Dram,
    requests: Vec<Request>,
    bus: Vec<u64>,
    streams: Vec<Stream>,
    items: Vec<Item<'a>>,
    /// Vectors of the passes that are under way, by task.
    vectors: Vec<Option<Prepared>>,
    scratch: WeightVectors,
    /// By PE of the array.
    finish: Vec<u64>,
    /// By (PE, bank).
    queued: Vec<u16>,
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
    latest: u64,
    /// Cycles that PEs waited, by cause.
    waits: Slots,
}

impl<'a> Engine<'a> {
    fn new(machine: &'a Machine, work: &'a LayerWork<'a>) -> Self {
        let array = work.layer.array.as_ref();
        let groups = array.map_or(0, |array| array.pe_groups.count());
        let items: Vec<Item> = rounds(&work.tasks)
            .into_iter()
            .map(|round| Item {
                round,
                running: groups,
                begun: None,
                finished: 0,
                retired: 0,
                spill: None,
            })
            .collect();
        let mut closing = Vec::new();
        for (number, item) in items.iter().enumerate() {
            closing.resize(closing.len().max(item.round.ordinal + 1), 0);
            closing[item.round.ordinal] = number;
        }
        let pes = machine.pe_count() as usize;
        let mut engine = Self {
            machine,
            work,
            array,
            depth: machine.pe.queue_depth as u16,
            dram: Dram::new(machine.dram_bytes_per_cycle()),
            requests: Vec::new(),
            bus: vec![0; machine.weights.bus_vectors_per_cycle as usize],
            streams: Vec::new(),
            items,
            vectors: work.tasks.iter().map(|_| None).collect(),
            scratch: WeightVectors::new(machine.pe.weights_per_vector as usize),
            finish: vec![0; pes],
            queued: vec![0; pes * machine.pe.banks as usize],
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
            latest: 0,
            waits: Slots::default(),
        };
        if let Some(array) = array {
            let group_pes = work.source_layout.tiles[0].pes();
            engine.streams = (0..array.pe_groups.count())
                .map(|group| Stream::new(group, array.pe_groups, group_pes, machine))
                .collect();
        }
        engine
    }

    fn run(&mut self) {
        loop {
            self.progress();
            let request = self
                .requests
                .iter()
                .enumerate()
                .min_by_key(|(_, request)| (request.ready, request.reason.rank()))
                .map(|(index, request)| (request.ready, index));
            let stream = (0..self.streams.len())
                .filter_map(|index| Some((self.next_delivery(index)?, index)))
                .min();
            match (request, stream) {
                (Some((ready, index)), None) => self.serve(ready, index),
                (Some((ready, index)), Some((delivery, _))) if ready <= delivery => {
                    self.serve(ready, index);
                }
                (_, Some((delivery, stream))) => self.deliver(delivery, stream),
                (None, None) => break,
            }
        }
        debug_assert!(
            self.items.iter().all(|item| item.running == 0)
                && self.ended.iter().all(Option::is_some),
            "every task of a verified layer ends"
        );
    }

    /// Does everything whose time is known, until nothing is left.
    fn progress(&mut self) {
        loop {
            let mut changed = false;
            for stream in 0..self.streams.len() {
                self.list_parts(stream);
                while self.run_part(stream) {
                    changed = true;
                }
            }
            while self.advance_mover() || self.advance_ppu() {
                changed = true;
            }
            if !changed {
                return;
            }
        }
    }

    /// Lists the parts of the next items, so that the stream always has one to deliver while there are any.
    fn list_parts(&mut self, index: usize) {
        let Some(array) = self.array else { return };
        while self.streams[index].waiting.is_empty()
            && self.streams[index].listed < self.items.len()
        {
            let number = self.streams[index].listed;
            let group = self.streams[index].group;
            let parts = self.parts(array, number, group);
            self.streams[index].listed += 1;
            self.streams[index].waiting = parts;
        }
    }

    /// The parts of an item for one PE group. An item without weights still has one, of nothing.
    fn parts(&self, array: &ArrayStage, number: usize, group: u32) -> VecDeque<Part> {
        let item = &self.items[number];
        let layer = self.work.layer;
        let weights = self
            .work
            .weights
            .expect("a layer with an array stage has weights");
        let format = self.machine.weight_format();
        let fifo = self.machine.fifo_elements() as usize;
        let width = self.machine.pe.weights_per_vector as usize;
        let index = (item.round.number * array.pe_groups.count() + group) as usize;
        let channels = group_channels(
            array,
            array.channel_groups[index],
            layer.source.channels.len(),
            layer.destination.channels.len(),
        );
        let residues = self.work.source_layout.residues.count();
        let mut parts = VecDeque::new();
        let mut carried = 0;
        for channel in channels.intersect(item.round.multiply.channels).iter() {
            for residue in 0..residues {
                let elements = weights.len(index, channel, residue);
                let bytes = format.block_bytes(elements as u64);
                if elements == 0 {
                    carried += bytes;
                    continue;
                }
                for begin in (0..elements).step_by(fifo) {
                    let end = (begin + fifo).min(elements);
                    let more = share(bytes, begin as u64, (end - begin) as u64, elements as u64);
                    parts.push_back(Part {
                        item: number,
                        channel,
                        residue,
                        elements: begin..end,
                        vectors: (end - begin).div_ceil(width) as u64,
                        bytes: more + std::mem::take(&mut carried),
                        first: false,
                        last: false,
                    });
                }
            }
        }
        if parts.is_empty() {
            parts.push_back(Part {
                item: number,
                channel: channels.begin,
                residue: 0,
                elements: 0..0,
                vectors: 0,
                bytes: carried,
                first: false,
                last: false,
            });
        }
        parts[0].first = true;
        let last = parts.len() - 1;
        parts[last].last = true;
        parts
    }

    /// When the next part of a stream can be requested, if that is known.
    fn next_delivery(&mut self, index: usize) -> Option<u64> {
        let capacity = u64::from(self.machine.weights.fifo_vectors);
        let bus = self.bus.iter().copied().min().unwrap_or(0);
        let stream = &mut self.streams[index];
        let vectors = stream.waiting.front()?.vectors;
        while stream.held_vectors + vectors > capacity {
            let &(oldest, finished) = stream.held.front()?;
            stream.room = stream.room.max(finished?);
            stream.held_vectors -= oldest;
            stream.held.pop_front();
        }
        Some(stream.room.max(stream.last_arrival).max(bus))
    }

    fn deliver(&mut self, ready: u64, index: usize) {
        let Some(part) = self.streams[index].waiting.pop_front() else {
            return;
        };
        let by_bus = ready + part.vectors;
        let arrival = by_bus.max(self.dram.serve(ready, part.bytes));
        if part.vectors > 0
            && let Some(lane) = self.bus.iter_mut().min()
        {
            *lane = arrival;
        }
        let stream = &mut self.streams[index];
        stream.last_arrival = arrival;
        stream.held.push_back((part.vectors, None));
        stream.held_vectors += part.vectors;
        stream.arrived.push_back((part, by_bus, arrival));
    }

    /// Times before which no PE begins an item: for other PEs, for the PPUs, for the source; none if not known yet.
    fn bounds(&self, number: usize) -> Option<[u64; 3]> {
        let item = &self.items[number];
        let mut barrier = 0;
        if self.machine.sync.drift == Drift::Group
            && let Some(before) = number.checked_sub(1)
        {
            let before = &self.items[before];
            if before.running > 0 {
                return None;
            }
            barrier = before.finished;
        }
        let mut drain = 0;
        if let (true, Some(before)) = (item.round.multiply.opens, item.round.ordinal.checked_sub(2))
        {
            drain = self.drained[before]?;
            let finished = self.items[self.closing[before]].finished;
            barrier = barrier.max(finished);
        }
        let load = self.work.tasks[..item.round.task]
            .iter()
            .enumerate()
            .rev()
            .find_map(|(task, other)| match other {
                Task::Load(load) if load.place.overlaps(&item.round.multiply.from) => {
                    Some(self.ended[task])
                }
                _ => None,
            });
        let load = match load {
            None => 0,
            Some(end) => end?,
        };
        Some([barrier, drain, load])
    }

    /// Runs the oldest part that has arrived on all PEs of its group, or ends the round that ran; whether it could.
    fn run_part(&mut self, index: usize) -> bool {
        if let Some(ending) = self.streams[index].ending {
            return self.end_round(index, ending);
        }
        let Some((part, ..)) = self.streams[index].arrived.front() else {
            return false;
        };
        let number = part.item;
        // Only a round's first part waits for more than its weights.
        let bounds = if part.first {
            match self.bounds(number) {
                Some(bounds) => bounds,
                None => return false,
            }
        } else {
            [0; 3]
        };
        let Some((part, by_bus, arrival)) = self.streams[index].arrived.pop_front() else {
            return false;
        };
        self.prepare(&part, index);
        let begun = self.execute(&part, index, bounds, by_bus, arrival);
        if part.first {
            self.begin_round(number, begun);
        }
        if part.last {
            self.streams[index].ending = Some(Ending {
                item: number,
                by_bus,
                arrival,
            });
        }
        true
    }

    /// A PE group has begun a round: what had spilled is read again, as soon as the first group begins.
    fn begin_round(&mut self, number: usize, begun: u64) {
        let item = &mut self.items[number];
        let earliest = item.begun.map_or(begun, |other| other.min(begun));
        let asked = item.begun.replace(earliest).is_some();
        let bytes = item.round.multiply.spilled_bytes;
        if bytes == 0 {
            return;
        }
        if !asked {
            self.request(earliest, bytes, Reason::Spill { item: number });
        }
        for request in &mut self.requests {
            if matches!(request.reason, Reason::Spill { item } if item == number) {
                request.ready = earliest;
            }
        }
    }

    /// Ends a round for a PE group, once what had spilled is there.
    fn end_round(&mut self, index: usize, ending: Ending) -> bool {
        let number = ending.item;
        let item = &self.items[number];
        let spill = match (item.round.multiply.spilled_bytes, item.spill) {
            (0, _) => 0,
            (_, Some(arrived)) => arrived,
            (_, None) => return false,
        };
        let banks = self.machine.pe.banks as usize;
        let (mut finished, mut retired) = (0, 0);
        for pe in self.busy_pes(index, number) {
            let finish = &mut self.finish[pe.0];
            let queued = &mut self.queued[pe.0 * banks..(pe.0 + 1) * banks];
            let arrival = ending.arrival.max(spill);
            let end = wait(&mut self.waits, *finish, [0, 0, 0, ending.by_bus, arrival]);
            queues::idle(queued, end - *finish);
            *finish = end;
            finished = finished.max(*finish);
            retired = retired.max(*finish + queues::longest(queued));
        }
        let stream = &mut self.streams[index];
        stream.ending = None;
        stream.busiest = stream.busiest.max(finished);
        let item = &mut self.items[number];
        item.finished = item.finished.max(finished);
        item.retired = item.retired.max(retired);
        item.running -= 1;
        self.latest = self.latest.max(item.finished);
        if item.running == 0 {
            let task = item.round.task;
            let mut of_task = self.items.iter().filter(|item| item.round.task == task);
            if of_task.clone().all(|item| item.running == 0) {
                self.ended[task] = of_task.by_ref().map(|item| item.finished).max();
                self.vectors[task] = None;
            }
        }
        true
    }

    /// The PEs of a group that have a tile in the pass of an item, as (PE of the array, PE of the group).
    fn busy_pes(&self, index: usize, number: usize) -> Vec<(usize, usize)> {
        let pass = self.items[number].round.multiply.pass;
        let tile = &self.work.source_layout.tiles[pass.source_tile as usize];
        let cols = tile.pes().cols;
        let pes = self.streams[index].pes.iter().copied();
        pes.filter(|&(_, pe)| !tile.pe_rect(pe as u32 / cols, pe as u32 % cols).is_empty())
            .collect()
    }

    /// Makes the vectors of the part's pass and its weights ready.
    fn prepare(&mut self, part: &Part, index: usize) {
        let Some(array) = self.array else { return };
        let item = &self.items[part.item];
        let layer = self.work.layer;
        let (multiply, task) = (item.round.multiply, item.round.task);
        let tile = &self.work.source_layout.tiles[multiply.pass.source_tile as usize];
        let inner = layer.inner_rect(multiply.pass.output);
        if self.vectors[task].is_none() {
            let vectors = PassVectors::new(
                self.machine,
                array,
                (
                    &multiply.source,
                    self.work.source_shape,
                    self.work.source_layout,
                ),
                (tile, inner),
                (layer.source.channels.begin, multiply.channels),
            );
            let prepared = Prepared {
                vectors,
                accumulators: AccumulatorTile::of(array, tile, inner),
                pes: (0..self.streams.len())
                    .map(|stream| self.busy_pes(stream, part.item))
                    .collect(),
            };
            self.vectors[task] = Some(prepared);
        }
        let group = item.round.number * array.pe_groups.count() + self.streams[index].group;
        let Some(prepared) = &self.vectors[task] else {
            return;
        };
        if let Some(weights) = self.work.weights
            && !part.elements.is_empty()
            && prepared.vectors.blocks(part.channel, part.residue).len() > 0
        {
            self.scratch.fill(
                weights,
                (group as usize, part.channel, part.residue),
                part.elements.clone(),
                array,
                prepared.accumulators,
                BankOf::new(self.machine),
            );
        }
    }

    /// Runs a part on every PE of the group that has a tile; when the first of them began.
    fn execute(
        &mut self,
        part: &Part,
        index: usize,
        [barrier, drain, load]: [u64; 3],
        by_bus: u64,
        arrival: u64,
    ) -> u64 {
        let banks = self.machine.pe.banks as usize;
        let task = self.items[part.item].round.task;
        let prepared = self.vectors[task].as_ref().expect("the part was prepared");
        let stream = &mut self.streams[index];
        let mut earliest = arrival;
        if part.first {
            // The round begins for all; later parts concern those that have something to multiply.
            let begins = prepared.pes[index].iter().map(|&(pe, _)| {
                let finish = &mut self.finish[pe];
                let begin = wait(
                    &mut self.waits,
                    *finish,
                    [barrier, drain, load, by_bus, arrival],
                );
                let queued = &mut self.queued[pe * banks..(pe + 1) * banks];
                queues::idle(queued, begin - *finish);
                *finish = begin;
                stream.busiest = stream.busiest.max(begin);
                begin
            });
            earliest = begins.min().unwrap_or(arrival);
        }
        if !part.elements.is_empty() {
            for block in prepared.vectors.blocks(part.channel, part.residue) {
                let (pe, _) = stream.pes[block.pe];
                let finish = &mut self.finish[pe];
                let queued = &mut self.queued[pe * banks..(pe + 1) * banks];
                let begin = wait(&mut self.waits, *finish, [0, 0, 0, by_bus, arrival]);
                queues::idle(queued, begin - *finish);
                let busy = queues::run(queued, self.depth, &block, &self.scratch);
                *finish = begin + busy.steps + busy.stalls;
                self.waits.bank_stall += busy.stalls;
                stream.busiest = stream.busiest.max(*finish);
            }
        }
        let latest = stream.busiest.max(arrival);
        let held = &mut stream.held;
        if let Some(held) = held.iter_mut().find(|(_, finished)| finished.is_none()) {
            held.1 = Some(latest);
        }
        earliest
    }

    /// Starts the mover's next transfer, if what it waits for is known.
    fn advance_mover(&mut self) -> bool {
        if self.mover_busy {
            return false;
        }
        let is_move = |task: &Task| matches!(task, Task::Load(_) | Task::Store(_));
        let tasks = &self.work.tasks;
        while tasks
            .get(self.next_mover)
            .is_some_and(|task| !is_move(task))
        {
            self.next_mover += 1;
        }
        let task = self.next_mover;
        if task == tasks.len() {
            return false;
        }
        let before = &self.work.tasks[..task];
        let mut ready = self.mover_free;
        let (bytes, reason) = match &self.work.tasks[task] {
            Task::Load(load) => {
                for (index, other) in before.iter().enumerate() {
                    let reads = match other {
                        Task::Multiply(multiply) => multiply.from.overlaps(&load.place),
                        Task::Process(process) => process.from.overlaps(&load.place),
                        _ => false,
                    };
                    if reads {
                        let Some(end) = self.ended[index] else {
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
                        let Some(end) = self.ended[index] else {
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
        self.next_mover = task + 1;
        self.mover_busy = true;
        self.request(ready, bytes, reason);
        true
    }

    /// Starts the PPUs' next drain or tile, if what it waits for is known.
    fn advance_ppu(&mut self) -> bool {
        if self.ppu_busy {
            return false;
        }
        if self.drains.is_empty() {
            let Some(task) = (self.next_ppu..self.work.tasks.len())
                .find(|&t| matches!(self.work.tasks[t], Task::Drain(_) | Task::Process(_)))
            else {
                return false;
            };
            if let Task::Process(process) = &self.work.tasks[task] {
                return self.start_process(task, process);
            }
            self.next_ppu = task + 1;
            self.list_drains(task);
        }
        let Some(drain) = self.drains.front() else {
            return false;
        };
        let item = &self.items[self.closing[drain.ordinal]];
        if item.running > 0 {
            return false;
        }
        let begin = item.retired.max(self.ppu_free);
        if drain.operand_bytes > 0 {
            self.ppu_busy = true;
            let bytes = drain.operand_bytes;
            self.request(begin, bytes, Reason::Operand);
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
            .items
            .iter()
            .rev()
            .find(|item| item.round.task < task && item.round.multiply.closes)
            .map(|item| item.round.task);
        let ordinals: Vec<usize> = self
            .items
            .iter()
            .filter(|item| Some(item.round.task) == mac)
            .map(|item| item.round.ordinal)
            .collect();
        let all: u64 = drain.outputs.iter().sum();
        let (before, whole) = self.outputs_before(task);
        let mut done = 0;
        for (index, ordinal) in ordinals.into_iter().enumerate() {
            let outputs = drain.outputs[index];
            self.drains.push_back(RoundDrain {
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
        let Some(drain) = self.drains.pop_front() else {
            return;
        };
        let end = (begin + drain.cycles).max(operand);
        self.ppu_free = end;
        self.drained[drain.ordinal] = Some(end);
        self.latest = self.latest.max(end);
        self.write(end, drain.result_bytes);
        if self.drains.is_empty() {
            self.ended[drain.task] = Some(end);
        }
    }

    fn start_process(&mut self, task: usize, process: &Process) -> bool {
        let load = self.work.tasks[..task]
            .iter()
            .enumerate()
            .rev()
            .find_map(|(index, other)| match other {
                Task::Load(load) if load.place.overlaps(&process.from) => Some(self.ended[index]),
                _ => None,
            });
        let loaded = match load {
            None => 0,
            Some(Some(end)) => end,
            Some(None) => return false,
        };
        self.next_ppu = task + 1;
        let begin = self.ppu_free.max(loaded);
        if process.read_bytes > 0 {
            self.ppu_busy = true;
            self.request(begin, process.read_bytes, Reason::Source { task });
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
        self.ppu_free = end;
        self.latest = self.latest.max(end);
        self.ended[task] = Some(end);
        let (before, whole) = self.outputs_before(task);
        let bytes = share(self.work.result_bytes, before, process.outputs, whole);
        self.write(end, bytes);
    }

    fn write(&mut self, ready: u64, bytes: u64) {
        if bytes > 0 {
            self.request(ready, bytes, Reason::Result);
        }
    }

    fn request(&mut self, ready: u64, bytes: u64, reason: Reason) {
        self.requests.push(Request {
            ready,
            bytes,
            reason,
        });
    }

    fn serve(&mut self, ready: u64, index: usize) {
        let request = self.requests.remove(index);
        let end = self.dram.serve(ready, request.bytes);
        self.latest = self.latest.max(end);
        match request.reason {
            Reason::Move { task, vectors } => {
                let end = end.max(ready + vectors);
                self.latest = self.latest.max(end);
                self.mover_free = end;
                self.mover_busy = false;
                self.ended[task] = Some(end);
            }
            Reason::Spill { item } => self.items[item].spill = Some(end),
            Reason::Operand => {
                self.ppu_busy = false;
                self.end_drain(ready, end);
            }
            Reason::Source { task } => {
                self.ppu_busy = false;
                self.end_process(task, ready, end);
            }
            Reason::Result => {}
        }
    }

    /// The layer's end, and the waiting of every PE until then.
    fn finish(mut self) -> Timed {
        let cycles = self.latest;
        let last_pe = self.finish.iter().copied().max().unwrap_or(0);
        let loaded = self
            .work
            .tasks
            .iter()
            .enumerate()
            .filter(|(_, task)| matches!(task, Task::Load(_)))
            .filter_map(|(index, _)| self.ended[index])
            .max()
            .unwrap_or(0);
        // A layer of the PPU alone waits for its loads first.
        let first = if self.array.is_some() { 0 } else { loaded };
        let mut no_tile = 0;
        for (pe, &finish) in self.finish.iter().enumerate() {
            if self.work.has_tile[pe] {
                let at = finish.max(first.min(cycles));
                self.waits.dram += at - finish;
                wait(&mut self.waits, at, [last_pe, self.ppu_free, cycles, 0, 0]);
            } else {
                no_tile += cycles;
            }
        }
        self.waits.no_tile = no_tile;
        let lanes = u64::from(self.machine.multipliers_per_pe());
        Timed {
            cycles,
            waits: self.waits.times(lanes),
        }
    }
}

impl Stream {
    fn new(group: u32, groups: Grid, pes: Grid, machine: &Machine) -> Self {
        let (row, col) = (
            group / groups.cols * pes.rows,
            group % groups.cols * pes.cols,
        );
        let pes = (0..pes.count())
            .map(|pe| {
                let at = (row + pe / pes.cols) * machine.array.cols + col + pe % pes.cols;
                (at as usize, pe as usize)
            })
            .collect();
        Self {
            group,
            listed: 0,
            waiting: VecDeque::new(),
            arrived: VecDeque::new(),
            held: VecDeque::new(),
            held_vectors: 0,
            room: 0,
            last_arrival: 0,
            ending: None,
            busiest: 0,
            pes,
        }
    }
}

/// Divides the time from `from` to the latest of the bounds by cause; returns that time.
fn wait(waits: &mut Slots, from: u64, bounds: [u64; 5]) -> u64 {
    let mut at = from;
    let causes = [
        &mut waits.barrier,
        &mut waits.drain,
        &mut waits.dram,
        &mut waits.fifo,
    ];
    for (cause, &bound) in causes.into_iter().zip(&bounds) {
        *cause += bound.saturating_sub(at);
        at = at.max(bound);
    }
    waits.dram += bounds[4].saturating_sub(at);
    at.max(bounds[4])
}
