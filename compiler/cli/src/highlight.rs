//! Colours for assembly text and for differences.

use scnn_isa::instruction::DESCRIPTIONS;

const RESET: &str = "\x1b[0m";
const COMMENT: &str = "\x1b[2m";
const DECLARATION: &str = "\x1b[35m";
const MNEMONIC: &str = "\x1b[1;36m";
const KEY: &str = "\x1b[34m";
const REMOVED: &str = "\x1b[31m";
const ADDED: &str = "\x1b[32m";

/// Assembly text in colours; without the escapes it is the same text.
pub fn assembly(text: &str) -> String {
    lines(text, line)
}

/// A difference in colours: `-` lines and `+` lines.
pub fn difference(text: &str) -> String {
    lines(text, |line| match line.trim_start().chars().next() {
        Some('-') => format!("{REMOVED}{line}{RESET}"),
        Some('+') => format!("{ADDED}{line}{RESET}"),
        _ => line.to_owned(),
    })
}

fn lines(text: &str, paint: impl Fn(&str) -> String) -> String {
    text.split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) => paint(line) + "\n",
            None => paint(line),
        })
        .collect()
}

fn line(line: &str) -> String {
    let (body, comment) = split_comment(line);
    let indent = body.len() - body.trim_start().len();
    let (space, words) = body.split_at(indent);
    let first = words.split(' ').next().unwrap_or_default();
    let rest = &words[first.len()..];
    let is_mnemonic = DESCRIPTIONS.iter().any(|d| d.mnemonic == first);
    let painted = if first.starts_with('.') {
        format!("{space}{DECLARATION}{first}{RESET}{rest}")
    } else if is_mnemonic {
        format!("{space}{MNEMONIC}{first}{RESET}{}", operands(rest))
    } else {
        body.to_owned()
    };
    match comment {
        "" => painted,
        comment => format!("{painted}{COMMENT}{comment}{RESET}"),
    }
}

/// The text before a comment, and the comment; a `;` in quotes begins none.
fn split_comment(line: &str) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => return line.split_at(at),
            _ => {}
        }
    }
    (line, "")
}

/// ` key=value key=value`, the keys in colour.
fn operands(text: &str) -> String {
    text.split_inclusive(' ')
        .map(|word| match word.split_once('=') {
            Some((key, value)) if key.chars().all(char::is_alphabetic) => {
                format!("{KEY}{key}{RESET}={value}")
            }
            _ => word.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_nothing_but_colours() {
        let text = "; head\n.layer \"a;b\" {x: 1}  ; note\n\n  mac pass=0 rounds=0..7 from=\"x = y\" half=1\nlast";
        let painted = assembly(text);
        assert!(painted.contains("\x1b[1;36mmac\x1b[0m"));
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), text);
        let removed = difference("- a\n  b\n");
        assert_eq!(removed, "\x1b[31m- a\x1b[0m\n  b\n");
    }
}
