//! The memory plan: every tensor's place from its first write to its last read, why it lives in DRAM where it does, and the
//! most that each RAM holds; as text and as JSON.

use scnn_isa::program::Memory;
use scnn_simulator::report::columns::memory_name;
use scnnc::compile::Compiled;
use scnnc::map::residency::{InDram, Slot, Staging, lifetimes};
use scnnc::quantise::Operation;
use serde_json::{Value, json};
use std::fmt::Write;

/// A tensor, or tiles of one that are loaded, in an activation RAM.
struct Place<'a> {
    tensor: &'a str,
    /// Operations, from the first write to the last read.
    operations: (usize, usize),
    slot: Slot,
    /// The tensor lives in DRAM, and its tiles are loaded here.
    loaded: bool,
}

/// Where every tensor lives.
pub struct MemoryPlan<'a> {
    /// By first operation.
    places: Vec<Place<'a>>,
    /// Tensors that live in DRAM.
    in_dram: Vec<(&'a str, InDram)>,
    /// Elements of each RAM: the most that is taken in an operation, and all.
    peaks: [(Memory, u64, u64); 2],
}

impl<'a> MemoryPlan<'a> {
    /// Of a compiled model.
    pub fn of(compiled: &'a Compiled) -> Self {
        let (network, machine) = (&compiled.network, &compiled.program.machine);
        let residency = &compiled.mapped.residency;
        let homes = residency.homes.iter().zip(lifetimes(network));
        let tensors = network.tensors.iter().zip(homes);
        let mut places: Vec<Place<'_>> = tensors
            .filter_map(|(tensor, (home, operations))| {
                Some(Place {
                    tensor: &tensor.name,
                    operations: operations?,
                    slot: (*home)?,
                    loaded: false,
                })
            })
            .collect();
        for operation in 0..residency.stages.len() {
            places.extend(loaded(compiled, operation));
        }
        places.sort_by_key(|place| place.operations);
        let taken = |memory: Memory, operation: usize| -> u64 {
            let there = |place: &&Place<'_>| {
                place.slot.memory == memory
                    && (place.operations.0..=place.operations.1).contains(&operation)
            };
            places
                .iter()
                .filter(there)
                .map(|place| place.slot.size)
                .sum()
        };
        let peaks = [Memory::A, Memory::B].map(|memory| {
            let peak = (0..network.operations.len())
                .map(|operation| taken(memory, operation))
                .max();
            (memory, peak.unwrap_or(0), machine.ram_elements(memory))
        });
        let reasons = residency.in_dram(network, machine);
        let in_dram = network.tensors.iter().zip(reasons);
        Self {
            in_dram: in_dram
                .filter_map(|(tensor, reason)| Some((tensor.name.as_str(), reason?)))
                .collect(),
            places,
            peaks,
        }
    }

    /// As text.
    pub fn text(&self) -> String {
        let mut text =
            "memory plan: operations (first write to last read), place, elements of every PE\n"
                .to_owned();
        // Writing to a string does not fail.
        for (tensor, reason) in &self.in_dram {
            let _ = writeln!(text, "  {:9} DRAM      {tensor}: {reason}", "");
        }
        for place in &self.places {
            let Slot { memory, base, size } = place.slot;
            let (first, last) = place.operations;
            let _ = writeln!(
                text,
                "  {:9} {} {base:>4}..{:<4} {}{}",
                format!("{first}..{last}"),
                memory_name(memory),
                base + size,
                place.tensor,
                if place.loaded { " (loaded)" } else { "" }
            );
        }
        for (memory, peak, all) in self.peaks {
            let memory = memory_name(memory);
            let _ = writeln!(text, "  peak of RAM {memory}: {peak} of {all} elements");
        }
        text
    }

    /// As JSON; operations are numbered as in the report.
    pub fn json(&self) -> Value {
        let places = self.places.iter().map(|place| {
            json!({
                "tensor": place.tensor,
                "first_step": place.operations.0,
                "last_step": place.operations.1,
                "ram": memory_name(place.slot.memory),
                "first_element": place.slot.base,
                "elements": place.slot.size,
                "loaded": place.loaded,
            })
        });
        let in_dram = self.in_dram.iter().map(|(tensor, reason)| {
            json!({
                "tensor": tensor,
                "reason": reason.name(),
                "missing_bytes": reason.missing_bytes(),
                "because": reason.to_string(),
            })
        });
        let peaks = self.peaks.iter().map(|(memory, peak, all)| {
            json!({ "ram": memory_name(*memory), "peak_elements": peak, "elements": all })
        });
        json!({
            "places": places.collect::<Vec<_>>(),
            "in_dram": in_dram.collect::<Vec<_>>(),
            "rams": peaks.collect::<Vec<_>>(),
        })
    }
}

/// The places into which an operation loads tiles of its source.
fn loaded(compiled: &Compiled, operation: usize) -> Vec<Place<'_>> {
    let (network, residency) = (&compiled.network, &compiled.mapped.residency);
    let Operation::Layer(layer) = &network.operations[operation] else {
        return Vec::new();
    };
    let (slots, last) = match residency.stages[operation] {
        Some(Staging::PerTile(slot)) => (vec![slot], operation),
        Some(Staging::Alternate(slots)) => (slots.to_vec(), operation),
        Some(Staging::Once(slot)) => {
            let kept = |later: &usize| residency.stages[*later] == Some(Staging::Kept(operation));
            let last = (operation..residency.stages.len()).filter(kept).max();
            (vec![slot], last.unwrap_or(operation))
        }
        Some(Staging::Kept(_)) | None => return Vec::new(),
    };
    let place = |slot| Place {
        tensor: &network.tensor(layer.source.tensor).name,
        operations: (operation, last),
        slot,
        loaded: true,
    };
    slots.into_iter().map(place).collect()
}
