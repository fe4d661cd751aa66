//! What holds of every graph between two passes.

use crate::graph::{Graph, Layer, NodeId, Op};
use scnn_isa::legal;

/// Checks a graph; the error names the node and the rule it breaks.
///
/// # Errors
/// The first broken rule.
pub fn check(graph: &Graph) -> Result<(), String> {
    // The order lists no node of a cycle. petgraph's own test for one recurses as deep as the graph is long.
    if graph.order().len() != graph.dag.node_count() {
        return Err("the graph has a cycle".to_owned());
    }
    for id in graph.dag.node_indices() {
        node(graph, id).map_err(|rule| format!("{}: {rule}", graph.dag[id].tensor))?;
    }
    match graph
        .outputs
        .iter()
        .find(|(_, id)| !graph.dag.contains_node(*id))
    {
        Some((name, _)) => Err(format!("the output {name} is gone")),
        None => Ok(()),
    }
}

fn node(graph: &Graph, id: NodeId) -> Result<(), String> {
    let operands = graph.operands(id);
    let count = |wanted: usize| {
        if operands.len() == wanted {
            Ok(())
        } else {
            Err(format!("{} operands, {wanted} expected", operands.len()))
        }
    };
    let shape = |id: NodeId| graph.dag[id].shape().ok_or("no shape [N, C, H, W]");
    match &graph.dag[id].op {
        Op::Input => count(0),
        Op::Layer(layer) => {
            count(1 + usize::from(layer.operand.is_some()))?;
            let operand = match operands.get(1) {
                Some(&operand) => Some(shape(operand)?),
                None => None,
            };
            let (from, to) = (shape(operands[0])?, shape(id)?);
            legal::layer(&layer.form(from, operand, to))?;
            stages(layer, from[1], to[1])
        }
        Op::Map(map) => {
            let used = (0..operands.len() as u32).all(|operand| map.expression.uses(operand) > 0);
            if used && !operands.is_empty() {
                Ok(())
            } else {
                Err("the function does not use each of its operands".to_owned())
            }
        }
        Op::Concat => {
            let mut channels = 0;
            for &operand in &operands {
                channels += shape(operand)?[1];
            }
            if channels == shape(id)?[1] {
                Ok(())
            } else {
                Err("the operands' channels do not add up".to_owned())
            }
        }
        Op::Slice(range) => {
            count(1)?;
            let inside = range.end <= shape(operands[0])?[1] && range.len() == shape(id)?[1];
            if inside {
                Ok(())
            } else {
                Err("the range is not one of the operand's channels".to_owned())
            }
        }
        Op::Rename(_) => {
            count(1)?;
            let elements = |id: NodeId| graph.dag[id].dims.iter().product::<u64>();
            if elements(operands[0]) == elements(id) {
                Ok(())
            } else {
                Err("the number of values changes".to_owned())
            }
        }
        Op::Host(host) => count(host.inputs.len()),
        Op::HostOutput(index) => {
            count(1)?;
            match &graph.dag[operands[0]].op {
                Op::Host(host) if (*index as usize) < host.outputs.len() => Ok(()),
                _ => Err("its operand is no host node with such a result".to_owned()),
            }
        }
    }
}

/// Whether the constants of a layer have as many values as its channels ask for.
fn stages(layer: &Layer, inputs: u32, outputs: u32) -> Result<(), String> {
    if let Some(conv) = &layer.conv {
        if [conv.c, conv.k] != [inputs, outputs] {
            return Err(format!(
                "the convolution takes {} to {} channels, the layer has {inputs} and {outputs}",
                conv.c, conv.k
            ));
        }
        if conv.weights.len() != conv.k as usize * conv.weights_per_output() {
            return Err(
                "the convolution has another number of weights than its shape says".to_owned(),
            );
        }
    }
    let channels = outputs as usize;
    let affine = layer.affine.as_ref();
    if affine.is_some_and(|a| a.scale.len() != channels || a.offset.len() != channels) {
        return Err("the affine stage has another number of channels".to_owned());
    }
    Ok(())
}
