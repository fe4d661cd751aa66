//! How every tensor is cut: residues for strided consumers, temporal tiles, and the cut of each over the PEs.
//!
//! A tensor's temporal tiles are made from its consumers' output planes: tile (n, y, x) holds what the like-numbered
//! part of every consumer's output needs, halos included. There are as few tiles as the accumulators (of one output
//! channel) and, for tensors that exceed a RAM, the RAM allow: what a PE holds is counted on the calibration sample.

use super::contents::Contents;
use super::residency::resident_room;
use super::{MapError, output_plane, uniform_part};
use crate::quantise::{IntConv, IntLayer, Quantised};
use rayon::prelude::*;
use scnn_isa::ids::TensorId;
use scnn_isa::layer::Pass;
use scnn_isa::layout::{Grid, Layout, Tile};
use scnn_isa::legal::MAX_RESIDUES;
use scnn_isa::machine::Machine;
use scnn_isa::plane::{Axis, Rect, Span};
use std::fmt;
use std::sync::Arc;

/// Tiles of every tensor.
#[derive(Clone, Debug)]
pub struct Tiling {
    /// Layout by tensor.
    pub layouts: Vec<Layout>,
    /// Temporal parts along n, y, x by tensor; the layout's tiles in that order.
    parts: Vec<TemporalParts>,
    /// Contents of the tiles, by tensor.
    contents: Vec<Arc<Contents>>,
}

/// Numbers of temporal parts along the three axes of a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TemporalParts {
    /// Images.
    pub n: u32,
    /// Rows.
    pub y: u32,
    /// Columns.
    pub x: u32,
}

/// Numbers of parts that are counted for a tensor that exceeds a RAM.
const COUNTS: usize = 4;

/// How one tensor is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Temporal parts.
    pub parts: TemporalParts,
    /// PE groups, each with a replica.
    pub groups: Grid,
    /// Parts of the batch over PE rows and columns.
    pub images: Grid,
    /// Residues of a block.
    pub residues: Grid,
}

impl fmt::Display for Cut {
    /// PE groups, and the other numbers that are not one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            parts,
            groups,
            images,
            residues,
        } = self;
        match groups.count() {
            1 => f.write_str("1 PE group")?,
            _ => write!(f, "{} x {} PE groups", groups.rows, groups.cols)?,
        }
        if parts.n * parts.y * parts.x > 1 {
            let TemporalParts { n, y, x } = parts;
            write!(
                f,
                ", {n} x {y} x {x} temporal tiles (images, rows, columns)"
            )?;
        }
        if images.count() > 1 {
            write!(f, ", images over {} x {} PEs", images.rows, images.cols)?;
        }
        if residues.count() > 1 {
            write!(f, ", {} phases", residues.count())?;
        }
        Ok(())
    }
}

impl Tiling {
    /// The paper's tiles.
    ///
    /// # Errors
    /// A layer whose smallest tile does not fit the accumulators.
    pub fn paper(
        network: &Quantised,
        machine: &Machine,
        count: impl Fn(TensorId, &Layout) -> Arc<Contents> + Sync,
    ) -> Result<Self, MapError> {
        let tensors: Vec<(Cut, Layout, Arc<Contents>)> = (0..network.tensors.len() as u32)
            .into_par_iter()
            .map(|index| Cutter::new(network, machine, TensorId(index)).paper(&count))
            .collect::<Result<_, _>>()?;
        let mut tiling = Self {
            layouts: Vec::with_capacity(tensors.len()),
            parts: Vec::with_capacity(tensors.len()),
            contents: Vec::with_capacity(tensors.len()),
        };
        for (cut, layout, contents) in tensors {
            tiling.layouts.push(layout);
            tiling.parts.push(cut.parts);
            tiling.contents.push(contents);
        }
        Ok(tiling)
    }

    /// By tensor, the contents of its tiles.
    pub fn contents(&self) -> &[Arc<Contents>] {
        &self.contents
    }

    /// Temporal parts of a tensor.
    pub fn parts(&self, tensor: TensorId) -> TemporalParts {
        self.parts[tensor.index()]
    }

    /// Replaces the cut of a tensor; `contents` are those of the new tiles.
    pub fn set(
        &mut self,
        tensor: TensorId,
        layout: Layout,
        parts: TemporalParts,
        contents: &Arc<Contents>,
    ) {
        let index = tensor.index();
        self.layouts[index] = layout;
        self.parts[index] = parts;
        self.contents[index] = Arc::clone(contents);
    }

    /// Cuts a tensor as in another tiling of the network.
    pub fn set_like(&mut self, tensor: TensorId, other: &Self) {
        let index = tensor.index();
        self.layouts[index].clone_from(&other.layouts[index]);
        self.parts[index] = other.parts[index];
        self.contents[index].clone_from(&other.contents[index]);
    }

    /// The passes of a layer: one for each part of its output plane that is not empty.
    pub fn passes(&self, network: &Quantised, layer: &IntLayer) -> Vec<Pass> {
        passes(self.parts[layer.source.tensor.index()], network, layer)
    }

    /// Accumulator entries that one output channel of a layer takes in the PE and pass that need most.
    pub fn accumulators(&self, layer: &IntLayer, passes: &[Pass]) -> u64 {
        accumulators(&self.layouts[layer.source.tensor.index()], layer, passes)
    }

    /// Elements to reserve for some tiles of a tensor.
    pub fn elements(&self, tensor: TensorId, tiles: Span) -> u64 {
        let index = tensor.index();
        reserved(&self.layouts[index], &self.contents[index], tiles)
    }

    /// Elements that the fullest PE holds of some tiles of a tensor if no value is zero.
    pub fn most_elements(&self, tensor: TensorId, tiles: Span) -> u64 {
        let index = tensor.index();
        all_values(&self.layouts[index], &self.contents[index], tiles)
    }

    /// Elements of all PEs, and those of them that exceed `size` in their PE.
    pub fn excess(&self, tensor: TensorId, size: u64) -> (u64, u64) {
        let whole = &self.contents[tensor.index()].whole;
        (whole.all(), whole.excess(size))
    }
}

/// The passes of a layer whose source is cut into `parts`.
pub fn passes(parts: TemporalParts, network: &Quantised, layer: &IntLayer) -> Vec<Pass> {
    let plane = output_plane(network, layer);
    let mut passes = Vec::new();
    let mut source_tile = 0;
    for n in 0..parts.n {
        for y in 0..parts.y {
            for x in 0..parts.x {
                let output = Rect {
                    n: uniform_part(plane.n, parts.n, n),
                    y: uniform_part(plane.y, parts.y, y),
                    x: uniform_part(plane.x, parts.x, x),
                };
                if !output.is_empty() {
                    passes.push(Pass {
                        output,
                        source_tile,
                    });
                }
                source_tile += 1;
            }
        }
    }
    passes
}

/// Accumulator entries that one output channel of a layer takes in the PE and pass that need most.
pub fn accumulators(layout: &Layout, layer: &IntLayer, passes: &[Pass]) -> u64 {
    let Some(conv) = &layer.conv else { return 0 };
    let of_pass = |pass: &Pass| {
        let tile = &layout.tiles[pass.source_tile as usize];
        accumulator_tile(conv, tile, inner(layer, pass.output))
            .iter()
            .product()
    };
    passes.iter().map(of_pass).max().unwrap_or(0)
}

/// Images, rows and columns of the accumulator tile of a pass that reads `tile` and makes the positions `inner`, each
/// those of the PE that needs most.
pub fn accumulator_tile(conv: &IntConv, tile: &Tile, inner: Rect) -> [u64; 3] {
    let longest = |cuts: &[u32], outputs: &dyn Fn(Span) -> Span, inside: Span| {
        cuts.windows(2)
            .map(|cut| outputs(Span::new(cut[0], cut[1])).intersect(inside).len())
            .max()
            .map_or(0, u64::from)
    };
    [
        longest(&tile.n, &|span| span, inner.n),
        longest(&tile.y, &|span| conv.y.outputs(span), inner.y),
        longest(&tile.x, &|span| conv.x.outputs(span), inner.x),
    ]
}

/// The positions between array and pooling that `output` of a layer is made from.
pub fn inner(layer: &IntLayer, output: Rect) -> Rect {
    let pool = layer.pool;
    Rect {
        n: output.n,
        y: pooled_inputs(pool.map(|p| p.y).as_ref(), output.y),
        x: pooled_inputs(pool.map(|p| p.x).as_ref(), output.x),
    }
}

/// Elements to reserve for some tiles of a layout that hold `contents`: those of the fullest PE and a tenth more, as
/// another input fills other PEs, and never more than there are values.
pub fn reserved(layout: &Layout, contents: &Contents, tiles: Span) -> u64 {
    let counted = contents.most(tiles);
    let margin = counted + counted.div_ceil(10);
    margin.min(all_values(layout, contents, tiles)).max(1)
}

/// Values of the fullest PE in some tiles of a layout.
fn all_values(layout: &Layout, contents: &Contents, tiles: Span) -> u64 {
    let tiles = tiles.iter().map(|tile| tile as usize);
    let of_tile =
        |tile: usize| largest_part(&layout.tiles[tile]) * u64::from(contents.tiles[tile].channels);
    tiles.map(of_tile).sum::<u64>().max(1)
}

/// Positions of the fullest PE.
pub fn largest_part(tile: &Tile) -> u64 {
    let longest = |cuts: &[u32]| {
        cuts.windows(2)
            .map(|w| u64::from(w[1] - w[0]))
            .max()
            .unwrap_or(0)
    };
    longest(&tile.n) * longest(&tile.y) * longest(&tile.x)
}

/// Expected elements of `positions` positions in each of `channels` channels, never more than all.
fn expected(positions: u64, channels: u32, density: f64) -> u64 {
    let all = positions * u64::from(channels);
    ((all as f64 * density).ceil() as u64).clamp(1, all.max(1))
}

/// Input positions of a pooled span, or the span itself.
pub fn pooled_inputs(pool: Option<&Axis>, span: Span) -> Span {
    pool.map_or(span, |axis| axis.inputs(span))
}

/// Makes the tiles of one tensor.
pub struct Cutter<'a> {
    machine: &'a Machine,
    tensor: TensorId,
    /// The layers that read it.
    pub consumers: Vec<&'a IntLayer>,
    planes: Vec<Rect>,
    shape: [u32; 4],
    /// Share of the values that are stored.
    pub density: f64,
    /// The strides of its consumers, where they agree.
    pub residues: Grid,
}

impl<'a> Cutter<'a> {
    /// For the tensor of that id.
    pub fn new(network: &'a Quantised, machine: &'a Machine, tensor: TensorId) -> Self {
        let consumers: Vec<&IntLayer> = network
            .layers()
            .filter(|layer| layer.source.tensor == tensor)
            .collect();
        let data = network.tensor(tensor);
        Self {
            machine,
            tensor,
            planes: consumers
                .iter()
                .map(|layer| output_plane(network, layer))
                .collect(),
            residues: residues(&consumers),
            consumers,
            shape: data.shape,
            density: if machine.encoding.compress_activations {
                data.density
            } else {
                1.0
            },
        }
    }

    /// The paper's cut: the fewest temporal parts that fit, the layout that it makes, and what its tiles hold.
    ///
    /// # Errors
    /// No number of parts fits the accumulators.
    pub fn paper(
        &self,
        count: impl Fn(TensorId, &Layout) -> Arc<Contents>,
    ) -> Result<(Cut, Layout, Arc<Contents>), MapError> {
        let counted = |parts| {
            let cut = self.plain(parts);
            let layout = self.layout(cut);
            let contents = count(self.tensor, &layout);
            (cut, layout, contents)
        };
        let [batch, _, h, w] = self.shape;
        let n = if h * w == 1 { 1 } else { batch };
        if self.consumers.is_empty() {
            return Ok(counted(TemporalParts { n, y: 1, x: 1 }));
        }
        let entries = u64::from(self.machine.accumulator_entries());
        let fits = |parts| self.accumulators(self.plain(parts)) <= entries;
        let Some(parts) = self.fewest(n, fits) else {
            let smallest = TemporalParts {
                n,
                y: self.most(|r| r.y),
                x: self.most(|r| r.x),
            };
            return Err(MapError::Accumulators {
                layer: self.consumers[0].name.clone(),
                needed: self.accumulators(self.plain(smallest)),
                available: self.machine.accumulator_entries(),
            });
        };
        let room = resident_room(self.machine);
        let whole = counted(parts);
        let (_, layout, contents) = &whole;
        if reserved(layout, contents, Span::new(0, layout.tiles.len() as u32)) <= room {
            return Ok(whole);
        }
        // Densities propose numbers of parts; counting decides.
        let mut limit = room;
        for _ in 0..COUNTS {
            let fitting = self.fewest(n, |parts| {
                fits(parts) && self.tile_elements(self.plain(parts)) <= limit
            });
            let Some(parts) = fitting else { break };
            let tiled = counted(parts);
            let (_, layout, contents) = &tiled;
            let of_tile = |tile| reserved(layout, contents, Span::new(tile, tile + 1));
            let most = (0..layout.tiles.len() as u32)
                .map(of_tile)
                .max()
                .unwrap_or(1);
            if most <= room {
                return Ok(tiled);
            }
            limit = (limit as f64 * room as f64 / most as f64) as u64;
        }
        // A tensor of so many channels that no tile fits is not tiled further: what exceeds the RAM spills.
        Ok(whole)
    }

    /// One PE group, the consumers' residues, images over the PEs where there is nothing else to divide.
    pub fn plain(&self, parts: TemporalParts) -> Cut {
        Cut {
            parts,
            groups: Grid::ONE,
            images: self.images(),
            residues: self.residues,
        }
    }

    /// The fewest parts that fit, along rows first, and along columns only where rows alone do not suffice.
    fn fewest(&self, n: u32, fits: impl Fn(TemporalParts) -> bool) -> Option<TemporalParts> {
        let (rows, cols) = (self.most(|r| r.y), self.most(|r| r.x));
        let mut x = 1;
        loop {
            if let Some(y) = (1..=rows).find(|&y| fits(TemporalParts { n, y, x })) {
                return Some(TemporalParts { n, y, x });
            }
            if x >= cols {
                return None;
            }
            x = (x * 2).min(cols);
        }
    }

    /// The most positions that an output plane has along an axis.
    pub fn most(&self, axis: impl Fn(&Rect) -> Span) -> u32 {
        self.planes
            .iter()
            .map(|plane| axis(plane).len())
            .max()
            .unwrap_or(1)
            .max(1)
    }

    fn images(&self) -> Grid {
        let [n, _, h, w] = self.shape;
        if n > 1 && h * w == 1 {
            self.machine.pes()
        } else {
            Grid::ONE
        }
    }

    /// The layout of a cut.
    pub fn layout(&self, cut: Cut) -> Layout {
        let plane = Rect::plane(self.shape[0], self.shape[2], self.shape[3]);
        let Cut {
            parts,
            groups,
            images,
            residues,
        } = cut;
        let array = self.machine.pes();
        let pes = Grid::new(array.rows / groups.rows, array.cols / groups.cols);
        let rows = self.spans(parts.y, self.shape[2], true);
        let cols = self.spans(parts.x, self.shape[3], false);
        let mut tiles = Vec::with_capacity((parts.n * parts.y * parts.x) as usize);
        for n in 0..parts.n {
            for &y in &rows {
                for &x in &cols {
                    let rect = Rect {
                        n: uniform_part(plane.n, parts.n, n),
                        y,
                        x,
                    };
                    tiles.push(Tile::uniform(rect, pes, images));
                }
            }
        }
        Layout {
            groups,
            residues,
            tiles,
        }
    }

    /// Input spans of the temporal parts along one axis; together they cover it.
    fn spans(&self, parts: u32, extent: u32, rows: bool) -> Vec<Span> {
        let mut spans: Vec<Span> = (0..parts)
            .map(|part| {
                self.consumers.iter().zip(&self.planes).fold(
                    Span::default(),
                    |hull, (layer, plane)| {
                        let span = uniform_part(if rows { plane.y } else { plane.x }, parts, part);
                        hull.hull(needed(layer, span, rows))
                    },
                )
            })
            .collect();
        // Rows that a stride skips, and parts without outputs, still have to be stored somewhere.
        let mut end = 0;
        for span in &mut spans {
            *span = Span::new(
                if span.is_empty() {
                    end
                } else {
                    span.begin.min(end)
                },
                span.end.max(end),
            );
            end = span.end;
        }
        if let Some(last) = spans.iter_mut().rev().find(|span| !span.is_empty()) {
            last.end = extent;
        } else if let Some(first) = spans.first_mut() {
            *first = Span::new(0, extent);
        }
        // An empty part keeps one position, so that every tile is a tile.
        for span in &mut spans {
            if span.is_empty() {
                *span = Span::new(extent - 1, extent);
            }
        }
        spans
    }

    /// Elements that the fullest PE is expected to hold of the largest tile.
    pub fn tile_elements(&self, cut: Cut) -> u64 {
        let layout = self.layout(cut);
        let positions = layout.tiles.iter().map(largest_part).max().unwrap_or(0);
        expected(positions, self.shape[1], self.density)
    }

    /// Accumulator entries of one output channel, of the consumer, tile and PE that need most.
    pub fn accumulators(&self, cut: Cut) -> u64 {
        let images = cut.images.count().max(1);
        let per_image = self.shape[0].div_ceil(cut.parts.n).div_ceil(images);
        // Computed once for all consumers.
        let rows_of_parts = self.spans(cut.parts.y, self.shape[2], true);
        let cols_of_parts = self.spans(cut.parts.x, self.shape[3], false);
        self.consumers
            .iter()
            .zip(&self.planes)
            .filter_map(|(layer, plane)| layer.conv.as_ref().map(|conv| (layer, plane, conv)))
            .map(|(layer, plane, conv)| {
                let pool = layer.pool;
                let array = self.machine.pes();
                let pes = array.rows / cut.groups.rows / cut.images.rows.max(1);
                let pool_y = pool.map(|p| p.y);
                let rows = reach(&rows_of_parts, pes, plane.y, &conv.y, pool_y.as_ref());
                let pes = array.cols / cut.groups.cols / cut.images.cols.max(1);
                let pool_x = pool.map(|p| p.x);
                let cols = reach(&cols_of_parts, pes, plane.x, &conv.x, pool_x.as_ref());
                u64::from(per_image) * u64::from(rows) * u64::from(cols)
            })
            .max()
            .unwrap_or(0)
    }
}

/// Longest accumulator span along one axis over all parts and PEs.
fn reach(parts: &[Span], pes: u32, plane: Span, axis: &Axis, pool: Option<&Axis>) -> u32 {
    let count = parts.len() as u32;
    let of_part = |(part, &span): (usize, &Span)| {
        let inner = pooled_inputs(pool, uniform_part(plane, count, part as u32));
        let of_pe = move |pe| axis.outputs(uniform_part(span, pes, pe)).intersect(inner);
        (0..pes).map(move |pe| of_pe(pe).len())
    };
    parts
        .iter()
        .enumerate()
        .flat_map(of_part)
        .max()
        .unwrap_or(0)
}

/// The strides of the convolutions that read a tensor, where they agree: unit-stride phases for all of them. One where
/// there would be more phases than a layout can have.
fn residues(consumers: &[&IntLayer]) -> Grid {
    let mut strides = consumers
        .iter()
        .filter_map(|layer| layer.conv.as_ref())
        .map(|conv| Grid::new(conv.y.stride, conv.x.stride));
    let Some(first) = strides.next() else {
        return Grid::ONE;
    };
    let split = first.rows.max(first.cols) <= MAX_RESIDUES;
    if split && strides.all(|stride| stride == first) {
        first
    } else {
        Grid::ONE
    }
}

/// The inputs along one axis that `output` needs.
fn needed(layer: &IntLayer, output: Span, rows: bool) -> Span {
    let pick = |y: Axis, x: Axis| if rows { y } else { x };
    let inner = pooled_inputs(layer.pool.map(|p| pick(p.y, p.x)).as_ref(), output);
    layer
        .conv
        .as_ref()
        .map_or(inner, |conv| pick(conv.y, conv.x).inputs(inner))
}
