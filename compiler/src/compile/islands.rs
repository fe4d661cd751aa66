//! Islands of the array between segments of the host, and whether they pay.
//!
//! A product that the host surrounds takes its operands over the host link and gives its results back over it. Where that
//! takes longer than the array takes for the products, the link is what the network waits for: an attention's scores, of
//! one product a value, or the stages of a Fourier transform between twiddle factors. The host has those values already, in
//! more than 16 bits, and computes the island ([`unpaid`]); the largest part of the network's work stays on the array
//! ([`MOST_OF_WORK`]).
//!
//! A region is what the machine computes without the host: nodes that feed each other, that read one tensor of the host, or
//! that one node of the model became. It is an island if it neither reads an input of the program nor computes an output.

use super::fallback::Fallback;
use super::powers::work;
use crate::graph::{Graph, NodeId, Op};
use petgraph::unionfind::UnionFind;
use scnn_isa::machine::Machine;
use std::collections::{BTreeMap, BTreeSet};

/// Largest share of the network's multiplications that moves to the host.
const MOST_OF_WORK: f64 = 1.0 / 3.0;

/// Share of the multipliers that an island keeps busy, on average.
const USUAL_UTILISATION: f64 = 0.5;

/// Nodes of the machine that compute without the host.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Region {
    /// Its ONNX nodes.
    nodes: Vec<String>,
    /// Whether the host is on all sides.
    is_island: bool,
    /// Values that cross the host link for it.
    values: u64,
    /// Its multiplications by weights other than zero.
    products: f64,
}

impl Region {
    /// Cycles of its values on the host link.
    fn link_cycles(&self, machine: &Machine) -> f64 {
        let bytes = self.values as f64 * f64::from(machine.pe.operand_bits) / 8.0;
        bytes * machine.clock.gigahertz / machine.host_link.gigabytes_per_second
    }

    /// Cycles of its products on the array.
    fn product_cycles(&self, machine: &Machine) -> f64 {
        let multipliers = f64::from(machine.pe_count()) * f64::from(machine.multipliers_per_pe());
        self.products / (multipliers * USUAL_UTILISATION)
    }

    /// Cycles that the link takes longer than the products.
    fn loss(&self, machine: &Machine) -> f64 {
        self.link_cycles(machine) - self.product_cycles(machine)
    }

    fn fallback(&self, machine: &Machine) -> Fallback {
        Fallback {
            nodes: self.nodes.clone(),
            reason: format!(
                "between host segments its values would take {:.0} cycles over the host link, for products that take the array {:.0}",
                self.link_cycles(machine),
                self.product_cycles(machine)
            ),
            is_fault: false,
        }
    }
}

/// All regions of a transformed graph that have a layer.
pub(super) fn regions(graph: &Graph) -> Vec<Region> {
    let members = members(graph).into_values();
    let has_layer = |members: &Vec<NodeId>| {
        let mut members = members.iter();
        members.any(|&id| matches!(graph.dag[id].op, Op::Layer(_)))
    };
    let members = members.filter(has_layer);
    members.map(|members| region(graph, &members)).collect()
}

/// The work that attempts so far have moved to the host.
#[derive(Debug, Default)]
pub(super) struct MovedWork {
    /// Multiplications of the islands that moved.
    products: f64,
    /// Multiplications of the network before any did.
    of: f64,
}

/// The islands that do not pay on a machine, those that lose most first; one region stays.
pub(super) fn unpaid(
    regions: &[Region],
    machine: &Machine,
    moved: &mut MovedWork,
) -> Vec<Fallback> {
    let left: f64 = regions.iter().map(|region| region.products).sum();
    moved.of = moved.of.max(moved.products + left);
    let most = MOST_OF_WORK * moved.of;
    let loses = |region: &&Region| region.is_island && region.loss(machine) > 0.0;
    let mut losing: Vec<&Region> = regions.iter().filter(loses).collect();
    losing.sort_by(|a, b| b.loss(machine).total_cmp(&a.loss(machine)));
    let mut found = Vec::new();
    for island in losing {
        let products = moved.products + island.products;
        if products <= most && found.len() + 1 < regions.len() {
            moved.products = products;
            found.push(island.fallback(machine));
        }
    }
    found
}

/// The machine's nodes of each region, by the first of them.
fn members(graph: &Graph) -> BTreeMap<usize, Vec<NodeId>> {
    let order = graph.order();
    let of_machine: Vec<NodeId> = order
        .iter()
        .copied()
        .filter(|&id| graph.dag[id].op.is_of_machine())
        .collect();
    let bound = order.iter().map(|id| id.index() + 1).max().unwrap_or(0);
    let mut sets = UnionFind::new(bound);
    let mut first_of_name: BTreeMap<&String, NodeId> = BTreeMap::new();
    for &id in &of_machine {
        for operand in graph.operands(id) {
            // The readers of one tensor of the host meet in it.
            sets.union(id.index(), operand.index());
        }
        for name in &graph.dag[id].onnx_nodes {
            let first = *first_of_name.entry(name).or_insert(id);
            sets.union(id.index(), first.index());
        }
    }
    let mut members: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
    for id in of_machine {
        members.entry(sets.find(id.index())).or_default().push(id);
    }
    members
}

fn region(graph: &Graph, members: &[NodeId]) -> Region {
    let is_host = |&id: &NodeId| graph.dag[id].op.is_of_host();
    let read = members.iter().flat_map(|&id| graph.operands(id));
    let given = members.iter().copied().filter(|&id| {
        let readers = graph.consumers(id);
        readers.iter().any(|(reader, _)| is_host(reader))
    });
    let given = given.map(|id| stored(graph, id));
    let crossing: BTreeSet<NodeId> = read.filter(is_host).chain(given).collect();
    let values = crossing.iter();
    let values = values.map(|&id| graph.dag[id].dims.iter().product::<u64>());
    let nodes: BTreeSet<&String> = members
        .iter()
        .flat_map(|&id| &graph.dag[id].onnx_nodes)
        .collect();
    let at_border = |&id: &NodeId| {
        let mut operands = graph.operands(id).into_iter();
        let reads = operands.any(|id| matches!(graph.dag[id].op, Op::Input));
        reads || graph.is_output(id)
    };
    Region {
        is_island: !nodes.is_empty() && !members.iter().any(at_border),
        nodes: nodes.into_iter().cloned().collect(),
        values: values.fold(0, u64::saturating_add),
        products: members.iter().map(|&id| work(graph, id)).sum(),
    }
}

/// The node whose result is stored, where it is renamed.
fn stored(graph: &Graph, mut id: NodeId) -> NodeId {
    while let (Op::Rename(_), [operand]) = (&graph.dag[id].op, &graph.operands(id)[..]) {
        id = *operand;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Conv;
    use crate::graph::weights::Weights;
    use crate::quantise::observed::{Observed, layer, rectifier};
    use scnn_isa::plane::Axis;

    const SEEN: (f32, f64) = (1.0, 1.0);

    /// Products of every input channel with every output channel, at four places.
    fn product(channels: u32) -> Op {
        layer(|layer| {
            layer.conv = Some(Conv {
                weights: Weights::from(vec![1.0; (channels * channels) as usize]),
                k: channels,
                c: channels,
                groups: 1,
                y: Axis::identity(2),
                x: Axis::identity(2),
            });
        })
    }

    /// An island of two layers of the input, and the region behind it.
    fn graph(channels: u32) -> Graph {
        let mut observed = Observed::default();
        let host = || Op::Host(Box::default());
        let of = u64::from(channels);
        let mut add = |name, op, operands: &[NodeId]| observed.add((name, of), SEEN, op, operands);
        let x = add("x", Op::Input, &[]);
        let h = add("h", host(), &[x]);
        let a = add("a", Op::HostOutput(0), &[h]);
        let b = add("b", product(channels), &[a]);
        let c = add("c", rectifier(), &[a]);
        let g = add("g", host(), &[b, c]);
        let d = add("d", Op::HostOutput(0), &[g]);
        let e = add("e", product(channels), &[d]);
        let y = add("y", product(channels), &[e]);
        observed.output("y", y);
        observed.graph
    }

    fn moved(regions: &[Region]) -> Vec<String> {
        let machine = Machine::preset("scnn").unwrap();
        let found = unpaid(regions, &machine, &mut MovedWork::default());
        found.into_iter().flat_map(|of| of.nodes).collect()
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn a_region_is_what_feeds_each_other_or_reads_one_tensor_of_the_host() {
        let found = regions(&graph(2));
        let names: Vec<_> = found.iter().map(|region| region.nodes.clone()).collect();
        assert_eq!(names, [vec!["/b", "/c"], vec!["/e", "/y"]]);
        // a, b and c of 2 x 2 x 2 values; the output crosses no link.
        assert_eq!([found[0].values, found[1].values], [24, 8]);
        assert_eq!([found[0].products, found[1].products], [16.0, 32.0]);
        assert_eq!([found[0].is_island, found[1].is_island], [true, false]);
    }

    #[test]
    fn an_island_that_moves_values_for_few_products_is_the_host_s() {
        assert_eq!(moved(&regions(&graph(2))), ["/b", "/c"]);
        // 1,536 values a place in three tensors, for 262,144 products.
        assert_eq!(moved(&regions(&graph(512))), NONE);
    }

    #[test]
    fn what_an_output_is_computed_of_stays() {
        let mut all = regions(&graph(2));
        all[1].values = 1000;
        all[0].products = 1000.0;
        assert_eq!(moved(&all), NONE);
    }

    #[test]
    fn most_of_the_network_s_products_and_one_region_stay() {
        let mut all = regions(&graph(2));
        all[1].is_island = true;
        assert_eq!(moved(&all), ["/b", "/c"]);
        all[0].products = 80.0;
        assert_eq!(moved(&all), ["/e", "/y"]);
        all[0].products = 0.0;
        all[1].products = 0.0;
        assert_eq!(moved(&all), ["/b", "/c"]);
    }
}
