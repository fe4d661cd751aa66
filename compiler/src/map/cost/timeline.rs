//! The time line of an array layer: weight streams, PEs, drains, loads and DRAM; bank queues as cycles for every product.
//!
//! A simplified implementation of the rules of time (isa/RULES.md), independent of the simulator's code. Parts
//! of the weight streams are delivered in the order of the cycles in which they can be requested, and overtake in DRAM
//! loads, spills and results (*bulk*); everything else follows from that order:
//!
//! ```text
//! deliver part -> FIFO -> PEs run it when the round may begin and its activations are loaded -> last part: the PE group
//! drains -> results to DRAM
//! ```

use super::banks::StepCost;
use super::sampled_rounds::SampledRounds;
use super::stream::{Part, PartSource, Stream, ceil_cycles};
use super::{Candidate, Measured, ResultPart};
use crate::map::contents::{Columns, Excess};
use scnn_isa::layer::Pass;
use scnn_isa::machine::Drift;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A round of a pass.
struct Item {
    /// Index among the counted passes.
    pass: usize,
    /// Index in the pass.
    round: usize,
    /// PE groups that have not finished it.
    running: usize,
    /// Whether a PE group has begun it, and the cycle in which the last one finished.
    begun: bool,
    finished: u64,
    /// By PE group, cycle in which its drain ended.
    drained: Vec<Option<u64>>,
    /// Cycle in which the spilled elements that it reads have arrived.
    spill: u64,
}

/// Bulk requests to DRAM, that is all but weights.
#[derive(Clone, Copy)]
enum ActivationTransfer {
    Load(Load),
    Result,
}

/// A piece of a tile that is loaded: an equal part of its columns.
#[derive(Clone, Copy)]
struct Load {
    pass: usize,
    piece: usize,
    pieces: usize,
    /// Cycles of DRAM for each piece.
    cycles: f64,
    /// Vectors of the fullest PE, of the whole tile.
    fullest: u64,
}

/// Most pieces in which a tile is loaded. The machine loads column by column.
const PIECES: usize = 32;

/// Outcome for the oldest part that has arrived.
#[derive(PartialEq, Eq)]
enum Ran {
    /// It did not run: there is none, or its round may not begin.
    Not,
    /// It ran.
    Part,
    /// It ran, and its PE group has finished the round.
    Round,
}

/// Result of a time line.
pub(super) struct Told {
    /// Cycles from the begin of the layer to its end.
    pub cycles: u64,
    /// Cycles before the layer's end in which neither DRAM nor a FIFO works for it.
    pub idle: u64,
}

/// State of the simulation of a layer; the module's head has the rules.
pub(super) struct TimeLine<'a> {
    candidate: &'a Candidate<'a>,
    /// Cycle in which the layer begins; weights may be requested from cycle 0 on.
    begin: u64,
    sampled: &'a SampledRounds,
    /// By pass, the activation vectors of its tile.
    columns: Vec<&'a Columns>,
    blocks: PartSource<'a>,
    items: Vec<Item>,
    streams: Vec<Stream>,
    /// Time at which the bus is free, in units of one vector on the bus.
    bus: u64,
    cycles_per_byte: f64,
    /// Times at which DRAM has carried the requested weights, and the requested bulk.
    weights_free: f64,
    bulk_free: f64,
    /// Bulk requests that wait for DRAM, by the cycle in which they became ready and a serial number: DRAM cycles, kind.
    requests: BTreeMap<(u64, u64), (f64, ActivationTransfer)>,
    /// Requests made so far.
    requests_made: u64,
    /// The bulk request under way: cycle in which it was ready, end if no more weights are requested, kind.
    in_service: Option<(u64, f64, ActivationTransfer)>,
    /// Whether sources are loaded here; a sample adds the loads afterwards.
    loads: bool,
    next_load: usize,
    mover_free: u64,
    mover_busy: bool,
    /// A load completed since the last `progress`.
    load_completed: bool,
    /// By pass: completion time of each loaded piece.
    loaded: Vec<Vec<u64>>,
    ended: Vec<Option<u64>>,
    /// By PE group, cycle in which its PPUs are free.
    ppus_free: Vec<u64>,
    latest: u64,
    /// Outputs of the whole layer, by which results are shared among the drains.
    outputs: u64,
    /// By pass: cycles of steps and products.
    step_costs: &'a [StepCost],
    /// By pass: bytes of the source that have spilled.
    spilled: Vec<u64>,
    /// Channels in which the spilled elements lie.
    excess: Option<Arc<Excess>>,
    /// By pass: what it completes of the results, and the part of them for which each PE has a place.
    results: Vec<Vec<ResultPart>>,
    kept: f64,
}

impl Item {
    /// A round that no PE group has begun.
    fn new(pass: usize, round: usize, groups: usize) -> Self {
        Self {
            pass,
            round,
            running: groups,
            begun: false,
            finished: 0,
            drained: vec![None; groups],
            spill: 0,
        }
    }
}

impl<'a> TimeLine<'a> {
    /// The time line of a layer whose weights may be requested `head_start` cycles before it begins.
    pub(super) fn new(
        candidate: &'a Candidate<'a>,
        measured: &'a Measured,
        head_start: u64,
    ) -> Self {
        let (machine, sampled) = (candidate.machine, &measured.sampled);
        let sizes = &*measured.sizes;
        let groups = candidate.layout.groups.count() as usize;
        let pes = candidate.layout.tiles[0].pes().count() as usize;
        let residues = candidate.layout.residues.count() as usize;
        let passes = &sampled.passes;
        let loads = candidate.traffic.loads && sampled.whole;
        let items: Vec<Item> = (0..passes.len())
            .flat_map(|pass| sampled.rounds.iter().map(move |&round| (pass, round)))
            .map(|(pass, round)| Item::new(pass, round, groups))
            .collect();
        let (results, kept) = sampled_results(candidate, passes);
        let blocks = PartSource {
            sizes,
            rounds: items.iter().map(|item| item.round).collect(),
            groups,
            first_columns: sizes
                .groups
                .iter()
                .map(|(first, _)| candidate.first_column(*first, residues))
                .collect(),
            format: machine.weight_format(),
            width: machine.pe.weights_per_vector,
            fifo: machine.fifo_elements(),
        };
        Self {
            candidate,
            begin: head_start,
            sampled,
            columns: passes
                .iter()
                .map(|&pass| &candidate.tile(pass).columns)
                .collect(),
            items,
            streams: (0..groups)
                .map(|group| Stream::new(group, pes, &blocks, head_start))
                .collect(),
            blocks,
            bus: 0,
            cycles_per_byte: 1.0 / machine.dram_bytes_per_cycle(),
            weights_free: 0.0,
            bulk_free: 0.0,
            requests: BTreeMap::new(),
            requests_made: 0,
            in_service: None,
            loads,
            next_load: if loads { 0 } else { passes.len() },
            mover_free: head_start,
            mover_busy: false,
            load_completed: false,
            loaded: vec![Vec::new(); passes.len()],
            ended: vec![None; passes.len()],
            ppus_free: vec![head_start; groups],
            latest: head_start,
            outputs: candidate
                .passes
                .iter()
                .map(|pass| pass.output.positions())
                .sum::<u64>()
                * u64::from(candidate.layer.destination.channels.len()),
            step_costs: measured.step_costs(candidate),
            spilled: candidate.spilled(passes),
            excess: candidate.excess(),
            results,
            kept,
        }
    }

    /// Runs the layer to its end.
    pub(super) fn run(mut self) -> Told {
        self.progress();
        loop {
            let request = self.requests.first_key_value();
            let request = request.map(|(&(ready, _), _)| ready.max(ceil_cycles(self.bulk_free)));
            let delivery = self.next_delivery();
            let before = |at: u64| delivery.is_none_or(|(other, ..)| at <= other);
            match (self.in_service, request, delivery) {
                (Some((_, end, _)), _, _) if before(ceil_cycles(end)) => self.served(),
                (None, Some(begin), _) if before(begin) => self.serve(),
                (_, _, Some((ready, _, stream))) => self.deliver(ready, stream),
                _ => break,
            }
        }
        debug_assert!(self.items.iter().all(|item| item.running == 0));
        let array = self.items.iter().map(|item| item.finished).max();
        let array = array.unwrap_or(0).max(self.begin);
        let carried = ceil_cycles(self.bulk_free.max(self.weights_free));
        Told {
            cycles: self.extrapolated(array),
            idle: self.latest.saturating_sub(array.max(carried)),
        }
    }

    /// Scales the time to the whole layer and adds the loads that a sample leaves out.
    fn extrapolated(&self, array: u64) -> u64 {
        let candidate = self.candidate;
        let tail = self.latest.saturating_sub(array);
        let array = array - self.begin;
        let cycles = (array as f64 * self.sampled.scale).round() as u64 + tail;
        if self.loads || !candidate.traffic.loads {
            return cycles;
        }
        // The first round of a tile runs while the tile is loaded.
        let passes = candidate.passes.len();
        let rounds = self.sampled.scale * self.items.len() as f64;
        let round = (cycles as f64 / rounds.max(1.0)) as u64;
        let loads: Vec<u64> = (0..passes).map(|pass| candidate.load(pass).0).collect();
        let mut exposed = loads.iter().map(|load| load.saturating_sub(round));
        if candidate.traffic.overlapped {
            cycles.max(loads.iter().sum()) + exposed.next().unwrap_or(0)
        } else {
            cycles + exposed.sum::<u64>()
        }
    }

    /// The stream that can ask for a part first, when, and how many it asked for before.
    fn next_delivery(&mut self) -> Option<(u64, u64, usize)> {
        let capacity = u64::from(self.candidate.machine.weights.fifo_vectors);
        let mut first: Option<(u64, u64, usize)> = None;
        for stream in &mut self.streams {
            if stream.changed {
                stream.look_for_room(capacity);
            }
        }
        for (index, stream) in self.streams.iter().enumerate() {
            let loaded = stream.next.as_ref().and_then(|part| self.needed(part));
            if let (Some(ready), Some(loaded)) = (stream.ready, loaded) {
                let key = (ready.max(loaded), stream.requested, index);
                if first.is_none_or(|first| key < first) {
                    first = Some(key);
                }
            }
        }
        first
    }

    /// Advances every unit as far as its times are known.
    fn progress(&mut self) {
        loop {
            let mut changed = self.advance_mover();
            for index in 0..self.streams.len() {
                while self.run_part(index) != Ran::Not {
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    fn deliver(&mut self, ready: u64, index: usize) {
        let Some(part) = self.streams[index].next else {
            return;
        };
        let width = u64::from(self.candidate.machine.weights.bus_vectors_per_cycle.max(1));
        self.bus = self.bus.max(ready * width) + part.vectors;
        let by_bus = self.bus.div_ceil(width);
        let arrival = by_bus.max(self.ask_weights(ready, part.bytes as f64));
        self.streams[index].deliver(part, ready, arrival, index, &self.blocks);
        let mut finished = false;
        loop {
            match self.run_part(index) {
                Ran::Not => break,
                Ran::Part => {}
                Ran::Round => finished = true,
            }
        }
        if finished || std::mem::take(&mut self.load_completed) {
            self.progress();
        }
    }

    /// Requests weights; they overtake bulk, even a request under way.
    fn ask_weights(&mut self, ready: u64, bytes: f64) -> u64 {
        if bytes <= 0.0 {
            return ready;
        }
        let cycles = bytes * self.cycles_per_byte;
        self.weights_free = self.weights_free.max(ready as f64) + cycles;
        if let Some((_, end, _)) = &mut self.in_service {
            *end += cycles;
        }
        ceil_cycles(self.weights_free)
    }

    /// Requests bulk of a few cycles, which weights requested meanwhile are taken not to delay. Requests that were
    /// ready before are served first.
    fn ask_bulk(&mut self, ready: u64, bytes: f64) -> u64 {
        if bytes <= 0.0 {
            return ready;
        }
        while let Some((&(before, _), _)) = self.requests.first_key_value()
            && before <= ready
        {
            self.load_completed |= self.end_service();
            self.serve();
        }
        self.load_completed |= self.end_service();
        self.bulk_free = self.bulk_begin(ready) + bytes * self.cycles_per_byte;
        ceil_cycles(self.bulk_free)
    }

    fn bulk_begin(&self, ready: u64) -> f64 {
        let under_way = self.in_service.map_or(0.0, |(_, end, _)| end);
        let free = self.bulk_free.max(self.weights_free).max(under_way);
        free.max(ready as f64)
    }

    /// Cycle in which the activations of a part were loaded, if they were and the part waits for them: before the layer begins it does
    /// not, if DRAM will have carried it by then.
    fn needed(&self, part: &Part) -> Option<u64> {
        let carried = self.weights_free + part.bytes as f64 * self.cycles_per_byte;
        if self.begin > 0 && carried <= self.begin as f64 {
            return Some(0);
        }
        self.loaded(part)
    }

    /// Cycle in which the activations of a part were loaded, if they were.
    fn loaded(&self, part: &Part) -> Option<u64> {
        if !self.loads {
            return Some(0);
        }
        let pass = self.items[part.item].pass;
        let columns = self.columns[pass].sums().len();
        let residues = self.candidate.layout.residues.count() as usize;
        let first = || self.candidate.first_column(0, residues);
        let piece = part.column.unwrap_or_else(first) * pieces(columns) / columns;
        self.loaded[pass].get(piece).copied()
    }

    /// Cycle from which a round may begin on a PE group, if that is known.
    fn bound(&self, group: usize, number: usize) -> Option<u64> {
        let mut bound = 0;
        if let Some(before) = number.checked_sub(2) {
            bound = bound.max(self.items[before].drained[group]?);
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

    /// Runs the oldest part that has arrived on the PEs of a group, if its round may begin.
    fn run_part(&mut self, index: usize) -> Ran {
        let Some(&(part, arrival)) = self.streams[index].arrived.front() else {
            return Ran::Not;
        };
        let Some(loaded) = self.loaded(&part) else {
            return Ran::Not;
        };
        let arrival = arrival.max(loaded);
        if part.first {
            let Some(bound) = self.bound(index, part.item) else {
                return Ran::Not;
            };
            self.open(index, part.item, bound.max(arrival));
        }
        let stream = &mut self.streams[index];
        stream.arrived.pop_front();
        if let Some(column) = part.column {
            let pass = self.items[part.item].pass;
            let columns = self.columns[pass];
            stream.run(arrival, (&part, column), columns, &self.step_costs[pass]);
        }
        stream.finish_part(arrival);
        if part.last {
            self.close(index, part.item);
            return Ran::Round;
        }
        Ran::Part
    }

    /// A round begins on a PE group.
    fn open(&mut self, index: usize, number: usize, begin: u64) {
        self.streams[index].wait_until(begin);
        let Item { pass, round, .. } = self.items[number];
        let spilled = self.spilled[pass] as f64;
        if spilled > 0.0 && !self.items[number].begun {
            let (of_pass, excess) = (self.sampled.passes[pass], self.excess.as_deref());
            let read = spilled * self.candidate.share_spilled(of_pass, round, excess);
            self.items[number].spill = self.ask_bulk(begin, read);
        }
        self.items[number].begun = true;
    }

    /// A PE group has finished a round, and drains it.
    fn close(&mut self, group: usize, number: usize) {
        let item = &mut self.items[number];
        let stream = &mut self.streams[group];
        if item.spill > 0 {
            stream.wait_until(item.spill);
        }
        let finished = stream.finished();
        item.finished = item.finished.max(finished);
        item.running -= 1;
        let (pass, round) = (item.pass, item.round);
        if item.running == 0
            && self
                .items
                .get(number + 1)
                .is_none_or(|next| next.pass != pass)
        {
            self.ended[pass] = Some(self.items[number].finished);
        }
        let candidate = self.candidate;
        let outputs = candidate.outputs_of(round, group);
        let cycles = candidate.drain_cycles(&self.sampled.exchanges[pass], outputs);
        let positions = self.sampled.passes[pass].output.positions();
        let share = (outputs * positions) as f64 / self.outputs.max(1) as f64;
        let retired = finished + self.step_costs[pass].tail.round() as u64;
        let begin = self.ppus_free[group].max(retired);
        let operand = self.ask_bulk(begin, candidate.traffic.operand_bytes as f64 * share);
        let end = (begin + cycles).max(operand);
        self.ppus_free[group] = end;
        self.items[number].drained[group] = Some(end);
        self.latest = self.latest.max(end);
        let bytes = self.result_bytes(pass, round, group);
        if bytes > 0.0 {
            self.request(
                end,
                bytes * self.cycles_per_byte,
                ActivationTransfer::Result,
            );
        }
    }

    /// Bytes of results to DRAM after a round of a PE group. A PE's region takes pass after pass and channel after channel,
    /// until it is full; so it is the last rounds that spill.
    fn result_bytes(&self, pass: usize, round: usize, group: usize) -> f64 {
        let candidate = self.candidate;
        if candidate.traffic.result_bytes == 0 {
            return 0.0;
        }
        let channels = candidate.of_round(round)[group];
        let all = f64::from(candidate.layer.destination.channels.len().max(1));
        let [begin, end] = [channels.begin, channels.end].map(|channel| f64::from(channel) / all);
        let excess = |part: &ResultPart, channels: f64| {
            (part.before + part.own * channels - self.kept).max(0.0)
        };
        let written = |part: &ResultPart| excess(part, end) - excess(part, begin);
        let written: f64 = self.results[pass].iter().map(written).sum();
        written * (candidate.traffic.kept_bytes + candidate.traffic.result_bytes) as f64
    }

    /// Requests the next tile, if the cycle in which its slot is free is known.
    fn advance_mover(&mut self) -> bool {
        if self.mover_busy || self.next_load == self.sampled.passes.len() {
            return false;
        }
        // One slot: not before the previous pass has read it; two slots: the pass before that one.
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
        let of_pass = self.candidate.passes[pass];
        let (bytes, fullest) = self.candidate.loaded(of_pass);
        let pieces = pieces(self.columns[pass].sums().len());
        let load = Load {
            pass,
            piece: 0,
            pieces,
            cycles: bytes as f64 * self.cycles_per_byte / pieces as f64,
            fullest,
        };
        let ready = self.mover_free.max(free);
        self.request(ready, load.cycles, ActivationTransfer::Load(load));
        true
    }

    fn request(&mut self, ready: u64, cycles: f64, reason: ActivationTransfer) {
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
        if self.end_service() {
            self.progress();
        }
    }

    /// Ends the request under way, if there is one; whether others wait for it.
    fn end_service(&mut self) -> bool {
        let Some((ready, end, reason)) = self.in_service.take() else {
            return false;
        };
        self.bulk_free = self.bulk_free.max(end);
        let end = ceil_cycles(end);
        self.latest = self.latest.max(end);
        let ActivationTransfer::Load(load) = reason else {
            return false;
        };
        let piece = load.piece + 1;
        let end = end.max(ready + load.fullest * piece as u64 / load.pieces as u64);
        self.loaded[load.pass].push(end);
        if piece < load.pieces {
            self.request(
                ready,
                load.cycles,
                ActivationTransfer::Load(Load { piece, ..load }),
            );
        } else {
            self.mover_free = end;
            self.mover_busy = false;
        }
        true
    }
}

/// By counted pass, the share of the results that it completes, and the part of them for which each of the PEs that hold some
/// has room; both empty where no results go to DRAM.
fn sampled_results(candidate: &Candidate<'_>, counted: &[Pass]) -> (Vec<Vec<ResultPart>>, f64) {
    let (kept, excess) = (candidate.traffic.kept_bytes, candidate.traffic.result_bytes);
    if excess == 0 {
        return (Vec::new(), 0.0);
    }
    let parts = candidate.result_parts();
    let pes = parts.iter().flatten().filter(|part| part.before == 0.0);
    let kept = kept as f64 / (kept + excess) as f64 / pes.count().max(1) as f64;
    let all = candidate.passes.iter().zip(parts);
    let counted = all.filter(|(pass, _)| counted.contains(pass));
    (counted.map(|(_, parts)| parts).collect(), kept)
}

/// Pieces in which a tile of `columns` columns is loaded.
fn pieces(columns: usize) -> usize {
    columns.clamp(1, PIECES)
}
