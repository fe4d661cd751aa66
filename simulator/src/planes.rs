//! The source of a convolution as padded phase planes, so that every tap of every output row is one contiguous run.
//!
//! In the coordinates of the upsampled input, output `o` meets tap `t` at `v = o * stride + t * dilation - pad`, that is
//! in phase `v mod stride` at index `o + floor((t * dilation - pad) / stride)`. Each (channel, phase) is stored as a
//! plane with zeros around it, wide enough for every tap; its rows are the pitch apart, so that a run may even cross
//! rows: what it picks up between them lands in columns that nothing reads.

use rayon::prelude::*;
use scnn_isa::plane::{Axis, Span};

/// How the taps of one axis address the padded phase planes.
#[derive(Clone, Debug)]
pub struct AxisPlan {
    axis: Axis,
    outputs: Span,
    first: i64,
    /// Extent of a padded plane along this axis.
    pub extent: usize,
}

impl AxisPlan {
    /// Plans the outputs `outputs` of `axis`.
    pub fn new(axis: Axis, outputs: Span) -> Self {
        let shift = |tap: u32| Self::offset(&axis, tap).div_euclid(i64::from(axis.stride));
        let (first, last) = (shift(0), shift(axis.kernel.saturating_sub(1)));
        Self {
            axis,
            outputs,
            first,
            extent: outputs.len() as usize + (last - first) as usize,
        }
    }

    fn offset(axis: &Axis, tap: u32) -> i64 {
        i64::from(tap) * i64::from(axis.dilation) - i64::from(axis.pad[0])
    }

    /// Phase of a tap, and the index in the padded plane at which it meets the first output.
    pub fn tap(&self, tap: u32) -> (usize, usize) {
        let offset = Self::offset(&self.axis, tap);
        let stride = i64::from(self.axis.stride);
        (
            offset.rem_euclid(stride) as usize,
            (offset.div_euclid(stride) - self.first) as usize,
        )
    }

    /// The input position at `index` of the padded plane of `phase`, if it is one.
    fn input(&self, phase: usize, index: usize) -> Option<usize> {
        let block = i64::from(self.outputs.begin) + self.first + index as i64;
        let v = block * i64::from(self.axis.stride) + phase as i64;
        let upsample = i64::from(self.axis.upsample);
        let inside = v >= 0 && v % upsample == 0 && v / upsample < i64::from(self.axis.input);
        inside.then_some((v / upsample) as usize)
    }

    fn phases(&self) -> usize {
        self.axis.stride as usize
    }
}

/// Padded phase planes of all channels of one image.
pub struct Planes {
    values: Vec<i16>,
    plane: usize,
    phases: usize,
    cols: usize,
    /// Elements between rows.
    pub pitch: usize,
}

impl Planes {
    /// Copies the channels `source` (each `[H, W]`, row-major) into padded planes.
    pub fn new(source: &[i16], channels: usize, y: &AxisPlan, x: &AxisPlan) -> Self {
        let (phases, cols) = (y.phases() * x.phases(), x.phases());
        // A run may read up to a vector past the last row.
        let plane = y.extent * x.extent;
        let mut values = vec![0i16; channels * phases * plane];
        let (height, width) = (y.axis.input as usize, x.axis.input as usize);
        values
            .par_chunks_mut((phases * plane).max(1))
            .zip(source.par_chunks((height * width).max(1)))
            .for_each(|(padded, source)| {
                for phase in 0..phases {
                    let columns: Vec<(usize, usize)> = (0..x.extent)
                        .filter_map(|i| x.input(phase % cols, i).map(|input| (i, input)))
                        .collect();
                    for row in 0..y.extent {
                        let Some(input) = y.input(phase / cols, row) else {
                            continue;
                        };
                        let source = &source[input * width..][..width];
                        let target = &mut padded[phase * plane + row * x.extent..][..x.extent];
                        for &(i, input) in &columns {
                            target[i] = source[input];
                        }
                    }
                }
            });
        Self {
            values,
            plane,
            phases,
            cols,
            pitch: x.extent,
        }
    }

    /// The padded plane of a channel and phase.
    #[inline]
    pub fn plane(&self, channel: usize, phase_y: usize, phase_x: usize) -> &[i16] {
        let index = channel * self.phases + phase_y * self.cols + phase_x;
        &self.values[index * self.plane..(index + 1) * self.plane]
    }
}
