//! Charts as SVG: grouped or stacked bars, and lines on a logarithmic scale. Text in, text out; no fonts are measured.

use crate::markup::escaped;
use std::fmt::Write;

/// What is drawn.
#[derive(Clone, Debug)]
pub enum Chart {
    /// Bars side by side in groups.
    Bars(Bars),
    /// Bars upon each other, in groups.
    Stacks(Stacks),
    /// Lines.
    Lines(Lines),
}

/// Bars side by side.
#[derive(Clone, Debug)]
pub struct Bars {
    /// Name of the file.
    pub name: String,
    /// Title.
    pub title: String,
    /// What the vertical axis shows, with its unit.
    pub axis: &'static str,
    /// Names of the groups.
    pub groups: Vec<String>,
    /// A name, and a value for each group.
    pub series: Vec<(String, Vec<f64>)>,
}

/// Bars upon each other: in every group one stack for each of `stacks`, of the same parts.
#[allow(clippy::struct_field_names)] // A stack of a chart of stacks.
#[derive(Clone, Debug)]
pub struct Stacks {
    /// Name of the file.
    pub name: String,
    /// Title.
    pub title: String,
    /// What the vertical axis shows, with its unit.
    pub axis: &'static str,
    /// Names of the groups.
    pub groups: Vec<String>,
    /// Names of the parts.
    pub parts: Vec<String>,
    /// A name, and by group a value for each part.
    pub stacks: Vec<(String, Vec<Vec<f64>>)>,
}

/// Lines over common positions.
#[derive(Clone, Debug)]
pub struct Lines {
    /// Name of the file.
    pub name: String,
    /// Title.
    pub title: String,
    /// What the horizontal and the vertical axis show.
    pub axes: [&'static str; 2],
    /// Positions, ascending.
    pub x: Vec<f64>,
    /// A name, and a value for each position.
    pub series: Vec<(String, Vec<f64>)>,
}

impl Chart {
    /// Name of the file, without its ending.
    pub fn name(&self) -> &str {
        match self {
            Self::Bars(bars) => &bars.name,
            Self::Stacks(stacks) => &stacks.name,
            Self::Lines(lines) => &lines.name,
        }
    }

    /// The drawing.
    pub fn svg(&self) -> String {
        match self {
            Self::Bars(bars) => bars.svg(),
            Self::Stacks(stacks) => stacks.svg(),
            Self::Lines(lines) => lines.svg(),
        }
    }
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 420.0;
/// Where the axes stand.
const LEFT: f64 = 70.0;
const RIGHT: f64 = WIDTH - 20.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = HEIGHT - 90.0;
/// Colours that people with any colour vision tell apart (Okabe and Ito 2008), and greys.
const COLOURS: [&str; 11] = [
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442", "#000000",
    "#777777", "#aaaaaa", "#dddddd",
];

impl Bars {
    fn svg(&self) -> String {
        let highest = largest(self.series.iter().flat_map(|(_, values)| values));
        let mut drawing = Drawing::new(&self.title, self.axis, Scale::linear(highest));
        drawing.legend(
            self.series
                .iter()
                .map(|(name, _)| name.as_str())
                .enumerate(),
        );
        let slot = (RIGHT - LEFT) / self.groups.len().max(1) as f64;
        let bar = slot * 0.8 / self.series.len().max(1) as f64;
        for (group, name) in self.groups.iter().enumerate() {
            let left = LEFT + slot * (group as f64 + 0.1);
            for (index, (series, values)) in self.series.iter().enumerate() {
                let tip = format!("{name}, {series}: {:.3}", values[group]);
                let x = left + bar * index as f64;
                drawing.bar(
                    [x, bar],
                    [0.0, values[group]],
                    COLOURS[index % COLOURS.len()],
                    &tip,
                );
            }
            drawing.below(LEFT + slot * (group as f64 + 0.5), name);
        }
        drawing.finish()
    }
}

impl Stacks {
    fn svg(&self) -> String {
        let sums: Vec<f64> = self
            .stacks
            .iter()
            .flat_map(|(_, groups)| groups.iter().map(|parts| parts.iter().sum()))
            .collect();
        let mut drawing = Drawing::new(&self.title, self.axis, Scale::linear(largest(&sums)));
        // Parts that are nowhere are not explained.
        let drawn = |part: usize| {
            let mut groups = self.stacks.iter().flat_map(|(_, groups)| groups);
            groups.any(|parts| parts[part] > 0.0)
        };
        let parts = self.parts.iter().map(String::as_str).enumerate();
        drawing.legend(parts.filter(|(part, _)| drawn(*part)));
        let slot = (RIGHT - LEFT) / self.groups.len().max(1) as f64;
        let width = slot * 0.8 / self.stacks.len().max(1) as f64;
        for (group, name) in self.groups.iter().enumerate() {
            for (index, (stack, groups)) in self.stacks.iter().enumerate() {
                let x = LEFT + slot * (group as f64 + 0.1) + width * index as f64;
                let mut below = 0.0;
                for (part, value) in groups[group].iter().enumerate() {
                    let tip = format!("{name}, {stack}, {}: {value:.3}", self.parts[part]);
                    let colour = COLOURS[part % COLOURS.len()];
                    drawing.bar([x, width * 0.92], [below, below + value], colour, &tip);
                    below += value;
                }
            }
            drawing.below(LEFT + slot * (group as f64 + 0.5), name);
        }
        drawing.finish()
    }
}

impl Lines {
    fn svg(&self) -> String {
        let values = || self.series.iter().flat_map(|(_, values)| values).copied();
        let lowest = values().fold(f64::INFINITY, f64::min);
        let scale = Scale::logarithmic(lowest, largest(&values().collect::<Vec<_>>()));
        let mut drawing = Drawing::new(&self.title, self.axes[1], scale);
        drawing.legend(
            self.series
                .iter()
                .map(|(name, _)| name.as_str())
                .enumerate(),
        );
        let (first, last) = (self.x.first().copied(), self.x.last().copied());
        let (first, last) = (first.unwrap_or(0.0), last.unwrap_or(1.0));
        let at = |x: f64| {
            LEFT + 20.0
                + (x - first) / (last - first).max(f64::MIN_POSITIVE) * (RIGHT - LEFT - 40.0)
        };
        for (index, (series, values)) in self.series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let points: Vec<[f64; 2]> = self
                .x
                .iter()
                .zip(values)
                .map(|(&x, &y)| [at(x), scale.y(y)])
                .collect();
            drawing.line(&points, colour);
            for ((point, x), value) in points.iter().zip(&self.x).zip(values) {
                drawing.dot(*point, colour, &format!("{series} at {x}: {value:.3}"));
            }
        }
        for &x in &self.x {
            drawing.below(at(x), &format!("{x}"));
        }
        drawing.text(
            [f64::midpoint(LEFT, RIGHT), HEIGHT - 12.0],
            "middle",
            13,
            self.axes[0],
        );
        drawing.finish()
    }
}

fn largest<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().copied().fold(0.0, f64::max)
}

/// The vertical axis.
#[derive(Clone, Copy)]
enum Scale {
    Linear {
        step: f64,
        top: f64,
    },
    /// Powers of ten from and to.
    Logarithmic {
        from: i32,
        to: i32,
    },
}

impl Scale {
    fn linear(highest: f64) -> Self {
        let rough = (highest / 5.0).max(f64::MIN_POSITIVE);
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power);
        let step = step
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        Self::Linear {
            step,
            top: (highest / step).ceil() * step,
        }
    }

    fn logarithmic(lowest: f64, highest: f64) -> Self {
        let from = lowest.log10().floor() as i32;
        Self::Logarithmic {
            from,
            to: (highest.log10().ceil() as i32).max(from + 1),
        }
    }

    fn y(self, value: f64) -> f64 {
        let share = match self {
            Self::Linear { top, .. } => value / top,
            Self::Logarithmic { from, to } => {
                (value.log10() - f64::from(from)) / f64::from(to - from)
            }
        };
        BOTTOM - share * (BOTTOM - TOP)
    }

    fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { step, top } => (0..=(top / step).round() as u32)
                .map(|i| f64::from(i) * step)
                .collect(),
            Self::Logarithmic { from, to } => (from..=to).map(|power| 10f64.powi(power)).collect(),
        }
    }
}

struct Drawing {
    text: String,
    scale: Scale,
}

impl Drawing {
    fn new(title: &str, axis: &str, scale: Scale) -> Self {
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
        );
        let mut drawing = Self { text, scale };
        drawing.text([f64::midpoint(LEFT, RIGHT), 22.0], "middle", 16, title);
        for tick in scale.ticks() {
            let y = scale.y(tick);
            drawing.line(&[[LEFT, y], [RIGHT, y]], "#cccccc");
            let label = format!("{}", (tick * 1e6).round() / 1e6);
            drawing.text([LEFT - 6.0, y + 4.0], "end", 12, &label);
        }
        let (x, y) = (18.0, f64::midpoint(TOP, BOTTOM));
        // Writing to a string does not fail.
        let _ = writeln!(
            drawing.text,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"13\" text-anchor=\"middle\" transform=\"rotate(-90 {x} {y})\">{}</text>",
            escaped(axis)
        );
        drawing
    }

    /// Names with the numbers of their colours, in as many rows as they need.
    fn legend<'a>(&mut self, names: impl Iterator<Item = (usize, &'a str)>) {
        let (mut x, mut y) = (LEFT, 38.0);
        for (index, name) in names {
            let width = 30.0 + 6.8 * name.chars().count() as f64;
            if x + width > RIGHT {
                (x, y) = (LEFT, y + 16.0);
            }
            let colour = COLOURS[index % COLOURS.len()];
            let _ = writeln!(
                self.text,
                "<rect x=\"{x}\" y=\"{y}\" width=\"11\" height=\"11\" fill=\"{colour}\"/>"
            );
            self.text([x + 15.0, y + 10.0], "start", 12, name);
            x += width;
        }
    }

    fn bar(&mut self, [x, width]: [f64; 2], [from, to]: [f64; 2], colour: &str, tip: &str) {
        let (low, high) = (self.scale.y(from), self.scale.y(to));
        let _ = writeln!(
            self.text,
            "<rect x=\"{x:.2}\" y=\"{high:.2}\" width=\"{width:.2}\" height=\"{:.2}\" fill=\"{colour}\"><title>{}</title></rect>",
            low - high,
            escaped(tip)
        );
    }

    fn line(&mut self, points: &[[f64; 2]], colour: &str) {
        let points: Vec<String> = points
            .iter()
            .map(|[x, y]| format!("{x:.2},{y:.2}"))
            .collect();
        let points = points.join(" ");
        let _ = writeln!(
            self.text,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\"/>"
        );
    }

    fn dot(&mut self, [x, y]: [f64; 2], colour: &str, tip: &str) {
        let _ = writeln!(
            self.text,
            "<circle cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"4\" fill=\"{colour}\"><title>{}</title></circle>",
            escaped(tip)
        );
    }

    /// A label below the axis, turned so that neighbours do not meet.
    fn below(&mut self, x: f64, label: &str) {
        let y = BOTTOM + 14.0;
        let _ = writeln!(
            self.text,
            "<text x=\"{x:.2}\" y=\"{y}\" font-size=\"11\" text-anchor=\"end\" transform=\"rotate(-30 {x:.2} {y})\">{}</text>",
            escaped(label)
        );
    }

    fn text(&mut self, [x, y]: [f64; 2], anchor: &str, size: u32, text: &str) {
        let _ = writeln!(
            self.text,
            "<text x=\"{x:.2}\" y=\"{y:.2}\" font-size=\"{size}\" text-anchor=\"{anchor}\">{}</text>",
            escaped(text)
        );
    }

    fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::{BOTTOM, Bars, Chart, Lines, Scale, TOP};

    #[test]
    fn a_scale_holds_its_values_between_round_ticks() {
        let linear = Scale::linear(3.7);
        assert_eq!(linear.ticks(), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!((linear.y(0.0), linear.y(4.0)), (BOTTOM, TOP));
        let logarithmic = Scale::logarithmic(0.5, 24.0);
        assert_eq!(logarithmic.ticks(), [0.1, 1.0, 10.0, 100.0]);
        assert!(
            logarithmic.y(24.0) < logarithmic.y(1.0) && logarithmic.y(1.0) < logarithmic.y(0.5)
        );
    }

    #[test]
    fn every_value_is_drawn_once() {
        let bars = Chart::Bars(Bars {
            name: "bars".to_owned(),
            title: "a < b".to_owned(),
            axis: "x",
            groups: vec!["one".to_owned(), "two".to_owned()],
            series: vec![
                ("s".to_owned(), vec![1.0, 2.0]),
                ("t".to_owned(), vec![3.0, 4.0]),
            ],
        });
        let svg = bars.svg();
        assert_eq!(svg.matches("<title>").count(), 4);
        assert!(svg.contains("a &lt; b") && !svg.contains("a < b"));
        let lines = Chart::Lines(Lines {
            name: "lines".to_owned(),
            title: String::new(),
            axes: ["x", "y"],
            x: vec![0.1, 0.2],
            series: vec![("s".to_owned(), vec![1.0, 2.0])],
        });
        assert_eq!(lines.svg().matches("<circle").count(), 2);
    }
}
