//! The glossary: every term of the machine and of the compiler, in `GLOSSARY.md`, which is also a part of this crate's
//! front page.
//!
//! ```
//! let entries: Vec<_> = scnn_isa::glossary::find("residue").collect();
//! assert!(entries[0].meaning.starts_with("a position modulo the stride"));
//! ```

/// The text.
pub const TEXT: &str = include_str!("../GLOSSARY.md");

/// A term and its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The term, spelled as everywhere.
    pub term: &'static str,
    /// The section of the glossary that it stands in.
    pub section: &'static str,
    /// Its meaning.
    pub meaning: &'static str,
}

/// Every entry, in the order of the text.
pub fn entries() -> impl Iterator<Item = Entry> {
    let mut section = "";
    TEXT.lines().filter_map(move |line| {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
            return None;
        }
        let (term, meaning) = line.strip_prefix("- **")?.split_once("**")?;
        let meaning = meaning.trim_start_matches(" (ours)").strip_prefix(": ")?;
        Some(Entry {
            term,
            section,
            meaning,
        })
    })
}

/// The entries of a term: a term of the machine may also name the cause of a wait for it. Case, `-`, `_` and a final `s`
/// do not count.
pub fn find(word: &str) -> impl Iterator<Item = Entry> {
    let word = folded(word);
    entries().filter(move |entry| folded(entry.term) == word)
}

fn folded(word: &str) -> String {
    let word = word.to_lowercase().replace(['-', '_'], " ");
    word.strip_suffix('s').unwrap_or(&word).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_is_an_entry() {
        let lines = TEXT.lines().filter(|line| line.starts_with("- "));
        assert_eq!(entries().count(), lines.count());
    }

    #[test]
    fn a_term_is_found_in_any_spelling() {
        for word in ["out of plane", "OUT_OF_PLANE", "out-of-plane"] {
            assert_eq!(find(word).count(), 1, "{word}");
        }
        assert_eq!(find("PEs").next().map(|entry| entry.term), Some("PE"));
    }

    #[test]
    fn a_section_has_a_term_once() {
        let mut known: Vec<(&str, String)> = entries()
            .map(|entry| (entry.section, folded(entry.term)))
            .collect();
        let all = known.len();
        known.sort();
        known.dedup();
        assert_eq!(known.len(), all);
    }
}
