//! Operators of `ai.onnx.ml` that are arithmetic become that: linear models, scalers, normalisers. A `ZipMap`, which makes a
//! list of dictionaries of a matrix of probabilities, becomes that matrix: a program computes tensors.

use super::Draft;
use super::error::ImportError;
use super::parts::{Parts, replace_nodes};
use super::proto::{
    attribute, float_tensor, int, int_of, int64_tensor, ints_of, operand, result, text_of,
};
use super::ranks::Ranks;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::type_proto::{self, Tensor};
use tract_onnx::pb::{GraphProto, NodeProto, TypeProto};

/// The domain.
const DOMAIN: &str = "ai.onnx.ml";

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let version = draft.operator_set();
    draft.each_graph(|graph| {
        let ours = |node: &NodeProto| node.domain == DOMAIN;
        if !graph.node.iter().any(ours) {
            return Ok(());
        }
        declare_probabilities(graph);
        let ranks = Ranks::of(graph, version);
        replace_nodes(graph, |node, parts| {
            let replaced = node.domain == DOMAIN && parts.replaced(&node, &ranks);
            Ok((!replaced).then_some(node))
        })
    })
}

/// What a `ZipMap` computes is a matrix of floats from now on.
fn declare_probabilities(graph: &mut GraphProto) {
    let zipped = |node: &&NodeProto| node.domain == DOMAIN && node.op_type == "ZipMap";
    let names: Vec<String> = graph.node.iter().filter(zipped).map(result).collect();
    for output in &mut graph.output {
        if names.contains(&output.name) {
            output.r#type = Some(TypeProto {
                value: Some(type_proto::Value::TensorType(Tensor {
                    elem_type: DataType::Float as i32,
                    shape: None,
                })),
                ..TypeProto::default()
            });
        }
    }
}

impl Parts {
    /// Adds what stands for a node; whether anything does.
    fn replaced(&mut self, node: &NodeProto, ranks: &Ranks) -> bool {
        // All of them take a vector for a matrix of one row.
        let rows = ranks.get(&operand(node, 0)).is_none_or(|rank| rank == 2);
        match node.op_type.as_str() {
            "Scaler" => self.scaler(node),
            "ZipMap" => {
                self.node("Identity", vec![operand(node, 0)], result(node), &[]);
            }
            "Normalizer" if rows => return self.normalizer(node),
            "LinearRegressor" if rows => return self.regressor(node),
            "LinearClassifier" if rows => return self.classifier(node),
            _ => return false,
        }
        true
    }

    /// `(x - offset) scale`, with a number for each value of the last axis, or one for all.
    fn scaler(&mut self, node: &NodeProto) {
        let y = result(node);
        let mut value = self.as_floats(node, &y);
        let steps = [("Sub", "offset"), ("Mul", "scale")];
        for (operator, name) in steps {
            let numbers = attribute(node, name).map_or(&[][..], |a| &a.floats);
            if numbers.is_empty() {
                continue;
            }
            let constant = format!("{y}.{name}");
            let tensor = float_tensor(&constant, &[numbers.len() as i64], numbers);
            self.initializers.push(tensor);
            let to = format!("{y}.{}", operator.to_lowercase());
            value = self.node(operator, vec![value, constant], to, &[]);
        }
        self.node("Identity", vec![value], y, &[]);
    }

    /// The first operand as floats, for a node whose result is `y`.
    fn as_floats(&mut self, node: &NodeProto, y: &str) -> String {
        let to = int("to", DataType::Float as i64);
        self.node("Cast", vec![operand(node, 0)], format!("{y}.x"), &[to])
    }

    /// A row over its norm; one of zeros stays what it is.
    fn normalizer(&mut self, node: &NodeProto) -> bool {
        let operator = match text_of(node, "norm") {
            Some("L1") => "ReduceL1",
            Some("L2") => "ReduceL2",
            _ => return false,
        };
        let y = result(node);
        let x = self.as_floats(node, &y);
        let axes = self.integers(format!("{y}.axes"), &[1]);
        let norm = if operator == "ReduceL1" {
            // The operand, not an attribute, has the axes from operator set 18 on; a sum has them from 13 on.
            let magnitudes = self.node("Abs", vec![x.clone()], format!("{y}.magnitudes"), &[]);
            let operands = vec![magnitudes, axes];
            self.node("ReduceSum", operands, format!("{y}.norm"), &[])
        } else {
            let squares = self.node(
                "Mul",
                vec![x.clone(), x.clone()],
                format!("{y}.squares"),
                &[],
            );
            let sum = self.node("ReduceSum", vec![squares, axes], format!("{y}.sum"), &[]);
            self.node("Sqrt", vec![sum], format!("{y}.norm"), &[])
        };
        let least = self.number(format!("{y}.least"), f32::MIN_POSITIVE);
        let norm = self.node("Max", vec![norm, least], format!("{y}.divisor"), &[]);
        self.node("Div", vec![x, norm], y, &[]);
        true
    }

    /// A row of sums for each row: the product with `coefficients`, a row of them for each target, and `intercepts`.
    /// `None` where the numbers do not fit.
    fn linear(&mut self, node: &NodeProto, targets: usize, y: String) -> Option<String> {
        let floats = |name: &str| attribute(node, name).map_or(&[][..], |a| &a.floats);
        let (coefficients, intercepts) = (floats("coefficients"), floats("intercepts"));
        let fits = targets > 0
            && !coefficients.is_empty()
            && coefficients.len().is_multiple_of(targets)
            && (intercepts.is_empty() || intercepts.len() == targets);
        if !fits {
            return None;
        }
        let x = self.as_floats(node, &y);
        let weights = format!("{y}.coefficients");
        let dims = [targets as i64, (coefficients.len() / targets) as i64];
        let tensor = float_tensor(&weights, &dims, coefficients);
        self.initializers.push(tensor);
        let mut operands = vec![x, weights];
        if !intercepts.is_empty() {
            let bias = format!("{y}.intercepts");
            let tensor = float_tensor(&bias, &[targets as i64], intercepts);
            self.initializers.push(tensor);
            operands.push(bias);
        }
        Some(self.node("Gemm", operands, y, &[int("transB", 1)]))
    }

    fn regressor(&mut self, node: &NodeProto) -> bool {
        if !matches!(text_of(node, "post_transform"), None | Some("NONE")) {
            return false;
        }
        let targets = int_of(node, "targets").unwrap_or(1);
        let targets = usize::try_from(targets).unwrap_or(0);
        self.linear(node, targets, result(node)).is_some()
    }

    /// Scores, a function of them, and the label of the largest. Labels that are words stay with the node.
    fn classifier(&mut self, node: &NodeProto) -> bool {
        let targets = attribute(node, "intercepts").map_or(0, |a| a.floats.len());
        let operator = match text_of(node, "post_transform") {
            None | Some("NONE") => "Identity",
            Some("LOGISTIC") => "Sigmoid",
            Some("SOFTMAX") => "Softmax",
            Some(_) => return false,
        };
        let [label, scores] = node.output.as_slice() else {
            return false;
        };
        let labels = ints_of(node, "classlabels_ints").unwrap_or_default();
        // One score for two classes has rules of its own.
        if targets < 2 || (!labels.is_empty() && labels.len() != targets) {
            return false;
        }
        let (label, scores) = (label.clone(), scores.clone());
        let Some(sums) = self.linear(node, targets, format!("{scores}.sums")) else {
            return false;
        };
        self.node(operator, vec![sums.clone()], scores.clone(), &[]);
        if labels.is_empty() {
            let mut words = node.clone();
            words.output[1] = format!("{scores}.unread");
            self.nodes.push(words);
            return true;
        }
        let which = [int("axis", 1), int("keepdims", 0)];
        let which = self.node("ArgMax", vec![sums], format!("{label}.index"), &which);
        let values = format!("{label}.labels");
        let tensor = int64_tensor(&values, &[targets as i64], labels);
        self.initializers.push(tensor);
        self.node("Gather", vec![values, which], label, &[]);
        true
    }
}
