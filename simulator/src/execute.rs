//! Execution: walks the instructions, keeps tensors and host values, and records what each layer cost.
//!
//! In a verified program every region that is read holds the tensor it is declared for, so contents are kept once per
//! tensor, densely; what regions decide is where blocks lie, and with it traffic and spills.

use crate::baseline::Baselines;
use crate::convolve::{Weight, convolve, plan};
use crate::counters::Counters;
use crate::energy::Energy;
use crate::host::{self, Segment};
use crate::planes::Planes;
use crate::ppu::{self, Function, Stage};
use crate::timing::blocks::{ActivationBlocks, WeightSizes};
use crate::timing::fast::{self, TimeLine};
use crate::timing::{Slots, Timing};
use rayon::prelude::*;
use scnn_isa::arith::signed_range;
use scnn_isa::ids::{LayerId, RegionId, SegmentId, TensorId, ValueId};
use scnn_isa::instruction::Instruction;
use scnn_isa::layer::{self, Layer, Pass};
use scnn_isa::machine::Machine;
use scnn_isa::plane::{Rect, Span};
use scnn_isa::program::{Memory, Program};
use scnn_isa::section::{
    SectionError, WeightBlocks, decode_requantise, decode_slopes, decode_table, residue_taps,
};
use std::collections::BTreeMap;
use thiserror::Error;
use tract_onnx::prelude::Tensor as HostTensor;

/// Choices of an execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How time is counted.
    pub timing: Timing,
}

/// Why a program did not run to its end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SimulateError {
    /// A section is malformed; the verifier finds that first.
    #[error("section of layer `{layer}`: {source}")]
    Section {
        /// The layer.
        layer: String,
        /// What is wrong.
        source: SectionError,
    },
    /// An input is missing.
    #[error("the input `{0}` is missing")]
    MissingInput(String),
    /// A value at the host's border does not fit.
    #[error("value `{name}`: {reason}")]
    Value {
        /// ONNX name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A host segment failed.
    #[error("host segment `{segment}`: {reason}")]
    Host {
        /// Its name.
        segment: String,
        /// tract's words.
        reason: String,
    },
    /// An accumulator overflowed.
    #[error("layer `{layer}`: the sum {sum} of output channel {channel} does not fit {bits} bits")]
    Overflow {
        /// The layer.
        layer: String,
        /// Output channel of the destination view.
        channel: u32,
        /// The sum.
        sum: i32,
        /// Bits of an accumulator.
        bits: u32,
    },
}

/// What an execution computed and counted.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Outputs by ONNX name.
    pub outputs: BTreeMap<String, HostTensor>,
    /// Contents of every machine tensor `[N, C, H, W]` by [`TensorId`], as they were when last written.
    pub tensors: Vec<Vec<i16>>,
    /// What each layer and host segment cost, in the order of execution.
    pub steps: Vec<StepCounts>,
}

/// What a step was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepId {
    /// A layer.
    Layer(LayerId),
    /// A host segment.
    Segment(SegmentId),
}

/// What a step cost.
#[derive(Clone, Debug)]
pub struct StepCounts {
    /// The step.
    pub id: StepId,
    /// Cycles.
    pub cycles: u64,
    /// Steps of all PEs.
    pub steps: u64,
    /// Where the multipliers' time went.
    pub slots: Slots,
    /// Events.
    pub counters: Counters,
    /// Energy, pJ.
    pub energy: Energy,
    /// Dense machines on the same layer.
    pub baselines: Baselines,
    /// Share of non-zero weights; 1 for layers without weights.
    pub weight_density: f64,
    /// Share of non-zeros in what was read.
    pub input_density: f64,
    /// Share of non-zeros in what was written.
    pub output_density: f64,
}

/// A program made ready to run any number of times.
pub struct Simulator<'a> {
    program: &'a Program,
    layers: Vec<LayerData>,
    segments: Vec<Segment>,
}

/// The decoded constants of a layer.
struct LayerData {
    /// Non-zero weights of every output channel; empty for layers of the PPU alone.
    weights: Vec<Vec<Weight>>,
    sizes: Option<WeightSizes>,
    stage: Stage,
    weight_density: f64,
}

impl<'a> Simulator<'a> {
    /// Decodes the constants of a verified program.
    ///
    /// # Errors
    /// Malformed sections or host models.
    pub fn new(program: &'a Program) -> Result<Self, SimulateError> {
        let layers = program
            .layers
            .par_iter()
            .map(|layer| {
                decode(program, layer).map_err(|source| SimulateError::Section {
                    layer: layer.name.clone(),
                    source,
                })
            })
            .collect::<Result<_, _>>()?;
        let segments = program
            .segments
            .iter()
            .map(Segment::new)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            program,
            layers,
            segments,
        })
    }

    /// Runs the program on inputs by ONNX name.
    ///
    /// # Errors
    /// Inputs that do not fit, a failing host segment, an overflowing accumulator.
    pub fn run(
        &self,
        inputs: &BTreeMap<String, HostTensor>,
        _: &Options,
    ) -> Result<Execution, SimulateError> {
        let program = self.program;
        let mut state = State {
            simulator: self,
            program,
            machine: &program.machine,
            tensors: program
                .tensors
                .iter()
                .map(|t| vec![0; t.elements() as usize])
                .collect(),
            values: vec![None; program.values.len()],
            steps: Vec::new(),
            current: None,
            spilled: BTreeMap::new(),
            streamed: 0,
        };
        for &value in &program.inputs {
            let name = &program.value(value).name;
            let data = inputs
                .get(name)
                .ok_or_else(|| SimulateError::MissingInput(name.clone()))?;
            state.accept(value, data.clone())?;
        }
        for instruction in &program.code {
            state.execute(instruction)?;
        }
        state.close_layer();
        let mut outputs = BTreeMap::new();
        for &value in &program.outputs {
            outputs.insert(program.value(value).name.clone(), state.offer(value)?);
        }
        Ok(Execution {
            outputs,
            tensors: state.tensors,
            steps: state.steps,
        })
    }
}

fn decode(program: &Program, layer: &Layer) -> Result<LayerData, SectionError> {
    let outputs = layer.destination.channels.len();
    let bytes = |id: scnn_isa::ids::SectionId| program.section(id).bytes.as_slice();
    let function = match layer.ppu.function {
        None => None,
        Some(layer::Function::Leaky(id)) => {
            Some(Function::Leaky(decode_slopes(bytes(id), outputs)?))
        }
        Some(layer::Function::Table(id)) => Some(Function::Table(decode_table(bytes(id))?)),
    };
    let stage = Stage {
        requantise: decode_requantise(bytes(layer.ppu.requantise), outputs)?,
        function,
        operand: layer
            .ppu
            .operand
            .map(|operand| (operand.multiplier, operand.shift)),
        clamp: layer.ppu.clamp,
    };
    let Some(array) = &layer.array else {
        return Ok(LayerData {
            weights: Vec::new(),
            sizes: None,
            stage,
            weight_density: 1.0,
        });
    };
    let inputs = layer.source.channels.len();
    let residues = program.tensor(layer.source.tensor).layout.residues;
    let format = program.machine.weight_format();
    let blocks = WeightBlocks::decode(
        bytes(array.weights),
        format,
        array,
        inputs,
        outputs,
        residues,
    )?;
    let weights = weights_by_channel(&blocks, layer, residues, inputs, outputs);
    let sizes = WeightSizes::measure(&blocks, array, inputs, outputs, residues.count(), &weights);
    let all = u64::from(outputs)
        * u64::from(inputs / array.groups.max(1))
        * u64::from(array.y.kernel * array.x.kernel);
    let nonzeros: usize = weights.iter().map(Vec::len).sum();
    Ok(LayerData {
        weights,
        sizes: Some(sizes),
        stage,
        weight_density: nonzeros as f64 / all.max(1) as f64,
    })
}

/// The non-zero weights of every output channel, from the blocks. A tap that meets several residues is stored in the
/// block of each and taken once.
fn weights_by_channel(
    blocks: &WeightBlocks,
    layer: &Layer,
    residues: scnn_isa::layout::Grid,
    inputs: u32,
    outputs: u32,
) -> Vec<Vec<Weight>> {
    let mut weights = vec![Vec::new(); outputs as usize];
    let Some(array) = &layer.array else {
        return weights;
    };
    let taps = residue_taps(array, residues);
    let first_residue = |r: u32, s: u32| taps.iter().position(|taps| taps.contains(&(r, s)));
    let owner: BTreeMap<(u32, u32), usize> = (0..array.y.kernel)
        .flat_map(|r| (0..array.x.kernel).map(move |s| (r, s)))
        .filter_map(|tap| first_residue(tap.0, tap.1).map(|residue| (tap, residue)))
        .collect();
    for (group, &k) in array.channel_groups.iter().enumerate() {
        for channel in scnn_isa::section::group_channels(array, k, inputs, outputs).iter() {
            for (residue, taps) in taps.iter().enumerate() {
                for (position, value) in
                    scnn_isa::codec::positions(blocks.block(group, channel, residue as u32))
                {
                    let (ko, tap) = array
                        .order
                        .split(position as u32, k.len(), taps.len() as u32);
                    let (r, s) = taps[tap as usize];
                    if value != 0 && owner.get(&(r, s)) == Some(&residue) {
                        weights[(k.begin + ko) as usize].push(Weight {
                            channel,
                            r: r as u16,
                            s: s as u16,
                            value,
                        });
                    }
                }
            }
        }
    }
    weights
}

struct State<'a> {
    simulator: &'a Simulator<'a>,
    program: &'a Program,
    machine: &'a Machine,
    tensors: Vec<Vec<i16>>,
    values: Vec<Option<HostTensor>>,
    steps: Vec<StepCounts>,
    current: Option<Current>,
    /// Elements beyond each region's size by PE, as last written.
    spilled: BTreeMap<RegionId, Vec<u64>>,
    /// Host link bytes since the last step was closed.
    streamed: u64,
}

/// The layer under way.
struct Current {
    id: LayerId,
    line: TimeLine,
    counts: StepCounts,
    /// PEs that have a tile in any pass.
    tiles: u64,
    /// Inner values of the last `mac` or source tile, which the drain takes.
    pending: Option<(Pass, u32)>,
}

impl State<'_> {
    fn execute(&mut self, instruction: &Instruction) -> Result<(), SimulateError> {
        match *instruction {
            Instruction::Cfg { layer } => self.open_layer(layer),
            Instruction::Lda { from: _, to } => self.load(to),
            Instruction::Sta { from, to: _ } => self.store(from),
            Instruction::Ldw { .. } | Instruction::Bar {} | Instruction::End {} => {}
            Instruction::Mac {
                pass,
                rounds,
                channels,
                from,
                ..
            } => self.multiply(pass, rounds, channels, from),
            Instruction::Drn {
                pass,
                rounds,
                to,
                operand,
                ..
            } => self.drain(pass, rounds, to, operand)?,
            Instruction::Ppu {
                pass,
                from,
                to,
                operand,
            } => {
                self.read_region(from, 1);
                self.post_process(pass, to, operand)?;
            }
            Instruction::Hst { segment } => self.host(segment)?,
        }
        Ok(())
    }

    fn open_layer(&mut self, id: LayerId) {
        self.close_layer();
        let layer = self.program.layer(id);
        let source = self.program.tensor(layer.source.tensor);
        self.current = Some(Current {
            id,
            line: TimeLine::new(self.machine),
            counts: StepCounts {
                id: StepId::Layer(id),
                cycles: 0,
                steps: 0,
                slots: Slots::default(),
                counters: Counters::default(),
                energy: Energy::default(),
                baselines: Baselines::default(),
                weight_density: self.simulator.layers[id.index()].weight_density,
                input_density: density(
                    &self.tensors[layer.source.tensor.index()],
                    source.shape,
                    layer.source.channels,
                ),
                output_density: 0.0,
            },
            tiles: 0,
            pending: None,
        });
    }

    fn close_layer(&mut self) {
        let Some(mut current) = self.current.take() else {
            return;
        };
        let layer = self.program.layer(current.id);
        let destination = self.program.tensor(layer.destination.tensor);
        let counts = &mut current.counts;
        counts.cycles = current.line.cycles();
        fast::complete(
            &mut counts.slots,
            self.machine,
            counts.cycles,
            counts.steps,
            current.tiles,
        );
        counts.counters.host_bytes += std::mem::take(&mut self.streamed);
        counts.output_density = density(
            &self.tensors[layer.destination.tensor.index()],
            destination.shape,
            layer.destination.channels,
        );
        if let Some(array) = &layer.array {
            let (c, k) = (
                layer.source.channels.len(),
                layer.destination.channels.len(),
            );
            counts.baselines = Baselines::of(
                self.machine,
                array,
                c,
                k,
                destination.shape[0],
                counts.slots.useful,
            );
        }
        counts.energy = Energy::of(&counts.counters, self.machine);
        self.steps.push(current.counts);
    }

    fn counters(&mut self) -> Option<&mut Counters> {
        self.current
            .as_mut()
            .map(|current| &mut current.counts.counters)
    }

    /// Blocks of some tiles of a tensor, all channels.
    fn blocks(&self, tensor: TensorId, tile: u32, channels: Span) -> ActivationBlocks {
        let data = self.program.tensor(tensor);
        let values = &self.tensors[tensor.index()];
        let tile = &data.layout.tiles[tile as usize];
        ActivationBlocks::measure(
            values,
            data.shape,
            &data.layout,
            tile,
            channels,
            self.machine.activation_format(),
        )
    }

    fn load(&mut self, to: RegionId) {
        let bytes = self.write_region(to);
        if let Some(counters) = self.counters() {
            counters.dram_read_bytes += bytes;
        }
    }

    fn store(&mut self, from: RegionId) {
        let region = self.program.region(from);
        let channels = Span::new(0, self.program.tensor(region.tensor).channels());
        let format = self.machine.activation_format();
        let bytes: u64 = region
            .tiles
            .iter()
            .map(|tile| self.blocks(region.tensor, tile, channels).bytes(format))
            .sum();
        self.read_region(from, 1);
        if let Some(counters) = self.counters() {
            counters.dram_write_bytes += bytes;
        }
    }

    /// Counts writing the present content of a RAM region: vectors, and what newly spills. Returns encoded bytes.
    fn write_region(&mut self, id: RegionId) -> u64 {
        let region = self.program.region(id);
        let channels = Span::new(0, self.program.tensor(region.tensor).channels());
        let replicas = u64::from(self.program.tensor(region.tensor).layout.groups.count());
        let (width, format) = (
            self.machine.pe.activations_per_vector,
            self.machine.activation_format(),
        );
        let (mut bytes, mut vectors, mut held) = (0, 0, Vec::new());
        for tile in region.tiles.iter() {
            let blocks = self.blocks(region.tensor, tile, channels);
            bytes += blocks.bytes(format);
            vectors += blocks.vectors(width);
            add_by_pe(&mut held, &blocks.elements_per_pe());
        }
        let excess: Vec<u64> = held
            .iter()
            .map(|&elements| elements.saturating_sub(region.size))
            .collect();
        let before = self.spilled.insert(id, excess.clone()).unwrap_or_default();
        let new: u64 = excess
            .iter()
            .enumerate()
            .map(|(pe, e)| e.saturating_sub(before.get(pe).copied().unwrap_or(0)))
            .sum();
        let spilled = element_bytes(self.machine, new) * replicas;
        if let Some(counters) = self.counters() {
            counters.oaram_writes += vectors * replicas;
            counters.dram_spill_bytes += spilled;
        }
        bytes
    }

    /// Counts reading what of a region had spilled, `times` times.
    fn read_region(&mut self, id: RegionId, times: u64) {
        let spilled: u64 = self
            .spilled
            .get(&id)
            .map_or(0, |excess| excess.iter().sum());
        let bytes = element_bytes(self.machine, spilled) * times;
        if let Some(counters) = self.counters() {
            counters.dram_spill_bytes += bytes;
        }
    }

    fn multiply(&mut self, pass: u32, rounds: Span, channels: Span, from: RegionId) {
        let Some(mut current) = self.current.take() else {
            return;
        };
        let layer = self.program.layer(current.id);
        let data = &self.simulator.layers[current.id.index()];
        let (Some(array), Some(sizes)) = (&layer.array, &data.sizes) else {
            return;
        };
        let pass = layer.passes[pass as usize];
        let source = self.program.tensor(layer.source.tensor);
        let tile = &source.layout.tiles[pass.source_tile as usize];
        let blocks = self.blocks(layer.source.tensor, pass.source_tile, layer.source.channels);

        // The useful products of all rounds of a pass are counted once, with its first round and channel.
        let first = rounds.begin == 0 && channels.begin == 0;
        let values = &self.tensors[layer.source.tensor.index()];
        let inner = layer.inner_rect(pass.output);
        let whole = Span::new(0, array.rounds());
        let useful = if rounds == whole && channels.len() == layer.source.channels.len() || first {
            sizes.useful(
                array,
                values,
                source.shape,
                layer.source.channels,
                tile.rect(),
                inner,
            )
        } else {
            0
        };
        let work = fast::count(
            self.machine,
            array,
            &blocks,
            sizes,
            rounds,
            channels,
            useful,
        );
        for steps in &work.steps {
            current.line.round(steps);
            current.counts.steps += steps.iter().sum::<u64>();
        }
        current.counts.slots += work.slots;
        current.counts.counters += work.counters;
        current.counts.counters.halo_hops +=
            halo_hops(layer, array, source.layout.groups, tile, inner, rounds);
        let pes = tile.pes();
        let tiles = (0..pes.count())
            .filter(|pe| !tile.pe_rect(pe / pes.cols, pe % pes.cols).is_empty())
            .count();
        current.tiles = current
            .tiles
            .max(tiles as u64 * u64::from(array.pe_groups.count()));
        current.pending = Some((pass, rounds.end));
        self.current = Some(current);
        self.read_region(from, u64::from(rounds.len()));
    }

    /// The drain of a pass's last round computes the values of the whole pass.
    fn drain(
        &mut self,
        pass: u32,
        rounds: Span,
        to: RegionId,
        operand: Option<RegionId>,
    ) -> Result<(), SimulateError> {
        let Some(current) = &self.current else {
            return Ok(());
        };
        let layer = self.program.layer(current.id);
        if layer
            .array
            .as_ref()
            .is_some_and(|array| rounds.end < array.rounds())
        {
            return Ok(());
        }
        self.post_process(pass, to, operand)
    }

    /// Computes the output of a pass: sums, or source values, through the PPU into the destination.
    fn post_process(
        &mut self,
        pass: u32,
        to: RegionId,
        operand: Option<RegionId>,
    ) -> Result<(), SimulateError> {
        let Some(id) = self.current.as_ref().map(|current| current.id) else {
            return Ok(());
        };
        let layer = self.program.layer(id);
        let pass = layer.passes[pass as usize];
        let inner = layer.inner_rect(pass.output);
        for n in pass.output.n.iter() {
            let channels = self.channels(id, layer, n, inner)?;
            let outputs: Vec<Vec<i16>> = match &layer.ppu.pool {
                None => channels,
                Some(pool) => channels
                    .into_par_iter()
                    .map(|values| {
                        let window = (inner.y, inner.x);
                        ppu::pool(
                            pool,
                            &values,
                            window,
                            (pass.output.y, pass.output.x),
                            layer.ppu.clamp,
                        )
                    })
                    .collect(),
            };
            let shape = self.program.tensor(layer.destination.tensor).shape;
            let target = &mut self.tensors[layer.destination.tensor.index()];
            for (k, values) in outputs.iter().enumerate() {
                let channel = layer.destination.channels.begin + k as u32;
                scatter(target, shape, n, channel, pass.output, values);
            }
        }
        let count = u64::from(layer.destination.channels.len()) * inner.positions();
        if let Some(counters) = self.counters() {
            counters.ppu_elements += count;
        }
        if let Some(operand) = operand {
            self.read_operand(operand, layer, pass);
        }
        // Blocks are complete, and counted, with the last pass.
        if pass == *layer.passes.last().unwrap_or(&pass) {
            self.write_result(to, layer);
        }
        Ok(())
    }

    /// Values of every output channel of image `n` before pooling.
    fn channels(
        &self,
        id: LayerId,
        layer: &Layer,
        n: u32,
        inner: Rect,
    ) -> Result<Vec<Vec<i16>>, SimulateError> {
        let data = &self.simulator.layers[id.index()];
        let operand = |k: usize| {
            layer.ppu.operand.map(|operand| {
                let shape = self.program.tensor(operand.view.tensor).shape;
                gather(
                    &self.tensors[operand.view.tensor.index()],
                    shape,
                    n,
                    operand.view.channels.begin + k as u32,
                    inner,
                )
            })
        };
        let source = self.program.tensor(layer.source.tensor);
        let values = &self.tensors[layer.source.tensor.index()];
        let outputs = 0..layer.destination.channels.len() as usize;
        let Some(array) = &layer.array else {
            return Ok(outputs
                .into_par_iter()
                .map(|k| {
                    let channel = layer.source.channels.begin + k as u32;
                    let sums: Vec<i32> = gather(values, source.shape, n, channel, inner)
                        .into_iter()
                        .map(i32::from)
                        .collect();
                    data.stage.values(k, &sums, operand(k).as_deref())
                })
                .collect());
        };
        let (y, x) = plan(array.y, array.x, inner.y, inner.x);
        let plane = source.shape[2] as usize * source.shape[3] as usize;
        let first = (n * source.shape[1] + layer.source.channels.begin) as usize * plane;
        let channels = layer.source.channels.len() as usize;
        let planes = Planes::new(&values[first..first + channels * plane], channels, &y, &x);
        let (rows, cols) = (inner.y.len() as usize, inner.x.len() as usize);
        let bits = self.machine.pe.accumulator_bits;
        let (low, high) = signed_range(bits);
        outputs
            .into_par_iter()
            .map(|k| {
                let sums = convolve(
                    &data.weights[k],
                    &planes,
                    &y,
                    &x,
                    rows,
                    cols,
                    u32::from(array.product_shift),
                );
                if let Some(&sum) = sums
                    .iter()
                    .find(|&&sum| i64::from(sum) < low || i64::from(sum) > high)
                {
                    return Err(SimulateError::Overflow {
                        layer: layer.name.clone(),
                        channel: k as u32,
                        sum,
                        bits,
                    });
                }
                Ok(data.stage.values(k, &sums, operand(k).as_deref()))
            })
            .collect()
    }

    fn write_result(&mut self, to: RegionId, layer: &Layer) {
        let region = self.program.region(to);
        if region.memory != Memory::Dram {
            self.write_region(to);
            return;
        }
        let format = self.machine.activation_format();
        let view = layer.destination.channels;
        let bytes: u64 = region
            .tiles
            .iter()
            .map(|tile| self.blocks(region.tensor, tile, view).bytes(format))
            .sum();
        if let Some(counters) = self.counters() {
            counters.dram_write_bytes += bytes;
        }
    }

    fn read_operand(&mut self, id: RegionId, layer: &Layer, pass: Pass) {
        let region = self.program.region(id);
        let data = self.program.tensor(region.tensor);
        let share = layer.inner_rect(pass.output).positions() as f64
            / data.plane().positions().max(1) as f64;
        let channels = layer
            .ppu
            .operand
            .map_or(Span::default(), |operand| operand.view.channels);
        let format = self.machine.activation_format();
        let width = self.machine.pe.activations_per_vector;
        let blocks: Vec<ActivationBlocks> = region
            .tiles
            .iter()
            .map(|tile| self.blocks(region.tensor, tile, channels))
            .collect();
        let of_pass = |all: u64| (all as f64 * share).ceil() as u64;
        let vectors = of_pass(blocks.iter().map(|b| b.vectors(width)).sum());
        let bytes = of_pass(blocks.iter().map(|b| b.bytes(format)).sum());
        if let Some(counters) = self.counters() {
            if region.memory == Memory::Dram {
                counters.dram_read_bytes += bytes;
            } else {
                counters.iaram_reads += vectors;
            }
        }
    }

    fn host(&mut self, id: SegmentId) -> Result<(), SimulateError> {
        self.close_layer();
        let segment = self.program.segment(id);
        let operands = segment
            .inputs
            .iter()
            .map(|&value| self.offer(value))
            .collect::<Result<_, _>>()?;
        let results = self.simulator.segments[id.index()].run(segment, operands)?;
        for (&value, result) in segment.outputs.iter().zip(results) {
            self.accept(value, result)?;
        }
        let counters = Counters {
            host_bytes: std::mem::take(&mut self.streamed),
            ..Counters::default()
        };
        self.steps.push(StepCounts {
            id: StepId::Segment(id),
            cycles: 0,
            steps: 0,
            slots: Slots::default(),
            counters,
            energy: Energy::of(&counters, self.machine),
            baselines: Baselines::default(),
            weight_density: 1.0,
            input_density: 1.0,
            output_density: 1.0,
        });
        Ok(())
    }

    fn accept(&mut self, id: ValueId, data: HostTensor) -> Result<(), SimulateError> {
        let value = self.program.value(id);
        let Some(region) = value.region else {
            self.values[id.index()] = Some(data);
            return Ok(());
        };
        let tensor = self.program.region(region).tensor;
        self.tensors[tensor.index()] = host::quantise(value, self.program.tensor(tensor), &data)?;
        self.streamed +=
            self.program.tensor(tensor).elements() * u64::from(self.machine.pe.operand_bits) / 8;
        Ok(())
    }

    fn offer(&mut self, id: ValueId) -> Result<HostTensor, SimulateError> {
        let value = self.program.value(id);
        let Some(region) = value.region else {
            let missing = || SimulateError::Value {
                name: value.name.clone(),
                reason: "it was never computed".to_owned(),
            };
            return self.values[id.index()].clone().ok_or_else(missing);
        };
        let tensor = self.program.region(region).tensor;
        self.streamed +=
            self.program.tensor(tensor).elements() * u64::from(self.machine.pe.operand_bits) / 8;
        host::dequantise(
            value,
            self.program.tensor(tensor),
            &self.tensors[tensor.index()],
        )
    }
}

/// Partial sums that leave their PE in some rounds, times the links they cross.
///
/// A PE owns the outputs that its cuts project to; what it accumulated for others goes to the owner over neighbours,
/// diagonals included.
fn halo_hops(
    layer: &Layer,
    array: &layer::ArrayStage,
    groups: scnn_isa::layout::Grid,
    tile: &scnn_isa::layout::Tile,
    inner: Rect,
    rounds: Span,
) -> u64 {
    let overlaps = |axis: &scnn_isa::plane::Axis, cuts: &[u32], inner: Span| -> Vec<Vec<u64>> {
        let parts = cuts.len().saturating_sub(1);
        let owned: Vec<Span> = (0..parts)
            .map(|part| {
                let begin = if part == 0 {
                    inner.begin
                } else {
                    axis.project(cuts[part])
                };
                let end = if part + 1 == parts {
                    inner.end
                } else {
                    axis.project(cuts[part + 1])
                };
                Span::new(begin, end).intersect(inner)
            })
            .collect();
        cuts.windows(2)
            .map(|cut| {
                let sums = axis.outputs(Span::new(cut[0], cut[1])).intersect(inner);
                owned
                    .iter()
                    .map(|owned| u64::from(owned.intersect(sums).len()))
                    .collect()
            })
            .collect()
    };
    let (ys, xs) = (
        overlaps(&array.y, &tile.y, inner.y),
        overlaps(&array.x, &tile.x, inner.x),
    );
    let mut hops = 0;
    for (i, ys) in ys.iter().enumerate() {
        for (i2, &rows) in ys.iter().enumerate().filter(|(_, rows)| **rows > 0) {
            for (j, xs) in xs.iter().enumerate() {
                for (j2, &cols) in xs.iter().enumerate() {
                    hops += rows * cols * i.abs_diff(i2).max(j.abs_diff(j2)) as u64;
                }
            }
        }
    }
    let _ = (layer, groups);
    let channels: u64 = (rounds.begin * array.pe_groups.count()
        ..rounds.end * array.pe_groups.count())
        .filter_map(|group| array.channel_groups.get(group as usize))
        .map(|k| u64::from(k.len()))
        .sum();
    hops * u64::from(inner.n.len()) * channels
}

fn add_by_pe(held: &mut Vec<u64>, more: &[u64]) {
    if held.len() < more.len() {
        held.resize(more.len(), 0);
    }
    for (held, more) in held.iter_mut().zip(more) {
        *held += more;
    }
}

/// Bytes of elements, data and index.
fn element_bytes(machine: &Machine, elements: u64) -> u64 {
    (elements * u64::from(machine.pe.operand_bits + machine.encoding.index_bits)).div_ceil(8)
}

/// The positions `rect` of one image and channel, row-major.
fn gather(values: &[i16], [_, channels, h, w]: [u32; 4], n: u32, c: u32, rect: Rect) -> Vec<i16> {
    let plane = (n as usize * channels as usize + c as usize) * h as usize;
    rect.y
        .iter()
        .flat_map(|y| {
            let row = (plane + y as usize) * w as usize;
            values[row + rect.x.begin as usize..row + rect.x.end as usize]
                .iter()
                .copied()
        })
        .collect()
}

/// Puts the positions `rect` of one image and channel in their places.
fn scatter(
    values: &mut [i16],
    [_, channels, h, w]: [u32; 4],
    n: u32,
    c: u32,
    rect: Rect,
    data: &[i16],
) {
    let plane = (n as usize * channels as usize + c as usize) * h as usize;
    let width = rect.x.len() as usize;
    for (y, data) in rect.y.iter().zip(data.chunks(width.max(1))) {
        let row = (plane + y as usize) * w as usize + rect.x.begin as usize;
        values[row..row + width].copy_from_slice(data);
    }
}

/// Share of non-zeros in a range of channels.
fn density(values: &[i16], [n, c, h, w]: [u32; 4], channels: Span) -> f64 {
    let plane = (h * w) as usize;
    let per_image = c as usize * plane;
    let range = channels.begin as usize * plane..channels.end as usize * plane;
    let shares =
        (0..n as usize).map(|image| ppu::density(&values[image * per_image..][range.clone()]));
    shares.sum::<f64>() / f64::from(n.max(1))
}
