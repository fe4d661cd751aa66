//! The report: what a run cost, layer by layer, in the form of the published schema.
//!
//! Every number here comes from an [`Execution`]; tables, JSON and pages are made from this structure alone. Counts
//! are sums over `samples` inferences.

use crate::counters::Counters;
use crate::energy::Energy;
use crate::execute::{Execution, StepCounts, StepId};
use crate::timing::Slots;
use scnn_isa::ids::LayerId;
use scnn_isa::layer::Layer as Descriptor;
use scnn_isa::plane::Axis;
use scnn_isa::program::{Memory, Program};
use serde::{Deserialize, Serialize};

/// Version of the schema; it grows when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name and version of the tool.
    pub tool: String,
    /// Name of the model.
    pub model: String,
    /// Name of the machine.
    pub machine: String,
    /// Options of the compilation, among them the mapping.
    pub options: Vec<String>,
    /// Timing setting.
    pub timing: String,
    /// Inferences that the counts sum over.
    pub samples: u32,
    /// Clock of the machine, GHz.
    pub clock_gigahertz: f64,
    /// Multipliers of the machine.
    pub multipliers: u64,
    /// Static area of the machine by component, mm2.
    pub area_mm2: crate::area::Area,
    /// Sums over all layers.
    pub totals: Totals,
    /// Layers and host segments in the order of execution.
    pub layers: Vec<Layer>,
}

/// Sums over layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Cycles.
    pub cycles: u64,
    /// Slots by cause.
    pub slots: Slots,
    /// Events.
    pub counters: Counters,
    /// Dense multiplications.
    pub macs: u64,
    /// DCNN cycles.
    pub dcnn_cycles: u64,
    /// DCNN cycles without tile quantisation.
    pub dcnn_ideal_cycles: u64,
    /// Cycles if every multiplier always did useful work.
    pub oracle_cycles: u64,
    /// Energy, pJ.
    pub energy_pj: f64,
    /// Energy of DCNN on the layers of the array, pJ.
    pub dcnn_pj: f64,
    /// Energy of DCNN-opt on them, pJ.
    pub dcnn_opt_pj: f64,
}

/// A layer or host segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Position in the order of execution.
    pub index: u32,
    /// Name.
    pub name: String,
    /// ONNX nodes it computes.
    pub onnx_nodes: Vec<String>,
    /// `scnn` or `host`.
    pub engine: String,
    /// `conv`, `linear`, `ppu` or `host`.
    pub kind: String,
    /// Extents.
    pub shape: Option<Shape>,
    /// Mapping.
    pub mapping: Option<Mapping>,
    /// Shares of non-zeros, 0..=1, mean over samples.
    pub density: Density,
    /// Against the float model, where that was asked for.
    pub accuracy: Option<Accuracy>,
    /// Cycles.
    pub cycles: u64,
    /// Cycles that the compiler's cost model expects for one inference, where the mapping is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_cycles: Option<u64>,
    /// Slots by cause; they sum to cycles x PEs x multipliers.
    pub slots: Slots,
    /// Useful multiplications over cycles x multipliers, 0..=1.
    pub utilisation: f64,
    /// Dense machines, cycles.
    pub baselines: crate::baseline::Baselines,
    /// Events.
    pub counters: Counters,
    /// Energy by component, pJ.
    pub energy_pj: Energy,
    /// Energy, pJ.
    pub energy_total_pj: f64,
}

/// How near a layer's result is to the float model's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Signal over quantisation noise, dB; absent when nothing differs.
    pub sqnr_db: Option<f64>,
    /// Largest difference of a value.
    pub largest_error: f64,
    /// Share of values at the end of the range, 0..=1.
    pub saturated: f64,
}

/// Extents of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // The field's letters: N C H W, K R S.
pub struct Shape {
    pub n: u32,
    pub c: u32,
    pub h: u32,
    pub w: u32,
    pub k: u32,
    pub r: u32,
    pub s: u32,
    pub stride: [u32; 2],
    pub pad: [i32; 4],
    pub dilation: [u32; 2],
    pub groups: u32,
    pub out_h: u32,
    pub out_w: u32,
}

/// How a layer lies on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// Columns of the widest tile of a PE.
    pub tile_w: u32,
    /// Rows of the tallest tile of a PE.
    pub tile_h: u32,
    /// Largest output-channel group.
    pub kc: u32,
    /// PE groups.
    pub pe_groups: u32,
    /// Temporal tiles.
    pub temporal_tiles: u32,
    /// Unit-stride phases.
    pub phases: u32,
    /// Where the source lies.
    pub resident_in: Memory,
    /// Where the result goes.
    pub resident_out: Memory,
}

/// Shares of non-zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Density {
    pub weights: f64,
    pub input: f64,
    pub output: f64,
}

impl Report {
    /// The report of one inference.
    pub fn of(program: &Program, execution: &Execution, timing: &str) -> Self {
        let mut report = Self {
            schema: SCHEMA,
            tool: program.provenance.tool.clone(),
            model: program.provenance.model.clone(),
            machine: program.machine.name.clone(),
            options: program.provenance.options.clone(),
            timing: timing.to_owned(),
            samples: 1,
            clock_gigahertz: program.machine.clock.gigahertz,
            multipliers: u64::from(program.machine.pe_count())
                * u64::from(program.machine.multipliers_per_pe()),
            area_mm2: crate::area::Area::of(&program.machine),
            totals: Totals::default(),
            layers: execution
                .steps
                .iter()
                .enumerate()
                .map(|(i, step)| layer(program, i as u32, step))
                .collect(),
        };
        report.sum();
        report
    }

    /// Adds another inference of the same program.
    pub fn add(&mut self, other: &Self) {
        let (ours, theirs) = (f64::from(self.samples), f64::from(other.samples));
        for (layer, more) in self.layers.iter_mut().zip(&other.layers) {
            let mean = |a: f64, b: f64| (a * ours + b * theirs) / (ours + theirs);
            layer.cycles += more.cycles;
            layer.slots += more.slots;
            layer.counters += more.counters;
            layer.density.input = mean(layer.density.input, more.density.input);
            layer.density.output = mean(layer.density.output, more.density.output);
            layer.baselines.add(&more.baselines);
            layer.energy_pj.add(&more.energy_pj);
            layer.energy_total_pj = layer.energy_pj.total();
            layer.utilisation = utilisation(&layer.slots);
        }
        self.samples += other.samples;
        self.sum();
    }

    /// Puts the compiler's predictions beside the cycles, by step; `None` for host segments.
    pub fn predict(&mut self, cycles: impl IntoIterator<Item = Option<u64>>) {
        for (layer, cycles) in self.layers.iter_mut().zip(cycles) {
            layer.predicted_cycles = cycles;
        }
    }

    /// Errors of the predictions, predicted over simulated less one, of the layers of the array, ascending by size.
    pub fn prediction_errors(&self) -> Vec<(f64, &str)> {
        let samples = f64::from(self.samples);
        let mut errors: Vec<(f64, &str)> = self
            .array_layers()
            .filter(|layer| layer.cycles > 0)
            .filter_map(|layer| {
                let predicted = layer.predicted_cycles? as f64;
                let error = predicted * samples / layer.cycles as f64 - 1.0;
                Some((error, layer.name.as_str()))
            })
            .collect();
        errors.sort_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
        errors
    }

    /// Layers of the array: those with a dense baseline.
    pub fn array_layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| layer.baselines.macs > 0)
    }

    fn sum(&mut self) {
        let mut totals = Totals::default();
        for layer in &self.layers {
            totals.cycles += layer.cycles;
            totals.slots += layer.slots;
            totals.counters += layer.counters;
            totals.macs += layer.baselines.macs;
            totals.dcnn_cycles += layer.baselines.dcnn;
            totals.dcnn_ideal_cycles += layer.baselines.dcnn_ideal;
            totals.oracle_cycles += layer.baselines.oracle;
            totals.energy_pj += layer.energy_total_pj;
            totals.dcnn_pj += layer.baselines.dcnn_pj.total();
            totals.dcnn_opt_pj += layer.baselines.dcnn_opt_pj.total();
        }
        self.totals = totals;
    }
}

fn utilisation(slots: &Slots) -> f64 {
    slots.useful as f64 / slots.total().max(1) as f64
}

fn layer(program: &Program, index: u32, step: &StepCounts) -> Layer {
    let (name, kind, engine, described) = match step.id {
        StepId::Layer(id) => {
            let layer = program.layer(id);
            (layer.name.clone(), kind(layer), "scnn", Some(id))
        }
        StepId::Segment(id) => (program.segment(id).name.clone(), "host", "host", None),
    };
    Layer {
        index,
        name,
        onnx_nodes: nodes(program, step.id),
        engine: engine.to_owned(),
        kind: kind.to_owned(),
        shape: described.map(|id| shape(program, program.layer(id))),
        mapping: described.map(|id| mapping(program, id)),
        density: Density {
            weights: step.weight_density,
            input: step.input_density,
            output: step.output_density,
        },
        accuracy: None,
        cycles: step.cycles,
        predicted_cycles: None,
        slots: step.slots,
        utilisation: utilisation(&step.slots),
        baselines: step.baselines,
        counters: step.counters,
        energy_pj: step.energy,
        energy_total_pj: step.energy.total(),
    }
}

fn kind(layer: &Descriptor) -> &'static str {
    match &layer.array {
        None => "ppu",
        Some(array) if array.y.input * array.x.input == 1 => "linear",
        Some(_) => "conv",
    }
}

fn nodes(program: &Program, id: StepId) -> Vec<String> {
    use scnn_isa::instruction::Instruction;
    let begins = |instruction: &Instruction| match (instruction, id) {
        (Instruction::Cfg { layer }, StepId::Layer(id)) => *layer == id,
        (Instruction::Hst { segment }, StepId::Segment(id)) => *segment == id,
        _ => false,
    };
    program
        .code
        .iter()
        .position(begins)
        .map_or_else(Vec::new, |index| program.nodes_of(index as u32).to_vec())
}

fn shape(program: &Program, layer: &Descriptor) -> Shape {
    let [n, _, h, w] = program.tensor(layer.source.tensor).shape;
    let pool = layer.ppu.pool.as_ref();
    let identity = (Axis::identity(h), Axis::identity(w));
    let (y, x) = layer
        .array
        .as_ref()
        .map(|a| (a.y, a.x))
        .or(pool.map(|p| (p.y, p.x)))
        .unwrap_or(identity);
    Shape {
        n,
        c: layer.source.channels.len(),
        h,
        w,
        k: layer.destination.channels.len(),
        r: y.kernel,
        s: x.kernel,
        stride: [y.stride, x.stride],
        pad: [y.pad[0], x.pad[0], y.pad[1], x.pad[1]],
        dilation: [y.dilation, x.dilation],
        groups: layer.array.as_ref().map_or(1, |a| a.groups),
        out_h: y.output,
        out_w: x.output,
    }
}

fn mapping(program: &Program, id: LayerId) -> Mapping {
    use scnn_isa::instruction::Instruction;
    let layer = program.layer(id);
    let layout = &program.tensor(layer.source.tensor).layout;
    let longest = |cuts: &[u32]| {
        cuts.windows(2)
            .map(|cut| cut[1] - cut[0])
            .max()
            .unwrap_or(0)
    };
    let begin = program
        .code
        .iter()
        .position(|i| *i == Instruction::Cfg { layer: id })
        .unwrap_or(0);
    let (mut resident_in, mut resident_out) = (Memory::Dram, Memory::Dram);
    let mut loaded = false;
    for instruction in program
        .code
        .iter()
        .skip(begin + 1)
        .take_while(|i| !matches!(i, Instruction::Cfg { .. }))
    {
        match *instruction {
            Instruction::Lda { .. } => loaded = true,
            Instruction::Mac { from, .. } if !loaded => resident_in = program.region(from).memory,
            Instruction::Ppu { from, to, .. } => {
                resident_in = if loaded {
                    Memory::Dram
                } else {
                    program.region(from).memory
                };
                resident_out = program.region(to).memory;
            }
            Instruction::Drn { to, .. } => resident_out = program.region(to).memory,
            _ => {}
        }
    }
    Mapping {
        tile_w: layout
            .tiles
            .iter()
            .map(|t| longest(&t.x))
            .max()
            .unwrap_or(0),
        tile_h: layout
            .tiles
            .iter()
            .map(|t| longest(&t.y))
            .max()
            .unwrap_or(0),
        kc: layer
            .array
            .as_ref()
            .and_then(|a| a.channel_groups.iter().map(|k| k.len()).max())
            .unwrap_or(0),
        pe_groups: layer.array.as_ref().map_or(1, |a| a.pe_groups.count()),
        temporal_tiles: layer.passes.len() as u32,
        phases: if layer.array.is_some() {
            layout.residues.count()
        } else {
            1
        },
        resident_in,
        resident_out,
    }
}
