//! Densities by layer, found for an accuracy that has to be kept.
//!
//! Where weights of small square go, the error at the outputs grows about in proportion to the squares that went. So
//! one probe of every layer tells what a unit of its squares costs, and for any price `p` of an error against a
//! multiplication saved, a weight goes when
//!
//! ```text
//! w^2 * cost of the layer's squares < p * multiplications for the weight
//! ```
//!
//! The price is then found by bisection, on what the float model with **all** layers pruned to it is measured to do;
//! the estimate only decides how layers share. What is found is measured once more on the integer network, and the
//! price lowered until that holds too. Pruning nothing always does.

use super::pattern::{self, Pattern};
use super::{Outputs, PruneError, Subject, apply, compare, outputs};
use crate::compile::Sample;
use crate::import::Imported;
use crate::reference::accuracy::{Batch, correct};
use std::fmt;
use std::str::FromStr;

/// What has to be kept, on the calibration samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// The integer network's signal-to-noise ratio falls by so many dB at most.
    Loss(f64),
    /// The integer network has a signal-to-noise ratio of so many dB at least, against the unpruned float model.
    Sqnr(f64),
    /// The integer network's top-1 accuracy is at most so many points (percent) below the unpruned float model's.
    Top1(f64),
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss(db) => write!(f, "{db}dB"),
            Self::Sqnr(db) => write!(f, "sqnr={db}dB"),
            Self::Top1(points) => write!(f, "top1={points}%"),
        }
    }
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |word: &str, unit: &str| {
            let number = word.strip_suffix(unit)?.trim().parse::<f64>().ok()?;
            (number >= 0.0 && number.is_finite()).then_some(number)
        };
        let budget = match text.split_once('=') {
            None => number(text, "dB").map(Self::Loss),
            Some(("sqnr", word)) => number(word, "dB").map(Self::Sqnr),
            Some(("top1", word)) => number(word, "%").map(Self::Top1),
            Some(_) => None,
        };
        budget.ok_or_else(|| {
            format!("`{text}` is no budget: give 1dB (lost), sqnr=30dB (kept) or top1=0.5% (lost)")
        })
    }
}

/// What the integer network computes for the samples when the model is pruned so.
pub type Integer<'a> = dyn Fn(Imported) -> Result<Vec<Outputs>, String> + 'a;

/// What judges pruned models.
pub struct Judge<'a> {
    /// The calibration samples.
    pub samples: &'a [Sample],
    /// Classes of their images, one after the other.
    pub labels: Option<&'a [usize]>,
    /// The integer network, which only budgets ask for.
    pub integer: &'a Integer<'a>,
}

/// How good a model is on the samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Signal over noise at the outputs against the unpruned float model, dB; infinite when nothing differs.
    pub sqnr_db: f64,
    /// Images whose class is that of their label, where there are labels.
    pub correct: Option<usize>,
}

/// What a search measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// What was asked.
    pub budget: Budget,
    /// The unpruned float model.
    pub float: Score,
    /// The unpruned integer network.
    pub unpruned: Score,
    /// The pruned integer network.
    pub pruned: Score,
    /// Samples that all this was measured on.
    pub samples: usize,
    /// Images in them.
    pub images: usize,
}

/// What a search found.
pub(crate) struct Found {
    /// The density of every layer; `None` leaves one as it is.
    pub targets: Vec<Option<f64>>,
    pub outcome: Outcome,
}

/// Steps of the bisection: the price to a thousandth of its span of ten decades.
const STEPS: usize = 12;
const DECADES: f64 = 10.0;
/// How often the price is lowered, and to what of it, until the integer network holds what the float model does.
const RETREATS: usize = 12;
const RETREAT: f64 = 0.8;

/// A search for densities that keep a budget.
pub(crate) struct DensitySearch<'a> {
    pub imported: &'a Imported,
    pub subjects: &'a [Subject],
    pub pattern: Pattern,
    pub budget: Budget,
    pub judge: &'a Judge<'a>,
    /// Outputs of the unpruned float model.
    pub reference: &'a [Outputs],
}

/// What is measured of the unpruned network.
struct Unpruned {
    float: Score,
    integer: Score,
    /// What a unit of every layer's squares costs, as noise over signal.
    costs: Vec<f64>,
}

impl DensitySearch<'_> {
    /// Searches.
    ///
    /// # Errors
    /// A model that does not run, or labels that are missing.
    pub fn run(&self, progress: &mut dyn FnMut(usize, usize)) -> Result<Found, PruneError> {
        if matches!(self.budget, Budget::Top1(_)) && self.judge.labels.is_none() {
            return Err(PruneError::Unlabelled);
        }
        let steps = self.subjects.len() + STEPS + 2;
        let mut unpruned = Unpruned {
            float: self.score(self.reference),
            integer: self.integer(self.imported.clone())?,
            costs: Vec::new(),
        };
        progress(1, steps);
        for index in 0..self.subjects.len() {
            unpruned.costs.push(self.probe(index)?);
            progress(index + 2, steps);
        }
        let mut best = None;
        let most = self.price_of_everything(&unpruned.costs);
        let (mut low, mut high) = (-DECADES, 0.0);
        for step in 0..STEPS {
            let middle = f64::midpoint(low, high);
            let price = most * 10f64.powf(middle);
            let score = self.float(&self.targets(price, &unpruned.costs))?;
            if self.float_keeps(&unpruned, &score) {
                best = Some(price);
                low = middle;
            } else {
                high = middle;
            }
            progress(self.subjects.len() + step + 2, steps);
        }
        let found = self.confirm(&unpruned, best)?;
        progress(steps, steps);
        Ok(found)
    }

    /// What a unit of a layer's squares costs, from pruning half of what it has.
    fn probe(&self, index: usize) -> Result<f64, PruneError> {
        let subject = &self.subjects[index];
        let half = pattern::density(&subject.weights) / 2.0;
        let weights = subject.pruned(self.pattern, half);
        let lost = pattern::energy(&subject.weights) - pattern::energy(&weights);
        let mut targets = vec![None; self.subjects.len()];
        targets[index] = Some(half);
        let noise = noise(self.float(&targets)?.sqnr_db);
        Ok(if lost > 0.0 { noise / lost } else { 0.0 })
    }

    /// The price at which every weight goes.
    fn price_of_everything(&self, costs: &[f64]) -> f64 {
        let prices = self.subjects.iter().zip(costs).map(|(subject, cost)| {
            let largest = subject.weights.iter().fold(0f32, |m, w| m.max(w.abs()));
            f64::from(largest).powi(2) * cost / subject.macs_per_weight.max(f64::MIN_POSITIVE)
        });
        prices.fold(f64::MIN_POSITIVE, f64::max)
    }

    /// The density of every layer at a price. Something is left of each.
    fn targets(&self, price: f64, costs: &[f64]) -> Vec<Option<f64>> {
        let target = |(subject, cost): (&Subject, &f64)| {
            let threshold = price * subject.macs_per_weight / cost.max(f64::MIN_POSITIVE);
            let (weights, layout) = (&subject.weights, &subject.site.layout);
            let density = pattern::density_at(weights, layout, self.pattern, threshold);
            let least = 1.0 / weights.len().max(1) as f64;
            (density < pattern::density(weights)).then_some(density.max(least))
        };
        self.subjects.iter().zip(costs).map(target).collect()
    }

    /// Whether a float model of that score leaves what quantisation adds inside the budget.
    fn float_keeps(&self, unpruned: &Unpruned, score: &Score) -> bool {
        let sqnr_db = match self.budget {
            Budget::Loss(_) | Budget::Sqnr(_) => {
                let both = noise(score.sqnr_db) + noise(unpruned.integer.sqnr_db);
                -10.0 * both.log10()
            }
            Budget::Top1(_) => score.sqnr_db,
        };
        self.keeps(unpruned, &Score { sqnr_db, ..*score })
    }

    fn keeps(&self, unpruned: &Unpruned, score: &Score) -> bool {
        match self.budget {
            Budget::Loss(db) => score.sqnr_db >= unpruned.integer.sqnr_db - db,
            Budget::Sqnr(db) => score.sqnr_db >= db,
            Budget::Top1(points) => {
                let (Some(before), Some(now)) = (unpruned.float.correct, score.correct) else {
                    return false;
                };
                let lost = before as f64 - now as f64;
                100.0 * lost <= points * self.images() as f64 + 1e-9
            }
        }
    }

    /// Measures the integer network, and lowers the price until it keeps the budget.
    fn confirm(&self, unpruned: &Unpruned, best: Option<f64>) -> Result<Found, PruneError> {
        let found = |targets, pruned| Found {
            targets,
            outcome: Outcome {
                budget: self.budget,
                float: unpruned.float,
                unpruned: unpruned.integer,
                pruned,
                samples: self.reference.len(),
                images: self.images(),
            },
        };
        let mut price = best.unwrap_or(0.0);
        for _ in 0..RETREATS {
            let targets = self.targets(price, &unpruned.costs);
            if targets.iter().all(Option::is_none) {
                break;
            }
            let pruned = apply(self.imported, self.subjects, self.pattern, &targets)?;
            let score = self.integer(pruned)?;
            if self.keeps(unpruned, &score) {
                return Ok(found(targets, score));
            }
            price *= RETREAT;
        }
        Ok(found(vec![None; self.subjects.len()], unpruned.integer))
    }

    /// The float model with layers pruned to `targets`.
    fn float(&self, targets: &[Option<f64>]) -> Result<Score, PruneError> {
        let pruned = apply(self.imported, self.subjects, self.pattern, targets)?;
        Ok(self.score(&outputs(&pruned, self.judge.samples)?))
    }

    fn integer(&self, imported: Imported) -> Result<Score, PruneError> {
        let outputs = (self.judge.integer)(imported).map_err(PruneError::Judge)?;
        Ok(self.score(&outputs))
    }

    fn score(&self, ours: &[Outputs]) -> Score {
        let batch = self.batch();
        let correct = self.judge.labels.map(|labels| {
            let first = self.imported.graph.outputs.first().map(|(name, _)| name);
            let outputs = ours.iter().map(|outputs| outputs.get(first?));
            let samples = outputs.zip(labels.chunks(batch.images()));
            samples
                .filter_map(|(output, labels)| Some(correct(output?, batch, labels)))
                .sum()
        });
        Score {
            sqnr_db: compare(ours, self.reference, batch).sqnr_db(),
            correct,
        }
    }

    fn batch(&self) -> Batch {
        Batch::of_graph(&self.imported.graph)
    }

    /// Images of all samples.
    fn images(&self) -> usize {
        self.reference.len() * self.batch().images()
    }
}

/// Noise over signal.
fn noise(sqnr_db: f64) -> f64 {
    10f64.powf(-sqnr_db / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_as_they_are_written() {
        for text in ["1dB", "sqnr=30dB", "top1=0.5%"] {
            assert_eq!(text.parse::<Budget>().unwrap().to_string(), text);
        }
        for text in ["1", "1%", "top1=1dB", "top5=1%", "-1dB", "sqnr=xdB"] {
            assert!(text.parse::<Budget>().is_err(), "{text}");
        }
    }
}
