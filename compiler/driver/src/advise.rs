//! The adviser: gain or cost of one change of each parameter of a machine.
//!
//! ```text
//! Machine --changes--> [Change]
//! Baseline { Compiled, Report }, Change --Baseline::predict--> Prediction
//! ```
//!
//! Nothing is executed for a prediction: time depends on the sizes of weight blocks and the positions of activations that
//! are not zero, which the compiled model has. The method depends on the parameter:
//!
//! | parameter | prediction |
//! |---|---|
//! | `area.*` | the area alone |
//! | `energy.*` | the counted events at the new price (where energy decides no mapping) |
//! | `host_link.*` | host segments at the new bandwidth |
//! | widths, `ppu.multiply`, `ppu.table_segments` | none: the network is quantised anew, so it needs a run |
//! | `array.*`, `weights.delivery` | none: cycles come within 1 %, energy does not |
//! | fewer banks, zeros that are kept | none: bank conflicts are the better part of the model's error |
//! | rates, RAMs, more accumulators, where weights are broadcast | the cuts and groupings that the search explored, placed and timed anew; then as below |
//! | all others | mapped anew; each layer by the cost model, times the model's error on the base machine |
//!
//! A test measures predictions against runs, `SCNN_ADVISE=1` all of them on three presets; those that are made are meant to
//! be within 1 %.

mod changes;

use crate::sweep::guarded;
pub use changes::{Change, Direction, changes};
use scnn_isa::machine::{Delivery, Machine, Scope};
use scnn_simulator::area::Area;
use scnn_simulator::energy::Energy;
use scnn_simulator::report::{Layer, Report};
use scnnc::compile::{self, CompileError, Compiled, Front};
use scnnc::map::{self, Explored, Mapped, Objective, Strategy};
use serde::Serialize;

/// Costs of a model on a machine: means of one inference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Costs {
    /// Cycles.
    pub cycles: f64,
    /// Energy, pJ.
    pub energy_pj: f64,
}

impl Costs {
    /// Of a report.
    pub fn of(report: &Report) -> Self {
        let samples = f64::from(report.samples);
        Self {
            cycles: report.totals.cycles.total as f64 / samples,
            energy_pj: report.totals.energy_pj.total / samples,
        }
    }
}

/// Costs after a change, or the reason that only a run shows them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The costs.
    Costs(Costs),
    /// Only a run shows them, for this reason.
    NeedsRun(String),
}

/// A model that was compiled and measured on the base machine.
pub struct Baseline<'a> {
    /// The model.
    pub compiled: &'a Compiled,
    /// The choices that it was compiled with.
    pub options: &'a compile::Options,
    /// Its costs, with exact timing.
    pub report: &'a Report,
    /// What its search explored; none where its mapping was not searched for.
    explored: Option<Explored>,
}

/// The reach of a parameter: the most that it may change.
enum Reach {
    /// Prices of events: stated ones, and prices of wires as long as a PE.
    Prices,
    /// The time of host segments.
    HostLink,
    /// The integers themselves.
    Network,
    /// The number of copies of activations, whose energy the model does not have.
    Copies,
    /// The conflicts of banks.
    Conflicts,
    /// The mapping.
    Mapping,
}

impl Reach {
    fn of(change: &Change, base: &Machine, objective: Objective) -> Self {
        let section = change.parameter.split('.').next().unwrap_or_default();
        match section {
            "area" | "energy" if objective == Objective::Cycles => Self::Prices,
            "host_link" => Self::HostLink,
            "array" => Self::Copies,
            _ if base.weights.delivery != change.machine.weights.delivery => Self::Copies,
            _ if Front::depends_on(base) != Front::depends_on(&change.machine) => Self::Network,
            _ if change.machine.pe.banks < base.pe.banks => Self::Conflicts,
            _ if change.parameter.starts_with("encoding.compress_") => Self::Conflicts,
            _ => Self::Mapping,
        }
    }
}

impl<'a> Baseline<'a> {
    /// The model `compiled` with `options`, and the report of its run with exact timing.
    pub fn new(compiled: &'a Compiled, options: &'a compile::Options, report: &'a Report) -> Self {
        let searched =
            options.mapping.strategy == Strategy::Search && options.mapping_file.is_none();
        let explore = || {
            let (network, occupancy) = (&compiled.network, &compiled.occupancy);
            let objective = options.mapping.objective;
            map::map_exploring(network, &options.machine, occupancy, objective)
        };
        // Changes are mapped anew where this fails, and say why that does.
        let explored = searched.then(|| guarded(explore).ok()?.ok()).flatten();
        Self {
            compiled,
            options,
            report,
            explored: explored.map(|(_, explored)| explored),
        }
    }

    /// Costs of the model on the base machine.
    pub fn costs(&self) -> Costs {
        Costs::of(self.report)
    }

    /// Predicts the costs after a change.
    pub fn predict(&self, change: &Change) -> Prediction {
        let base = &self.options.machine;
        match Reach::of(change, base, self.options.mapping.objective) {
            Reach::Prices => Prediction::Costs(Costs {
                energy_pj: self.events_pj(&change.machine),
                ..self.costs()
            }),
            Reach::HostLink => {
                let cycles = self.report.layers.iter().map(|layer| {
                    self.link_cycles(layer, &change.machine)
                        .unwrap_or_else(|| self.cycles(layer))
                });
                Prediction::Costs(Costs {
                    cycles: cycles.sum(),
                    ..self.costs()
                })
            }
            Reach::Network => {
                Prediction::NeedsRun("the network would be quantised anew".to_owned())
            }
            Reach::Copies => {
                let reason = "other PE groups hold other copies of activations, whose energy the cost model does not have";
                Prediction::NeedsRun(reason.to_owned())
            }
            Reach::Conflicts => {
                let reason = "bank conflicts would be others than those that the model's error was measured on";
                Prediction::NeedsRun(reason.to_owned())
            }
            Reach::Mapping if !self.compiled.fallbacks.is_empty() && self.may_fall_back(change) => {
                let reason = "another part of the model might fall back to the host";
                Prediction::NeedsRun(reason.to_owned())
            }
            Reach::Mapping => self.predict_mapped(&change.machine),
        }
    }

    /// Whether a change may alter the work and its schedule, and not only prices.
    pub fn moves_work(&self, change: &Change) -> bool {
        let objective = self.options.mapping.objective;
        let reach = Reach::of(change, &self.options.machine, objective);
        !matches!(reach, Reach::Prices | Reach::HostLink)
    }

    /// Whether a machine may send other parts of the model to the host.
    fn may_fall_back(&self, change: &Change) -> bool {
        let parameters = self.options.machine.parameters();
        let changed = parameters.iter().find(|p| p.path == change.parameter);
        changed.is_none_or(|parameter| parameter.scope == Scope::Program)
    }

    fn predict_mapped(&self, machine: &Machine) -> Prediction {
        let options = compile::Options {
            machine: machine.clone(),
            ..self.options.clone()
        };
        let Compiled {
            network, occupancy, ..
        } = self.compiled;
        let mapping = || match &self.explored {
            Some(explored) if explores_the_same(&self.options.machine, machine) => {
                let objective = options.mapping.objective;
                map::map_anew(network, machine, occupancy, objective, explored)
                    .map_err(CompileError::from)
            }
            _ => compile::mapping(network, occupancy, &options),
        };
        match guarded(mapping) {
            Ok(Ok(mapped)) => Prediction::Costs(Costs {
                cycles: self.cycles_of(&mapped, machine),
                energy_pj: self.energy_of(&mapped, machine),
            }),
            Ok(Err(error)) => Prediction::NeedsRun(format!("mapped as it is, {error}")),
            Err(_) => Prediction::NeedsRun("its mapping fails".to_owned()),
        }
    }

    /// Cycles of each layer by the cost model, times the model's error on the base machine.
    fn cycles_of(&self, mapped: &Mapped, machine: &Machine) -> f64 {
        let before = &self.compiled.mapped.predicted;
        let layers = self.report.layers.iter().zip(before).zip(&mapped.predicted);
        let cycles = layers.map(|((layer, before), after)| {
            let measured = self.cycles(layer);
            match (before, after) {
                (Some(before), Some(after)) if before.cycles > 0 => {
                    measured * after.cycles as f64 / before.cycles as f64
                }
                _ => self.link_cycles(layer, machine).unwrap_or(measured),
            }
        });
        cycles.sum()
    }

    /// Energy of the counted events at the machine's prices, plus the change that the cost model predicts for the mapping.
    fn energy_of(&self, mapped: &Mapped, machine: &Machine) -> f64 {
        let base = &self.options.machine;
        let total = |costs: &[Option<map::cost::Cost>]| -> f64 {
            costs.iter().flatten().map(|cost| cost.energy_pj).sum()
        };
        let before = if machine.energy == base.energy {
            total(&self.compiled.mapped.predicted)
        } else {
            let priced = Machine {
                energy: machine.energy.clone(),
                ..base.clone()
            };
            let Compiled {
                network,
                occupancy,
                mapped,
                ..
            } = self.compiled;
            total(&map::predict(network, &priced, occupancy, mapped))
        };
        self.events_pj(machine) + total(&mapped.predicted) - before
    }

    /// The energy of the counted events at the machine's prices, of one inference.
    fn events_pj(&self, machine: &Machine) -> f64 {
        let counters = &self.report.totals.counters;
        Energy::of(counters, machine).total() / f64::from(self.report.samples)
    }

    fn cycles(&self, layer: &Layer) -> f64 {
        layer.costs.cycles.total as f64 / f64::from(self.report.samples)
    }

    /// Cycles of a host segment's tensors over a machine's link; none for layers of the array.
    fn link_cycles(&self, layer: &Layer, machine: &Machine) -> Option<f64> {
        if layer.mapping.is_some() {
            return None;
        }
        let bytes = layer.costs.counters.host_bytes as f64 / f64::from(self.report.samples);
        let bytes_per_cycle = machine.host_link.gigabytes_per_second / machine.clock.gigahertz;
        Some((bytes / bytes_per_cycle).ceil())
    }
}

/// Whether a search finds on a machine what it finds among what was explored on the base, within half a percent: where they
/// differ in rates, RAMs, prices, or more accumulators. Of FIFOs, vectors, runs, queues and less accumulators it makes other
/// groupings, and where PE groups can be formed, other groups; measured on the zoo.
fn explores_the_same(base: &Machine, machine: &Machine) -> bool {
    let mut alike = machine.clone();
    alike.name.clone_from(&base.name);
    (alike.energy, alike.area) = (base.energy.clone(), base.area.clone());
    (alike.dram, alike.clock) = (base.dram.clone(), base.clock.clone());
    (alike.host_link, alike.sync) = (base.host_link.clone(), base.sync.clone());
    alike.weights.bus_vectors_per_cycle = base.weights.bus_vectors_per_cycle;
    alike.ppu.lanes = base.ppu.lanes;
    alike.ppu.halo_sums_per_cycle = base.ppu.halo_sums_per_cycle;
    alike.activation_ram = base.activation_ram.clone();
    let (pe, ours) = (&mut alike.pe, &base.pe);
    (pe.banks, pe.entries_per_bank) = (
        pe.banks.min(ours.banks),
        pe.entries_per_bank.min(ours.entries_per_bank),
    );
    base.weights.delivery == Delivery::Broadcast && alike == *base
}

/// Area of a machine, mm2, to a square micrometre.
pub fn area_mm2(machine: &Machine) -> f64 {
    (Area::of(machine).total() * 1e6).round() / 1e6
}
