//! What the standard says of its operators: operands, results and attributes, by operator set. The table is made from the
//! `onnx` package by `standard.py`.

use super::proto::is_standard;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::LazyLock;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{ModelProto, NodeProto, OperatorSetIdProto};

/// A definition of an operator.
#[derive(Debug)]
pub(super) struct Definition {
    /// The operator set that brought it.
    pub since: i64,
    /// How many operands it has.
    pub operands: RangeInclusive<usize>,
    /// Positions of operands that may be left out although others follow that may not.
    pub gaps: Vec<usize>,
    /// How many results it has.
    pub results: RangeInclusive<usize>,
    /// Its attributes by name.
    pub attributes: Vec<Attribute>,
}

/// An attribute of an operator.
#[derive(Debug)]
pub(super) struct Attribute {
    pub name: &'static str,
    pub kind: AttributeType,
    /// Whether it has to be given.
    pub required: bool,
}

impl Definition {
    /// The attribute of that name.
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|a| a.name == name)
    }
}

/// The number of the operator set of ONNX's own operators; 1 is what the standard says of a model that names none.
pub(super) fn operator_set(model: &ModelProto) -> i64 {
    version_of(&model.opset_import, "").unwrap_or(1)
}

/// The version of a domain.
pub(super) fn version_of(imports: &[OperatorSetIdProto], domain: &str) -> Option<i64> {
    let plain = |domain: &str| if domain == "ai.onnx" { "" } else { domain }.to_owned();
    let wanted = plain(domain);
    let import = imports
        .iter()
        .find(|import| plain(&import.domain) == wanted);
    import.map(|import| import.version)
}

/// What a person should know of a model of an operator set that came after those of the table.
pub(super) fn of_the_future(model: &ModelProto) -> Option<String> {
    let version = operator_set(model);
    let newest = newest();
    (version > newest).then(|| {
        format!(
            "the model uses operator set {version}, and {newest} is the newest that is known: its operators are read as those \
             of {newest}"
        )
    })
}

/// The newest operator set of ONNX's own operators that changed any.
fn newest() -> i64 {
    let own = table().iter().filter(|(name, _)| name.starts_with("- "));
    let since = own
        .flat_map(|(_, definitions)| definitions)
        .map(|d| d.since);
    since.max().expect("the table is not empty")
}

/// The definition of a node's operator in operator set `version` of its domain, or the first one there was if the operator
/// is newer. None of an operator that the standard has not.
pub(super) fn definition(node: &NodeProto, version: i64) -> Option<&'static Definition> {
    let domain = if is_standard(node) { "-" } else { &node.domain };
    let definitions = table().get(&format!("{domain} {}", node.op_type))?;
    let newest = definitions.iter().rfind(|d| d.since <= version);
    newest.or_else(|| definitions.first())
}

/// The definitions by domain and name, oldest first.
fn table() -> &'static BTreeMap<String, Vec<Definition>> {
    static TABLE: LazyLock<BTreeMap<String, Vec<Definition>>> = LazyLock::new(read);
    &TABLE
}

fn read() -> BTreeMap<String, Vec<Definition>> {
    let mut table: BTreeMap<_, Vec<Definition>> = BTreeMap::new();
    for line in include_str!("standard.txt").lines() {
        let mut words = line.split(' ');
        let mut word = || {
            words
                .next()
                .expect("five words stand before the attributes")
        };
        let key = format!("{} {}", word(), word());
        let since = word().parse().expect("a version is a number");
        let operands = word();
        let (operands, gaps) = operands.split_once('?').unwrap_or((operands, ""));
        let gaps = gaps.split(',').filter(|gap| !gap.is_empty());
        let gaps = gaps.map(|gap| gap.parse().expect("a position is a number"));
        let definition = Definition {
            since,
            operands: range(operands),
            gaps: gaps.collect(),
            results: range(word()),
            attributes: words.map(attribute).collect(),
        };
        table.entry(key).or_default().push(definition);
    }
    table
}

fn range(word: &str) -> RangeInclusive<usize> {
    let (least, most) = word.split_once("..").expect("a range has two ends");
    let number = |word: &str| word.parse().expect("an end is a number");
    number(least)..=if most == "*" {
        usize::MAX
    } else {
        number(most)
    }
}

fn attribute(word: &'static str) -> Attribute {
    let (name, kind) = word.split_once(':').expect("an attribute has a type");
    let required = kind.ends_with('!');
    let kind = match kind.trim_end_matches('!') {
        "float" => AttributeType::Float,
        "floats" => AttributeType::Floats,
        "graph" => AttributeType::Graph,
        "int" => AttributeType::Int,
        "ints" => AttributeType::Ints,
        "sparse_tensor" => AttributeType::SparseTensor,
        "string" => AttributeType::String,
        "strings" => AttributeType::Strings,
        "tensor" => AttributeType::Tensor,
        "tensors" => AttributeType::Tensors,
        "type_proto" => AttributeType::TypeProto,
        other => panic!("the table has no attribute type {other}"),
    };
    Attribute {
        name,
        kind,
        required,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(domain: &str, operator: &str, version: i64) -> Option<&'static Definition> {
        let node = NodeProto {
            domain: domain.to_owned(),
            op_type: operator.to_owned(),
            ..NodeProto::default()
        };
        definition(&node, version)
    }

    #[test]
    fn the_definition_in_force_is_the_newest_up_to_the_operator_set() {
        assert_eq!(of("", "Squeeze", 12).unwrap().operands, 1..=1);
        assert_eq!(of("ai.onnx", "Squeeze", 13).unwrap().operands, 1..=2);
        assert!(of("", "Squeeze", 12).unwrap().attribute("axes").is_some());
        assert!(of("", "Squeeze", 99).unwrap().attribute("axes").is_none());
        // Gelu came with operator set 20.
        assert_eq!(of("", "Gelu", 13).unwrap().since, 20);
        assert!(of("ai.onnx.ml", "Scaler", 1).is_some());
        assert!(of("com.microsoft", "Scaler", 1).is_none());
    }

    #[test]
    fn an_operator_set_of_the_future_is_noted() {
        let noted = |version| {
            let opset_import = vec![OperatorSetIdProto {
                version,
                ..OperatorSetIdProto::default()
            }];
            of_the_future(&ModelProto {
                opset_import,
                ..ModelProto::default()
            })
        };
        assert_eq!(noted(newest()), None);
        let note = noted(newest() + 1).unwrap();
        assert!(note.contains(&newest().to_string()), "{note}");
    }

    #[test]
    fn operands_in_front_of_others_may_be_left_out_where_the_standard_says_so() {
        assert_eq!(of("", "Loop", 13).unwrap().gaps, [0, 1]);
        assert!(of("", "Conv", 13).unwrap().gaps.is_empty());
    }

    #[test]
    fn required_attributes_and_unlimited_operands_are_read() {
        let concat = of("", "Concat", 13).unwrap();
        assert_eq!(concat.operands, 1..=usize::MAX);
        assert!(concat.attribute("axis").unwrap().required);
        assert_eq!(concat.attribute("axis").unwrap().kind, AttributeType::Int);
        assert!(
            !of("", "Conv", 11)
                .unwrap()
                .attribute("pads")
                .unwrap()
                .required
        );
    }
}
