//! Descriptions of layers, a line or two each: the comments of the text.

use crate::layer::{Function, Layer, OperandKind, OperandShape, PoolKind};
use crate::layout::Grid;
use crate::program::{Program, Section, SectionKind};
use crate::section::WeightBlocks;

/// The computation of a layer, in a line or two.
pub fn layer(program: &Program, layer: &Layer) -> Vec<String> {
    let tensor = |id: crate::ids::TensorId| program.tensors.get(id.index());
    let (Some(source), Some(destination)) = (
        tensor(layer.source.tensor),
        tensor(layer.destination.tensor),
    ) else {
        return Vec::new();
    };
    let extents = |channels: u32, [_, _, h, w]: [u32; 4]| format!("{channels}x{h}x{w}");
    let mut what = format!(
        "{} -> {}",
        extents(layer.source.channels.len(), source.shape),
        extents(layer.destination.channels.len(), destination.shape)
    );
    let mut put = |text: String| what.push_str(&text);
    if let Some(array) = &layer.array {
        put(format!(
            ", {}x{} convolution",
            array.y.kernel, array.x.kernel
        ));
        if array.y.stride * array.x.stride > 1 {
            put(format!(", stride {}x{}", array.y.stride, array.x.stride));
        }
        if array.groups > 1 {
            put(format!(", {} groups", array.groups));
        }
    }
    if let Some(operand) = &layer.ppu.operand {
        put(match (operand.kind, operand.shape) {
            (OperandKind::Add, OperandShape::Same) => ", plus a residual operand",
            (OperandKind::Add, OperandShape::PerChannel) => ", plus a value per channel",
            (OperandKind::Multiply, OperandShape::Same) => ", times an operand",
            (OperandKind::Multiply, OperandShape::PerChannel) => ", times a value per channel",
        }
        .to_owned());
    }
    match layer.ppu.function {
        Some(Function::Leaky(_)) => put(", leaky ReLU".to_owned()),
        Some(Function::Table(_)) => put(table(layer)),
        None if layer.ppu.clamp[0] == 0 => put(", ReLU".to_owned()),
        None => {}
    }
    if let Some(pool) = &layer.ppu.pool {
        let kind = if pool.kind == PoolKind::Max {
            "maximum"
        } else {
            "average"
        };
        put(format!(
            ", {kind} pooling {}x{}",
            pool.y.kernel, pool.x.kernel
        ));
    }
    let mut lines = vec![format!("{}: {what}", one_line(&layer.name))];
    lines.extend(mapping(program, layer));
    lines
}

/// The function that a table stands for, and how near it comes.
fn table(layer: &Layer) -> String {
    match &layer.ppu.approximates {
        Some(approximation) => format!(
            ", {} by table, off by at most {:.2} units",
            one_line(&approximation.function),
            approximation.largest_error
        ),
        None => ", a function by table".to_owned(),
    }
}

/// How an array layer is mapped, and how dense its weights are.
fn mapping(program: &Program, layer: &Layer) -> Option<String> {
    let array = layer.array.as_ref()?;
    let source = program.tensors.get(layer.source.tensor.index())?;
    let section = program.sections.get(array.weights.index())?;
    let (channels, outputs) = (
        layer.source.channels.len(),
        layer.destination.channels.len(),
    );
    let kc = array.channel_groups.iter().map(|group| group.len()).max()?;
    let (groups, passes) = (array.channel_groups.len(), layer.passes.len());
    let density = density(
        program,
        section,
        layer,
        channels,
        outputs,
        source.layout.residues,
    );
    Some(format!(
        "{groups} output-channel group{} of at most {kc} channels, {passes} pass{}, products rounded to 2^{}{}",
        if groups == 1 { "" } else { "s" },
        if passes == 1 { "" } else { "es" },
        array.product_shift,
        density.map_or_else(String::new, |d| format!(
            ", {:.1} % of the weights are not zero",
            100.0 * d
        )),
    ))
}

fn density(
    program: &Program,
    section: &Section,
    layer: &Layer,
    channels: u32,
    outputs: u32,
    residues: Grid,
) -> Option<f64> {
    let array = layer.array.as_ref()?;
    if section.kind != SectionKind::Weights {
        return None;
    }
    let format = program.machine.weight_format();
    let blocks =
        WeightBlocks::decode(&section.bytes, format, array, channels, outputs, residues).ok()?;
    let nonzero = blocks
        .elements
        .iter()
        .filter(|element| element.value != 0)
        .count() as f64;
    let taps = u64::from(array.y.kernel) * u64::from(array.x.kernel);
    let weights = u64::from(outputs) * u64::from(channels / array.groups.max(1)) * taps;
    (weights > 0).then(|| nonzero / weights as f64)
}

/// Text from outside, safe in a comment.
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
