//! Functions that a model defines are replaced by their bodies.
//!
//! Names of a body get that of the calling node in front, so that they are unique and tell where they come from. A body may
//! be of another operator set than the model; it is raised to the canonical one on the way. Functions that call themselves,
//! also through others, are refused, and so are models that become larger than [`MOST_NODES`].

use super::Draft;
use super::error::ImportError;
use super::limits::MOST_NODES;
use super::operator_sets;
use super::parts::node_name;
use super::proto::{subgraphs, subgraphs_mut, visit_graphs};
use crate::codes::Code;
use std::collections::{BTreeMap, BTreeSet};
use tract_onnx::pb::{AttributeProto, FunctionProto, GraphProto, NodeProto};

/// Domain and name of a function.
type FunctionName = (String, String);

/// Runs the pass.
pub(super) fn run(draft: &mut Draft<'_>) -> Result<(), Vec<ImportError>> {
    let functions = std::mem::take(&mut draft.model.functions);
    if functions.is_empty() {
        return Ok(());
    }
    let canonical = draft.operator_set();
    let Some(graph) = &mut draft.model.graph else {
        return Ok(());
    };
    let mut taken = BTreeSet::new();
    names_in(graph, &mut taken);
    let mut inliner = Inliner {
        functions: table(&functions, &draft.defaults)?,
        canonical,
        taken,
        nodes: 0,
        calls: Vec::new(),
    };
    inliner.graph(graph).map_err(|error| vec![error])
}

/// A function and the values that its attributes have where a call gives none.
#[derive(Clone, Copy)]
struct LocalFunction<'a> {
    body: &'a FunctionProto,
    defaults: &'a [AttributeProto],
}

fn table<'a>(
    functions: &'a [FunctionProto],
    defaults: &'a [Vec<AttributeProto>],
) -> Result<BTreeMap<FunctionName, LocalFunction<'a>>, Vec<ImportError>> {
    let mut table = BTreeMap::new();
    for (index, body) in functions.iter().enumerate() {
        let key = (body.domain().to_owned(), body.name().to_owned());
        let defaults = defaults.get(index).map_or(&[][..], Vec::as_slice);
        let function = LocalFunction { body, defaults };
        if table.insert(key, function).is_some() {
            let message = format!("the function `{}` is defined twice", body.name());
            let remedy = "give the overloads of a function names of their own";
            return Err(vec![ImportError::model(
                Code::DuplicateName,
                message,
                remedy,
            )]);
        }
    }
    Ok(table)
}

/// Notes the names of all tensors of a graph and of those in its nodes.
fn names_in(graph: &GraphProto, names: &mut BTreeSet<String>) {
    names.extend(graph.input.iter().map(|input| input.name.clone()));
    names.extend(graph.initializer.iter().map(|tensor| tensor.name.clone()));
    for node in &graph.node {
        names.extend(node.input.iter().chain(&node.output).cloned());
        for inner in subgraphs(node) {
            names_in(inner, names);
        }
    }
}

struct Inliner<'a> {
    functions: BTreeMap<FunctionName, LocalFunction<'a>>,
    /// The operator set of the model.
    canonical: i64,
    /// Names that a tensor has.
    taken: BTreeSet<String>,
    /// How many nodes stand in place of calls.
    nodes: usize,
    /// The functions whose bodies are being inlined, outermost first.
    calls: Vec<FunctionName>,
}

impl Inliner<'_> {
    fn graph(&mut self, graph: &mut GraphProto) -> Result<(), ImportError> {
        for mut node in std::mem::take(&mut graph.node) {
            self.node(&mut node)?;
            let key = (node.domain.clone(), node.op_type.clone());
            match self.functions.get(&key).copied() {
                None => graph.node.push(node),
                Some(function) => {
                    let mut body = self.call(&node, &key, function)?;
                    graph.node.append(&mut body.node);
                    graph.initializer.append(&mut body.initializer);
                }
            }
        }
        Ok(())
    }

    /// Inlines what the graphs in a node call.
    fn node(&mut self, node: &mut NodeProto) -> Result<(), ImportError> {
        for inner in subgraphs_mut(node) {
            self.graph(inner)?;
        }
        Ok(())
    }

    /// The body of a function in place of a call, and the constants that it needs.
    fn call(
        &mut self,
        call: &NodeProto,
        key: &FunctionName,
        function: LocalFunction<'_>,
    ) -> Result<GraphProto, ImportError> {
        if self.calls.contains(key) {
            return Err(ImportError::node(
                Code::Cycle,
                call,
                format!("the function `{}` calls itself", key.1),
                "ONNX allows no recursion; export the model again",
            ));
        }
        self.nodes += function.body.node.len();
        if self.nodes > MOST_NODES {
            return Err(ImportError::node(
                Code::TooLarge,
                call,
                format!("with its functions in place the model has more than {MOST_NODES} nodes"),
                "the file is damaged, or its functions call each other too often",
            ));
        }
        let mut body = self.body(call, function);
        let (imports, mut errors) = (&function.body.opset_import, Vec::new());
        visit_graphs(&mut body, &mut |graph| {
            let raised = operator_sets::raise(graph, imports, self.canonical);
            errors.extend(raised.err().into_iter().flatten());
        });
        if let Some(error) = errors.into_iter().next() {
            let remedy = "export the model without functions";
            return Err(ImportError::node(Code::Opset, call, error.message, remedy));
        }
        self.calls.push(key.clone());
        self.graph(&mut body)?;
        self.calls.pop();
        Ok(body)
    }

    /// The nodes of a function with the names and attributes of a call.
    fn body(&mut self, call: &NodeProto, function: LocalFunction<'_>) -> GraphProto {
        let formal = function
            .body
            .input
            .iter()
            .zip(call.input.iter().map(Some).chain(std::iter::repeat(None)));
        let mut names: BTreeMap<&str, String> = formal
            .map(|(formal, given)| (formal.as_str(), given.cloned().unwrap_or_default()))
            .collect();
        for (formal, given) in function.body.output.iter().zip(&call.output) {
            if !given.is_empty() && !function.body.input.contains(formal) {
                names.insert(formal, given.clone());
            }
        }
        let origin = node_name(call);
        let mut nodes = function.body.node.clone();
        let mut renamer = Renamer {
            prefix: &origin,
            names: names
                .into_iter()
                .map(|(from, to)| (from.to_owned(), to))
                .collect(),
            taken: &mut self.taken,
        };
        for node in &mut nodes {
            set_attributes(node, call, function.defaults);
            renamer.node(node);
        }
        // A result that is an operand of the function has no node of its own.
        let handed_on = function.body.output.iter().zip(&call.output);
        for (formal, given) in handed_on.filter(|(formal, _)| function.body.input.contains(formal))
        {
            let position = function.body.input.iter().position(|input| input == formal);
            let operand = position.and_then(|position| call.input.get(position));
            nodes.push(NodeProto {
                name: format!("{origin}/{given}"),
                op_type: "Identity".to_owned(),
                input: operand.cloned().into_iter().collect(),
                output: vec![given.clone()],
                ..NodeProto::default()
            });
        }
        GraphProto {
            node: nodes,
            ..GraphProto::default()
        }
    }
}

/// Gives attributes that stand for one of the function the call's value, or the function's own; without either they go.
fn set_attributes(node: &mut NodeProto, call: &NodeProto, defaults: &[AttributeProto]) {
    node.attribute.retain_mut(|attribute| {
        if attribute.ref_attr_name.is_empty() {
            return true;
        }
        let mut given = call.attribute.iter().chain(defaults);
        let Some(given) = given.find(|given| given.name == attribute.ref_attr_name) else {
            return false;
        };
        let name = std::mem::take(&mut attribute.name);
        *attribute = AttributeProto {
            name,
            ..given.clone()
        };
        true
    });
    for inner in subgraphs_mut(node) {
        for node in &mut inner.node {
            set_attributes(node, call, defaults);
        }
    }
}

/// Gives the tensors and nodes of a body names that are unique.
struct Renamer<'a> {
    prefix: &'a str,
    names: BTreeMap<String, String>,
    taken: &'a mut BTreeSet<String>,
}

impl Renamer<'_> {
    fn node(&mut self, node: &mut NodeProto) {
        node.name = format!("{}/{}", self.prefix, node_name(node));
        for name in &mut node.input {
            self.rename(name);
        }
        for inner in subgraphs_mut(node) {
            for input in &mut inner.input {
                self.rename(&mut input.name);
            }
            for tensor in &mut inner.initializer {
                self.rename(&mut tensor.name);
            }
            for node in &mut inner.node {
                self.node(node);
            }
            for output in &mut inner.output {
                self.rename(&mut output.name);
            }
        }
        for name in &mut node.output {
            self.rename(name);
        }
    }

    fn rename(&mut self, name: &mut String) {
        if name.is_empty() {
            return;
        }
        if !self.names.contains_key(name) {
            let mut new = format!("{}/{name}", self.prefix);
            while !self.taken.insert(new.clone()) {
                new.push('\'');
            }
            self.names.insert(name.clone(), new);
        }
        name.clone_from(&self.names[name]);
    }
}
