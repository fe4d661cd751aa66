//! The machine, literally: PEs hold compressed blocks, products queue before banks, and every unit moves one cycle at
//! a time. Nothing is shared with the simulator but the codec and the geometry of an axis.

use crate::decode::{Layer, Step, Weight};
use scnn_isa::machine::{Drift, Machine};
use scnn_isa::program::Program;
use scnn_simulator::timing::Slots;
use std::collections::VecDeque;

/// What a layer computed and took.
pub struct Literal {
    pub output: Vec<i16>,
    pub cycles: u64,
    /// Cycles before its end from which on the next layer's weights may be requested.
    pub head_start: u64,
    pub steps: u64,
    pub weight_bytes: u64,
    pub loaded_bytes: u64,
    /// Spilled elements and results, and what is stored.
    pub other_bytes: u64,
    /// All but the causes of waiting, which stand together in `barrier`.
    pub slots: Slots,
    /// By PE of the array, in the order of its rows: steps issued, cycles before full queues, cycles without a tile.
    pub pe_cycles: [Vec<u64>; 3],
}

/// A part of a weight block on its way to a PE group.
pub struct Part {
    /// The round of a pass that it belongs to, or some channels of one, counted over the layer.
    pub item: usize,
    pub channel: u32,
    pub residue: u32,
    pub vectors: Vec<Vec<Weight>>,
    pub bytes: u64,
    pub first: bool,
    pub last: bool,
    /// When the bus has carried it, and when DRAM has.
    pub by_bus: Option<u64>,
    pub by_dram: Option<u64>,
}

struct Pe {
    group: usize,
    /// By item: whether the PE has a tile.
    has_tile: Vec<bool>,
    /// Next part of its group's stream, and the steps of the part under way.
    part: usize,
    steps: Option<VecDeque<Step>>,
    /// By part, until it is taken.
    work: Vec<VecDeque<Step>>,
    /// The item that ends when what had spilled is there.
    ending: Option<usize>,
    /// Items finished.
    finished: usize,
    /// Products before each bank, as the items they belong to.
    queues: Vec<VecDeque<usize>>,
    issued: u64,
    stalls: u64,
}

/// What DRAM is asked for; at the same moment in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Transfer {
    /// A load's column, or a store.
    Move {
        index: usize,
        piece: usize,
    },
    Spill(usize),
    /// What a drain of a PE group reads of the second tensor.
    Operand(usize, usize),
    /// Of a PE group, and which.
    Result(usize, usize),
    Weights {
        group: usize,
        part: usize,
    },
}

struct World<'a> {
    machine: &'a Machine,
    layer: &'a Layer<'a>,
    now: u64,
    /// Before it, only weights move.
    begin: u64,
    /// Ticks in which DRAM stood idle since all PEs had finished.
    idle: u64,
    streams: Vec<Vec<Part>>,
    pes: Vec<Pe>,
    /// By stream: parts requested, and parts that are there.
    next_part: Vec<usize>,
    arrived: Vec<usize>,
    /// Parts that wait for the bus (stream and number), with the vectors that are left.
    bus: VecDeque<(usize, usize, usize)>,
    /// What waits for DRAM, with the ticks that are left and when it was asked for: weights, and the rest.
    dram: [VecDeque<(Transfer, u64, u64)>; 2],
    /// Moment of each load, and of the store, behind: begun, and served by piece.
    moves: Vec<(Option<u64>, Vec<Option<u64>>)>,
    /// By item: begun (for its spill), spill served.
    begun: Vec<bool>,
    spilled: Vec<Option<u64>>,
    /// By PE group and drain: begun; and how many of each group have asked for their result.
    drains: Vec<Vec<Option<u64>>>,
    /// Likewise: what it reads is there.
    operands: Vec<Vec<Option<u64>>>,
    results: Vec<usize>,
    /// Requests of this moment.
    requests: Vec<(Transfer, u64)>,
    last_served: u64,
}

const TICKS_PER_CYCLE: u64 = 1 << 16;

fn past(moment: Option<u64>, now: u64) -> bool {
    moment.is_some_and(|moment| moment <= now)
}

impl World<'_> {
    fn drained(&self, group: usize, drain: usize) -> bool {
        let cycles = self.layer.drains[drain].groups[group].cycles;
        let begun = self.drains[group][drain];
        past(begun.map(|begin| begin + cycles), self.now)
            && past(self.operands[group][drain], self.now)
    }

    fn all_drained(&self) -> bool {
        self.drains.iter().enumerate().all(|(group, drains)| {
            let mut drains = 0..drains.len();
            drains.all(|drain| self.drained(group, drain))
        })
    }

    fn finished(&self, item: usize) -> bool {
        self.pes.iter().all(|pe| pe.finished > item)
    }

    /// Whether the pieces of a move up to one are there.
    fn piece_moved(&self, index: usize, piece: usize) -> bool {
        let (begun, served) = &self.moves[index];
        let vectors = self.layer.moves[index][piece].vectors;
        past(begun.map(|begun| begun + vectors), self.now)
            && served[..=piece]
                .iter()
                .all(|&served| past(served, self.now))
    }

    fn moved(&self, index: usize) -> bool {
        self.piece_moved(index, self.layer.moves[index].len() - 1)
    }

    /// Whether a PE of a group may begin an item: other PEs, the half.
    fn may_begin(&self, group: usize, item: usize) -> bool {
        let barrier =
            self.machine.sync.drift == Drift::Fifo || item == 0 || self.finished(item - 1);
        let described = &self.layer.items[item];
        let half =
            !described.opens || described.drain < 2 || self.drained(group, described.drain - 2);
        barrier && half
    }

    /// One thing that can happen at this moment, if there is one.
    fn happen(&mut self) -> bool {
        self.now >= self.begin && self.layer_moves_on()
    }

    fn layer_moves_on(&mut self) -> bool {
        self.mover_begins() || self.pe_moves_on() || self.drain_begins() || self.result_leaves()
    }

    fn mover_begins(&mut self) -> bool {
        let Some(index) = self.moves.iter().position(|(begun, _)| begun.is_none()) else {
            return false;
        };
        let idle = index == 0 || self.moved(index - 1);
        let items = 0..self.layer.items.len();
        let ready = if index < self.layer.loads {
            // Nobody reads any more what lies where it will lie.
            items.clone().all(|item| {
                let pass = self.layer.items[item].pass;
                pass >= index || !self.layer.same_place(pass, index) || self.finished(item)
            })
        } else {
            self.all_drained()
        };
        if !idle || !ready {
            return false;
        }
        self.moves[index].0 = Some(self.now);
        for (piece, moved) in self.layer.moves[index].iter().enumerate() {
            self.requests
                .push((Transfer::Move { index, piece }, moved.bytes));
        }
        true
    }

    fn pe_moves_on(&mut self) -> bool {
        (0..self.pes.len()).any(|index| self.one_pe_moves_on(index))
    }

    fn one_pe_moves_on(&mut self, index: usize) -> bool {
        let pe = &self.pes[index];
        if let Some(item) = pe.ending {
            let spill = self.layer.items[item].spilled_bytes;
            let arrived = spill == 0 || past(self.spilled[item], self.now);
            if arrived {
                let pe = &mut self.pes[index];
                (pe.ending, pe.finished) = (None, item + 1);
            }
            return arrived;
        }
        let Some(part) = self.streams[pe.group].get(pe.part) else {
            return false;
        };
        let (item, last) = (part.item, part.last);
        if !pe.has_tile[item] {
            let pe = &mut self.pes[index];
            pe.part += 1;
            if last {
                // What had spilled ends the item for the whole group.
                pe.ending = Some(item);
            }
            return true;
        }
        if pe.steps.as_ref().is_some_and(VecDeque::is_empty) {
            let pe = &mut self.pes[index];
            pe.steps = None;
            pe.part += 1;
            if last {
                pe.ending = Some(item);
            }
            return true;
        }
        let may = !part.first || self.may_begin(pe.group, item);
        let arrived = pe.part < self.arrived[pe.group] && self.activations_loaded(part);
        if pe.steps.is_some() || !may || !arrived {
            return false;
        }
        if !std::mem::replace(&mut self.begun[item], true) {
            let bytes = self.layer.items[item].spilled_bytes;
            self.requests.push((Transfer::Spill(item), bytes));
        }
        let pe = &mut self.pes[index];
        pe.steps = Some(std::mem::take(&mut pe.work[pe.part]));
        true
    }

    fn drain_begins(&mut self) -> bool {
        (0..self.drains.len()).any(|group| self.drain_of_group_begins(group))
    }

    fn drain_of_group_begins(&mut self, group: usize) -> bool {
        let Some(drain) = self.drains[group].iter().position(Option::is_none) else {
            return false;
        };
        let item = self.layer.drains[drain].closing;
        let pes = self.pes.iter().filter(|pe| pe.group == group);
        let finished = pes.clone().all(|pe| pe.finished > item);
        // What stood in the queues when the item finished has to leave them, whatever it belongs to.
        let mut queues = pes.flat_map(|pe| &pe.queues);
        let retired = finished && queues.all(|queue| queue.iter().all(|&other| other > item));
        let idle = drain == 0 || self.drained(group, drain - 1);
        if retired && idle {
            self.drains[group][drain] = Some(self.now);
            match self.layer.drains[drain].groups[group].operand_bytes {
                0 => self.operands[group][drain] = Some(self.now),
                bytes => self.requests.push((Transfer::Operand(group, drain), bytes)),
            }
        }
        retired && idle
    }

    fn result_leaves(&mut self) -> bool {
        (0..self.drains.len()).any(|group| self.result_of_group_leaves(group))
    }

    fn result_of_group_leaves(&mut self, group: usize) -> bool {
        let drain = self.results[group];
        if drain == self.layer.drains.len() || !self.drained(group, drain) {
            return false;
        }
        let bytes = self.layer.drains[drain].groups[group].result_bytes;
        self.requests.push((Transfer::Result(group, drain), bytes));
        self.results[group] += 1;
        true
    }

    fn ask_dram(&mut self, transfer: Transfer, bytes: u64) {
        if bytes == 0 {
            self.served(transfer, self.now);
            return;
        }
        let ticks = self.ticks(bytes);
        let queue = usize::from(!matches!(transfer, Transfer::Weights { .. }));
        let queue = &mut self.dram[queue];
        // DRAM has begun with the first; of the others, what is asked for at the same moment has its order.
        let before = |&(other, _, asked): &(Transfer, u64, u64)| {
            asked < self.now || matches!(other, Transfer::Weights { .. }) || other <= transfer
        };
        let at = queue
            .iter()
            .skip(1)
            .take_while(|other| before(other))
            .count();
        let at = (at + 1).min(queue.len());
        queue.insert(at, (transfer, ticks, self.now));
    }

    fn ticks(&self, bytes: u64) -> u64 {
        let of_byte = TICKS_PER_CYCLE as f64 / self.machine.dram_bytes_per_cycle();
        (bytes as f64 * of_byte).ceil() as u64
    }

    /// Whether DRAM, with the weights that wait for it, carries as many bytes more until the layer begins.
    fn carries_ahead(&self, bytes: u64) -> bool {
        let waiting: u64 = self.dram[0].iter().map(|&(_, left, _)| left).sum();
        let left = self.begin.saturating_sub(self.now) * TICKS_PER_CYCLE;
        self.now < self.begin && waiting + self.ticks(bytes) <= left
    }

    fn served(&mut self, transfer: Transfer, moment: u64) {
        match transfer {
            Transfer::Move { index, piece } => self.moves[index].1[piece] = Some(moment),
            Transfer::Spill(item) => self.spilled[item] = Some(moment),
            Transfer::Operand(group, drain) => self.operands[group][drain] = Some(moment),
            Transfer::Result(..) => {}
            Transfer::Weights { group, part } => {
                self.streams[group][part].by_dram = Some(moment);
            }
        }
        self.last_served = self.last_served.max(moment);
    }

    /// The streams that can request a part do, one at a time. Whether a part has arrived.
    fn weights_leave(&mut self) -> bool {
        let streams = 0..self.streams.len();
        while let Some(group) = streams
            .clone()
            .filter(|&group| self.may_request(group))
            .min_by_key(|&group| (self.next_part[group], group))
        {
            let number = self.next_part[group];
            let part = &self.streams[group][number];
            let bytes = part.bytes;
            self.bus.push_back((group, number, part.vectors.len()));
            self.next_part[group] += 1;
            let transfer = Transfer::Weights {
                group,
                part: number,
            };
            self.ask_dram(transfer, bytes);
        }
        self.leave_bus(self.now);
        self.arrive()
    }

    /// Whether a stream has a part left whose activations are loaded, all of its column, or of the first one of an item
    /// without weights, or need not be, and for which every PE of the group that has a tile has room.
    fn may_request(&self, group: usize) -> bool {
        let number = self.next_part[group];
        let stream = &self.streams[group];
        let Some(part) = stream.get(number) else {
            return false;
        };
        if !self.activations_loaded(part) && !self.carries_ahead(part.bytes) {
            return false;
        }
        let needed = |index: usize| {
            let mut pes = self.pes.iter().filter(|pe| pe.group == group);
            pes.any(|pe| pe.part <= index && pe.has_tile[stream[index].item])
        };
        let oldest = (0..number).find(|&index| needed(index)).unwrap_or(number);
        let held: usize = stream[oldest..number]
            .iter()
            .map(|part| part.vectors.len())
            .sum();
        held + part.vectors.len() <= self.machine.weights.fifo_vectors as usize
    }

    fn activations_loaded(&self, part: &Part) -> bool {
        let (load, first) = self.layer.loaded_by[self.layer.items[part.item].pass];
        let column = part.channel * self.layer.residues() + part.residue;
        self.piece_moved(load, first + column as usize)
    }

    /// Takes the parts of which nothing is left off the bus.
    fn leave_bus(&mut self, moment: u64) {
        while let Some(&(group, number, 0)) = self.bus.front() {
            self.streams[group][number].by_bus = Some(moment);
            self.bus.pop_front();
        }
    }

    /// Notes which parts are there, in order; whether there are more than before.
    fn arrive(&mut self) -> bool {
        let mut more = false;
        for (stream, arrived) in self.streams.iter().zip(&mut self.arrived) {
            while let Some(part) = stream.get(*arrived)
                && past(part.by_bus, self.now)
                && past(part.by_dram, self.now)
            {
                *arrived += 1;
                more = true;
            }
        }
        more
    }

    /// Everything that happens at this moment.
    fn moment(&mut self) {
        self.arrive();
        loop {
            while self.happen() {}
            let mut requests = std::mem::take(&mut self.requests);
            requests.sort_by_key(|request| request.0);
            for (transfer, bytes) in requests {
                self.ask_dram(transfer, bytes);
            }
            if !self.weights_leave() {
                return;
            }
        }
    }

    fn cycle(&mut self) {
        let depth = self.machine.pe.queue_depth as usize;
        for pe in &mut self.pes {
            if let Some(steps) = &mut pe.steps
                && let Some(step) = steps.front()
            {
                let passes = step.iter().all(|(&bank, &products)| {
                    let waiting = pe.queues[bank].len();
                    waiting + products <= depth || (products > depth && waiting == 0)
                });
                if passes {
                    pe.issued += 1;
                    let item = self.streams[pe.group][pe.part].item;
                    for (bank, products) in steps.pop_front().unwrap() {
                        pe.queues[bank].extend(std::iter::repeat_n(item, products));
                    }
                } else {
                    pe.stalls += 1;
                }
            }
            for queue in &mut pe.queues {
                queue.pop_front();
            }
        }
        let mut vectors = self.machine.weights.bus_vectors_per_cycle as usize;
        while vectors > 0
            && let Some((_, _, left)) = self.bus.front_mut()
        {
            let carried = vectors.min(*left);
            *left -= carried;
            vectors -= carried;
            self.leave_bus(self.now + 1);
        }
        let mut ticks = TICKS_PER_CYCLE;
        for queue in 0..self.dram.len() {
            while ticks > 0
                && let Some((transfer, left, _)) = self.dram[queue].front_mut()
            {
                let spent = ticks.min(*left);
                *left -= spent;
                ticks -= spent;
                if *left == 0 {
                    let transfer = *transfer;
                    self.dram[queue].pop_front();
                    self.served(transfer, self.now + 1);
                }
            }
        }
        if self.pes_done() {
            self.idle += ticks;
        }
        self.now += 1;
    }

    fn pes_done(&self) -> bool {
        let items = self.layer.items.len();
        self.pes.iter().all(|pe| pe.finished == items)
    }

    /// See [`Literal::pe_cycles`]. PEs are listed by their groups; each group is a rectangle of the array.
    fn pe_cycles(&self) -> [Vec<u64>; 3] {
        let (pe_groups, array) = (self.layer.array.pe_groups, &self.machine.array);
        let group_rows = array.rows / pe_groups.rows;
        let group_cols = array.cols / pe_groups.cols;
        let mut pe_cycles = [(); 3].map(|()| vec![0; self.pes.len()]);
        for (number, pe) in (0..).zip(&self.pes) {
            let (group, inner) = (pe.group as u32, number % self.layer.group_pes());
            let row = group / pe_groups.cols * group_rows + inner / group_cols;
            let col = group % pe_groups.cols * group_cols + inner % group_cols;
            let idle = if pe.has_tile.contains(&true) {
                0
            } else {
                self.now - self.begin
            };
            let at = (row * array.cols + col) as usize;
            for (cycles, value) in pe_cycles.iter_mut().zip([pe.issued, pe.stalls, idle]) {
                cycles[at] = value;
            }
        }
        pe_cycles
    }

    fn done(&self) -> bool {
        self.now >= self.begin
            && self.pes_done()
            && self.all_drained()
            && (0..self.moves.len()).all(|index| self.moved(index))
            && self.dram.iter().all(VecDeque::is_empty)
            && self.last_served <= self.now
    }
}

impl Literal {
    /// Runs the first layer of a program, whose weights may be requested `head_start` cycles before it begins.
    pub fn run(program: &Program, input: &[i16], other: &[i16], head_start: u64) -> Self {
        let machine = &program.machine;
        let mut layer = Layer::new(program, input, other);
        let streams = layer.streams();
        let mut pes = Vec::new();
        for (group, stream) in streams.iter().enumerate() {
            for pe in 0..layer.group_pes() {
                let has_tile: Vec<bool> = layer
                    .items
                    .iter()
                    .map(|item| !layer.pe_rect(item.pass, pe).is_empty())
                    .collect();
                let work = stream
                    .iter()
                    .map(|part| layer.expand(part, group, pe))
                    .collect();
                pes.push(Pe {
                    group,
                    has_tile,
                    part: 0,
                    steps: None,
                    work,
                    ending: None,
                    finished: 0,
                    queues: vec![VecDeque::new(); machine.pe.banks as usize],
                    issued: 0,
                    stalls: 0,
                });
            }
        }
        layer.results();
        let (items, groups) = (layer.items.len(), streams.len());
        let mut world = World {
            machine,
            now: 0,
            begin: head_start,
            idle: 0,
            next_part: vec![0; streams.len()],
            arrived: vec![0; streams.len()],
            streams,
            pes,
            bus: VecDeque::new(),
            dram: [VecDeque::new(), VecDeque::new()],
            moves: layer
                .moves
                .iter()
                .map(|pieces| (None, vec![None; pieces.len()]))
                .collect(),
            begun: vec![false; items],
            spilled: vec![None; items],
            drains: vec![vec![None; layer.drains.len()]; groups],
            operands: vec![vec![None; layer.drains.len()]; groups],
            results: vec![0; groups],
            requests: Vec::new(),
            last_served: 0,
            layer: &layer,
        };
        loop {
            world.moment();
            if world.done() {
                break;
            }
            world.cycle();
            assert!(world.now < 1_000_000, "the machine hangs");
        }
        let (cycles, head_start) = (world.now - world.begin, world.idle / TICKS_PER_CYCLE);
        let lanes = u64::from(machine.multipliers_per_pe());
        let stalls: u64 = world.pes.iter().map(|pe| pe.stalls).sum();
        let with_tile = world
            .pes
            .iter()
            .filter(|pe| pe.has_tile.contains(&true))
            .count() as u64;
        let loads = layer.moves[..layer.loads].iter().flatten();
        let of_loads: u64 = loads.map(|piece| piece.bytes).sum();
        let loaded_bytes = of_loads + layer.operand_bytes;
        let stores = layer.moves[layer.loads..].iter().flatten();
        let results = layer.drains.iter().flat_map(|drain| &drain.groups);
        let other_bytes = layer
            .items
            .iter()
            .map(|item| item.spilled_bytes)
            .sum::<u64>()
            + results.map(|group| group.result_bytes).sum::<u64>()
            + stores.map(|piece| piece.bytes).sum::<u64>();
        let mut slots = layer.slots;
        slots.bank_stall = stalls * lanes;
        slots.no_tile = (u64::from(machine.pe_count()) - with_tile) * cycles * lanes;
        slots.barrier = (with_tile * cycles - layer.steps - stalls) * lanes;
        let pe_cycles = world.pe_cycles();
        Self {
            output: layer.output,
            pe_cycles,
            cycles,
            head_start,
            steps: layer.steps,
            weight_bytes: layer.weight_bytes,
            loaded_bytes,
            other_bytes,
            slots,
        }
    }
}
