//! The memory plan as text.

use scnn_isa::program::Memory;
use scnn_simulator::report::columns::memory_name;
use scnnc::compile::Compiled;
use scnnc::map::residency::{Slot, Stage};
use scnnc::quantise::Step;
use std::fmt::Write;

/// Where every tensor lives from which step to which, and the most that each RAM holds.
pub fn memory_plan(compiled: &Compiled) -> String {
    let network = &compiled.network;
    let residency = &compiled.mapped.residency;
    let mut text =
        "memory plan: steps (first write to last read), place, elements of every PE\n".to_owned();
    let lives = scnnc::map::residency::lifetimes(network);
    let mut places: Vec<(usize, usize, Slot, &str)> = Vec::new();
    for (index, tensor) in network.tensors.iter().enumerate() {
        match (residency.homes[index], lives[index]) {
            (Some(slot), Some((first, last))) => places.push((first, last, slot, &tensor.name)),
            _ => {
                let _ = writeln!(text, "  {:9} DRAM      {}", "", tensor.name);
            }
        }
    }
    for (step, stage) in residency.stages.iter().enumerate() {
        let Step::Layer(layer) = &network.steps[step] else {
            continue;
        };
        let name = &network.tensor(layer.source.tensor).name;
        match *stage {
            Some(Stage::PerTile(slot)) => places.push((step, step, slot, name)),
            Some(Stage::Alternate([a, b])) => {
                places.extend([(step, step, a, name.as_str()), (step, step, b, name)]);
            }
            Some(Stage::Once(slot)) => {
                let kept = |later: &usize| residency.stages[*later] == Some(Stage::Kept(step));
                let last = (step..residency.stages.len()).filter(kept).max();
                places.push((step, last.unwrap_or(step), slot, name));
            }
            Some(Stage::Kept(_)) | None => {}
        }
    }
    places.sort_by_key(|place| (place.0, place.1));
    for (first, last, slot, name) in &places {
        let _ = writeln!(
            text,
            "  {:9} {} {:>4}..{:<4} {name}",
            format!("{first}..{last}"),
            memory_name(slot.memory),
            slot.base,
            slot.base + slot.size
        );
    }
    for memory in [Memory::A, Memory::B] {
        let peak = (0..network.steps.len())
            .map(|step| {
                places
                    .iter()
                    .filter(|(first, last, slot, _)| {
                        slot.memory == memory && *first <= step && step <= *last
                    })
                    .map(|(_, _, slot, _)| slot.size)
                    .sum::<u64>()
            })
            .max()
            .unwrap_or(0);
        let _ = writeln!(
            text,
            "  peak of RAM {}: {peak} of {} elements",
            memory_name(memory),
            compiled.program.machine.ram_elements(memory)
        );
    }
    text
}
