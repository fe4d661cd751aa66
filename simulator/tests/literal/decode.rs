//! What the literal machine is given: blocks, parts, steps with the banks of their products, sizes of transfers.

use crate::machine::Part;
use crate::post::Post;
use scnn_isa::codec::positions;
use scnn_isa::instruction::Instruction;
use scnn_isa::layer::{self, ArrayStage, OperandShape};
use scnn_isa::layout::{Layout, Tile};
use scnn_isa::machine::{BankMap, Machine};
use scnn_isa::plane::{Axis, Rect, Span};
use scnn_isa::program::{Program, Region};
use scnn_isa::section::{WeightBlocks, group_channels, residue_taps};
use scnn_simulator::timing::Slots;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A stored weight: output channel in the group, tap and value; none for a placeholder or zero.
pub type Weight = Option<(u32, u32, u32, i16)>;
/// A stored activation: position and value; none for a placeholder or zero.
type Activation = Option<(u32, u32, u32, i16)>;
/// The products of a step by bank.
pub type Step = BTreeMap<usize, usize>;

/// A round of a pass, over some of the channels.
pub struct Item {
    pub pass: usize,
    pub round: u32,
    channels: Span,
    pub spilled_bytes: u64,
    /// Its drain in every PE group; the halves of the accumulators alternate from one to the next.
    pub drain: usize,
    /// Whether its channels are the first of its round.
    pub opens: bool,
}

/// What the PPUs do with a round of a pass, once the item with its last channels has finished.
pub struct Drain {
    pub closing: usize,
    /// By PE group.
    pub groups: Vec<GroupDrain>,
}

#[derive(Clone, Copy)]
pub struct GroupDrain {
    pub cycles: u64,
    /// Of the second tensor, for a round that ends a pass.
    pub operand_bytes: u64,
    pub result_bytes: u64,
}

/// A piece of a transfer between DRAM and the RAMs.
pub struct Piece {
    pub bytes: u64,
    /// Of the fullest PE, with those of the pieces before.
    pub vectors: u64,
}

pub struct Layer<'a> {
    program: &'a Program,
    machine: &'a Machine,
    described: &'a layer::Layer,
    pub array: &'a ArrayStage,
    source: &'a Layout,
    input: &'a [i16],
    other: &'a [i16],
    post: Post<'a>,
    pub items: Vec<Item>,
    pub drains: Vec<Drain>,
    /// Loads, by tile and (channel, residue), and perhaps a store, at once.
    pub moves: Vec<Vec<Piece>>,
    pub loads: usize,
    /// By pass, the load of its tile, and the first piece of it.
    pub loaded_by: Vec<(usize, usize)>,
    sums: BTreeMap<[u32; 4], i32>,
    pub output: Vec<i16>,
    pub slots: Slots,
    pub steps: u64,
    /// Of the streams, with the blocks behind the last part of an item, which nothing waits for.
    pub weight_bytes: u64,
    /// Of the second tensor.
    pub operand_bytes: u64,
}

/// Elements of every block of a tile: by PE, then (channel, residue); none where the PE has no position of it.
fn elements_of_blocks(
    machine: &Machine,
    layout: &Layout,
    tile: &Tile,
    channels: u32,
    value: &dyn Fn(u32, u32, u32, u32) -> i16,
) -> Vec<Vec<Option<u64>>> {
    let grid = tile.pes();
    let format = machine.activation_format();
    let blocks_of = |pe: u32| {
        let rect = tile.pe_rect(pe / grid.cols, pe % grid.cols);
        let residues = layout.residues.count();
        (0..channels * residues)
            .map(|block| {
                let (c, residue) = (block / residues, block % residues);
                let places = places(layout, rect, residue);
                let values = places.iter().map(|&(n, y, x)| value(n, c, y, x));
                (!places.is_empty()).then(|| format.compress(values).len() as u64)
            })
            .collect()
    };
    (0..grid.count()).map(blocks_of).collect()
}

/// What of the elements of blocks, by PE, there is room for, and what is left over.
fn cut(blocks: &[Vec<Option<u64>>], size: u64) -> [Vec<Vec<Option<u64>>>; 2] {
    let [mut kept, mut excess] = [blocks.to_vec(), blocks.to_vec()];
    for (kept, excess) in kept.iter_mut().zip(&mut excess) {
        let mut room = size;
        for (kept, excess) in kept.iter_mut().flatten().zip(excess.iter_mut().flatten()) {
            *kept = room.min(*kept);
            *excess -= *kept;
            room -= *kept;
        }
    }
    [kept, excess]
}

/// The positions of a block in order.
fn places(layout: &Layout, rect: Rect, residue: u32) -> Vec<(u32, u32, u32)> {
    let (rows, cols) = (layout.residues.rows, layout.residues.cols);
    let mut places = Vec::new();
    for n in rect.n.iter() {
        for y in rect.y.iter().filter(|y| y % rows == residue / cols) {
            for x in rect.x.iter().filter(|x| x % cols == residue % cols) {
                places.push((n, y, x));
            }
        }
    }
    places
}

impl<'a> Layer<'a> {
    pub fn new(program: &'a Program, input: &'a [i16], other: &'a [i16]) -> Self {
        let layer = &program.layers[0];
        let mut this = Self {
            program,
            machine: &program.machine,
            described: layer,
            array: layer.array.as_ref().unwrap(),
            source: &program.tensors[0].layout,
            input,
            other,
            post: Post::new(program, other),
            items: Vec::new(),
            drains: Vec::new(),
            moves: Vec::new(),
            loads: 0,
            loaded_by: Vec::new(),
            sums: BTreeMap::new(),
            output: Vec::new(),
            slots: Slots::default(),
            steps: 0,
            weight_bytes: 0,
            operand_bytes: 0,
        };
        let excesses = this.load_all();
        for instruction in &program.code {
            let Instruction::Mac {
                pass,
                rounds,
                channels,
                ..
            } = *instruction
            else {
                continue;
            };
            let pass = pass as usize;
            let opens = channels.begin == 0;
            if opens {
                for round in rounds.iter() {
                    let groups = 0..this.array.pe_groups.count();
                    let drain = |group| GroupDrain {
                        cycles: this.drain_cycles(pass, round, group),
                        operand_bytes: 0,
                        result_bytes: 0,
                    };
                    let drain = Drain {
                        closing: 0,
                        groups: groups.map(drain).collect(),
                    };
                    this.drains.push(drain);
                }
            }
            let first = this.drains.len() - rounds.len() as usize;
            for (drain, round) in (first..).zip(rounds.iter()) {
                this.drains[drain].closing = this.items.len();
                this.items.push(Item {
                    pass,
                    round,
                    channels,
                    spilled_bytes: this.spilled_bytes(&excesses[pass], round, channels),
                    drain,
                    opens,
                });
            }
        }
        this
    }

    /// Decides all loads: of one region for every pass, or of one for all. By pass, what is left over of its blocks.
    fn load_all(&mut self) -> Vec<Vec<Vec<Option<u64>>>> {
        let passes = 0..self.described.passes.len();
        let blocks: Vec<Vec<Vec<Option<u64>>>> = passes
            .clone()
            .map(|pass| {
                let channels = self.described.source.channels.len();
                let input = |n, c, y, x| self.input(n, c, y, x);
                elements_of_blocks(self.machine, self.source, self.tile(pass), channels, &input)
            })
            .collect();
        let columns = blocks[0][0].len();
        let mut excesses = Vec::new();
        let loads = if self.all_at_once() {
            vec![passes.collect::<Vec<_>>()]
        } else {
            passes.map(|pass| vec![pass]).collect()
        };
        for (index, load) in loads.iter().enumerate() {
            let mut of_pe = vec![Vec::new(); blocks[0].len()];
            for (number, &pass) in load.iter().enumerate() {
                self.loaded_by.push((index, number * columns));
                for (all, here) in of_pe.iter_mut().zip(&blocks[pass]) {
                    all.extend(here);
                }
            }
            let [kept, excess] = cut(&of_pe, self.source_region(load[0]).size);
            for number in 0..load.len() {
                let here = number * columns..(number + 1) * columns;
                excesses.push(excess.iter().map(|pe| pe[here.clone()].to_vec()).collect());
            }
            let load = self.transfer(&kept, columns * load.len());
            self.moves.push(load);
        }
        self.loads = loads.len();
        excesses
    }

    /// Bytes of what is left over of the channels that a round reads, of some of them.
    fn spilled_bytes(&self, excess: &[Vec<Option<u64>>], round: u32, channels: Span) -> u64 {
        let (inputs, outputs) = (
            self.described.source.channels.len(),
            self.described.destination.channels.len(),
        );
        let reads = |channel: u32| {
            let groups = 0..self.array.pe_groups.count();
            let mut k = groups.map(|group| self.array.channel_group(round, group));
            k.any(|k| {
                !k.is_empty() && group_channels(self.array, k, inputs, outputs).contains(channel)
            })
        };
        let residues = self.residues();
        let read = channels.iter().filter(|&channel| reads(channel));
        let columns = read.flat_map(|channel| channel * residues..(channel + 1) * residues);
        let elements = columns.flat_map(|column| {
            let of_pes = excess.iter();
            of_pes.filter_map(move |pe| pe[column as usize])
        });
        self.element_bytes(elements.sum())
    }

    fn element_bytes(&self, elements: u64) -> u64 {
        (elements * u64::from(self.machine.activation_format().element_bits())).div_ceil(8)
    }

    /// Whether all tiles of the source lie in one region.
    fn all_at_once(&self) -> bool {
        let mut regions = self.program.regions.iter();
        regions.any(|region| region.name == "in.a")
    }

    /// The region of the source tile of a pass.
    fn source_region(&self, pass: usize) -> &'a Region {
        if self.all_at_once() {
            self.region("in.a")
        } else {
            self.region(&format!("in.a{pass}"))
        }
    }

    fn region(&self, name: &str) -> &'a Region {
        self.program
            .regions
            .iter()
            .find(|region| region.name == name)
            .unwrap()
    }

    pub fn same_place(&self, a: usize, b: usize) -> bool {
        self.source_region(a).base == self.source_region(b).base
    }

    fn tile(&self, pass: usize) -> &'a Tile {
        &self.source.tiles[self.described.passes[pass].source_tile as usize]
    }

    pub fn residues(&self) -> u32 {
        self.source.residues.count()
    }

    pub fn group_pes(&self) -> u32 {
        self.tile(0).pes().count()
    }

    pub fn pe_rect(&self, pass: usize, pe: u32) -> Rect {
        let tile = self.tile(pass);
        let cols = tile.pes().cols;
        tile.pe_rect(pe / cols, pe % cols)
    }

    fn input(&self, n: u32, c: u32, y: u32, x: u32) -> i16 {
        let [_, channels, height, width] = self.program.tensors[0].shape;
        self.input[(((n * channels + c) * height + y) * width + x) as usize]
    }

    /// The transfer of blocks, the same number of every PE, in equal pieces.
    fn transfer(&self, blocks: &[Vec<Option<u64>>], pieces: usize) -> Vec<Piece> {
        let format = self.machine.activation_format();
        let width = u64::from(self.machine.pe.activations_per_vector);
        let of_piece = blocks[0].len() / pieces;
        let piece = |index: usize| {
            let (begin, end) = (index * of_piece, (index + 1) * of_piece);
            let here = blocks.iter().flat_map(|pe| pe[begin..end].iter().flatten());
            let so_far = blocks.iter().map(|pe| {
                let stored = pe[..end].iter().flatten();
                stored.map(|elements| elements.div_ceil(width)).sum()
            });
            Piece {
                bytes: here.map(|&elements| format.block_bytes(elements)).sum(),
                vectors: so_far.max().unwrap(),
            }
        };
        (0..pieces).map(piece).collect()
    }

    /// The weight stream of every PE group.
    pub fn streams(&mut self) -> Vec<Vec<Part>> {
        let (inputs, outputs) = (
            self.described.source.channels.len(),
            self.described.destination.channels.len(),
        );
        let format = self.machine.weight_format();
        let section = &self.program.section(self.array.weights).bytes;
        let residues = self.source.residues;
        let blocks =
            WeightBlocks::decode(section, format, self.array, inputs, outputs, residues).unwrap();
        let taps = residue_taps(self.array, residues);
        let groups = self.array.pe_groups.count();
        let mut weight_bytes = 0;
        let mut stream = |group: u32| {
            let mut stream = Vec::new();
            for (number, item) in self.items.iter().enumerate() {
                let index = (item.round * groups + group) as usize;
                let k = self.array.channel_groups[index];
                let mut parts = Vec::new();
                // The count bytes of empty blocks travel with the next part.
                let mut carried = 0;
                let channels = group_channels(self.array, k, inputs, outputs);
                for channel in channels.intersect(item.channels).iter() {
                    for (residue, taps) in taps.iter().enumerate() {
                        let weights: Vec<Weight> =
                            positions(blocks.block(index, channel, residue as u32))
                                .map(|(position, value)| {
                                    let (ko, tap) = self.array.order.split(
                                        position as u32,
                                        k.len(),
                                        taps.len() as u32,
                                    );
                                    let (r, s) = taps[tap as usize];
                                    (value != 0).then_some((ko, r, s, value))
                                })
                                .collect();
                        let bytes = format.block_bytes(weights.len() as u64);
                        weight_bytes += bytes;
                        let (mut sent, mut elements) = (0, 0);
                        let vectors: Vec<Vec<Weight>> = weights
                            .chunks(self.machine.pe.weights_per_vector as usize)
                            .map(<[Weight]>::to_vec)
                            .collect();
                        for vectors in vectors.chunks(self.machine.weights.fifo_vectors as usize) {
                            elements += vectors.iter().map(Vec::len).sum::<usize>() as u64;
                            let up_to = bytes * elements / weights.len() as u64;
                            let bytes = up_to - sent + std::mem::take(&mut carried);
                            parts.push(part(
                                number,
                                channel,
                                residue as u32,
                                vectors.to_vec(),
                                bytes,
                            ));
                            sent = up_to;
                        }
                        carried += bytes - sent;
                    }
                }
                // Those behind the last part travel with it.
                match parts.last_mut() {
                    Some(last) => last.bytes += carried,
                    None => parts.push(part(number, item.channels.begin, 0, Vec::new(), carried)),
                }
                parts.first_mut().unwrap().first = true;
                parts.last_mut().unwrap().last = true;
                stream.extend(parts);
            }
            stream
        };
        let streams = (0..groups).map(&mut stream).collect();
        self.weight_bytes = weight_bytes;
        streams
    }

    /// The largest accumulator tile of all PEs: images, rows, columns.
    fn accumulators(&self, pass: usize) -> [i64; 3] {
        let inner = self.described.passes[pass].output;
        let mut largest = [0; 3];
        for pe in 0..self.group_pes() {
            let rect = self.pe_rect(pass, pe);
            let extents = [
                rect.n.intersect(inner.n),
                self.array.y.outputs(rect.y).intersect(inner.y),
                self.array.x.outputs(rect.x).intersect(inner.x),
            ];
            for (largest, extent) in largest.iter_mut().zip(extents) {
                *largest = (*largest).max(i64::from(extent.len()));
            }
        }
        largest
    }

    /// The steps of a part in a PE. Counts what the lanes did and adds the products to their sums.
    pub fn expand(&mut self, part: &Part, group: usize, pe: u32) -> VecDeque<Step> {
        let Item { pass, round, .. } = self.items[part.item];
        let rect = self.pe_rect(pass, pe);
        if rect.is_empty() {
            return VecDeque::new();
        }
        let array = self.array;
        let inner = self.described.passes[pass].output;
        let first_k = array.channel_group(round, group as u32).begin;
        let [images, height, width] = self.accumulators(pass);
        let top = i64::from(array.y.outputs(rect.y).intersect(inner.y).begin);
        let left = i64::from(array.x.outputs(rect.x).intersect(inner.x).begin);
        let places = places(self.source, rect, part.residue);
        let values = places
            .iter()
            .map(|&(n, y, x)| self.input(n, part.channel, y, x));
        let stored: Vec<Activation> = positions(&self.machine.activation_format().compress(values))
            .map(|(position, value)| {
                let (n, y, x) = places[position as usize];
                (value != 0).then_some((n, y, x, value))
            })
            .collect();
        let machine = self.machine;
        let mut steps = VecDeque::new();
        for activations in stored.chunks(machine.pe.activations_per_vector as usize) {
            for weights in &part.vectors {
                let mut step = Step::new();
                self.steps += 1;
                let lanes = machine.multipliers_per_pe() as usize;
                self.slots.fragmentation += (lanes - activations.len() * weights.len()) as u64;
                for (weight, activation) in weights
                    .iter()
                    .flat_map(|w| activations.iter().map(move |a| (w, a)))
                {
                    let (Some((k, r, s, w)), Some((n, y, x, a))) = (*weight, *activation) else {
                        self.slots.placeholder += 1;
                        continue;
                    };
                    let (Some(oy), Some(ox)) = (array.y.output(y, r), array.x.output(x, s)) else {
                        self.slots.out_of_plane += 1;
                        continue;
                    };
                    if !inner.n.contains(n) || !inner.y.contains(oy) || !inner.x.contains(ox) {
                        self.slots.out_of_plane += 1;
                        continue;
                    }
                    self.slots.useful += 1;
                    *self.sums.entry([n, first_k + k, oy, ox]).or_default() +=
                        product(w, a, array.product_shift);
                    let plane = i64::from(k) * images + i64::from(n - rect.n.begin);
                    let address =
                        (plane * height + i64::from(oy) - top) * width + i64::from(ox) - left;
                    let banks = i64::from(machine.pe.banks);
                    let bank = match machine.pe.bank_map {
                        BankMap::Modulo => address % banks,
                        BankMap::Xor => (address ^ (address / banks)) % banks,
                    };
                    *step.entry(bank as usize).or_default() += 1;
                }
                steps.push_back(step);
            }
        }
        steps
    }

    /// Cycles of the drain of a round in a PE group: the busiest link, then the PE that owns most outputs.
    fn drain_cycles(&self, pass: usize, round: u32, group: u32) -> u64 {
        let (tile, inner) = (self.tile(pass), self.described.passes[pass].output);
        let owner = |output: u32, axis: &Axis, cuts: &[u32]| {
            let begins = |part: &u32| axis.project(cuts[*part as usize]) <= output;
            (1..cuts.len() as u32 - 1).rev().find(begins).unwrap_or(0)
        };
        let owner = |oy: u32, ox: u32| {
            (
                owner(oy, &self.array.y, &tile.y),
                owner(ox, &self.array.x, &tile.x),
            )
        };
        let (rows, cols) = (tile.y.len() as u32 - 1, tile.x.len() as u32 - 1);
        let mut links: BTreeMap<_, u64> = BTreeMap::new();
        for pe in 0..self.group_pes() {
            let rect = self.pe_rect(pass, pe);
            // PEs of other images are other PEs: the walk stays inside the block of this image.
            let (pe_row, pe_col) = (pe / tile.pes().cols, pe % tile.pes().cols);
            let block = (pe_row / rows, pe_col / cols);
            let (row, col) = (pe_row % rows, pe_col % cols);
            for _ in rect.n.intersect(inner.n).iter() {
                for oy in reached(&self.array.y, rect.y, inner.y) {
                    for ox in reached(&self.array.x, rect.x, inner.x) {
                        let (to, mut at) = (owner(oy, ox), (row, col));
                        while at != to {
                            let next = (toward(at.0, to.0), toward(at.1, to.1));
                            *links.entry((block, at, next)).or_default() += 1;
                            at = next;
                        }
                    }
                }
            }
        }
        let mut owned: BTreeMap<_, u64> = BTreeMap::new();
        for n in inner.n.iter() {
            let image = tile.n.windows(2).position(|cut| cut[0] <= n && n < cut[1]);
            for oy in inner.y.iter() {
                for ox in inner.x.iter() {
                    *owned.entry((image, owner(oy, ox))).or_default() += 1;
                }
            }
        }
        let kc = u64::from(self.array.channel_group(round, group).len());
        let ppu = &self.machine.ppu;
        let most = |counts: BTreeMap<_, u64>| counts.into_values().max().unwrap_or(0) * kc;
        let link = links.into_values().max().unwrap_or(0) * kc;
        link.div_ceil(u64::from(ppu.halo_sums_per_cycle))
            + most(owned).div_ceil(u64::from(ppu.lanes))
    }

    /// The output, and what it takes to DRAM, once every part has been expanded.
    pub fn results(&mut self) {
        let [images, channels, height, width] = self.program.tensors[1].shape;
        for n in 0..images {
            for k in 0..channels {
                for y in 0..height {
                    for x in 0..width {
                        let sum = self.sums.get(&[n, k, y, x]).copied().unwrap_or(0);
                        let (index, plane) = (self.output.len(), (height * width) as usize);
                        self.output
                            .push(self.post.value(sum, index, plane, k as usize));
                    }
                }
            }
        }
        let output = |n: u32, k: u32, y: u32, x: u32| {
            self.output[(((n * channels + k) * height + y) * width + x) as usize]
        };
        let layout = &self.program.tensors[1].layout;
        let blocks = elements_of_blocks(self.machine, layout, &layout.tiles[0], channels, &output);
        let mut store = self.transfer(&blocks, 1);
        let stored = self
            .program
            .code
            .iter()
            .any(|i| matches!(i, Instruction::Sta { .. }));
        if stored {
            // What exceeds the region is read again for it.
            let [_, excess] = cut(&blocks, self.region("out.b").size);
            let excess = excess.iter().flatten().flatten().sum();
            store[0].bytes += self.element_bytes(excess);
            self.moves.push(store);
        }
        let groups = self.array.pe_groups.count();
        for drain in 0..self.drains.len() {
            let item = &self.items[self.drains[drain].closing];
            let (pass, round) = (item.pass, item.round);
            for group in 0..groups {
                let channels = self.array.channel_group(round, group);
                let bytes = self.result_bytes(&blocks, pass, channels, stored);
                self.drains[drain].groups[group as usize].result_bytes = bytes;
            }
        }
        self.operands();
    }

    /// What of the second tensor the rounds read that end a pass, by one `drn`: shared out by outputs, from round to round
    /// and in each from group to group.
    fn operands(&mut self) {
        let (Some(operand), Some(tensor)) =
            (self.described.ppu.operand, self.program.tensors.get(2))
        else {
            return;
        };
        let [_, channels, h, w] = tensor.shape;
        let value = |n: u32, k: u32, y: u32, x: u32| {
            self.other[(((n * channels + k) * h + y) * w + x) as usize]
        };
        let tile = &tensor.layout.tiles[0];
        let blocks = elements_of_blocks(self.machine, &tensor.layout, tile, channels, &value);
        let all = self.transfer(&blocks, 1)[0].bytes;
        let mut drain = 0;
        for instruction in &self.program.code {
            let Instruction::Drn { pass, rounds, .. } = *instruction else {
                continue;
            };
            let drains = drain..drain + rounds.len() as usize;
            drain = drains.end;
            if rounds.end < self.array.rounds() {
                continue;
            }
            let plane = f64::from(tensor.shape[0]) * f64::from(h * w);
            let share = match operand.shape {
                OperandShape::Same => {
                    self.described.passes[pass as usize].output.positions() as f64 / plane
                }
                OperandShape::PerChannel => 1.0,
            };
            let bytes = (all as f64 * share).ceil() as u64;
            self.operand_bytes += bytes;
            let groups = self.array.pe_groups.count();
            let outputs = |round: u32, group: u32| {
                u64::from(self.array.channel_group(round, group).len())
                    * self.described.passes[pass as usize].output.positions()
            };
            let order = rounds
                .iter()
                .flat_map(|round| (0..groups).map(move |group| (round, group)));
            let whole: u64 = order
                .clone()
                .map(|(round, group)| outputs(round, group))
                .sum();
            let mut done = 0;
            for (round, group) in order {
                let here = outputs(round, group);
                let share = bytes * (done + here) / whole - bytes * done / whole;
                let index = drains.start + (round - rounds.begin) as usize;
                self.drains[index].groups[group as usize].operand_bytes = share;
                done += here;
            }
        }
    }

    /// Bytes to DRAM of the blocks of some channels that a pass completes: all, or what exceeds the region of the result.
    fn result_bytes(
        &self,
        blocks: &[Vec<Option<u64>>],
        pass: usize,
        channels: Span,
        stored: bool,
    ) -> u64 {
        let layout = &self.program.tensors[1].layout;
        let (tile, cols) = (&layout.tiles[0], layout.tiles[0].pes().cols);
        let completes = |pe: usize| {
            let held = tile.pe_rect(pe as u32 / cols, pe as u32 % cols);
            let mut passes = (0..self.described.passes.len()).rev();
            passes.find(|&pass| {
                !held
                    .intersect(self.described.passes[pass].output)
                    .is_empty()
            })
        };
        let mine = (0..blocks.len()).filter(|&pe| completes(pe) == Some(pass));
        let span = channels.begin as usize..channels.end as usize;
        if stored {
            // A PE's blocks all come with the same pass, so only they take its room.
            let [_, excess] = cut(blocks, self.region("out.b").size);
            let of_pe = |pe: usize| excess[pe][span.clone()].iter().flatten().sum::<u64>();
            return self.element_bytes(mine.map(of_pe).sum());
        }
        let format = self.machine.activation_format();
        let of_pe = |pe: usize| {
            let stored = blocks[pe][span.clone()].iter().flatten();
            stored
                .map(|&elements| format.block_bytes(elements))
                .sum::<u64>()
        };
        mine.map(of_pe).sum()
    }
}

/// The outputs that a product of some positions can have.
fn reached(axis: &Axis, held: Span, inner: Span) -> BTreeSet<u32> {
    let mut outputs = BTreeSet::new();
    for position in held.iter() {
        let by_tap = (0..axis.kernel).filter_map(|tap| axis.output(position, tap));
        outputs.extend(by_tap.filter(|&output| inner.contains(output)));
    }
    outputs
}

fn toward(from: u32, to: u32) -> u32 {
    match from.cmp(&to) {
        std::cmp::Ordering::Less => from + 1,
        std::cmp::Ordering::Equal => from,
        std::cmp::Ordering::Greater => from - 1,
    }
}

fn part(item: usize, channel: u32, residue: u32, vectors: Vec<Vec<Weight>>, bytes: u64) -> Part {
    Part {
        item,
        channel,
        residue,
        vectors,
        bytes,
        first: false,
        last: false,
        by_bus: None,
        by_dram: None,
    }
}

/// A product in units of 2^`shift`, halves upward; floats hold every step exactly.
fn product(weight: i16, activation: i16, shift: u8) -> i32 {
    let units = f64::from(weight) * f64::from(activation) / 2f64.powi(i32::from(shift));
    (units + 0.5).floor() as i32
}
