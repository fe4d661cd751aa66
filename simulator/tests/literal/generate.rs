//! Programs of one layer.

use proptest::prelude::*;
use scnn_isa::arith::{Requantise, Rounding, Table, Tables};
use scnn_isa::ids::{LayerId, RegionId, SectionId, TensorId, ValueId};
use scnn_isa::instruction::Instruction;
use scnn_isa::layer::{
    self, ArrayStage, Layer, Operand, OperandKind, OperandShape, Pass, PpuStage, View, WeightOrder,
};
use scnn_isa::layout::{Grid, Layout, Tile};
use scnn_isa::machine::{BankMap, Delivery, Drift, Machine};
use scnn_isa::plane::{Axis, Rect, Span};
use scnn_isa::program::{
    Dtype, Memory, Program, Provenance, Region, Section, SectionKind, SourceRange, Tensor, Value,
};
use scnn_isa::section::{encode_requantise, encode_slopes, encode_tables, encode_weights};

/// Of every output channel: many sums end in halves, and zeros stay zeros.
pub const REQUANTISE: Requantise = Requantise {
    bias: 0,
    multiplier: 3,
    shift: 2,
    offset: 0.0,
};

/// A layer, a machine, and an input.
#[derive(Clone)]
#[allow(clippy::struct_excessive_bools)] // Choices that have nothing to do with each other.
pub struct Case {
    machine: Machine,
    images: u32,
    y: Axis,
    x: Axis,
    groups: u32,
    inputs: u32,
    outputs: u32,
    kc: u32,
    pe_groups: Grid,
    order: WeightOrder,
    /// Parts that images are divided into, over PE rows and PE columns.
    images_over: Grid,
    /// Seed of output-channel groups of many sizes and of cuts at many places; else `kc` and equal parts.
    uneven: Option<u64>,
    /// Whether the tensor is stored in as many residues as the stride.
    phases: bool,
    /// Rows of output at which the second pass begins.
    cut: Option<u32>,
    /// Rounds of a `mac`, and channels of the first of the two that these rounds take; else one `mac` does it all.
    halves: Option<(u32, u32)>,
    /// Whether every pass loads its tile into the same place.
    reload: bool,
    /// Whether all tiles are loaded into one region before the first pass.
    at_once: bool,
    /// Elements of the regions in the RAMs; less than what is needed spills.
    room: u64,
    /// Whether the result goes to DRAM at once, or by way of RAM B.
    to_dram: bool,
    weights: Vec<i16>,
    pub input: Vec<i16>,
    /// A second tensor, of the result's shape or with one value for each image and channel.
    pub second: Option<Second>,
    function: Option<Function>,
    /// By channel of the result, how often its unit is halved.
    output_shifts: Vec<u8>,
}

/// What meets the values of a layer in the PPU.
#[derive(Clone, Debug)]
pub struct Second {
    multiply: bool,
    per_channel: bool,
    pub values: Vec<i16>,
    /// By channel, how often its unit is halved.
    shifts: Vec<u8>,
}

/// A function of one value.
#[derive(Clone, Debug)]
enum Function {
    /// By output channel, and the exponent.
    Leaky(Vec<i16>, u8),
    Tables(Tables),
}

impl std::fmt::Debug for Case {
    /// All that matters of a failing case; energies do not.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let m = &self.machine;
        writeln!(
            f,
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            m.array, m.pe, m.encoding, m.weights, m.sync, m.ppu, m.dram
        )?;
        writeln!(f, "y {:?}", self.y)?;
        writeln!(f, "x {:?}", self.x)?;
        let shape = [self.images, self.groups, self.inputs, self.outputs, self.kc];
        writeln!(
            f,
            "images, groups, inputs, outputs, kc {shape:?}; PE groups {:?}, {:?}",
            self.pe_groups, self.order
        )?;
        let choices = [self.phases, self.reload, self.at_once, self.to_dram];
        writeln!(
            f,
            "images over {:?}, uneven {:?}; phases, reload, at once, to DRAM {choices:?}; cut {:?}, halves {:?}, room {}",
            self.images_over, self.uneven, self.cut, self.halves, self.room
        )?;
        writeln!(
            f,
            "{:?} {:?} {:?}",
            self.second, self.function, self.output_shifts
        )?;
        writeln!(f, "weights {:?}", self.weights)?;
        writeln!(f, "input {:?}", self.input)
    }
}

fn axis() -> impl Strategy<Value = Axis> {
    (1u32..11, 1u32..4, 1u32..3, 1u32..3, 1u32..3, 0u32..3).prop_map(
        |(input, kernel, stride, upsample, dilation, pad)| {
            // Both would leave outputs without inputs, which is legal and dull.
            let upsample = if stride > 1 { 1 } else { upsample };
            let reach = dilation * (kernel - 1);
            let spread = (input - 1) * upsample + 1 + 2 * pad;
            let output = (spread.max(reach + 1) - reach - 1) / stride + 1;
            Axis {
                input,
                output,
                kernel,
                stride,
                upsample,
                dilation,
                pad: [pad as i32, pad as i32],
            }
        },
    )
}

prop_compose! {
    fn machine()(
        (rows, cols, f, i) in (1u32..4, 1u32..4, 1u32..5, 1u32..6),
        banks in prop::sample::select(vec![32u32, 32, 32, 8, 7, 64]),
        depth in prop::sample::select(vec![0u32, 1, 2, 3, 8, 8]),
        (xor, group_drift, multicast, compress_weights, compress_activations) in
            (any::<bool>(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.8), prop::bool::weighted(0.8)),
        (index_bits, fifo, bus, lanes, halo) in (1u32..5, 1u32..9, 1u32..9, 1u32..5, 1u32..3),
        rate in prop::sample::select(vec![0.7, 3.0, 50.0, 1000.0]),
    ) -> Machine {
        let mut m = Machine::preset("scnn").unwrap();
        (m.array.rows, m.array.cols) = (rows, cols);
        (m.pe.weights_per_vector, m.pe.activations_per_vector) = (f, i);
        // The preset's own vectors often, as they have a form of their own.
        if fifo % 2 == 0 {
            (m.pe.weights_per_vector, m.pe.activations_per_vector) = (4, 4);
        }
        (m.pe.banks, m.pe.entries_per_bank, m.pe.queue_depth) = (banks, 4096, depth);
        m.pe.bank_map = if xor && banks.is_power_of_two() { BankMap::Xor } else { BankMap::Modulo };
        m.sync.drift = if group_drift { Drift::Group } else { Drift::Fifo };
        m.weights.delivery = if multicast { Delivery::Multicast } else { Delivery::Broadcast };
        (m.weights.fifo_vectors, m.weights.bus_vectors_per_cycle) = (fifo, bus);
        m.encoding.index_bits = index_bits;
        (m.encoding.compress_weights, m.encoding.compress_activations) = (compress_weights, compress_activations);
        (m.ppu.lanes, m.ppu.halo_sums_per_cycle) = (lanes, halo);
        m.dram.gigabytes_per_second = rate;
        m
    }
}

pub fn case() -> impl Strategy<Value = Case> {
    let shape = (axis(), axis(), 1u32..3, 1u32..3, 1u32..4, 1u32..5, 1u32..4);
    let choices = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.3),
        any::<bool>(),
        prop::bool::weighted(0.3),
        prop::option::of(0.0f64..1.0),
    );
    let densities = (0.0f64..=1.0, 0.0f64..=1.0, any::<u64>());
    let mapping = (
        0usize..6,
        prop::option::of(any::<u64>()),
        prop::option::weighted(0.3, (1u32..3, 0u32..1000)),
    );
    (machine(), shape, choices, densities, mapping).prop_map(
        |(machine, shape, choices, densities, (split, uneven, halves))| {
            let (weight_density, input_density, seed) = densities;
            let (y, x, images, groups, per_in, per_out, kc) = shape;
            let (krs, split_images, phases, reload, tight, to_dram, at_once, cut) = choices;
            let (inputs, outputs) = (groups * per_in, groups * per_out);
            let multicast = machine.weights.delivery == Delivery::Multicast;
            let splits = [[1, 1], [1, 2], [2, 1], [2, 2], [3, 1], [1, 3]].map(Grid::from);
            let wanted = splits[split];
            let divides =
                machine.array.rows % wanted.rows == 0 && machine.array.cols % wanted.cols == 0;
            let pe_groups = if multicast && divides {
                wanted
            } else {
                Grid::ONE
            };
            let images_over = if !split_images {
                Grid::ONE
            } else if machine.array.rows / pe_groups.rows % 2 == 0 {
                Grid::new(2, 1)
            } else if machine.array.cols / pe_groups.cols % 2 == 0 {
                Grid::new(1, 2)
            } else {
                Grid::ONE
            };
            let mut random = Random(seed);
            let weights = (0..outputs * per_in * y.kernel * x.kernel)
                .map(|_| random.value(weight_density, 100))
                .collect();
            let input = (0..images * inputs * y.input * x.input)
                .map(|_| random.value(input_density, 100))
                .collect();
            let second = random.second(images, outputs, y.output * x.output, input_density);
            let function = random.function(outputs);
            let output_shifts = random.shifts(outputs);
            Case {
                images,
                groups,
                inputs,
                outputs,
                kc: kc.min(per_out),
                pe_groups,
                order: if krs {
                    WeightOrder::Krs
                } else {
                    WeightOrder::Rsk
                },
                images_over,
                uneven,
                phases,
                cut: cut
                    .map(|at| (at * f64::from(y.output)) as u32)
                    .filter(|&cut| cut > 0),
                halves: halves
                    .filter(|_| inputs > 1)
                    .map(|(rounds, at)| (rounds, 1 + at % (inputs - 1))),
                reload,
                at_once,
                room: if tight { 1 + seed % 6 } else { 4096 },
                to_dram,
                machine,
                y,
                x,
                weights,
                input,
                second,
                function,
                output_shifts,
            }
        },
    )
}

struct Random(u64);

impl Random {
    /// A number below `limit`.
    fn below(&mut self, limit: u32) -> u32 {
        (i32::from(self.value(1.0, 30_000)).unsigned_abs() - 1) % limit
    }

    /// In one layer of three: a second tensor.
    fn second(
        &mut self,
        images: u32,
        channels: u32,
        positions: u32,
        density: f64,
    ) -> Option<Second> {
        let per_channel = self.below(2) == 0;
        let count = images * channels * if per_channel { 1 } else { positions };
        (self.below(3) == 0).then(|| Second {
            multiply: self.below(2) == 0,
            per_channel,
            values: (0..count).map(|_| self.value(density, 100)).collect(),
            shifts: self.shifts(channels),
        })
    }

    /// In one tensor of two, shifts of its channels.
    fn shifts(&mut self, channels: u32) -> Vec<u8> {
        match self.below(2) {
            0 => Vec::new(),
            _ => (0..channels).map(|_| self.below(12) as u8).collect(),
        }
    }

    /// In two layers of five a function.
    fn function(&mut self, outputs: u32) -> Option<Function> {
        match self.below(5) {
            0 => {
                let slopes = (0..outputs).map(|_| self.value(0.9, 30_000)).collect();
                Some(Function::Leaky(slopes, self.below(16) as u8))
            }
            1 => {
                let mut tables = vec![(0, self.table())];
                while self.below(2) == 0 && tables.len() < 4 {
                    let after = tables[tables.len() - 1].0;
                    tables.push((after + 1 + self.below(3) as u8, self.table()));
                }
                Some(Function::Tables(Tables::new(tables).unwrap()))
            }
            _ => None,
        }
    }

    fn table(&mut self) -> Table {
        // Segments around 0, where the sums are.
        let mut widths = vec![15];
        widths.extend((0..14).map(|_| 3));
        widths.extend([3, 3, 7, 8, 9, 10, 11, 12, 13, 14]);
        let knots = (0..=widths.len()).map(|_| {
            let [units, fraction] = [30_000, 255].map(|limit| self.value(0.9, limit));
            i32::from(units) * 256 + i32::from(fraction)
        });
        let knots = knots.collect();
        Table::new(widths, knots).unwrap()
    }

    fn value(&mut self, density: f64, limit: i64) -> i16 {
        let mut next = || {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as i64
        };
        let keep = (next() % 1000) as f64 <= density * 999.0 && density > 0.0;
        let value = next() % limit + 1;
        if keep {
            if next() % 2 == 0 {
                value as i16
            } else {
                -value as i16
            }
        } else {
            0
        }
    }
}

/// Puts all cuts but the first and the last anywhere between them.
fn uneven(cuts: &mut [u32], random: &mut Random) {
    let [first, between @ .., last] = cuts else {
        return;
    };
    for cut in between.iter_mut() {
        *cut = *first + random.below(*last - *first + 1);
    }
    between.sort_unstable();
}

impl Case {
    /// The same with a share of the weights and of the input put to zero.
    pub fn thinned(&self, of_weights: f64, of_input: f64, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut thin = |values: &[i16], share: f64| {
            let kept = |&value: &i16| {
                if random.value(share, 1) == 0 {
                    value
                } else {
                    0
                }
            };
            values.iter().map(kept).collect()
        };
        Self {
            weights: thin(&self.weights, of_weights),
            input: thin(&self.input, of_input),
            ..self.clone()
        }
    }

    /// The same, each convolution group in one output-channel group.
    pub fn with_whole_groups(&self) -> Self {
        Self {
            kc: self.outputs / self.groups,
            uneven: None,
            ..self.clone()
        }
    }

    /// The same with the output channels of each convolution group there twice, in output-channel groups as before.
    pub fn repeated(&self) -> Self {
        let of_group = self.weights.len() / self.groups as usize;
        let groups = self.weights.chunks(of_group);
        Self {
            second: None,
            function: None,
            output_shifts: Vec::new(),
            outputs: 2 * self.outputs,
            weights: groups.flat_map(|group| group.repeat(2)).collect(),
            ..self.clone()
        }
    }

    /// The same on a machine that is changed.
    pub fn on(&self, change: impl FnOnce(&mut Machine)) -> Self {
        let mut machine = self.machine.clone();
        change(&mut machine);
        Self {
            machine,
            ..self.clone()
        }
    }

    /// Output channels of one convolution group after the other, `kc` at a time or less.
    fn channel_groups(&self, mut random: Option<&mut Random>) -> Vec<Span> {
        let per_out = self.outputs / self.groups;
        let mut channel_groups = Vec::new();
        for end in (1..=self.groups).map(|group| group * per_out) {
            let mut k = end - per_out;
            while k < end {
                let kc = match random.as_deref_mut() {
                    Some(random) => 1 + random.below(self.kc),
                    None => self.kc,
                };
                channel_groups.push(Span::new(k, (k + kc).min(end)));
                k = (k + kc).min(end);
            }
        }
        while !channel_groups
            .len()
            .is_multiple_of(self.pe_groups.count() as usize)
        {
            channel_groups.push(Span::new(self.outputs, self.outputs));
        }
        channel_groups
    }

    /// The first channels of a tensor.
    fn view(tensor: u32, channels: u32) -> View {
        View {
            tensor: TensorId(tensor),
            channels: Span::new(0, channels),
        }
    }

    fn ppu(&self) -> PpuStage {
        PpuStage {
            requantise: SectionId(1),
            source_shift: 0,
            rounding: Rounding::Away,
            divisor: 1.0,
            operand: self.second.as_ref().map(|second| Operand {
                view: Self::view(2, self.outputs),
                kind: if second.multiply {
                    OperandKind::Multiply
                } else {
                    OperandKind::Add
                },
                shape: if second.per_channel {
                    OperandShape::PerChannel
                } else {
                    OperandShape::Same
                },
                multiplier: 5,
                shift: if second.multiply { 6 } else { 2 },
            }),
            function: self.function.as_ref().map(|function| match function {
                Function::Leaky(..) => layer::Function::Leaky(SectionId(2)),
                Function::Tables(..) => layer::Function::Table(SectionId(2)),
            }),
            slope_exponent: match &self.function {
                Some(Function::Leaky(_, exponent)) => *exponent,
                _ => 0,
            },
            approximates: None,
            clamp: [-32767, 32767],
            pool: None,
        }
    }

    fn layer(&self) -> (Layer, Vec<Tile>) {
        let pes = self.machine.pes();
        let group_pes = Grid::new(
            pes.rows / self.pe_groups.rows,
            pes.cols / self.pe_groups.cols,
        );
        let whole = Rect::plane(self.images, self.y.output, self.x.output);
        let outputs: Vec<Rect> = match self.cut {
            None => vec![whole],
            Some(cut) => [Span::new(0, cut), Span::new(cut, self.y.output)]
                .into_iter()
                .map(|y| Rect { y, ..whole })
                .collect(),
        };
        let images = self.images_over;
        let source_plane = Rect::plane(self.images, self.y.input, self.x.input);
        let mut tiles = Vec::new();
        let mut passes = Vec::new();
        for output in outputs {
            let mut rect = source_plane;
            if self.cut.is_some() {
                // What the pass needs, and at least something.
                let rows = self.y.inputs(output.y);
                rect.y = if rows.is_empty() {
                    Span::new(0, 1)
                } else {
                    rows
                };
            }
            // All tiles together must cover the plane.
            if self.cut.is_some() && output.y.begin == 0 {
                rect.y.begin = 0;
            }
            if self.cut.is_some() && output.y.end == self.y.output {
                rect.y.end = self.y.input;
            }
            passes.push(Pass {
                output,
                source_tile: tiles.len() as u32,
            });
            tiles.push(Tile::uniform(rect, group_pes, images));
        }
        if let [first, second] = &mut tiles[..]
            && first.rect().y.end < second.rect().y.begin
        {
            let rect = Rect {
                y: Span::new(first.rect().y.end, self.y.input),
                ..second.rect()
            };
            *second = Tile::uniform(rect, group_pes, images);
        }
        let mut random = self.uneven.map(Random);
        let channel_groups = self.channel_groups(random.as_mut());
        if let Some(random) = &mut random {
            for tile in &mut tiles {
                for cuts in [&mut tile.n, &mut tile.y, &mut tile.x] {
                    uneven(cuts, random);
                }
            }
        }
        let layer = Layer {
            name: "layer".into(),
            source: Self::view(0, self.inputs),
            destination: Self::view(1, self.outputs),
            array: Some(ArrayStage {
                groups: self.groups,
                y: self.y,
                x: self.x,
                pe_groups: self.pe_groups,
                channel_groups,
                order: self.order,
                weights: SectionId(0),
                product_shift: 3,
            }),
            ppu: self.ppu(),
            passes,
        };
        (layer, tiles)
    }

    #[allow(clippy::too_many_lines)] // The tables of a program.
    pub fn program(&self) -> Program {
        let (layer, tiles) = self.layer();
        let array = layer.array.as_ref().unwrap();
        let residues = if self.phases {
            Grid::new(self.y.stride, self.x.stride)
        } else {
            Grid::ONE
        };
        let input_shape = [self.images, self.inputs, self.y.input, self.x.input];
        let output_shape = [self.images, self.outputs, self.y.output, self.x.output];
        let tensor = |name: &str, shape, range, layout| Tensor {
            name: name.into(),
            shape,
            range,
            scale: 1.0,
            channel_shifts: Vec::new(),
            layout,
        };
        let count = tiles.len() as u32;
        let source_layout = Layout {
            groups: self.pe_groups,
            residues,
            tiles,
        };
        let output_plane = Rect::plane(self.images, self.y.output, self.x.output);
        let region = |name: &str, tensor, tiles, memory, base, size| Region {
            name: name.into(),
            tensor: TensorId(tensor),
            tiles,
            memory,
            base,
            size,
        };
        let per_in = self.inputs / self.groups;
        let weights = encode_weights(
            self.machine.weight_format(),
            array,
            self.inputs,
            self.outputs,
            residues,
            |k, c, r, s| {
                let index = ((k * per_in + c % per_in) * self.y.kernel + r) * self.x.kernel + s;
                self.weights[index as usize]
            },
        );
        let large = 1 << 20;
        let mut regions = vec![
            region("in.dram", 0, Span::new(0, count), Memory::Dram, 0, large),
            region("out.dram", 1, Span::new(0, 1), Memory::Dram, large, large),
            region("out.b", 1, Span::new(0, 1), Memory::B, 0, self.room),
        ];
        let other_shape = self.second.as_ref().map(|second| {
            if second.per_channel {
                [self.images, self.outputs, 1, 1]
            } else {
                output_shape
            }
        });
        if other_shape.is_some() {
            let base = 2 * large;
            regions.push(region(
                "other.dram",
                2,
                Span::new(0, 1),
                Memory::Dram,
                base,
                large,
            ));
        }
        let mut code = vec![Instruction::Cfg { layer: LayerId(0) }];
        let to = RegionId(if self.to_dram { 1 } else { 2 });
        let (at_once, parts) = match self.halves {
            None => (array.rounds(), vec![Span::new(0, self.inputs)]),
            Some((rounds, first)) => {
                let parts = vec![Span::new(0, first), Span::new(first, self.inputs)];
                (rounds, parts)
            }
        };
        let mut half = 0;
        for pass in 0..count {
            if pass == 0 || !self.at_once {
                let (name, tiles) = if self.at_once {
                    ("in.a".to_owned(), Span::new(0, count))
                } else {
                    (format!("in.a{pass}"), Span::new(pass, pass + 1))
                };
                let place = if self.reload || self.at_once { 0 } else { pass };
                let base = u64::from(place) * self.room;
                code.push(Instruction::Lda {
                    from: RegionId(0),
                    to: RegionId(regions.len() as u32),
                });
                regions.push(region(&name, 0, tiles, Memory::A, base, self.room));
            }
            let from = RegionId(regions.len() as u32 - 1);
            for first in (0..array.rounds()).step_by(at_once as usize) {
                let rounds = Span::new(first, (first + at_once).min(array.rounds()));
                code.push(Instruction::Ldw { rounds });
                code.extend(parts.iter().map(|&channels| Instruction::Mac {
                    pass,
                    rounds,
                    channels,
                    from,
                    half,
                }));
                code.push(Instruction::Drn {
                    pass,
                    rounds,
                    to,
                    operand: self.second.as_ref().map(|_| RegionId(3)),
                    half,
                });
                half = ((u32::from(half) + rounds.len()) % 2) as u8;
            }
        }
        if !self.to_dram {
            code.push(Instruction::Sta {
                from: RegionId(2),
                to: RegionId(1),
            });
        }
        code.push(Instruction::End {});
        let value = |name: &str, shape: [u32; 4], region| Value {
            name: name.into(),
            dtype: Dtype::F32,
            declared: None,
            shape: shape.iter().map(|&d| d.into()).collect(),
            region: Some(RegionId(region)),
            placement: None,
        };
        let mut machine = self.machine.clone();
        (
            machine.activation_ram.a_bytes,
            machine.activation_ram.b_bytes,
        ) = (1 << 16, 1 << 16);
        let mut program = Program {
            provenance: Provenance {
                tool: "test".into(),
                ..Provenance::default()
            },
            tensors: vec![
                tensor("in", input_shape, [-100, 100], source_layout),
                Tensor {
                    channel_shifts: self.output_shifts.clone(),
                    ..tensor(
                        "out",
                        output_shape,
                        [-32767, 32767],
                        Layout::whole(output_plane, machine.pes()),
                    )
                },
            ],
            regions,
            layers: vec![layer],
            sections: vec![
                Section {
                    name: "w".into(),
                    kind: SectionKind::Weights,
                    bytes: weights,
                },
                Section {
                    name: "q".into(),
                    kind: SectionKind::Requantise,
                    bytes: encode_requantise(
                        &vec![REQUANTISE; self.outputs as usize],
                        Rounding::Away,
                    ),
                },
            ],
            values: vec![value("in", input_shape, 0), value("out", output_shape, 1)],
            segments: vec![],
            inputs: vec![ValueId(0)],
            outputs: vec![ValueId(1)],
            source_map: vec![SourceRange {
                instructions: Span::new(0, code.len() as u32 - 1),
                nodes: vec!["layer".into()],
            }],
            code,
            machine,
        };
        if let Some(shape) = other_shape {
            let [n, _, h, w] = shape;
            let layout = Layout::whole(Rect::plane(n, h, w), program.machine.pes());
            let shifts = self.second.as_ref().map(|second| second.shifts.clone());
            program.tensors.push(Tensor {
                channel_shifts: shifts.unwrap_or_default(),
                ..tensor("other", shape, [-100, 100], layout)
            });
            program.values.push(value("other", shape, 3));
            program.inputs.push(ValueId(2));
        }
        program
            .sections
            .extend(self.function.as_ref().map(|function| {
                let (kind, bytes) = match function {
                    Function::Leaky(slopes, _) => (SectionKind::Slopes, encode_slopes(slopes)),
                    Function::Tables(tables) => (SectionKind::Table, encode_tables(tables)),
                };
                Section {
                    name: "f".into(),
                    kind,
                    bytes,
                }
            }));
        program
    }
}
