//! Stacked bars, grouped bars and dots with fronts as SVG: all that the figures need, so no drawing library stands behind
//! them.

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
            escaped(&shortened(&stack.name, 36))
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

/// Colours of series that have none of their own, in the order of the page's; dark enough for paper.
const SERIES: [&str; 8] = [
    "#4269d0", "#d97706", "#c2314f", "#2f9e8f", "#3ca951", "#a463f2", "#9c6b4e", "#5b6470",
];

/// Title of an axis, and its numbers as words.
pub type Axis<'a> = (&'a str, fn(f64) -> String);

/// Points of one kind, and those on its front, in order.
pub struct Dots {
    /// Name in the legend.
    pub name: String,
    /// All points.
    pub points: Vec<(f64, f64)>,
    /// The points of the front.
    pub front: Vec<(f64, f64)>,
}

/// A figure of dots.
pub struct Scatter<'a> {
    /// Title, if there is to be one.
    pub title: Option<&'a str>,
    /// The horizontal axis.
    pub x: Axis<'a>,
    /// The vertical axis.
    pub y: Axis<'a>,
    /// The dots.
    pub series: &'a [Dots],
}

/// Bars that belong together, one for each series; none where nothing was measured.
pub struct Group {
    /// Name beside them.
    pub name: String,
    /// Their lengths.
    pub bars: Vec<Option<f64>>,
}

/// Lines of a figure.
struct Canvas(String);

impl Canvas {
    fn new(width: f64, height: f64) -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"10\">\n"
        ))
    }

    fn put(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn text(&mut self, (x, y): (f64, f64), anchor: &str, text: &str) {
        let text = escaped(text);
        self.put(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.put(&format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#bbbbbb\" stroke-width=\"0.5\"/>"
        ));
    }

    /// Draws the title, if there is one, and the names of several series; returns the y of the space below.
    fn head<'a>(&mut self, title: Option<&str>, names: impl Iterator<Item = &'a str>) -> f64 {
        let mut y = 4.0;
        if let Some(title) = title {
            let title = escaped(title);
            self.put(&format!(
                "<text x=\"4\" y=\"16\" font-size=\"12\">{title}</text>"
            ));
            y = TITLE;
        }
        let names: Vec<&str> = names.collect();
        if names.len() > 1 {
            let columns = 4;
            for (at, name) in names.iter().enumerate() {
                let x = 4.0 + (at % columns) as f64 * 150.0;
                let y = y + LEGEND * (at / columns) as f64;
                let colour = SERIES[at % SERIES.len()];
                self.put(&format!(
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>"
                ));
                self.text((x + 14.0, y + 9.0), "start", name);
            }
            y += LEGEND * names.len().div_ceil(columns) as f64;
        }
        y + 8.0
    }

    fn end(mut self) -> String {
        self.put("</svg>");
        self.0
    }
}

/// A figure of dots, each kind with its front as a line.
pub fn scatter(figure: &Scatter<'_>) -> String {
    const SIDE: f64 = 460.0;
    const LEFT: f64 = 64.0;
    const HEIGHT: f64 = 300.0;
    let all = || figure.series.iter().flat_map(|series| &series.points);
    let span = |pick: fn(&(f64, f64)) -> f64| {
        let values = all().map(pick);
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        let room = (high - low).max(high.abs() * 0.01).max(f64::MIN_POSITIVE) * 0.06;
        (low - room, high + room)
    };
    let (xs, ys) = (span(|p| p.0), span(|p| p.1));
    let mut canvas = Canvas::new(SIDE, HEIGHT + 110.0);
    let names = figure.series.iter().map(|series| series.name.as_str());
    let top = canvas.head(figure.title, names);
    let bottom = top + HEIGHT;
    let right = SIDE - 18.0;
    let x = |value: f64| LEFT + (value - xs.0) / (xs.1 - xs.0) * (right - LEFT);
    let y = |value: f64| bottom - (value - ys.0) / (ys.1 - ys.0) * HEIGHT;
    for tick in ticks(xs) {
        canvas.line((x(tick), top), (x(tick), bottom));
        canvas.text((x(tick), bottom + 14.0), "middle", &(figure.x.1)(tick));
    }
    for tick in ticks(ys) {
        canvas.line((LEFT, y(tick)), (right, y(tick)));
        canvas.text((LEFT - 6.0, y(tick) + 3.5), "end", &(figure.y.1)(tick));
    }
    canvas.text(
        (f64::midpoint(LEFT, right), bottom + 32.0),
        "middle",
        figure.x.0,
    );
    let middle = f64::midpoint(top, bottom);
    canvas.put(&format!(
        "<text transform=\"translate(12,{middle:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        escaped(figure.y.0)
    ));
    for (at, series) in figure.series.iter().enumerate() {
        let colour = SERIES[at % SERIES.len()];
        for &(px, py) in &series.points {
            canvas.put(&format!(
                "<circle cx=\"{:.2}\" cy=\"{:.2}\" r=\"2\" fill=\"{colour}\" fill-opacity=\"0.45\"/>",
                x(px),
                y(py)
            ));
        }
        // In steps: between two points nothing was measured.
        let mut path = String::new();
        for (number, &(px, py)) in series.front.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = match number {
                0 => write!(path, "M{:.2},{:.2}", x(px), y(py)),
                _ => write!(path, "H{:.2}V{:.2}", x(px), y(py)),
            };
        }
        canvas.put(&format!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.2\"/>"
        ));
        for &(px, py) in &series.front {
            canvas.put(&format!(
                "<circle cx=\"{:.2}\" cy=\"{:.2}\" r=\"3.2\" fill=\"{colour}\"/>",
                x(px),
                y(py)
            ));
        }
    }
    canvas.end()
}

/// A figure of groups of bars, a series and a colour for each of `names`.
pub fn grouped(title: Option<&str>, axis: Axis<'_>, names: &[&str], groups: &[Group]) -> String {
    const HIGH: f64 = 9.0;
    let letters = groups.iter().map(|group| group.name.chars().count()).max();
    let left = (5.6 * letters.unwrap_or(0) as f64 + 12.0).clamp(80.0, WIDTH / 2.0);
    let group_height = HIGH * names.len() as f64 + 7.0;
    let bars = || groups.iter().flat_map(|group| group.bars.iter().flatten());
    let longest = bars().copied().fold(0.0, f64::max);
    let scale = (WIDTH - left - 60.0) / longest.max(f64::MIN_POSITIVE);
    let height = group_height * groups.len() as f64;
    let legend = LEGEND * names.len().div_ceil(4) as f64;
    let mut canvas = Canvas::new(WIDTH, height + legend + TITLE + 60.0);
    let top = canvas.head(title, names.iter().copied());
    let bottom = top + height;
    for tick in ticks((0.0, longest)) {
        let x = left + tick * scale;
        canvas.line((x, top), (x, bottom));
        canvas.text((x, bottom + 14.0), "middle", &(axis.1)(tick));
    }
    let middle = left + longest * scale / 2.0;
    canvas.text((middle, bottom + 32.0), "middle", axis.0);
    for (row, group) in groups.iter().enumerate() {
        let y = top + group_height * row as f64;
        let centre = y + group_height / 2.0 + 3.5;
        canvas.text((left - 6.0, centre), "end", &shortened(&group.name, 66));
        for (at, bar) in group.bars.iter().enumerate() {
            let Some(value) = bar else { continue };
            let y = y + 3.5 + HIGH * at as f64;
            canvas.put(&format!(
                "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{:.2}\" height=\"{:.1}\" fill=\"{}\"><title>{} {}: {}</title></rect>",
                value * scale,
                HIGH - 1.0,
                SERIES[at % SERIES.len()],
                escaped(names[at]),
                escaped(&group.name),
                escaped(&(axis.1)(*value))
            ));
            canvas.text(
                (left + value * scale + 4.0, y + 8.0),
                "start",
                &(axis.1)(*value),
            );
        }
    }
    canvas.end()
}

/// Round values inside a span, three to seven of them.
fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let step = nice_step(high - low);
    if step <= 0.0 {
        return Vec::new();
    }
    let [first, last] = [(low / step).ceil(), (high / step).floor()];
    let numbers = first as i64..=last as i64;
    numbers.map(|number| number as f64 * step).collect()
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
fn shortened(name: &str, letters: usize) -> String {
    let length = name.chars().count();
    if length <= letters {
        return name.to_owned();
    }
    let end: String = name.chars().skip(length + 1 - letters).collect();
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
    fn dots_lie_where_their_values_say_and_a_front_is_a_line_in_steps() {
        let series = Dots {
            name: "n".to_owned(),
            points: vec![(1.0, 5.0), (3.0, 1.0), (2.0, 6.0)],
            front: vec![(1.0, 5.0), (3.0, 1.0)],
        };
        let show = |value: f64| value.to_string();
        let text = scatter(&Scatter {
            title: None,
            x: ("cycles & more", show),
            y: ("energy", show),
            series: &[series],
        });
        let circles = text.matches("<circle").count();
        assert_eq!(circles, 5, "three dots, two of them on the front: {text}");
        assert!(text.contains("cycles &amp; more") && text.contains(">energy<"));
        let path = text.split("<path d=\"").nth(1).unwrap();
        assert!(path.starts_with('M') && path.contains('H') && path.contains('V'));
        assert!(!text.contains("font-size=\"12\""), "no title was asked for");
    }

    #[test]
    fn bars_of_a_group_have_their_series_and_their_value() {
        let group = Group {
            name: "scnn+pe.banks=16".to_owned(),
            bars: vec![Some(10.0), None, Some(20.0)],
        };
        let show = |value: f64| value.to_string();
        let text = grouped(
            Some("A title"),
            ("cycles", show),
            &["a", "b", "c"],
            &[group],
        );
        assert!(text.contains(">A title<") && text.contains("a scnn+pe.banks=16: 10"));
        assert!(
            !text.contains("b scnn+pe.banks=16"),
            "nothing was measured there"
        );
    }

    #[test]
    fn an_axis_has_three_to_seven_steps() {
        for longest in [0.7, 1.0, 3.3, 9.99, 12_345.0, 8e9] {
            let ticks = (longest / nice_step(longest)).floor();
            assert!((2.0..=7.0).contains(&ticks), "{longest}: {ticks}");
        }
    }
}
