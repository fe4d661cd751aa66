//! A mapping as a table: how every layer is cut, and where every tensor lives.

use scnn_isa::program::{Memory, Program};
use scnn_simulator::report::Report;
use std::fmt::Write;

/// The table of a program; the report names the layers in the order of execution.
pub fn of(program: &Program, report: &Report) -> String {
    let mut text = String::from(
        "layer | tile | Kc | channel groups | PE groups | passes | phases | from | to\n",
    );
    for layer in &report.layers {
        let Some(mapping) = &layer.mapping else {
            let _ = writeln!(text, "{} | host", layer.name);
            continue;
        };
        let descriptor = program
            .layers
            .iter()
            .find(|l| l.name == layer.name)
            .unwrap();
        let groups = descriptor
            .array
            .as_ref()
            .map_or(0, |a| a.channel_groups.len());
        let _ = writeln!(
            text,
            "{} | {}x{} | {} | {groups} | {} | {} | {} | {} | {}",
            layer.name,
            mapping.tile_h,
            mapping.tile_w,
            mapping.kc,
            mapping.pe_groups,
            mapping.temporal_tiles,
            mapping.phases,
            memory(mapping.resident_in),
            memory(mapping.resident_out)
        );
    }
    text.push_str("\nregion | of tensor | shape | tiles | memory | base | size\n");
    for region in &program.regions {
        let tensor = program.tensor(region.tensor);
        let _ = writeln!(
            text,
            "{} | {} | {:?} | {} of {} | {} | {} | {} {}",
            region.name,
            tensor.name,
            tensor.shape,
            region.tiles,
            tensor.layout.tiles.len(),
            memory(region.memory),
            region.base,
            region.size,
            if region.memory == Memory::Dram {
                "bytes"
            } else {
                "elements"
            }
        );
    }
    text
}

fn memory(memory: Memory) -> &'static str {
    match memory {
        Memory::A => "A",
        Memory::B => "B",
        Memory::Dram => "DRAM",
    }
}
