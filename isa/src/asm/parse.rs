//! Text to program.

use super::AsmError;
use super::print::IdTable;
use super::token::{At, Token, Tokens};
use super::value::{self, describe};
use crate::ids::{LayerId, RegionId, SegmentId};
use crate::instruction::{
    DESCRIPTIONS, Instruction, Kind as OperandKind, Operand, OperandMismatch,
};
use crate::machine::{Machine, MachineError};
use crate::plane::Span;
use crate::program::{HostSegment, Program, Runtime, Section, SectionKind, SourceRange};
use crate::yaml;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;

/// Reads a text. What it says is not verified yet, see [`crate::verify`].
///
/// # Errors
/// The first thing that is not as the grammar, or as the descriptors, have it.
pub fn assemble(text: &str) -> Result<Program, AsmError> {
    let mut unlinked = Unlinked::default();
    let mut tokens = Tokens::new(text);
    loop {
        let at = tokens.at();
        match tokens.next()? {
            Token::Newline => {}
            Token::End => return unlinked.link(at),
            Token::Word(word) => {
                match word.strip_prefix('.') {
                    Some(kind) => unlinked.declaration(kind, at, &mut tokens)?,
                    None => unlinked.instruction(word, at, &mut tokens)?,
                }
                end_of_line(&mut tokens)?;
            }
            other => {
                return Err(at.error(format!(
                    "a line begins with a name, not with {}",
                    describe(&other)
                )));
            }
        }
    }
}

fn end_of_line(tokens: &mut Tokens) -> Result<(), AsmError> {
    let at = tokens.at();
    match tokens.peek()? {
        Token::Newline | Token::End => Ok(()),
        other => Err(at.error(format!(
            "expected the end of the line, found {}",
            describe(&other)
        ))),
    }
}

/// A declaration or an operand: its place, its name, its value.
type Named = (At, String, Value);

/// An instruction: its place, its mnemonic, its operands.
type Line = (At, String, Vec<Named>);

/// The declarations and instructions of a text, references still by name.
#[derive(Default)]
struct Unlinked {
    single: HashMap<&'static str, (At, Value)>,
    tables: HashMap<IdTable, Vec<Named>>,
    machine: Option<Machine>,
    data: HashMap<(&'static str, String), Vec<u8>>,
    code: Vec<Line>,
    nodes: Vec<(u32, Vec<String>)>,
}

/// Kinds of declarations that a text has at most once.
const SINGLE: &[&str] = &["provenance", "inputs", "outputs"];

/// Kinds of declarations that are entries of tables.
const ENTRIES: &[(&str, IdTable)] = &[
    ("value", IdTable::Values),
    ("tensor", IdTable::Tensors),
    ("region", IdTable::Regions),
    ("section", IdTable::Sections),
    ("segment", IdTable::Segments),
    ("layer", IdTable::Layers),
];

/// The other directives.
const OTHERS: &[&str] = &["machine", "data", "code", "nodes"];

/// Every kind of declaration and directive, in the order of the tables.
#[cfg(test)]
pub fn kinds() -> Vec<&'static str> {
    let entries = ENTRIES.iter().map(|(kind, _)| kind);
    let kinds = SINGLE.iter().chain(entries).chain(OTHERS);
    kinds.copied().collect()
}

impl Unlinked {
    fn declaration(&mut self, kind: &str, at: At, tokens: &mut Tokens) -> Result<(), AsmError> {
        if let Some(kind) = SINGLE.iter().find(|single| **single == kind) {
            let value = value::parse(tokens)?;
            return match self.single.insert(kind, (at, value)) {
                Some(_) => Err(at.error(format!("`.{kind}` stands here a second time"))),
                None => Ok(()),
            };
        }
        if let Some((_, table)) = ENTRIES.iter().find(|(entry, _)| *entry == kind) {
            let name = name(tokens)?;
            let value = value::parse(tokens)?;
            self.tables
                .entry(*table)
                .or_default()
                .push((at, name, value));
            return Ok(());
        }
        match kind {
            "machine" => self.machine(at, tokens),
            "data" => self.data(tokens),
            "nodes" => self.nodes(tokens),
            "code" => Ok(()),
            _ => {
                let known = SINGLE
                    .iter()
                    .copied()
                    .chain(ENTRIES.iter().map(|(entry, _)| *entry))
                    .chain(OTHERS.iter().copied());
                Err(unknown(at, "directive", kind, known))
            }
        }
    }

    fn machine(&mut self, at: At, tokens: &mut Tokens) -> Result<(), AsmError> {
        end_of_line(tokens)?;
        tokens.next()?;
        let first = at.line + 1;
        let machine = Machine::from_yaml(&tokens.indented_block()).map_err(|error| AsmError {
            line: error.place().map_or(at.line, |(line, _)| first + line - 1),
            column: error.place().map_or(at.column, |(_, column)| column + 2),
            help: error.help(),
            message: match error {
                MachineError::Syntax(error)
                | MachineError::UnknownKey(error)
                | MachineError::OutOfRange(error) => error.message,
                other => other.to_string(),
            },
        })?;
        match self.machine.replace(machine) {
            Some(_) => Err(at.error("`.machine` stands here a second time")),
            None => Ok(()),
        }
    }

    fn data(&mut self, tokens: &mut Tokens) -> Result<(), AsmError> {
        let at = tokens.at();
        let kind = match tokens.next()? {
            Token::Word("section") => "section",
            Token::Word("segment") => "segment",
            other => {
                return Err(at.error(format!(
                    "data are of a `section` or a `segment`, not of {}",
                    describe(&other)
                )));
            }
        };
        let name = name(tokens)?;
        if tokens.next()? != Token::Mark('[') {
            return Err(tokens.at().error("expected `[`"));
        }
        let mut bytes = Vec::new();
        loop {
            let at = tokens.at();
            match tokens.next()? {
                Token::Mark(']') => break,
                Token::Newline | Token::Mark(',') => {}
                Token::Text(text) => {
                    STANDARD
                        .decode_vec(&text, &mut bytes)
                        .map_err(|e| at.error(format!("this is no base64: {e}")))?;
                }
                other => {
                    return Err(at.error(format!(
                        "expected base64 in quotes, found {}",
                        describe(&other)
                    )));
                }
            }
        }
        match self.data.insert((kind, name), bytes) {
            Some(_) => Err(at.error("these data stand here a second time")),
            None => Ok(()),
        }
    }

    fn nodes(&mut self, tokens: &mut Tokens) -> Result<(), AsmError> {
        let mut nodes = Vec::new();
        while !matches!(tokens.peek()?, Token::Newline | Token::End) {
            if tokens.peek()? == Token::Word("none") {
                tokens.next()?;
                break;
            }
            nodes.push(name(tokens)?);
        }
        self.nodes.push((self.code.len() as u32, nodes));
        Ok(())
    }

    fn instruction(&mut self, mnemonic: &str, at: At, tokens: &mut Tokens) -> Result<(), AsmError> {
        let mut operands: Vec<Named> = Vec::new();
        while let Token::Word(operand) = tokens.peek()? {
            let at = tokens.at();
            tokens.next()?;
            if tokens.next()? != Token::Mark('=') {
                return Err(at.error(format!("expected `=` behind operand `{operand}`")));
            }
            if operands.iter().any(|(_, known, _)| known == operand) {
                return Err(at.error(format!("operand `{operand}` stands here twice")));
            }
            operands.push((at, operand.to_owned(), value::parse(tokens)?));
        }
        self.code.push((at, mnemonic.to_owned(), operands));
        Ok(())
    }

    fn link(mut self, end: At) -> Result<Program, AsmError> {
        let names = Names::of(&self.tables)?;
        let mut single = |kind| {
            self.single
                .remove(kind)
                .ok_or_else(|| end.error(format!("there is no `.{kind}`")))
        };
        let (provenance, inputs, outputs) =
            (single("provenance")?, single("inputs")?, single("outputs")?);
        let machine = self.machine.take().ok_or_else(|| AsmError {
            help: Some(
                "`scnnc disasm` without `--code` prints the machine and the data too".to_owned(),
            ),
            ..end.error("there is no `.machine`")
        })?;
        let code = self
            .code
            .iter()
            .map(|entry| names.instruction(entry))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Program {
            machine,
            provenance: names.descriptor("", provenance)?,
            tensors: self.table(IdTable::Tensors, &names)?,
            regions: self.table(IdTable::Regions, &names)?,
            layers: self.table(IdTable::Layers, &names)?,
            values: self.table(IdTable::Values, &names)?,
            sections: self.sections(&names)?,
            segments: self.segments(&names)?,
            inputs: names.descriptor("inputs", inputs)?,
            outputs: names.descriptor("outputs", outputs)?,
            source_map: self.source_map(code.len() as u32),
            code,
        })
    }

    fn entries(&mut self, table: IdTable) -> Vec<Named> {
        self.tables.remove(&table).unwrap_or_default()
    }

    fn table<T: DeserializeOwned>(
        &mut self,
        table: IdTable,
        names: &Names,
    ) -> Result<Vec<T>, AsmError> {
        let named = |(at, name, mut value): Named| {
            if let Value::Object(fields) = &mut value {
                fields.insert("name".to_owned(), name.into());
            }
            names.descriptor("", (at, value))
        };
        self.entries(table).into_iter().map(named).collect()
    }

    fn sections(&mut self, names: &Names) -> Result<Vec<Section>, AsmError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            kind: SectionKind,
        }
        let entries = self.entries(IdTable::Sections);
        let read = |(at, name, value): Named| {
            let Fields { kind } = names.descriptor("", (at, value))?;
            let bytes = self.bytes("section", at, &name)?;
            Ok(Section { name, kind, bytes })
        };
        entries.into_iter().map(read).collect()
    }

    fn segments(&mut self, names: &Names) -> Result<Vec<HostSegment>, AsmError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            inputs: Vec<crate::ids::ValueId>,
            outputs: Vec<crate::ids::ValueId>,
            #[serde(default)]
            runtime: Runtime,
        }
        let entries = self.entries(IdTable::Segments);
        let read = |(at, name, value): Named| {
            let Fields {
                inputs,
                outputs,
                runtime,
            } = names.descriptor("", (at, value))?;
            let model = self.bytes("segment", at, &name)?;
            Ok(HostSegment {
                name,
                model,
                inputs,
                outputs,
                runtime,
            })
        };
        entries.into_iter().map(read).collect()
    }

    fn bytes(&mut self, kind: &'static str, at: At, name: &str) -> Result<Vec<u8>, AsmError> {
        self.data
            .remove(&(kind, name.to_owned()))
            .ok_or_else(|| at.error(format!("there is no `.data {kind} {name}`")))
    }

    fn source_map(&self, end: u32) -> Vec<SourceRange> {
        let ends = self
            .nodes
            .iter()
            .skip(1)
            .map(|(begin, _)| *begin)
            .chain([end]);
        self.nodes
            .iter()
            .zip(ends)
            .filter(|((_, nodes), _)| !nodes.is_empty())
            .map(|((begin, nodes), end)| SourceRange {
                instructions: Span::new(*begin, end),
                nodes: nodes.clone(),
            })
            .collect()
    }
}

fn name(tokens: &mut Tokens) -> Result<String, AsmError> {
    let at = tokens.at();
    match tokens.next()? {
        Token::Word(name) => Ok(name.to_owned()),
        Token::Text(name) => Ok(name),
        other => Err(at.error(format!("expected a name, found {}", describe(&other)))),
    }
}

fn unknown<'a>(
    at: At,
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> AsmError {
    let help = match yaml::nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "known are {}",
            known.take(20).collect::<Vec<_>>().join(", ")
        ),
    };
    AsmError {
        help: Some(help),
        ..at.error(format!("there is no {what} `{name}`"))
    }
}

/// Where every name stands in its table.
struct Names(HashMap<IdTable, HashMap<String, u32>>);

impl Names {
    fn of(tables: &HashMap<IdTable, Vec<Named>>) -> Result<Self, AsmError> {
        let mut names: HashMap<IdTable, HashMap<String, u32>> = HashMap::new();
        for (table, entries) in tables {
            let known = names.entry(*table).or_default();
            for (index, (at, name, _)) in entries.iter().enumerate() {
                if known.insert(name.clone(), index as u32).is_some() {
                    return Err(at.error(format!("the name `{name}` stands here a second time")));
                }
            }
        }
        Ok(Self(names))
    }

    fn index(&self, table: IdTable, name: &str, at: At) -> Result<u32, AsmError> {
        let known = self.0.get(&table);
        known
            .and_then(|known| known.get(name))
            .copied()
            .ok_or_else(|| {
                let kind = ENTRIES
                    .iter()
                    .find(|(_, entry)| *entry == table)
                    .map_or("entry", |(kind, _)| kind);
                let mut all: Vec<&str> = known
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name.as_str())
                    .collect();
                all.sort_unstable();
                unknown(at, kind, name, all.into_iter())
            })
    }

    /// A descriptor of its declaration, which stands at `at`.
    fn descriptor<T: DeserializeOwned>(
        &self,
        key: &str,
        (at, mut value): (At, Value),
    ) -> Result<T, AsmError> {
        self.resolve(key, &mut value, at)?;
        serde_json::from_value(value).map_err(|error| {
            let message = error.to_string();
            AsmError {
                help: yaml::suggestion(&message),
                ..at.error(message)
            }
        })
    }

    /// Replaces names by indices.
    fn resolve(&self, key: &str, value: &mut Value, at: At) -> Result<(), AsmError> {
        match value {
            Value::String(name) => {
                if let Some(table) = IdTable::of_key(key) {
                    *value = self.index(table, name, at)?.into();
                }
                Ok(())
            }
            Value::Array(items) => items
                .iter_mut()
                .try_for_each(|item| self.resolve(key, item, at)),
            Value::Object(fields) => fields
                .iter_mut()
                .try_for_each(|(key, value)| self.resolve(key, value, at)),
            _ => Ok(()),
        }
    }

    fn instruction(&self, (at, mnemonic, operands): &Line) -> Result<Instruction, AsmError> {
        let mut used = 0;
        let built = Instruction::build(mnemonic, |name, kind| -> Result<Operand, OperandError> {
            let (at, _, value) = operands
                .iter()
                .find(|(_, operand, _)| operand == name)
                .ok_or_else(|| {
                    OperandError(at.error(format!("`{mnemonic}` needs operand `{name}`")))
                })?;
            used += 1;
            self.operand(kind, value, *at).map_err(OperandError)
        });
        let instruction = match built {
            None => {
                return Err(unknown(
                    *at,
                    "instruction",
                    mnemonic,
                    DESCRIPTIONS.iter().map(|d| d.mnemonic),
                ));
            }
            Some(built) => built.map_err(|error| error.0)?,
        };
        let known = instruction.description().operands.iter().map(|o| o.name);
        match operands
            .iter()
            .find(|(_, operand, _)| !known.clone().any(|name| name == operand))
        {
            Some((at, operand, _)) => Err(unknown(*at, "operand", operand, known)),
            None => Ok(instruction),
        }
    }

    fn operand(&self, kind: OperandKind, value: &Value, at: At) -> Result<Operand, AsmError> {
        let limit = |value: u64, bits: u32| {
            u32::try_from(value)
                .ok()
                .filter(|value| value >> bits == 0)
                .ok_or_else(|| at.error(format!("{value} is more than {bits} bits hold")))
        };
        let entry = |table| match value {
            Value::String(name) => self.index(table, name, at),
            Value::Number(number) => limit(number.as_u64().unwrap_or(u64::MAX), 16),
            _ => Err(at.error("expected a name")),
        };
        let number = || value.as_u64().ok_or_else(|| at.error("expected a number"));
        Ok(match kind {
            OperandKind::Layer => Operand::Layer(LayerId(entry(IdTable::Layers)?)),
            OperandKind::Region => Operand::Region(RegionId(entry(IdTable::Regions)?)),
            OperandKind::OptionalRegion if value.is_null() => Operand::OptionalRegion(None),
            OperandKind::OptionalRegion => {
                Operand::OptionalRegion(Some(RegionId(entry(IdTable::Regions)?)))
            }
            OperandKind::Segment => Operand::Segment(SegmentId(entry(IdTable::Segments)?)),
            OperandKind::Index => Operand::Index(limit(number()?, 16)?),
            OperandKind::Half => Operand::Half(limit(number()?, 1)? as u8),
            OperandKind::Span => {
                let end = |i| {
                    value
                        .get(i)
                        .and_then(Value::as_u64)
                        .ok_or_else(|| at.error("expected a span, such as 0..8"))
                };
                let (begin, end) = (limit(end(0)?, 16)?, limit(end(1)?, 16)?);
                if end < begin {
                    return Err(at.error("the span ends before it begins"));
                }
                Operand::Span(Span::new(begin, end))
            }
        })
    }
}

/// An operand's error with its place.
struct OperandError(AsmError);

impl From<OperandMismatch> for OperandError {
    fn from(error: OperandMismatch) -> Self {
        Self(At { line: 0, column: 0 }.error(error.to_string()))
    }
}
