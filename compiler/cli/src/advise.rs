//! `advise`: what one change of each parameter of the machine would gain or cost, ranked by the gain per area.

mod print;

use super::args::{Advise, Compilation};
use super::build::{self, Sample};
use super::failure::Failure;
use super::stages::Stages;
use super::{machine, output};
use rayon::prelude::*;
use scnn_isa::machine::Machine;
use scnn_simulator::timing::Timing;
use scnnc::compile::{self, Stage};
use scnnc::import::Imported;
use scnnc::map::Objective;
use scnnc_driver::advise::{Baseline, Change, Costs, Direction, Prediction, area_mm2, changes};
use scnnc_driver::samples_or_noise;
use scnnc_driver::sweep::{Fidelity, Outcome, Subject, Task, compute};
use serde::Serialize;
use std::path::Path;

/// The advice, in the form that `--json` prints.
#[derive(Debug, Serialize)]
pub struct Advice {
    machine: String,
    mapping: &'static str,
    objective: &'static str,
    /// Area of the machine, mm2.
    area_mm2: f64,
    models: Vec<BaseModel>,
    /// The changes, best first.
    #[serde(rename = "steps")]
    changes: Vec<Advised>,
}

/// A model on the machine as it is.
#[derive(Debug, Serialize)]
struct BaseModel {
    name: String,
    samples: u32,
    #[serde(flatten)]
    costs: Costs,
}

/// A change.
#[derive(Debug, Serialize)]
struct Advised {
    parameter: String,
    unit: &'static str,
    from: String,
    to: String,
    direction: Direction,
    /// Area that the change adds, mm2.
    area_mm2: f64,
    /// Share of the objective that the change saves, %: geometric mean over the models, in time and not in cycles. None where
    /// a model needs a run.
    gain_percent: Option<f64>,
    /// `gain_percent` per mm2 that the change adds.
    gain_percent_per_mm2: Option<f64>,
    /// Effects, one for each model.
    models: Vec<Effect>,
    /// Relative change of energy, the largest over the models, plus that of the area.
    #[serde(skip)]
    swing: f64,
}

/// Costs of a model after a change.
#[derive(Debug, Serialize)]
struct Effect {
    predicted: Prediction,
    /// Costs of a run: with `--measure`, and of small networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<MeasuredChange>,
}

/// A run of a change.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum MeasuredChange {
    Costs(Costs),
    Failed(String),
}

impl Effect {
    /// Measured costs, or else predicted ones.
    fn costs(&self) -> Option<Costs> {
        match (&self.measured, &self.predicted) {
            (Some(MeasuredChange::Costs(costs)), _) | (None, Prediction::Costs(costs)) => {
                Some(*costs)
            }
            _ => None,
        }
    }

    /// Reason that there are no costs.
    fn reason(&self) -> Option<&str> {
        match (&self.measured, &self.predicted) {
            (Some(MeasuredChange::Failed(reason)), _) | (None, Prediction::NeedsRun(reason)) => {
                Some(reason)
            }
            _ => None,
        }
    }
}

/// Most multiplications of a small network, over all samples: they take a tenth of a second.
const SMALL: u64 = 20_000_000;

/// `scnnc advise`.
pub fn advise(options: &Advise) -> Result<(), Failure> {
    let compilation = &options.compilation;
    let base = machine::of_model(&compilation.machine)?;
    let stages = stages(options);
    let open = |index: usize| {
        let path = &options.models[index];
        build::open_with(path, compilation, &options.input, &stages)
    };
    let advice = study(options, &base, &open, &stages)?;
    stages.finish();
    if options.json {
        output::print_json(&advice);
    } else {
        output::print(&print::text(&advice));
    }
    Ok(())
}

/// The stages of the verb.
pub fn stages(options: &Advise) -> Stages {
    let compilation = &options.compilation;
    let more = 2 + usize::from(options.measure);
    let pruning = usize::from(compilation.pruning.says_how_much());
    let count = options.models.len() * (1 + pruning + Stage::ALL.len() + more);
    Stages::new(count, compilation.loudness(), compilation.progress).with_data(options.json)
}

/// Imports the model of a position, and reads its samples.
pub type Open<'a> = dyn Fn(usize) -> Result<(Imported, Vec<Sample>), Failure> + 'a;

/// The advice on the machine `base` for the models that `open` opens.
pub fn study(
    options: &Advise,
    base: &Machine,
    open: &Open<'_>,
    stages: &Stages,
) -> Result<Advice, Failure> {
    if options.models.len() > 1 && !options.input.is_empty() {
        return Err(Failure::usage("`--input` is of a single model"));
    }
    let mut changes = changes(base);
    let wanted = |change: &Change| {
        let mut only = options.only.iter();
        options.only.is_empty() || only.any(|path| change.parameter.starts_with(path.as_str()))
    };
    changes.retain(wanted);
    if changes.is_empty() {
        return Err(Failure::usage(
            "`--only` leaves no parameter; `scnnc machine show` lists them",
        ));
    }
    let mut models = Vec::new();
    let mut effects: Vec<Vec<Effect>> = changes.iter().map(|_| Vec::new()).collect();
    for (index, path) in options.models.iter().enumerate() {
        let opened = open(index)?;
        let (model, of_model) = on_model(path, opened, options, base, &changes, stages)?;
        models.push(model);
        for (effects, effect) in effects.iter_mut().zip(of_model) {
            effects.push(effect);
        }
    }
    Ok(ranked(base, &options.compilation, models, changes, effects))
}

/// A model on the machine as it is, and the effect of every change.
fn on_model(
    path: &Path,
    opened: (Imported, Vec<Sample>),
    options: &Advise,
    base: &Machine,
    changes: &[Change],
    stages: &Stages,
) -> Result<(BaseModel, Vec<Effect>), Failure> {
    let compilation = &options.compilation;
    let (imported, mut given) = opened;
    given.truncate(options.samples);
    let (imported, pruning) = build::pruned(path, imported, compilation, &given, base, stages)?;
    let (mut choices, _) = build::options(&imported, compilation, &given, base.clone())?;
    choices.pruning = pruning;
    let compiled = compile::compile_imported(imported.clone(), &choices, &mut build::Told(stages));
    let compiled = compiled.map_err(|e| Failure::compile(path, &e))?;
    build::warn_of_noise(&choices, stages);
    stages.begin("simulate");
    let samples = samples_or_noise(&compiled, given.clone(), choices.seed);
    let report = scnnc_driver::report(&compiled, &samples, Timing::Exact, stages)
        .map_err(|e| Failure::run(path, &e))?;
    stages.begin("predict");
    let baseline = Baseline::new(&compiled, &choices, &report);
    let predicted: Vec<Prediction> = changes
        .par_iter()
        .map(|change| baseline.predict(change))
        .collect();
    // A small network takes no longer to run than to map, and what the model leaves out is a larger part of it.
    let small = report.totals.multiplies.issued <= SMALL;
    let wanted = |change: &&Change| options.measure || (small && baseline.moves_work(change));
    let subject = Subject {
        imported,
        options: choices.clone(),
        samples: given,
        labels: None,
    };
    let measured = measure(&subject, changes, &wanted, stages);
    let model = BaseModel {
        name: compiled.program.provenance.model.clone(),
        samples: report.samples,
        costs: baseline.costs(),
    };
    let effects = predicted.into_iter().zip(measured);
    let effects = effects.map(|(predicted, measured)| Effect {
        predicted,
        measured,
    });
    Ok((model, effects.collect()))
}

/// Runs the changes that are wanted.
fn measure(
    subject: &Subject,
    changes: &[Change],
    wanted: &dyn Fn(&&Change) -> bool,
    stages: &Stages,
) -> Vec<Option<MeasuredChange>> {
    let task = |(point, change): (usize, &Change)| Task {
        point,
        subject: 0,
        machine: change.machine.clone(),
        mapping: subject.options.mapping,
        widths: subject.options.quantise.widths.clone(),
        fidelity: Fidelity::Exact,
    };
    let tasks = changes
        .iter()
        .enumerate()
        .filter(|(_, change)| wanted(change));
    let tasks: Vec<Task> = tasks.map(task).collect();
    let mut measured = vec![None; changes.len()];
    if tasks.is_empty() {
        return measured;
    }
    stages.begin("measure");
    stages.length(tasks.len());
    let mut count = 0;
    let mut done = |point: usize, outcome: Outcome| -> Result<(), std::convert::Infallible> {
        count += 1;
        stages.reached(count);
        measured[point] = Some(match outcome {
            Outcome::Measured { network, .. } => MeasuredChange::Costs(Costs {
                cycles: network.cycles,
                energy_pj: network.energy_pj,
            }),
            Outcome::Failed(failed) => MeasuredChange::Failed(failed.message),
        });
        Ok(())
    };
    let threads = rayon::current_num_threads();
    let Ok(()) = compute(&tasks, threads, &|_| Ok(subject.clone()), &mut done);
    measured
}

/// The changes with their gains, best first: gains without area by size, other gains by size per area, then savings of area
/// by area per loss, and changes without a gain.
fn ranked(
    base: &Machine,
    compilation: &Compilation,
    models: Vec<BaseModel>,
    changes: Vec<Change>,
    effects: Vec<Vec<Effect>>,
) -> Advice {
    let objective = build::mapping_options(compilation).objective;
    let area = area_mm2(base);
    let advised = changes.into_iter().zip(effects).map(|(change, effects)| {
        let added = ((area_mm2(&change.machine) - area) * 1e6).round() / 1e6;
        let gain = gain(base, &change.machine, objective, &models, &effects);
        let energy_change = |(model, effect): (&BaseModel, &Effect)| {
            let costs = effect.costs().unwrap_or(model.costs);
            (costs.energy_pj / model.costs.energy_pj - 1.0).abs()
        };
        let swing = models
            .iter()
            .zip(&effects)
            .map(energy_change)
            .fold(0.0, f64::max);
        Advised {
            swing: swing + added.abs() / area,
            parameter: change.parameter,
            unit: change.unit,
            from: change.from,
            to: change.to,
            direction: change.direction,
            area_mm2: added,
            gain_percent: gain,
            gain_percent_per_mm2: gain.filter(|_| added > 0.0).map(|gain| gain / added),
            models: effects,
        }
    });
    let mut advised: Vec<Advised> = advised.collect();
    advised.sort_by(|a, b| {
        let (a, b) = (a.rank(), b.rank());
        a.0.cmp(&b.0).then(b.1.total_cmp(&a.1))
    });
    Advice {
        machine: base.name.clone(),
        mapping: build::mapping_options(compilation).strategy.name(),
        objective: objective.name(),
        area_mm2: area,
        models,
        changes: advised,
    }
}

/// Share of the objective that a change saves, %.
fn gain(
    base: &Machine,
    machine: &Machine,
    objective: Objective,
    models: &[BaseModel],
    effects: &[Effect],
) -> Option<f64> {
    let score = |costs: Costs, machine: &Machine| {
        let time = costs.cycles / machine.clock.gigahertz;
        objective.of(time, costs.energy_pj)
    };
    let mut logarithms = 0.0;
    for (model, effect) in models.iter().zip(effects) {
        logarithms += (score(effect.costs()?, machine) / score(model.costs, base)).ln();
    }
    Some(100.0 * (1.0 - (logarithms / models.len() as f64).exp()))
}

/// Smallest change that counts as a gain or a loss, %.
const NOTHING: f64 = 0.05;

/// Kinds of changes, by their effect; tables come in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ChangeKind {
    /// A gain that takes no area of the model.
    Free,
    /// A gain that takes area.
    Gain,
    /// Less area, for a loss or for nothing.
    Saving,
    /// Neither a gain nor less area.
    Nothing,
    /// Another price in the tables, on the same machine.
    Price,
    /// An effect that only a run shows.
    Unknown,
}

impl Advice {
    /// The changes of a kind.
    fn of_kind(&self, kind: ChangeKind) -> impl Iterator<Item = &Advised> {
        self.changes
            .iter()
            .filter(move |change| change.kind() == kind)
    }
}

impl Advised {
    fn kind(&self) -> ChangeKind {
        if ["energy.", "area."]
            .iter()
            .any(|section| self.parameter.starts_with(section))
        {
            return ChangeKind::Price;
        }
        match self.gain_percent {
            None => ChangeKind::Unknown,
            Some(gain) if gain >= NOTHING && self.area_mm2 <= 0.0 => ChangeKind::Free,
            Some(gain) if gain >= NOTHING => ChangeKind::Gain,
            Some(_) if self.area_mm2 < 0.0 => ChangeKind::Saving,
            Some(_) => ChangeKind::Nothing,
        }
    }

    /// The kind, and the score within that kind; higher is better.
    fn rank(&self) -> (ChangeKind, f64) {
        let gain = self.gain_percent.unwrap_or(0.0);
        let kind = self.kind();
        let by = match kind {
            ChangeKind::Free | ChangeKind::Nothing => gain,
            ChangeKind::Gain => gain / self.area_mm2,
            ChangeKind::Saving => -self.area_mm2 / (-gain).max(NOTHING),
            ChangeKind::Price => self.swing,
            ChangeKind::Unknown => 0.0,
        };
        (kind, by)
    }
}
