//! `inspect`: what a program file holds, without the model.

mod memory_map;
mod print;
mod weights;

use super::failure::Failure;
use super::{args, output, program};
use crate::codes::IsaCode;
use scnn_isa::ids::LayerId;
use scnn_isa::instruction::DESCRIPTIONS;
use scnn_isa::operation::OperationId;
use scnn_isa::program::{Program, Runtime, SectionKind};
use scnn_simulator::report::{Occupancy, occupancy};
use serde::Serialize;
use std::path::Path;
use weights::WeightSummary;

/// `scnnc inspect`.
pub fn inspect(options: &args::Inspect) -> Result<(), Failure> {
    let program = program::read(&options.program)?;
    if let Some(number) = options.extract_host {
        return extract(&program, number, options.output.as_deref());
    }
    let wanted = match &options.node {
        None => None,
        Some(node) => Some(program::find_layers(&program, node)?),
    };
    let summary = Summary::of(&program, wanted.as_deref());
    if options.json {
        let json = serde_json::to_string_pretty(&summary)
            .map_err(|e| Failure::file(IsaCode::Internal, &options.program, &e.to_string()))?;
        output::print(&format!("{json}\n"));
    } else {
        output::print(&summary.to_string());
    }
    Ok(())
}

/// Writes a host segment's model as an ONNX file.
fn extract(program: &Program, number: usize, to: Option<&Path>) -> Result<(), Failure> {
    let Some(segment) = program.segments.get(number) else {
        let count = program.segments.len();
        let help = match count {
            0 => "this program has none: all of it runs on the array".to_owned(),
            _ => format!("the numbers are 0 to {}", count - 1),
        };
        return Err(Failure::input(
            IsaCode::UnknownName,
            &format!("there is no host segment {number}"),
            &help,
        ));
    };
    let file = to.map_or_else(|| format!("host-{number}.onnx").into(), Path::to_path_buf);
    output::write(&file, &segment.model)?;
    output::print(&format!(
        "{}: host segment {number}, `{}`, {} bytes\n",
        file.display(),
        segment.name,
        segment.model.len()
    ));
    Ok(())
}

/// A program in numbers.
#[derive(Debug, Serialize)]
pub struct Summary {
    model: String,
    model_hash: String,
    tool: String,
    options: Vec<String>,
    machine: String,
    /// Capacity of RAMs A and B of a PE, elements.
    ram_elements: [u64; 2],
    instructions: Vec<(&'static str, usize)>,
    sections: Vec<Sections>,
    /// The layers, or those of one node.
    pub layers: Vec<LayerSummary>,
    segments: Vec<SegmentSummary>,
    /// Regions of the RAMs and of DRAM, and the operations during which they are in use.
    regions: Vec<Occupancy>,
    /// Names of the layers and host segments in the order of execution.
    #[serde(rename = "steps")]
    operations: Vec<String>,
}

/// The sections of one kind.
#[derive(Debug, Serialize)]
struct Sections {
    kind: SectionKind,
    count: usize,
    bytes: usize,
}

/// A layer in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerSummary {
    /// Name.
    pub name: String,
    /// ONNX nodes it computes.
    pub onnx_nodes: Vec<String>,
    /// Range of its instructions.
    pub instructions: [u32; 2],
    /// Extents, as people write them.
    pub shape: String,
    /// Temporal tiles.
    pub passes: usize,
    /// Output-channel groups.
    pub channel_groups: usize,
    /// The largest of them, channels.
    pub kc: u32,
    /// PE groups.
    pub pe_groups: u32,
    /// Its weights; layers of the PPU have none.
    pub weights: Option<WeightSummary>,
}

#[derive(Debug, Serialize)]
struct SegmentSummary {
    name: String,
    runtime: Runtime,
    bytes: usize,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl Summary {
    /// Summarises a verified program; with `wanted`, only the layers of those names.
    pub fn of(program: &Program, wanted: Option<&[&str]>) -> Self {
        let names = |values: &[scnn_isa::ids::ValueId]| {
            let names = values.iter().map(|&v| program.value(v).name.clone());
            names.collect()
        };
        let segments = program.segments.iter().map(|segment| SegmentSummary {
            name: segment.name.clone(),
            runtime: segment.runtime,
            bytes: segment.model.len(),
            inputs: names(&segment.inputs),
            outputs: names(&segment.outputs),
        });
        let machine = &program.machine;
        let rams = [scnn_isa::program::Memory::A, scnn_isa::program::Memory::B];
        Self {
            model: program.provenance.model.clone(),
            model_hash: program.provenance.model_hash.clone(),
            tool: program.provenance.tool.clone(),
            options: program.provenance.options.clone(),
            machine: machine.name.clone(),
            ram_elements: rams.map(|ram| machine.ram_elements(ram)),
            instructions: instruction_mix(program),
            sections: sections(program),
            segments: segments.collect(),
            regions: occupancy(program),
            operations: operations(program),
            layers: layers(program, wanted),
        }
    }
}

/// How often each instruction stands in the program.
fn instruction_mix(program: &Program) -> Vec<(&'static str, usize)> {
    let count = |mnemonic| {
        let same = program.code.iter().filter(|i| i.mnemonic() == mnemonic);
        same.count()
    };
    DESCRIPTIONS
        .iter()
        .map(|d| (d.mnemonic, count(d.mnemonic)))
        .filter(|(_, n)| *n > 0)
        .collect()
}

fn sections(program: &Program) -> Vec<Sections> {
    let kinds = [
        SectionKind::Weights,
        SectionKind::Requantise,
        SectionKind::Table,
        SectionKind::Slopes,
    ];
    let of_kind = |kind| {
        let sections = program.sections.iter().filter(|s| s.kind == kind);
        Sections {
            kind,
            count: sections.clone().count(),
            bytes: sections.map(|s| s.bytes.len()).sum(),
        }
    };
    let all = kinds.map(of_kind).into_iter();
    all.filter(|sections| sections.count > 0).collect()
}

fn operations(program: &Program) -> Vec<String> {
    let operations = program.operations();
    let names = operations.map(|(id, _)| program.operation_name(id).to_owned());
    names.collect()
}

/// The layers of a program in the order of execution. `wanted` selects layers by name; all without it.
pub fn layers(program: &Program, wanted: Option<&[&str]>) -> Vec<LayerSummary> {
    let layers = program.operations().filter_map(|(id, span)| match id {
        OperationId::Layer(id) => Some((id, span)),
        OperationId::Segment(_) => None,
    });
    let is_wanted = |id: &LayerId| {
        let name = program.layer(*id).name.as_str();
        wanted.is_none_or(|wanted| wanted.contains(&name))
    };
    layers
        .filter(|(id, _)| is_wanted(id))
        .map(|(id, span)| {
            let nodes = program.nodes_of(span.begin);
            layer(program, id, nodes, [span.begin, span.end])
        })
        .collect()
}

fn layer(program: &Program, id: LayerId, nodes: &[String], instructions: [u32; 2]) -> LayerSummary {
    let layer = program.layer(id);
    let from = program.tensor(layer.source.tensor).shape;
    let to = program.tensor(layer.destination.tensor).shape;
    let array = layer.array.as_ref();
    let taps = array.map_or_else(
        || "ppu".to_owned(),
        |a| format!("{}x{}", a.y.kernel, a.x.kernel),
    );
    LayerSummary {
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
        channel_groups: array.map_or(0, |a| a.channel_groups.len()),
        kc: array
            .and_then(|a| a.channel_groups.iter().map(|k| k.len()).max())
            .unwrap_or(0),
        pe_groups: array.map_or(1, |a| a.pe_groups.count()),
        weights: WeightSummary::of(program, layer),
    }
}
