//! The summary as text.

use super::memory_map;
use super::weights::WeightSummary;
use super::{LayerSummary, Summary};
use crate::grid;
use scnn_isa::program::{Memory, Runtime, SectionKind};
use std::fmt::{self, Write};

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&grid::hanging(&self.head()?))?;
        writeln!(f, "\n{}", layers(&self.layers))?;
        let map = memory_map::rams(&self.regions, self.ram_elements, &self.operations);
        if !map.is_empty() {
            writeln!(f, "\n{}", map.trim_end())?;
        }
        self.dram(f)
    }
}

impl Summary {
    fn head(&self) -> Result<String, fmt::Error> {
        let mut f = String::new();
        let hash = self.model_hash.get(..16).unwrap_or(&self.model_hash);
        writeln!(f, "model     {} (blake3 {hash})", self.model)?;
        writeln!(f, "compiled  by {}: {}", self.tool, self.options.join(", "))?;
        writeln!(f, "machine   {}", self.machine)?;
        let mix = self.instructions.iter();
        let mix: Vec<String> = mix.map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(f, "code      {}", mix.join(", "))?;
        let sections = self.sections.iter().map(|sections| {
            let kind = match sections.kind {
                SectionKind::Weights => "weights",
                SectionKind::Requantise => "requantisation",
                SectionKind::Table => "tables",
                SectionKind::Slopes => "slopes",
            };
            format!("{} of {kind}, {} bytes", sections.count, sections.bytes)
        });
        writeln!(f, "sections  {}", sections.collect::<Vec<_>>().join("; "))?;
        let mut all = WeightSummary::default();
        for weights in self.layers.iter().filter_map(|layer| layer.weights) {
            all += weights;
        }
        writeln!(
            f,
            "weights   {} bytes, {:.2}x smaller than dense ({} bytes); {} bytes of it are runs and counts, {} of {} elements placeholders",
            all.encoded_bytes,
            all.ratio(),
            all.dense_bytes,
            all.index_bytes,
            all.placeholders,
            all.nonzeros + all.placeholders
        )?;
        for (number, segment) in self.segments.iter().enumerate() {
            let (inputs, outputs) = (segment.inputs.join(", "), segment.outputs.join(", "));
            let needs = match segment.runtime {
                Runtime::Tract => "",
                Runtime::OnnxRuntime => ", needs ONNX Runtime",
            };
            writeln!(
                f,
                "host {number:<4} {}: {inputs} -> {outputs} ({} bytes of ONNX{needs})",
                segment.name, segment.bytes
            )?;
        }
        Ok(f)
    }

    /// What the compiler reserved in DRAM.
    fn dram(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut regions: Vec<_> = self.regions.iter().collect();
        regions.retain(|region| region.memory == Memory::Dram);
        regions.sort_by_key(|region| region.base);
        let bytes: u64 = regions.iter().map(|region| region.size).sum();
        writeln!(f, "\nDRAM, {bytes} bytes of activations at worst")?;
        let mut table = grid::plain(&["bytes", "from", "tensor", "from layer", "to layer"]);
        let operation = |index: u32| {
            self.operations
                .get(index as usize)
                .cloned()
                .unwrap_or_default()
        };
        for region in regions {
            table.add_row([
                region.size.to_string(),
                region.base.to_string(),
                region.tensor.clone(),
                operation(region.layers[0]),
                operation(region.layers[1]),
            ]);
        }
        grid::right(&mut table, 0..=1);
        writeln!(f, "{}", grid::fitted(table, &[1, 4, 3]))
    }
}

fn layers(layers: &[LayerSummary]) -> String {
    let mut table = grid::plain(&[
        "layer",
        "shape",
        "Kc",
        "groups",
        "passes",
        "dense, B",
        "encoded, B",
        "ratio",
        "index, B",
        "placeholders",
        "code",
        "ONNX nodes",
    ]);
    for layer in layers {
        let weights = |number: &dyn Fn(&WeightSummary) -> String| {
            layer.weights.as_ref().map_or_else(String::new, number)
        };
        let array = |number: String| {
            if layer.weights.is_some() {
                number
            } else {
                String::new()
            }
        };
        table.add_row([
            layer.name.clone(),
            layer.shape.clone(),
            array(layer.kc.to_string()),
            array(layer.channel_groups.to_string()),
            layer.passes.to_string(),
            weights(&|w| w.dense_bytes.to_string()),
            weights(&|w| w.encoded_bytes.to_string()),
            weights(&|w| format!("{:.2}x", w.ratio())),
            weights(&|w| w.index_bytes.to_string()),
            weights(&|w| w.placeholders.to_string()),
            format!("{}..{}", layer.instructions[0], layer.instructions[1]),
            layer.onnx_nodes.join(" "),
        ]);
    }
    grid::right(&mut table, 2..=9);
    grid::fitted(table, &[11, 8, 9, 4, 1, 10, 3])
}
