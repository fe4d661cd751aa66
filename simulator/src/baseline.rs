//! Cycles of dense machines on the same layer, for comparison.
//!
//! DCNN is the paper's dense baseline (section 5): the same planar tiling, dot products, no zero skipped. Its cycles
//! are tile-quantised with full lanes: `K * C / groups * R * S / multipliers per PE`, rounded up, for each position of
//! the largest output tile `ceil(H / rows) x ceil(W / cols)`, for each image.

use scnn_isa::layer::ArrayStage;
use scnn_isa::machine::Machine;
use serde::{Deserialize, Serialize};

/// Dense cycles of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baselines {
    /// DCNN with the paper's tiles.
    pub dcnn: u64,
    /// Dense multiplications over all multipliers.
    pub dcnn_ideal: u64,
    /// Useful multiplications over all multipliers: SCNN(oracle).
    pub oracle: u64,
    /// Multiplications of a dense machine.
    pub macs: u64,
}

impl Baselines {
    /// The baselines of a convolution of `c` to `k` channels and `images` images that had `useful` useful products.
    pub fn of(
        machine: &Machine,
        array: &ArrayStage,
        c: u32,
        k: u32,
        images: u32,
        useful: u64,
    ) -> Self {
        let taps = u64::from(array.y.kernel) * u64::from(array.x.kernel);
        let per_position = u64::from(k) * u64::from(c / array.groups.max(1)) * taps;
        let positions = u64::from(array.y.output) * u64::from(array.x.output) * u64::from(images);
        let tile = u64::from(array.y.output.div_ceil(machine.array.rows))
            * u64::from(array.x.output.div_ceil(machine.array.cols));
        let multipliers = u64::from(machine.multipliers_per_pe());
        let all = multipliers * u64::from(machine.pe_count());
        // A transposed convolution multiplies only where the upsampled input is not a zero by construction.
        let upsample = u64::from(array.y.upsample) * u64::from(array.x.upsample);
        let macs = per_position * positions / upsample.max(1);
        Self {
            dcnn: per_position.div_ceil(multipliers) * tile * u64::from(images) / upsample.max(1),
            dcnn_ideal: macs.div_ceil(all),
            oracle: useful.div_ceil(all),
            macs,
        }
    }
}
