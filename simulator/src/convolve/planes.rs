//! The source of a convolution as padded phase planes, so that every tap of every output row is one contiguous run.
//!
//! In the coordinates of the upsampled input, output `o` meets tap `t` at `v = o * stride + t * dilation - pad`, that is
//! in phase `v mod stride` at index `o + floor((t * dilation - pad) / stride)`. Each (channel, phase) is stored as a
//! plane with zeros around it, wide enough for every tap; its rows are the pitch apart, so that a run may even cross
//! rows: the words between them land in columns that nothing reads.
//!
//! A word holds an activation below and the unit of the rounding above ([`super::rounding`]); the padding is
//! zero altogether, and so are its products.

use super::{OVERRUN, rounding};
use rayon::prelude::*;
use scnn_isa::plane::{Axis, Span};

/// How the taps of one axis address the padded phase planes.
struct AxisPlan {
    axis: Axis,
    outputs: Span,
    first: i64,
    /// Extent of a padded plane along this axis.
    extent: usize,
}

impl AxisPlan {
    fn new((axis, outputs): (Axis, Span)) -> Self {
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
    fn tap(&self, tap: u32) -> (usize, usize) {
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
    /// All planes, and behind them [`OVERRUN`] words, as a strip may read beyond the last output.
    pub words: Vec<u32>,
    /// Words between rows.
    pub pitch: usize,
    /// Columns of output.
    pub cols: usize,
    /// Words of a channel.
    channel: usize,
    /// By tap, r major: index in a channel of the activation for the first output.
    taps: Vec<u32>,
}

impl Planes {
    /// Copies the channels `source` (each `[H, W]`, row-major) into padded planes, for the given outputs of each axis.
    pub fn new(
        source: &[i16],
        channels: usize,
        y: (Axis, Span),
        x: (Axis, Span),
        product_shift: u32,
    ) -> Self {
        let (y, x) = (AxisPlan::new(y), AxisPlan::new(x));
        let (unit, _) = rounding(product_shift);
        let unit = u32::from(unit as u16) << 16;
        let (phases, cols) = (y.phases() * x.phases(), x.phases());
        let plane = y.extent * x.extent;
        let mut words = vec![0u32; channels * phases * plane + OVERRUN];
        let (height, width) = (y.axis.input as usize, x.axis.input as usize);
        // The input columns of each column phase: where they go, and where they come from.
        let columns: Vec<Vec<(usize, usize)>> = (0..cols)
            .map(|phase| {
                (0..x.extent)
                    .filter_map(|i| x.input(phase, i).map(|input| (i, input)))
                    .collect()
            })
            .collect();
        words[..channels * phases * plane]
            .par_chunks_mut((phases * plane).max(1))
            .zip(source.par_chunks((height * width).max(1)))
            .for_each(|(padded, source)| {
                for phase in 0..phases {
                    let columns = &columns[phase % cols];
                    for row in 0..y.extent {
                        let Some(input) = y.input(phase / cols, row) else {
                            continue;
                        };
                        let source = &source[input * width..][..width];
                        let target = &mut padded[phase * plane + row * x.extent..][..x.extent];
                        copy_row(target, source, columns, unit);
                    }
                }
            });
        let taps = (0..y.axis.kernel)
            .flat_map(|r| (0..x.axis.kernel).map(move |s| (r, s)))
            .map(|(r, s)| {
                let ((phase_y, row), (phase_x, col)) = (y.tap(r), x.tap(s));
                ((phase_y * cols + phase_x) * plane + row * x.extent + col) as u32
            })
            .collect();
        Self {
            words,
            pitch: x.extent,
            cols: x.outputs.len() as usize,
            channel: phases * plane,
            taps,
        }
    }

    /// Index in the words of the activation that a tap of a channel takes for the first output.
    #[inline]
    pub fn begin(&self, channel: u32, tap: u32) -> usize {
        channel as usize * self.channel + self.taps[tap as usize] as usize
    }

    /// Words that a row of output of all of `channels` channels reads, but for the rows that its kernel needs besides.
    pub fn words_per_row(&self, channels: usize) -> usize {
        channels * self.pitch
    }
}

fn copy_row(target: &mut [u32], source: &[i16], columns: &[(usize, usize)], unit: u32) {
    let word = |value: i16| u32::from(value as u16) | unit;
    match columns {
        // Neighbours in the source that are neighbours in the plane: no stride, nothing upsampled.
        [(to, from), .., (last_to, last_from)]
            if last_to - to == last_from - from && last_to - to + 1 == columns.len() =>
        {
            let count = columns.len();
            for (target, &value) in target[*to..][..count]
                .iter_mut()
                .zip(&source[*from..][..count])
            {
                *target = word(value);
            }
        }
        _ => {
            for &(to, from) in columns {
                target[to] = word(source[from]);
            }
        }
    }
}
