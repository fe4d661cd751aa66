//! Mappings and places in words.

use super::super::table::{counted, si};
use scnn_isa::layout::Layout;
use scnn_simulator::report::columns::memory_name;
use scnn_simulator::timing::Cause;
use scnnc::compile::Compiled;
use scnnc::map::LayerMapping;
use scnnc::map::cost::Cost;
use scnnc::map::explain::{Alternative, Cuts, Explanation};
use scnnc::map::residency::{Slot, Staging};
use scnnc::map::search::ORDER;
use scnnc::quantise::IntLayer;
use std::fmt::Write;

/// How a layer is mapped.
pub fn mapping(layout: &Layout, mapping: &LayerMapping) -> String {
    let tile = &layout.tiles[0];
    let mut text = format!("PE tile {} x {}", widest(&tile.y), widest(&tile.x));
    if tile.n.windows(2).any(|cut| cut[1] - cut[0] > 1) {
        let _ = write!(text, " of {} images", widest(&tile.n));
    }
    if mapping.kc > 0 {
        let _ = write!(
            text,
            ", Kc {} in {}",
            mapping.kc,
            counted(mapping.rounds() as usize, "round")
        );
    }
    if layout.groups.count() > 1 {
        let _ = write!(
            text,
            ", {} x {} PE groups",
            layout.groups.rows, layout.groups.cols
        );
    }
    if mapping.passes.len() > 1 {
        let _ = write!(text, ", {} temporal tiles", mapping.passes.len());
    }
    if layout.residues.count() > 1 && mapping.kc > 0 {
        let _ = write!(text, ", {} phases", layout.residues.count());
    }
    text
}

fn widest(cuts: &[u32]) -> u32 {
    cuts.windows(2)
        .map(|cut| cut[1] - cut[0])
        .max()
        .unwrap_or(0)
}

/// Where a layer reads and writes.
pub fn memory(compiled: &Compiled, layer: &IntLayer, step: usize) -> String {
    let residency = &compiled.mapped.residency;
    let home = |slot: Option<Slot>| match slot {
        Some(slot) => format!("RAM {}", memory_name(slot.memory)),
        None => "DRAM".to_owned(),
    };
    let from = match residency.stages[step] {
        None => home(residency.homes[layer.source.tensor.index()]),
        Some(Staging::PerTile(_)) => "DRAM, tile by tile".to_owned(),
        Some(Staging::Alternate(_)) => "DRAM, a tile ahead".to_owned(),
        Some(Staging::Once(_)) => "DRAM, once for all its readers".to_owned(),
        Some(Staging::Kept(_)) => "a RAM, loaded before".to_owned(),
    };
    let to = home(residency.homes[layer.destination.tensor.index()]);
    format!("from {from}, to {to}")
}

/// Another mapping beside the chosen one, which is predicted to cost `chosen`.
pub fn alternative(other: &Alternative, chosen: &Cost) -> String {
    // Where other tensors find room beside another cut is left out.
    let alone = other.cut.is_some();
    let more = |other: f64, chosen: f64| 100.0 * (other / chosen - 1.0);
    let (cycles, energy) = (other.cost.cycles as f64, other.cost.energy_pj);
    format!(
        "{:>7} cycles {:11} {:>7} {:12} {}{}",
        si(cycles, ""),
        format!("({:+.1} %),", more(cycles, chosen.cycles.max(1) as f64)),
        si(energy * 1e-12, "J"),
        format!(
            "({:+.1} %):",
            more(energy, chosen.energy_pj.max(f64::MIN_POSITIVE))
        ),
        alternative_mapping(other),
        if alone { " (other tensors aside)" } else { "" },
    )
}

/// What another mapping is.
pub fn alternative_mapping(other: &Alternative) -> String {
    let kc = other.mapping.kc;
    let Some(cut) = other.cut else {
        let rounds = counted(other.mapping.rounds() as usize, "round");
        let mut text = format!("Kc {kc} in {rounds} on the same tiles");
        if other.mapping.order != ORDER {
            text.push_str(", weights in the order r, s, k");
        }
        return text;
    };
    let mut text = match kc {
        0 => cut.to_string(),
        _ => format!("Kc {kc}, {cut}"),
    };
    if other.exceeding_bytes > 0 {
        let _ = write!(
            text,
            ", source from DRAM ({} bytes more than an activation RAM holds)",
            other.exceeding_bytes
        );
    }
    text
}

/// Numbers of cuts of a layer's source.
pub fn cuts(mapper: &Explanation) -> String {
    let Cuts { legal, excluded } = mapper.cuts;
    let all = counted(legal + excluded, "cut");
    match excluded {
        0 => format!("none of {all} of its source: each fits the accumulators"),
        _ => format!("{excluded} of {all} of its source, by the accumulators"),
    }
}

/// What a layer loses most to, and what would help.
pub const fn loss(loss: Cause) -> &'static str {
    match loss {
        Cause::Useful => "nothing: the multipliers work all the time",
        Cause::Fragmentation => {
            "fragmentation: vectors are not full; more positions or output channels of a channel at once, as far as the \
             accumulators hold them, fill them better"
        }
        Cause::OutOfPlane => {
            "out of plane: products at the border of the plane or tile are dropped; larger tiles have less border"
        }
        Cause::Placeholder => {
            "placeholder: runs of zeros are longer than the index counts, or zeros are stored"
        }
        Cause::BankStall => "bank stall: products wait in the queues before the accumulator banks",
        Cause::Fifo => {
            "FIFO: PEs wait for weights; the bus brings them when every PE of the group has room, so that none gets further \
             ahead of the slowest than its FIFO holds"
        }
        Cause::Barrier => "barrier: PEs wait at the end of a round for the one with most work",
        Cause::Drain => "drain: PPUs and halo links take longer than the multipliers",
        Cause::Dram => "DRAM: what the layer moves takes longer than its products",
        Cause::HostLink => "host link: the layer waits for the host",
        Cause::NoTile => "no tile: the plane does not give every PE a tile",
    }
}
