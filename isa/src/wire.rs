//! Descriptors as protobuf messages, and back with every number checked.

use crate::ids::{RegionId, SectionId, TensorId, ValueId};
use crate::layer::{
    ArrayStage, Function, Layer, Operand, Pass, Pool, PoolKind, PpuStage, View, WeightOrder,
};
use crate::layout::{Grid, Layout, Tile};
use crate::machine::Machine;
use crate::plane::{Axis, Rect, Span};
use crate::program::{
    Dtype, HostSegment, Memory, Program, Provenance, Ranges, Region, Section, SectionKind,
    SourceRange, Tensor, Value,
};

#[allow(missing_docs, clippy::all, clippy::pedantic)] // Generated; the schema is documented in the .proto file.
mod proto {
    include!(concat!(env!("OUT_DIR"), "/scnn.program.v1.rs"));
}
pub(crate) use proto::Program as Message;

/// Enumerations and the numbers that the schema gives them.
trait Numbered: Sized + Copy + PartialEq + 'static {
    const NUMBERS: &'static [(u32, Self)];

    fn number(self) -> u32 {
        Self::NUMBERS
            .iter()
            .find(|(_, value)| *value == self)
            .map_or(u32::MAX, |(number, _)| *number)
    }

    fn from_number(number: u32, what: &str) -> Result<Self, String> {
        let found = Self::NUMBERS.iter().find(|(known, _)| *known == number);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| format!("there is no {what} {number}"))
    }
}

macro_rules! numbered {
    ($($type:ident { $($number:literal $variant:ident),* })*) => {
        $(impl Numbered for $type {
            const NUMBERS: &'static [(u32, Self)] = &[$(($number, Self::$variant)),*];
        })*
    };
}

numbered! {
    Ranges { 0 Proven, 1 Calibrated }
    Memory { 0 A, 1 B, 2 Dram }
    WeightOrder { 0 Krs, 1 Rsk }
    PoolKind { 0 Max, 1 Average, 2 AverageWithPadding }
    SectionKind { 0 Weights, 1 Requantise, 2 Table, 3 Slopes }
    Dtype { 1 F32, 2 U8, 3 I8, 4 U16, 5 I16, 6 I32, 7 I64, 9 Bool, 10 F16, 11 F64, 12 U32, 13 U64 }
}

/// The message of a program's descriptors.
pub(crate) fn to_message(program: &Program) -> Message {
    Message {
        provenance: Some(proto::Provenance {
            tool: program.provenance.tool.clone(),
            model: program.provenance.model.clone(),
            model_hash: program.provenance.model_hash.clone(),
            options: program.provenance.options.clone(),
            ranges: program.provenance.ranges.number(),
        }),
        tensors: program.tensors.iter().map(tensor).collect(),
        regions: program
            .regions
            .iter()
            .map(|r| proto::Region {
                name: r.name.clone(),
                tensor: r.tensor.0,
                tiles: span(r.tiles),
                memory: r.memory.number(),
                base: r.base,
                size: r.size,
            })
            .collect(),
        layers: program.layers.iter().map(layer).collect(),
        sections: program
            .sections
            .iter()
            .map(|s| proto::Section {
                name: s.name.clone(),
                kind: s.kind.number(),
            })
            .collect(),
        values: program
            .values
            .iter()
            .map(|v| proto::Value {
                name: v.name.clone(),
                dtype: v.dtype.number(),
                shape: v.shape.clone(),
                region: v.region.map(|r| r.0),
            })
            .collect(),
        segments: program
            .segments
            .iter()
            .map(|s| proto::Segment {
                name: s.name.clone(),
                inputs: ids(&s.inputs),
                outputs: ids(&s.outputs),
            })
            .collect(),
        inputs: ids(&program.inputs),
        outputs: ids(&program.outputs),
        source_map: program
            .source_map
            .iter()
            .map(|r| proto::SourceRange {
                instructions: span(r.instructions),
                nodes: r.nodes.clone(),
            })
            .collect(),
    }
}

fn ids(values: &[ValueId]) -> Vec<u32> {
    values.iter().map(|v| v.0).collect()
}

#[allow(clippy::unnecessary_wraps)] // Protobuf's message fields are options.
fn span(span: Span) -> Option<proto::Span> {
    Some(proto::Span {
        begin: span.begin,
        end: span.end,
    })
}

#[allow(clippy::unnecessary_wraps)] // Likewise.
fn grid(grid: Grid) -> Option<proto::Grid> {
    Some(proto::Grid {
        rows: grid.rows,
        cols: grid.cols,
    })
}

#[allow(clippy::unnecessary_wraps)] // Likewise.
fn view(view: View) -> Option<proto::View> {
    Some(proto::View {
        tensor: view.tensor.0,
        channels: span(view.channels),
    })
}

#[allow(clippy::unnecessary_wraps)] // Likewise.
fn axis(axis: &Axis) -> Option<proto::Axis> {
    Some(proto::Axis {
        input: axis.input,
        output: axis.output,
        kernel: axis.kernel,
        stride: axis.stride,
        upsample: axis.upsample,
        dilation: axis.dilation,
        pad_begin: axis.pad[0],
        pad_end: axis.pad[1],
    })
}

fn tensor(tensor: &Tensor) -> proto::Tensor {
    let tile = |t: &Tile| proto::Tile {
        images: grid(t.images),
        n: t.n.clone(),
        y: t.y.clone(),
        x: t.x.clone(),
    };
    proto::Tensor {
        name: tensor.name.clone(),
        shape: tensor.shape.to_vec(),
        low: i32::from(tensor.range[0]),
        high: i32::from(tensor.range[1]),
        scale: tensor.scale,
        groups: grid(tensor.layout.groups),
        residues: grid(tensor.layout.residues),
        tiles: tensor.layout.tiles.iter().map(tile).collect(),
    }
}

fn layer(layer: &Layer) -> proto::Layer {
    let (function, function_section) = match layer.ppu.function {
        None => (0, 0),
        Some(Function::Leaky(id)) => (1, id.0),
        Some(Function::Table(id)) => (2, id.0),
    };
    proto::Layer {
        name: layer.name.clone(),
        source: view(layer.source),
        destination: view(layer.destination),
        array: layer.array.as_ref().map(|a| proto::Array {
            groups: a.groups,
            y: axis(&a.y),
            x: axis(&a.x),
            pe_groups: grid(a.pe_groups),
            channel_groups: a.channel_groups.iter().filter_map(|&k| span(k)).collect(),
            order: a.order.number(),
            weights: a.weights.0,
            product_shift: u32::from(a.product_shift),
        }),
        ppu: Some(proto::Ppu {
            requantise: layer.ppu.requantise.0,
            operand: layer.ppu.operand.map(|o| proto::Operand {
                view: view(o.view),
                multiplier: i32::from(o.multiplier),
                shift: u32::from(o.shift),
            }),
            function,
            function_section,
            low: i32::from(layer.ppu.clamp[0]),
            high: i32::from(layer.ppu.clamp[1]),
            pool: layer.ppu.pool.as_ref().map(|p| proto::Pool {
                kind: p.kind.number(),
                y: axis(&p.y),
                x: axis(&p.x),
                multiplier: i32::from(p.multiplier),
                shift: u32::from(p.shift),
            }),
        }),
        passes: layer
            .passes
            .iter()
            .map(|p| proto::Pass {
                n: span(p.output.n),
                y: span(p.output.y),
                x: span(p.output.x),
                source_tile: p.source_tile,
            })
            .collect(),
    }
}

type Checked<T> = Result<T, String>;

/// The number of constant parts that a message announces: sections and host models.
pub(crate) fn parts(message: &Message) -> (usize, usize) {
    (message.sections.len(), message.segments.len())
}

/// The program of a message; code and the bytes of sections and host models are the caller's to fill in.
pub(crate) fn from_message(message: Message, machine: Machine) -> Checked<Program> {
    let provenance = message.provenance.ok_or("there is no provenance")?;
    Ok(Program {
        machine,
        provenance: Provenance {
            tool: provenance.tool,
            model: provenance.model,
            model_hash: provenance.model_hash,
            options: provenance.options,
            ranges: Ranges::from_number(provenance.ranges, "kind of ranges")?,
        },
        tensors: message
            .tensors
            .into_iter()
            .map(read_tensor)
            .collect::<Checked<_>>()?,
        regions: message
            .regions
            .into_iter()
            .map(|r| {
                Ok(Region {
                    name: r.name,
                    tensor: TensorId(r.tensor),
                    tiles: read_span(r.tiles)?,
                    memory: Memory::from_number(r.memory, "memory")?,
                    base: r.base,
                    size: r.size,
                })
            })
            .collect::<Checked<_>>()?,
        layers: message
            .layers
            .into_iter()
            .map(read_layer)
            .collect::<Checked<_>>()?,
        sections: message
            .sections
            .into_iter()
            .map(|s| {
                Ok(Section {
                    name: s.name,
                    kind: SectionKind::from_number(s.kind, "kind of section")?,
                    bytes: Vec::new(),
                })
            })
            .collect::<Checked<_>>()?,
        values: message
            .values
            .into_iter()
            .map(|v| {
                Ok(Value {
                    name: v.name,
                    dtype: Dtype::from_number(v.dtype, "element type")?,
                    shape: v.shape,
                    region: v.region.map(RegionId),
                })
            })
            .collect::<Checked<_>>()?,
        segments: message
            .segments
            .into_iter()
            .map(|s| HostSegment {
                name: s.name,
                model: Vec::new(),
                inputs: s.inputs.into_iter().map(ValueId).collect(),
                outputs: s.outputs.into_iter().map(ValueId).collect(),
            })
            .collect(),
        inputs: message.inputs.into_iter().map(ValueId).collect(),
        outputs: message.outputs.into_iter().map(ValueId).collect(),
        code: Vec::new(),
        source_map: message
            .source_map
            .into_iter()
            .map(|r| {
                Ok(SourceRange {
                    instructions: read_span(r.instructions)?,
                    nodes: r.nodes,
                })
            })
            .collect::<Checked<_>>()?,
    })
}

fn read_span(span: Option<proto::Span>) -> Checked<Span> {
    let span = span.ok_or("a range is missing")?;
    if span.end < span.begin {
        return Err(format!(
            "the range {}..{} is inverted",
            span.begin, span.end
        ));
    }
    Ok(Span {
        begin: span.begin,
        end: span.end,
    })
}

fn read_grid(grid: Option<proto::Grid>) -> Checked<Grid> {
    let grid = grid.ok_or("a grid is missing")?;
    let possible = 1..=0xffff;
    if possible.contains(&grid.rows) && possible.contains(&grid.cols) {
        return Ok(Grid::new(grid.rows, grid.cols));
    }
    Err(format!(
        "a grid of {} x {} is not possible",
        grid.rows, grid.cols
    ))
}

fn read_view(view: Option<proto::View>) -> Checked<View> {
    let view = view.ok_or("a view is missing")?;
    Ok(View {
        tensor: TensorId(view.tensor),
        channels: read_span(view.channels)?,
    })
}

fn read_axis(axis: Option<proto::Axis>) -> Checked<Axis> {
    let axis = axis.ok_or("an axis is missing")?;
    Ok(Axis {
        input: axis.input,
        output: axis.output,
        kernel: axis.kernel,
        stride: axis.stride,
        upsample: axis.upsample,
        dilation: axis.dilation,
        pad: [axis.pad_begin, axis.pad_end],
    })
}

fn small<T: TryFrom<i64>>(value: impl Into<i64>, what: &str) -> Checked<T> {
    let value = value.into();
    T::try_from(value).map_err(|_| format!("the {what} {value} is out of range"))
}

fn read_tensor(tensor: proto::Tensor) -> Checked<Tensor> {
    let shape = tensor
        .shape
        .try_into()
        .map_err(|_| format!("tensor `{}` has not four extents", tensor.name))?;
    let tile = |t: proto::Tile| {
        Ok(Tile {
            images: read_grid(t.images)?,
            n: t.n,
            y: t.y,
            x: t.x,
        })
    };
    Ok(Tensor {
        name: tensor.name,
        shape,
        range: [small(tensor.low, "bound")?, small(tensor.high, "bound")?],
        scale: tensor.scale,
        layout: Layout {
            groups: read_grid(tensor.groups)?,
            residues: read_grid(tensor.residues)?,
            tiles: tensor.tiles.into_iter().map(tile).collect::<Checked<_>>()?,
        },
    })
}

fn read_layer(layer: proto::Layer) -> Checked<Layer> {
    let ppu = layer.ppu.ok_or("a PPU stage is missing")?;
    let function = match ppu.function {
        0 => None,
        1 => Some(Function::Leaky(SectionId(ppu.function_section))),
        2 => Some(Function::Table(SectionId(ppu.function_section))),
        other => return Err(format!("there is no function {other}")),
    };
    if function.is_none() && ppu.function_section != 0 {
        return Err("a section without a function".to_owned());
    }
    Ok(Layer {
        name: layer.name,
        source: read_view(layer.source)?,
        destination: read_view(layer.destination)?,
        array: layer.array.map(read_array).transpose()?,
        ppu: PpuStage {
            requantise: SectionId(ppu.requantise),
            operand: ppu.operand.map(read_operand).transpose()?,
            function,
            clamp: [small(ppu.low, "bound")?, small(ppu.high, "bound")?],
            pool: ppu.pool.map(read_pool).transpose()?,
        },
        passes: layer
            .passes
            .into_iter()
            .map(read_pass)
            .collect::<Checked<_>>()?,
    })
}

fn read_array(array: proto::Array) -> Checked<ArrayStage> {
    Ok(ArrayStage {
        groups: array.groups,
        y: read_axis(array.y)?,
        x: read_axis(array.x)?,
        pe_groups: read_grid(array.pe_groups)?,
        channel_groups: array
            .channel_groups
            .into_iter()
            .map(|k| read_span(Some(k)))
            .collect::<Checked<_>>()?,
        order: WeightOrder::from_number(array.order, "weight order")?,
        weights: SectionId(array.weights),
        product_shift: small(array.product_shift, "product shift")?,
    })
}

fn read_operand(operand: proto::Operand) -> Checked<Operand> {
    Ok(Operand {
        view: read_view(operand.view)?,
        multiplier: small(operand.multiplier, "multiplier")?,
        shift: small(operand.shift, "shift")?,
    })
}

fn read_pool(pool: proto::Pool) -> Checked<Pool> {
    Ok(Pool {
        kind: PoolKind::from_number(pool.kind, "kind of pooling")?,
        y: read_axis(pool.y)?,
        x: read_axis(pool.x)?,
        multiplier: small(pool.multiplier, "multiplier")?,
        shift: small(pool.shift, "shift")?,
    })
}

fn read_pass(pass: proto::Pass) -> Checked<Pass> {
    let output = Rect {
        n: read_span(pass.n)?,
        y: read_span(pass.y)?,
        x: read_span(pass.x)?,
    };
    Ok(Pass {
        output,
        source_tile: pass.source_tile,
    })
}
