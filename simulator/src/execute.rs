//! Execution: walks the instructions, keeps tensors and host values, and records what each layer cost.
//!
//! In a verified program every region that is read holds the tensor it is declared for, so contents are kept once per
//! tensor, densely; what regions decide is where blocks lie, and with it traffic and spills.

use crate::baseline::{Baselines, Operands};
use crate::convolve::{Weight, convolve, plan};
use crate::counters::Counters;
use crate::energy::Energy;
use crate::halo::Exchange;
use crate::host::{self, Segment};
use crate::planes::Planes;
use crate::ppu::{self, Function, Stage};
use crate::tensor::{density, gather, scatter};
use crate::timing::blocks::{ActivationBlocks, WeightSizes};
use crate::timing::{
    Drain, LayerWork, Multiply, Place, Process, Slots, Task, Timed, Timing, Transfer, WeightStream,
    exact, fast,
};
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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    stream: Option<WeightStream>,
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
        options: &Options,
    ) -> Result<Execution, SimulateError> {
        let program = self.program;
        let mut state = State {
            simulator: self,
            program,
            machine: &program.machine,
            tensors: program
                .tensors
                .iter()
                .map(|t| Arc::new(vec![0; t.elements() as usize]))
                .collect(),
            values: vec![None; program.values.len()],
            steps: Vec::new(),
            measured: Mutex::default(),
            works: Vec::new(),
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
        state.time(options.timing);
        Ok(Execution {
            outputs,
            tensors: state
                .tensors
                .into_iter()
                .map(Arc::unwrap_or_clone)
                .collect(),
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
            stream: None,
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
        stream: Some(WeightStream::new(&blocks, array, inputs, outputs, residues)),
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
    tensors: Vec<Arc<Vec<i16>>>,
    values: Vec<Option<HostTensor>>,
    steps: Vec<StepCounts>,
    /// Blocks by (tensor, tile, range of channels).
    measured: Mutex<Measured>,
    /// What is still to be timed, with its index in `steps`.
    works: Vec<(usize, LayerWork<'a>)>,
    current: Option<Current>,
    /// Elements beyond each region's size by PE, as last written.
    spilled: BTreeMap<RegionId, Vec<u64>>,
    /// Host link bytes since the last step was closed.
    streamed: u64,
}

type Measured = BTreeMap<(TensorId, u32, u32, u32), Arc<ActivationBlocks>>;

/// The layer under way.
struct Current {
    id: LayerId,
    counts: StepCounts,
    has_tile: Vec<bool>,
    tasks: Vec<Task>,
    result_bytes: u64,
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
            } => self.process(pass, from, to, operand)?,
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
            has_tile: vec![false; self.machine.pe_count() as usize],
            tasks: Vec::new(),
            result_bytes: 0,
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
        });
    }

    fn close_layer(&mut self) {
        let Some(mut current) = self.current.take() else {
            return;
        };
        let layer = self.program.layer(current.id);
        let destination = self.program.tensor(layer.destination.tensor);
        let counts = &mut current.counts;
        counts.counters.host_bytes += std::mem::take(&mut self.streamed);
        counts.output_density = density(
            &self.tensors[layer.destination.tensor.index()],
            destination.shape,
            layer.destination.channels,
        );
        if let Some(array) = &layer.array {
            let views = [layer.source, layer.destination];
            let tensors = views.map(|view| self.program.tensor(view.tensor));
            let elements = [0, 1].map(|side| {
                let [n, _, h, w] = tensors[side].shape.map(u64::from);
                n * u64::from(views[side].channels.len()) * h * w
            });
            let densities = [counts.input_density, counts.output_density];
            let external = views.map(|view| {
                self.program.values.iter().any(|value| {
                    let region = value.region.map(|region| self.program.region(region));
                    region.is_some_and(|region| region.tensor == view.tensor)
                })
            });
            let operands = Operands {
                channels: views.map(|view| view.channels.len()),
                images: destination.shape[0],
                useful: counts.slots.useful,
                activations: elements,
                nonzeros: [0, 1]
                    .map(|side| (elements[side] as f64 * densities[side]).round() as u64),
                external,
            };
            counts.baselines = Baselines::of(self.machine, array, &operands);
        }
        counts.energy = Energy::of(&counts.counters, self.machine);
        let source = self.program.tensor(layer.source.tensor);
        let work = LayerWork {
            layer,
            weights: self.simulator.layers[current.id.index()].stream.as_ref(),
            source_shape: source.shape,
            source_layout: &source.layout,
            has_tile: current.has_tile,
            tasks: current.tasks,
            result_bytes: current.result_bytes,
        };
        self.works.push((self.steps.len(), work));
        self.steps.push(current.counts);
    }

    /// Times all layers; none waits for another, as each begins when the one before it has ended.
    fn time(&mut self, timing: Timing) {
        let machine = self.machine;
        let timed: Vec<(usize, Timed)> = std::mem::take(&mut self.works)
            .into_par_iter()
            .with_max_len(1)
            .map(|(step, work)| {
                let timed = match timing {
                    Timing::Exact => exact::time(machine, &work),
                    Timing::Fast => fast::time(machine, &work),
                };
                (step, timed)
            })
            .collect();
        let lanes = u64::from(machine.multipliers_per_pe()) * u64::from(machine.pe_count());
        for (step, timed) in timed {
            let counts = &mut self.steps[step];
            counts.cycles = timed.cycles;
            counts.slots += timed.waits;
            assert_eq!(
                counts.slots.total(),
                timed.cycles * lanes,
                "the slots of a layer sum exactly"
            );
        }
        if timing == Timing::Exact {
            for counts in &mut self.steps {
                if matches!(counts.id, StepId::Segment(_)) {
                    counts.cycles = link_cycles(machine, counts.counters.host_bytes);
                    counts.slots.host_link = counts.cycles * lanes;
                }
            }
        }
    }

    fn push(&mut self, task: Task) {
        if let Some(current) = &mut self.current {
            current.tasks.push(task);
        }
    }

    fn counters(&mut self) -> Option<&mut Counters> {
        self.current
            .as_mut()
            .map(|current| &mut current.counts.counters)
    }

    /// Blocks of a tile of a tensor, measured once for as long as the tensor does not change.
    fn blocks(&self, tensor: TensorId, tile: u32, channels: Span) -> Arc<ActivationBlocks> {
        let key = (tensor, tile, channels.begin, channels.end);
        if let Some(blocks) = self.measured().get(&key) {
            return Arc::clone(blocks);
        }
        let data = self.program.tensor(tensor);
        let blocks = Arc::new(ActivationBlocks::measure(
            &self.tensors[tensor.index()],
            data.shape,
            &data.layout,
            &data.layout.tiles[tile as usize],
            channels,
            self.machine.activation_format(),
        ));
        self.measured().insert(key, Arc::clone(&blocks));
        blocks
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values of a tensor, to be changed.
    fn values_mut(&mut self, tensor: TensorId) -> &mut Vec<i16> {
        self.measured().retain(|key, _| key.0 != tensor);
        Arc::make_mut(&mut self.tensors[tensor.index()])
    }

    fn load(&mut self, to: RegionId) {
        let (bytes, vectors) = self.write_region(to);
        if let Some(counters) = self.counters() {
            counters.dram_read_bytes += bytes;
        }
        self.push(Task::Load(Transfer {
            place: Place::of(self.program.region(to)),
            bytes,
            vectors,
        }));
    }

    fn store(&mut self, from: RegionId) {
        let region = self.program.region(from);
        let channels = Span::new(0, self.program.tensor(region.tensor).channels());
        let format = self.machine.activation_format();
        let width = self.machine.pe.activations_per_vector;
        let (mut bytes, mut all, mut vectors) = (0, 0, Vec::new());
        for tile in region.tiles.iter() {
            let blocks = self.blocks(region.tensor, tile, channels);
            bytes += blocks.bytes(format);
            all += blocks.vectors(width);
            add_by_pe(&mut vectors, &blocks.vectors_per_pe(width));
        }
        self.read_region(from, 1);
        if let Some(counters) = self.counters() {
            counters.dram_write_bytes += bytes;
            counters.iaram_reads += all;
        }
        self.push(Task::Store(Transfer {
            place: Place::of(region),
            bytes,
            vectors: vectors.into_iter().max().unwrap_or(0),
        }));
    }

    /// Counts writing the present content of a RAM region: vectors, and what newly spills. Returns encoded bytes and
    /// the vectors of the PE that holds most.
    fn write_region(&mut self, id: RegionId) -> (u64, u64) {
        let region = self.program.region(id);
        let channels = Span::new(0, self.program.tensor(region.tensor).channels());
        let replicas = u64::from(self.program.tensor(region.tensor).layout.groups.count());
        let (width, format) = (
            self.machine.pe.activations_per_vector,
            self.machine.activation_format(),
        );
        let (mut bytes, mut vectors, mut held, mut per_pe) = (0, 0, Vec::new(), Vec::new());
        for tile in region.tiles.iter() {
            let blocks = self.blocks(region.tensor, tile, channels);
            bytes += blocks.bytes(format);
            vectors += blocks.vectors(width);
            add_by_pe(&mut held, &blocks.elements_per_pe());
            add_by_pe(&mut per_pe, &blocks.vectors_per_pe(width));
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
        (bytes, per_pe.into_iter().max().unwrap_or(0))
    }

    /// Counts reading what of a region had spilled, `times` times; the bytes of one time.
    fn read_region(&mut self, id: RegionId, times: u64) -> u64 {
        let spilled: u64 = self
            .spilled
            .get(&id)
            .map_or(0, |excess| excess.iter().sum());
        let bytes = element_bytes(self.machine, spilled);
        if let Some(counters) = self.counters() {
            counters.dram_spill_bytes += bytes * times;
        }
        bytes
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
        current.counts.steps += work.steps.iter().flatten().sum::<u64>();
        current.counts.slots += work.slots;
        current.counts.counters += work.counters;
        let exchange = Exchange::of(array, tile, inner);
        let outputs: u64 = rounds
            .iter()
            .flat_map(|round| (0..array.pe_groups.count()).map(move |g| (round, g)))
            .map(|(round, group)| u64::from(array.channel_group(round, group).len()))
            .sum();
        if channels.end == layer.source.channels.len() {
            current.counts.counters.halo_hops += exchange.hops * outputs;
        }
        let pes = tile.pes();
        for group in 0..array.pe_groups.count() {
            for pe in 0..pes.count() {
                if !tile.pe_rect(pe / pes.cols, pe % pes.cols).is_empty() {
                    let at = fast::pe_index(self.machine, pes, array.pe_groups, group, pe);
                    current.has_tile[at] = true;
                }
            }
        }
        self.current = Some(current);
        let spilled_bytes = self.read_region(from, u64::from(rounds.len()));
        let source = Arc::clone(&self.tensors[layer.source.tensor.index()]);
        self.push(Task::Multiply(Multiply {
            source,
            pass,
            rounds,
            channels,
            opens: channels.begin == 0,
            closes: channels.end == layer.source.channels.len(),
            from: Place::of(self.program.region(from)),
            spilled_bytes,
            steps: work.steps,
        }));
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
        let Some(array) = &layer.array else {
            return Ok(());
        };
        let operand_bytes = if rounds.end < array.rounds() {
            0
        } else {
            self.post_process(pass, to, operand)?
        };
        let pass = layer.passes[pass as usize];
        let tile =
            &self.program.tensor(layer.source.tensor).layout.tiles[pass.source_tile as usize];
        let exchange = Exchange::of(array, tile, layer.inner_rect(pass.output));
        let ppu = &self.machine.ppu;
        let groups = 0..array.pe_groups.count();
        let (mut cycles, mut outputs) = (Vec::new(), Vec::new());
        for round in rounds.iter() {
            let channels = groups
                .clone()
                .map(|g| u64::from(array.channel_group(round, g).len()));
            let most = channels.clone().max().unwrap_or(0);
            cycles.push(
                (exchange.busiest_link * most).div_ceil(u64::from(ppu.halo_sums_per_cycle))
                    + (exchange.most_owned * most).div_ceil(u64::from(ppu.lanes)),
            );
            outputs.push(channels.sum::<u64>() * pass.output.positions());
        }
        self.push(Task::Drain(Drain {
            cycles,
            outputs,
            operand_bytes,
        }));
        Ok(())
    }

    /// The PPUs alone: reads a source tile and computes the values of a pass.
    fn process(
        &mut self,
        pass: u32,
        from: RegionId,
        to: RegionId,
        operand: Option<RegionId>,
    ) -> Result<(), SimulateError> {
        let Some(current) = &self.current else {
            return Ok(());
        };
        let layer = self.program.layer(current.id);
        let spilled_bytes = self.read_region(from, 1);
        let operand_bytes = self.post_process(pass, to, operand)?;
        let pass = layer.passes[pass as usize];
        let blocks = self.blocks(layer.source.tensor, pass.source_tile, layer.source.channels);
        let source_bytes = if self.program.region(from).memory == Memory::Dram {
            let bytes = blocks.bytes(self.machine.activation_format());
            if let Some(counters) = self.counters() {
                counters.dram_read_bytes += bytes;
            }
            bytes
        } else {
            let vectors = blocks.vectors(self.machine.pe.activations_per_vector);
            if let Some(counters) = self.counters() {
                counters.iaram_reads += vectors;
            }
            0
        };
        let tile =
            &self.program.tensor(layer.source.tensor).layout.tiles[pass.source_tile as usize];
        let (pes, inner) = (tile.pes(), layer.inner_rect(pass.output));
        let mut most = 0;
        for pe in 0..pes.count() {
            let rect = tile.pe_rect(pe / pes.cols, pe % pes.cols);
            most = most.max(rect.intersect(inner).positions());
            let at = pe / pes.cols * self.machine.array.cols + pe % pes.cols;
            if let (false, Some(current)) = (rect.is_empty(), &mut self.current) {
                current.has_tile[at as usize] = true;
            }
        }
        let channels = u64::from(layer.source.channels.len());
        self.push(Task::Process(Process {
            from: Place::of(self.program.region(from)),
            cycles: (most * channels).div_ceil(u64::from(self.machine.ppu.lanes)),
            read_bytes: spilled_bytes + operand_bytes + source_bytes,
            outputs: channels * pass.output.positions(),
        }));
        Ok(())
    }

    /// Computes the output of a pass: sums, or source values, through the PPU into the destination. Returns the bytes
    /// of the residual operand that came from DRAM.
    fn post_process(
        &mut self,
        pass: u32,
        to: RegionId,
        operand: Option<RegionId>,
    ) -> Result<u64, SimulateError> {
        let Some(id) = self.current.as_ref().map(|current| current.id) else {
            return Ok(0);
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
            let target = self.values_mut(layer.destination.tensor);
            for (k, values) in outputs.iter().enumerate() {
                let channel = layer.destination.channels.begin + k as u32;
                scatter(target, shape, n, channel, pass.output, values);
            }
        }
        let count = u64::from(layer.destination.channels.len()) * inner.positions();
        if let Some(counters) = self.counters() {
            counters.ppu_elements += count;
        }
        let operand_bytes = operand.map_or(0, |operand| self.read_operand(operand, layer, pass));
        // Blocks are complete, and counted, with the last pass.
        if pass == *layer.passes.last().unwrap_or(&pass) {
            self.write_result(to, layer);
        }
        Ok(operand_bytes)
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

    /// Counts the writing of a layer's complete result, and what of it goes to DRAM.
    fn write_result(&mut self, to: RegionId, layer: &Layer) {
        let region = self.program.region(to);
        let bytes = if region.memory == Memory::Dram {
            let format = self.machine.activation_format();
            let view = layer.destination.channels;
            let bytes = region
                .tiles
                .iter()
                .map(|tile| self.blocks(region.tensor, tile, view).bytes(format))
                .sum();
            if let Some(counters) = self.counters() {
                counters.dram_write_bytes += bytes;
            }
            bytes
        } else {
            let spilled = |state: &mut Self| state.counters().map_or(0, |c| c.dram_spill_bytes);
            let before = spilled(self);
            self.write_region(to);
            spilled(self) - before
        };
        if let Some(current) = &mut self.current {
            current.result_bytes += bytes;
        }
    }

    /// Counts reading the residual operand of a pass; the bytes from DRAM.
    fn read_operand(&mut self, id: RegionId, layer: &Layer, pass: Pass) -> u64 {
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
        let blocks: Vec<Arc<ActivationBlocks>> = region
            .tiles
            .iter()
            .map(|tile| self.blocks(region.tensor, tile, channels))
            .collect();
        let of_pass = |all: u64| (all as f64 * share).ceil() as u64;
        let vectors = of_pass(blocks.iter().map(|b| b.vectors(width)).sum());
        let bytes = of_pass(blocks.iter().map(|b| b.bytes(format)).sum());
        let in_dram = region.memory == Memory::Dram;
        if let Some(counters) = self.counters() {
            if in_dram {
                counters.dram_read_bytes += bytes;
            } else {
                counters.iaram_reads += vectors;
            }
        }
        if in_dram { bytes } else { 0 }
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
        let quantised = host::quantise(value, self.program.tensor(tensor), &data)?;
        *self.values_mut(tensor) = quantised;
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

/// Cycles of `bytes` over the host link.
fn link_cycles(machine: &Machine, bytes: u64) -> u64 {
    let bytes_per_cycle = machine.host_link.gigabytes_per_second / machine.clock.gigahertz;
    (bytes as f64 / bytes_per_cycle).ceil() as u64
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
