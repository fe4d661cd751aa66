//! Dense machines on the same layer, for comparison: their cycles and their energy.
//!
//! **DCNN** is the paper's dense baseline (section 5): the same planar tiling, dot products, no zero skipped. Its
//! cycles are tile-quantised with full lanes: `K * C / groups * R * S / multipliers per PE`, rounded up, for each
//! position of the largest output tile `ceil(H / rows) x ceil(W / cols)`, for each image. With *lanes* quantised too,
//! a dot product takes `ceil(C / groups * R * S / 16)` steps. *Ideal* is all multiplications over all multipliers.
//!
//! **DCNN-opt** takes the same cycles; a zero operand stops the multiplier, the adder and the delivery of operands,
//! and activations are compressed on their way to and from DRAM.
//!
//! **Energy.** Four products take a vector of four activations from the PE's activation RAM and a vector of four
//! weights from its FIFO; that is the price of dot products, where SCNN reads one vector of each for sixteen products.
//! Weights come from DRAM once, dense, 16 bits each. Activations stay in the SRAM if input and output fit it together.

use crate::schema::{add_fields, described};
use scnn_isa::codec::Format;
use scnn_isa::layer::ArrayStage;
use scnn_isa::machine::Machine;
use scnn_isa::plane::Axis;
use serde::{Deserialize, Serialize};

/// Operands of a vector in a dense machine.
const VECTOR: u64 = 4;
/// Bits of an uncompressed operand there.
const OPERAND_BITS: u64 = 16;

described! {
    /// Dense machines on a layer.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct Baselines {
        /// Cycles of DCNN with the paper's tiles.
        pub dcnn: u64,
        /// Cycles of DCNN whose dot products leave lanes empty at their end.
        pub dcnn_lanes: u64,
        /// Dense multiplications over all multipliers.
        pub dcnn_ideal: u64,
        /// Useful multiplications over all multipliers: SCNN(oracle).
        pub oracle: u64,
        /// Multiplications of a dense machine.
        pub macs: u64,
        /// Energy of DCNN, pJ.
        pub dcnn_pj: DenseEnergy,
        /// Energy of DCNN-opt, pJ.
        pub dcnn_opt_pj: DenseEnergy,
    }
}

described! {
    /// Energy of a dense machine by component, pJ.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub struct DenseEnergy {
        /// Multipliers and adders.
        pub multipliers: f64,
        /// Operands on their way to them.
        pub operands: f64,
        /// Results on their way to the activation SRAM.
        pub results: f64,
        /// DRAM.
        pub dram: f64,
    }
}

impl DenseEnergy {
    /// The sum of all components.
    pub fn total(&self) -> f64 {
        self.multipliers + self.operands + self.results + self.dram
    }

    fn add(&mut self, other: &Self) {
        add_fields!(
            self,
            *other,
            Self {
                multipliers,
                operands,
                results,
                dram,
            }
        );
    }
}

/// Operands and result of a layer, as far as a dense machine's time and energy depend on them.
#[derive(Clone, Copy, Debug)]
pub struct LayerOperands {
    /// Input and output channels.
    pub channels: [u32; 2],
    /// Images.
    pub images: u32,
    /// Products of two non-zeros inside the plane.
    pub useful: u64,
    /// Activations read and written.
    pub activations: [u64; 2],
    /// Non-zero activations read and written.
    pub nonzeros: [u64; 2],
    /// Whether the input comes from, and the output goes to, outside the accelerator.
    pub external: [bool; 2],
}

impl Baselines {
    /// The dense machines on a convolution.
    pub fn of(machine: &Machine, array: &ArrayStage, operands: &LayerOperands) -> Self {
        let [c, k] = operands.channels;
        let images = u64::from(operands.images);
        let taps = u64::from(array.y.kernel) * u64::from(array.x.kernel);
        let dot_product = u64::from(c / array.groups.max(1)) * taps;
        let weights = u64::from(k) * dot_product;
        // A transposed convolution multiplies each input with each tap, and not the zeros between the inputs.
        let transposed = array.y.upsample > 1 || array.x.upsample > 1;
        let extent = |axis: &Axis| if transposed { axis.input } else { axis.output };
        let (rows, cols) = (extent(&array.y), extent(&array.x));
        let positions = u64::from(rows) * u64::from(cols) * images;
        let tile = u64::from(rows.div_ceil(machine.array.rows))
            * u64::from(cols.div_ceil(machine.array.cols))
            * images;
        let multipliers = u64::from(machine.multipliers_per_pe());
        let all = multipliers * u64::from(machine.pe_count());
        let width = u64::from(machine.dataflow.dot_product_width);
        let macs = weights * positions;
        let lanes = u64::from(k) * dot_product.div_ceil(width) * width;
        let mut baselines = Self {
            dcnn: weights.div_ceil(multipliers) * tile,
            dcnn_lanes: lanes.div_ceil(multipliers) * tile,
            dcnn_ideal: macs.div_ceil(all),
            oracle: operands.useful.div_ceil(all),
            macs,
            ..Self::default()
        };
        let share = operands.useful as f64 / macs.max(1) as f64;
        let [input, output] = operands.activations;
        let fits = (input + output) * OPERAND_BITS / 8 <= u64::from(machine.dataflow.sram_bytes);
        let moved = |bits: [u64; 2]| -> u64 {
            let sides = bits.iter().zip(operands.external);
            sides
                .filter(|(_, external)| *external || !fits)
                .map(|(bits, _)| bits)
                .sum()
        };
        let dense = moved([input * OPERAND_BITS, output * OPERAND_BITS]);
        let compressed = moved(
            operands
                .nonzeros
                .map(|n| n * u64::from(Format::element_bits(machine.activation_format()))),
        );
        let energy = |busy: f64, activation_bits: u64| {
            let table = &machine.energy;
            // A FIFO's vector is as long as the sparse machine's.
            let of_fifo = VECTOR as f64 / f64::from(machine.pe.weights_per_vector);
            let vector = table.dense_operand_vector_read.pj + table.fifo_read_vector.pj * of_fifo;
            DenseEnergy {
                multipliers: busy * macs as f64 * (table.multiply.pj + table.dense_add.pj),
                operands: busy * macs as f64 / VECTOR as f64 * vector,
                results: output as f64 / VECTOR as f64 * table.dense_sram_write_vector.pj,
                dram: (weights * OPERAND_BITS + activation_bits) as f64 * table.dram_bit.pj,
            }
        };
        baselines.dcnn_pj = energy(1.0, dense);
        baselines.dcnn_opt_pj = energy(share, compressed.min(dense));
        baselines
    }

    /// Adds the dense machines of another inference.
    pub fn add(&mut self, other: &Self) {
        let Self {
            dcnn,
            dcnn_lanes,
            dcnn_ideal,
            oracle,
            macs,
            dcnn_pj,
            dcnn_opt_pj,
        } = other;
        self.dcnn += dcnn;
        self.dcnn_lanes += dcnn_lanes;
        self.dcnn_ideal += dcnn_ideal;
        self.oracle += oracle;
        self.macs += macs;
        self.dcnn_pj.add(dcnn_pj);
        self.dcnn_opt_pj.add(dcnn_opt_pj);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scnn_isa::ids::SectionId;
    use scnn_isa::layer::WeightOrder;
    use scnn_isa::layout::Grid;
    use scnn_isa::plane::Span;

    #[test]
    fn a_plane_that_does_not_divide_costs_the_dense_machine_its_largest_tile() {
        let axis = Axis {
            kernel: 3,
            pad: [1, 1],
            ..Axis::identity(14)
        };
        let array = ArrayStage {
            groups: 1,
            y: axis,
            x: axis,
            pe_groups: Grid::ONE,
            channel_groups: vec![Span::new(0, 8)],
            order: WeightOrder::Krs,
            weights: SectionId(0),
            product_shift: 0,
        };
        let machine = Machine::preset("scnn").unwrap();
        let operands = LayerOperands {
            channels: [3, 8],
            images: 1,
            useful: 1024,
            activations: [588, 1568],
            nonzeros: [588, 784],
            external: [true, false],
        };
        let baselines = Baselines::of(&machine, &array, &operands);
        // 216 weights take 14 steps for each of 2 x 2 positions; a dot product of 27 fills 2 steps of 16.
        assert_eq!((baselines.dcnn, baselines.dcnn_lanes), (14 * 4, 16 * 4));
        assert_eq!((baselines.macs, baselines.oracle), (216 * 196, 1));
        assert_eq!(baselines.dcnn_ideal, (216 * 196u64).div_ceil(1024));
        assert!(baselines.dcnn_opt_pj.total() < baselines.dcnn_pj.total());
    }
}
