//! State of the walk over the instructions: the layer under way, its counts so far, and its time in the end.

use super::Simulator;
use super::clock::{HeadStart, TimedLayer};
use super::regions::{Content, add_by_pe};
use super::traffic::Results;
use crate::baseline::{Baselines, LayerOperands};
use crate::ceiling;
use crate::counters::Counters;
use crate::energy::Energy;
use crate::error::SimulateError;
use crate::observe::{Events, Observer};
use crate::operations::OperationCounts;
use crate::tensor::density;
use crate::timing::blocks::ActivationBlocks;
use crate::timing::nonzeros::Nonzeros;
use crate::timing::{
    DensityModel, LayerWork, PeCycles, Slots, Task, Timed, Timing, exact, uniform,
};
use scnn_isa::ids::{LayerId, RegionId, TensorId};
use scnn_isa::instruction::Instruction;
use scnn_isa::layer::Layer;
use scnn_isa::machine::Machine;
use scnn_isa::operation::OperationId;
use scnn_isa::plane::Span;
use scnn_isa::program::{Memory, Program};
use std::collections::BTreeMap;
use std::sync::Arc;
use tract_onnx::prelude::Tensor as HostTensor;

pub(super) struct State<'a> {
    pub simulator: &'a Simulator<'a>,
    pub program: &'a Program,
    pub machine: &'a Machine,
    pub tensors: Vec<Vec<i16>>,
    pub values: Vec<Option<HostTensor>>,
    /// By value, how many times it will still be read.
    pub readings: Vec<u32>,
    pub operations: Vec<OperationCounts>,
    /// Measurements of the tensors with their present values.
    pub measured: Measured,
    /// Layers still to be timed, each with its index in `operations`.
    pub works: Vec<(usize, LayerWork<'a>)>,
    pub current: Option<Current>,
    /// Contents of each RAM region, until something else is written there.
    pub contents: BTreeMap<RegionId, Content>,
    /// Host link bytes since the last operation was closed.
    pub streamed: u64,
    /// The instruction under way.
    pub at: u32,
    /// Whether every activation is taken for a non-zero, and nothing is computed.
    pub dense: bool,
}

/// Measurements of tensors, each kept until its tensor changes.
#[derive(Default)]
pub(super) struct Measured {
    /// By (tensor, tile, range of channels).
    pub blocks: BTreeMap<(TensorId, u32, u32, u32), Arc<ActivationBlocks>>,
    pub nonzeros: BTreeMap<TensorId, Arc<Nonzeros>>,
}

/// The layer under way.
pub(super) struct Current {
    pub id: LayerId,
    pub counts: OperationCounts,
    pub has_tile: Vec<bool>,
    /// Steps of each PE.
    pub pe_steps: Vec<u64>,
    pub tasks: Vec<Task>,
    /// The instruction of each task.
    pub instructions: Vec<u32>,
    /// The results that go to DRAM, once all are complete.
    pub results: Option<Results>,
}

impl Current {
    /// Gives every drain the bytes of its results that go to DRAM, and counts them.
    fn share_results(&mut self, machine: &Machine, layer: &Layer) {
        let Some(results) = &self.results else { return };
        let counters = &mut self.counts.counters;
        for task in &mut self.tasks {
            match task {
                Task::Drain(drain) => {
                    let Some(array) = &layer.array else { continue };
                    let rounds = (drain.first_round..).zip(&mut drain.rounds);
                    for (round, groups) in rounds {
                        for (group, of_group) in (0..).zip(groups) {
                            let channels = array.channel_group(round, group);
                            let bytes = results.bytes(machine, drain.pass, channels);
                            of_group.result_bytes = bytes;
                            results.count(counters, bytes);
                        }
                    }
                }
                Task::Process(process) => {
                    let channels = Span::new(0, layer.destination.channels.len());
                    process.result_bytes = results.bytes(machine, process.pass, channels);
                    results.count(counters, process.result_bytes);
                }
                Task::Load(_) | Task::Store(_) | Task::Multiply(_) => {}
            }
        }
    }
}

impl<'a> State<'a> {
    /// Nothing has run yet.
    pub(super) fn new(simulator: &'a Simulator<'a>) -> Self {
        let program = simulator.program;
        Self {
            simulator,
            program,
            machine: &program.machine,
            tensors: program
                .tensors
                .iter()
                .map(|t| vec![0; t.elements() as usize])
                .collect(),
            values: vec![None; program.values.len()],
            readings: readings(program),
            operations: Vec::new(),
            measured: Measured::default(),
            works: Vec::new(),
            current: None,
            contents: BTreeMap::new(),
            streamed: 0,
            at: 0,
            dense: false,
        }
    }
}

impl<'a> State<'a> {
    /// The layers that have ended since, to be timed; none if they are to be kept.
    pub(super) fn ended(&mut self, give: bool) -> Vec<(usize, LayerWork<'a>)> {
        if give {
            std::mem::take(&mut self.works)
        } else {
            Vec::new()
        }
    }
}

impl State<'_> {
    pub(super) fn execute(&mut self, instruction: &Instruction) -> Result<(), SimulateError> {
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

    pub(super) fn open_layer(&mut self, id: LayerId) {
        self.close_layer();
        let layer = self.program.layer(id);
        self.simulator.begin(self.operations.len(), &layer.name);
        let source = self.program.tensor(layer.source.tensor);
        self.current = Some(Current {
            id,
            has_tile: vec![false; self.machine.pe_count() as usize],
            pe_steps: vec![0; self.machine.pe_count() as usize],
            tasks: Vec::new(),
            instructions: Vec::new(),
            results: None,
            counts: OperationCounts {
                id: OperationId::Layer(id),
                runtime: None,
                cycles: 0,
                steps: 0,
                slots: Slots::default(),
                pe_cycles: PeCycles::default(),
                counters: Counters::default(),
                energy: Energy::default(),
                baselines: Baselines::default(),
                ram_elements: [0; 2],
                weight_density: self.simulator.layers[id.index()].weight_density(),
                input_density: density(
                    &self.tensors[layer.source.tensor.index()],
                    source.shape,
                    layer.source.channels,
                ),
                output_density: 0.0,
                density_model: None,
            },
        });
    }

    pub(super) fn close_layer(&mut self) {
        let Some(mut current) = self.current.take() else {
            return;
        };
        let layer = self.program.layer(current.id);
        let destination = self.program.tensor(layer.destination.tensor);
        current.share_results(self.machine, layer);
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
            let operands = LayerOperands {
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
        counts.steps = current.pe_steps.iter().sum();
        counts.pe_cycles.steps = current.pe_steps;
        counts.ram_elements = self.ram_elements();
        let source = self.program.tensor(layer.source.tensor);
        let weights = &self.simulator.layers[current.id.index()].weights;
        let work = LayerWork {
            layer,
            weights: weights.as_ref().map(|weights| &weights.stream),
            source_layout: &source.layout,
            has_tile: current.has_tile,
            densities: [current.counts.weight_density, current.counts.input_density],
            useful: current.counts.slots.useful,
            tasks: current.tasks,
            instructions: current.instructions,
        };
        self.works.push((self.operations.len(), work));
        self.operations.push(current.counts);
    }

    /// Adds the times of all layers to their counts.
    pub(super) fn close_times(&mut self, timing: Timing, timed: Vec<TimedLayer>) {
        for (operation, timed, model) in timed {
            self.close_time(operation, &timed, model);
        }
        if timing == Timing::Exact {
            for operation in 0..self.operations.len() {
                self.time_link(operation);
            }
        }
    }

    /// Times all operations exactly, one after the other, before an observer.
    pub(super) fn time_observed(&mut self, observer: &mut dyn Observer) {
        let machine = self.machine;
        let mut works = std::mem::take(&mut self.works).into_iter().peekable();
        let (mut begin, mut head_start) = (0, HeadStart::default());
        for operation in 0..self.operations.len() {
            let work = works.next_if(|(of, _)| *of == operation);
            let rounds = work.as_ref().map_or(0, |(_, work)| work.round_count());
            let wanted = observer.begin(self.operations[operation].id, begin, rounds);
            if let Some((_, work)) = work {
                self.simulator.begin(operation, &work.layer.name);
                let ahead = head_start.of(operation);
                let timed = if wanted {
                    let mut events = Events {
                        observer,
                        instructions: &work.instructions,
                    };
                    exact::time_watched(machine, &work, ahead, &mut events)
                } else {
                    exact::time(machine, &work, ahead)
                };
                head_start.end(machine, operation, &timed);
                let model = uniform::model(machine, &work);
                self.close_time(operation, &timed, model);
            }
            self.time_link(operation);
            observer.end(&self.operations[operation], begin);
            begin += self.operations[operation].cycles;
        }
    }

    /// By operation, cycles that no input exceeds, after a walk in which every activation was a non-zero.
    pub(super) fn ceilings(&mut self, timing: Timing) -> Vec<u64> {
        let machine = self.machine;
        let mut ceilings = vec![0; self.operations.len()];
        for (operation, work) in std::mem::take(&mut self.works) {
            let dram_bytes = self.operations[operation].counters.dram_bytes();
            ceilings[operation] = match timing {
                Timing::Fast => timing.of(machine, &work, 0).cycles,
                Timing::Exact => ceiling::exact(machine, &work, dram_bytes),
            };
        }
        for (ceiling, counts) in ceilings.iter_mut().zip(&self.operations) {
            if timing == Timing::Exact && matches!(counts.id, OperationId::Segment(_)) {
                *ceiling = link_cycles(machine, counts.counters.host_bytes);
            }
        }
        ceilings
    }

    /// Adds a layer's time to its counts.
    fn close_time(&mut self, operation: usize, timed: &Timed, model: Option<DensityModel>) {
        let lanes = self.lanes();
        let per_pe = u64::from(self.machine.multipliers_per_pe());
        let counts = &mut self.operations[operation];
        counts.density_model = model;
        counts.cycles = timed.cycles;
        for waits in &timed.waits {
            counts.slots += waits.times(per_pe);
        }
        assert_eq!(
            counts.slots.total(),
            timed.cycles * lanes,
            "the slots of a layer sum exactly"
        );
        let steps = std::mem::take(&mut counts.pe_cycles.steps);
        counts.pe_cycles = PeCycles::of(&steps, &timed.waits);
        for pe in 0..steps.len() {
            let cycles = counts.pe_cycles.of_pe(pe);
            assert_eq!(cycles, timed.cycles, "the cycles of PE {pe} sum exactly");
        }
    }

    /// A host segment takes the time of its traffic over the link.
    fn time_link(&mut self, operation: usize) {
        let (machine, lanes) = (self.machine, self.lanes());
        let counts = &mut self.operations[operation];
        if matches!(counts.id, OperationId::Segment(_)) {
            counts.cycles = link_cycles(machine, counts.counters.host_bytes);
            counts.slots.host_link = counts.cycles * lanes;
            let pes = self.machine.pe_count() as usize;
            let waits = Slots {
                host_link: counts.cycles,
                ..Slots::default()
            };
            counts.pe_cycles = PeCycles::of(&vec![0; pes], &vec![waits; pes]);
        }
    }

    /// Multipliers of the array.
    fn lanes(&self) -> u64 {
        u64::from(self.machine.multipliers_per_pe()) * u64::from(self.machine.pe_count())
    }

    pub(super) fn push(&mut self, task: Task) {
        if let Some(current) = &mut self.current {
            current.tasks.push(task);
            current.instructions.push(self.at);
        }
    }

    /// Elements in RAM A and RAM B, each in the PE where it holds most.
    pub(super) fn ram_elements(&self) -> [u64; 2] {
        [Memory::A, Memory::B].map(|memory| {
            let mut by_pe = Vec::new();
            for (&region, content) in &self.contents {
                if self.program.region(region).memory == memory {
                    add_by_pe(&mut by_pe, &content.kept());
                }
            }
            by_pe.into_iter().max().unwrap_or(0)
        })
    }

    pub(super) fn counters(&mut self) -> Option<&mut Counters> {
        self.current
            .as_mut()
            .map(|current| &mut current.counts.counters)
    }
}

/// By value, how many times a program reads it on the host: as an operand of a segment or as an output.
fn readings(program: &Program) -> Vec<u32> {
    let operands = program
        .code
        .iter()
        .filter_map(|instruction| match instruction {
            Instruction::Hst { segment } => Some(&program.segment(*segment).inputs),
            _ => None,
        });
    let mut readings = vec![0; program.values.len()];
    for id in operands.chain([&program.outputs]).flatten() {
        readings[id.index()] += 1;
    }
    readings
}

/// Cycles of `bytes` over the host link.
fn link_cycles(machine: &Machine, bytes: u64) -> u64 {
    let bytes_per_cycle = machine.host_link.gigabytes_per_second / machine.clock.gigahertz;
    (bytes as f64 / bytes_per_cycle).ceil() as u64
}
