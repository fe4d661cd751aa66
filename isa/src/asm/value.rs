//! Values of declarations: JSON's model in a form that is shorter to read.
//!
//! The descriptors' serde form alone decides which declarations are allowed; here it is only spelled. Which lists
//! print as spans, cuts or extents is decided by key, and reading needs no keys.

use super::AsmError;
use super::token::{Token, Tokens, quote};
use serde_json::{Map, Value};

/// Width that lines are kept to.
pub const WIDTH: usize = 118;

/// Keys whose lists are spans, or cuts of an axis.
const SPANS: &[&str] = &["n", "y", "x", "channels", "tiles", "channel_groups"];

/// Keys whose lists are extents.
const EXTENTS: &[&str] = &["shape", "groups", "residues", "images", "pe_groups"];

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 16;

/// Most positions that cuts may stand for.
const MAX_CUTS: u64 = 1 << 16;

/// Spells `value`, which follows `key`, behind `used` characters of a line: on this line if it fits, else each
/// field on a line of its own.
pub fn print(key: &str, value: &Value, used: usize) -> String {
    spread(key, value, used, 0)
}

fn spread(key: &str, value: &Value, used: usize, indent: usize) -> String {
    let line = inline(key, value);
    let (outer, inner) = (" ".repeat(indent), " ".repeat(indent + 2));
    match value {
        _ if used + line.chars().count() <= WIDTH => line,
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| {
                let head = format!("{inner}{key}: ");
                format!("{head}{}\n", spread(key, value, head.len(), indent + 2))
            };
            format!(
                "{{\n{}{outer}}}",
                fields.iter().map(field).collect::<String>()
            )
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let item = |item| format!("{inner}{}\n", spread(key, item, indent + 2, indent + 2));
            format!("[\n{}{outer}]", items.iter().map(item).collect::<String>())
        }
        _ => line,
    }
}

fn inline(key: &str, value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => match number.as_f64() {
            // The only reals of a program are single precision; their shortest form is what a person wrote.
            Some(real) if number.is_f64() => format!("{:?}", real as f32),
            _ => number.to_string(),
        },
        Value::String(name) => quote(name),
        Value::Array(items) => list(key, items),
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(k, v)| format!("{k}: {}", inline(k, v)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

fn list(key: &str, items: &[Value]) -> String {
    let numbers: Option<Vec<u64>> = items.iter().map(Value::as_u64).collect();
    match numbers {
        Some(numbers) if EXTENTS.contains(&key) && numbers.len() > 1 => {
            return numbers
                .iter()
                .map(u64::to_string)
                .collect::<Vec<_>>()
                .join("x");
        }
        Some(numbers) if SPANS.contains(&key) => {
            if let [begin, end] = numbers[..] {
                return format!("{begin}..{end}");
            }
            if let Some(cuts) = Cuts::of(&numbers) {
                return cuts.to_string();
            }
        }
        _ => {}
    }
    let items = if key == "channel_groups" {
        spans(items)
    } else {
        items.iter().map(|v| inline(key, v)).collect()
    };
    format!("[{}]", items.join(", "))
}

/// Spells spans, those that follow each other with one length as cuts.
fn spans(items: &[Value]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = items;
    while let [first, ..] = rest {
        let ends = |item: &Value| Some((item.get(0)?.as_u64()?, item.get(1)?.as_u64()?));
        let mut cuts: Vec<u64> = ends(first)
            .map(|(begin, end)| vec![begin, end])
            .unwrap_or_default();
        let mut run = 1;
        for item in &rest[1..] {
            let (Some((begin, end)), Some(&last)) = (ends(item), cuts.last()) else {
                break;
            };
            let (step, previous) = (
                cuts[1] - cuts[0].min(cuts[1]),
                last - cuts[cuts.len() - 2].min(last),
            );
            if begin != last || end <= begin || previous != step || end - begin > step {
                break;
            }
            cuts.push(end);
            run += 1;
        }
        match Cuts::of(&cuts) {
            Some(uniform) if run > 1 => {
                texts.push(uniform.to_string());
                rest = &rest[run..];
            }
            _ => {
                texts.push(inline("channel_groups", first));
                rest = &rest[1..];
            }
        }
    }
    texts
}

/// Ascending positions at one distance, the last ones cut short by the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cuts {
    begin: u64,
    end: u64,
    step: u64,
    parts: u64,
}

impl Cuts {
    fn of(positions: &[u64]) -> Option<Self> {
        let [begin, second, .., end] = *positions else {
            return None;
        };
        let cuts = Self {
            begin,
            end,
            step: second.checked_sub(begin)?,
            parts: positions.len() as u64 - 1,
        };
        (cuts.step > 0 && cuts.positions().eq(positions.iter().copied())).then_some(cuts)
    }

    fn positions(self) -> impl Iterator<Item = u64> {
        (0..=self.parts).map(move |i| {
            self.begin
                .saturating_add(i.saturating_mul(self.step))
                .min(self.end)
        })
    }

    /// Parts when the text names none.
    fn natural_parts(self) -> u64 {
        (self.end - self.begin).div_ceil(self.step)
    }
}

impl std::fmt::Display for Cuts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{} by {}", self.begin, self.end, self.step)?;
        if self.parts == self.natural_parts() {
            Ok(())
        } else {
            write!(f, " in {}", self.parts)
        }
    }
}

/// Reads a value.
pub fn parse(tokens: &mut Tokens) -> Result<Value, AsmError> {
    nested(tokens, 0)
}

fn nested(tokens: &mut Tokens, depth: usize) -> Result<Value, AsmError> {
    let at = tokens.at();
    if depth > MAX_DEPTH {
        return Err(at.error(format!("values nest at most {MAX_DEPTH} deep")));
    }
    match tokens.next()? {
        Token::Mark('{') => object(tokens, depth),
        Token::Mark('[') => Ok(Value::Array(items(tokens, depth)?)),
        Token::Word("none") => Ok(Value::Null),
        Token::Word("true") => Ok(Value::Bool(true)),
        Token::Word("false") => Ok(Value::Bool(false)),
        Token::Word(name) => Ok(name.into()),
        Token::Text(text) => Ok(text.into()),
        Token::Index(index) => Ok(index.into()),
        Token::Number(text) => {
            match number(text).ok_or_else(|| at.error(format!("`{text}` is no number")))? {
                Value::Array(ends) if tokens.peek()? == Token::Word("by") => {
                    Ok(cuts(tokens, &ends)?.positions().collect::<Vec<_>>().into())
                }
                value => Ok(value),
            }
        }
        other => Err(at.error(format!("expected a value, found {}", describe(&other)))),
    }
}

fn object(tokens: &mut Tokens, depth: usize) -> Result<Value, AsmError> {
    let mut fields = Map::new();
    loop {
        let at = tokens.at();
        match tokens.next()? {
            Token::Mark('}') => return Ok(Value::Object(fields)),
            Token::Newline | Token::Mark(',') => {}
            Token::Word(key) => {
                let colon = tokens.at();
                if tokens.next()? != Token::Mark(':') {
                    return Err(colon.error(format!("expected `:` behind `{key}`")));
                }
                let value = nested(tokens, depth + 1)?;
                if fields.insert(key.to_owned(), value).is_some() {
                    return Err(at.error(format!("`{key}` stands here twice")));
                }
            }
            other => {
                return Err(at.error(format!(
                    "expected a key or `}}`, found {}",
                    describe(&other)
                )));
            }
        }
    }
}

fn items(tokens: &mut Tokens, depth: usize) -> Result<Vec<Value>, AsmError> {
    let mut items = Vec::new();
    loop {
        let before = tokens.clone();
        match tokens.next()? {
            Token::Mark(']') => return Ok(items),
            Token::Newline | Token::Mark(',') => {}
            Token::Number(text) if tokens.peek()? == Token::Word("by") => {
                let Some(Value::Array(ends)) = number(text) else {
                    return Err(tokens.at().error("`by` follows a span"));
                };
                let cuts: Vec<u64> = cuts(tokens, &ends)?.positions().collect();
                items.extend(cuts.windows(2).map(|pair| Value::from(pair.to_vec())));
            }
            _ => {
                *tokens = before;
                items.push(nested(tokens, depth + 1)?);
            }
        }
    }
}

/// The rest of `begin..end by step [in parts]`.
fn cuts(tokens: &mut Tokens, ends: &[Value]) -> Result<Cuts, AsmError> {
    let at = tokens.at();
    tokens.next()?;
    let step = count(tokens)?;
    let mut cuts = match (
        ends.first().and_then(Value::as_u64),
        ends.get(1).and_then(Value::as_u64),
    ) {
        (Some(begin), Some(end)) if begin <= end && step > 0 => Cuts {
            begin,
            end,
            step,
            parts: 0,
        },
        _ => return Err(at.error("cuts ascend from their first to their last position")),
    };
    cuts.parts = cuts.natural_parts();
    if tokens.peek()? == Token::Word("in") {
        tokens.next()?;
        cuts.parts = count(tokens)?;
    }
    if cuts.parts > MAX_CUTS {
        return Err(at.error(format!(
            "{} cuts; at most {MAX_CUTS} are possible",
            cuts.parts
        )));
    }
    Ok(cuts)
}

fn count(tokens: &mut Tokens) -> Result<u64, AsmError> {
    let at = tokens.at();
    match tokens.next()? {
        Token::Number(text) => text
            .parse()
            .map_err(|_| at.error(format!("`{text}` is no count"))),
        other => Err(at.error(format!("expected a count, found {}", describe(&other)))),
    }
}

/// A number, a span or extents.
pub fn number(text: &str) -> Option<Value> {
    if let Some((begin, end)) = text.split_once("..") {
        return Some(Value::from(vec![
            begin.parse::<u64>().ok()?,
            end.parse::<u64>().ok()?,
        ]));
    }
    if text.contains('x') {
        let extents: Option<Vec<u64>> = text.split('x').map(|extent| extent.parse().ok()).collect();
        return extents.map(Value::from);
    }
    if let Ok(integer) = text.parse::<i64>() {
        return Some(integer.into());
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Some(integer.into());
    }
    // Read as what it will be, so that rounding happens once.
    text.parse::<f32>()
        .ok()
        .filter(|real| real.is_finite())
        .map(|real| f64::from(real).into())
}

/// A token in words.
pub fn describe(token: &Token) -> String {
    match token {
        Token::Mark(mark) => format!("`{mark}`"),
        Token::Word(text) | Token::Number(text) => format!("`{text}`"),
        Token::Index(index) => format!("`#{index}`"),
        Token::Text(text) => format!("\"{text}\""),
        Token::Newline => "the end of the line".to_owned(),
        Token::End => "the end of the text".to_owned(),
    }
}
