//! Storage of every result: the tensors, and the channels of a tensor that a node reads and writes.
//!
//! A concatenation is one tensor that its operands write into side by side; nested concatenations share the
//! outermost one. A slice is a channel range that is read. What cannot be had by placement is a copy through the
//! PPU: an input that is concatenated, a result that two concatenations hold, a channel range that the host reads, a
//! result with a scale of the model's own in a concatenation that has another.

use super::QuantiseError;
use crate::graph::{Graph, NodeId, Op};
use scnn_isa::ids::TensorId;
use scnn_isa::layer::View;
use scnn_isa::plane::Span;
use std::collections::BTreeMap;

/// Storage of a graph.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    /// Tensors by [`TensorId`].
    pub tensors: Vec<Stored>,
    views: BTreeMap<NodeId, View>,
    wholes: BTreeMap<NodeId, TensorId>,
    copies: BTreeMap<NodeId, Vec<Copy>>,
}

/// A tensor and who writes into it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// ONNX name of the value that it holds.
    pub name: String,
    /// N, C, H, W.
    pub shape: [u32; 4],
    /// Nodes whose results it holds.
    pub writers: Vec<NodeId>,
}

/// A copy through the PPU, made as soon as the node it belongs to is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The node that needs it.
    pub on_behalf_of: NodeId,
    /// Read.
    pub source: View,
    /// Written.
    pub destination: View,
}

/// An operand of a concatenation and its place in the whole.
struct ConcatOperand {
    concat: NodeId,
    operand: NodeId,
    destination: View,
}

impl Storage {
    /// Assigns storage to every result that the machine computes or reads.
    ///
    /// # Errors
    /// A result that the machine would have to reorder.
    pub fn assign(graph: &Graph) -> Result<Self, QuantiseError> {
        let mut storage = Self::default();
        let order = graph.order();
        // Outer concatenations first, so that inner ones find their place in them.
        let mut concatenated: Vec<ConcatOperand> = Vec::new();
        for &id in order.iter().rev() {
            if matches!(graph.dag[id].op, Op::Concat) {
                storage.place_concat(graph, id, &mut concatenated)?;
            }
        }
        for &id in &order {
            storage.place(graph, id)?;
        }
        for ConcatOperand {
            concat,
            operand,
            destination,
        } in concatenated
        {
            let source = storage.view(operand);
            storage.tensors[destination.tensor.index()]
                .writers
                .push(operand);
            if source != destination {
                storage.copies.entry(operand).or_default().push(Copy {
                    on_behalf_of: concat,
                    source,
                    destination,
                });
            }
        }
        for &id in &order {
            storage.stand_alone(graph, id)?;
        }
        Ok(storage)
    }

    /// The view through which the result of `node` is read; every node that the machine reads has one.
    pub fn view(&self, node: NodeId) -> View {
        self.views[&node]
    }

    /// The view into which the layer `node` writes.
    pub fn own_view(&self, node: NodeId) -> View {
        self.views[&node]
    }

    /// The tensor that holds exactly the result of `node`, for the host; none when it stays on the host.
    pub fn whole(&self, node: NodeId) -> Option<TensorId> {
        self.wholes.get(&node).copied()
    }

    /// The copies to make once `node` is computed.
    pub fn copies(&self, node: NodeId) -> Vec<Copy> {
        self.copies.get(&node).cloned().unwrap_or_default()
    }

    fn place_concat(
        &mut self,
        graph: &Graph,
        id: NodeId,
        concatenated: &mut Vec<ConcatOperand>,
    ) -> Result<(), QuantiseError> {
        let view = match self.views.get(&id) {
            Some(view) => *view,
            None => self.new_tensor(graph, id, Vec::new())?,
        };
        self.views.insert(id, view);
        let mut channel = view.channels.begin;
        for operand in graph.operands(id) {
            let channels = shape(graph, operand)?[1];
            let place = View {
                tensor: view.tensor,
                channels: Span::new(channel, channel + channels),
            };
            channel += channels;
            // A tensor that the model rounds to a scale of its own is rounded to that before it is copied.
            let node = &graph.dag[operand];
            let own_scale = node.grid.is_some() && node.grid != graph.dag[id].grid;
            let placeable = matches!(node.op, Op::Layer(_) | Op::Concat) && !own_scale;
            if placeable {
                self.views.entry(operand).or_insert(place);
            }
            concatenated.push(ConcatOperand {
                concat: id,
                operand,
                destination: place,
            });
        }
        Ok(())
    }

    fn place(&mut self, graph: &Graph, id: NodeId) -> Result<(), QuantiseError> {
        if self.views.contains_key(&id) {
            return Ok(());
        }
        let view = match &graph.dag[id].op {
            Op::Layer(_) => self.new_tensor(graph, id, vec![id])?,
            Op::Input | Op::HostOutput(_) => {
                if !graph.read_by_machine(id) {
                    return Ok(());
                }
                self.new_tensor(graph, id, vec![id])?
            }
            Op::Slice(range) => {
                let operand = self.operand_view(graph, id)?;
                let begin = operand.channels.begin;
                View {
                    tensor: operand.tensor,
                    channels: Span::new(begin + range.begin, begin + range.end),
                }
            }
            Op::Rename(_) => {
                let operand = graph.operands(id)[0];
                let Some(&view) = self.views.get(&operand) else {
                    return Ok(());
                };
                if !graph.is_free(id) {
                    return Err(unstorable(
                        graph,
                        id,
                        "its operand would have to be reordered in the activation RAMs",
                    ));
                }
                view
            }
            Op::Concat | Op::Map(_) | Op::Host(_) => return Ok(()),
        };
        self.views.insert(id, view);
        Ok(())
    }

    /// Gives a tensor of its own to a result that leaves the machine.
    #[expect(clippy::unnecessary_wraps)] // One of the steps of `assign`, which may refuse.
    fn stand_alone(&mut self, graph: &Graph, id: NodeId) -> Result<(), QuantiseError> {
        let Some(&view) = self.views.get(&id) else {
            return Ok(());
        };
        let for_host = graph
            .consumers(id)
            .iter()
            .any(|(c, _)| matches!(graph.dag[*c].op, Op::Host(_)));
        let from_host = matches!(graph.dag[id].op, Op::Input | Op::HostOutput(_));
        if !for_host && !from_host && !graph.is_output(id) {
            return Ok(());
        }
        let whole = self.tensors[view.tensor.index()].shape[1] == view.channels.len();
        if whole {
            self.wholes.insert(id, view.tensor);
            return Ok(());
        }
        // With the extents under which it is stored: a reshaped result has the same values in the same order.
        let [n, _, h, w] = self.tensors[view.tensor.index()].shape;
        let destination = self.new_stored(graph, id, [n, view.channels.len(), h, w], vec![id]);
        self.wholes.insert(id, destination.tensor);
        self.copies.entry(id).or_default().push(Copy {
            on_behalf_of: id,
            source: view,
            destination,
        });
        Ok(())
    }

    fn operand_view(&self, graph: &Graph, id: NodeId) -> Result<View, QuantiseError> {
        graph
            .operands(id)
            .first()
            .and_then(|operand| self.views.get(operand).copied())
            .ok_or_else(|| unstorable(graph, id, "its operand is not on the machine"))
    }

    fn new_tensor(
        &mut self,
        graph: &Graph,
        id: NodeId,
        writers: Vec<NodeId>,
    ) -> Result<View, QuantiseError> {
        Ok(self.new_stored(graph, id, shape(graph, id)?, writers))
    }

    fn new_stored(
        &mut self,
        graph: &Graph,
        id: NodeId,
        shape: [u32; 4],
        writers: Vec<NodeId>,
    ) -> View {
        let tensor = TensorId(self.tensors.len() as u32);
        let base = graph.dag[id].tensor.clone();
        let mut name = base;
        while self.tensors.iter().any(|stored| stored.name == name) {
            name.push_str(".whole");
        }
        self.tensors.push(Stored {
            name,
            shape,
            writers,
        });
        View {
            tensor,
            channels: Span::new(0, shape[1]),
        }
    }
}

fn shape(graph: &Graph, id: NodeId) -> Result<[u32; 4], QuantiseError> {
    graph.dag[id]
        .shape()
        .ok_or_else(|| unstorable(graph, id, "its result has no shape [N, C, H, W]"))
}

fn unstorable(graph: &Graph, id: NodeId, reason: &str) -> QuantiseError {
    let node = &graph.dag[id];
    QuantiseError::Unstorable {
        node: node.onnx_nodes.first().unwrap_or(&node.tensor).clone(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::observed::{Observed, rectifier};
    use super::*;

    /// `inner` is the channels 1..6 of `outer`; of it, `part` is the channels 2..4, and `whole` is concatenated.
    #[test]
    fn a_slice_of_a_slice_and_a_concatenation_in_one_are_channels_of_the_outermost() {
        let mut observed = Observed::default();
        let mut add = |name, channels, op, operands: &[NodeId]| {
            observed.add((name, channels), (1.0, 1.0), op, operands)
        };
        let x = add("x", 3, Op::Input, &[]);
        let a = add("a", 1, rectifier(), &[x]);
        let b = add("b", 2, rectifier(), &[x]);
        let c = add("c", 3, rectifier(), &[x]);
        let inner = add("inner", 5, Op::Concat, &[b, c]);
        let outer = add("outer", 6, Op::Concat, &[a, inner]);
        let slice = add("slice", 5, Op::Slice(Span::new(1, 6)), &[outer]);
        let part = add("part", 2, Op::Slice(Span::new(2, 4)), &[slice]);
        let y = add("y", 2, rectifier(), &[part]);
        observed.output("y", y);
        observed.output("part", part);
        let storage = Storage::assign(&observed.graph).unwrap();
        let found = |id| {
            let view = storage.view(id);
            (&*storage.tensors[view.tensor.index()].name, view.channels)
        };
        assert_eq!(found(a), ("outer", Span::new(0, 1)));
        assert_eq!(found(b), ("outer", Span::new(1, 3)));
        assert_eq!(found(c), ("outer", Span::new(3, 6)));
        assert_eq!(found(inner), ("outer", Span::new(1, 6)));
        assert_eq!(found(slice), ("outer", Span::new(1, 6)));
        assert_eq!(found(part), ("outer", Span::new(3, 5)));
        assert_eq!(found(y), ("y", Span::new(0, 2)));
        // Only what leaves the machine stands alone; the part of the whole is copied for it.
        assert_eq!(storage.whole(outer), None);
        assert_eq!(storage.whole(y), Some(storage.view(y).tensor));
        let [copy] = storage.copies(part)[..] else {
            panic!("one copy")
        };
        assert_eq!(copy.source, storage.view(part));
        assert_eq!(Some(copy.destination.tensor), storage.whole(part));
        assert_eq!(copy.destination.channels, Span::new(0, 2));
        let writers = &storage.tensors[storage.view(outer).tensor.index()].writers;
        assert!(
            [a, b, c].iter().all(|node| writers.contains(node)),
            "{writers:?}"
        );
    }

    /// Channels 1..3 of four under another shape, as an output: they stand alone as the machine has them.
    #[test]
    fn a_slice_under_another_shape_stands_alone_with_its_channels() {
        let mut observed = Observed::default();
        let x = observed.add(("x", 4), (1.0, 1.0), Op::Input, &[]);
        let a = observed.add(("a", 4), (1.0, 1.0), rectifier(), &[x]);
        let part = Op::Slice(Span::new(1, 3));
        let part = observed.add(("part", 2), (1.0, 1.0), part, &[a]);
        let flat = observed.add(("flat", 2), (1.0, 1.0), Op::Rename(None), &[part]);
        observed.graph.dag[flat].dims = vec![8];
        observed.output("flat", flat);
        let storage = Storage::assign(&observed.graph).unwrap();
        let [copy] = storage.copies(flat)[..] else {
            panic!("one copy")
        };
        assert_eq!(copy.source.channels, Span::new(1, 3));
        assert_eq!(copy.destination.channels, Span::new(0, 2));
        let stored = &storage.tensors[copy.destination.tensor.index()];
        assert_eq!(stored.shape, [1, 2, 2, 2]);
    }

    /// Another shape of the same values is read in place; where it would lie otherwise on the machine, nobody moves them.
    #[test]
    fn a_rename_that_the_machine_would_have_to_make_is_refused() {
        let assigned = |text: &str| {
            let mut observed = Observed::default();
            let mut add =
                |name, op, operands: &[NodeId]| observed.add((name, 2), (1.0, 1.0), op, operands);
            let x = add("x", Op::Input, &[]);
            let a = add("a", rectifier(), &[x]);
            let renamed = add("renamed", Op::Rename(None), &[a]);
            let y = add("y", rectifier(), &[renamed]);
            observed.graph.dag[renamed].dims = vec![1, 4, 2, 1];
            observed.graph.dag[renamed].placement = text.parse().ok();
            observed.output("y", y);
            let storage = Storage::assign(&observed.graph)?;
            Ok::<bool, QuantiseError>(storage.view(renamed) == storage.view(a))
        };
        assert_eq!(assigned("2c 2y 2x"), Ok(true));
        let refused = assigned("4c 2y");
        assert!(
            matches!(&refused, Err(QuantiseError::Unstorable { node, .. }) if node == "/renamed"),
            "{refused:?}"
        );
    }
}
