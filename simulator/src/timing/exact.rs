//! Timing `exact`: every step, every queue, every transfer.
//!
//! The rules are sections 4 to 10 of `isa/RULES.md`; all times are cycles from the first request for weights, which comes up to
//! `head_start` cycles before the layer begins. How they are computed:
//!
//! - `stream`: the weight blocks of a PE group, cut into parts, and the room in its FIFOs. `pes`: progress of each PE, and the
//!   products before its banks. `units`: the mover, the PPUs, and all requests for bulk transfers. `timing::dram`: the channel.
//! - A part runs on all its PEs as soon as its time of arrival is known: that time may lie ahead, as nothing that is not known
//!   yet can change it. Requests for DRAM and the bus, which compete, are served in the order of time:
//!   `Engine::next` takes the earliest of a bulk transfer that begins or ends and a part that is requested, and
//!   `Engine::progress` does everything whose time is known then.
//! - Waiting is charged where a PE is made to wait (`pes::wait`), and waiting until the layer's end in `Engine::finish`.

mod pes;
mod stream;
mod units;

use self::pes::{PartRun, Pes};
use self::stream::{Arrived, PartBounds, Source, Stream};
use self::units::{Units, load_before};
use super::Timed;
use super::addresses::{AccumulatorTile, BankOf};
use super::dram::Dram;
use super::table::{Table, TapAddresses};
use super::vectors::PassVectors;
use super::watch::{Event, FromBegin, NoWatcher, Watcher, Work};
use super::work::{LayerWork, Round, Task, rounds};
use scnn_isa::machine::{Drift, Machine};

/// Simulates a layer whose weights may be requested `head_start` cycles before it begins.
pub fn time(machine: &Machine, work: &LayerWork, head_start: u64) -> Timed {
    time_watched(machine, work, head_start, &mut NoWatcher)
}

/// Simulates a layer before a watcher.
pub fn time_watched<W: Watcher>(
    machine: &Machine,
    work: &LayerWork,
    head_start: u64,
    watcher: &mut W,
) -> Timed {
    let mut watcher = FromBegin {
        begin: head_start,
        watcher,
    };
    let mut engine = Engine::new(machine, work, head_start, &mut watcher);
    engine.run();
    engine.finish()
}

/// Progress of a round.
#[derive(Clone)]
struct Progress {
    /// PE groups that have not finished it.
    running: u32,
    /// Cycles in which the first PE began and the last one finished.
    begun: Option<u64>,
    finished: u64,
    /// By PE group, once it has finished it.
    groups: Vec<Option<Finished>>,
    /// Cycle in which the spilled elements that it reads have arrived.
    spill: Option<u64>,
}

/// The end of a round in a PE group.
#[derive(Clone, Copy)]
struct Finished {
    /// Cycle in which its last PE finished.
    at: u64,
    /// Cycle in which the last product left its queue.
    retired: u64,
}

/// Progress of a `mac`.
#[derive(Default)]
struct MacProgress {
    /// The load that brings its source, if one does.
    load: Option<usize>,
    /// Rounds of PE groups that have not ended.
    running: u32,
    begun: Option<u64>,
    finished: u64,
    /// From the first part on to the last.
    pass: Option<PreparedPass>,
}

/// Data that the parts of a `mac` share.
struct PreparedPass {
    vectors: PassVectors,
    addresses: TapAddresses,
    /// PEs of a group that have a tile.
    with_tile: Vec<usize>,
}

/// The next event.
enum Next {
    /// DRAM begins with a request.
    Serve(usize),
    /// DRAM has served a request.
    Served(u64),
    /// A stream requests a part.
    Deliver(u64, usize),
}

struct Engine<'a, W> {
    machine: &'a Machine,
    work: &'a LayerWork<'a>,
    watcher: &'a mut W,
    /// Cycle in which the layer begins.
    begin: u64,
    source: Option<Source<'a>>,
    dram: Dram,
    /// Time at which the weight bus is free, in units of one vector on the bus.
    bus: u64,
    /// Vectors that it carries in a cycle.
    bus_width: u64,
    streams: Vec<Stream>,
    rounds: Vec<Round<'a>>,
    items: Vec<Progress>,
    /// By task.
    macs: Vec<MacProgress>,
    table: Table,
    pes: Pes,
    /// When each PE began its round, and each stream its item; kept only for those who watch.
    begun: Vec<u64>,
    asked: Vec<u64>,
    units: Units,
    latest: u64,
}

impl<'a, W: Watcher> Engine<'a, W> {
    fn new(
        machine: &'a Machine,
        work: &'a LayerWork<'a>,
        head_start: u64,
        watcher: &'a mut W,
    ) -> Self {
        let array = work.layer.array.as_ref();
        let source = array.zip(work.weights).map(|(array, weights)| Source {
            weights,
            array,
            residues: work.source_layout.residues.count(),
            format: machine.weight_format(),
            fifo_elements: machine.fifo_elements(),
            fifo_vectors: u64::from(machine.weights.fifo_vectors),
            width: machine.pe.weights_per_vector,
        });
        let groups = array.map_or(0, |array| array.pe_groups.count());
        let rounds = rounds(&work.tasks);
        let mut macs: Vec<MacProgress> =
            work.tasks.iter().map(|_| MacProgress::default()).collect();
        for round in &rounds {
            macs[round.task].running += groups;
        }
        for (task, mac) in macs.iter_mut().enumerate() {
            if let Task::Multiply(multiply) = &work.tasks[task] {
                mac.load = load_before(&work.tasks, task, &multiply.from);
            }
        }
        let streams: Vec<Stream> = array.map_or_else(Vec::new, |array| {
            let pes = work.source_layout.tiles[0].pes();
            (0..groups)
                .map(|group| Stream::new(group, array.pe_groups, pes, machine, head_start))
                .collect()
        });
        let largest = source.as_ref().map_or(0, |source| {
            source
                .weights
                .largest_block()
                .min(source.fifo_elements)
                .div_ceil(source.width)
        });
        let item = Progress {
            running: groups,
            begun: None,
            finished: 0,
            groups: vec![None; groups as usize],
            spill: None,
        };
        Self {
            machine,
            work,
            watcher,
            begin: head_start,
            dram: Dram::new(machine.dram_bytes_per_cycle()),
            bus: 0,
            bus_width: u64::from(machine.weights.bus_vectors_per_cycle),
            items: vec![item; rounds.len()],
            macs,
            table: Table::new(BankOf::new(machine), largest as usize),
            pes: Pes::new(machine, head_start),
            begun: vec![0; machine.pe_count() as usize],
            asked: vec![0; streams.len()],
            units: Units::new(work, groups as usize, &rounds, head_start),
            latest: head_start,
            source,
            streams,
            rounds,
        }
    }

    fn run(&mut self) {
        if let Some(source) = &self.source {
            for stream in &mut self.streams {
                stream.look_ahead(source, &self.rounds);
            }
        }
        self.progress();
        while let Some(next) = self.next() {
            match next {
                Next::Serve(index) => {
                    self.serve(index);
                    self.progress();
                }
                Next::Served(end) => {
                    self.end_service(end);
                    self.progress();
                }
                Next::Deliver(ready, stream) => {
                    // Only the first and the last part of a round concern other units.
                    if self.deliver(ready, stream) {
                        self.progress();
                    }
                }
            }
        }
        debug_assert!(
            self.items.iter().all(|item| item.running == 0) && self.units.all_ended(),
            "every task of a verified layer ends"
        );
    }

    /// Cycle in which a stream can request its next part: its FIFOs have room for it and its activations are there. Before the
    /// layer begins it does not wait for the activations, if DRAM will have carried the part by then.
    fn deliverable(&self, stream: &Stream) -> Option<u64> {
        if stream.deliverable == u64::MAX {
            return None;
        }
        let part = stream.next()?;
        if stream.deliverable < self.begin && self.dram.carries_weights_by(self.begin, part.bytes) {
            return Some(stream.deliverable);
        }
        let loaded = self.loaded(part.item, part.column)?;
        Some(stream.deliverable.max(loaded))
    }

    /// The next event that concerns DRAM or the bus: the earliest, those of bulk transfers before requests for weights.
    fn next(&self) -> Option<Next> {
        let request = self.units.first_request().map(|(ready, index)| {
            let at = if self.units.is_empty_request(index) {
                ready
            } else {
                self.dram.begin_of_bulk(ready)
            };
            (at, Next::Serve(index))
        });
        let end = self.dram.end_of_bulk().map(|end| (end, Next::Served(end)));
        let bulk = match (end, request) {
            (Some(end), Some(request)) if end.0 <= request.0 => Some(end),
            (end, None) => end,
            (_, request) => request,
        };
        let delivery = self
            .streams
            .iter()
            .enumerate()
            .filter_map(|(index, stream)| {
                Some((self.deliverable(stream)?, stream.requested, index))
            })
            .min()
            .map(|(ready, _, index)| (ready, Next::Deliver(ready, index)));
        match (bulk, delivery) {
            (Some((at, next)), Some((other, _))) if at <= other => Some(next),
            (_, Some((_, next))) | (Some((_, next)), None) => Some(next),
            (None, None) => None,
        }
    }

    /// Advances every unit until no more times are known.
    fn progress(&mut self) {
        loop {
            let mut changed = false;
            for stream in 0..self.streams.len() {
                changed |= self.run_parts(stream);
            }
            while self.advance_mover() || self.advance_ppus() {
                changed = true;
            }
            if !changed {
                return;
            }
        }
    }

    /// Delivers the next part of a stream and runs the parts that can run then; returns whether a round began or ended.
    fn deliver(&mut self, ready: u64, index: usize) -> bool {
        let Some(source) = &self.source else {
            return false;
        };
        let Some(part) = self.streams[index].next() else {
            return false;
        };
        let (item, first, last, bytes) = (part.item, part.first, part.last, part.bytes);
        let loaded = self.loaded(item, part.column);
        self.bus = self.bus.max(ready * self.bus_width) + part.vectors;
        let by_bus = self.bus.div_ceil(self.bus_width);
        let served = self.dram.weights(ready, bytes);
        let arrival = by_bus.max(served);
        let stream = &mut self.streams[index];
        let runs = stream.deliver(ready, by_bus, arrival, loaded.is_some());
        if runs.is_none() {
            stream.look_ahead(source, &self.rounds);
        }
        if W::WATCHES {
            let task = self.rounds[item].task;
            self.transfer(task, served, bytes);
            if first {
                self.asked[index] = ready;
            }
            if last {
                let (group, round) = (self.streams[index].group, self.rounds[item].number);
                self.watcher.on_event(Event {
                    begin: self.asked[index],
                    end: arrival,
                    task,
                    work: Work::Weights { group, round },
                });
            }
        }
        match (runs, loaded) {
            (Some(arrived), Some(loaded)) => {
                self.run_part(index, &arrived, loaded);
                last && self.run_parts(index)
            }
            _ => self.run_parts(index),
        }
    }

    /// Records a transfer to or from DRAM that ends at cycle `end`.
    fn transfer(&mut self, task: usize, end: u64, bytes: u64) {
        if W::WATCHES && bytes > 0 {
            self.watcher.on_event(Event {
                begin: end,
                end,
                task,
                work: Work::Transfer { bytes },
            });
        }
    }

    /// Cycle in which the activations of a column of an item were loaded; none if not known yet.
    fn loaded(&self, item: usize, column: u32) -> Option<u64> {
        let round = &self.rounds[item];
        let (Some(load), Some(source)) = (self.macs[round.task].load, &self.source) else {
            return Some(0);
        };
        let first = self.work.layer.source.channels.begin + round.multiply.channels.begin;
        let first = round.multiply.first_column + first * source.residues;
        self.units.loaded(load, first + column)
    }

    /// Cycles before which no PE of a group begins an item, because of other PEs and because of the PPUs; none if not known yet.
    fn bounds(&self, group: usize, number: usize) -> Option<[u64; 2]> {
        let round = &self.rounds[number];
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
        if let (true, Some(before)) = (round.multiply.opens, round.ordinal.checked_sub(2)) {
            drain = self.units.drained(before, group)?;
            let finished = self.items[self.units.closing(before)].groups[group]?;
            barrier = barrier.max(finished.at);
        }
        Some([barrier, drain])
    }

    /// Runs the parts of a stream that can run; returns whether a round began or ended, for which others may wait.
    fn run_parts(&mut self, index: usize) -> bool {
        let mut milestone = false;
        loop {
            if let Some((item, bounds)) = self.streams[index].ending {
                if !self.end_round(index, item, bounds) {
                    return milestone;
                }
                milestone = true;
                continue;
            }
            let Some(arrived) = self.streams[index].arrived.front() else {
                return milestone;
            };
            let (item, first) = (arrived.part.item, arrived.part.first);
            let Some(loaded) = self.loaded(item, arrived.part.column) else {
                return milestone;
            };
            if first {
                let part = arrived.bounds(loaded);
                let Some(others) = self.bounds(index, item) else {
                    return milestone;
                };
                milestone = true;
                self.begin_round(index, item, others, part);
            }
            if let Some(arrived) = self.streams[index].arrived.pop_front() {
                self.run_part(index, &arrived, loaded);
            }
        }
    }

    /// Runs the oldest part that has not run, whose activations were loaded at cycle `loaded`.
    fn run_part(&mut self, index: usize, arrived: &Arrived, loaded: u64) {
        let stream = &mut self.streams[index];
        let Some(source) = &self.source else {
            return;
        };
        let part = &arrived.part;
        let round = &self.rounds[part.item];
        let bounds = arrived.bounds(loaded);
        let mut latest = stream.busiest.max(bounds.all());
        if let (Some(pass), false) = (&self.macs[round.task].pass, part.elements.is_empty()) {
            let blocks = pass.vectors.blocks(part.column);
            if !blocks.is_empty() {
                let elements = source.weights.elements(part.elements.clone());
                self.table
                    .begin(elements, source.width as usize, &pass.addresses);
                let run = PartRun {
                    bounds,
                    pes: &stream.pes,
                    vectors: &pass.vectors,
                    blocks,
                    classes: &pass.vectors.classes[(part.column % source.residues) as usize],
                    table: &mut self.table,
                };
                let finished = self.pes.run(run, W::WATCHES);
                stream.busiest = stream.busiest.max(finished);
                latest = latest.max(finished);
            }
        }
        stream.has_run(latest);
        stream.look_ahead(source, &self.rounds);
        if part.last {
            stream.ending = Some((part.item, bounds));
        }
    }

    /// A PE group begins a round, all PEs that have a tile; later parts concern those that have something to multiply.
    fn begin_round(&mut self, index: usize, number: usize, others: [u64; 2], mut part: PartBounds) {
        self.prepare(number);
        // The read of spilled elements ends an item for the whole group, also for PEs that have no tile there.
        let before = number
            .checked_sub(1)
            .and_then(|before| self.items[before].spill);
        part.loaded = part.loaded.max(before.unwrap_or(0));
        let stream = &mut self.streams[index];
        let Some(pass) = &self.macs[self.rounds[number].task].pass else {
            return;
        };
        let mut earliest = None;
        for &pe in &pass.with_tile {
            let pe = stream.pes[pe];
            let begin = self.pes.wait(pe, others, part);
            stream.busiest = stream.busiest.max(begin);
            earliest = Some(earliest.map_or(begin, |earliest: u64| earliest.min(begin)));
            if W::WATCHES {
                self.begun[pe] = begin;
                self.pes.busy[pe] = [0; 2];
            }
        }
        let begun = earliest.unwrap_or(part.arrived);
        let mac = &mut self.macs[self.rounds[number].task];
        mac.begun = Some(mac.begun.map_or(begun, |other| other.min(begun)));
        // Spilled elements are read again as soon as the first group begins.
        let item = &mut self.items[number];
        let earliest = item.begun.map_or(begun, |other| other.min(begun));
        let asked = item.begun.replace(earliest).is_some();
        let bytes = self.rounds[number].spilled_bytes();
        if bytes > 0 {
            self.units.request_spill(number, earliest, bytes, asked);
        }
    }

    /// Ends a round for a PE group, once spilled elements have arrived; `part` has the bounds of its last part.
    fn end_round(&mut self, index: usize, number: usize, mut part: PartBounds) -> bool {
        let round = &self.rounds[number];
        let spill = match (round.spilled_bytes(), self.items[number].spill) {
            (0, _) => 0,
            (_, Some(arrived)) => arrived,
            (_, None) => return false,
        };
        part.arrived = part.arrived.max(spill);
        let stream = &mut self.streams[index];
        let mac = &mut self.macs[round.task];
        let (mut finished, mut retired) = (0, 0);
        for &pe in mac.pass.iter().flat_map(|pass| &pass.with_tile) {
            let pe = stream.pes[pe];
            let finish = self.pes.wait(pe, [0; 2], part);
            finished = finished.max(finish);
            retired = retired.max(self.pes.retired(pe));
            if W::WATCHES {
                let [steps, stalls] = self.pes.busy[pe];
                self.watcher.on_event(Event {
                    begin: self.begun[pe],
                    end: finish,
                    task: round.task,
                    work: Work::Round {
                        pe,
                        round: round.number,
                        steps,
                        stalls,
                    },
                });
            }
        }
        stream.ending = None;
        stream.busiest = stream.busiest.max(finished);
        let item = &mut self.items[number];
        item.finished = item.finished.max(finished);
        item.groups[index] = Some(Finished {
            at: finished,
            retired,
        });
        item.running -= 1;
        self.latest = self.latest.max(item.finished);
        mac.finished = mac.finished.max(finished);
        mac.running -= 1;
        if mac.running == 0 {
            mac.pass = None;
            self.units.end(round.task, mac.finished);
            if W::WATCHES {
                self.watcher.on_event(Event {
                    begin: mac.begun.unwrap_or(0),
                    end: mac.finished,
                    task: round.task,
                    work: Work::Multiply,
                });
            }
        }
        true
    }

    /// Makes the vectors of a round's pass ready.
    fn prepare(&mut self, number: usize) {
        let round = &self.rounds[number];
        let (Some(array), true) = (&self.work.layer.array, self.macs[round.task].pass.is_none())
        else {
            return;
        };
        let layer = self.work.layer;
        let layout = self.work.source_layout;
        let pass = round.multiply.pass;
        let tile = &layout.tiles[pass.source_tile as usize];
        let inner = layer.inner_rect(pass.output);
        let vectors = PassVectors::new(
            self.machine,
            array,
            (&round.multiply.source, layout),
            (tile, inner),
            (layer.source.channels.begin, round.multiply.channels),
            self.table.spacing(),
        );
        let classes = vectors.classes.iter().map(super::vectors::Classes::count);
        self.table.make_room(classes.max().unwrap_or(0));
        let pes = tile.pes();
        let has_tile = |&pe: &u32| !tile.pe_rect(pe / pes.cols, pe % pes.cols).is_empty();
        self.macs[round.task].pass = Some(PreparedPass {
            vectors,
            addresses: TapAddresses::new(array, AccumulatorTile::of(array, tile, inner)),
            with_tile: (0..pes.count())
                .filter(has_tile)
                .map(|pe| pe as usize)
                .collect(),
        });
    }

    /// The layer's end, and the waiting of every PE until then.
    fn finish(mut self) -> Timed {
        let head_start = self.next_head_start();
        let end = self.latest;
        let last_pe = self.pes.finish.iter().copied().max().unwrap_or(0);
        let loads = |task: &usize| matches!(self.work.tasks[*task], Task::Load(_));
        let ends = (0..self.work.tasks.len())
            .filter(loads)
            .filter_map(|task| self.units.ended(task));
        let loaded = ends.max().unwrap_or(0);
        // A layer of the PPU alone waits for its loads first.
        let first = if self.source.is_some() { 0 } else { loaded };
        let Pes { finish, waits, .. } = &mut self.pes;
        for (pe, (&finish, waits)) in finish.iter().zip(&mut *waits).enumerate() {
            if self.work.has_tile[pe] {
                let at = finish.max(first.min(end));
                waits.dram += at - finish;
                let others = [last_pe, self.units.ppus_free()];
                let part = PartBounds {
                    loaded: end,
                    by_bus: 0,
                    arrived: 0,
                };
                pes::wait(waits, at, others, part);
            } else {
                waits.no_tile = end - self.begin;
            }
        }
        Timed {
            cycles: end - self.begin,
            waits: self.pes.waits,
            head_start,
        }
    }

    /// Cycles in which DRAM was idle since the layer's last item ended, which left all FIFOs empty.
    fn next_head_start(&self) -> u64 {
        let ended = self.items.iter().map(|item| item.finished).max();
        let ended = ended.unwrap_or(0).max(self.begin);
        self.dram.idle_cycles(ended, self.latest)
    }
}
