//! The time line of an array layer: weight streams, PEs, drains, loads and DRAM; bank queues as a factor on steps.
//!
//! A smaller telling of the machine's rules than the simulator's, written from the rules and not from its code. Parts
//! of the weight streams are delivered in the order of the time at which they can be asked for, and overtake in DRAM
//! what moves in bulk; everything else follows from that order:
//!
//! ```text
//! deliver part -> FIFO -> PEs run it when the round may begin -> last part of all groups: drain -> results to DRAM
//! ```

use super::{Candidate, Cost, Depth, banks, spread};
use crate::map::weights::BlockSizes;
use scnn_isa::halo::Exchange;
use scnn_isa::layer::Pass;
use scnn_isa::machine::Drift;
use std::collections::{BTreeMap, VecDeque};

/// A round of a pass.
struct Item {
    /// Its place among the passes that are counted.
    pass: usize,
    /// Its number in the pass.
    round: usize,
    /// PE groups that have not finished it.
    running: usize,
    /// When the first PE group began it, and the last one finished.
    begun: Option<u64>,
    finished: u64,
    /// When it had been drained.
    drained: Option<u64>,
    /// When what had spilled was there.
    spill: u64,
}

/// A part of a weight block.
#[derive(Clone, Copy)]
struct Part {
    item: usize,
    /// Column of the source tile; none when the round has no weights.
    column: Option<usize>,
    vectors: u64,
    bytes: u64,
    first: bool,
    last: bool,
}

/// The weight stream and the PEs of one PE group.
#[derive(Default)]
struct Stream {
    /// Items whose parts are listed.
    listed: usize,
    waiting: VecDeque<Part>,
    arrived: VecDeque<(Part, u64)>,
    /// Vectors in the FIFOs, and when the last PE had finished them, as far as that is known.
    held: VecDeque<(u64, Option<u64>)>,
    /// How many of them are finished.
    run: usize,
    held_vectors: u64,
    room: u64,
    /// Parts asked for, and when the last one was.
    requested: u64,
    last_request: u64,
    finish: Vec<u64>,
    busiest: u64,
}

/// What else asks DRAM.
#[derive(Clone, Copy)]
enum Reason {
    Load { pass: usize, fullest: u64 },
    Result,
}

/// See the module.
pub(super) struct TimeLine<'a, 'b> {
    candidate: &'b Candidate<'a>,
    sizes: &'a BlockSizes,
    residues: usize,
    /// The passes that are counted.
    passes: Vec<Pass>,
    items: Vec<Item>,
    streams: Vec<Stream>,
    /// When the bus is free, in parts of a cycle in which it carries one vector.
    bus: u64,
    cycles_per_byte: f64,
    /// When DRAM has carried the weights that were asked for, and what was asked for in bulk.
    weights_free: f64,
    bulk_free: f64,
    /// What waits for DRAM in bulk, by when it was ready and in which order it came: its cycles, and why.
    requests: BTreeMap<(u64, u64), (f64, Reason)>,
    /// Requests made so far.
    requests_made: u64,
    /// The request under way: when it was ready, when it ends if no more weights are asked for, and why it was made.
    in_service: Option<(u64, f64, Reason)>,
    /// Whether sources are loaded here; a sample adds the loads afterwards.
    loads: bool,
    next_load: usize,
    mover_free: u64,
    mover_busy: bool,
    loaded: Vec<Option<u64>>,
    ended: Vec<Option<u64>>,
    ppu_free: u64,
    latest: u64,
    /// Outputs of the whole layer, by which results are shared among the drains.
    outputs: u64,
    cost: Cost,
    fifo_writes: u64,
    iaram_reads: u64,
    halo_hops: u64,
    /// Cycles that a step takes, stalls included.
    cycles_per_step: f64,
}

impl<'a, 'b> TimeLine<'a, 'b> {
    pub(super) fn new(candidate: &'b Candidate<'a>, sizes: &'a BlockSizes, depth: Depth) -> Self {
        let machine = candidate.machine;
        let pe_groups = candidate.layout.groups.count() as usize;
        let pes = candidate.layout.tiles[0].pes().count() as usize;
        let all = candidate.passes.len();
        let rounds = sizes.groups.len() / pe_groups;
        let passes: Vec<Pass> = match depth {
            Depth::Whole => candidate.passes.to_vec(),
            Depth::Sampled(_) => spread(all, 3)
                .into_iter()
                .map(|pass| candidate.passes[pass])
                .collect(),
        };
        let loads = candidate.traffic.loads && depth == Depth::Whole;
        let items = (0..passes.len())
            .flat_map(|pass| {
                depth.rounds(rounds).into_iter().map(move |round| Item {
                    pass,
                    round,
                    running: pe_groups,
                    begun: None,
                    finished: 0,
                    drained: None,
                    spill: 0,
                })
            })
            .collect();
        let stream = || Stream {
            finish: vec![0; pes],
            ..Stream::default()
        };
        Self {
            candidate,
            sizes,
            residues: candidate.layout.residues.count() as usize,
            items,
            streams: (0..pe_groups).map(|_| stream()).collect(),
            bus: 0,
            cycles_per_byte: 1.0 / machine.dram_bytes_per_cycle(),
            weights_free: 0.0,
            bulk_free: 0.0,
            requests: BTreeMap::new(),
            requests_made: 0,
            in_service: None,
            loads,
            next_load: if loads { 0 } else { passes.len() },
            mover_free: 0,
            mover_busy: false,
            loaded: vec![if loads { None } else { Some(0) }; passes.len()],
            ended: vec![None; passes.len()],
            ppu_free: 0,
            latest: 0,
            outputs: candidate
                .passes
                .iter()
                .map(|pass| pass.output.positions())
                .sum::<u64>()
                * u64::from(candidate.layer.destination.channels.len()),
            cost: Cost::default(),
            fifo_writes: 0,
            iaram_reads: 0,
            halo_hops: 0,
            cycles_per_step: 1.0 + banks::stalls_per_step(candidate, sizes),
            passes,
        }
    }

    pub(super) fn run(mut self) -> Cost {
        self.progress();
        loop {
            let request = self.requests.first_key_value();
            let request = request.map(|(&(ready, _), _)| ready.max(self.bulk_free.ceil() as u64));
            let delivery = (0..self.streams.len())
                .filter_map(|index| {
                    let at = self.next_delivery(index)?;
                    Some((at, self.streams[index].requested, index))
                })
                .min();
            let before = |at: u64| delivery.is_none_or(|(other, ..)| at <= other);
            match (self.in_service, request, delivery) {
                (Some((_, end, _)), _, _) if before(end.ceil() as u64) => self.served(),
                (None, Some(begin), _) if before(begin) => self.serve(),
                (_, _, Some((ready, _, stream))) => self.deliver(ready, stream),
                _ => break,
            }
        }
        debug_assert!(self.items.iter().all(|item| item.running == 0));
        self.finish()
    }

    /// Scales what was counted to the whole layer and adds what a sample leaves out.
    fn finish(mut self) -> Cost {
        let candidate = self.candidate;
        let rounds = self.sizes.groups.len() / self.streams.len();
        let all = candidate.passes.len() * rounds;
        let scale = all as f64 / self.items.len().max(1) as f64;
        let scaled = |value: u64| (value as f64 * scale).round() as u64;
        let array = self.items.iter().map(|item| item.finished).max();
        let array = array.unwrap_or(0);
        let tail = self.latest.saturating_sub(array);
        for value in [
            &mut self.cost.steps,
            &mut self.cost.pairs,
            &mut self.cost.bus_vectors,
            &mut self.cost.drain_cycles,
            &mut self.cost.weight_bytes,
            &mut self.fifo_writes,
            &mut self.iaram_reads,
            &mut self.halo_hops,
        ] {
            *value = scaled(*value);
        }
        let mut cycles = scaled(array) + tail;
        let mut bytes = self.cost.weight_bytes
            + candidate.traffic.result_bytes
            + candidate.traffic.operand_bytes
            + candidate.traffic.spilled_bytes * all as u64;
        let mut load_cycles = 0;
        for pass in 0..candidate.passes.len() {
            let load = candidate.load(pass);
            load_cycles += load.0;
            bytes += load.1;
        }
        if candidate.traffic.loads && !self.loads {
            cycles = if candidate.traffic.overlapped {
                cycles.max(load_cycles) + load_cycles / candidate.passes.len() as u64
            } else {
                cycles + load_cycles
            };
        }
        let energy = &candidate.machine.energy;
        let mut cost = self.cost;
        cost.dram_cycles = candidate.dram_cycles(bytes);
        cost.cycles = cycles.max(cost.drain_cycles).max(cost.dram_cycles);
        cost.energy_pj = candidate.dram_energy(bytes)
            + cost.pairs as f64 * (energy.multiply.pj + energy.coordinate.pj)
            + cost.steps as f64 * energy.fifo_read_vector.pj
            + self.fifo_writes as f64 * energy.fifo_write_vector.pj
            + self.iaram_reads as f64 * energy.iaram_read_vector.pj
            + self.halo_hops as f64 * energy.halo_sum.pj;
        cost
    }

    /// Does everything whose time is known.
    fn progress(&mut self) {
        loop {
            let mut changed = self.advance_mover();
            for index in 0..self.streams.len() {
                self.list_parts(index);
                while self.run_part(index) {
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// Lists the parts of the next rounds, so that a stream has one to deliver while there are any.
    fn list_parts(&mut self, index: usize) {
        while self.streams[index].waiting.is_empty()
            && self.streams[index].listed < self.items.len()
        {
            let number = self.streams[index].listed;
            self.streams[index].listed += 1;
            self.list_item(index, number);
        }
    }

    fn list_item(&mut self, index: usize, number: usize) {
        let machine = self.candidate.machine;
        let format = machine.weight_format();
        let (width, fifo) = (machine.pe.weights_per_vector, machine.fifo_elements());
        let group = self.items[number].round * self.streams.len() + index;
        let (first, blocks) = &self.sizes.groups[group];
        let offset = (self.candidate.layer.source.channels.begin + first) as usize * self.residues;
        let mut carried = 0;
        let pass = self.passes[self.items[number].pass];
        let columns = &self.candidate.columns[pass.source_tile as usize];
        let waiting = &mut self.streams[index].waiting;
        let mut part = |vectors, bytes, column| {
            waiting.push_back(Part {
                item: number,
                column,
                vectors,
                bytes,
                first: false,
                last: false,
            });
        };
        for (at, &elements) in blocks.iter().enumerate() {
            let bytes = format.block_bytes(u64::from(elements));
            self.cost.weight_bytes += bytes;
            carried += bytes;
            if elements == 0 {
                continue;
            }
            self.cost.pairs += u64::from(elements) * u64::from(columns.elements[offset + at]);
            for begin in (0..elements).step_by(fifo as usize) {
                let vectors = u64::from((elements - begin).min(fifo).div_ceil(width));
                self.cost.bus_vectors += vectors;
                part(vectors, std::mem::take(&mut carried), Some(offset + at));
            }
        }
        if waiting.is_empty() {
            waiting.push_back(Part {
                item: number,
                column: None,
                vectors: 0,
                bytes: carried,
                first: false,
                last: false,
            });
        }
        if let Some(part) = waiting.front_mut() {
            part.first = true;
        }
        if let Some(part) = waiting.back_mut() {
            part.last = true;
        }
    }

    /// When the next part of a stream can be asked for, if that is known.
    fn next_delivery(&mut self, index: usize) -> Option<u64> {
        let capacity = u64::from(self.candidate.machine.weights.fifo_vectors);
        let stream = &mut self.streams[index];
        let vectors = stream.waiting.front()?.vectors;
        while stream.held_vectors + vectors > capacity {
            let &(oldest, finished) = stream.held.front()?;
            stream.room = stream.room.max(finished?);
            stream.held_vectors -= oldest;
            stream.run -= 1;
            stream.held.pop_front();
        }
        Some(stream.room.max(stream.last_request))
    }

    fn deliver(&mut self, ready: u64, index: usize) {
        let Some(part) = self.streams[index].waiting.pop_front() else {
            return;
        };
        self.fifo_writes += part.vectors * self.streams[index].finish.len() as u64;
        let width = u64::from(self.candidate.machine.weights.bus_vectors_per_cycle.max(1));
        self.bus = self.bus.max(ready * width) + part.vectors;
        let by_bus = self.bus.div_ceil(width);
        let arrival = by_bus.max(self.ask_weights(ready, part.bytes as f64));
        let stream = &mut self.streams[index];
        stream.last_request = ready;
        stream.requested += 1;
        stream.held.push_back((part.vectors, None));
        stream.held_vectors += part.vectors;
        stream.arrived.push_back((part, arrival));
        self.list_parts(index);
        let mut ended = false;
        while self.run_part(index) {
            ended |= self.streams[index].arrived.is_empty();
        }
        if part.last || ended {
            self.progress();
        }
    }

    /// Weights come before what moves in bulk, also before what is under way.
    fn ask_weights(&mut self, ready: u64, bytes: f64) -> u64 {
        if bytes <= 0.0 {
            return ready;
        }
        let cycles = bytes * self.cycles_per_byte;
        self.weights_free = self.weights_free.max(ready as f64) + cycles;
        if let Some((_, end, _)) = &mut self.in_service {
            *end += cycles;
        }
        self.weights_free.ceil() as u64
    }

    /// What moves in bulk and is soon there: the weights that are asked for meanwhile are left out of account.
    fn ask_bulk(&mut self, ready: u64, bytes: f64) -> u64 {
        if bytes <= 0.0 {
            return ready;
        }
        self.bulk_free = self.bulk_begin(ready) + bytes * self.cycles_per_byte;
        self.bulk_free.ceil() as u64
    }

    fn bulk_begin(&self, ready: u64) -> f64 {
        let under_way = self.in_service.map_or(0.0, |(_, end, _)| end);
        let free = self.bulk_free.max(self.weights_free).max(under_way);
        free.max(ready as f64)
    }

    /// When a round may begin, if that is known.
    fn bound(&self, number: usize) -> Option<u64> {
        let item = &self.items[number];
        let mut bound = self.loaded[item.pass]?;
        if let Some(before) = number.checked_sub(2) {
            bound = bound.max(self.items[before].drained?);
        }
        if self.candidate.machine.sync.drift == Drift::Group
            && let Some(before) = number.checked_sub(1)
        {
            let before = &self.items[before];
            if before.running > 0 {
                return None;
            }
            bound = bound.max(before.finished);
        }
        Some(bound)
    }

    /// Runs the oldest part that has arrived on the PEs of a group; whether it could.
    fn run_part(&mut self, index: usize) -> bool {
        let Some(&(part, arrival)) = self.streams[index].arrived.front() else {
            return false;
        };
        if part.first {
            let Some(bound) = self.bound(part.item) else {
                return false;
            };
            self.open(index, part.item, bound.max(arrival));
        }
        let stream = &mut self.streams[index];
        stream.arrived.pop_front();
        if let Some(column) = part.column {
            let pass = self.passes[self.items[part.item].pass];
            let columns = &self.candidate.columns[pass.source_tile as usize];
            let (mut busy, mut read) = (0, 0);
            for &(pe, activations) in columns.of_column(column) {
                let finish = &mut stream.finish[usize::from(pe)];
                let steps = part.vectors * u64::from(activations);
                let cycles = (steps as f64 * self.cycles_per_step).round() as u64;
                *finish = (*finish).max(arrival) + cycles;
                stream.busiest = stream.busiest.max(*finish);
                busy += steps;
                read += u64::from(activations);
            }
            self.cost.steps += busy;
            self.iaram_reads += read;
        }
        let finished = stream.busiest.max(arrival);
        stream.held[stream.run].1 = Some(finished);
        stream.run += 1;
        if part.last {
            self.close(index, part.item);
        }
        true
    }

    /// A round begins on a PE group.
    fn open(&mut self, index: usize, number: usize, begin: u64) {
        let stream = &mut self.streams[index];
        for finish in &mut stream.finish {
            *finish = (*finish).max(begin);
            stream.busiest = stream.busiest.max(*finish);
        }
        let spilled = self.candidate.traffic.spilled_bytes;
        if spilled > 0 && self.items[number].begun.is_none() {
            self.items[number].spill = self.ask_bulk(begin, spilled as f64);
        }
        self.items[number].begun.get_or_insert(begin);
    }

    /// A PE group has finished a round.
    fn close(&mut self, index: usize, number: usize) {
        let spill = self.items[number].spill;
        let stream = &mut self.streams[index];
        let mut finished = 0;
        for finish in &mut stream.finish {
            *finish = (*finish).max(spill);
            finished = finished.max(*finish);
        }
        stream.busiest = stream.busiest.max(finished);
        let item = &mut self.items[number];
        item.finished = item.finished.max(finished);
        item.running -= 1;
        if item.running == 0 {
            self.drain(number);
        }
    }

    /// All PE groups have finished a round.
    fn drain(&mut self, number: usize) {
        let (pass_index, round, finished) = {
            let item = &self.items[number];
            (item.pass, item.round, item.finished)
        };
        let candidate = self.candidate;
        let machine = candidate.machine;
        let pass = self.passes[pass_index];
        let tile = &candidate.layout.tiles[pass.source_tile as usize];
        let exchange = candidate
            .layer
            .conv
            .as_ref()
            .map_or_else(Exchange::default, |conv| {
                Exchange::along((&conv.y, &conv.x), tile, candidate.inner(pass.output))
            });
        let groups = self.streams.len();
        let outputs = candidate.channel_groups[round * groups..(round + 1) * groups]
            .iter()
            .map(|k| u64::from(k.len()));
        let (most, sum) = (
            outputs.clone().max().unwrap_or(0),
            outputs.clone().sum::<u64>(),
        );
        let cycles = (exchange.busiest_link * most)
            .div_ceil(u64::from(machine.ppu.halo_sums_per_cycle))
            + (exchange.most_owned * most).div_ceil(u64::from(machine.ppu.lanes));
        self.halo_hops += exchange.hops * sum;
        self.cost.drain_cycles += cycles;
        let share = (sum * pass.output.positions()) as f64 / self.outputs.max(1) as f64;
        let begin = self.ppu_free.max(finished);
        let operand = self.ask_bulk(begin, candidate.traffic.operand_bytes as f64 * share);
        let end = (begin + cycles).max(operand);
        self.ppu_free = end;
        self.items[number].drained = Some(end);
        self.latest = self.latest.max(end);
        let bytes = candidate.traffic.result_bytes as f64 * share;
        if bytes > 0.0 {
            self.request(end, bytes * self.cycles_per_byte, Reason::Result);
        }
        let last = self
            .items
            .get(number + 1)
            .is_none_or(|next| next.pass != pass_index);
        if last {
            self.ended[pass_index] = Some(finished);
        }
    }

    /// Asks for the next tile, if what its place waits for is known.
    fn advance_mover(&mut self) -> bool {
        if self.mover_busy || self.next_load == self.passes.len() {
            return false;
        }
        // One place: not before the pass before has read it; two: the one before that.
        let behind = if self.candidate.traffic.overlapped {
            2
        } else {
            1
        };
        let free = match self.next_load.checked_sub(behind) {
            None => 0,
            Some(before) => match self.ended[before] {
                None => return false,
                Some(ended) => ended,
            },
        };
        let pass = self.next_load;
        self.next_load += 1;
        self.mover_busy = true;
        let (cycles, fullest) = self.candidate.load_cycles(pass);
        let ready = self.mover_free.max(free);
        self.request(ready, cycles, Reason::Load { pass, fullest });
        true
    }

    fn request(&mut self, ready: u64, cycles: f64, reason: Reason) {
        self.requests
            .insert((ready, self.requests_made), (cycles, reason));
        self.requests_made += 1;
    }

    /// DRAM begins with the request that was ready first.
    fn serve(&mut self) {
        let Some(((ready, _), (cycles, reason))) = self.requests.pop_first() else {
            return;
        };
        let end = self.bulk_begin(ready) + cycles;
        self.in_service = Some((ready, end, reason));
    }

    /// DRAM has served the request under way.
    fn served(&mut self) {
        let Some((ready, end, reason)) = self.in_service.take() else {
            return;
        };
        self.bulk_free = self.bulk_free.max(end);
        let end = end.ceil() as u64;
        self.latest = self.latest.max(end);
        if let Reason::Load { pass, fullest } = reason {
            let end = end.max(ready + fullest);
            self.mover_free = end;
            self.mover_busy = false;
            self.loaded[pass] = Some(end);
            self.progress();
        }
    }
}
