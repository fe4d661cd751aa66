//! Why a layer is mapped as it is: its bounds, where the predicted cycles go, and what else was possible.
//!
//! Nothing here decides anything: it asks the same functions that the search asks.

use super::bound::Bound;
use super::candidates::{cuts, every_grouping, excluded_cuts, groupings};
use super::contents::Contents;
use super::cost::Cost;
use super::occupancy::Occupancy;
use super::search::choice::AssumedHome;
use super::search::choices::Chooser;
use super::search::{ORDER, OTHER_ORDER, Search, fullest};
use super::tiling::{Cut, Cutter, accumulators};
use super::{LayerMapping, Mapped, Objective};
use crate::quantise::{IntLayer, Operation, Quantised};
use scnn_isa::machine::Machine;
use std::sync::Arc;

/// Cuts that are costed whole, for each place of the source.
const COSTED: usize = 12;

/// Alternatives that are reported.
const TOLD: usize = 10;

/// The mapping of one layer explained.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Its operation.
    pub operation: usize,
    /// Cost that the model predicts.
    pub cost: Cost,
    /// Lower bounds over all mappings.
    pub bound: Bound,
    /// Accumulators of one half that the mapping uses, in the PE that needs most.
    pub accumulators: u64,
    /// Elements of the source in the fullest PE: all, and of the fullest tile.
    pub elements: (u64, u64),
    /// Cuts of its source that are legal, and those that the accumulators exclude.
    pub cuts: Cuts,
    /// Other mappings of this layer that were costed, best first by the objective.
    pub runners_up: Vec<Alternative>,
    /// Mappings that a buffer excludes; of cuts, those that need least.
    pub excluded: Vec<Excluded>,
}

/// Numbers of cuts that the search enumerates for a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cuts {
    /// Cuts that the accumulators admit.
    pub legal: usize,
    /// Cuts that the accumulators exclude.
    pub excluded: usize,
}

/// A mapping that was costed and not taken.
#[derive(Clone, Debug)]
pub struct Alternative {
    /// The cut of its source; none for the chosen one.
    pub cut: Option<Cut>,
    /// Bytes by which the source exceeds an activation RAM in the fullest PE; it is loaded, or spills, where it does.
    pub exceeding_bytes: u64,
    /// The mapping.
    pub mapping: LayerMapping,
    /// Predicted cost of this layer, its source in a RAM if the cut allows it.
    pub cost: Cost,
}

/// A mapping that a buffer excludes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// The mapping, in words.
    pub what: String,
    /// The buffer.
    pub buffer: &'static str,
    /// Bytes by which the mapping exceeds it.
    pub bytes: u64,
}

/// Explains the layers of a mapped network.
pub struct Explainer<'a> {
    search: Search<'a>,
    mapped: &'a Mapped,
    /// By tensor.
    contents: Vec<Arc<Contents>>,
}

impl<'a> Explainer<'a> {
    /// Explains `mapped`, the result of a search for `objective`.
    pub fn new(
        network: &'a Quantised,
        machine: &'a Machine,
        occupancy: &'a Occupancy,
        mapped: &'a Mapped,
        objective: Objective,
    ) -> Self {
        let search = Search::new(network, machine, occupancy, objective);
        let contents = search.all_contents(&mapped.layouts);
        Self {
            search,
            mapped,
            contents,
        }
    }

    /// Explains the mapping of the layer in `operation`; none for host operations.
    pub fn explain(&self, operation: usize) -> Option<Explanation> {
        let (search, mapped) = (&self.search, self.mapped);
        let Operation::Layer(layer) = &search.network.operations[operation] else {
            return None;
        };
        let mapping = mapped.layers[operation].as_ref()?;
        let source = layer.source.tensor.index();
        let layout = &mapped.layouts[source];
        let contents = &self.contents[source];
        let mut runners_up = self.other_cuts(layer, operation);
        runners_up.extend(self.other_groupings(layer, operation));
        let score = |other: &Alternative| search.objective.score(&other.cost);
        runners_up.sort_by(|a, b| score(a).total_cmp(&score(b)));
        runners_up.truncate(TOLD);
        let cutter = Cutter::new(search.network, search.machine, layer.source.tensor);
        let shape = search.network.tensor(layer.source.tensor).shape;
        let beyond = excluded_cuts(&cutter, search.machine, shape);
        Some(Explanation {
            operation,
            cost: mapped.predicted[operation]?,
            bound: Bound::of(search, operation, layer),
            accumulators: accumulators(layout, layer, &mapping.passes) * u64::from(mapping.kc),
            elements: fullest(layout, contents),
            cuts: Cuts {
                legal: cuts(&cutter, search.machine, shape).len(),
                excluded: beyond.len(),
            },
            runners_up,
            excluded: self.excluded(layer, mapping, operation, &beyond),
        })
    }

    /// The layer under the best other cuts of its source.
    fn other_cuts(&self, layer: &IntLayer, operation: usize) -> Vec<Alternative> {
        let source = layer.source.tensor;
        let chosen = self.mapped.layers[operation].as_ref();
        let layout = &self.mapped.layouts[source.index()];
        let place = match self.mapped.residency.homes[source.index()] {
            Some(_) => AssumedHome::Resident,
            None => AssumedHome::Streamed,
        };
        Chooser::new(&self.search)
            .choices(source, COSTED)
            .into_iter()
            .filter_map(|choice| {
                let index = choice
                    .readers
                    .iter()
                    .position(|r| r.operation == operation)?;
                let reader = &choice.readers[index];
                if choice.layout == *layout && Some(&reader.mapping) == chosen {
                    return None;
                }
                Some(Alternative {
                    cut: Some(choice.cut),
                    exceeding_bytes: self.exceeding(fullest(&choice.layout, &choice.contents).0),
                    mapping: reader.mapping.clone(),
                    cost: choice.placed(reader, place, index == 0),
                })
            })
            .collect()
    }

    /// The layer on the tiles as they are, its output channels grouped otherwise or its weights in the other order.
    fn other_groupings(&self, layer: &IntLayer, operation: usize) -> Vec<Alternative> {
        let search = &self.search;
        let (Some(conv), Some(chosen)) = (&layer.conv, &self.mapped.layers[operation]) else {
            return Vec::new();
        };
        let layout = &self.mapped.layouts[layer.source.tensor.index()];
        let weights = &search.per_output[operation];
        let mut others = Vec::new();
        let tried = groupings(search.machine, layer, layout, weights, chosen);
        let all = || every_grouping(search.machine, layer, layout, weights, chosen, TOLD + 1);
        let more = if tried.len() <= TOLD {
            all()
        } else {
            Vec::new()
        };
        for other in tried.into_iter().chain(more) {
            let same =
                |known: &LayerMapping| (known.kc, known.rounds()) == (other.kc, other.rounds());
            if !same(chosen) && !others.iter().any(same) {
                others.push(other);
            }
        }
        if conv.y.kernel * conv.x.kernel > 1 {
            let order = if chosen.order == ORDER {
                OTHER_ORDER
            } else {
                ORDER
            };
            let other = LayerMapping {
                order,
                ..chosen.clone()
            };
            others.insert(0, other);
        }
        let source = layer.source.tensor.index();
        let (whole, _) = fullest(&self.mapped.layouts[source], &self.contents[source]);
        let costed = others.into_iter().filter_map(|mapping| {
            let cost = search.predict_otherwise(
                self.mapped,
                &self.contents,
                operation,
                mapping.clone(),
            )?;
            Some(Alternative {
                cut: None,
                exceeding_bytes: self.exceeding(whole),
                mapping,
                cost,
            })
        });
        costed.collect()
    }

    /// Bytes by which `elements` elements exceed an activation RAM.
    fn exceeding(&self, elements: u64) -> u64 {
        let bits = self.search.machine.activation_format().element_bits();
        bytes(elements.saturating_sub(self.search.ram()), bits)
    }

    /// Mappings beyond what a buffer holds: more output channels at once, the cuts that the accumulators exclude, blocks in
    /// one piece, all of the source in a RAM.
    fn excluded(
        &self,
        layer: &IntLayer,
        mapping: &LayerMapping,
        operation: usize,
        beyond: &[(Cut, u64)],
    ) -> Vec<Excluded> {
        let (search, machine) = (&self.search, self.search.machine);
        let source = layer.source.tensor.index();
        let layout = &self.mapped.layouts[source];
        let mut excluded = Vec::new();
        if let Some(conv) = &layer.conv {
            let per_conv = layer.destination.channels.len() / conv.groups;
            excluded.extend(self.one_channel_more(layer, mapping, per_conv));
            let block = search.largest_block(operation, mapping, layout.residues);
            let fifo = u64::from(machine.fifo_elements());
            if block > fifo {
                excluded.push(Excluded {
                    what: "the largest block of weights in one piece".to_owned(),
                    buffer: "weight FIFO",
                    bytes: bytes(block - fifo, machine.weight_format().element_bits()),
                });
            }
        }
        let (whole, tile) = fullest(layout, &self.contents[source]);
        for (what, elements) in [
            ("all of the source in a RAM", whole),
            ("a tile of the source in a RAM", tile),
        ] {
            let exceeding = self.exceeding(elements);
            if exceeding > 0 {
                excluded.push(Excluded {
                    what: what.to_owned(),
                    buffer: "activation RAM",
                    bytes: exceeding,
                });
            }
        }
        let entries = u64::from(machine.accumulator_entries());
        excluded.extend(beyond.iter().take(TOLD).map(|(cut, needed)| Excluded {
            what: cut.to_string(),
            buffer: "accumulators",
            bytes: bytes(needed - entries, machine.pe.accumulator_bits),
        }));
        excluded
    }

    /// One output channel more at once than the accumulators hold, if the layer has as many.
    fn one_channel_more(
        &self,
        layer: &IntLayer,
        mapping: &LayerMapping,
        per_conv: u32,
    ) -> Option<Excluded> {
        let machine = self.search.machine;
        let layout = &self.mapped.layouts[layer.source.tensor.index()];
        let entries = u64::from(machine.accumulator_entries());
        let positions = accumulators(layout, layer, &mapping.passes);
        let most = entries / positions.max(1) + 1;
        (most <= u64::from(per_conv)).then(|| Excluded {
            what: format!("Kc {most} on these tiles"),
            buffer: "accumulators",
            bytes: bytes(most * positions - entries, machine.pe.accumulator_bits),
        })
    }
}

fn bytes(entries: u64, bits: u32) -> u64 {
    (entries * u64::from(bits)).div_ceil(8)
}
