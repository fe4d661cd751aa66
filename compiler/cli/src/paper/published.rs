//! What the paper says: every figure that the evaluation puts beside its own, once, with where it stands there.
//!
//! Sections and figures are those of Parashar et al., "SCNN: An Accelerator for Compressed-sparse Convolutional Neural
//! Networks", ISCA 2017 (arXiv 1708.04485).

/// When a figure counts as reproduced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// At most this share away.
    Within(f64),
    /// At most this far away.
    Near(f64),
    /// Not less than this.
    AtLeast(f64),
    /// Exactly.
    Equal,
    /// Shown beside ours, without a bar.
    Shown,
}

impl Bar {
    /// Whether `ours` reproduces `published`; none without a bar.
    pub fn met(self, published: f64, ours: f64) -> Option<bool> {
        match self {
            Self::Within(share) => Some((ours / published - 1.0).abs() <= share),
            Self::Near(distance) => Some((ours - published).abs() <= distance),
            Self::AtLeast(least) => Some(ours >= least),
            Self::Equal => Some(ours == published),
            Self::Shown => None,
        }
    }

    /// The bar in words.
    pub fn describe(self) -> String {
        match self {
            Self::Within(share) => format!("within {:.0} %", share * 100.0),
            Self::Near(distance) => format!("within {distance}"),
            Self::AtLeast(least) => format!("at least {least}"),
            Self::Equal => "exactly".to_owned(),
            Self::Shown => String::new(),
        }
    }
}

/// A published figure.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// Name, by which a section gives its own.
    pub key: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Its value.
    pub value: f64,
    /// Unit; `x` for ratios, empty for shares and counts.
    pub unit: &'static str,
    /// The bar.
    pub bar: Bar,
    /// Where it stands.
    pub source: &'static str,
}

const fn row(
    key: &'static str,
    what: &'static str,
    (value, unit): (f64, &'static str),
    bar: Bar,
    source: &'static str,
) -> Published {
    Published {
        key,
        what,
        value,
        unit,
        bar,
        source,
    }
}

/// Headlines may be a tenth away.
const TENTH: Bar = Bar::Within(0.10);
/// Headlines of energy may be a twentieth away: their accounting was fitted to them.
const TWENTIETH: Bar = Bar::Within(0.05);
/// Figures that the accounting was not fitted to may be a fifth away.
const FIFTH: Bar = Bar::Within(0.20);
/// Crossovers may be half a step of the sweep away.
const CROSSOVER: Bar = Bar::Near(0.05);

/// The table.
#[rustfmt::skip] // One figure a line.
pub const PUBLISHED: &[Published] = &[
    row("speed.alexnet", "AlexNet, speed-up over DCNN", (2.37, "x"), TENTH, "6.2, figure 8"),
    row("speed.googlenet", "GoogLeNet, speed-up over DCNN", (2.19, "x"), TENTH, "6.2, figure 8"),
    row("speed.vgg16", "VGG-16, speed-up over DCNN", (3.52, "x"), TENTH, "6.2, figure 8"),
    row("speed.mean", "mean speed-up of the three", (2.7, "x"), TENTH, "abstract, 6.2"),
    row("utilisation.5b", "5b, 1x1 layers: multipliers at work, at most", (0.20, ""), Bar::Shown, "6.2, figure 9"),
    row("utilisation.fc", "fully connected: lanes of a step filled", (0.25, ""), Bar::Shown, "6, no weight is used twice"),
    row("energy.opt", "DCNN-opt, energy better than DCNN", (2.0, "x"), TWENTIETH, "6.3, figure 10"),
    row("energy.scnn", "SCNN, energy better than DCNN", (2.3, "x"), TWENTIETH, "abstract, 6.3, figure 10"),
    row("energy.least", "SCNN, the layer that gains least", (0.89, "x"), TENTH, "6.3, figure 10"),
    row("energy.most", "SCNN, the layer that gains most", (4.7, "x"), Bar::Shown, "6.3, figure 10"),
    row("share.iaram", "IARAM's share of SCNN's energy, less than", (0.01, ""), Bar::Shown, "6.3"),
    row("share.fifo", "weight FIFOs' share of SCNN's energy", (0.067, ""), Bar::Shown, "6.3"),
    row("sweep.dense_speed", "GoogLeNet dense: speed over DCNN", (0.79, "x"), TENTH, "6.1, figure 7a"),
    row("sweep.dense_energy", "GoogLeNet dense: energy over DCNN's", (1.33, "x"), TWENTIETH, "6.1, figure 7b"),
    row("sweep.speed_crossover", "density below which SCNN is faster than DCNN", (0.85, ""), CROSSOVER, "6.1, figure 7a"),
    row("sweep.energy_crossover", "density below which SCNN takes less energy than DCNN", (0.83, ""), TWENTIETH, "6.1, figure 7b"),
    row("sweep.opt_crossover", "density below which SCNN takes less energy than DCNN-opt", (0.60, ""), TWENTIETH, "6.1, figure 7b"),
    row("sweep.tenth_speed", "density .1: speed over DCNN", (24.0, "x"), Bar::AtLeast(20.0), "6.1, figure 7a"),
    row("sweep.tenth_energy", "density .1: energy over DCNN's", (0.06, ""), Bar::Shown, "6.1, figure 7b"),
    row("granularity.speed", "64 PEs of 16 over 4 PEs of 256 multipliers", (1.11, "x"), Bar::Shown, "6.4"),
    row("granularity.many", "multipliers at work with 64 PEs", (0.59, ""), Bar::Shown, "6.4"),
    row("granularity.few", "multipliers at work with 4 PEs", (0.35, ""), Bar::Shown, "6.4"),
    row("memory.vgg16", "layers of VGG-16 whose activations exceed a RAM", (9.0, ""), Bar::Equal, "6.5"),
    row("memory.others", "such layers of AlexNet and GoogLeNet", (0.0, ""), Bar::Equal, "6.5"),
    row("memory.least", "energy that DRAM adds to them, least", (0.05, ""), Bar::Shown, "6.5"),
    row("memory.mean", "energy that DRAM adds to them, mean", (0.18, ""), Bar::Shown, "6.5"),
    row("memory.most", "energy that DRAM adds to them, most", (0.62, ""), Bar::Shown, "6.5"),
    row("memory.bandwidth", "DRAM bandwidth below which they slow down", (4.0, "GB/s"), Bar::Shown, "6.5"),
    row("ablation.speed_w", "SCNN over SCNN-SparseW, speed, GoogLeNet at .4", (1.7, "x"), Bar::Shown, "6.1"),
    row("ablation.speed_a", "SCNN over SCNN-SparseA, speed, GoogLeNet at .4", (2.6, "x"), Bar::Shown, "6.1"),
    row("ablation.energy_w", "SCNN-SparseW over SCNN, energy, GoogLeNet at .4", (1.6, "x"), FIFTH, "6.1"),
    row("ablation.energy_a", "SCNN-SparseA over SCNN, energy, GoogLeNet at .4", (2.1, "x"), FIFTH, "6.1"),
    row("area.pe", "a PE", (0.123, "mm2"), Bar::Shown, "table 3"),
    row("area.scnn", "SCNN", (7.9, "mm2"), Bar::Shown, "table 5"),
    row("area.dcnn", "DCNN and DCNN-opt", (5.9, "mm2"), Bar::Shown, "table 5"),
];

/// The figure of that name.
pub fn find(key: &str) -> Option<&'static Published> {
    PUBLISHED.iter().find(|published| published.key == key)
}

#[cfg(test)]
mod tests {
    use super::{Bar, PUBLISHED};

    #[test]
    fn names_are_unique() {
        for published in PUBLISHED {
            let same = PUBLISHED.iter().filter(|p| p.key == published.key);
            assert_eq!(same.count(), 1, "{}", published.key);
        }
    }

    #[test]
    fn a_bar_holds_up_to_its_edge() {
        let met = |bar: Bar, ours| bar.met(2.0, ours).unwrap();
        assert!(
            met(Bar::Within(0.5), 1.0) && met(Bar::Within(0.5), 3.0) && !met(Bar::Within(0.5), 3.1)
        );
        assert!(met(Bar::Near(0.5), 2.5) && !met(Bar::Near(0.5), 1.4));
        assert!(met(Bar::AtLeast(1.5), 1.5) && !met(Bar::AtLeast(1.5), 1.4));
        assert!(met(Bar::Equal, 2.0) && !met(Bar::Equal, 2.1));
        assert_eq!(Bar::Shown.met(2.0, 9.0), None);
    }
}
