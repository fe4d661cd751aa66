//! `advise`: what one step of each parameter of the machine would gain or cost, ranked by the gain per area.

mod print;

use super::args::{Advise, Compilation};
use super::build;
use super::failure::Failure;
use super::stages::Stages;
use super::{machine, output};
use rayon::prelude::*;
use scnn_isa::machine::Machine;
use scnn_simulator::timing::Timing;
use scnnc::compile::{self, Stage};
use scnnc::map::Objective;
use scnnc_driver::advise::{Baseline, Costs, Direction, Prediction, Step, area_mm2, steps};
use scnnc_driver::samples_or_noise;
use scnnc_driver::sweep::{Fidelity, Outcome, Subject, Task, compute};
use serde::Serialize;
use std::path::Path;

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Advice {
    machine: String,
    mapping: &'static str,
    objective: &'static str,
    /// Area of the machine, mm2.
    area_mm2: f64,
    models: Vec<Model>,
    /// The steps, best first.
    steps: Vec<Advised>,
}

/// A model on the machine as it is.
#[derive(Debug, Serialize)]
struct Model {
    name: String,
    samples: u32,
    #[serde(flatten)]
    costs: Costs,
}

/// A step.
#[derive(Debug, Serialize)]
struct Advised {
    parameter: String,
    unit: &'static str,
    from: String,
    to: String,
    direction: Direction,
    /// What it adds to the area, mm2.
    area_mm2: f64,
    /// Share of the objective that it saves, %: geometric mean over the models, in time and not in cycles. None where a
    /// model needs a run.
    gain_percent: Option<f64>,
    /// The same per mm2 that it adds.
    gain_percent_per_mm2: Option<f64>,
    /// By model.
    models: Vec<Effect>,
    /// How far it moves energy and area, in shares of theirs.
    #[serde(skip)]
    swing: f64,
}

/// What a step does to a model.
#[derive(Debug, Serialize)]
struct Effect {
    predicted: Prediction,
    /// What a run says: with `--measure`, and where the network is small.
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<Measured>,
}

/// A run of a step.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Measured {
    Costs(Costs),
    Failed(String),
}

impl Effect {
    /// What is known best.
    fn costs(&self) -> Option<Costs> {
        match (&self.measured, &self.predicted) {
            (Some(Measured::Costs(costs)), _) | (None, Prediction::Costs(costs)) => Some(*costs),
            _ => None,
        }
    }

    /// Why nothing is known.
    fn reason(&self) -> Option<&str> {
        match (&self.measured, &self.predicted) {
            (Some(Measured::Failed(reason)), _) | (None, Prediction::NeedsRun(reason)) => {
                Some(reason)
            }
            _ => None,
        }
    }
}

/// A network of at most so many multiplications in all samples is small: a tenth of a second.
const SMALL: u64 = 20_000_000;

/// `scnnc advise`.
pub fn advise(options: &Advise) -> Result<(), Failure> {
    if options.models.len() > 1 && !options.input.is_empty() {
        return Err(Failure::usage("`--input` is of a single model"));
    }
    let compilation = &options.compilation;
    let base = machine::of_model(&compilation.machine)?;
    let mut steps = steps(&base);
    let wanted = |step: &Step| {
        let mut only = options.only.iter();
        options.only.is_empty() || only.any(|path| step.parameter.starts_with(path.as_str()))
    };
    steps.retain(wanted);
    if steps.is_empty() {
        return Err(Failure::usage(
            "`--only` leaves no parameter; `scnnc machine show` lists them",
        ));
    }
    let mut models = Vec::new();
    let mut effects: Vec<Vec<Effect>> = steps.iter().map(|_| Vec::new()).collect();
    let more = 2 + usize::from(options.measure);
    let pruning = usize::from(compilation.pruning.says_how_much());
    let count = options.models.len() * (1 + pruning + Stage::ALL.len() + more);
    let stages = Stages::new(count, compilation.loudness()).with_data(options.json);
    for path in &options.models {
        let (model, of_model) = on_model(path, options, &base, &steps, &stages)?;
        models.push(model);
        for (effects, effect) in effects.iter_mut().zip(of_model) {
            effects.push(effect);
        }
    }
    stages.finish();
    let advice = ranked(&base, compilation, models, steps, effects);
    if options.json {
        output::print_json(&advice);
    } else {
        output::print(&print::text(&advice));
    }
    Ok(())
}

/// A model on the machine as it is, and the effect of every step.
fn on_model(
    path: &Path,
    options: &Advise,
    base: &Machine,
    steps: &[Step],
    stages: &Stages,
) -> Result<(Model, Vec<Effect>), Failure> {
    let compilation = &options.compilation;
    let (imported, mut given) = build::open_with(path, compilation, &options.input, stages)?;
    given.truncate(options.samples);
    let (imported, pruning) = build::pruned(path, imported, compilation, &given, base, stages)?;
    let (mut choices, _) = build::options(&imported, compilation, &given, base.clone())?;
    choices.pruning = pruning;
    let compiled = compile::compile_imported(imported.clone(), &choices, &mut build::Told(stages));
    let compiled = compiled.map_err(|e| Failure::compile(path, &e))?;
    build::warn_of_noise(&choices, stages);
    stages.begin("simulate");
    let samples = samples_or_noise(&compiled, given.clone(), choices.seed);
    let report = scnnc_driver::report(&compiled, &samples, Timing::Exact)
        .map_err(|e| Failure::run(path, &e))?;
    stages.begin("predict");
    let baseline = Baseline {
        compiled: &compiled,
        options: &choices,
        report: &report,
    };
    let predicted: Vec<Prediction> = steps
        .par_iter()
        .map(|step| baseline.predict(step))
        .collect();
    // A small network takes no longer to run than to map, and what the model leaves out is a larger part of it.
    let small = report.totals.multiplies.issued <= SMALL;
    let wanted = |step: &&Step| options.measure || (small && baseline.moves_work(step));
    let subject = Subject {
        imported,
        options: choices.clone(),
        samples: given,
        labels: None,
    };
    let measured = measure(&subject, steps, &wanted, stages);
    let model = Model {
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

/// Runs the steps that are wanted.
fn measure(
    subject: &Subject,
    steps: &[Step],
    wanted: &dyn Fn(&&Step) -> bool,
    stages: &Stages,
) -> Vec<Option<Measured>> {
    let task = |(point, step): (usize, &Step)| Task {
        point,
        subject: 0,
        machine: step.machine.clone(),
        mapping: subject.options.mapping,
        widths: subject.options.quantise.widths.clone(),
        fidelity: Fidelity::Exact,
    };
    let tasks = steps.iter().enumerate().filter(|(_, step)| wanted(step));
    let tasks: Vec<Task> = tasks.map(task).collect();
    let mut measured = vec![None; steps.len()];
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
            Outcome::Measured { network, .. } => Measured::Costs(Costs {
                cycles: network.cycles,
                energy_pj: network.energy_pj,
            }),
            Outcome::Failed(failed) => Measured::Failed(failed.message),
        });
        Ok(())
    };
    let threads = rayon::current_num_threads();
    let Ok(()) = compute(&tasks, threads, &|_| Ok(subject.clone()), &mut done);
    measured
}

/// The steps with what they gain, best first: gains that take no area by their size, others by their size per area, then
/// the steps that gain nothing by what they lose.
fn ranked(
    base: &Machine,
    compilation: &Compilation,
    models: Vec<Model>,
    steps: Vec<Step>,
    effects: Vec<Vec<Effect>>,
) -> Advice {
    let objective = build::mapping_options(compilation).objective;
    let area = area_mm2(base);
    let advised = steps.into_iter().zip(effects).map(|(step, effects)| {
        let added = ((area_mm2(&step.machine) - area) * 1e6).round() / 1e6;
        let gain = gain(base, &step.machine, objective, &models, &effects);
        let change = |(model, effect): (&Model, &Effect)| {
            let costs = effect.costs().unwrap_or(model.costs);
            (costs.energy_pj / model.costs.energy_pj - 1.0).abs()
        };
        let swing = models.iter().zip(&effects).map(change).fold(0.0, f64::max);
        Advised {
            swing: swing + added.abs() / area,
            parameter: step.parameter,
            unit: step.unit,
            from: step.from,
            to: step.to,
            direction: step.direction,
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
        steps: advised,
    }
}

/// Share of the objective that a step saves, %.
fn gain(
    base: &Machine,
    machine: &Machine,
    objective: Objective,
    models: &[Model],
    effects: &[Effect],
) -> Option<f64> {
    let score = |costs: Costs, machine: &Machine| {
        let time = costs.cycles / machine.clock.gigahertz;
        match objective {
            Objective::Cycles => time,
            Objective::Energy => costs.energy_pj,
            Objective::EnergyDelay => time * costs.energy_pj,
        }
    };
    let mut logarithms = 0.0;
    for (model, effect) in models.iter().zip(effects) {
        logarithms += (score(effect.costs()?, machine) / score(model.costs, base)).ln();
    }
    Some(100.0 * (1.0 - (logarithms / models.len() as f64).exp()))
}

/// Less than this is no gain and no loss, %.
const NOTHING: f64 = 0.05;

/// What kind of step it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It gains, and takes no area of the model.
    Free,
    /// It gains, for area.
    Gain,
    /// It loses, or changes nothing, and saves area.
    Saving,
    /// It gains nothing.
    Nothing,
    /// It changes a price of the tables and not the machine.
    Price,
    /// Nobody knows without a run.
    Unknown,
}

impl Advice {
    /// The steps of a kind.
    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Advised> {
        self.steps.iter().filter(move |step| step.kind() == kind)
    }
}

impl Advised {
    fn kind(&self) -> Kind {
        if ["energy.", "area."]
            .iter()
            .any(|section| self.parameter.starts_with(section))
        {
            return Kind::Price;
        }
        match self.gain_percent {
            None => Kind::Unknown,
            Some(gain) if gain >= NOTHING && self.area_mm2 <= 0.0 => Kind::Free,
            Some(gain) if gain >= NOTHING => Kind::Gain,
            Some(_) if self.area_mm2 < 0.0 => Kind::Saving,
            Some(_) => Kind::Nothing,
        }
    }

    /// Its kind, and what it is ranked by there, more is better.
    fn rank(&self) -> (Kind, f64) {
        let gain = self.gain_percent.unwrap_or(0.0);
        let kind = self.kind();
        let by = match kind {
            Kind::Free | Kind::Nothing => gain,
            Kind::Gain => gain / self.area_mm2,
            Kind::Saving => -self.area_mm2 / (-gain).max(NOTHING),
            Kind::Price => self.swing,
            Kind::Unknown => 0.0,
        };
        (kind, by)
    }
}
