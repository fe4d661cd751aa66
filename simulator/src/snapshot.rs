//! A program and one run of it as a short text that is the same wherever it is made: for snapshots in anyone's repository.
//!
//! The text says what the compiler decided and what the machine did (layers, mapping, sizes, instruction mix, cycles
//! and where they went, energy, hashes of instruction words and weights), one fact a line, so that a change shows as the few
//! lines that it is about. It holds no time and no path; energies are whole picojoules of sums in a fixed order, which every
//! processor rounds alike.
//!
//! ```text
//! scnnc-snapshot 2
//! model      lenet5, blake3 1f0c...
//! machine    scnn, 8 x 8 PEs of 16 multipliers
//! ...
//! layer /conv1/Conv
//!   shape      1x1x28x28 -> 1x20x24x24, 5x5
//!   mapping    tile 4x4, Kc 8, PE groups 1, temporal tiles 1, phases 1, dram -> b
//! ```

use crate::report::{Costs, Layer, Mapping, Report, Shape};
use scnn_isa::ids::LayerId;
use scnn_isa::instruction::{DESCRIPTIONS, Instruction};
use scnn_isa::operation::OperationId;
use scnn_isa::program::{Memory, Program, SectionKind};
use std::fmt::Write;

/// Version of the text's form, in its first line; it grows when a line changes its meaning.
pub const VERSION: u32 = 2;

/// The text of a verified program and of the report of running it.
pub fn text(program: &Program, report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = head(&mut text, program, report);
    for layer in &report.layers {
        let _ = writeln!(text, "\n{} {}", layer.engine, layer.name);
        let _ = body(&mut text, program, layer);
    }
    text
}

/// The version that a text says it has, if it is a snapshot at all.
pub fn version_of(text: &str) -> Option<u32> {
    let first = text.lines().next()?;
    first.strip_prefix("scnnc-snapshot ")?.trim().parse().ok()
}

fn head(out: &mut String, program: &Program, report: &Report) -> std::fmt::Result {
    let (provenance, machine) = (&program.provenance, &program.machine);
    writeln!(out, "scnnc-snapshot {VERSION}")?;
    writeln!(
        out,
        "model      {}, blake3 {}",
        provenance.model,
        short(&provenance.model_hash)
    )?;
    writeln!(
        out,
        "machine    {}, {} x {} PEs of {} multipliers",
        machine.name,
        machine.array.rows,
        machine.array.cols,
        machine.multipliers_per_pe()
    )?;
    writeln!(out, "options    {}", provenance.options.join(", "))?;
    let mix = DESCRIPTIONS
        .iter()
        .map(|description| {
            let count = program
                .code
                .iter()
                .filter(|i| i.mnemonic() == description.mnemonic)
                .count();
            (description.mnemonic, count)
        })
        .filter(|(_, count)| *count > 0)
        .map(|(mnemonic, count)| format!("{mnemonic} {count}"));
    writeln!(
        out,
        "code       {} instructions, blake3 {}",
        program.code.len(),
        hash_code(&program.code)
    )?;
    writeln!(out, "mix        {}", mix.collect::<Vec<_>>().join(", "))?;
    let weights = program
        .sections
        .iter()
        .filter(|section| section.kind == SectionKind::Weights);
    let dram = program
        .regions
        .iter()
        .filter(|region| region.memory == Memory::Dram);
    writeln!(
        out,
        "bytes      weights {}, activations in DRAM {} at worst, host models {}",
        weights.map(|section| section.bytes.len()).sum::<usize>(),
        dram.map(|region| region.size).sum::<u64>(),
        program
            .segments
            .iter()
            .map(|segment| segment.model.len())
            .sum::<usize>()
    )?;
    writeln!(
        out,
        "run        {}, {} sample{}",
        report.timing,
        report.samples,
        if report.samples == 1 { "" } else { "s" }
    )?;
    costs(out, "", &report.totals)
}

fn body(out: &mut String, program: &Program, layer: &Layer) -> std::fmt::Result {
    if !layer.onnx_nodes.is_empty() {
        writeln!(out, "  nodes      {}", layer.onnx_nodes.join(" "))?;
    }
    if let Some(s) = &layer.shape {
        writeln!(out, "  shape      {}", shape(s))?;
    }
    if let Some(m) = &layer.mapping {
        writeln!(out, "  mapping    {}", mapping(m))?;
    }
    if layer.engine == "scnn"
        && let Some(id) = find(program, &layer.name)
    {
        let code = code_of(program, id);
        writeln!(
            out,
            "  code       {} instructions, blake3 {}",
            code.len(),
            hash_code(code)
        )?;
        if let Some(array) = &program.layer(id).array {
            let bytes = &program.section(array.weights).bytes;
            writeln!(
                out,
                "  weights    {} bytes, blake3 {}",
                bytes.len(),
                short(&blake3::hash(bytes).to_hex())
            )?;
        }
    }
    costs(out, "  ", &layer.costs)
}

/// Cycles, the slots that went somewhere, largest first, and the energy, its components in the order of the table.
fn costs(out: &mut String, indent: &str, costs: &Costs) -> std::fmt::Result {
    writeln!(out, "{indent}cycles     {}", costs.cycles.total)?;
    let mut entries = costs.cycles.slots.entries();
    entries.retain(|(_, count)| *count > 0);
    entries.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let entries: Vec<String> = entries
        .into_iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if !entries.is_empty() {
        writeln!(out, "{indent}slots      {}", entries.join(", "))?;
    }
    let components = costs.energy_pj.components.components();
    let components = components.into_iter().filter(|(_, pj)| *pj >= 0.5);
    let components: Vec<String> = components
        .map(|(name, pj)| format!("{name} {pj:.0}"))
        .collect();
    let colon = if components.is_empty() { "" } else { ": " };
    writeln!(
        out,
        "{indent}energy     {:.0} pJ{colon}{}",
        costs.energy_pj.total,
        components.join(", ")
    )
}

fn shape(s: &Shape) -> String {
    let mut text = format!(
        "{}x{}x{}x{} -> {}x{}x{}x{}, {}x{}",
        s.n, s.c, s.h, s.w, s.n, s.k, s.out_h, s.out_w, s.r, s.s
    );
    if s.stride != [1, 1] {
        let _ = write!(text, ", stride {}x{}", s.stride[0], s.stride[1]);
    }
    if s.pad != [0; 4] {
        let _ = write!(text, ", pad {:?}", s.pad);
    }
    if s.dilation != [1, 1] {
        let _ = write!(text, ", dilation {}x{}", s.dilation[0], s.dilation[1]);
    }
    if s.groups != 1 {
        let _ = write!(text, ", groups {}", s.groups);
    }
    text
}

fn mapping(m: &Mapping) -> String {
    format!(
        "tile {}x{}, Kc {}, PE groups {}, temporal tiles {}, phases {}, {} -> {}",
        m.tile_h,
        m.tile_w,
        m.kc,
        m.pe_groups,
        m.temporal_tiles,
        m.phases,
        memory(m.resident_in),
        memory(m.resident_out)
    )
}

fn memory(memory: Memory) -> &'static str {
    match memory {
        Memory::A => "a",
        Memory::B => "b",
        Memory::Dram => "dram",
    }
}

fn find(program: &Program, name: &str) -> Option<LayerId> {
    let index = program.layers.iter().position(|layer| layer.name == name)?;
    Some(LayerId(index as u32))
}

/// The instructions of a layer.
fn code_of(program: &Program, id: LayerId) -> &[Instruction] {
    let wanted = OperationId::Layer(id);
    let mut operations = program.operations();
    let found = operations.find(|(operation, _)| *operation == wanted);
    found.map_or(&[], |(_, span)| program.instructions(span))
}

fn hash_code(code: &[Instruction]) -> String {
    let mut hasher = blake3::Hasher::new();
    for instruction in code {
        hasher.update(&instruction.encode());
    }
    short(&hasher.finalize().to_hex()).to_owned()
}

/// Enough of a hash to see that it changed.
fn short(hash: &str) -> &str {
    hash.get(..16).unwrap_or(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_the_version() {
        assert_eq!(version_of("scnnc-snapshot 7\nmodel x\n"), Some(7));
        assert_eq!(version_of("model x\n"), None);
        assert_eq!(version_of(""), None);
    }
}
