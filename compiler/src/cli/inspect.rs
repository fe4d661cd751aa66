//! What a program file holds, without the model: provenance, layers, instruction mix, sections and compression.

use comfy_table::{CellAlignment, Table};
use scnn_isa::ids::LayerId;
use scnn_isa::instruction::{DESCRIPTIONS, Instruction};
use scnn_isa::program::{Memory, Program, SectionKind};
use serde::Serialize;
use std::fmt;

/// A program in numbers.
#[derive(Debug, Serialize)]
pub struct Summary {
    model: String,
    model_hash: String,
    tool: String,
    options: Vec<String>,
    machine: String,
    instructions: Vec<(&'static str, usize)>,
    /// The layers, or those of one node.
    pub layers: Vec<Layer>,
    segments: Vec<Segment>,
    dram_bytes: u64,
    weight_bytes: u64,
    weight_bytes_dense: u64,
}

/// A layer in numbers.
#[derive(Debug, Serialize)]
pub struct Layer {
    name: String,
    onnx_nodes: Vec<String>,
    instructions: [u32; 2],
    shape: String,
    passes: usize,
    channel_groups: usize,
    weight_bytes: u64,
    weight_bytes_dense: u64,
}

#[derive(Debug, Serialize)]
struct Segment {
    name: String,
    bytes: usize,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl Summary {
    /// Summarises a verified program; with `node`, only the layers that came from that ONNX node.
    pub fn of(program: &Program, node: Option<&str>) -> Self {
        let mut layers = Vec::new();
        for range in &program.source_map {
            let ids =
                range
                    .instructions
                    .iter()
                    .filter_map(|i| match program.code.get(i as usize) {
                        Some(Instruction::Cfg { layer }) => Some(*layer),
                        _ => None,
                    });
            for id in ids {
                if node.is_none_or(|node| range.nodes.iter().any(|n| n == node)) {
                    layers.push(layer(
                        program,
                        id,
                        &range.nodes,
                        [range.instructions.begin, range.instructions.end],
                    ));
                }
            }
        }
        let count = |mnemonic| {
            program
                .code
                .iter()
                .filter(|i| i.mnemonic() == mnemonic)
                .count()
        };
        let names = |values: &[scnn_isa::ids::ValueId]| {
            values
                .iter()
                .map(|&v| program.value(v).name.clone())
                .collect()
        };
        let sections = program
            .sections
            .iter()
            .filter(|s| s.kind == SectionKind::Weights);
        Self {
            model: program.provenance.model.clone(),
            model_hash: program.provenance.model_hash.clone(),
            tool: program.provenance.tool.clone(),
            options: program.provenance.options.clone(),
            machine: program.machine.name.clone(),
            instructions: DESCRIPTIONS
                .iter()
                .map(|d| (d.mnemonic, count(d.mnemonic)))
                .filter(|(_, n)| *n > 0)
                .collect(),
            segments: program
                .segments
                .iter()
                .map(|s| Segment {
                    name: s.name.clone(),
                    bytes: s.model.len(),
                    inputs: names(&s.inputs),
                    outputs: names(&s.outputs),
                })
                .collect(),
            dram_bytes: program
                .regions
                .iter()
                .filter(|r| r.memory == Memory::Dram)
                .map(|r| r.size)
                .sum(),
            weight_bytes: sections.map(|s| s.bytes.len() as u64).sum(),
            weight_bytes_dense: (0..program.layers.len() as u32)
                .map(|i| dense_bytes(program, LayerId(i)))
                .sum(),
            layers,
        }
    }
}

fn layer(program: &Program, id: LayerId, nodes: &[String], instructions: [u32; 2]) -> Layer {
    let layer = program.layer(id);
    let from = program.tensor(layer.source.tensor).shape;
    let to = program.tensor(layer.destination.tensor).shape;
    let taps = layer.array.as_ref().map_or_else(
        || "ppu".to_owned(),
        |a| format!("{}x{}", a.y.kernel, a.x.kernel),
    );
    Layer {
        name: layer.name.clone(),
        onnx_nodes: nodes.to_vec(),
        instructions,
        shape: format!(
            "{}x{}x{} -> {}x{}x{}, {taps}",
            layer.source.channels.len(),
            from[2],
            from[3],
            layer.destination.channels.len(),
            to[2],
            to[3]
        ),
        passes: layer.passes.len(),
        channel_groups: layer.array.as_ref().map_or(0, |a| a.channel_groups.len()),
        weight_bytes: layer
            .array
            .as_ref()
            .map_or(0, |a| program.section(a.weights).bytes.len() as u64),
        weight_bytes_dense: dense_bytes(program, id),
    }
}

/// Bytes of a layer's weights without compression.
fn dense_bytes(program: &Program, id: LayerId) -> u64 {
    let layer = program.layer(id);
    layer.array.as_ref().map_or(0, |array| {
        let per_output = u64::from(layer.source.channels.len() / array.groups.max(1))
            * u64::from(array.y.kernel)
            * u64::from(array.x.kernel);
        u64::from(layer.destination.channels.len())
            * per_output
            * u64::from(program.machine.pe.operand_bits)
            / 8
    })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "model     {} (blake3 {})",
            self.model,
            self.model_hash.get(..16).unwrap_or(&self.model_hash)
        )?;
        writeln!(f, "compiled  by {}: {}", self.tool, self.options.join(", "))?;
        writeln!(f, "machine   {}", self.machine)?;
        let mix: Vec<String> = self
            .instructions
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        writeln!(f, "code      {}", mix.join(", "))?;
        writeln!(
            f,
            "weights   {} bytes, {:.2}x smaller than dense ({} bytes)",
            self.weight_bytes,
            self.weight_bytes_dense as f64 / self.weight_bytes.max(1) as f64,
            self.weight_bytes_dense
        )?;
        writeln!(
            f,
            "DRAM      {} bytes of activations at worst",
            self.dram_bytes
        )?;
        for segment in &self.segments {
            let (inputs, outputs) = (segment.inputs.join(", "), segment.outputs.join(", "));
            writeln!(
                f,
                "host      {}: {inputs} -> {outputs} ({} bytes of ONNX)",
                segment.name, segment.bytes
            )?;
        }
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header([
            "layer",
            "shape",
            "passes",
            "groups",
            "weights, B",
            "dense, B",
            "code",
            "ONNX nodes",
        ]);
        for layer in &self.layers {
            table.add_row([
                layer.name.clone(),
                layer.shape.clone(),
                layer.passes.to_string(),
                layer.channel_groups.to_string(),
                layer.weight_bytes.to_string(),
                layer.weight_bytes_dense.to_string(),
                format!("{}..{}", layer.instructions[0], layer.instructions[1]),
                layer.onnx_nodes.join(" "),
            ]);
        }
        for column in 2..=5 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(f, "\n{}", table.trim_fmt())
    }
}
