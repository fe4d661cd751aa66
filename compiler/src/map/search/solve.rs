//! Which choice every tensor takes: a greedy start, then one tensor at a time.

use super::choice::{AssumedHome, Choice};
use super::{CostCache, CostKey, Mapped, MappingDraft, ORDER, OTHER_ORDER, Search, total};
use crate::map::cost::{Cost, Traffic, readings};
use crate::map::residency::{Residency, lifetimes};
use crate::map::{LayerMapping, Objective};
use crate::quantise::{Operation, Quantised};
use scnn_isa::ids::TensorId;
use scnn_isa::progress::Progress;

/// A mapping replaces the paper's for a layer when it is predicted to take at most this share of the paper's cycles: the
/// rest allows for the model's error.
const GAIN: f64 = 0.999;

/// Sweeps over all tensors in which other choices are tried.
const SWEEPS: usize = 2;

/// Tensors of the largest network for which other choices are tried: each trial looks at the whole network. A larger one
/// keeps the best choice of every tensor alone.
const MOST_SWEPT: usize = 1 << 10;

/// A choice is tried when its tensor's readers alone do not lose more than this factor by it.
const PROMISING: f64 = 1.5;

/// Share of a mapping's cycles that its activations' traffic takes, at most, where choices without their traffic are taken for
/// the fastest.
const MOST_TRAFFIC: f64 = 0.25;

/// Share of the paper's cycles that a mapping takes at most where its choices are taken for the fastest.
const MOST_OF_PAPER: f64 = 0.97;

/// The choices of a network and what they are compared with.
pub(super) struct Problem<'a> {
    pub search: &'a Search<'a>,
    pub paper: &'a MappingDraft,
    pub paper_costs: &'a [Option<Cost>],
    /// By tensor.
    pub choices: &'a [Vec<Choice>],
    /// By tensor, the layer it is tiled for.
    pub names: &'a [&'a str],
    pub progress: &'a dyn Progress,
    /// Whether no layer may be slower than under the paper's mapping.
    pub strict: bool,
}

/// The choices that may be taken, and assumptions under which they are compared.
struct Selection {
    /// Where every tensor is expected to live.
    places: Vec<AssumedHome>,
    /// By tensor and choice: not to be taken any more.
    banned: Vec<Vec<bool>>,
}

/// By tensor: its choice; none for the paper's mapping.
type Chosen = Vec<Option<usize>>;

/// A state of the search: a choice for every tensor, with the mapping that it makes.
struct SearchState {
    chosen: Chosen,
    /// By tensor: whether it may live in a RAM that it does not fit.
    may_spill: Vec<bool>,
    draft: MappingDraft,
    costs: Vec<Option<Cost>>,
    score: f64,
}

/// A mapping that was found.
pub(super) struct Solved {
    pub mapped: Mapped,
    /// Share of its cycles that the traffic of activations takes.
    traffic: f64,
}

impl Solved {
    /// Whether it is taken for the fastest mapping, where the paper's takes so many cycles: little traffic, and a gain.
    pub fn suffices(&self, paper: f64) -> bool {
        let cycles = total(&self.mapped.predicted).cycles as f64;
        self.traffic <= MOST_TRAFFIC && cycles <= paper * MOST_OF_PAPER
    }
}

impl Problem<'_> {
    /// The best mapping found; none when every one has a layer that is slower than under the paper's.
    ///
    /// A tensor's best choice alone need not be the network's, and each step takes what is better at once. So there is a start
    /// from the best choices by every objective; all are improved by the search's own.
    pub fn solve(&self) -> Option<Solved> {
        let mut known = self.known();
        let mut best: Option<SearchState> = None;
        let mut starts: Vec<Chosen> = Vec::new();
        for objective in Objective::ALL {
            let Some((mut state, places)) = self.start(objective, &mut known) else {
                continue;
            };
            if starts.contains(&state.chosen) {
                continue;
            }
            starts.push(state.chosen.clone());
            self.finish(&mut state, &places, &mut known);
            if best.as_ref().is_none_or(|best| state.score < best.score) {
                best = Some(state);
            }
        }
        let best = if let Some(best) = best {
            best
        } else {
            let (mut state, places) = self.paper_state(&mut known)?;
            self.finish(&mut state, &places, &mut known);
            state
        };
        let SearchState {
            mut draft, chosen, ..
        } = best;
        self.search.take_free_room(&mut draft);
        let keys = self.search.keys(&draft, &chosen);
        let mut costs = self.search.predict_known(&draft, &keys, &mut known);
        let traffic = traffic_share(&keys, &costs, &known);
        self.reorder(&mut draft, &mut costs);
        Some(Solved {
            mapped: draft.mapped(costs),
            traffic,
        })
    }

    /// Improves a start, and lets tensors spill.
    fn finish(&self, state: &mut SearchState, places: &[AssumedHome], known: &mut CostCache) {
        if self.choices.len() <= MOST_SWEPT {
            let tensors: Vec<usize> = (0..self.choices.len()).collect();
            self.improve(state, places, &tensors, known);
        }
        self.spill(state, places, known);
    }

    /// A cache with the costs by which the choices were found, of layers without traffic.
    fn known(&self) -> CostCache {
        let mut known = CostCache::new();
        for choices in self.choices {
            for (number, choice) in choices.iter().enumerate() {
                for reader in &choice.readers {
                    known.insert(
                        (reader.operation, Some(number), Traffic::default()),
                        reader.cost,
                    );
                }
            }
        }
        known
    }

    /// Linearises the weights of a layer in the other order where that is shorter, in placeholders or in the queues of the
    /// banks. A layer's order concerns nobody else.
    fn reorder(&self, draft: &mut MappingDraft, costs: &mut [Option<Cost>]) {
        let mut other = draft.clone();
        let mut operations = Vec::new();
        for (operation, mapping) in other.layers.iter_mut().enumerate() {
            if let (Some(mapping), Operation::Layer(layer)) =
                (mapping, &self.search.network.operations[operation])
                && layer
                    .conv
                    .as_ref()
                    .is_some_and(|conv| conv.y.kernel * conv.x.kernel > 1)
                && mapping.order == ORDER
            {
                mapping.order = OTHER_ORDER;
                other.measured[operation] = None;
                operations.push(operation);
            }
        }
        let score = |cost: &Cost| self.search.objective.score(cost);
        for (operation, cost) in self.search.predict_operations(&other.view(), &operations) {
            if costs[operation].is_none_or(|present| score(&cost) < score(&present) * GAIN) {
                draft.layers[operation].clone_from(&other.layers[operation]);
                draft.measured[operation] = None;
                costs[operation] = Some(cost);
            }
        }
    }

    /// The best choice of every tensor for its place by an objective, without those that make layers slower.
    fn start(
        &self,
        objective: Objective,
        known: &mut CostCache,
    ) -> Option<(SearchState, Vec<AssumedHome>)> {
        let mut selection = Selection {
            places: vec![AssumedHome::Resident; self.choices.len()],
            banned: self.choices.iter().map(|c| vec![false; c.len()]).collect(),
        };
        let may_spill = vec![false; self.choices.len()];
        loop {
            let chosen = self.greedy(&selection, objective);
            let draft = self.compose(&chosen, &may_spill);
            if selection.stream(&draft.residency) {
                continue;
            }
            let keys = self.search.keys(&draft, &chosen);
            let costs = self.search.predict_known(&draft, &keys, known);
            let slower = self.slower(&draft, &costs);
            if slower.is_empty() {
                let state = SearchState {
                    chosen,
                    may_spill,
                    draft,
                    score: self.search.objective.score(&total(&costs)),
                    costs,
                };
                return Some((state, selection.places));
            }
            if !selection.ban(self.search.network, &slower, &chosen) {
                return None;
            }
        }
    }

    /// The paper's mapping as a start, where no greedy one is without slower layers.
    fn paper_state(&self, known: &mut CostCache) -> Option<(SearchState, Vec<AssumedHome>)> {
        let tensors = self.choices.len();
        let state = self.state(vec![None; tensors], vec![false; tensors], known)?;
        let homes = state.draft.residency.homes.iter();
        let places = homes.map(|home| match home {
            Some(_) => AssumedHome::Resident,
            None => AssumedHome::Streamed,
        });
        let places = places.collect();
        Some((state, places))
    }

    fn greedy(&self, selection: &Selection, objective: Objective) -> Chosen {
        self.choices
            .iter()
            .enumerate()
            .map(|(index, choices)| {
                let place = selection.places[index];
                choices
                    .iter()
                    .enumerate()
                    .filter(|(number, choice)| {
                        !selection.banned[index][*number]
                            && (!self.strict || choice.never_slower(place, self.paper_costs))
                    })
                    .map(|(number, choice)| (number, choice.score(objective, place)))
                    .min_by(|a, b| a.1.total_cmp(&b.1))
                    .map(|(number, _)| number)
            })
            .collect()
    }

    /// Takes other choices for one of `tensors` at a time, as long as the network gains by it.
    fn improve(
        &self,
        state: &mut SearchState,
        places: &[AssumedHome],
        tensors: &[usize],
        known: &mut CostCache,
    ) {
        let objective = self.search.objective;
        for _ in 0..SWEEPS {
            let before = state.score;
            for (position, &tensor) in tensors.iter().enumerate() {
                let name = self.names[tensor];
                self.progress.layer(position + 1, tensors.len(), name);
                let choices = &self.choices[tensor];
                let alone = |option: Option<usize>| {
                    option.map(|number| choices[number].score(objective, places[tensor]))
                };
                let limit = alone(state.chosen[tensor]).unwrap_or(f64::INFINITY) * PROMISING;
                for option in (0..choices.len()).map(Some).chain([None]) {
                    let promising = alone(option).is_none_or(|score| score <= limit);
                    if option != state.chosen[tensor] && promising {
                        self.try_choice(state, tensor, option, known);
                    }
                }
            }
            if state.score >= before {
                break;
            }
        }
    }

    /// Lets tensors that fit no RAM live there for the most part, if the network gains by it: all, with the choices that
    /// suit them then, and each alone.
    fn spill(&self, state: &mut SearchState, places: &[AssumedHome], known: &mut CostCache) {
        let homes = &state.draft.residency.homes;
        let homeless: Vec<usize> = (0..homes.len())
            .filter(|&tensor| homes[tensor].is_none() && !self.choices[tensor].is_empty())
            .collect();
        let all = vec![true; state.chosen.len()];
        if let Some(mut spilling) = self.state(state.chosen.clone(), all, known) {
            let places = vec![AssumedHome::Spilling; places.len()];
            self.improve(&mut spilling, &places, &homeless, known);
            if spilling.score < state.score {
                *state = spilling;
            }
        }
        for tensor in homeless {
            state.may_spill[tensor] ^= true;
            if !self.replan_residency(state, known) {
                state.may_spill[tensor] ^= true;
            }
        }
    }

    /// The state that some choices make; none if a layer is slower than under the paper's mapping where none may be.
    fn state(
        &self,
        chosen: Chosen,
        may_spill: Vec<bool>,
        known: &mut CostCache,
    ) -> Option<SearchState> {
        let mut state = SearchState {
            draft: self.compose(&chosen, &may_spill),
            chosen,
            may_spill,
            costs: Vec::new(),
            score: f64::INFINITY,
        };
        self.cost(&mut state, known).then_some(state)
    }

    /// Takes a choice for a tensor, if the network gains by it.
    fn try_choice(
        &self,
        state: &mut SearchState,
        tensor: usize,
        option: Option<usize>,
        known: &mut CostCache,
    ) {
        let before = std::mem::replace(&mut state.chosen[tensor], option);
        self.choose(&mut state.draft, tensor, option);
        let residency = self.placed(&state.draft, &state.may_spill);
        let residency = std::mem::replace(&mut state.draft.residency, residency);
        if !self.cost(state, known) {
            state.chosen[tensor] = before;
            self.choose(&mut state.draft, tensor, before);
            state.draft.residency = residency;
        }
    }

    /// Places all tensors anew if the network gains by it; returns whether it does.
    fn replan_residency(&self, state: &mut SearchState, known: &mut CostCache) -> bool {
        let residency = self.placed(&state.draft, &state.may_spill);
        if residency == state.draft.residency {
            return false;
        }
        let residency = std::mem::replace(&mut state.draft.residency, residency);
        let gains = self.cost(state, known);
        if !gains {
            state.draft.residency = residency;
        }
        gains
    }

    /// Costs the present choices; returns whether the network gains and no layer is slower. Otherwise the old costs are kept.
    fn cost(&self, state: &mut SearchState, known: &mut CostCache) -> bool {
        let (search, objective) = (self.search, self.search.objective);
        let keys = search.keys(&state.draft, &state.chosen);
        let least = search.lower_bound(&state.draft, &keys, known);
        if objective.score(&least) >= state.score {
            return false;
        }
        let costs = search.predict_known(&state.draft, &keys, known);
        let score = objective.score(&total(&costs));
        let gains = score < state.score && self.slower(&state.draft, &costs).is_empty();
        if gains {
            (state.costs, state.score) = (costs, score);
        }
        gains
    }

    /// The mapping of some choices, with all tensors placed.
    fn compose(&self, chosen: &[Option<usize>], may_spill: &[bool]) -> MappingDraft {
        let mut draft = self.paper.clone();
        for (tensor, option) in chosen.iter().enumerate() {
            if option.is_some() {
                self.choose(&mut draft, tensor, *option);
            }
        }
        draft.residency = self.placed(&draft, may_spill);
        draft
    }

    /// Cuts a tensor and maps its readers as in a choice for it, or as in the paper.
    fn choose(&self, draft: &mut MappingDraft, tensor: usize, option: Option<usize>) {
        let (id, choices) = (TensorId(tensor as u32), &self.choices[tensor]);
        if let Some(choice) = option.map(|number| &choices[number]) {
            let layout = choice.layout.clone();
            draft
                .tiling
                .set(id, layout, choice.cut.parts, &choice.contents);
            for reader in &choice.readers {
                draft.layers[reader.operation] = Some(reader.mapping.clone());
                draft.measured[reader.operation].clone_from(&reader.measured);
            }
        } else {
            draft.tiling.set_like(id, &self.paper.tiling);
            for reader in choices.iter().take(1).flat_map(|choice| &choice.readers) {
                draft.layers[reader.operation].clone_from(&self.paper.layers[reader.operation]);
                draft.measured[reader.operation].clone_from(&self.paper.measured[reader.operation]);
            }
        }
    }

    /// Where the tensors of a draft live.
    fn placed(&self, draft: &MappingDraft, may_spill: &[bool]) -> Residency {
        let (network, machine) = (self.search.network, self.search.machine);
        // Needed only where something may spill, which is not so in most trials.
        let any = may_spill.contains(&true);
        let of_operation = |(operation, mapping): (&Operation, &Option<LayerMapping>)| match (
            operation, mapping,
        ) {
            (Operation::Layer(layer), Some(mapping)) if any => readings(layer, mapping),
            _ => 0.0,
        };
        let readings: Vec<f64> = network
            .operations
            .iter()
            .zip(&draft.layers)
            .map(of_operation)
            .collect();
        Residency::plan_spilling(network, machine, &draft.tiling, &readings, may_spill)
    }

    /// The layers that are not predicted to gain, and are not mapped as in the paper either; none where layers may be
    /// slower.
    fn slower(&self, draft: &MappingDraft, costs: &[Option<Cost>]) -> Vec<usize> {
        if !self.strict {
            return Vec::new();
        }
        (0..costs.len())
            .filter(|&operation| {
                let (Some(ours), Some(theirs)) = (&costs[operation], &self.paper_costs[operation])
                else {
                    return false;
                };
                let alike = draft.layers[operation] == self.paper.layers[operation]
                    || draft.layers[operation].as_ref().is_some_and(|l| l.kc == 0);
                let limit = if alike { 1.0 } else { GAIN };
                ours.cycles as f64 > theirs.cycles as f64 * limit
            })
            .collect()
    }
}

/// Share of the layers' cycles that they would not take with nothing to move.
fn traffic_share(keys: &[Option<CostKey>], costs: &[Option<Cost>], known: &CostCache) -> f64 {
    let (mut all, mut without) = (0, 0);
    for (key, cost) in keys.iter().zip(costs) {
        let (Some((operation, choice, _)), Some(cost)) = (key, cost) else {
            continue;
        };
        let at_rest = known.get(&(*operation, *choice, Traffic::default()));
        all += cost.cycles;
        without += at_rest.map_or(cost.cycles, |at_rest| at_rest.cycles.min(cost.cycles));
    }
    1.0 - without as f64 / (all as f64).max(1.0)
}

impl Selection {
    /// Assumes from now on that tensors which found no slot live in DRAM; returns whether there are new ones.
    fn stream(&mut self, residency: &Residency) -> bool {
        let mut changed = false;
        for (place, home) in self.places.iter_mut().zip(&residency.homes) {
            if *place == AssumedHome::Resident && home.is_none() {
                *place = AssumedHome::Streamed;
                changed = true;
            }
        }
        changed
    }

    /// Bans the choices that make layers slower: that of the source, or where the source is as in the paper, that of
    /// the destination. Returns whether there was one to ban.
    fn ban(&mut self, network: &Quantised, slower: &[usize], chosen: &[Option<usize>]) -> bool {
        let mut banned = false;
        for &operation in slower {
            let Operation::Layer(layer) = &network.operations[operation] else {
                continue;
            };
            let candidates = [layer.source.tensor, layer.destination.tensor];
            for tensor in candidates.map(TensorId::index) {
                if let Some(choice) = chosen[tensor] {
                    self.banned[tensor][choice] = true;
                    banned = true;
                    break;
                }
            }
        }
        if !banned {
            // The layers themselves are as in the paper: what lies in the RAMs beside them is not.
            let lives = lifetimes(network);
            for (tensor, choice) in chosen.iter().enumerate() {
                let (Some(choice), Some((first, last))) = (choice, lives[tensor]) else {
                    continue;
                };
                if slower
                    .iter()
                    .any(|&operation| first <= operation && operation <= last)
                {
                    self.banned[tensor][*choice] = true;
                    banned = true;
                }
            }
        }
        banned
    }
}
