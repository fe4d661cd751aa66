//! Tokens of the assembly text.

use super::AsmError;

/// A place in the text.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
}

impl At {
    /// An error here.
    pub fn error(self, message: impl Into<String>) -> AsmError {
        AsmError {
            line: self.line,
            column: self.column,
            message: message.into(),
            help: None,
        }
    }
}

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub enum Token<'a> {
    /// One of `{ } [ ] : , =`.
    Mark(char),
    /// A name, a key, a mnemonic, a directive.
    Word(&'a str),
    /// Begins with a digit or a sign: a number, a span, extents.
    Number(&'a str),
    /// `#` and an index.
    Index(u32),
    /// A quoted text, unescaped.
    Text(String),
    /// End of a line.
    Newline,
    /// End of the text.
    End,
}

/// Reads tokens off a text.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    rest: &'a str,
    at: At,
}

impl<'a> Tokens<'a> {
    /// Of a whole text.
    pub fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            at: At { line: 1, column: 1 },
        }
    }

    /// Where the next token begins, blanks aside.
    pub fn at(&mut self) -> At {
        self.skip_blanks();
        self.at
    }

    /// Takes the next token.
    pub fn next(&mut self) -> Result<Token<'a>, AsmError> {
        self.skip_blanks();
        let at = self.at;
        let Some(first) = self.rest.chars().next() else {
            return Ok(Token::End);
        };
        match first {
            '\n' => {
                self.take(1);
                Ok(Token::Newline)
            }
            '{' | '}' | '[' | ']' | ':' | ',' | '=' => {
                self.take(1);
                Ok(Token::Mark(first))
            }
            '"' => self.text(),
            '#' => {
                self.take(1);
                let digits = self.take_while(|c| c.is_ascii_digit());
                digits
                    .parse()
                    .map(Token::Index)
                    .map_err(|_| at.error("`#` is followed by an index"))
            }
            '0'..='9' | '-' | '+' => {
                Ok(Token::Number(self.take_while(|c| {
                    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+')
                })))
            }
            _ if begins_word(first) || first == '.' => {
                Ok(Token::Word(self.take_while(continues_word)))
            }
            _ => Err(at.error(format!(
                "`{first}` begins nothing that is known; names with such characters are quoted"
            ))),
        }
    }

    /// The next token, left in place.
    pub fn peek(&mut self) -> Result<Token<'a>, AsmError> {
        self.clone().next()
    }

    /// Takes the lines that follow as long as they are indented or empty, and gives them back without the indent.
    pub fn indented_block(&mut self) -> String {
        let mut block = String::new();
        loop {
            let line = self.rest.split_inclusive('\n').next().unwrap_or_default();
            let text = line.trim_end();
            if line.is_empty() || !(text.is_empty() || text.starts_with("  ")) {
                return block;
            }
            block.push_str(text.get(2..).unwrap_or_default());
            block.push('\n');
            self.take(line.len());
        }
    }

    fn skip_blanks(&mut self) {
        self.take_while(|c| matches!(c, ' ' | '\t' | '\r'));
        if self.rest.starts_with(';') {
            self.take_while(|c| c != '\n');
        }
    }

    fn text(&mut self) -> Result<Token<'a>, AsmError> {
        let at = self.at;
        let mut escaped = false;
        let end = self.rest[1..].find(|c| {
            let ends = c == '"' && !escaped || c == '\n';
            escaped = c == '\\' && !escaped;
            ends
        });
        let literal = end
            .and_then(|end| self.rest.get(..end + 2))
            .ok_or_else(|| at.error("the quote is not closed"))?;
        let text = serde_json::from_str(literal)
            .map_err(|e| at.error(format!("not a quoted text: {e}")))?;
        self.take(literal.len());
        Ok(Token::Text(text))
    }

    fn take_while(&mut self, mut holds: impl FnMut(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !holds(c)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        for c in taken.chars() {
            if c == '\n' {
                self.at = At {
                    line: self.at.line + 1,
                    column: 1,
                };
            } else {
                self.at.column += 1;
            }
        }
        self.rest = rest;
        taken
    }
}

fn begins_word(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '_' | '/')
}

fn continues_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-' | '+' | '@' | '$' | '*')
}

/// Words that mean something else where a name may stand.
const RESERVED: &[&str] = &["none", "by", "in", "true", "false"];

/// A name as the text has it: bare where that reads back, else quoted.
pub fn quote(name: &str) -> String {
    let bare = name.starts_with(begins_word)
        && name.chars().all(continues_word)
        && !RESERVED.contains(&name);
    if bare {
        name.to_owned()
    } else {
        serde_json::Value::from(name).to_string()
    }
}
