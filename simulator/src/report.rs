//! The report: what a run cost, layer by layer, in the form of the published schema ([`schema`],
//! `simulator/report.schema.json`).
//!
//! Every number here comes from an [`Execution`] and its [`Program`]; tables, CSV, JSON, pages and figures are made from
//! this structure alone. Counts are sums over [`Report::samples`] inferences, and the totals are the sums of the layers.
//!
//! ```text
//! Execution --Report::of--> Report --serde_json--> R.json --Report::read--> Report
//!                                  --columns::csv--> CSV
//! ```

pub mod columns;
mod headline;
mod memory;
mod operation;
mod provenance;
mod read;
mod schema;

pub use headline::Operands;
pub use memory::{Occupancy, occupancy};
pub use provenance::{Provenance, StageTime, tensors_hash};
pub use read::ReadError;
pub use schema::schema;

use crate::baseline::Baselines;
use crate::counters::Counters;
use crate::energy::Energy;
use crate::execute::Execution;
use crate::schema::{add_fields, described};
use crate::timing::{Cause, DensityModel, PeCycles, Slots, Timing};
use crate::trust::Trust;
use scnn_isa::machine::Machine;
use scnn_isa::program::{Memory, Program};
use serde::{Deserialize, Serialize};

/// Version of the schema; it grows when the form changes, or the meaning of a field.
pub const SCHEMA: u32 = 7;

described! {
    /// A report.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Report {
        /// Version of this schema.
        pub schema: u32,
        /// Name and version of the tool.
        pub tool: String,
        /// Name of the model.
        pub model: String,
        /// Name of the machine.
        pub machine: String,
        /// Every parameter of the machine, in the order of `scnnc machine show`.
        pub parameters: Vec<Parameter>,
        /// How the mapping was found, and what the search made small.
        pub mapping: String,
        /// Options of the compilation.
        pub options: Vec<String>,
        /// Timing setting: `exact` or `fast`.
        pub timing: String,
        /// Inferences that the counts sum over.
        pub samples: u32,
        /// Clock of the machine, GHz.
        pub clock_gigahertz: f64,
        /// Rows and columns of PEs.
        pub pes: [u32; 2],
        /// Multipliers of the machine.
        pub multipliers: u64,
        /// Static area of the machine by component, mm2.
        pub area_mm2: crate::area::Area,
        /// The same by how far the table of areas can be trusted.
        pub area_trust: Trust,
        /// Energies of the table whose law is used beyond what it was fitted to, a sentence each.
        pub energy_outside_fit: Vec<String>,
        /// Bandwidth of the DRAM, GB/s.
        pub dram_gigabytes_per_second: f64,
        /// Bandwidth of the host link, GB/s.
        pub host_link_gigabytes_per_second: f64,
        /// Capacity of activation RAMs A and B of a PE, elements.
        pub ram_elements: [u64; 2],
        /// Sums over all layers.
        pub totals: Costs,
        /// What the results were compared with, where that was asked for.
        pub comparison: Option<Comparison>,
        /// Layers and host segments in the order of execution.
        pub layers: Vec<Layer>,
        /// Which tensor lies where, from which layer to which.
        pub occupancy: Vec<Occupancy>,
        /// What the report was made of: hashes, and the command that makes it again.
        pub provenance: Provenance,
        /// How long each stage of the command took; only of a command with `--verbose`, as it is never the same twice.
        pub stage_times: Vec<StageTime>,
    }
}

described! {
    /// How a run's results compare with references.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Comparison {
        /// Images of all samples.
        pub images: u64,
        /// Results of layers that equal the integer interpreter's bit for bit, over all samples; absent where that was not
        /// asked for.
        pub bit_exact_tensors: Option<u64>,
        /// The float reference of the outputs; absent where there was none, as for a program without its model.
        pub reference: Option<String>,
        /// Signal of the outputs over their distance from the reference, dB; absent when nothing differs.
        pub sqnr_db: Option<f64>,
        /// Largest difference of an output's value.
        pub largest_error: Option<f64>,
        /// Mean difference of an output's value.
        pub mean_error: Option<f64>,
        /// Images with a class, the index of the first output's largest value.
        pub classified: Option<u64>,
        /// Those to which the reference gives the same class.
        pub agreeing: Option<u64>,
        /// Images with the class of their label; absent without labels.
        pub correct: Option<u64>,
        /// The same of the reference.
        pub reference_correct: Option<u64>,
    }
}

described! {
    /// A parameter of the machine.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Parameter {
        /// Path in a machine file, such as `array.rows`.
        pub path: String,
        /// Value, as text.
        pub value: String,
        /// Unit, or empty.
        pub unit: String,
    }
}

described! {
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
        /// Runtime and version that ran it, of a host segment: `tract 0.23.9`, `onnxruntime 1.22.0`.
        pub runtime: Option<String>,
        /// `conv`, `linear`, `ppu` or `host`.
        pub kind: String,
        /// Extents; host segments have none.
        pub shape: Option<Shape>,
        /// Mapping; host segments have none.
        pub mapping: Option<Mapping>,
        /// Shares of non-zeros, 0..=1, mean over samples.
        pub density: Density,
        /// What the densities alone would have predicted; only of the array's layers.
        pub density_model: Option<DensityModel>,
        /// Against the float model, where that was asked for.
        pub accuracy: Option<Accuracy>,
        /// What most of the multipliers' time went to; absent where the array had nothing to do.
        pub bound: Option<Cause>,
        /// What most of the slots were lost to that were not useful: the reason why utilisation is not higher.
        pub lost_to: Option<Cause>,
        /// What it cost.
        #[serde(flatten)]
        pub costs: Costs,
        /// Where the cycles of every PE went.
        pub pe_cycles: PeCycles,
        /// Range of its instructions in the program.
        pub instructions: [u32; 2],
        /// Those instructions as text.
        pub code: Vec<String>,
        /// Hash of its constants: weights, biases, multipliers, tables; of the sub-model of a host segment.
        pub constants_blake3: String,
    }
}

described! {
    /// What a layer cost, or all of them together.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct Costs {
        /// Time.
        pub cycles: CycleCounts,
        /// Multiplications.
        pub multiplies: Multiplies,
        /// Useful multiplications over cycles x multipliers, 0..=1.
        pub utilisation: f64,
        /// Dense machines and the oracle on the same work: cycles, and their energy by component.
        pub baselines: Baselines,
        /// Energy, pJ.
        pub energy_pj: EnergyByMachine,
        /// Traffic to and from DRAM, bytes.
        pub dram_bytes: DramBytes,
        /// Events.
        pub counters: Counters,
    }
}

described! {
    /// Time in cycles, and where it went.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct CycleCounts {
        /// Cycles.
        pub total: u64,
        /// What the mapper's model expected, if the program was mapped in the same run; never on a sum that lacks a part.
        pub predicted: Option<u64>,
        /// Multiplier slots by cause; they sum to cycles x PEs x multipliers.
        pub slots: Slots,
        /// The slots by how far the rules behind their causes can be trusted.
        pub trust: Trust,
    }
}

described! {
    /// Multiplications.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Multiplies {
        /// Of two non-zeros with an output inside the plane.
        pub useful: u64,
        /// Done: placeholders and products outside the plane included.
        pub issued: u64,
        /// That a dense machine does.
        pub dense: u64,
    }
}

described! {
    /// Energy in pJ.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct EnergyByMachine {
        /// By component.
        #[serde(flatten)]
        pub components: Energy,
        /// The sum of the components.
        pub total: f64,
        /// Least and most that it can be, as far as entries of the energy table have bands.
        pub band: [f64; 2],
        /// The total by how far the entries of the energy table can be trusted.
        pub trust: Trust,
        /// DCNN on the array's layers.
        pub dcnn: f64,
        /// DCNN-opt on them.
        pub dcnn_opt: f64,
    }
}

described! {
    /// Traffic to and from DRAM in bytes.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct DramBytes {
        /// Weights, as encoded.
        pub weights: u64,
        /// Activations read.
        #[serde(rename = "in")]
        pub read: u64,
        /// Activations written.
        #[serde(rename = "out")]
        pub written: u64,
        /// Activations that did not fit their region, both ways.
        pub spill: u64,
    }
}

described! {
    /// How near a layer's result is to the float model's.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Accuracy {
        /// Signal over quantisation noise, dB; absent when nothing differs.
        pub sqnr_db: Option<f64>,
        /// Largest difference of a value.
        pub largest_error: f64,
        /// Mean difference of a value.
        pub mean_error: f64,
        /// Share of values at the end of the range, 0..=1.
        pub saturated: f64,
    }
}

described! {
    /// Extents of a layer.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Shape {
        /// Images of the batch.
        pub n: u32,
        /// Input channels.
        pub c: u32,
        /// Rows of the input plane.
        pub h: u32,
        /// Columns of the input plane.
        pub w: u32,
        /// Output channels.
        pub k: u32,
        /// Rows of the kernel, or of the pooling window.
        pub r: u32,
        /// Columns of the kernel, or of the pooling window.
        pub s: u32,
        /// Steps of the window along rows and columns, positions.
        pub stride: [u32; 2],
        /// Padding above, left, below and right, positions; less than none where the edge of the plane is not read.
        pub pad: [i32; 4],
        /// Distance of the taps along rows and columns, positions.
        pub dilation: [u32; 2],
        /// Groups of the convolution.
        pub groups: u32,
        /// Rows of the output plane, before pooling.
        pub out_h: u32,
        /// Columns of the output plane, before pooling.
        pub out_w: u32,
    }
}

described! {
    /// How a layer lies on the machine.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        /// The cut of the source plane over the PEs of a group, for each temporal tile.
        pub tiling: Vec<TileCuts>,
    }
}

described! {
    /// A temporal tile of a layer's source plane, cut over the PEs of a PE group.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct TileCuts {
        /// Images of the batch that it holds: first, and one past the last.
        pub images: [u32; 2],
        /// Cuts of the rows, ascending.
        pub y: Vec<u32>,
        /// Cuts of the columns, ascending.
        pub x: Vec<u32>,
    }
}

described! {
    /// Shares of non-zeros.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct Density {
        /// Of the weights; 1 where there are none.
        pub weights: f64,
        /// Of the input.
        pub input: f64,
        /// Of the output.
        pub output: f64,
    }
}

impl Report {
    /// The report of one inference.
    pub fn of(program: &Program, execution: &Execution, timing: Timing) -> Self {
        let machine = &program.machine;
        let options = &program.provenance.options;
        let mapping = options
            .iter()
            .find_map(|option| option.strip_prefix("mapping="));
        let mut report = Self {
            schema: SCHEMA,
            tool: program.provenance.tool.clone(),
            model: program.provenance.model.clone(),
            machine: machine.name.clone(),
            parameters: Parameter::all(machine),
            mapping: mapping.unwrap_or("unknown").to_owned(),
            options: options.clone(),
            timing: timing.name().to_owned(),
            samples: 1,
            clock_gigahertz: machine.clock.gigahertz,
            pes: [machine.array.rows, machine.array.cols],
            multipliers: u64::from(machine.pe_count()) * u64::from(machine.multipliers_per_pe()),
            dram_gigabytes_per_second: machine.dram.gigabytes_per_second,
            host_link_gigabytes_per_second: machine.host_link.gigabytes_per_second,
            ram_elements: [Memory::A, Memory::B].map(|ram| machine.ram_elements(ram)),
            area_mm2: crate::area::Area::of(machine),
            area_trust: Trust::of_area(machine),
            energy_outside_fit: machine
                .outside_fit()
                .iter()
                .map(ToString::to_string)
                .collect(),
            totals: Costs::default(),
            comparison: None,
            layers: operation::layers(program, execution),
            occupancy: memory::occupancy(program),
            provenance: Provenance::default(),
            stage_times: Vec::new(),
        };
        report.sum();
        report
    }

    /// Adds another inference of the same program.
    pub fn add(&mut self, other: &Self) {
        let (ours, theirs) = (f64::from(self.samples), f64::from(other.samples));
        for (layer, more) in self.layers.iter_mut().zip(&other.layers) {
            let mean = |a: f64, b: f64| (a * ours + b * theirs) / (ours + theirs);
            layer.density.input = mean(layer.density.input, more.density.input);
            layer.density.output = mean(layer.density.output, more.density.output);
            layer.costs.add(&more.costs);
            layer.pe_cycles.add(&more.pe_cycles);
            if let (Some(model), Some(more)) = (&mut layer.density_model, &more.density_model) {
                model.add(more);
            }
            layer.bound = Cause::of(&layer.costs.cycles.slots);
            layer.lost_to = lost_to(&layer.costs.cycles.slots);
        }
        self.samples += other.samples;
        self.sum();
    }

    /// Puts the compiler's predictions for one inference beside the cycles, by operation; `None` for host segments.
    pub fn predict(&mut self, cycles: impl IntoIterator<Item = Option<u64>>) {
        let samples = u64::from(self.samples);
        for (layer, cycles) in self.layers.iter_mut().zip(cycles) {
            layer.costs.cycles.predicted = cycles.map(|cycles| cycles * samples);
        }
        self.sum();
    }

    /// Errors of the predictions, predicted over simulated less one, of the layers of the array, ascending by size.
    pub fn prediction_errors(&self) -> Vec<(f64, &str)> {
        let mut errors: Vec<(f64, &str)> = self
            .array_layers()
            .filter(|layer| layer.costs.cycles.total > 0)
            .filter_map(|layer| {
                let cycles = &layer.costs.cycles;
                let error = cycles.predicted? as f64 / cycles.total as f64 - 1.0;
                Some((error, layer.name.as_str()))
            })
            .collect();
        errors.sort_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
        errors
    }

    /// The density model of all layers together, and of each.
    pub fn density_models(&self) -> (DensityModel, Vec<(&str, &DensityModel)>) {
        let layers = self.layers.iter();
        let models = layers.filter_map(|l| Some((l.name.as_str(), l.density_model.as_ref()?)));
        let models: Vec<_> = models.collect();
        let mut sum = DensityModel::default();
        for (_, model) in &models {
            sum.add(model);
        }
        (sum, models)
    }

    /// Layers of the array: those with a dense baseline.
    pub fn array_layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| layer.on_array())
    }

    /// Seconds of one inference.
    pub fn seconds(&self) -> f64 {
        let cycles = self.totals.cycles.total as f64 / f64::from(self.samples.max(1));
        cycles / (self.clock_gigahertz * 1e9)
    }

    /// Puts the sums of the layers into the totals; who changes a layer calls it.
    pub fn sum(&mut self) {
        let mut totals = Costs::default();
        totals.cycles.predicted = Some(0);
        for layer in &self.layers {
            totals.add(&layer.costs);
        }
        self.totals = totals;
    }
}

impl Parameter {
    /// Those of a machine.
    pub fn all(machine: &Machine) -> Vec<Self> {
        let parameters = machine.parameters().into_iter();
        let parameters = parameters.map(|parameter| Self {
            path: parameter.path,
            value: parameter.value,
            unit: parameter.unit.to_owned(),
        });
        parameters.collect()
    }
}

impl Layer {
    /// Whether the array multiplies in it.
    pub fn on_array(&self) -> bool {
        self.costs.multiplies.dense > 0
    }
}

impl Costs {
    fn add(&mut self, other: &Self) {
        let Self {
            cycles,
            multiplies,
            utilisation: _,
            baselines,
            energy_pj,
            dram_bytes,
            counters,
        } = other;
        self.cycles.add(cycles);
        self.utilisation = utilisation(&self.cycles.slots);
        self.baselines.add(baselines);
        self.energy_pj.add(energy_pj);
        self.energy_pj.dcnn = self.baselines.dcnn_pj.total();
        self.energy_pj.dcnn_opt = self.baselines.dcnn_opt_pj.total();
        add_fields!(
            self.multiplies,
            *multiplies,
            Multiplies {
                useful,
                issued,
                dense,
            }
        );
        add_fields!(
            self.dram_bytes,
            *dram_bytes,
            DramBytes {
                weights,
                read,
                written,
                spill,
            }
        );
        self.counters += *counters;
    }
}

impl CycleCounts {
    fn add(&mut self, other: &Self) {
        let Self {
            total,
            predicted,
            slots,
            trust: _,
        } = *other;
        // An operation that takes no cycles needs no prediction.
        let predicted = predicted.or((total == 0).then_some(0));
        self.total += total;
        self.predicted = self.predicted.zip(predicted).map(|(a, b)| a + b);
        self.slots += slots;
        self.trust = Trust::of_slots(&self.slots);
    }
}

impl EnergyByMachine {
    /// Adds what the machine itself takes; the dense machines' is that of the baselines.
    fn add(&mut self, other: &Self) {
        let Self {
            components,
            total: _,
            band,
            trust,
            dcnn: _,
            dcnn_opt: _,
        } = other;
        self.components.add(components);
        self.total = self.components.total();
        for (ours, theirs) in self.band.iter_mut().zip(band) {
            *ours += theirs;
        }
        self.trust.add(trust);
    }
}

impl DramBytes {
    /// All bytes.
    pub fn total(&self) -> u64 {
        self.weights + self.read + self.written + self.spill
    }
}

fn lost_to(slots: &Slots) -> Option<Cause> {
    Cause::largest_loss(slots).map(|(loss, _)| loss)
}

fn utilisation(slots: &Slots) -> f64 {
    slots.useful as f64 / slots.total().max(1) as f64
}

#[cfg(test)]
pub(crate) mod tests {
    use super::columns::{Cell, costs, csv, row};
    use super::*;

    /// A layer of which every summed number differs from every other.
    pub fn layer() -> Layer {
        let mut layer = Layer {
            index: 0,
            name: "conv".to_owned(),
            onnx_nodes: vec!["conv, the first".to_owned(), "relu".to_owned()],
            engine: "scnn".to_owned(),
            runtime: None,
            kind: "conv".to_owned(),
            shape: None,
            mapping: None,
            density: Density {
                weights: 0.25,
                input: 0.5,
                output: 0.75,
            },
            density_model: None,
            accuracy: None,
            bound: Some(Cause::Barrier),
            lost_to: Some(Cause::Barrier),
            costs: Costs::default(),
            pe_cycles: PeCycles::default(),
            instructions: [0, 2],
            code: vec!["  cfg layer=conv".to_owned()],
            constants_blake3: String::new(),
        };
        let costs = &mut layer.costs;
        costs.cycles = CycleCounts {
            total: 1001,
            predicted: Some(1002),
            slots: Slots {
                useful: 11,
                fragmentation: 13,
                barrier: 1_000_100,
                ..Slots::default()
            },
            trust: Trust::default(),
        };
        costs.multiplies = Multiplies {
            useful: 11,
            issued: 17,
            dense: 190,
        };
        costs.counters.halo_hops = 23;
        costs.counters.host_bytes = 29;
        costs.dram_bytes.weights = 31;
        costs.dram_bytes.spill = 37;
        costs.baselines.dcnn = 4007;
        costs.energy_pj.components.dram = 0.1;
        costs.energy_pj.components.halo = 0.7;
        costs.energy_pj.total = costs.energy_pj.components.total();
        layer
    }

    fn report(layers: usize) -> Report {
        let mut report = Report {
            schema: SCHEMA,
            tool: "scnnc".to_owned(),
            model: "two, three".to_owned(),
            machine: "scnn".to_owned(),
            parameters: Vec::new(),
            mapping: "paper".to_owned(),
            options: Vec::new(),
            timing: "exact".to_owned(),
            samples: 1,
            clock_gigahertz: 1.0,
            pes: [8, 8],
            multipliers: 1024,
            dram_gigabytes_per_second: 50.0,
            host_link_gigabytes_per_second: 16.0,
            ram_elements: [4096; 2],
            area_mm2: crate::area::Area::default(),
            area_trust: Trust::default(),
            energy_outside_fit: Vec::new(),
            totals: Costs::default(),
            comparison: None,
            layers: vec![layer(); layers],
            occupancy: Vec::new(),
            provenance: Provenance::default(),
            stage_times: Vec::new(),
        };
        report.sum();
        report
    }

    #[test]
    fn the_host_link_bounds_the_rate_where_it_needs_longer_than_all_else() {
        let mut report = report(1);
        let cycles = report.totals.cycles.total;
        // 16 bytes a cycle.
        report.totals.counters.host_bytes = 16 * cycles;
        assert_eq!(report.period_cycles(), cycles);
        report.totals.counters.host_bytes += 16 * 5;
        assert_eq!(report.period_cycles(), cycles + 5);
    }

    #[test]
    fn the_totals_of_csv_and_json_are_the_reports() {
        let report = report(3);
        let text = csv(std::slice::from_ref(&report));
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap().split(',').collect();
        let rows: Vec<Vec<f64>> = lines
            // The two quoted cells hold a comma each.
            .map(|line| {
                line.replace("\"two, three\"", "")
                    .replace("\"conv, the first relu\"", "")
            })
            .map(|line| {
                line.split(',')
                    .map(|cell| cell.parse().unwrap_or(0.0))
                    .collect()
            })
            .collect();
        assert_eq!(rows.len(), 3);
        let json = Report::read(&serde_json::to_vec(&report).unwrap()).unwrap();
        assert_eq!((json.len(), json[0].layers.len()), (1, 3));
        for (name, total) in costs(&json[0].totals) {
            let column = names.iter().position(|n| **n == name).unwrap();
            let sum: f64 = rows.iter().map(|row| row[column]).sum();
            let total = match total {
                Cell::Count(count) => count as f64,
                Cell::Number(number) => number,
                Cell::Text(_) | Cell::Empty => unreachable!("{name} is a number"),
            };
            assert!((sum - total).abs() < 1e-9, "{name}: {sum}, {total}");
        }
        assert_eq!(row(&report.layers[0]).len() + 5, names.len());
    }

    #[test]
    fn a_sum_with_a_part_that_was_not_predicted_has_no_prediction() {
        let mut report = report(2);
        assert_eq!(report.totals.cycles.predicted, Some(2004));
        report.layers[1].costs.cycles.predicted = None;
        report.sum();
        assert_eq!(report.totals.cycles.predicted, None);
    }

    #[test]
    fn the_headline_says_what_was_bought_and_where_the_rest_went() {
        assert_eq!(
            report(2).headline(),
            "weights 25 % dense, activations 50 %: 11.2x fewer products, 4.00x fewer cycles than DCNN; \
             the rest is lost to barrier 100 %"
        );
        let mut slow = report(1);
        slow.layers[0].costs.baselines.dcnn = 500;
        slow.sum();
        assert!(
            slow.headline()
                .contains("but 2.00x the cycles of DCNN: here sparsity buys nothing")
        );
    }

    #[test]
    fn counts_that_cannot_be_added_are_refused() {
        let mut report = report(2);
        let largest = u64::MAX / 64;
        report.layers[1].costs.cycles.total = largest;
        let text = serde_json::to_vec(&report).unwrap();
        assert!(Report::read(&text).is_ok());
        report.layers[1].costs.cycles.total = 2 * largest;
        let text = serde_json::to_vec(&report).unwrap();
        let error = Report::read(&text).unwrap_err();
        assert!(error.to_string().contains("beyond 64 bits"), "{error}");
    }

    #[test]
    fn a_report_of_another_schema_is_named() {
        let error = Report::read(b"{\"schema\": 1, \"layers\": []}").unwrap_err();
        assert!(error.to_string().contains("schema 1"), "{error}");
        assert!(Report::read(b"[]").is_err());
    }
}
