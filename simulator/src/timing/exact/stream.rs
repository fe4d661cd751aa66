//! The weight stream of a PE group: parts of blocks on their way into the FIFOs of its PEs.

use crate::timing::fast::pe_index;
use crate::timing::work::{Round, share};
use crate::weights::WeightStream;
use scnn_isa::codec::Format;
use scnn_isa::layer::ArrayStage;
use scnn_isa::layout::Grid;
use scnn_isa::machine::Machine;
use std::collections::VecDeque;
use std::ops::Range;

/// The blocks of a layer, from which its streams cut their parts.
pub struct Source<'a> {
    pub weights: &'a WeightStream,
    pub array: &'a ArrayStage,
    pub residues: u32,
    pub format: Format,
    pub fifo_elements: u32,
    pub fifo_vectors: u64,
    pub width: u32,
}

/// A part of a weight block.
#[derive(Clone, Debug)]
pub struct Part {
    /// The round that it belongs to.
    pub item: usize,
    /// Its (channel, residue), counted from the first of the `mac`.
    pub column: u32,
    /// Its elements in the weight stream.
    pub elements: Range<u32>,
    pub vectors: u64,
    pub bytes: u64,
    /// Whether it is the first or last part of its item.
    pub first: bool,
    pub last: bool,
}

/// Cycles before which a part runs on no PE.
#[derive(Clone, Copy)]
pub struct PartBounds {
    /// Cycle in which the activations of its column were loaded.
    pub loaded: u64,
    /// When it was there by the bus alone.
    pub by_bus: u64,
    /// When it was there.
    pub arrived: u64,
}

impl PartBounds {
    /// The latest.
    pub fn all(self) -> u64 {
        self.loaded.max(self.by_bus).max(self.arrived)
    }
}

/// A part in the FIFOs.
pub struct Arrived {
    pub part: Part,
    /// When it was there by the bus alone.
    by_bus: u64,
    /// When it was there.
    at: u64,
}

impl Arrived {
    /// Bounds of the part, whose activations were loaded at cycle `loaded`.
    pub fn bounds(&self, loaded: u64) -> PartBounds {
        PartBounds {
            loaded,
            by_bus: self.by_bus,
            arrived: self.at,
        }
    }
}

/// The remaining blocks of an item, still to be cut into parts; the first of them has weights.
struct Cursor {
    item: usize,
    /// Column of the block that would have number 0.
    block: u32,
    end: u32,
    column: u32,
    /// First element of the next part, in its block.
    element: u32,
    /// Bytes of empty blocks, which travel with the next part, those behind the last part with it.
    carried: u64,
    first: bool,
}

impl Cursor {
    /// Skips blocks without weights.
    fn skip_empty(&mut self, source: &Source) {
        while self.block < self.end && source.weights.range(self.block).is_empty() {
            self.carried += source.format.block_bytes(0);
            self.block += 1;
            self.column += 1;
        }
    }

    /// Cuts the next part off.
    fn cut(&mut self, source: &Source) -> Part {
        let block = source.weights.range(self.block);
        let (elements, column) = (block.end - block.start, self.column);
        let begin = self.element;
        let end = begin.saturating_add(source.fifo_elements).min(elements);
        let bytes = source.format.block_bytes(u64::from(elements));
        let bytes = if end - begin == elements {
            bytes
        } else {
            let [begin, count, all] = [begin, end - begin, elements].map(u64::from);
            share(bytes, begin, count, all)
        };
        let mut bytes = bytes + std::mem::take(&mut self.carried);
        self.element = end;
        if end == elements {
            self.element = 0;
            self.block += 1;
            self.column += 1;
            self.skip_empty(source);
        }
        if self.block == self.end {
            bytes += std::mem::take(&mut self.carried);
        }
        Part {
            item: self.item,
            column,
            elements: block.start + begin..block.start + end,
            vectors: u64::from((end - begin).div_ceil(source.width)),
            bytes,
            first: std::mem::take(&mut self.first),
            last: self.block == self.end,
        }
    }
}

/// The stream of one PE group.
pub struct Stream {
    /// The group.
    pub group: u32,
    /// PEs of the array by PE of the group.
    pub pes: Vec<usize>,
    /// Cycle in which the last PE of the group finished the parts that ran.
    pub busiest: u64,
    /// The round whose last part has run, if it has not ended, with the bounds of that part.
    pub ending: Option<(usize, PartBounds)>,
    /// Parts delivered and not yet run.
    pub arrived: VecDeque<Arrived>,
    /// Cycle in which the next part can be requested; `u64::MAX` while that is not known.
    pub deliverable: u64,
    /// Parts that have been requested.
    pub requested: u64,
    next: Option<Part>,
    cursor: Option<Cursor>,
    /// Items whose parts have been begun.
    begun: usize,
    /// Vectors of parts in the FIFOs, and when the last PE finished those that have run.
    held: VecDeque<(u64, u64)>,
    held_vectors: u64,
    /// How many of `held` have run.
    run: usize,
    /// Latest known cycle in which room became free.
    room: u64,
    last_request: u64,
    last_arrival: u64,
}

impl Stream {
    /// The stream of `group`, whose PEs are `pes`, of a layer that begins at cycle `begin`.
    pub fn new(group: u32, groups: Grid, pes: Grid, machine: &Machine, begin: u64) -> Self {
        let pes = (0..pes.count())
            .map(|pe| pe_index(machine, pes, groups, group, pe))
            .collect();
        Self {
            group,
            pes,
            busiest: begin,
            ending: None,
            arrived: VecDeque::new(),
            deliverable: u64::MAX,
            requested: 0,
            next: None,
            cursor: None,
            begun: 0,
            held: VecDeque::new(),
            held_vectors: 0,
            run: 0,
            room: 0,
            last_request: 0,
            last_arrival: 0,
        }
    }

    /// Cuts the next part, if there is one, and finds out when it can be requested.
    pub fn look_ahead(&mut self, source: &Source, rounds: &[Round]) {
        if self.next.is_none() {
            self.next = self.cut(source, rounds);
        }
        let Some(next) = &self.next else {
            self.deliverable = u64::MAX;
            return;
        };
        while self.held_vectors + next.vectors > source.fifo_vectors {
            if self.run == 0 {
                self.deliverable = u64::MAX;
                return;
            }
            let Some((vectors, finished)) = self.held.pop_front() else {
                break;
            };
            self.run -= 1;
            self.held_vectors -= vectors;
            self.room = self.room.max(finished);
        }
        self.deliverable = self.room.max(self.last_request);
    }

    fn cut(&mut self, source: &Source, rounds: &[Round]) -> Option<Part> {
        if self.cursor.is_none() {
            let item = self.begun;
            let round = rounds.get(item)?;
            self.begun += 1;
            let group = round.number * source.array.pe_groups.count() + self.group;
            let channels = round.multiply.channels;
            let (channel, blocks) = source.weights.blocks(group as usize, channels);
            let mut cursor = Cursor {
                item,
                block: blocks.start,
                end: blocks.end,
                column: (channel - channels.begin) * source.residues,
                element: 0,
                carried: 0,
                first: true,
            };
            cursor.skip_empty(source);
            if cursor.block == cursor.end {
                // An item without weights still has one part, an empty one.
                return Some(Part {
                    item,
                    column: 0,
                    elements: 0..0,
                    vectors: 0,
                    bytes: cursor.carried,
                    first: true,
                    last: true,
                });
            }
            self.cursor = Some(cursor);
        }
        let cursor = self.cursor.as_mut()?;
        let part = cursor.cut(source);
        if part.last {
            self.cursor = None;
        }
        Some(part)
    }

    /// The part to be requested.
    pub fn next(&self) -> Option<&Part> {
        self.next.as_ref()
    }

    /// The next part was requested and has its times of arrival. It is given back if nothing keeps it from running at
    /// once, its activations being `loaded`; it must, then.
    pub fn deliver(
        &mut self,
        requested: u64,
        by_bus: u64,
        at: u64,
        loaded: bool,
    ) -> Option<Arrived> {
        let part = self.next.take()?;
        // Parts arrive in order, also those that need no bytes.
        let at = at.max(self.last_arrival);
        (self.last_request, self.last_arrival) = (requested, at);
        self.requested += 1;
        self.held_vectors += part.vectors;
        self.held.push_back((part.vectors, 0));
        let goes_on = loaded && !part.first && self.arrived.is_empty() && self.ending.is_none();
        let arrived = Arrived { part, by_bus, at };
        if goes_on {
            Some(arrived)
        } else {
            self.arrived.push_back(arrived);
            None
        }
    }

    /// Records that the oldest part that had not run has: the last PE finishes it in cycle `finished`.
    pub fn has_run(&mut self, finished: u64) {
        if let Some(held) = self.held.get_mut(self.run) {
            held.1 = finished;
            self.run += 1;
        }
    }
}
