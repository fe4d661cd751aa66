//! The rules of counting, as the changelog numbers them: a report was made without all rules above its own number.
//!
//! An entry that changes what a run counts or computes ends in `[rule N: FIELD, FIELD]`, the fields of reports that it
//! moves. N grows by one with each of them.

/// The changelog of this version.
const CHANGELOG: &str = include_str!("../../../CHANGELOG.md");

/// A change of counting or computing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its number.
    pub number: u32,
    /// Fields of reports that it moves, such as `cycles` or `dram_bytes.spill`.
    pub fields: Vec<String>,
    /// The entry of the changelog, in one line.
    pub text: String,
}

impl Rule {
    /// Whether it moves the field of that path, a part of it, or a record that the field is in.
    pub fn moves(&self, path: &str) -> bool {
        let inside = |a: &str, b: &str| {
            a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('.'))
        };
        self.fields
            .iter()
            .any(|field| inside(field, path) || inside(path, field))
    }
}

/// The number of the newest rule.
pub fn newest() -> u32 {
    all().iter().map(|rule| rule.number).max().unwrap_or(0)
}

/// All rules, newest first.
pub fn all() -> Vec<Rule> {
    let mut rules: Vec<Rule> = entries(CHANGELOG)
        .iter()
        .filter_map(|entry| parse(entry))
        .collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.number));
    rules
}

/// Items of the lists of a text, a line each.
fn entries(text: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(begin) = line.strip_prefix("- ") {
            entries.push(begin.trim().to_owned());
            inside = true;
        } else if inside && line.starts_with("  ") {
            if let Some(entry) = entries.last_mut() {
                entry.push(' ');
                entry.push_str(line.trim());
            }
        } else {
            inside = false;
        }
    }
    entries
}

fn parse(entry: &str) -> Option<Rule> {
    let (text, mark) = entry.strip_suffix(']')?.rsplit_once("[rule ")?;
    let (number, fields) = mark.split_once(':')?;
    Some(Rule {
        number: number.trim().parse().ok()?,
        fields: fields
            .split(',')
            .map(|field| field.trim().trim_matches('`').to_owned())
            .collect(),
        text: text.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use scnn_simulator::report::schema;
    use serde_json::Value;

    #[test]
    fn rules_are_numbered_without_gaps() {
        let numbers: Vec<u32> = all().iter().rev().map(|rule| rule.number).collect();
        assert_eq!(numbers, (1..=newest()).collect::<Vec<_>>());
        assert!(newest() > 0);
    }

    /// Whether the record of a schema has a field, and that one the next.
    fn has(schema: &Value, record: &Value, path: &[&str]) -> bool {
        let Some((first, rest)) = path.split_first() else {
            return true;
        };
        let record = match record["$ref"].as_str() {
            Some(pointer) => schema.pointer(pointer.trim_start_matches('#')).unwrap(),
            None => record,
        };
        let ways = record["anyOf"].as_array().into_iter().flatten();
        ways.into_iter().any(|way| has(schema, way, path))
            || record["properties"]
                .get(*first)
                .is_some_and(|field| has(schema, field, rest))
    }

    #[test]
    fn rules_name_fields_of_reports() {
        let schema = schema();
        let layer = &schema["$defs"]["Layer"];
        for rule in all() {
            for field in &rule.fields {
                let path: Vec<&str> = field.split('.').collect();
                let known = [layer, &schema, &schema["$defs"]["Provenance"]];
                let known = known.into_iter().any(|record| has(&schema, record, &path));
                assert!(known, "rule {}: there is no field `{field}`", rule.number);
            }
        }
    }

    #[test]
    fn a_mark_ends_an_entry() {
        let text = "# A\n\n- One (`x`).\n- Two,\n  more. [rule 7: `cycles`, dram_bytes.spill]\n\n  Else.\n";
        let entries = entries(text);
        assert_eq!(entries.len(), 2);
        assert_eq!(parse(&entries[0]), None);
        let rule = parse(&entries[1]).unwrap();
        assert_eq!((rule.number, rule.text.as_str()), (7, "Two, more."));
        assert!(rule.moves("dram_bytes") && rule.moves("cycles.slots.barrier"));
        assert!(!rule.moves("cyclesx") && !rule.moves("dram_bytes.spilled"));
    }
}
