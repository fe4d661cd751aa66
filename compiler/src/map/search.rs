//! The search: the mapping of a whole network by the cost model.
//!
//! Layers do not choose alone: the layout of a tensor serves all that read it. So the choice is made per tensor
//! ([`choices`]), from the best few that each tensor has when it is looked at alone:
//!
//! 1. **Place** all tensors ([`super::residency`]), each under its best choice for a place in a RAM. Those that got
//!    none choose again with their loads counted, and all are placed anew, until nothing changes.
//! 2. **Predict** every layer whole, with its traffic.
//! 3. **Compare** with the paper's mapping, layer by layer, where weights are broadcast and cycles are the objective.
//!    Where a layer does not gain, its source (or else its destination) takes its next best choice, in the end the
//!    paper's; and again from 1. Layers may be slower only in a mapping of step 7, and where the network gains a hundredth by
//!    it.
//! 4. **Improve**: tensor by tensor, take another choice if the whole network gains by it.
//! 5. **Spill**: place tensors larger than a RAM in it and spill the excess, and choose again, where that gains.
//! 6. **Finish**: linearise weights in the other order, where that gains.
//! 7. **Look further**: find the choices for the other objectives as well, and take what comes of them where it is better by
//!    the search's own. For cycles, only where traffic takes more than a quarter of them or the mapping gains less than 3 % over
//!    the paper's: tensors that choose by energy keep clear of DRAM, and choose otherwise. And only in networks of at most
//!    256 layers: the time of a solution grows faster than they do.
//!
//! The result does not depend on the number of threads.

pub mod choice;
pub mod choices;
mod solve;
mod traffic;

use super::contents::Contents;
use super::cost::{Candidate, Cost, Depth, Measured, Positions, Traffic};
use super::occupancy::Occupancy;
use super::residency::Residency;
use super::residency::resident_room;
use super::tiling::{Tiling, reserved};
use super::weights::{BlockSizes, taps_of_residues};
use super::{LayerMapping, MapError, Mapped, Objective, map_paper_layer};
use crate::quantise::{Operation, Quantised};
use choice::Choice;
use choices::Chooser;
use rayon::prelude::*;
use scnn_isa::ids::TensorId;
use scnn_isa::layer::WeightOrder;
use scnn_isa::layout::{Grid, Layout};
use scnn_isa::machine::{Delivery, LayerSync, Machine};
use scnn_isa::plane::Span;
use scnn_isa::progress::Progress;
use solve::{Problem, Solved};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use traffic::{Writers, writers};

/// The network and what is known of it.
pub struct Search<'a> {
    /// The network.
    pub network: &'a Quantised,
    /// The machine.
    pub machine: &'a Machine,
    /// Where activations are not zero.
    pub occupancy: &'a Occupancy,
    /// Minimised by the search.
    pub objective: Objective,
    /// Non-zero weights of every output channel, by operation.
    pub per_output: Vec<Vec<u64>>,
    /// By tensor: whether it crosses the host's border.
    visible: Vec<bool>,
    /// By tensor.
    writers: Vec<Writers>,
    /// The paper's mapping, where it is compared with.
    paper: Option<MappingDraft>,
    /// The choices that a search on a machine of the same blocks explored.
    explored: Option<&'a Explored>,
}

/// A mapping with layers that are slower than under the paper's is taken, where weights are broadcast, when the network takes at
/// most this share of the cycles of the best one without.
const SLOWER_LAYERS_GAIN: f64 = 0.99;

/// Layers up to which the search for cycles looks at the choices for other objectives.
const MANY_LAYERS: usize = 256;

/// The choices that a search explored, from which one on a machine that differs little begins.
pub struct Explored {
    machine: Machine,
    paper: MappingDraft,
    /// By objective that was searched, then by tensor.
    choices: Vec<Vec<Vec<Choice>>>,
}

/// An operation, the choice for its source, and its traffic.
type CostKey = (usize, Option<usize>, Traffic);

/// Costs of layers that were predicted before.
type CostCache = BTreeMap<CostKey, Cost>;

/// A complete mapping under consideration.
#[derive(Clone)]
struct MappingDraft {
    tiling: Tiling,
    residency: Residency,
    layers: Vec<Option<LayerMapping>>,
    /// By operation, counts of the array's work; none where there is no such work or it was not counted yet.
    measured: Vec<Option<Arc<Measured>>>,
}

/// A mapping as predictions read it: a draft, or a finished mapping.
struct Drafted<'a> {
    layouts: &'a [Layout],
    residency: &'a Residency,
    layers: &'a [Option<LayerMapping>],
    contents: &'a [Arc<Contents>],
    /// By operation, counts of the array's work; empty if nothing was counted yet.
    measured: &'a [Option<Arc<Measured>>],
}

impl<'a> Drafted<'a> {
    /// A finished mapping, of whose layers nothing is measured yet.
    fn of(mapped: &'a Mapped, contents: &'a [Arc<Contents>]) -> Self {
        Self {
            layouts: &mapped.layouts,
            residency: &mapped.residency,
            layers: &mapped.layers,
            contents,
            measured: &[],
        }
    }
}

/// A way to solve for a mapping among choices.
struct Attempt {
    /// Minimised by the attempt.
    objective: Objective,
    /// Whether no layer may be slower than under the paper's mapping.
    strict: bool,
}

impl Attempt {
    /// All of them for the choices by an objective, its own first; where weights are broadcast, the fastest without slower layers
    /// as well.
    fn all(choices: Objective, broadcast: bool) -> impl Iterator<Item = Self> {
        let of = |strict| move |&objective: &Objective| Self { objective, strict };
        let strict: &[Objective] = match choices {
            Objective::Cycles if broadcast => &[Objective::Cycles],
            _ => &[],
        };
        let free = choices.searched().iter().map(of(false));
        strict.iter().map(of(true)).chain(free)
    }
}

impl<'a> Search<'a> {
    /// Prepares the search.
    pub fn new(
        network: &'a Quantised,
        machine: &'a Machine,
        occupancy: &'a Occupancy,
        objective: Objective,
    ) -> Self {
        let per_output = network
            .nonzeros
            .par_iter()
            .map(|weights| {
                weights
                    .as_ref()
                    .map_or_else(Vec::new, |weights| weights.per_output())
            })
            .collect();
        Self {
            objective,
            per_output,
            ..Self::predicting(network, machine, occupancy)
        }
    }

    /// Prepares predictions under mappings that are known, without the counts that only choices need.
    pub(super) fn predicting(
        network: &'a Quantised,
        machine: &'a Machine,
        occupancy: &'a Occupancy,
    ) -> Self {
        let mut visible = vec![false; network.tensors.len()];
        for tensor in network.values.iter().filter_map(|value| value.tensor) {
            visible[tensor.index()] = true;
        }
        Self {
            network,
            machine,
            occupancy,
            objective: Objective::Cycles,
            per_output: Vec::new(),
            visible,
            writers: writers(network),
            paper: None,
            explored: None,
        }
    }

    /// Prepares a search that begins with what another explored, on a machine of the same blocks.
    pub(super) fn beginning_with(
        network: &'a Quantised,
        machine: &'a Machine,
        occupancy: &'a Occupancy,
        objective: Objective,
        explored: &'a Explored,
    ) -> Self {
        Self {
            objective,
            explored: Some(explored),
            ..Self::predicting(network, machine, occupancy)
        }
    }

    /// The paper's mapping, with the model's prediction.
    ///
    /// # Errors
    /// A layer whose smallest tile does not fit the accumulators.
    pub fn paper(&self) -> Result<Mapped, MapError> {
        let mut draft = self.paper_draft()?;
        self.take_free_room(&mut draft);
        let predicted = self.predict(&draft.view());
        Ok(draft.mapped(predicted))
    }

    /// The best mapping found.
    ///
    /// # Errors
    /// See [`Search::paper`].
    pub fn run(self, progress: &dyn Progress) -> Result<Mapped, MapError> {
        self.searched(progress, &mut |_, _| {})
    }

    /// The best mapping found, and what was explored for it.
    ///
    /// # Errors
    /// See [`Search::paper`].
    pub fn explore(self, progress: &dyn Progress) -> Result<(Mapped, Explored), MapError> {
        let (machine, mut explored) = (self.machine, None::<Explored>);
        let mapped = self.searched(progress, &mut |paper, choices| {
            let explored = explored.get_or_insert_with(|| Explored {
                machine: machine.clone(),
                paper: paper.clone(),
                choices: Vec::new(),
            });
            explored.choices.push(choices);
        })?;
        let explored = explored.expect("every objective searches for one, itself");
        Ok((mapped, explored))
    }

    /// The best mapping found; `keep` takes the paper's and the choices of every objective that is searched.
    ///
    /// Every objective compares the same mappings, the choices for each solved by each, so none is served better by another's.
    /// For cycles, the first one ends the search where it suffices.
    fn searched(
        mut self,
        progress: &dyn Progress,
        keep: &mut dyn FnMut(&MappingDraft, Vec<Vec<Choice>>),
    ) -> Result<Mapped, MapError> {
        let objective = self.objective;
        let mut paper = match self.explored {
            Some(explored) if explored.has_tiles_of(self.machine) => {
                self.timed_anew(&explored.paper)
            }
            _ => self.paper_draft()?,
        };
        let paper_costs = self.predict(&paper.view());
        self.paper = Some(paper.clone());
        let score = |costs: &[Option<Cost>]| objective.score(&total(costs));
        let fastest = objective == Objective::Cycles;
        let broadcast = self.machine.weights.delivery == Delivery::Broadcast;
        let gain = if fastest && broadcast {
            SLOWER_LAYERS_GAIN
        } else {
            1.0
        };
        let mut best: Option<Solved> = None;
        let mut suffices = false;
        let layers = self.network.operations.iter();
        let has_many_layers = layers
            .filter(|operation| matches!(operation, Operation::Layer(_)))
            .count()
            > MANY_LAYERS;
        for (number, &other) in objective.searched().iter().enumerate() {
            self.objective = other;
            let choices = self.choices(number, progress);
            for attempt in Attempt::all(other, broadcast) {
                self.objective = attempt.objective;
                let strict = attempt.strict;
                let solved = self.solved((&paper, &paper_costs), &choices, strict, progress);
                let first = best.is_none();
                if let Some(solved) = solved
                    && best.as_ref().is_none_or(|best| {
                        score(&solved.mapped.predicted) < score(&best.mapped.predicted) * gain
                    })
                {
                    best = Some(solved);
                }
                let enough = |best: &Solved| has_many_layers || best.suffices(score(&paper_costs));
                suffices = fastest && first && best.as_ref().is_some_and(enough);
                if suffices {
                    break;
                }
            }
            keep(&paper, choices);
            if suffices {
                break;
            }
        }
        Ok(match best.map(|best| best.mapped) {
            Some(mapped) if score(&mapped.predicted) <= score(&paper_costs) => mapped,
            _ => {
                self.take_free_room(&mut paper);
                paper.mapped(paper_costs)
            }
        })
    }

    /// By tensor, the choices for the present objective, the `number`th that is searched: those that were explored, as far as
    /// this machine admits them, at its costs; or all that are promising, as where the other search stopped before this objective.
    fn choices(&self, number: usize, progress: &dyn Progress) -> Vec<Vec<Choice>> {
        let chooser = Chooser::new(self);
        if let Some(explored) = self.explored
            && let Some(known) = explored.choices.get(number)
        {
            let tensors = known.par_iter().enumerate();
            let anew = |(index, known): (usize, &Vec<Choice>)| {
                chooser.anew(TensorId(index as u32), known, explored)
            };
            return tensors.map(anew).collect();
        }
        let names = self.names();
        let begun = AtomicUsize::new(0);
        let choices = |index: u32| {
            let number = 1 + begun.fetch_add(1, Ordering::Relaxed);
            progress.layer(number, names.len(), names[index as usize]);
            chooser.choices(TensorId(index), choices::WHOLE)
        };
        (0..self.network.tensors.len() as u32)
            .into_par_iter()
            .map(choices)
            .collect()
    }

    /// The best mapping of `choices` by the present objective, with the paper's and its costs to compare with; if `strict`,
    /// none when every one has a layer that is slower than there.
    fn solved(
        &self,
        (paper, paper_costs): (&MappingDraft, &[Option<Cost>]),
        choices: &[Vec<Choice>],
        strict: bool,
        progress: &dyn Progress,
    ) -> Option<Solved> {
        let problem = Problem {
            search: self,
            paper,
            paper_costs,
            choices,
            names: &self.names(),
            progress,
            strict,
        };
        problem.solve()
    }

    /// By tensor, the layer whose mapping its tiling is for: the first that reads it, or else the last that writes it.
    fn names(&self) -> Vec<&str> {
        let tensors = self.network.tensors.iter();
        let mut names: Vec<&str> = tensors.map(|tensor| tensor.name.as_str()).collect();
        for layer in self.network.layers() {
            names[layer.destination.tensor.index()] = &layer.name;
        }
        for layer in self.network.layers().rev() {
            names[layer.source.tensor.index()] = &layer.name;
        }
        names
    }

    /// The draft, which another machine with the same tiles and blocks made, with the costs of this one.
    fn timed_anew(&self, draft: &MappingDraft) -> MappingDraft {
        let mut draft = draft.clone();
        let measured = (0..draft.layers.len()).map(|operation| {
            let measured = draft.measured[operation].as_ref()?;
            let candidate = self.candidate(&draft.view(), operation)?;
            Some(Arc::new(candidate.measure_anew(measured)))
        });
        draft.measured = measured.collect();
        draft
    }

    fn paper_draft(&self) -> Result<MappingDraft, MapError> {
        let count = |tensor, layout: &Layout| self.contents(tensor, layout);
        let tiling = Tiling::paper(self.network, self.machine, count)?;
        let residency = Residency::plan(self.network, self.machine, &tiling);
        let layers: Vec<Option<LayerMapping>> = self
            .network
            .operations
            .iter()
            .map(|operation| match operation {
                Operation::Layer(layer) => {
                    map_paper_layer(self.network, self.machine, &tiling, layer).map(Some)
                }
                Operation::Host(_) => Ok(None),
            })
            .collect::<Result<_, _>>()?;
        let mut draft = MappingDraft {
            tiling,
            residency,
            measured: vec![None; layers.len()],
            layers,
        };
        draft.measured = (0..draft.layers.len())
            .into_par_iter()
            .map(|operation| self.measured(&draft.view(), operation))
            .collect();
        Ok(draft)
    }

    /// Grows every region into the free room beside it: nothing more spills on the sample, and less on other inputs.
    fn take_free_room(&self, draft: &mut MappingDraft) {
        let (network, machine) = (self.network, self.machine);
        draft.residency = draft.residency.grown(network, machine, &draft.tiling);
    }

    /// Contents of the tiles of a layout.
    pub fn contents(&self, tensor: TensorId, layout: &Layout) -> Arc<Contents> {
        let format = self.machine.activation_format();
        let counts = self.occupancy.count(tensor, layout, format);
        let width = self.machine.pe.activations_per_vector;
        Arc::new(Contents::of(&counts, format, width))
    }

    /// By tensor, the contents of its tiles.
    pub fn all_contents(&self, layouts: &[Layout]) -> Vec<Arc<Contents>> {
        layouts
            .par_iter()
            .enumerate()
            .map(|(index, layout)| self.contents(TensorId(index as u32), layout))
            .collect()
    }

    /// By operation, the key of a layer of a draft in the cache of costs.
    fn keys(&self, draft: &MappingDraft, chosen: &[Option<usize>]) -> Vec<Option<CostKey>> {
        let view = draft.view();
        let operations = self.network.operations.iter().enumerate();
        let key = |(operation, described): (usize, &Operation)| match described {
            Operation::Layer(layer) => Some((
                operation,
                chosen[layer.source.tensor.index()],
                self.traffic(&view, operation, layer),
            )),
            Operation::Host(_) => None,
        };
        operations.map(key).collect()
    }

    /// The model's prediction of every layer of a draft, through the cache of costs.
    fn predict_known(
        &self,
        draft: &MappingDraft,
        keys: &[Option<CostKey>],
        known: &mut CostCache,
    ) -> Vec<Option<Cost>> {
        let missing: Vec<usize> = (0..keys.len())
            .filter(|&operation| keys[operation].is_some_and(|key| !known.contains_key(&key)))
            .collect();
        for (operation, cost) in self.predict_operations(&draft.view(), &missing) {
            if let Some(key) = keys[operation] {
                known.insert(key, cost);
            }
        }
        keys.iter()
            .map(|key| known.get(key.as_ref()?).copied())
            .collect()
    }

    /// Lower bound of the cost of a draft: of each layer its cost if that is known, else its bound without waiting, and no
    /// less than with nothing to move.
    fn lower_bound(
        &self,
        draft: &MappingDraft,
        keys: &[Option<CostKey>],
        known: &CostCache,
    ) -> Cost {
        let view = draft.view();
        let of_operation = |key: CostKey| {
            if let Some(cost) = known.get(&key) {
                return *cost;
            }
            let (operation, choice, _) = key;
            let without_traffic = known.get(&(operation, choice, Traffic::default()));
            let mut least = without_traffic.copied().unwrap_or_default();
            if let Some(candidate) = self.candidate(&view, operation) {
                let bounded = candidate.bounded(draft.measured[operation].as_deref());
                least.cycles = least.cycles.max(bounded.least.cycles);
                least.energy_pj = least.energy_pj.max(bounded.least.energy_pj);
            }
            least
        };
        let costs: Vec<Option<Cost>> = keys.iter().map(|key| key.map(of_operation)).collect();
        total(&costs)
    }

    /// The model's prediction of every layer of a mapping.
    pub fn predict_mapped(&self, mapped: &Mapped) -> Vec<Option<Cost>> {
        let contents = self.all_contents(&mapped.layouts);
        let operations: Vec<usize> = (0..self.network.operations.len()).collect();
        let mut costs = vec![None; operations.len()];
        for (operation, cost) in self.predict_some(mapped, &contents, &operations) {
            costs[operation] = Some(cost);
        }
        if self.machine.sync.layers == LayerSync::Overlap {
            self.credit_head_starts(mapped, &contents, &mut costs);
        }
        costs
    }

    /// Predicts every layer anew whose weights may be requested while the layer before it drains.
    fn credit_head_starts(
        &self,
        mapped: &Mapped,
        contents: &[Arc<Contents>],
        costs: &mut [Option<Cost>],
    ) {
        let draft = Drafted::of(mapped, contents);
        let head_start = |cost: &Option<Cost>| cost.map_or(0, |cost| cost.head_start);
        let head_starts: Vec<u64> = costs.iter().map(head_start).collect();
        costs
            .par_iter_mut()
            .enumerate()
            .skip(1)
            .for_each(|(operation, cost)| {
                let head_start = head_starts[operation - 1];
                if head_start > 0
                    && cost.is_some()
                    && let Some(candidate) = self.candidate(&draft, operation)
                {
                    let measured = self.measured(&draft, operation);
                    *cost = Some(
                        candidate
                            .bounded(measured.as_deref())
                            .cost_after(head_start),
                    );
                }
            });
    }

    /// The model's prediction of some layers of a mapping; `contents` are those of its tensors.
    pub fn predict_some(
        &self,
        mapped: &Mapped,
        contents: &[Arc<Contents>],
        operations: &[usize],
    ) -> Vec<(usize, Cost)> {
        let draft = Drafted::of(mapped, contents);
        self.predict_operations(&draft, operations)
    }

    /// The model's prediction of a layer of a mapping, if it were mapped otherwise and all else as it is; `contents` is
    /// what the tensors hold.
    pub fn predict_otherwise(
        &self,
        mapped: &Mapped,
        contents: &[Arc<Contents>],
        operation: usize,
        mapping: LayerMapping,
    ) -> Option<Cost> {
        let mut layers = mapped.layers.clone();
        layers[operation] = Some(mapping);
        let draft = Drafted {
            layers: &layers,
            ..Drafted::of(mapped, contents)
        };
        let predicted = self.predict_operations(&draft, &[operation]);
        predicted.into_iter().next().map(|(_, cost)| cost)
    }

    /// The model's prediction of every layer.
    fn predict(&self, draft: &Drafted<'_>) -> Vec<Option<Cost>> {
        let mut costs = vec![None; self.network.operations.len()];
        let operations: Vec<usize> = (0..costs.len()).collect();
        for (operation, cost) in self.predict_operations(draft, &operations) {
            costs[operation] = Some(cost);
        }
        costs
    }

    /// The model's prediction of some layers.
    fn predict_operations(&self, draft: &Drafted<'_>, operations: &[usize]) -> Vec<(usize, Cost)> {
        operations
            .par_iter()
            .filter_map(|&operation| {
                let candidate = self.candidate(draft, operation)?;
                let measured = self.measured(draft, operation);
                Some((operation, candidate.bounded(measured.as_deref()).cost()))
            })
            .collect()
    }

    /// A layer under its mapping in a draft; none where the host has the operation.
    fn candidate<'b>(&'b self, draft: &Drafted<'b>, operation: usize) -> Option<Candidate<'b>> {
        let Operation::Layer(layer) = &self.network.operations[operation] else {
            return None;
        };
        let mapping = draft.layers[operation].as_ref()?;
        let source = layer.source.tensor.index();
        Some(Candidate {
            machine: self.machine,
            layer,
            layout: &draft.layouts[source],
            passes: &mapping.passes,
            contents: &draft.contents[source],
            written: self.writers[source].before(operation),
            channel_groups: &mapping.channel_groups,
            order: mapping.order,
            traffic: self.traffic(draft, operation, layer),
            result_layout: Some(&draft.layouts[layer.destination.tensor.index()]),
            positions: self.positions(operation),
        })
    }

    /// Counts of the array's work for a layer in a draft; none where the layer does not use the array.
    fn measured(&self, draft: &Drafted<'_>, operation: usize) -> Option<Arc<Measured>> {
        let known = draft.measured.get(operation).and_then(Option::as_ref);
        if let Some(measured) = known {
            return Some(Arc::clone(measured));
        }
        let candidate = self.candidate(draft, operation)?;
        let mapping = draft.layers[operation].as_ref()?;
        let residues = candidate.layout.residues;
        let depth = self.depth(operation, mapping, residues);
        let sizes = self.sizes(operation, mapping, residues, depth)?;
        Some(Arc::new(candidate.measure(Arc::new(sizes), depth)))
    }

    /// Positions of the non-zeros of a layer.
    fn positions(&self, operation: usize) -> Option<Positions<'_>> {
        Some(Positions {
            weights: self.network.nonzeros[operation].as_ref()?,
            occupancy: self.occupancy,
        })
    }

    /// The depth to which a layer is counted for its cost.
    fn depth(&self, operation: usize, mapping: &LayerMapping, residues: Grid) -> Depth {
        let Some(weights) = &self.network.nonzeros[operation] else {
            return Depth::Whole;
        };
        let of_round = [
            weights.per_in(),
            residues.count(),
            mapping.pe_groups.count(),
        ];
        let of_round = of_round.into_iter().map(|count| count as usize).product();
        let rounds = mapping.rounds() as usize * mapping.passes.len();
        Depth::bounded(of_round, rounds)
    }

    /// The weight blocks of a layer under a mapping, of the rounds that are counted.
    fn sizes(
        &self,
        operation: usize,
        mapping: &LayerMapping,
        residues: Grid,
        depth: Depth,
    ) -> Option<BlockSizes> {
        let Operation::Layer(layer) = &self.network.operations[operation] else {
            return None;
        };
        let (weights, conv) = (
            self.network.nonzeros[operation].as_ref()?,
            layer.conv.as_ref()?,
        );
        let rounds = depth.rounds(mapping.rounds() as usize);
        let pe_groups = mapping.pe_groups.count() as usize;
        Some(BlockSizes::of(
            weights,
            &mapping.channel_groups,
            mapping.order,
            &taps_of_residues(conv, residues),
            self.machine.weight_format(),
            |group| rounds.binary_search(&(group / pe_groups)).is_ok(),
        ))
    }

    /// Elements of the largest weight block of a layer under a mapping.
    pub fn largest_block(&self, operation: usize, mapping: &LayerMapping, residues: Grid) -> u64 {
        let depth = self.depth(operation, mapping, residues);
        let sizes = self.sizes(operation, mapping, residues, depth);
        let groups = sizes.iter().flat_map(|sizes| &sizes.groups);
        let blocks = groups.flat_map(|(_, blocks)| blocks);
        u64::from(blocks.max().copied().unwrap_or(0))
    }

    /// Whether the host reads or writes a tensor.
    pub fn crosses_border(&self, tensor: TensorId) -> bool {
        self.visible[tensor.index()]
    }

    /// Elements that a RAM holds beside the reserve that staging keeps.
    pub fn ram(&self) -> u64 {
        resident_room(self.machine)
    }
}

impl Explored {
    /// Whether tensors have the same blocks on a machine, and weights the same vectors.
    fn has_blocks_of(&self, machine: &Machine) -> bool {
        let ours = &self.machine;
        ours.activation_format() == machine.activation_format()
            && ours.weight_format() == machine.weight_format()
            && ours.pe.activations_per_vector == machine.pe.activations_per_vector
            && ours.pe.weights_per_vector == machine.pe.weights_per_vector
    }

    /// Whether the paper's mapping is the same on a machine, too.
    fn has_tiles_of(&self, machine: &Machine) -> bool {
        let (ours, theirs) = (&self.machine, machine);
        self.has_blocks_of(machine)
            && (ours.array.clone(), ours.activation_ram.clone())
                == (theirs.array.clone(), theirs.activation_ram.clone())
            && ours.accumulator_entries() == theirs.accumulator_entries()
    }
}

impl MappingDraft {
    fn view(&self) -> Drafted<'_> {
        Drafted {
            layouts: &self.tiling.layouts,
            residency: &self.residency,
            layers: &self.layers,
            contents: self.tiling.contents(),
            measured: &self.measured,
        }
    }

    fn mapped(self, predicted: Vec<Option<Cost>>) -> Mapped {
        Mapped {
            layouts: self.tiling.layouts,
            residency: self.residency,
            layers: self.layers,
            predicted,
        }
    }
}

/// Elements of the fullest PE over all tiles, and of the fullest tile, with their reserve.
pub fn fullest(layout: &Layout, contents: &Contents) -> (u64, u64) {
    let tiles = Span::new(0, layout.tiles.len() as u32);
    let of_tile = |tile| reserved(layout, contents, Span::new(tile, tile + 1));
    let tile = tiles.iter().map(of_tile).max();
    (reserved(layout, contents, tiles), tile.unwrap_or(1))
}

/// Cycles and energy of all layers.
fn total(costs: &[Option<Cost>]) -> Cost {
    let mut total = Cost::default();
    for cost in costs.iter().flatten() {
        total.cycles += cost.cycles;
        total.energy_pj += cost.energy_pj;
    }
    total
}

/// The order in which weights are linearised unless the other is shorter.
pub const ORDER: WeightOrder = WeightOrder::Krs;

/// The other order.
pub const OTHER_ORDER: WeightOrder = WeightOrder::Rsk;
