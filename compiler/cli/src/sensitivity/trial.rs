//! One layer pruned at a time, compiled with the ranges of the unpruned network, and executed.

use super::{DensityPoint, Whole};
use crate::build::Sample;
use crate::failure::Failure;
use scnn_isa::program::Program;
use scnn_isa::progress::Progress;
use scnn_simulator::report::Report;
use scnn_simulator::timing::Timing;
use scnn_simulator::{Execution, Options, SimulateError, Simulator};
use scnnc::compile::{self, Compiled};
use scnnc::import::Imported;
use scnnc::prune::{self, Pattern, PrunedAlone};
use scnnc::reference::accuracy::Comparison;
use scnnc::transform;
use scnnc_driver::{Classes, batch_of};
use std::path::Path;

/// What every point is measured with.
pub(super) struct Trial<'a> {
    pub(super) path: &'a Path,
    pub(super) imported: &'a Imported,
    pub(super) choices: &'a compile::Options,
    /// The network as it is.
    pub(super) base: &'a Compiled,
    pub(super) pattern: Pattern,
    pub(super) samples: &'a [Sample],
    /// The class of every image of the samples.
    pub(super) labels: Option<&'a [usize]>,
    /// Outputs of the unpruned float model.
    pub(super) reference: Vec<Sample>,
    pub(super) timing: Timing,
    /// Receives the layer that is simulated.
    pub(super) progress: &'a dyn Progress,
}

impl Trial<'_> {
    /// The points of a layer, of each density that pruning comes to; `reached` is called with the number of each asked for.
    pub(super) fn points(
        &self,
        layer: &str,
        densities: &[f64],
        reached: impl Fn(usize),
    ) -> Result<Vec<DensityPoint>, Failure> {
        let mut points: Vec<DensityPoint> = Vec::new();
        for (number, &density) in densities.iter().enumerate() {
            reached(number);
            let pruned = prune::prune_layer(self.imported, layer, self.pattern, density);
            let Some(pruned) = pruned.map_err(|e| Failure::compile(self.path, &e.into()))? else {
                continue;
            };
            // Two targets may come to the same, with whole kernels or a fixed pattern.
            let same = |point: &DensityPoint| point.density.to_bits() == pruned.after.to_bits();
            if !points.iter().any(same) {
                points.push(self.point(layer, pruned)?);
            }
        }
        Ok(points)
    }

    fn point(&self, layer: &str, pruned: PrunedAlone) -> Result<DensityPoint, Failure> {
        let (base, choices) = (self.base, self.choices);
        let mut graph = pruned.imported.graph;
        transform::run_all(
            &mut graph,
            &choices.machine,
            &choices.skipped,
            &mut |_, _| {},
        );
        let integers = compile::integers(
            &graph,
            &base.calibration,
            &pruned.imported.hash,
            choices,
            |_| base.occupancy.clone(),
            &mut (),
        );
        let integers = integers.map_err(|e| Failure::compile(self.path, &e))?;
        let (network, report) = self.measure(&integers.program)?;
        let count = self.samples.len() as f64;
        let rows = report.layers.iter();
        let of_layer = rows.filter(|row| row.onnx_nodes.iter().any(|node| node == layer));
        let (cycles, energy_pj) = of_layer.fold((0.0, 0.0), |(cycles, energy_pj), row| {
            let costs = &row.costs;
            (
                cycles + costs.cycles.total as f64,
                energy_pj + costs.energy_pj.total,
            )
        });
        Ok(DensityPoint {
            layer: layer.to_owned(),
            density_unpruned: pruned.before,
            density: pruned.after,
            layer_cycles: cycles / count,
            layer_energy_pj: energy_pj / count,
            network,
            best_of_layer: false,
            best_of_network: false,
        })
    }

    /// The network of a program, and its report.
    pub(super) fn measure(&self, program: &Program) -> Result<(Whole, Report), Failure> {
        let failed = |e| Failure::simulate(self.path, &e);
        let simulator = Simulator::new(program, &self.base.host).map_err(failed)?;
        let simulator = simulator.with_progress(self.progress);
        let batch = batch_of(program);
        let mut comparison = Comparison::default();
        let options = Options {
            timing: self.timing,
        };
        let classes = Classes::new(program, self.labels);
        let mut hits = 0;
        let each = |number: usize, execution: Execution| -> Result<(), SimulateError> {
            hits += classes.hits(number, &execution.outputs);
            for (name, theirs) in &self.reference[number] {
                if let Some(ours) = execution.outputs.get(name) {
                    comparison.add_output(ours, theirs, batch);
                }
            }
            Ok(())
        };
        let report = simulator.measure(self.samples, &options, each);
        let report = report.map_err(failed)?;
        let ratio = comparison.sqnr_db();
        let count = f64::from(report.samples);
        let (agreeing, images) = comparison.agreement();
        let network = Whole {
            sqnr_db: ratio.is_finite().then_some(ratio),
            top1_agreement: (images > 0).then(|| f64::from(agreeing) / f64::from(images)),
            top1_accuracy: classes.share(hits, self.samples.len()),
            network_cycles: report.totals.cycles.total as f64 / count,
            network_energy_pj: report.totals.energy_pj.total / count,
        };
        Ok((network, report))
    }
}
