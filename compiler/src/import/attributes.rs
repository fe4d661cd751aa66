//! Attributes of a node, with the standard's defaults left to the caller.

use crate::graph::reason::Reason;
use std::fmt::Debug;
use tract_onnx::pb::{AttributeProto, NodeProto};

/// Why a node is left to the host: the value of an attribute, or of the operand in its place, the values that the machine takes,
/// and a remedy by which the node would come there.
pub(crate) fn outside(name: &str, value: impl Debug, taken: &str, remedy: &str) -> Reason {
    Reason {
        message: format!("`{name}` is {value:?}"),
        attribute: Some(name.to_owned()),
        allowed: Some(taken.to_owned()),
        remedy: Some(remedy.to_owned()),
    }
}

/// Attributes by name.
pub(crate) struct Attributes<'a> {
    attributes: &'a [AttributeProto],
}

impl<'a> Attributes<'a> {
    pub(crate) fn of(node: &'a NodeProto) -> Self {
        Self {
            attributes: &node.attribute,
        }
    }

    fn get(&self, name: &str) -> Option<&'a AttributeProto> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.get(name).map_or(default, |attribute| attribute.i)
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> f32 {
        self.get(name).map_or(default, |attribute| attribute.f)
    }

    pub(crate) fn optional_float(&self, name: &str) -> Option<f32> {
        self.get(name).map(|attribute| attribute.f)
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.get(name).map(|attribute| attribute.ints.as_slice())
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name)
            .map(|attribute| String::from_utf8_lossy(&attribute.s).into_owned())
    }
}
