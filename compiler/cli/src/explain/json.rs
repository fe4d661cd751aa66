//! Explanations as JSON.

use super::host_link::Segment;
use super::memory_plan::MemoryPlan;
use super::{Explained, words};
use scnn_isa::program::Memory;
use scnn_simulator::timing::Cause;
use scnnc::compile::Compiled;
use serde_json::{Map, Value, json};

/// All explanations of a model; the memory plan where the whole network is explained.
pub fn all(
    compiled: &Compiled,
    explained: &[Explained<'_>],
    segments: &[Segment<'_>],
    plan: Option<&MemoryPlan<'_>>,
) -> Value {
    json!({
        "model": compiled.network.name,
        "machine": compiled.program.machine.name,
        "layers": explained.iter().map(one).collect::<Vec<_>>(),
        "host_segments": segments.iter().map(Segment::json).collect::<Vec<_>>(),
        "memory_plan": plan.map(MemoryPlan::json),
    })
}

fn one(explained: &Explained<'_>) -> Value {
    let Explained {
        compiled,
        layer,
        mapper,
        cycles,
        slots,
    } = explained;
    let machine = &compiled.program.machine;
    let layout = &compiled.mapped.layouts[layer.source.tensor.index()];
    let mapping = compiled.mapped.layers[mapper.operation].as_ref();
    let bound = &mapper.bound;
    let array = layer.conv.as_ref().map(|_| {
        json!({
            "bound_cycles": {
                "useful": bound.useful, "full_vectors": bound.vectors, "weight_bus": bound.bus, "dram": bound.dram,
            },
            "accumulators_used": mapper.accumulators,
            "accumulators": machine.accumulator_entries(),
            "source_elements": mapper.elements.0,
            "source_elements_of_fullest_tile": mapper.elements.1,
            "ram_elements": machine.ram_elements(Memory::A),
        })
    });
    let all = slots.total().max(1) as f64;
    let shares = slots.entries().into_iter();
    let shares: Map<String, Value> = shares
        .map(|(cause, slots)| (cause.to_owned(), json!(slots as f64 / all)))
        .collect();
    let excluded = mapper.excluded.iter();
    let runners_up = mapper.runners_up.iter();
    json!({
        "name": layer.name,
        "onnx_nodes": layer.onnx_nodes,
        "mapping": mapping.map(|mapping| words::mapping(layout, mapping)),
        "memory": words::memory(compiled, layer, mapper.operation),
        "array": array,
        "predicted_cycles": mapper.cost.cycles,
        "predicted_energy_pj": mapper.cost.energy_pj,
        "cycles": cycles,
        "slots_ratio": shares,
        "lost_to": Cause::largest_loss(slots).map(|(loss, _)| loss),
        "legal_cuts": mapper.cuts.legal,
        "excluded_cuts": mapper.cuts.excluded,
        "excluded": excluded.map(|other| json!({
            "mapping": other.what, "buffer": other.buffer, "exceeded_bytes": other.bytes,
        })).collect::<Vec<_>>(),
        "runners_up": runners_up.map(|other| json!({
            "mapping": words::alternative_mapping(other),
            "predicted_cycles": other.cost.cycles,
            "predicted_energy_pj": other.cost.energy_pj,
            "source_exceeds_ram_bytes": other.exceeding_bytes,
        })).collect::<Vec<_>>(),
    })
}
