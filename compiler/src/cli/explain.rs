//! `explain`: why each layer is mapped as it is, what bounds it, and what else there was.

use super::args::Explain;
use super::build;
use super::failure::Failure;
use super::output;
use super::table::{counted, si};
use scnn_isa::diagnostic::Code;
use scnn_isa::layout::{Layout, Tile};
use scnn_isa::machine::Machine;
use scnn_isa::program::Memory;
use scnnc::compile::Compiled;
use scnnc::map::LayerMapping;
use scnnc::map::explain::{Alternative, Explanation, explain as explain_layer};
use scnnc::map::residency::{Slot, Stage};
use scnnc::map::tiling::Cut;
use scnnc::quantise::{IntLayer, Step};
use serde_json::{Value, json};
use std::fmt::Write;

/// `scnnc explain`.
pub fn explain(options: &Explain) -> Result<(), Failure> {
    let stages = build::stages(&options.compilation, 1);
    let imported = build::open(&options.model, &options.compilation, &stages)?;
    let samples = if options.input.is_empty() {
        Vec::new()
    } else {
        build::read_samples(&options.input, &build::inputs_of(&imported))?
    };
    let compiled = build::build(
        &options.model,
        imported,
        &options.compilation,
        &samples,
        &stages,
    )?;
    stages.begin("explain");
    let machine = &compiled.program.machine;
    let layers: Vec<(usize, &IntLayer)> = compiled
        .network
        .steps
        .iter()
        .enumerate()
        .filter_map(|(step, described)| match described {
            Step::Layer(layer) => Some((step, layer.as_ref())),
            Step::Host(_) => None,
        })
        .filter(|(_, layer)| match &options.layer {
            Some(name) => layer.name == *name || layer.onnx_nodes.contains(name),
            None => true,
        })
        .collect();
    if layers.is_empty() {
        let name = options.layer.as_deref().unwrap_or_default();
        let known: Vec<&str> = compiled
            .program
            .layers
            .iter()
            .map(|layer| layer.name.as_str())
            .collect();
        return Err(Failure::input(
            Code::UnknownName,
            &format!("there is no layer `{name}`"),
            &format!("the layers are {}", known.join(", ")),
        ));
    }
    stages.length(layers.len());
    let mut explanations: Vec<(&IntLayer, Explanation)> = Vec::new();
    for (number, &(step, layer)) in layers.iter().enumerate() {
        let explained = explain_layer(
            &compiled.network,
            machine,
            &compiled.occupancy,
            &compiled.mapped,
            step,
        );
        explanations.extend(explained.map(|explained| (layer, explained)));
        stages.reached(number + 1);
    }
    stages.finish();
    if options.json {
        let layers = explanations.iter();
        output::print_json(&json!({
            "model": compiled.network.name,
            "machine": machine.name,
            "layers": layers.map(|(layer, explained)| as_json(&compiled, layer, explained)).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    let detailed = options.layer.is_some();
    let mut text = format!("{} on {}\n", compiled.network.name, machine.name);
    for (layer, explained) in &explanations {
        text.push('\n');
        text.push_str(&one(&compiled, layer, explained, detailed));
    }
    if !detailed {
        text.push('\n');
        text.push_str(&memory_plan(&compiled));
    }
    output::print(&text);
    Ok(())
}

/// One layer as JSON.
fn as_json(compiled: &Compiled, layer: &IntLayer, explained: &Explanation) -> Value {
    let machine = &compiled.program.machine;
    let layout = &compiled.mapped.layouts[layer.source.tensor.index()];
    let mapping = compiled.mapped.layers[explained.step].as_ref();
    let (bound, slots) = (&explained.bound, &explained.slots);
    let array = layer.conv.as_ref().map(|_| {
        json!({
            "bound_cycles": {
                "useful": bound.useful, "full_vectors": bound.vectors, "weight_bus": bound.bus, "dram": bound.dram,
            },
            "slots_ratio": {
                "useful": slots.useful, "fragmentation": slots.fragmentation, "out_of_plane": slots.out_of_plane,
                "waiting": slots.waiting, "no_tile": slots.no_tile,
            },
            "accumulators_used": explained.accumulators,
            "accumulators": machine.accumulator_entries(),
            "source_elements": explained.elements.0,
            "source_elements_of_fullest_tile": explained.elements.1,
            "ram_elements": machine.ram_elements(Memory::A),
        })
    });
    let excluded = explained.excluded.iter();
    let runners_up = explained.runners_up.iter();
    json!({
        "name": layer.name,
        "onnx_nodes": layer.onnx_nodes,
        "predicted_cycles": explained.cost.cycles,
        "mapping": mapping.map(|mapping| mapping_words(layout, mapping)),
        "memory": memory_words(compiled, layer, explained.step),
        "array": array,
        "limited_by": explained.limit.words(),
        "excluded": excluded.map(|other| json!({
            "mapping": other.what, "buffer": other.buffer, "exceeded_bytes": other.bytes,
        })).collect::<Vec<_>>(),
        "runners_up": runners_up.map(|other| json!({
            "mapping": alternative_mapping(other), "predicted_cycles": other.cost.cycles,
        })).collect::<Vec<_>>(),
    })
}

/// One layer; `detailed` adds the drawing of its tiles.
fn one(compiled: &Compiled, layer: &IntLayer, explained: &Explanation, detailed: bool) -> String {
    let machine = &compiled.program.machine;
    let mapping = compiled.mapped.layers[explained.step]
        .as_ref()
        .expect("an explained layer is mapped");
    let layout = &compiled.mapped.layouts[layer.source.tensor.index()];
    let mut text = format!("{}\n", layer.name);
    // Writing to a string does not fail.
    let mut line = |what: &str, content: &str| {
        let _ = writeln!(text, "  {what:12}{content}");
    };
    line(
        "predicted",
        &format!("{} cycles", si(explained.cost.cycles as f64, "")),
    );
    line("mapping", &mapping_words(layout, mapping));
    line("memory", &memory_words(compiled, layer, explained.step));
    if layer.conv.is_some() {
        let bound = &explained.bound;
        let least = bound.vectors.max(bound.bus).max(bound.dram).max(1);
        line(
            "bound",
            &format!(
                "{} useful, {} in full vectors, {} over the bus, {} from DRAM; predicted is {:.2}x the largest",
                si(bound.useful as f64, ""),
                si(bound.vectors as f64, ""),
                si(bound.bus as f64, ""),
                si(bound.dram as f64, ""),
                explained.cost.cycles as f64 / least as f64
            ),
        );
        let slots = &explained.slots;
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        line(
            "slots",
            &format!(
                "useful {}, fragmentation {}, out of plane {}, waiting {}, no tile {}",
                percent(slots.useful),
                percent(slots.fragmentation),
                percent(slots.out_of_plane),
                percent(slots.waiting),
                percent(slots.no_tile)
            ),
        );
        line(
            "uses",
            &format!(
                "{} of {} accumulators, {} of {} elements of an activation RAM ({} in the fullest tile)",
                explained.accumulators,
                machine.accumulator_entries(),
                explained.elements.0,
                machine.ram_elements(Memory::A),
                explained.elements.1
            ),
        );
    }
    line("limited by", explained.limit.words());
    let mut label = "excluded";
    for other in &explained.excluded {
        line(
            label,
            &format!(
                "{}: {} exceeded by {} bytes",
                other.what, other.buffer, other.bytes
            ),
        );
        label = "";
    }
    let mut label = "runners-up";
    for other in &explained.runners_up {
        line(label, &alternative_words(other, explained.cost.cycles));
        label = "";
    }
    if detailed {
        text.push_str(&drawing(layout, machine));
    }
    text
}

fn mapping_words(layout: &Layout, mapping: &LayerMapping) -> String {
    let tile = &layout.tiles[0];
    let mut text = format!("PE tile {} x {}", widest(&tile.y), widest(&tile.x));
    if tile.n.windows(2).any(|cut| cut[1] - cut[0] > 1) {
        let _ = write!(text, " of {} images", widest(&tile.n));
    }
    if mapping.kc > 0 {
        let _ = write!(
            text,
            ", Kc {} in {}",
            mapping.kc,
            counted(mapping.rounds() as usize, "round")
        );
    }
    if layout.groups.count() > 1 {
        let _ = write!(
            text,
            ", {} x {} PE groups",
            layout.groups.rows, layout.groups.cols
        );
    }
    if mapping.passes.len() > 1 {
        let _ = write!(text, ", {} temporal tiles", mapping.passes.len());
    }
    if layout.residues.count() > 1 && mapping.kc > 0 {
        let _ = write!(text, ", {} phases", layout.residues.count());
    }
    text
}

fn widest(cuts: &[u32]) -> u32 {
    cuts.windows(2)
        .map(|cut| cut[1] - cut[0])
        .max()
        .unwrap_or(0)
}

fn memory_words(compiled: &Compiled, layer: &IntLayer, step: usize) -> String {
    let residency = &compiled.mapped.residency;
    let home = |slot: Option<Slot>| match slot {
        Some(slot) => format!("RAM {}", memory_name(slot.memory)),
        None => "DRAM".to_owned(),
    };
    let from = match residency.stages[step] {
        None => home(residency.homes[layer.source.tensor.index()]),
        Some(Stage::PerTile(_)) => "DRAM, tile by tile".to_owned(),
        Some(Stage::Alternate(_)) => "DRAM, a tile ahead".to_owned(),
        Some(Stage::Once(_)) => "DRAM, once for all its readers".to_owned(),
        Some(Stage::Kept(_)) => "a RAM, loaded before".to_owned(),
    };
    let to = home(residency.homes[layer.destination.tensor.index()]);
    format!("from {from}, to {to}")
}

const fn memory_name(memory: Memory) -> &'static str {
    match memory {
        Memory::A => "A",
        Memory::B => "B",
        Memory::Dram => "DRAM",
    }
}

fn alternative_words(other: &Alternative, cycles: u64) -> String {
    format!(
        "{:>7} cycles ({:+.1} %): {}",
        si(other.cost.cycles as f64, ""),
        100.0 * (other.cost.cycles as f64 / cycles.max(1) as f64 - 1.0),
        alternative_mapping(other)
    )
}

fn alternative_mapping(other: &Alternative) -> String {
    let Cut {
        parts,
        groups,
        images,
        residues,
    } = other.cut;
    let mut text = format!("Kc {}", other.mapping.kc);
    let tiles = parts.n * parts.y * parts.x;
    let mut add = |words: String| {
        text.push_str(", ");
        text.push_str(&words);
    };
    if groups.count() > 1 {
        add(format!("{} x {} PE groups", groups.rows, groups.cols));
    }
    if tiles > 1 {
        add(format!(
            "{} x {} x {} temporal tiles",
            parts.n, parts.y, parts.x
        ));
    }
    if images.count() > 1 {
        add(format!("images over {} x {} PEs", images.rows, images.cols));
    }
    if residues.count() > 1 {
        add(format!("{} phases", residues.count()));
    }
    if !other.fits {
        add("source from DRAM".to_owned());
    }
    text
}

/// The first temporal tile as the PEs of a group divide it.
fn drawing(layout: &Layout, machine: &Machine) -> String {
    let tile = &layout.tiles[0];
    let mut text = format!(
        "  tiles       {} of {} x {} PEs; rows and columns of PEs with the rows y and columns x that they hold\n",
        layout.tiles.len(),
        tile.pes().rows,
        tile.pes().cols
    );
    let pes = tile.pes();
    let label = |pe_row: u32| span_words(tile, pe_row, true);
    let columns: Vec<String> = (0..pes.cols)
        .map(|col| span_words(tile, col, false))
        .collect();
    let width = columns.iter().map(String::len).max().unwrap_or(0).max(5);
    let left = (0..pes.rows).map(|row| label(row).len()).max().unwrap_or(0);
    let _ = write!(text, "    {:left$} ", "");
    for column in &columns {
        let _ = write!(text, " {column:^width$}");
    }
    text.push('\n');
    for row in 0..pes.rows {
        let _ = write!(text, "    {:left$} ", label(row));
        for col in 0..pes.cols {
            let rect = tile.pe_rect(row, col);
            let cell = if rect.is_empty() {
                "-".to_owned()
            } else {
                rect.positions().to_string()
            };
            let _ = write!(text, "|{cell:^width$}");
        }
        text.push_str("|\n");
    }
    if layout.groups.count() > 1 {
        let _ = writeln!(
            text,
            "    {} such groups on the {} x {} array, each with a replica",
            layout.groups.count(),
            machine.array.rows,
            machine.array.cols
        );
    }
    text
}

/// What a row or column of PEs holds.
fn span_words(tile: &Tile, index: u32, rows: bool) -> String {
    let rect = if rows {
        tile.pe_rect(index, 0)
    } else {
        tile.pe_rect(0, index)
    };
    let span = if rows { rect.y } else { rect.x };
    let axis = if rows { "y" } else { "x" };
    if tile.images.count() > 1 {
        format!("n{} {axis}{span}", rect.n)
    } else {
        format!("{axis}{span}")
    }
}

/// Where every tensor lives from which step to which, and the most that each RAM holds.
fn memory_plan(compiled: &Compiled) -> String {
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
