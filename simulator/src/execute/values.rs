//! The values of a layer: sums, post-processing, pooling, into the destination.

use super::state::State;
use crate::convolve::Planes;
use crate::convolve::Scratch;
use crate::error::SimulateError;
use crate::ppu;
use crate::tensor::{gather, scatter};
use rayon::prelude::*;
use scnn_isa::arith::{self, signed_range};
use scnn_isa::halo::owner;
use scnn_isa::ids::{LayerId, RegionId};
use scnn_isa::layer::{ArrayStage, Layer, OperandShape, Pass};
use scnn_isa::plane::{Rect, Span};

/// Bytes of planes in one band: half of a usual second-level cache.
const BAND_BYTES: usize = 512 << 10;

/// An overflow of an accumulator: its position and sum; the first in order of position is reported.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Overflow {
    channel: u32,
    y: u32,
    x: u32,
    sum: i32,
}

/// Inputs of the values of one image in a pass.
struct Image<'a> {
    id: LayerId,
    layer: &'a Layer,
    n: u32,
    /// The positions before pooling.
    inner: Rect,
}

impl State<'_> {
    /// Computes the output of a pass: sums, or source values, through the PPU into the destination. Returns the bytes
    /// of the residual operand that came from DRAM.
    pub(super) fn post_process(
        &mut self,
        pass: u32,
        to: RegionId,
        operand: Option<RegionId>,
    ) -> Result<u64, SimulateError> {
        let Some(id) = self.current.as_ref().map(|current| current.id) else {
            return Ok(0);
        };
        let layer = self.program.layer(id);
        let pass = layer.passes[pass as usize];
        let inner = layer.inner_rect(pass.output);
        for n in pass.output.n.iter() {
            let image = Image {
                id,
                layer,
                n,
                inner,
            };
            if self.dense {
                self.fill(&image);
                continue;
            }
            let values = match &layer.array {
                Some(array) => self.sums(&image, array, pass)?,
                None => self.copies(&image),
            };
            self.place(&image, pass, &values);
        }
        let count = u64::from(layer.destination.channels.len()) * inner.positions();
        if let Some(counters) = self.counters() {
            counters.ppu_elements += count;
        }
        let operand_bytes = operand.map_or(0, |operand| self.read_operand(operand, layer, pass));
        // Blocks are complete, and counted, with the last pass.
        if pass == *layer.passes.last().unwrap_or(&pass) {
            self.write_result(to, layer);
        }
        Ok(operand_bytes)
    }

    /// Makes every value of the destination a non-zero.
    fn fill(&mut self, image: &Image) {
        let channels = image.layer.destination.channels;
        let tensor = image.layer.destination.tensor;
        let shape = self.program.tensor(tensor).shape;
        let plane = shape[2] as usize * shape[3] as usize;
        let first = (image.n * shape[1] + channels.begin) as usize * plane;
        self.values_mut(tensor)[first..first + channels.len() as usize * plane].fill(1);
    }

    /// Pools the values of every output channel, if the layer pools, and puts them in their places.
    fn place(&mut self, image: &Image, pass: Pass, values: &[i16]) {
        let (layer, inner) = (image.layer, image.inner);
        let channels = layer.destination.channels;
        let shape = self.program.tensor(layer.destination.tensor).shape;
        let plane = shape[2] as usize * shape[3] as usize;
        let first = (image.n * shape[1] + channels.begin) as usize * plane;
        let target = self.values_mut(layer.destination.tensor);
        let target = &mut target[first..first + channels.len() as usize * plane];
        let positions = (inner.y.len() * inner.x.len()) as usize;
        target
            .par_chunks_mut(plane.max(1))
            .zip(values.par_chunks(positions.max(1)))
            .for_each(|(target, values)| match &layer.ppu.pool {
                None => scatter(target, shape[3], pass.output, values),
                Some(pool) => {
                    let outputs = (pass.output.y, pass.output.x);
                    let window = (inner.y, inner.x);
                    let rounding = (layer.ppu.rounding, layer.ppu.divisor);
                    let clamp = layer.ppu.clamp;
                    let pooled = ppu::pool(pool, values, window, outputs, rounding, clamp);
                    scatter(target, shape[3], pass.output, &pooled);
                }
            });
    }

    /// The operand of output channel `k` at the positions of `rect`, or its one value, if the layer has one.
    fn operand(&self, image: &Image, k: usize, rect: Rect) -> Option<Vec<i16>> {
        let operand = image.layer.ppu.operand?;
        let tensor = operand.view.tensor;
        let channel = operand.view.channels.begin + k as u32;
        let rect = match operand.shape {
            OperandShape::Same => rect,
            OperandShape::PerChannel => Rect {
                y: Span::new(0, 1),
                x: Span::new(0, 1),
                ..rect
            },
        };
        Some(gather(
            &self.tensors[tensor.index()],
            self.program.tensor(tensor).shape,
            image.n,
            channel,
            rect,
        ))
    }

    /// `[K, rows, columns]` of a layer of the PPU alone, before pooling.
    fn copies(&self, image: &Image) -> Vec<i16> {
        let layer = image.layer;
        let stage = &self.simulator.layers[image.id.index()].stage;
        let shape = self.program.tensor(layer.source.tensor).shape;
        let source = &self.tensors[layer.source.tensor.index()];
        let inner = image.inner;
        let positions = (inner.y.len() * inner.x.len()) as usize;
        let outputs = layer.destination.channels.len() as usize;
        let mut values = vec![0i16; outputs * positions];
        values
            .par_chunks_mut(positions.max(1))
            .enumerate()
            .for_each(|(k, values)| {
                let channel = layer.source.channels.begin + k as u32;
                let sums: Vec<i32> = gather(source, shape, image.n, channel, inner)
                    .into_iter()
                    .map(|value| arith::source(value, layer.ppu.source_shift))
                    .collect();
                stage.values(k, &sums, self.operand(image, k, inner).as_deref(), values);
            });
        values
    }

    /// `[K, rows, columns]` of a convolution, before pooling. A band of rows at a time, so that the rows that it reads of the
    /// source stay in the cache while all output channels pass over them.
    fn sums(
        &self,
        image: &Image,
        array: &ArrayStage,
        pass: Pass,
    ) -> Result<Vec<i16>, SimulateError> {
        let (layer, inner, n) = (image.layer, image.inner, image.n);
        let data = &self.simulator.layers[image.id.index()];
        let Some(weights) = &data.weights else {
            return Ok(Vec::new());
        };
        let shape = self.program.tensor(layer.source.tensor).shape;
        let plane = shape[2] as usize * shape[3] as usize;
        let first = (n * shape[1] + layer.source.channels.begin) as usize * plane;
        let channels = layer.source.channels.len() as usize;
        let source = &self.tensors[layer.source.tensor.index()][first..first + channels * plane];
        let shift = u32::from(array.product_shift);
        let planes = Planes::new(
            source,
            channels,
            (array.y, inner.y),
            (array.x, inner.x),
            shift,
        );

        let (rows, cols) = (inner.y.len() as usize, inner.x.len() as usize);
        let outputs = layer.destination.channels.len() as usize;
        let row_bytes = planes.words_per_row(channels) * size_of::<u32>();
        let per_band = (BAND_BYTES / row_bytes.max(1)).clamp(1, rows.max(1));
        let bits = self.machine.pe.accumulator_bits;
        let (low, high) = signed_range(bits);
        let mut values = vec![0i16; outputs * rows * cols];
        let mut overflow = None;
        for first in (0..rows).step_by(per_band) {
            let count = per_band.min(rows - first);
            let band = Rect {
                y: Span::new(
                    inner.y.begin + first as u32,
                    inner.y.begin + (first + count) as u32,
                ),
                ..inner
            };
            let found = values
                .par_chunks_mut((rows * cols).max(1))
                .enumerate()
                .map_init(
                    || (Scratch::default(), Vec::new()),
                    |(scratch, sums), (k, values)| {
                        let weights = weights.by_output.of(k as u32);
                        scratch.convolve(weights, &planes, shift, (first, count), sums);
                        let operand = self.operand(image, k, band);
                        let values = &mut values[first * cols..(first + count) * cols];
                        data.stage.values(k, sums, operand.as_deref(), values);
                        let outside = |sum: i32| i64::from(sum) < low || i64::from(sum) > high;
                        let at = sums.iter().position(|&sum| outside(sum))?;
                        Some(Overflow {
                            channel: k as u32,
                            y: band.y.begin + (at / cols) as u32,
                            x: band.x.begin + (at % cols) as u32,
                            sum: sums[at],
                        })
                    },
                )
                .flatten()
                .min();
            overflow = [overflow, found].into_iter().flatten().min();
        }
        match overflow {
            None => Ok(values),
            Some(overflow) => Err(self.overflow(image, array, pass, overflow)),
        }
    }

    /// Names the layer, PE and channel of an overflow.
    fn overflow(
        &self,
        image: &Image,
        array: &ArrayStage,
        pass: Pass,
        overflow: Overflow,
    ) -> SimulateError {
        let layer = image.layer;
        let layout = &self.program.tensor(layer.source.tensor).layout;
        let tile = &layout.tiles[pass.source_tile as usize];
        let holds = |k: &Span| k.contains(overflow.channel);
        let group = array.channel_groups.iter().position(holds).unwrap_or(0) as u32;
        let group = group % array.pe_groups.count().max(1);
        let (row, col) = owner(array, tile, (image.n, overflow.y, overflow.x));
        let pes = tile.pes();
        SimulateError::Overflow {
            layer: layer.name.clone(),
            pe: (
                group / array.pe_groups.cols * pes.rows + row,
                group % array.pe_groups.cols * pes.cols + col,
            ),
            channel: overflow.channel,
            sum: overflow.sum,
            bits: self.machine.pe.accumulator_bits,
        }
    }
}
