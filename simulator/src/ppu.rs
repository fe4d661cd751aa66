//! The post-processing unit: from sums to values, and pooling.

use scnn_isa::arith::{self, Requantise};
use scnn_isa::layer::{Pool, PoolKind};
use scnn_isa::plane::Span;

/// An activation function with its constants decoded.
#[derive(Clone, Debug)]
pub enum Function {
    /// Factor of negative values by channel.
    Leaky(Vec<i16>),
    /// Knots.
    Table(Vec<i16>),
}

/// The constants of one layer's PPU stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// By output channel.
    pub requantise: Vec<Requantise>,
    /// Activation function.
    pub function: Option<Function>,
    /// Factor and shift of the residual operand.
    pub operand: Option<(i16, u8)>,
    /// Bounds.
    pub clamp: [i16; 2],
}

impl Stage {
    /// The values of output channel `k` from its sums; `operand` holds the residual operand at the same positions.
    pub fn values(&self, k: usize, sums: &[i32], operand: Option<&[i16]>, values: &mut [i16]) {
        let requantise = self.requantise[k];
        let pairs = values.iter_mut().zip(sums);
        match (self.operand, operand) {
            (Some((multiplier, shift)), Some(operand)) => {
                for ((value, &sum), &b) in pairs.zip(operand) {
                    let scaled = arith::scale_operand(b, multiplier, shift);
                    *value = self.finish(k, requantise.apply(sum).saturating_add(scaled));
                }
            }
            _ => {
                for (value, &sum) in pairs {
                    *value = self.finish(k, requantise.apply(sum));
                }
            }
        }
    }

    fn finish(&self, k: usize, value: i32) -> i16 {
        let value = match &self.function {
            None => value,
            Some(Function::Leaky(slopes)) => arith::leaky(value, slopes[k]),
            Some(Function::Table(knots)) => arith::table(knots, value),
        };
        value.clamp(i32::from(self.clamp[0]), i32::from(self.clamp[1])) as i16
    }
}

/// Pools one channel: `values` holds the positions `rows x cols` of the inner plane, row-major; the result the outputs
/// `out_rows x out_cols`.
pub fn pool(
    pool: &Pool,
    values: &[i16],
    (rows, cols): (Span, Span),
    (out_rows, out_cols): (Span, Span),
    clamp: [i16; 2],
) -> Vec<i16> {
    let windows = |axis: &scnn_isa::plane::Axis, outputs: Span, inputs: Span| -> Vec<Vec<usize>> {
        let inside = |o: u32| {
            (0..axis.kernel)
                .filter_map(move |t| axis.input(o, t))
                .map(move |i| (i - inputs.begin) as usize)
        };
        outputs.iter().map(|o| inside(o).collect()).collect()
    };
    let (ys, xs) = (
        windows(&pool.y, out_rows, rows),
        windows(&pool.x, out_cols, cols),
    );
    let width = cols.len() as usize;
    let mut result = Vec::with_capacity(ys.len() * xs.len());
    for (oy, ys) in out_rows.iter().zip(&ys) {
        for (ox, xs) in out_cols.iter().zip(&xs) {
            let inside = ys
                .iter()
                .flat_map(|y| xs.iter().map(move |x| values[y * width + x]));
            let value = match pool.kind {
                PoolKind::Max => inside.max().map_or(0, i32::from),
                PoolKind::Average | PoolKind::AverageWithPadding => {
                    let sum = inside.map(i64::from).sum();
                    arith::average(sum, pool.count(oy, ox).max(1), pool.multiplier, pool.shift)
                }
            };
            result.push(value.clamp(i32::from(clamp[0]), i32::from(clamp[1])) as i16);
        }
    }
    result
}
