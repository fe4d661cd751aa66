//! What the PPU makes of a sum, value by value, in floating point: doubles hold every step exactly.

use crate::generate::REQUANTISE;
use scnn_isa::layer::{Function, Operand, OperandKind, OperandShape};
use scnn_isa::program::Program;

/// The PPU's part of a layer, and its second tensor.
pub struct Post<'a> {
    operand: Option<Operand>,
    function: Option<Function>,
    exponent: u8,
    /// The bytes of the function's section.
    constants: &'a [u8],
    /// By channel of the result, how often its unit is halved.
    shifts: &'a [u8],
    /// The second tensor `[N, C, H, W]`, or one value for each image and channel.
    other: &'a [i16],
    /// By channel of it, how often its unit is halved.
    other_shifts: &'a [u8],
}

impl<'a> Post<'a> {
    pub fn new(program: &'a Program, other: &'a [i16]) -> Self {
        let ppu = &program.layers[0].ppu;
        let constants = match ppu.function {
            Some(Function::Leaky(id) | Function::Table(id)) => &program.section(id).bytes[..],
            None => &[],
        };
        Self {
            operand: ppu.operand,
            function: ppu.function,
            exponent: ppu.slope_exponent,
            constants,
            shifts: &program.tensors[1].channel_shifts,
            other,
            other_shifts: program.tensors.get(2).map_or(&[], |of| &of.channel_shifts),
        }
    }

    /// The value at a position, which is `index` in the result and of channel `k` of all `channels`.
    pub fn value(&self, sum: i32, index: usize, plane: usize, k: usize) -> i16 {
        let scaled = f64::from(sum) * f64::from(REQUANTISE.multiplier);
        let value = (scaled / 2f64.powi(i32::from(REQUANTISE.shift))).round();
        let value = self.applied(self.met(value, index, plane, k), k);
        value.clamp(-32767.0, 32767.0) as i16
    }

    fn met(&self, value: f64, index: usize, plane: usize, k: usize) -> f64 {
        let Some(operand) = self.operand else {
            return value;
        };
        let other = match operand.shape {
            OperandShape::Same => self.other[index],
            OperandShape::PerChannel => self.other[index / plane],
        };
        let unit = f64::from(operand.multiplier) / 2f64.powi(operand.shift.into());
        match operand.kind {
            // In units of the result's channel.
            OperandKind::Add => {
                let apart = halvings(self.shifts, k) - halvings(self.other_shifts, k);
                value + (f64::from(other) * unit * 2f64.powi(apart)).round()
            }
            OperandKind::Multiply => {
                (value.clamp(-32768.0, 32767.0) * f64::from(other) * unit).round()
            }
        }
    }

    fn applied(&self, value: f64, k: usize) -> f64 {
        let word = |at: usize| {
            f64::from(i16::from_le_bytes([
                self.constants[at],
                self.constants[at + 1],
            ]))
        };
        match self.function {
            None => value,
            Some(Function::Leaky(_)) if value >= 0.0 => value,
            Some(Function::Leaky(_)) => {
                let unit = 2f64.powi(i32::from(self.exponent) - 15);
                (value * word(2 * k) * unit).round()
            }
            Some(Function::Table(_)) => {
                let input = value.clamp(-32768.0, 32767.0);
                // 24 bits, eight of them behind the point.
                let knot = |at: usize| {
                    let [low, middle, high] = [0, 1, 2].map(|byte| self.constants[at + byte]);
                    f64::from(i32::from_le_bytes([0, low, middle, high])) / 65536.0
                };
                let (mut at, mut begin) = (self.table(k), -32768.0);
                loop {
                    let width = 2f64.powi(self.constants[at].into());
                    if input < begin + width {
                        let (low, next) = (knot(at + 1), at + 4);
                        // The last knot has no width before it.
                        let is_last = begin + width == 32768.0;
                        let high = knot(if is_last { next } else { next + 1 });
                        let line = low + (high - low) * (input - begin) / width;
                        return line.round().clamp(-32768.0, 32767.0);
                    }
                    (at, begin) = (at + 4, begin + width);
                }
            }
        }
    }

    /// Where the table of channel `k` begins: of those that the channel's shift reaches, the last.
    fn table(&self, k: usize) -> usize {
        let shift = halvings(self.shifts, k);
        let (mut found, mut at) = (0, 0);
        loop {
            let mut covered = 0.0;
            while covered < 65536.0 {
                covered += 2f64.powi(self.constants[at].into());
                at += 4;
            }
            // The last knot, then the shift from which the next table serves.
            at += 3;
            match self.constants.get(at) {
                Some(&least) if i32::from(least) <= shift => found = at + 1,
                _ => return found,
            }
            at += 1;
        }
    }
}

/// How often the unit of channel `k` is halved.
fn halvings(shifts: &[u8], k: usize) -> i32 {
    shifts.get(k).copied().unwrap_or(0).into()
}
