//! The post-processing unit: from sums to values, and pooling.

use scnn_isa::arith::{self, Requantise, Rounding, Tables};
use scnn_isa::layer::{Operand, OperandKind, Pool};
use scnn_isa::plane::Span;

/// An activation function with its constants decoded.
#[derive(Clone, Debug)]
pub enum Function {
    /// Factor of negative values by channel, in multiples of a power of two with this exponent.
    Leaky(Vec<i16>, u8),
    /// Straight lines between knots, and the position of each output channel's table.
    Tables(Tables, Vec<usize>),
}

/// The constants of one layer's PPU stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// By output channel.
    pub requantise: Vec<Requantise>,
    /// Activation function.
    pub function: Option<Function>,
    /// How requantisation and operand are rounded.
    pub rounding: Rounding,
    /// Divisor of results before they are rounded.
    pub divisor: f32,
    /// The operation with the operand, and by output channel its aligned shift.
    pub operand: Option<(Operand, Vec<i32>)>,
    /// Bounds of what is pooled.
    pub clamp: [i16; 2],
}

impl Stage {
    /// The values of output channel `k` from its sums; `operand` holds the operand at the same positions, or its one value.
    pub fn values(&self, k: usize, sums: &[i32], operand: Option<&[i16]>, values: &mut [i16]) {
        let requantise = self.requantise[k];
        let pairs = values.iter_mut().zip(sums);
        match (self.operand.as_ref().zip(operand), self.rounding) {
            (Some(((with, shifts), operand)), Rounding::Away) => {
                let shift = shifts[k];
                for ((value, &sum), &other) in pairs.zip(operand.iter().cycle()) {
                    *value = self.finish(k, meet(with, shift, requantise.apply(sum), other));
                }
            }
            (Some(((with, _), operand)), Rounding::Even) => {
                for ((value, &sum), &other) in pairs.zip(operand.iter().cycle()) {
                    *value = self.round(k, meet_real(with, requantise.real(sum), other));
                }
            }
            (None, Rounding::Away) => {
                for (value, &sum) in pairs {
                    *value = self.finish(k, requantise.apply(sum));
                }
            }
            (None, Rounding::Even) => {
                for (value, &sum) in pairs {
                    *value = self.round(k, requantise.real(sum));
                }
            }
        }
    }

    fn round(&self, k: usize, value: f32) -> i16 {
        self.finish(k, arith::round_even(value / self.divisor))
    }

    fn finish(&self, k: usize, value: i32) -> i16 {
        let value = match &self.function {
            None => value,
            Some(Function::Leaky(slopes, exponent)) => arith::leaky(value, slopes[k], *exponent),
            Some(Function::Tables(tables, positions)) => tables.at(positions[k]).at(value),
        };
        value.clamp(i32::from(self.clamp[0]), i32::from(self.clamp[1])) as i16
    }
}

/// The result for a value and the operand's at the same position, which is added with the aligned `shift` of its channel.
fn meet(with: &Operand, shift: i32, value: i32, other: i16) -> i32 {
    match with.kind {
        OperandKind::Add => {
            value.saturating_add(arith::scale_operand(other, with.multiplier, shift))
        }
        OperandKind::Multiply => arith::scale_product(value, other, with.multiplier, with.shift),
    }
}

/// The same in single precision.
fn meet_real(with: &Operand, value: f32, other: i16) -> f32 {
    let other = f32::from(other) * arith::factor(with.multiplier, with.shift);
    match with.kind {
        OperandKind::Add => value + other,
        OperandKind::Multiply => value * other,
    }
}

/// Pools one channel: `values` holds the positions `rows x cols` of the inner plane, row-major; the result the outputs
/// `out_rows x out_cols`.
pub fn pool(
    pool: &Pool,
    values: &[i16],
    (rows, cols): (Span, Span),
    (out_rows, out_cols): (Span, Span),
    rounding: (Rounding, f32),
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
            let value = pool.value(inside, pool.count(oy, ox), rounding);
            result.push(value.clamp(i32::from(clamp[0]), i32::from(clamp[1])) as i16);
        }
    }
    result
}
