//! Figures of a sweep for papers, as SVG: fronts, and the machines beside each other for every network.
//!
//! ```text
//! front-cycles-energy.svg, front-cycles-area.svg, ...   every point; a front and a colour for every network
//! machines-cycles.svg, machines-energy.svg              bars: each machine for each network
//! ```

use crate::failure::Failure;
use crate::output;
use crate::report::svg::{Dots, Group, Scatter, grouped, scatter};
use crate::table::si;
use scnnc_driver::sweep::tables::{self, Row};
use scnnc_driver::sweep::{Measures, Outcome};
use std::path::Path;

/// Most machines in a figure of bars: the machines nearest to the best over all networks.
const MOST_MACHINES: usize = 16;

/// A measure of a point.
struct Measure {
    /// Name, in names of files.
    name: &'static str,
    /// Title of the axis.
    title: &'static str,
    pick: fn(&Row, &Measures) -> Option<f64>,
    show: fn(f64) -> String,
    /// Whether more is better.
    more: bool,
}

const MEASURES: [Measure; 4] = [
    Measure {
        name: "cycles",
        title: "cycles",
        pick: |_, measures| Some(measures.cycles),
        show: |value| si(value, ""),
        more: false,
    },
    Measure {
        name: "energy",
        title: "energy",
        pick: |_, measures| Some(measures.energy_pj),
        show: |value| si(value * 1e-12, "J"),
        more: false,
    },
    Measure {
        name: "area",
        title: "area, mm\u{b2}",
        pick: |row, _| row.area_mm2,
        show: |value| format!("{value:.1}"),
        more: false,
    },
    Measure {
        name: "accuracy",
        title: "top-1 accuracy",
        pick: |_, measures| measures.top1,
        show: |value| format!("{:.1} %", 100.0 * value),
        more: true,
    },
];

/// A point that was measured.
struct MeasuredPoint<'a> {
    row: &'a Row,
    measures: &'a Measures,
}

/// Writes the figures.
pub fn write(
    folder: &Path,
    title: Option<&str>,
    points: &[(&Row, Outcome)],
) -> Result<(), Failure> {
    output::folder(folder)?;
    let measured = points.iter().filter_map(|(row, outcome)| match outcome {
        Outcome::Measured { network, .. } => Some(MeasuredPoint {
            row,
            measures: network,
        }),
        Outcome::Failed(_) => None,
    });
    let points: Vec<MeasuredPoint<'_>> = measured.collect();
    let models = tables::models(points.iter().map(|point| point.row));
    let write = |name: &str, svg: String| {
        output::write(&folder.join(format!("{name}.svg")), svg.as_bytes())
    };
    for (at, x) in MEASURES.iter().enumerate() {
        for y in &MEASURES[at + 1..] {
            if let Some(svg) = front(title, &models, &points, x, y) {
                write(&format!("front-{}-{}", x.name, y.name), svg)?;
            }
        }
    }
    for measure in &MEASURES[..2] {
        write(
            &format!("machines-{}", measure.name),
            machines(title, &models, &points, measure),
        )?;
    }
    Ok(())
}

/// All points in two measures; none where a point lacks one.
fn front(
    title: Option<&str>,
    models: &[&str],
    points: &[MeasuredPoint<'_>],
    x: &Measure,
    y: &Measure,
) -> Option<String> {
    let of_model = |model: &&str| {
        let points = points.iter().filter(|point| point.row.model == **model);
        let pairs = points.map(|point| {
            let pick = |measure: &Measure| (measure.pick)(point.row, point.measures);
            Some((pick(x)?, pick(y)?))
        });
        let points: Vec<(f64, f64)> = pairs.collect::<Option<_>>()?;
        Some(Dots {
            name: (*model).to_owned(),
            front: on_front(&points, [x.more, y.more]),
            points,
        })
    };
    let series: Vec<Dots> = models.iter().map(of_model).collect::<Option<_>>()?;
    Some(scatter(&Scatter {
        title,
        x: (x.title, x.show),
        y: (y.title, y.show),
        series: &series,
    }))
}

/// The points that no other is at least as good as in both and better than in one, in the order of the first.
fn on_front(points: &[(f64, f64)], more: [bool; 2]) -> Vec<(f64, f64)> {
    let rank = |&(x, y): &(f64, f64)| {
        let signed = |value: f64, more: bool| if more { -value } else { value };
        (signed(x, more[0]), signed(y, more[1]))
    };
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| {
        let ((ax, ay), (bx, by)) = (rank(a), rank(b));
        ax.total_cmp(&bx).then(ay.total_cmp(&by))
    });
    let mut best = f64::INFINITY;
    sorted.retain(|point| {
        let (_, value) = rank(point);
        let kept = value < best;
        best = best.min(value);
        kept
    });
    sorted
}

/// Bars of every machine for every network.
fn machines(
    title: Option<&str>,
    models: &[&str],
    points: &[MeasuredPoint<'_>],
    measure: &Measure,
) -> String {
    let value = |point: &MeasuredPoint<'_>| (measure.pick)(point.row, point.measures);
    let best = |model: &str| {
        let values = points.iter().filter(|point| point.row.model == model);
        values.filter_map(value).fold(f64::INFINITY, f64::min)
    };
    let mut groups: Vec<Group> = Vec::new();
    for point in points {
        let name = configuration(point.row, points);
        let at = groups.iter().position(|group| group.name == name);
        let at = at.unwrap_or_else(|| {
            let bars = vec![None; models.len()];
            groups.push(Group { name, bars });
            groups.len() - 1
        });
        let model = models.iter().position(|model| *model == point.row.model);
        if let Some(model) = model {
            groups[at].bars[model] = value(point);
        }
    }
    // Mean factor over the best of each network; a machine that lacks a network comes last.
    let over = |group: &Group| -> f64 {
        let bars = models.iter().zip(&group.bars);
        let factors =
            bars.map(|(model, bar)| bar.map_or(f64::INFINITY, |v| (v / best(model)).ln()));
        factors.sum()
    };
    groups.sort_by(|a, b| over(a).total_cmp(&over(b)));
    groups.truncate(MOST_MACHINES);
    grouped(title, (measure.title, measure.show), models, &groups)
}

/// The machine and the choices of a point, as far as they vary over the points.
fn configuration(row: &Row, points: &[MeasuredPoint<'_>]) -> String {
    let columns = |row: &Row| {
        let fixed = [
            ("", row.base_machine().to_owned()),
            ("", row.mapping.clone()),
            ("", row.objective.clone()),
            ("", row.fidelity.clone()),
        ];
        let fixed = fixed.map(|(name, value)| (name.to_owned(), value));
        let settings = row.settings.iter().map(|(name, value)| {
            let last = name.rsplit('.').next().unwrap_or_default();
            (last.to_owned(), value.clone())
        });
        fixed.into_iter().chain(settings).collect::<Vec<_>>()
    };
    let all: Vec<_> = points.iter().map(|point| columns(point.row)).collect();
    let own = columns(row);
    let varies = |at: &usize| all.iter().any(|other| other.get(*at) != own.get(*at));
    let words = (0..own.len()).filter(varies).map(|at| {
        let (name, value) = &own[at];
        format!("{name} {value}").trim_start().to_owned()
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() {
        row.machine.clone()
    } else {
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::on_front;

    #[test]
    fn a_front_holds_what_no_other_point_is_better_than() {
        let points = [(1.0, 5.0), (2.0, 3.0), (3.0, 3.0), (2.5, 4.0), (4.0, 1.0)];
        let front = on_front(&points, [false, false]);
        assert_eq!(front, [(1.0, 5.0), (2.0, 3.0), (4.0, 1.0)]);
        let front = on_front(&points, [false, true]);
        assert_eq!(front, [(1.0, 5.0)]);
    }
}
