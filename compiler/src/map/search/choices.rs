//! The best ways to cut one tensor, looked at alone.
//!
//! Cuts are ranked by densities, the best are counted and costed on a sample of rounds, the best of those are costed
//! whole. Every layer that reads the tensor gets its best grouping of output channels under each cut.

use super::choice::{AssumedHome, Choice, Reader};
use super::{Explored, ORDER, Search};
use crate::map::LayerMapping;
use crate::map::candidates::{cuts, estimate, estimate_rounds, groupings};
use crate::map::contents::Contents;
use crate::map::cost::{Bounded, Candidate, Cost, Depth, Measured, Traffic, readings};
use crate::map::tiling::{Cut, Cutter, accumulators, largest_part, passes};
use crate::map::weights::BlockSizes;
use crate::quantise::{IntLayer, Operation};
use scnn_isa::ids::TensorId;
use scnn_isa::layout::{Grid, Layout};
use scnn_isa::plane::Span;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Cuts of a tensor that are counted, whatever their place.
const COUNTED: usize = 8;

/// Cuts of a tensor that are counted, of those expected to fit a RAM and beside the best of every number of PE groups.
const COUNTED_RESIDENT: usize = 4;

/// Ratio of estimated cycles to the best estimate up to which a cut is counted.
const MAX_ESTIMATE_RATIO: f64 = 1.4;

/// The same ratio for groupings under a cut, whose estimate is coarser: it leaves out FIFOs and drains.
const MAX_GROUPING_ESTIMATE_RATIO: f64 = 2.0;

/// Cuts of a tensor that are costed whole for each place when mapping.
pub const WHOLE: usize = 4;

/// Rounds of a pass in a sample.
const SAMPLE: u32 = 4;

/// A cut is costed if its lower bound is below this factor times the best cost.
const SLACK: f64 = 1.15;

/// Finds choices.
pub struct Chooser<'a> {
    search: &'a Search<'a>,
}

/// A cut with the contents of its tiles.
struct Counted {
    cut: Cut,
    layout: Layout,
    contents: Arc<Contents>,
}

type SizesOfGroups = BTreeMap<(usize, [[u32; 2]; 2], Depth, Vec<Span>), Arc<BlockSizes>>;

/// Under the paper's cut, another grouping replaces the paper's if it takes less than this share of its cycles.
const GAIN: f64 = 0.998;

impl<'a> Chooser<'a> {
    /// For a search.
    pub const fn new(search: &'a Search<'a>) -> Self {
        Self { search }
    }

    /// The best choices for a tensor, for each place up to `whole`; none when no layer reads it. With more than
    /// [`WHOLE`], as many cuts are counted at least.
    pub fn choices(&self, tensor: TensorId, whole: usize) -> Vec<Choice> {
        let search = self.search;
        let cutter = Cutter::new(search.network, search.machine, tensor);
        if cutter.consumers.is_empty() {
            return Vec::new();
        }
        let readers: Vec<(usize, &IntLayer)> = search
            .network
            .operations
            .iter()
            .enumerate()
            .filter_map(|(operation, other)| Some((operation, other.layer()?)))
            .filter(|(_, layer)| layer.source.tensor == tensor)
            .collect();
        let paper = self.paper_cut(&cutter, tensor);
        let mut cuts = self.cuts_to_count(&cutter, tensor, &readers, whole);
        if let Some(paper) = paper
            && !cuts.contains(&paper)
        {
            cuts.push(paper);
        }
        let (mut sizes, mut samples) = (SizesOfGroups::new(), SizesOfGroups::new());
        let mut sampled: Vec<(Counted, Choice)> = Vec::new();
        // Cost of the best so far, wherever the tensor lives; a cut that costs clearly more is left out.
        let mut limit = f64::INFINITY;
        for cut in cuts {
            let counted = self.counted(&cutter, tensor, cut);
            let limit_here = if paper == Some(cut) {
                f64::INFINITY
            } else {
                limit * SLACK
            };
            let Some(choice) = self.choice(&counted, &readers, &mut samples, limit_here) else {
                continue;
            };
            if whole == WHOLE {
                limit = limit.min(choice.score(search.objective, AssumedHome::Streamed));
            }
            sampled.push((counted, choice));
        }
        let mut best = self.best_for_every_home(&sampled, whole);
        // The paper's cut serves where others gain nothing.
        if let Some(paper) = paper.and_then(|cut| sampled.iter().position(|(c, _)| c.cut == cut))
            && !best.contains(&paper)
        {
            best.push(paper);
        }
        best.sort_unstable();
        for &index in &best {
            let (counted, choice) = &mut sampled[index];
            self.refine(counted, choice, &readers, &mut sizes);
            if paper == Some(counted.cut) {
                self.keep_paper(counted, choice, &readers);
            }
        }
        best.into_iter()
            .map(|index| sampled[index].1.clone())
            .collect()
    }

    /// The cuts of a tensor to count, by the estimates of its readers: those that are promising and, if more than [`WHOLE`]
    /// are to be costed whole, at least as many.
    fn cuts_to_count(
        &self,
        cutter: &Cutter<'_>,
        tensor: TensorId,
        readers: &[(usize, &IntLayer)],
        whole: usize,
    ) -> Vec<Cut> {
        let (machine, shape) = (
            self.search.machine,
            self.search.network.tensor(tensor).shape,
        );
        let density = |layer: &IntLayer| {
            let reader = readers
                .iter()
                .find(|(_, other)| std::ptr::eq(*other, layer));
            reader.map_or(0.0, |&(operation, _)| self.weight_density(operation, layer))
        };
        let ranked = cuts(cutter, machine, shape)
            .into_iter()
            .map(|cut| (estimate(machine, cutter, cut, cutter.density, density), cut));
        let mut ranked: Vec<(f64, Cut)> = ranked.collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut cuts = self.promising(cutter, &ranked, shape[1]);
        if whole > WHOLE {
            let others = ranked.iter().map(|(_, cut)| *cut);
            let others: Vec<Cut> = others.filter(|cut| !cuts.contains(cut)).collect();
            let missing = whole.saturating_sub(cuts.len());
            cuts.extend(others.into_iter().take(missing));
        }
        cuts
    }

    /// The paper's cut of a tensor; none where no number of parts fits.
    fn paper_cut(&self, cutter: &Cutter<'_>, tensor: TensorId) -> Option<Cut> {
        if let Some(paper) = &self.search.paper {
            return Some(cutter.plain(paper.tiling.parts(tensor)));
        }
        let count = |tensor, layout: &Layout| self.search.contents(tensor, layout);
        cutter.paper(count).ok().map(|(cut, ..)| cut)
    }

    /// The places in `sampled` of the best `whole` choices for every home.
    fn best_for_every_home(&self, sampled: &[(Counted, Choice)], whole: usize) -> Vec<usize> {
        let mut best: Vec<usize> = Vec::new();
        for home in [
            AssumedHome::Resident,
            AssumedHome::Streamed,
            AssumedHome::Spilling,
        ] {
            let mut order: Vec<usize> = (0..sampled.len()).collect();
            let score = |index: usize| sampled[index].1.score(self.search.objective, home);
            order.sort_by(|&a, &b| score(a).total_cmp(&score(b)).then(a.cmp(&b)));
            for index in order.into_iter().take(whole) {
                if !best.contains(&index) {
                    best.push(index);
                }
            }
        }
        best
    }

    /// The cuts to count, of all, best first: the best, the best that are expected to fit a RAM, and of those the best
    /// for every number of PE groups.
    fn promising(&self, cutter: &Cutter<'_>, ranked: &[(f64, Cut)], channels: u32) -> Vec<Cut> {
        let ram = self.search.ram() as f64;
        let fits = |cut: &Cut| {
            let positions: u64 = cutter.layout(*cut).tiles.iter().map(largest_part).sum();
            positions as f64 * f64::from(channels) * cutter.density * 1.1 <= ram
        };
        let mut cuts: Vec<Cut> = Vec::new();
        let (mut resident, mut groups) = (0, Vec::new());
        let (best, mut best_resident) = (ranked.first().map_or(0.0, |(best, _)| *best), None);
        for (number, (estimate, cut)) in ranked.iter().enumerate() {
            let mut wanted = number < COUNTED && *estimate <= best * MAX_ESTIMATE_RATIO;
            let count = cut.groups.count();
            let new = !groups.contains(&count);
            let near = best_resident.is_none_or(|best: f64| *estimate <= best * MAX_ESTIMATE_RATIO);
            if (resident < COUNTED_RESIDENT || new) && near && fits(cut) {
                best_resident.get_or_insert(*estimate);
                resident += 1;
                groups.push(count);
                wanted = true;
            }
            if wanted {
                cuts.push(*cut);
            }
        }
        cuts
    }

    fn weight_density(&self, operation: usize, layer: &IntLayer) -> f64 {
        let nonzeros: u64 = self.search.per_output[operation].iter().sum();
        let all = layer.conv.as_ref().map_or(1, |conv| conv.weights.len());
        nonzeros as f64 / all.max(1) as f64
    }

    fn counted(&self, cutter: &Cutter<'_>, tensor: TensorId, cut: Cut) -> Counted {
        let layout = cutter.layout(cut);
        let counted = self.search.paper.as_ref().and_then(|paper| {
            let same = paper.tiling.layouts[tensor.index()] == layout;
            same.then(|| Arc::clone(&paper.tiling.contents()[tensor.index()]))
        });
        let contents = counted.unwrap_or_else(|| self.search.contents(tensor, &layout));
        Counted {
            cut,
            layout,
            contents,
        }
    }

    /// The best grouping for every reader under a cut; none if a reader alone exceeds `limit`.
    fn choice(
        &self,
        counted: &Counted,
        readers: &[(usize, &IntLayer)],
        samples: &mut SizesOfGroups,
        limit: f64,
    ) -> Option<Choice> {
        let search = self.search;
        let readers = readers
            .iter()
            .map(|&(operation, layer)| self.reader(counted, operation, layer, samples, limit))
            .collect::<Option<_>>()?;
        let (layout, contents) = (counted.layout.clone(), Arc::clone(&counted.contents));
        Some(Choice::of(search, counted.cut, layout, contents, readers))
    }

    /// A reader under a cut, with its best grouping; none if its lower bound exceeds `limit`.
    fn reader(
        &self,
        counted: &Counted,
        operation: usize,
        layer: &IntLayer,
        samples: &mut SizesOfGroups,
        limit: f64,
    ) -> Option<Reader> {
        let depth = Depth::Sampled(SAMPLE);
        let search = self.search;
        let mut mapping = LayerMapping {
            passes: passes(counted.cut.parts, search.network, layer),
            pe_groups: Grid::ONE,
            kc: 0,
            channel_groups: Vec::new(),
            order: ORDER,
        };
        if layer.conv.is_none() {
            let candidate = self.candidate(counted, operation, layer, &mapping);
            let cost = candidate.bounded(None).cost();
            return Some(Reader {
                operation,
                readings: readings(layer, &mapping),
                mapping,
                measured: None,
                cost,
            });
        }
        mapping.pe_groups = counted.cut.groups;
        let (layout, weights) = (&counted.layout, &search.per_output[operation]);
        let mut tried = groupings(search.machine, layer, layout, weights, &mapping);
        self.discard_unpromising(&mut tried, operation, layer, layout);
        let candidates: Vec<(Candidate<'_>, Option<Measured>)> = tried
            .iter()
            .map(|mapping| {
                let candidate = self.candidate(counted, operation, layer, mapping);
                let sizes = self.sizes(operation, mapping, counted.cut.residues, depth, samples);
                let measured = sizes.map(|sizes| candidate.measure(sizes, depth));
                (candidate, measured)
            })
            .collect();
        let bounded = candidates
            .iter()
            .map(|(candidate, measured)| candidate.bounded(measured.as_ref()));
        let (index, cost) = self.cheapest(bounded.collect(), limit)?;
        let mapping = tried.swap_remove(index);
        Some(Reader {
            operation,
            readings: readings(layer, &mapping),
            mapping,
            measured: None,
            cost,
        })
    }

    /// The index and the cost of the cheapest of the candidates; none if the lower bounds of all exceed `limit`.
    fn cheapest(&self, candidates: Vec<Bounded<'_>>, limit: f64) -> Option<(usize, Cost)> {
        let objective = self.search.objective;
        let mut bounded: Vec<(f64, usize, Bounded<'_>)> = candidates
            .into_iter()
            .enumerate()
            .map(|(index, bounded)| (objective.score(&bounded.least), index, bounded))
            .collect();
        // Most promising first: the rest need not be costed once the lower bound of the next exceeds the best.
        bounded.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        if bounded.first().is_some_and(|(least, ..)| *least > limit) {
            return None;
        }
        let mut best: Option<(f64, usize, Cost)> = None;
        for (least, index, bounded) in bounded {
            if best.as_ref().is_some_and(|(best, ..)| least >= *best) {
                break;
            }
            let cost = bounded.cost();
            let score = objective.score(&cost);
            if best.as_ref().is_none_or(|(best, ..)| score < *best) {
                best = Some((score, index, cost));
            }
        }
        let (_, index, cost) = best.expect("a group of one channel fits wherever its cut does");
        Some((index, cost))
    }

    /// Leaves out the groupings that densities estimate far above the best.
    fn discard_unpromising(
        &self,
        tried: &mut Vec<LayerMapping>,
        operation: usize,
        layer: &IntLayer,
        layout: &Layout,
    ) {
        let source = self.search.network.tensor(layer.source.tensor);
        let densities = [source.density, self.weight_density(operation, layer)];
        let estimate = |mapping: &LayerMapping| {
            let rounds = (mapping.rounds(), mapping.kc);
            estimate_rounds(self.search.machine, layer, layout, rounds, densities)
        };
        let best = tried.iter().map(estimate).fold(f64::INFINITY, f64::min);
        tried.retain(|mapping| estimate(mapping) <= best * MAX_GROUPING_ESTIMATE_RATIO);
    }

    /// Under the paper's cut, readers keep the paper's grouping unless another gains something.
    fn keep_paper(&self, counted: &Counted, choice: &mut Choice, readers: &[(usize, &IntLayer)]) {
        let Some(paper) = &self.search.paper else {
            return;
        };
        let objective = self.search.objective;
        for (reader, &(operation, layer)) in choice.readers.iter_mut().zip(readers) {
            let Some(mapping) = &paper.layers[operation] else {
                continue;
            };
            let candidate = self.candidate(counted, operation, layer, mapping);
            let measured = &paper.measured[operation];
            let bounded = candidate.bounded(measured.as_deref());
            let found = objective.score(&reader.cost);
            if *mapping == reader.mapping || found <= objective.score(&bounded.least) * GAIN {
                continue;
            }
            let cost = bounded.cost();
            if found > objective.score(&cost) * GAIN {
                reader.mapping = mapping.clone();
                reader.readings = readings(layer, mapping);
                reader.measured.clone_from(measured);
                reader.cost = cost;
            }
        }
    }

    /// Costs the readers of a choice whole, under the groupings that the sample found.
    fn refine(
        &self,
        counted: &Counted,
        choice: &mut Choice,
        readers: &[(usize, &IntLayer)],
        sizes: &mut SizesOfGroups,
    ) {
        let residues = counted.cut.residues;
        for (reader, &(operation, layer)) in choice.readers.iter_mut().zip(readers) {
            let candidate = self.candidate(counted, operation, layer, &reader.mapping);
            let depth = self.search.depth(operation, &reader.mapping, residues);
            let blocks = self.sizes(operation, &reader.mapping, residues, depth, sizes);
            reader.measured = blocks.map(|blocks| Arc::new(candidate.measure(blocks, depth)));
            reader.cost = candidate.bounded(reader.measured.as_deref()).cost();
        }
    }

    /// The choices for a tensor that were explored on another machine, as far as this one admits them, at its costs.
    pub(super) fn anew(
        &self,
        tensor: TensorId,
        known: &[Choice],
        explored: &Explored,
    ) -> Vec<Choice> {
        let same_blocks = explored.has_blocks_of(self.search.machine);
        let mut sizes = SizesOfGroups::new();
        let anew = |choice: &Choice| {
            let (layout, cut) = (choice.layout.clone(), choice.cut);
            let contents = if same_blocks {
                Arc::clone(&choice.contents)
            } else {
                self.search.contents(tensor, &layout)
            };
            let counted = Counted {
                cut,
                layout,
                contents,
            };
            let readers = choice.readers.iter();
            let readers = readers
                .map(|reader| self.reader_anew(&counted, reader, same_blocks, &mut sizes))
                .collect::<Option<_>>()?;
            Some(Choice::of(
                self.search,
                cut,
                counted.layout,
                counted.contents,
                readers,
            ))
        };
        known.iter().filter_map(anew).collect()
    }

    /// A reader under the grouping that was explored; none where the accumulators do not hold it.
    fn reader_anew(
        &self,
        counted: &Counted,
        reader: &Reader,
        same_blocks: bool,
        sizes: &mut SizesOfGroups,
    ) -> Option<Reader> {
        let mut reader = reader.clone();
        let Operation::Layer(layer) = &self.search.network.operations[reader.operation] else {
            return None;
        };
        let mapping = &reader.mapping;
        let needed = accumulators(&counted.layout, layer, &mapping.passes);
        let entries = u64::from(self.search.machine.accumulator_entries());
        if needed * u64::from(mapping.kc) > entries {
            return None;
        }
        let candidate = self.candidate(counted, reader.operation, layer, mapping);
        let measured = match &reader.measured {
            Some(measured) if same_blocks => Some(candidate.measure_anew(measured)),
            _ => {
                let residues = counted.cut.residues;
                let depth = self.search.depth(reader.operation, mapping, residues);
                let sizes = self.sizes(reader.operation, mapping, residues, depth, sizes);
                sizes.map(|sizes| candidate.measure(sizes, depth))
            }
        };
        reader.cost = candidate.bounded(measured.as_ref()).cost();
        reader.measured = measured.map(Arc::new);
        Some(reader)
    }

    /// The weight blocks of a layer, counted once for every grouping.
    fn sizes(
        &self,
        operation: usize,
        mapping: &LayerMapping,
        residues: Grid,
        depth: Depth,
        known: &mut SizesOfGroups,
    ) -> Option<Arc<BlockSizes>> {
        // Of a sample, the rounds are counted, which the PE groups make of the output-channel groups.
        let grids = [residues, mapping.pe_groups].map(Into::into);
        let key = (operation, grids, depth, mapping.channel_groups.clone());
        if let Some(sizes) = known.get(&key) {
            return Some(Arc::clone(sizes));
        }
        let sizes = Arc::new(self.search.sizes(operation, mapping, residues, depth)?);
        known.insert(key, Arc::clone(&sizes));
        Some(sizes)
    }

    fn candidate<'b>(
        &'b self,
        counted: &'b Counted,
        operation: usize,
        layer: &'b IntLayer,
        mapping: &'b LayerMapping,
    ) -> Candidate<'b> {
        Candidate {
            machine: self.search.machine,
            layer,
            layout: &counted.layout,
            passes: &mapping.passes,
            contents: &counted.contents,
            written: &[],
            channel_groups: &mapping.channel_groups,
            order: mapping.order,
            traffic: Traffic::default(),
            result_layout: None,
            positions: self.search.positions(operation),
        }
    }
}
