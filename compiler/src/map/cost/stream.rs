//! The weight stream of one PE group, its FIFOs and its PEs.

use super::banks::StepCost;
use crate::map::contents::{Columns, LANES};
use crate::map::weights::BlockSizes;
use multiversion::multiversion;
use scnn_isa::codec::Format;
use std::collections::VecDeque;

/// The first whole cycle at or after `time`. `f64::ceil` would be a call where the processor is not known to have the instruction.
pub(super) fn ceil_cycles(time: f64) -> u64 {
    let cycle = time as u64;
    cycle + u64::from((cycle as f64) < time)
}

/// A part of a weight block.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// Index of its (pass, round) among those that are counted.
    pub item: usize,
    /// Column of the source tile; none when the round has no weights.
    pub column: Option<usize>,
    /// Weights, and vectors of them.
    pub elements: u64,
    /// See `elements`.
    pub vectors: u64,
    /// Encoded bytes, with the empty blocks before the part; the last part carries the empty blocks after it, too.
    pub bytes: u64,
    /// Whether it is the first of its round.
    pub first: bool,
    /// Whether it is the last of its round.
    pub last: bool,
}

/// The blocks of a layer, from which streams cut their parts.
pub(super) struct PartSource<'a> {
    pub sizes: &'a BlockSizes,
    /// By item: the round.
    pub rounds: Vec<usize>,
    /// PE groups.
    pub groups: usize,
    /// By output-channel group: its first column of a source tile.
    pub first_columns: Vec<usize>,
    pub format: Format,
    /// Elements of a weight vector, and of a FIFO.
    pub width: u32,
    pub fifo: u32,
}

/// Position of a stream in its blocks.
#[derive(Clone, Copy, Default)]
struct Cursor {
    item: usize,
    block: usize,
    /// Elements of the present block that were delivered.
    delivered: u32,
    /// The last block of the item that has elements.
    last: Option<usize>,
    opened: bool,
    bytes: u64,
}

/// The weight stream and the PEs of one PE group.
pub(super) struct Stream {
    cursor: Cursor,
    /// The part to be requested next.
    pub next: Option<Part>,
    /// Cycle from which it can be requested, if that is known; recomputed when something changed.
    pub ready: Option<u64>,
    pub changed: bool,
    /// Parts that were requested and have not run, with their cycles of arrival.
    pub arrived: VecDeque<(Part, u64)>,
    /// Parts in the FIFOs: their vectors, and the cycle in which the last PE finished them, as far as that is known.
    held: VecDeque<(u64, Option<u64>)>,
    /// How many of `held` are finished.
    run: usize,
    held_vectors: u64,
    room: u64,
    /// Parts requested so far, and the cycle of the last request.
    pub requested: u64,
    last_request: u64,
    /// By PE: cycle in which it has finished all parts that ran.
    finish: Vec<[f64; LANES]>,
    /// By PE: cycles that it waited for the last of them.
    waited: Vec<[f64; LANES]>,
    /// The latest cycle in `finish`.
    busiest: f64,
}

impl Stream {
    /// The stream of a group of a layer that begins at cycle `begin`.
    pub(super) fn new(group: usize, pes: usize, blocks: &PartSource<'_>, begin: u64) -> Self {
        let mut stream = Self {
            cursor: Cursor::default(),
            next: None,
            ready: None,
            changed: true,
            arrived: VecDeque::new(),
            held: VecDeque::new(),
            run: 0,
            held_vectors: 0,
            room: 0,
            requested: 0,
            last_request: 0,
            finish: vec![[begin as f64; LANES]; pes.div_ceil(LANES)],
            waited: vec![[0.0; LANES]; pes.div_ceil(LANES)],
            busiest: begin as f64,
        };
        stream.next = stream.cursor.advance(group, blocks);
        stream
    }

    /// Computes when the next part can be requested: when the FIFOs have room, and not before its predecessor.
    pub(super) fn look_for_room(&mut self, capacity: u64) {
        self.changed = false;
        self.ready = None;
        let Some(next) = &self.next else { return };
        while self.held_vectors + next.vectors > capacity {
            let Some(&(oldest, Some(finished))) = self.held.front() else {
                return;
            };
            self.room = self.room.max(finished);
            self.held_vectors -= oldest;
            self.run -= 1;
            self.held.pop_front();
        }
        self.ready = Some(self.room.max(self.last_request));
    }

    /// Records that the next part is requested in cycle `request` and arrives in cycle `arrival`.
    pub(super) fn deliver(
        &mut self,
        part: Part,
        request: u64,
        arrival: u64,
        group: usize,
        blocks: &PartSource<'_>,
    ) {
        self.last_request = request;
        self.requested += 1;
        self.held.push_back((part.vectors, None));
        self.held_vectors += part.vectors;
        self.arrived.push_back((part, arrival));
        self.next = self.cursor.advance(group, blocks);
        self.changed = true;
    }

    /// No PE does anything before `time`.
    pub(super) fn wait_until(&mut self, time: u64) {
        let time = time as f64;
        let of_pes = self.finish.iter_mut().zip(&mut self.waited);
        for (finish, waited) in of_pes {
            for lane in 0..LANES {
                waited[lane] += (time - finish[lane]).max(0.0);
                finish[lane] = finish[lane].max(time);
            }
        }
        self.busiest = self.busiest.max(time);
    }

    /// Runs an arrived part with the activations of its column in every PE.
    pub(super) fn run(
        &mut self,
        arrival: u64,
        (part, column): (&Part, usize),
        held: &Columns,
        cost: &StepCost,
    ) {
        let arrival = arrival as f64;
        let of_vector = part.vectors as f64 * cost.of_step;
        let (finish, vectors) = (&mut self.finish, held.column(column));
        let last = if cost.of_pair.is_empty() {
            run_column(finish, arrival, vectors, of_vector)
        } else {
            let pairs = ElementPairs {
                weights: [part.elements as f32, part.vectors as f32],
                activations: held.elements_by_pe(column),
                cycles: &cost.of_pair,
                saved: cost.saved,
            };
            let pes = (&mut finish[..], &mut self.waited[..]);
            run_stalling_column(pes, arrival, vectors, of_vector, &pairs)
        };
        self.busiest = self.busiest.max(last);
    }

    /// The oldest part has run; its room in the FIFOs is free when all PEs have finished it.
    pub(super) fn finish_part(&mut self, arrival: u64) {
        self.busiest = self.busiest.max(arrival as f64);
        self.held[self.run].1 = Some(self.finished());
        self.run += 1;
        self.changed = true;
    }

    /// Cycle in which all PEs have finished the parts that ran.
    pub(super) fn finished(&self) -> u64 {
        ceil_cycles(self.busiest)
    }
}

/// Runs a column of activation vectors, `cycles` each, from `arrival` on; returns the cycle in which the last PE finishes.
#[multiversion(targets("x86_64+avx2"))]
fn run_column(
    finish: &mut [[f64; LANES]],
    arrival: f64,
    column: &[[f32; LANES]],
    cycles: f64,
) -> f64 {
    // `>` instead of `f64::max`: no NaN handling, and a maximum by lane, so it vectorises.
    let later = |a: f64, b: f64| if a > b { a } else { b };
    let mut busiest = [arrival; LANES];
    for (finish, vectors) in finish.iter_mut().zip(column) {
        for lane in 0..LANES {
            let end = later(finish[lane], arrival) + f64::from(vectors[lane]) * cycles;
            finish[lane] = end;
            busiest[lane] = later(busiest[lane], end);
        }
    }
    busiest.into_iter().fold(arrival, later)
}

/// The pairs of elements of a part, and the cycles that each takes beside its step.
struct ElementPairs<'a> {
    /// Weights of the part, and vectors of them.
    weights: [f32; 2],
    /// By PE.
    activations: &'a [[f32; LANES]],
    /// By PE.
    cycles: &'a [[f32; LANES]],
    /// Cycles that a PE saves if it has waited at least as long.
    saved: f32,
}

/// The same where pairs take cycles as well.
#[multiversion(targets("x86_64+avx2"))]
fn run_stalling_column(
    (finish, waited): (&mut [[f64; LANES]], &mut [[f64; LANES]]),
    arrival: f64,
    vectors: &[[f32; LANES]],
    of_vector: f64,
    pairs: &ElementPairs<'_>,
) -> f64 {
    let later = |a: f64, b: f64| if a > b { a } else { b };
    let [weights, weight_vectors] = pairs.weights;
    let most_saved = f64::from(pairs.saved);
    let mut busiest = [arrival; LANES];
    let of_pes = vectors.iter().zip(pairs.activations).zip(pairs.cycles);
    let times = finish.iter_mut().zip(waited);
    for ((finish, waited), ((vectors, activations), cycles)) in times.zip(of_pes) {
        for lane in 0..LANES {
            let begin = later(finish[lane], arrival);
            let idle = begin - finish[lane] + waited[lane];
            let saved = if idle < most_saved { idle } else { most_saved };
            let stalls = f64::from(weights * activations[lane] * cycles[lane]);
            let cycles = f64::from(vectors[lane]) * of_vector + stalls;
            let steps = f64::from(vectors[lane] * weight_vectors);
            waited[lane] = if steps > 0.0 { 0.0 } else { waited[lane] };
            let end = begin + later(cycles - saved, steps);
            finish[lane] = end;
            busiest[lane] = later(busiest[lane], end);
        }
    }
    busiest.into_iter().fold(arrival, later)
}

impl Cursor {
    /// The next part of a stream; none at its end.
    fn advance(&mut self, group: usize, source: &PartSource<'_>) -> Option<Part> {
        let item = self.item;
        let index = source.rounds.get(item)? * source.groups + group;
        let blocks = &source.sizes.groups[index].1;
        let first = !self.opened;
        if first {
            *self = Self {
                item,
                opened: true,
                last: blocks.iter().rposition(|&elements| elements > 0),
                ..Self::default()
            };
        }
        let Some(last) = self.last else {
            self.item += 1;
            self.opened = false;
            return Some(Part {
                item,
                column: None,
                elements: 0,
                vectors: 0,
                bytes: blocks.len() as u64 * source.format.block_bytes(0),
                first,
                last: true,
            });
        };
        while blocks[self.block] == 0 {
            self.bytes += source.format.block_bytes(0);
            self.block += 1;
        }
        let elements = blocks[self.block];
        let of_part = (elements - self.delivered).min(source.fifo);
        // A part of a block has its share of the block's bytes.
        let of_block = source.format.block_bytes(u64::from(elements));
        let until = |element: u32| of_block * u64::from(element) / u64::from(elements);
        self.bytes += until(self.delivered + of_part) - until(self.delivered);
        let mut part = Part {
            item,
            column: Some(source.first_columns[index] + self.block),
            elements: u64::from(of_part),
            vectors: u64::from(of_part.div_ceil(source.width)),
            bytes: std::mem::take(&mut self.bytes),
            first,
            last: false,
        };
        self.delivered += of_part;
        if self.delivered == elements {
            part.last = self.block == last;
            self.block += 1;
            let behind = blocks.len() - self.block;
            if part.last {
                part.bytes += behind as u64 * source.format.block_bytes(0);
            }
            self.delivered = 0;
        }
        if part.last {
            self.item += 1;
            self.opened = false;
        }
        Some(part)
    }
}
