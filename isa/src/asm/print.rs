//! Program to text.

use super::describe::{self, one_line};
use super::token::quote;
use super::value;
use crate::ids::LayerId;
use crate::instruction::{DESCRIPTIONS, Instruction, Operand};
use crate::layer::Layer;
use crate::operation::OperationId;
use crate::plane::Span;
use crate::program::{Program, Runtime};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// Options of printing.
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

/// The text of one instruction of a program.
pub fn instruction(program: &Program, instruction: &Instruction) -> String {
    let mut line = instruction.mnemonic().to_owned();
    for (name, operand) in instruction.operands() {
        let operand = match operand {
            Operand::Layer(id) => IdTable::Layers.reference(program, id.index()),
            Operand::Region(id) | Operand::OptionalRegion(Some(id)) => {
                IdTable::Regions.reference(program, id.index())
            }
            Operand::OptionalRegion(None) => "none".to_owned(),
            Operand::Segment(id) => IdTable::Segments.reference(program, id.index()),
            Operand::Span(span) => span.to_string(),
            Operand::Index(index) => index.to_string(),
            Operand::Half(half) => half.to_string(),
        };
        // Writing to a string does not fail.
        let _ = write!(line, " {name}={operand}");
    }
    line
}

/// One layer of a program, for reading: its tensors, regions and descriptor, then its instructions. There may be no
/// layer of that name.
pub fn disassemble_layer(program: &Program, name: &str) -> Option<String> {
    let index = program.layers.iter().position(|layer| layer.name == name)?;
    let layer = &program.layers[index];
    let mut printer = Printer {
        program,
        text: String::new(),
    };
    let operand = layer.ppu.operand.map(|operand| operand.view.tensor);
    let tensors = [
        Some(layer.source.tensor),
        operand,
        Some(layer.destination.tensor),
    ];
    for id in tensors.into_iter().flatten() {
        if let Some(tensor) = program.tensors.get(id.index()) {
            printer.declare("tensor", Some(&tensor.name), serde_json::to_value(tensor));
        }
        let regions = program.regions.iter().filter(|region| region.tensor == id);
        for region in regions {
            printer.declare("region", Some(&region.name), serde_json::to_value(region));
        }
    }
    printer.text.push('\n');
    printer.layer(layer);
    printer.line("\n.code");
    let wanted = OperationId::Layer(LayerId(index as u32));
    for (_, span) in program.operations().filter(|(id, _)| *id == wanted) {
        printer.instructions(span);
    }
    Some(printer.text)
}

/// Some instructions of a program, for reading.
pub fn disassemble_range(program: &Program, span: Span) -> String {
    let mut printer = Printer {
        program,
        text: String::new(),
    };
    printer.instructions(span);
    printer.text.trim_start_matches('\n').to_owned()
}

/// Which table an index under that key refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdTable {
    Tensors,
    Regions,
    Layers,
    Sections,
    Values,
    Segments,
}

impl IdTable {
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
            let mut fields = json!({ "inputs": segment.inputs, "outputs": segment.outputs });
            if segment.runtime != Runtime::Tract {
                fields["runtime"] = json!(segment.runtime);
            }
            self.declare("segment", Some(&segment.name), Ok(fields));
            self.comment_last_line(&format!("ONNX, {} bytes", segment.model.len()));
        }
        for layer in &p.layers {
            self.text.push('\n');
            self.layer(layer);
        }
    }

    fn layer(&mut self, layer: &Layer) {
        for line in describe::layer(self.program, layer) {
            self.line(&format!("; {line}"));
        }
        self.declare("layer", Some(&layer.name), serde_json::to_value(layer));
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
        self.legend();
        self.line(".code");
        self.instructions(Span::new(0, self.program.code.len() as u32));
    }

    /// Instructions, under the ONNX nodes that they came from and what their layer computes.
    fn instructions(&mut self, span: Span) {
        let p = self.program;
        let mut ranges = p.source_map.iter().peekable();
        let mut end = None;
        for (index, instruction) in p.code.iter().enumerate() {
            let index = index as u32;
            let begins = ranges.next_if(|range| range.instructions.begin == index);
            let ends = end == Some(index);
            if let Some(range) = begins {
                end = Some(range.instructions.end);
            }
            if !span.contains(index) {
                continue;
            }
            if let Some(range) = begins {
                self.text.push('\n');
                self.what_runs(range.instructions);
                let nodes = range.nodes.iter().map(|node| format!(" {}", quote(node)));
                self.line(&format!(".nodes{}", nodes.collect::<String>()));
            } else if ends {
                self.line("\n.nodes none");
                end = None;
            }
            self.line(&format!("  {}", self::instruction(p, instruction)));
        }
    }

    /// A comment that says where a range of instructions stands and what its layers compute.
    fn what_runs(&mut self, span: Span) {
        let p = self.program;
        let mut place = format!("{span} ");
        for index in span.iter() {
            if let Some(Instruction::Cfg { layer }) = p.code.get(index as usize)
                && let Some(layer) = p.layers.get(layer.index())
                && let Some(line) = describe::layer(p, layer).first()
            {
                self.line(&format!("; {place}{line}"));
                place.clear();
            }
        }
        if !place.is_empty() {
            self.line(&format!("; {}", place.trim_end()));
        }
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
                if let (Some(table), Some(index)) = (IdTable::of_key(key), number.as_u64()) {
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
