//! Growth: places in the RAMs take what is free beside them.
//!
//! Sizes are planned for the calibration sample. Another input may fill a PE further, and what then exceeds a place
//! spills, so places are as large as their RAM allows. Of two places that are taken at the same time one stays below the
//! other; sizes are possible as long as no stack of places that lie above each other exceeds the RAM. All grow by the
//! same factor first, then each alone.

use super::{Residency, Slot, Staging, lives};
use crate::map::tiling::Tiling;
use crate::quantise::{Operation, Quantised};
use scnn_isa::ids::TensorId;
use scnn_isa::machine::Machine;
use scnn_isa::plane::Span;
use scnn_isa::program::Memory;

/// Factors on the planned sizes, in the order in which they are tried; the last one stands for all that a place can ever
/// hold.
const FACTORS: [f64; 7] = [1.1, 1.25, 1.5, 2.0, 4.0, 8.0, f64::INFINITY];

/// Places of a RAM up to which each grows alone, as every trial looks at all of them.
const MOST_ALONE: usize = 256;

/// Owner of a slot.
#[derive(Clone, Copy)]
enum Owner {
    Home(usize),
    /// Of an operation, and which of its slots.
    Stage(usize, usize),
}

/// A slot, and the operations `first..=last` during which it is occupied.
struct Occupied {
    owner: Owner,
    slot: Slot,
    first: usize,
    last: usize,
    /// Most elements that its owner can ever have.
    most: u64,
}

/// Grows every slot of `residency`; the module's head has the rule.
pub(super) fn grow(
    residency: &Residency,
    network: &Quantised,
    machine: &Machine,
    tiling: &Tiling,
) -> Residency {
    let mut grown = residency.clone();
    for memory in [Memory::A, Memory::B] {
        let mut places = places(residency, network, tiling);
        places.retain(|place| place.slot.memory == memory);
        let slots = Stacks::new(places).grow(machine.ram_elements(memory));
        for (owner, slot) in slots {
            match owner {
                Owner::Home(tensor) => grown.homes[tensor] = Some(slot),
                Owner::Stage(operation, index) => match &mut grown.stages[operation] {
                    Some(Staging::PerTile(own) | Staging::Once(own)) => *own = slot,
                    Some(Staging::Alternate(own)) => own[index] = slot,
                    Some(Staging::Kept(_)) | None => {}
                },
            }
        }
    }
    grown
}

/// All places in both RAMs.
fn places(residency: &Residency, network: &Quantised, tiling: &Tiling) -> Vec<Occupied> {
    let lives = lives(network);
    let mut places = Vec::new();
    let tiles = |tensor: usize| tiling.layouts[tensor].tiles.len() as u32;
    let most_of = |tensor: usize, tiles| tiling.most_elements(TensorId(tensor as u32), tiles);
    for (tensor, home) in residency.homes.iter().enumerate() {
        places.extend(home.map(|slot| Occupied {
            owner: Owner::Home(tensor),
            slot,
            first: lives[tensor].first_write,
            last: lives[tensor].last_read,
            most: most_of(tensor, Span::new(0, tiles(tensor))),
        }));
    }
    for (operation, stage) in residency.stages.iter().enumerate() {
        let Operation::Layer(layer) = &network.operations[operation] else {
            continue;
        };
        let tensor = layer.source.tensor.index();
        let (slots, last) = match stage {
            Some(Staging::PerTile(slot)) => (vec![*slot], operation),
            Some(Staging::Once(slot)) => (vec![*slot], lives[tensor].last_read),
            Some(Staging::Alternate(slots)) => (slots.to_vec(), operation),
            Some(Staging::Kept(_)) | None => continue,
        };
        let of_tile = |tile| most_of(tensor, Span::new(tile, tile + 1));
        let most = (0..tiles(tensor)).map(of_tile).max().unwrap_or(1);
        places.extend(slots.into_iter().enumerate().map(|(index, slot)| Occupied {
            owner: Owner::Stage(operation, index),
            slot,
            first: operation,
            last,
            most,
        }));
    }
    places
}

/// The places of one RAM, lower ones first.
struct Stacks {
    places: Vec<Occupied>,
    /// By place, those that lie below it at some time.
    below: Vec<Vec<usize>>,
}

impl Stacks {
    fn new(mut places: Vec<Occupied>) -> Self {
        places.sort_by_key(|place| (place.slot.base, place.first));
        let meet = |a: &Occupied, b: &Occupied| a.first <= b.last && b.first <= a.last;
        let below = |(index, place): (usize, &Occupied)| {
            let lower = places[..index].iter().enumerate();
            let lower = lower.filter(|(_, other)| meet(other, place));
            lower.map(|(other, _)| other).collect()
        };
        Self {
            below: places.iter().enumerate().map(below).collect(),
            places,
        }
    }

    /// Grown slots in a RAM of `capacity` elements.
    fn grow(self, capacity: u64) -> Vec<(Owner, Slot)> {
        let mut sizes: Vec<u64> = self.places.iter().map(|place| place.slot.size).collect();
        for factor in FACTORS {
            let larger = |place: &Occupied| {
                // `as` saturates: an infinite factor becomes the largest integer.
                let wanted = (place.slot.size as f64 * factor) as u64;
                wanted.min(place.most).max(place.slot.size)
            };
            let all: Vec<u64> = self.places.iter().map(larger).collect();
            if self.bases(&all, capacity).is_some() {
                sizes = all;
            } else if self.places.len() <= MOST_ALONE {
                for (index, size) in all.into_iter().enumerate() {
                    let before = std::mem::replace(&mut sizes[index], size);
                    if self.bases(&sizes, capacity).is_none() {
                        sizes[index] = before;
                    }
                }
            }
        }
        let planned = self.places.iter().map(|place| place.slot.base).collect();
        let bases = self.bases(&sizes, capacity).unwrap_or(planned);
        let slots = self.places.iter().zip(sizes).zip(bases);
        slots
            .map(|((place, size), base)| {
                let slot = Slot {
                    base,
                    size,
                    ..place.slot
                };
                (place.owner, slot)
            })
            .collect()
    }

    /// Where places of these sizes begin, each as low as those below let it; none if one ends beyond `capacity`.
    fn bases(&self, sizes: &[u64], capacity: u64) -> Option<Vec<u64>> {
        let mut bases: Vec<u64> = Vec::with_capacity(sizes.len());
        for (below, &size) in self.below.iter().zip(sizes) {
            let base = below.iter().map(|&other| bases[other] + sizes[other]).max();
            let base = base.unwrap_or(0);
            if base.checked_add(size)? > capacity {
                return None;
            }
            bases.push(base);
        }
        Some(bases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(base: u64, size: u64, (first, last): (usize, usize), most: u64) -> Occupied {
        let memory = Memory::A;
        Occupied {
            owner: Owner::Home(0),
            slot: Slot { memory, base, size },
            first,
            last,
            most,
        }
    }

    fn grown(places: Vec<Occupied>, capacity: u64) -> Vec<[u64; 2]> {
        let slots = Stacks::new(places).grow(capacity);
        slots
            .iter()
            .map(|(_, slot)| [slot.base, slot.size])
            .collect()
    }

    #[test]
    fn a_place_alone_takes_all_that_it_can_hold() {
        assert_eq!(grown(vec![place(7, 10, (0, 1), 60)], 100), [[0, 60]]);
        assert_eq!(grown(vec![place(7, 10, (0, 1), 600)], 100), [[0, 80]]);
    }

    #[test]
    fn what_is_free_is_shared_by_those_that_are_there_at_the_same_time() {
        let places = vec![
            place(0, 10, (0, 1), 1000),
            place(10, 20, (1, 2), 1000),
            place(30, 25, (2, 3), 1000),
        ];
        assert_eq!(grown(places, 100), [[0, 20], [20, 40], [60, 37]]);
    }

    proptest! {
        /// First fit places come from a planner; here every place lies above all earlier ones that it meets.
        #[test]
        fn places_never_shrink_meet_or_leave_the_ram(
            drawn in prop::collection::vec((1u64..50, 0usize..10, 0usize..4, 1u64..200), 1..20),
        ) {
            let mut places: Vec<Occupied> = Vec::new();
            for (size, first, more, most) in drawn {
                let (last, most) = (first + more, most.max(size));
                let meets = |place: &&Occupied| place.first <= last && first <= place.last;
                let below = places.iter().filter(meets).map(|place| place.slot.base + place.slot.size);
                places.push(place(below.max().unwrap_or(0), size, (first, last), most));
            }
            let capacity = places.iter().map(|place| place.slot.base + place.slot.size).max().unwrap_or(0) + 30;
            let stacks = Stacks::new(places);
            let spans: Vec<_> = stacks.places.iter().map(|p| (p.first, p.last, p.slot.size, p.most)).collect();
            let slots = stacks.grow(capacity);
            for (index, (first, last, size, most)) in spans.iter().enumerate() {
                let slot = slots[index].1;
                prop_assert!(*size <= slot.size && slot.size <= *most && slot.base + slot.size <= capacity);
                for (other, (other_first, other_last, ..)) in spans.iter().enumerate().skip(index + 1) {
                    let beside = slots[other].1;
                    let apart = slot.base + slot.size <= beside.base || beside.base + beside.size <= slot.base;
                    prop_assert!(apart || first > other_last || other_first > last);
                }
            }
        }
    }
}
