//! Horizontal stacked bars as SVG: all that the figures need, so no drawing library stands behind them.

use crate::markup::escaped;
use std::fmt::Write;

/// A part that every bar may have.
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Colour, `#rrggbb`.
    pub colour: &'static str,
}

/// A bar.
pub struct Stack {
    /// Name beside it.
    pub name: String,
    /// Lengths of its parts, one for each series; none is negative.
    pub parts: Vec<f64>,
}

const WIDTH: f64 = 760.0;
const NAMES: f64 = 210.0;
const RIGHT: f64 = 24.0;
const TITLE: f64 = 26.0;
const LEGEND: f64 = 16.0;
const BAR: f64 = 13.0;

/// The figure of some bars; `format` writes the numbers of the axis.
pub fn stacked(
    title: &str,
    series: &[Series],
    stacks: &[Stack],
    format: impl Fn(f64) -> String,
) -> String {
    // Series that no bar has need no place in the legend.
    let used: Vec<usize> = (0..series.len())
        .filter(|&i| stacks.iter().any(|stack| stack.parts[i] > 0.0))
        .collect();
    let columns = 5;
    let top = TITLE + LEGEND * used.len().div_ceil(columns) as f64 + 8.0;
    let bottom = top + BAR * stacks.len() as f64;
    let totals = stacks.iter().map(|stack| stack.parts.iter().sum::<f64>());
    let longest = totals.fold(0.0, f64::max);
    let step = nice_step(longest);
    let scale = (WIDTH - NAMES - RIGHT) / longest.max(f64::MIN_POSITIVE);

    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"10\">\n",
        bottom + 24.0
    );
    // Writing to a string does not fail.
    let mut put = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    put(format!(
        "<text x=\"4\" y=\"16\" font-size=\"12\">{}</text>",
        escaped(title)
    ));
    for (at, &i) in used.iter().enumerate() {
        let x = 4.0 + (at % columns) as f64 * (WIDTH / columns as f64);
        let y = TITLE + LEGEND * (at / columns) as f64;
        put(format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"10\" height=\"10\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            series[i].colour,
            x + 14.0,
            y + 9.0,
            escaped(&series[i].name)
        ));
    }
    let mut tick = 0.0;
    while tick <= longest && step > 0.0 {
        let x = NAMES + tick * scale;
        put(format!(
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\" stroke=\"#bbbbbb\" stroke-width=\"0.5\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 14.0,
            escaped(&format(tick))
        ));
        tick += step;
    }
    for (row, stack) in stacks.iter().enumerate() {
        let y = top + BAR * row as f64;
        put(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            NAMES - 5.0,
            y + BAR - 3.0,
            escaped(&shortened(&stack.name))
        ));
        let mut x = NAMES;
        for &i in &used {
            let width = stack.parts[i] * scale;
            if width > 0.0 {
                put(format!(
                    "<rect x=\"{x:.2}\" y=\"{:.1}\" width=\"{width:.2}\" height=\"{:.1}\" fill=\"{}\"><title>{}: {} {}</title></rect>",
                    y + 1.0,
                    BAR - 2.0,
                    series[i].colour,
                    escaped(&stack.name),
                    escaped(&series[i].name),
                    escaped(&format(stack.parts[i]))
                ));
                x += width;
            }
        }
    }
    put("</svg>".to_owned());
    text
}

/// A step of 1, 2 or 5 times a power of ten that makes three to seven ticks.
fn nice_step(longest: f64) -> f64 {
    if longest <= 0.0 {
        return 0.0;
    }
    let power = 10f64.powf((longest / 4.0).log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|factor| factor * power * 7.0 >= longest);
    factor.unwrap_or(10.0) * power
}

/// The end of a long name says more than its beginning.
fn shortened(name: &str) -> String {
    let length = name.chars().count();
    if length <= 36 {
        return name.to_owned();
    }
    let end: String = name.chars().skip(length - 35).collect();
    format!("\u{2026}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_as_long_as_its_share_of_the_longest_bar() {
        let series = [
            Series {
                name: "a".to_owned(),
                colour: "#000000",
            },
            Series {
                name: "b".to_owned(),
                colour: "#ffffff",
            },
        ];
        let stack = |name: &str, parts: [f64; 2]| Stack {
            name: name.to_owned(),
            parts: parts.to_vec(),
        };
        let text = stacked(
            "t",
            &series,
            &[stack("x<y", [1.0, 3.0]), stack("z", [2.0, 0.0])],
            |v| v.to_string(),
        );
        let full = WIDTH - NAMES - RIGHT;
        for share in [0.25, 0.75, 0.5] {
            assert!(
                text.contains(&format!("width=\"{:.2}\"", full * share)),
                "{share}: {text}"
            );
        }
        assert!(text.contains("x&lt;y: b 3"));
    }

    #[test]
    fn an_axis_has_three_to_seven_steps() {
        for longest in [0.7, 1.0, 3.3, 9.99, 12_345.0, 8e9] {
            let ticks = (longest / nice_step(longest)).floor();
            assert!((2.0..=7.0).contains(&ticks), "{longest}: {ticks}");
        }
    }
}
