//! The body of a `Loop`, as many times as it runs.
//!
//! Whether a loop goes on is computed by a part of its body, its **control**: what the condition at the end depends on, and
//! what of the values carried from one iteration to the next it needs. If all that the control begins with is constant, it
//! is evaluated, iteration by iteration, to the last one; then the whole body is written out.

use super::{evaluate, names_of, needed, truth, value_before};
use crate::normalise::Draft;
use crate::normalise::closure::reads;
use crate::normalise::parts::{Parts, node_name};
use crate::normalise::proto::{attribute, int, int64_tensor, operand, tensor_of};
use crate::normalise::rename::{Names, fresh, rename, rename_in};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};
use tract_onnx::prelude::Tensor;

/// Most nodes that stand in the place of a loop.
const MOST_NODES: usize = 1 << 14;

/// What replaces the `Loop` at `position`, if it runs a constant number of times.
pub(super) fn unrolled(draft: &Draft<'_>, position: usize) -> Option<GraphProto> {
    let graph = draft.model.graph.as_ref()?;
    let loop_ = Loop::of(&graph.node[position])?;
    let count = loop_.count(draft, position)?;
    let scans = loop_.body.output.len() - 1 - loop_.carried;
    // Nothing is stacked to a tensor whose extents nobody knows.
    let possible = count > 0 || scans == 0;
    possible.then(|| loop_.write_out(count, names_of(graph)))
}

/// A `Loop` whose body has the form that the standard asks for.
struct Loop<'a> {
    node: &'a NodeProto,
    body: &'a GraphProto,
    /// How many values are carried from one iteration to the next.
    carried: usize,
}

impl<'a> Loop<'a> {
    fn of(node: &'a NodeProto) -> Option<Self> {
        let body = attribute(node, "body")?.g.as_ref()?;
        let carried = body.input.len().checked_sub(2)?;
        let given = node.input.len() == carried + 2 || (carried == 0 && node.input.len() <= 2);
        let results = body.output.len().checked_sub(1)?;
        let fits = given && results >= carried && node.output.len() <= results;
        fits.then_some(Self {
            node,
            body,
            carried,
        })
    }

    /// How many times it runs, if that is constant and not too often.
    fn count(&self, draft: &Draft<'_>, position: usize) -> Option<usize> {
        let before = |name: &str| value_before(draft, position, name);
        let limit = match operand(self.node, 0) {
            name if name.is_empty() => None,
            name => Some(before(&name)?.cast_to_scalar::<i64>().ok()?.max(0) as usize),
        };
        let mut going = match operand(self.node, 1) {
            name if name.is_empty() => true,
            name => truth(&*before(&name)?)?,
        };
        let most = MOST_NODES / self.body.node.len().max(1);
        let mut control = Control::of(self, &before)?;
        let mut count = 0;
        while going && limit.is_none_or(|limit| count < limit) {
            if count == most {
                return None;
            }
            going = control.step(draft, count)?;
            count += 1;
        }
        Some(count)
    }

    /// The body `count` times; its names are none of `taken`.
    fn write_out(&self, count: usize, mut taken: BTreeSet<String>) -> GraphProto {
        let origin = node_name(self.node);
        let mut parts = Parts::default();
        parts.origin.clone_from(&origin);
        let mut shared = Names::new();
        for constant in &self.body.initializer {
            let name = fresh(format!("{origin}/{}", constant.name), &mut taken);
            shared.insert(constant.name.clone(), name.clone());
            parts.initializers.push(TensorProto {
                name,
                ..constant.clone()
            });
        }
        let mut current: Vec<String> = self.node.input.iter().skip(2).cloned().collect();
        let mut stacked: Vec<Vec<String>> =
            vec![Vec::new(); self.body.output.len() - 1 - self.carried];
        for iteration in 0..count {
            let names = self.iteration(iteration, &current, &shared, &mut parts, &mut taken);
            let mut results = self.body.output.iter().skip(1).map(|output| {
                let mut name = output.name.clone();
                rename(&names, &mut name);
                name
            });
            current = results.by_ref().take(self.carried).collect();
            for (stack, name) in stacked.iter_mut().zip(results) {
                stack.push(name);
            }
        }
        self.results(&current, &stacked, &mut parts, &mut taken);
        GraphProto {
            node: parts.nodes,
            initializer: parts.initializers,
            ..GraphProto::default()
        }
    }

    /// Writes one iteration; the names that it gives to those of the body.
    fn iteration(
        &self,
        iteration: usize,
        current: &[String],
        shared: &Names,
        parts: &mut Parts,
        taken: &mut BTreeSet<String>,
    ) -> Names {
        let prefix = format!("{}/{iteration}", parts.origin);
        let mut names = shared.clone();
        let counter = fresh(format!("{prefix}/iteration"), taken);
        let going = fresh(format!("{prefix}/going"), taken);
        parts
            .initializers
            .push(int64_tensor(&counter, &[], &[iteration as i64]));
        parts.initializers.push(truth_tensor(&going));
        let given = [counter, going].into_iter().chain(current.iter().cloned());
        let inputs = self.body.input.iter().map(|input| input.name.clone());
        names.extend(inputs.zip(given));
        let own = self.body.node.iter().flat_map(|node| &node.output);
        for name in own.filter(|name| !name.is_empty()) {
            names.insert(name.clone(), fresh(format!("{prefix}/{name}"), taken));
        }
        for node in &self.body.node {
            let mut copy = node.clone();
            copy.name = format!("{prefix}/{}", node_name(node));
            rename_in(&names, &mut copy);
            parts.nodes.push(copy);
        }
        names
    }

    /// The results of the loop: the values carried to its end, and what the iterations give, stacked.
    fn results(
        &self,
        current: &[String],
        stacked: &[Vec<String>],
        parts: &mut Parts,
        taken: &mut BTreeSet<String>,
    ) {
        let (carried, scans) = self
            .node
            .output
            .split_at(self.carried.min(self.node.output.len()));
        for (result, value) in carried.iter().zip(current) {
            if !result.is_empty() {
                parts.node("Identity", vec![value.clone()], result.clone(), &[]);
            }
        }
        for (result, stack) in scans
            .iter()
            .zip(stacked)
            .filter(|(result, _)| !result.is_empty())
        {
            let axes = parts.integers(fresh(format!("{result}.axes"), taken), &[0]);
            let rows: Vec<String> = stack
                .iter()
                .map(|value| {
                    let to = fresh(format!("{value}.row"), taken);
                    parts.node("Unsqueeze", vec![value.clone(), axes.clone()], to, &[])
                })
                .collect();
            parts.node("Concat", rows, result.clone(), &[int("axis", 0)]);
        }
    }
}

/// The part of a loop that decides whether it goes on.
struct Control<'a> {
    body: &'a GraphProto,
    nodes: Vec<NodeProto>,
    /// Constants from around the loop, and of its body.
    constants: Vec<TensorProto>,
    /// Values that are carried, by the number among them.
    carried: BTreeMap<usize, Arc<Tensor>>,
}

impl<'a> Control<'a> {
    /// None if it begins with anything that is not constant.
    fn of(loop_: &Loop<'a>, before: &dyn Fn(&str) -> Option<Arc<Tensor>>) -> Option<Self> {
        let body = loop_.body;
        let mut wanted: Vec<String> = vec![body.output.first()?.name.clone()];
        let mut carried = BTreeMap::new();
        // What is needed of one iteration may need more of the one before.
        let (nodes, read) = loop {
            let nodes = needed(&body.node, &wanted);
            let read: BTreeSet<String> = nodes
                .iter()
                .flat_map(reads)
                .map(str::to_owned)
                .chain(wanted.iter().cloned())
                .collect();
            let new: Vec<usize> = (0..loop_.carried)
                .filter(|&i| read.contains(&body.input[i + 2].name) && !carried.contains_key(&i))
                .collect();
            if new.is_empty() {
                break (nodes, read);
            }
            for i in new {
                carried.insert(i, before(&operand(loop_.node, i + 2))?);
                wanted.push(body.output[i + 1].name.clone());
            }
        };
        let computed: BTreeSet<&String> = nodes.iter().flat_map(|node| &node.output).collect();
        let inputs: BTreeSet<&String> = body.input.iter().map(|input| &input.name).collect();
        let mut constants = Vec::new();
        for name in read
            .iter()
            .filter(|n| !n.is_empty() && !computed.contains(n) && !inputs.contains(n))
        {
            let own = body.initializer.iter().find(|tensor| tensor.name == *name);
            constants.push(match own {
                Some(tensor) => tensor.clone(),
                None => tensor_of(name, &*before(name)?)?,
            });
        }
        Some(Self {
            body,
            nodes,
            constants,
            carried,
        })
    }

    /// Does an iteration; whether the loop goes on.
    fn step(&mut self, draft: &Draft<'_>, iteration: usize) -> Option<bool> {
        let mut others = self.constants.clone();
        others.push(int64_tensor(
            &self.body.input[0].name,
            &[],
            &[iteration as i64],
        ));
        others.push(truth_tensor(&self.body.input[1].name));
        for (&i, value) in &self.carried {
            others.push(tensor_of(&self.body.input[i + 2].name, value)?);
        }
        let value = |name: &str| evaluate(draft, &self.nodes, &others, name);
        let going = truth(&*value(&self.body.output[0].name)?)?;
        if going {
            let next = self
                .carried
                .keys()
                .map(|&i| Some((i, value(&self.body.output[i + 1].name)?)));
            self.carried = next.collect::<Option<_>>()?;
        }
        Some(going)
    }
}

/// The constant `true`.
fn truth_tensor(name: &str) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: DataType::Bool as i32,
        raw_data: vec![1],
        ..TensorProto::default()
    }
}
