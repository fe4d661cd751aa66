//! Layers by the names that people write: a layer's, an ONNX node's, or a part of either between slashes.

use super::failure::Failure;
use crate::codes::IsaCode;
use scnnc::names::{NameError, resolve};

/// A layer or a host segment, with all names that select it: its own name and the names of its ONNX nodes.
pub struct Known<'a> {
    pub name: &'a str,
    pub nodes: &'a [String],
}

/// The positions of what `wanted` names: all that have a name or a node called so, else the only one of which it is a part
/// between slashes.
pub fn find(wanted: &str, known: &[Known]) -> Result<Vec<usize>, Failure> {
    let is_exact = |known: &Known| known.name == wanted || known.nodes.iter().any(|n| n == wanted);
    let exact: Vec<usize> = (0..known.len()).filter(|&i| is_exact(&known[i])).collect();
    if !exact.is_empty() {
        return Ok(exact);
    }
    // Names of layers first: what lists the names there are lists each layer once.
    let own = known.iter().enumerate().map(|(i, known)| (known.name, i));
    let own: Vec<(&str, usize)> = own.collect();
    let nodes = known.iter().enumerate();
    let nodes = nodes.flat_map(|(i, known)| known.nodes.iter().map(move |n| (n.as_str(), i)));
    let all: Vec<(&str, usize)> = own.iter().copied().chain(nodes).collect();
    resolve(wanted, &all)
        .map(|index| vec![index])
        .map_err(|error| {
            let help = match &error {
                NameError::Unknown { nearest: None, .. } => {
                    let names: Vec<&str> = own.iter().map(|(name, _)| *name).collect();
                    format!("the layers are {}", names.join(", "))
                }
                other => other.help(),
            };
            Failure::input(IsaCode::UnknownName, &error.to_string(), &help)
        })
}
