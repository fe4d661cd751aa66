//! Colours of the causes of cycles and of the components of energy, for the page and the figures.
//!
//! Neighbours in a stacked bar differ in lightness, so that they differ for colour-blind readers, too; a test measures it.

/// A colour on a light and on a dark ground.
struct Colour {
    /// Causes and components that have it.
    names: &'static [&'static str],
    light: &'static str,
    dark: &'static str,
}

macro_rules! colours {
    ($($light:literal $dark:literal $($name:literal)+;)*) => {
        const COLOURS: &[Colour] = &[
            $(Colour { names: &[$($name),+], light: $light, dark: $dark },)*
        ];
    };
}

colours! {
    "#117733" "#3fa65a" "useful" "multipliers" "steps";
    "#f0b429" "#f0b429" "fragmentation" "halo";
    "#aa4499" "#c263b3" "out_of_plane";
    "#c9b3e6" "#cdbbf0" "placeholder" "coordinates";
    "#882255" "#b8497f" "bank_stall" "crossbar";
    "#66b2e8" "#66b2e8" "fifo" "weight_fifo";
    "#d55e00" "#e8752a" "barrier" "accumulators";
    "#44c0a8" "#44c0a8" "drain";
    "#0e8a7d" "#0e8a7d" "activation_rams";
    "#d98cc6" "#d98cc6" "ppu";
    "#2b3f9e" "#6c83ea" "dram";
    "#80868f" "#969da6" "host_link";
    "#d3d6db" "#474e58" "no_tile";
}

/// The colour of a cause or component on a light ground.
pub fn on_light(name: &str) -> &'static str {
    find(name).map_or("#555555", |colour| colour.light)
}

fn find(name: &str) -> Option<&'static Colour> {
    COLOURS.iter().find(|colour| colour.names.contains(&name))
}

/// All of them as CSS variables of the light and of the dark page; paper is light.
pub fn css() -> String {
    let variables = |pick: fn(&Colour) -> &'static str| {
        let names = COLOURS
            .iter()
            .flat_map(|colour| colour.names.iter().map(move |name| (name, pick(colour))));
        let lines: Vec<String> = names
            .map(|(name, value)| format!("  --{name}: {value};\n"))
            .collect();
        lines.concat()
    };
    format!(
        ":root {{\n{}}}\n@media screen {{ :root.dark {{\n{}}} }}",
        variables(|colour| colour.light),
        variables(|colour| colour.dark)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use scnn_simulator::energy::Energy;
    use scnn_simulator::timing::Slots;

    type Matrix = [[f64; 3]; 3];

    fn product(matrix: &Matrix, vector: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(vector).map(|(a, b)| a * b).sum())
    }

    /// What eyes see of linear RGB: all of it, or without one kind of cones (Machado, Oliveira, Fernandes 2009).
    const EYES: [(&str, Matrix); 4] = [
        ("any", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        (
            "protanope",
            [
                [0.152_286, 1.052_583, -0.204_868],
                [0.114_503, 0.786_281, 0.099_216],
                [-0.003_882, -0.048_116, 1.051_998],
            ],
        ),
        (
            "deuteranope",
            [
                [0.367_322, 0.860_646, -0.227_968],
                [0.280_085, 0.672_501, 0.047_413],
                [-0.011_820, 0.042_940, 0.968_881],
            ],
        ),
        (
            "tritanope",
            [
                [1.255_528, -0.076_749, -0.178_779],
                [-0.078_411, 0.930_809, 0.147_602],
                [0.004_733, 0.691_367, 0.303_900],
            ],
        ),
    ];

    /// A colour in Oklab (Ottosson 2020), where equal distances look equally large; black and white are 100 apart.
    fn oklab(colour: &str, eyes: &Matrix) -> [f64; 3] {
        let channel = |at: usize| {
            let value = u8::from_str_radix(&colour[at..at + 2], 16).unwrap();
            let value = f64::from(value) / 255.0;
            if value <= 0.040_45 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        let seen = product(eyes, [channel(1), channel(3), channel(5)]);
        let cones = [
            [0.412_221, 0.536_333, 0.051_446],
            [0.211_903, 0.680_700, 0.107_397],
            [0.088_302, 0.281_719, 0.629_979],
        ];
        let cones = product(&cones, seen.map(|value| value.clamp(0.0, 1.0))).map(f64::cbrt);
        let axes = [
            [21.045_426, 79.361_779, -0.407_205],
            [197.799_850, -242.859_221, 45.059_371],
            [2.590_404, 78.277_177, -80.867_577],
        ];
        product(&axes, cones)
    }

    #[test]
    fn neighbours_in_a_bar_differ_for_everyone() {
        let causes = Slots::default().entries().into_iter().map(|(name, _)| name);
        let components = Energy::default().components().map(|(name, _)| name);
        let grounds: [fn(&Colour) -> &'static str; 2] = [|c| c.light, |c| c.dark];
        for names in [causes.collect::<Vec<_>>(), components.to_vec()] {
            for pair in names.windows(2) {
                let pair: Vec<&Colour> = pair
                    .iter()
                    .map(|name| find(name).unwrap_or_else(|| panic!("{name} has a colour")))
                    .collect();
                for (ground, (eyes, matrix)) in grounds.iter().flat_map(|g| EYES.map(|e| (g, e))) {
                    let [a, b] = [pair[0], pair[1]].map(|colour| oklab(ground(colour), &matrix));
                    let distance = a
                        .iter()
                        .zip(b)
                        .map(|(a, b)| (a - b).powi(2))
                        .sum::<f64>()
                        .sqrt();
                    assert!(
                        distance > 7.0,
                        "{:?} {:?} {eyes}: {distance:.1}",
                        pair[0].names,
                        pair[1].names
                    );
                }
            }
        }
    }
}
