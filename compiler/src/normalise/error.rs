//! Why a model cannot be compiled: what is wrong, with which node, and what to do.

use super::parts::node_name;
use crate::codes::Code;
use scnn_isa::diagnostic::{Diagnostic, Location, Place};
use thiserror::Error;
use tract_onnx::pb::NodeProto;

/// A reason why a model cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ImportError {
    /// Stable code.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// The node at fault and its operator, if it is a node.
    pub node: Option<(String, String)>,
    /// The attribute of the node that is at fault.
    pub attribute: Option<String>,
    /// What is allowed in the place of what was found.
    pub allowed: Option<String>,
    /// What to do.
    pub remedy: Option<String>,
}

/// All reasons, in the model's order; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} problem(s); the first: {}", .0.len(), .0.first().map_or("none", |e| &e.message))]
pub struct ImportErrors(pub Vec<ImportError>);

impl ImportErrors {
    /// As diagnostics about `file`.
    pub fn diagnostics(&self, file: &str) -> Vec<Diagnostic> {
        self.0
            .iter()
            .map(|error| Diagnostic {
                code: error.code.into(),
                message: error.message.clone(),
                location: Some(Location {
                    file: Some(file.to_owned()),
                    place: match &error.node {
                        Some((name, operator)) => Place::Node {
                            name: name.clone(),
                            operator: operator.clone(),
                        },
                        None => Place::File,
                    },
                }),
                attribute: error.attribute.clone(),
                allowed: error.allowed.clone(),
                notes: Vec::new(),
                help: error.remedy.clone(),
            })
            .collect()
    }
}

impl ImportError {
    /// A problem of the whole model.
    pub(crate) fn model(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            node: None,
            attribute: None,
            allowed: None,
            remedy: Some(remedy.into()),
        }
    }

    /// A problem of a node.
    pub(crate) fn node(
        code: Code,
        node: &NodeProto,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let place = (node_name(node), node.op_type.clone());
        Self {
            code,
            message: message.into(),
            node: Some(place),
            attribute: None,
            allowed: None,
            remedy: Some(remedy.into()),
        }
    }

    /// The same, of an attribute.
    pub(crate) fn of_attribute(mut self, name: &str, allowed: Option<String>) -> Self {
        self.attribute = Some(name.to_owned());
        self.allowed = allowed;
        self
    }
}
