//! Program to text.

use super::token::quote;
use super::value;
use crate::instruction::{DESCRIPTIONS, Instruction, Operand};
use crate::layer::{Function, Layer, PoolKind};
use crate::program::{Program, Section, SectionKind};
use crate::section::WeightBlocks;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// What is printed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether constants, host models and the machine stand behind the code. Without them the text is for reading
    /// only.
    pub data: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { data: true }
    }
}

/// The text of a program.
pub fn disassemble(program: &Program, options: &Options) -> String {
    let mut text = Printer {
        program,
        text: String::new(),
    };
    text.head();
    text.tables();
    text.code();
    if options.data {
        text.data();
    }
    text.text
}

/// Which table an index under that key refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    Tensors,
    Regions,
    Layers,
    Sections,
    Values,
    Segments,
}

impl Table {
    /// The table that values under `key` refer to.
    pub fn of_key(key: &str) -> Option<Self> {
        Some(match key {
            "tensor" => Self::Tensors,
            "region" => Self::Regions,
            "weights" | "requantise" | "leaky" | "table" => Self::Sections,
            "inputs" | "outputs" => Self::Values,
            _ => return None,
        })
    }

    fn name(self, program: &Program, index: usize) -> Option<&str> {
        let name = match self {
            Self::Tensors => &program.tensors.get(index)?.name,
            Self::Regions => &program.regions.get(index)?.name,
            Self::Layers => &program.layers.get(index)?.name,
            Self::Sections => &program.sections.get(index)?.name,
            Self::Values => &program.values.get(index)?.name,
            Self::Segments => &program.segments.get(index)?.name,
        };
        Some(name)
    }

    /// How the text refers to an entry.
    fn reference(self, program: &Program, index: usize) -> String {
        self.name(program, index)
            .map_or_else(|| format!("#{index}"), quote)
    }
}

struct Printer<'a> {
    program: &'a Program,
    text: String,
}

impl Printer<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn head(&mut self) {
        let p = self.program;
        let counts = format!("{} layers, {} instructions", p.layers.len(), p.code.len());
        self.line(&format!(
            "; {} on machine {}: {counts}",
            one_line(&p.provenance.model),
            one_line(&p.machine.name)
        ));
        self.declare("provenance", None, serde_json::to_value(&p.provenance));
        self.declare("inputs", None, Ok(json!({ "inputs": p.inputs })));
        self.declare("outputs", None, Ok(json!({ "outputs": p.outputs })));
    }

    fn tables(&mut self) {
        let p = self.program;
        self.line("\n; What the host sees, and where the machine keeps it.");
        self.entries("value", &p.values, |v| &v.name);
        self.line(
            "\n; Activation tensors: N x C x H x W, the cut over the PEs, the blocks' residues.",
        );
        self.entries("tensor", &p.tensors, |t| &t.name);
        self.line("\n; Places of tensors: elements of every PE's RAM A or B, bytes of DRAM.");
        self.entries("region", &p.regions, |r| &r.name);
        self.line("\n; Constants.");
        for section in &p.sections {
            let comment = format!("{} bytes", section.bytes.len());
            self.declare(
                "section",
                Some(&section.name),
                Ok(json!({ "kind": section.kind })),
            );
            self.comment_last_line(&comment);
        }
        if !p.segments.is_empty() {
            self.line("\n; What the host runs.");
        }
        for segment in &p.segments {
            let fields = json!({ "inputs": segment.inputs, "outputs": segment.outputs });
            self.declare("segment", Some(&segment.name), Ok(fields));
            self.comment_last_line(&format!("ONNX, {} bytes", segment.model.len()));
        }
        for layer in &p.layers {
            self.text.push('\n');
            for line in geometry(p, layer) {
                self.line(&format!("; {line}"));
            }
            self.declare("layer", Some(&layer.name), serde_json::to_value(layer));
        }
    }

    /// One line for each instruction that the program uses.
    fn legend(&mut self) {
        self.line("");
        for described in DESCRIPTIONS {
            let used = |instruction: &Instruction| instruction.opcode() == described.opcode;
            if self.program.code.iter().any(used) {
                let (mnemonic, meaning) = (described.mnemonic, described.meaning.trim());
                self.line(&format!("; {mnemonic}  {meaning}"));
            }
        }
    }

    fn code(&mut self) {
        let p = self.program;
        self.legend();
        self.line(".code");
        let mut ranges = p.source_map.iter().peekable();
        let mut end = None;
        for (index, instruction) in p.code.iter().enumerate() {
            let index = index as u32;
            if let Some(range) = ranges.next_if(|range| range.instructions.begin == index) {
                let nodes: Vec<String> = range
                    .nodes
                    .iter()
                    .map(|node| format!(" {}", quote(node)))
                    .collect();
                self.line(&format!("\n.nodes{}", nodes.concat()));
                end = Some(range.instructions.end);
            } else if end == Some(index) {
                self.line("\n.nodes none");
                end = None;
            }
            let line = self.instruction(instruction);
            self.line(&line);
        }
    }

    fn instruction(&self, instruction: &Instruction) -> String {
        let mut line = format!("  {}", instruction.mnemonic());
        for (name, operand) in instruction.operands() {
            let p = self.program;
            let operand = match operand {
                Operand::Layer(id) => Table::Layers.reference(p, id.index()),
                Operand::Region(id) | Operand::OptionalRegion(Some(id)) => {
                    Table::Regions.reference(p, id.index())
                }
                Operand::OptionalRegion(None) => "none".to_owned(),
                Operand::Segment(id) => Table::Segments.reference(p, id.index()),
                Operand::Span(span) => span.to_string(),
                Operand::Index(index) => index.to_string(),
                Operand::Half(half) => half.to_string(),
            };
            // Writing to a string does not fail.
            let _ = write!(line, " {name}={operand}");
        }
        line
    }

    fn data(&mut self) {
        let p = self.program;
        self.line("\n; The machine, every parameter.\n.machine");
        for line in p.machine.to_yaml().lines() {
            self.line(format!("  {line}").trim_end());
        }
        self.line("\n; What the sections and the host models hold, base64.");
        for section in &p.sections {
            self.blob("section", &section.name, &section.bytes);
        }
        for segment in &p.segments {
            self.blob("segment", &segment.name, &segment.model);
        }
    }

    fn blob(&mut self, kind: &str, name: &str, bytes: &[u8]) {
        self.line(&format!(".data {kind} {} [", quote(name)));
        for chunk in bytes.chunks(84) {
            self.text.push_str("  \"");
            STANDARD.encode_string(chunk, &mut self.text);
            self.text.push_str("\"\n");
        }
        self.line("]");
    }

    fn entries<T: Serialize>(&mut self, kind: &str, entries: &[T], name: impl Fn(&T) -> &String) {
        for entry in entries {
            self.declare(kind, Some(name(entry)), serde_json::to_value(entry));
        }
    }

    /// One declaration; a name stands before the fields, not among them, and a single list needs no key.
    fn declare(
        &mut self,
        kind: &str,
        name: Option<&str>,
        fields: Result<Value, serde_json::Error>,
    ) {
        let mut fields = fields.expect("descriptors are plain maps, lists and numbers");
        if name.is_some()
            && let Value::Object(fields) = &mut fields
        {
            fields.shift_remove("name");
        }
        self.link("", &mut fields);
        let fields = fields.get(kind).cloned().unwrap_or(fields);
        let head = match name {
            Some(name) => format!(".{kind} {} ", quote(name)),
            None => format!(".{kind} "),
        };
        let body = value::print(kind, &fields, head.chars().count());
        self.line(&format!("{head}{body}"));
    }

    fn comment_last_line(&mut self, comment: &str) {
        self.text.truncate(self.text.trim_end_matches('\n').len());
        self.line(&format!("  ; {comment}"));
    }

    /// Replaces indices by names.
    fn link(&self, key: &str, value: &mut Value) {
        match value {
            Value::Number(number) => {
                if let (Some(table), Some(index)) = (Table::of_key(key), number.as_u64()) {
                    let index = usize::try_from(index).unwrap_or(usize::MAX);
                    if let Some(name) = table.name(self.program, index) {
                        *value = name.into();
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.link(key, item)),
            Value::Object(fields) => fields
                .iter_mut()
                .for_each(|(key, value)| self.link(key, value)),
            _ => {}
        }
    }
}

/// What a layer computes, in a line or two.
fn geometry(program: &Program, layer: &Layer) -> Vec<String> {
    let tensor = |id: crate::ids::TensorId| program.tensors.get(id.index());
    let (Some(source), Some(destination)) = (
        tensor(layer.source.tensor),
        tensor(layer.destination.tensor),
    ) else {
        return Vec::new();
    };
    let extents = |channels: u32, [_, _, h, w]: [u32; 4]| format!("{channels}x{h}x{w}");
    let mut what = format!(
        "{} -> {}",
        extents(layer.source.channels.len(), source.shape),
        extents(layer.destination.channels.len(), destination.shape)
    );
    let mut put = |text: String| what.push_str(&text);
    if let Some(array) = &layer.array {
        put(format!(
            ", {}x{} convolution",
            array.y.kernel, array.x.kernel
        ));
        if array.y.stride * array.x.stride > 1 {
            put(format!(", stride {}x{}", array.y.stride, array.x.stride));
        }
        if array.groups > 1 {
            put(format!(", {} groups", array.groups));
        }
    }
    if layer.ppu.operand.is_some() {
        put(", plus a residual operand".to_owned());
    }
    match layer.ppu.function {
        Some(Function::Leaky(_)) => put(", leaky ReLU".to_owned()),
        Some(Function::Table(_)) => put(", activation by table".to_owned()),
        None if layer.ppu.clamp[0] == 0 => put(", ReLU".to_owned()),
        None => {}
    }
    if let Some(pool) = &layer.ppu.pool {
        let kind = if pool.kind == PoolKind::Max {
            "maximum"
        } else {
            "average"
        };
        put(format!(
            ", {kind} pooling {}x{}",
            pool.y.kernel, pool.x.kernel
        ));
    }
    let mut lines = vec![format!("{}: {what}", one_line(&layer.name))];
    lines.extend(mapping(program, layer));
    lines
}

/// How an array layer is mapped, and how dense its weights are.
fn mapping(program: &Program, layer: &Layer) -> Option<String> {
    let array = layer.array.as_ref()?;
    let source = program.tensors.get(layer.source.tensor.index())?;
    let section = program.sections.get(array.weights.index())?;
    let (channels, outputs) = (
        layer.source.channels.len(),
        layer.destination.channels.len(),
    );
    let kc = array.channel_groups.iter().map(|group| group.len()).max()?;
    let (groups, passes) = (array.channel_groups.len(), layer.passes.len());
    let density = density(
        program,
        section,
        layer,
        channels,
        outputs,
        source.layout.residues,
    );
    Some(format!(
        "{groups} output-channel group{} of at most {kc} channels, {passes} pass{}, products rounded to 2^{}{}",
        if groups == 1 { "" } else { "s" },
        if passes == 1 { "" } else { "es" },
        array.product_shift,
        density.map_or_else(String::new, |d| format!(
            ", {:.1} % of the weights are not zero",
            100.0 * d
        )),
    ))
}

fn density(
    program: &Program,
    section: &Section,
    layer: &Layer,
    channels: u32,
    outputs: u32,
    residues: crate::layout::Grid,
) -> Option<f64> {
    let array = layer.array.as_ref()?;
    if section.kind != SectionKind::Weights {
        return None;
    }
    let format = program.machine.weight_format();
    let blocks =
        WeightBlocks::decode(&section.bytes, format, array, channels, outputs, residues).ok()?;
    let nonzero = blocks
        .elements
        .iter()
        .filter(|element| element.value != 0)
        .count() as f64;
    let taps = u64::from(array.y.kernel) * u64::from(array.x.kernel);
    let weights = u64::from(outputs) * u64::from(channels / array.groups.max(1)) * taps;
    (weights > 0).then(|| nonzero / weights as f64)
}

/// Text from outside, safe in a comment.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
