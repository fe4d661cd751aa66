//! `GoogLeNet` with both densities swept together (the paper's figure 7).

use super::{Scope, names, whole};
use crate::paper::accounting::{Accounting, HEADLINE as ACCOUNTING};
use crate::paper::chart::{Chart, Lines};
use crate::paper::finding::{Finding, Section, Table};
use crate::paper::lab::{Need, Results, Workload};
use crate::paper::reading::{HEADLINE, READINGS, Reading};
use crate::paper::sums::Sums;

/// Densities in tenths.
fn points(scope: Scope) -> &'static [u32] {
    if scope.quick {
        &[1, 5, 6, 7, 8, 9, 10]
    } else {
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    }
}

/// The headline's, the preset's, and the furthest from them on both sides.
fn readings() -> impl Iterator<Item = &'static Reading> {
    READINGS.iter().filter(|reading| reading.is_telling())
}

fn need(tenths: u32, reading: Reading) -> Need {
    let workload = Workload {
        network: "googlenet",
        tenths: Some(tenths),
    };
    Need::new(workload, "scnn", reading)
}

pub fn needs(scope: Scope) -> Vec<Need> {
    let points = points(scope).iter();
    points
        .flat_map(|&tenths| readings().map(move |&reading| need(tenths, reading)))
        .collect()
}

/// What the headlines of the sweep need, by ascending density.
pub fn headline_needs(scope: Scope) -> Vec<Need> {
    points(scope)
        .iter()
        .map(|&tenths| need(tenths, HEADLINE))
        .collect()
}

/// The published figures of energy in an accounting.
pub fn energy_findings(scope: Scope, results: &Results, accounting: &Accounting) -> Vec<Finding> {
    let of = |&tenths: &u32| {
        let need = need(tenths, HEADLINE);
        let sums = whole("googlenet", &accounting.report(&need, results.get(&need)));
        (f64::from(tenths) / 10.0, sums)
    };
    let sums: Vec<(f64, Sums)> = points(scope).iter().map(of).collect();
    let curve = |of: fn(&Sums) -> f64| -> Vec<(f64, f64)> {
        sums.iter()
            .map(|(density, sums)| (*density, of(sums)))
            .collect()
    };
    let energy = curve(|s| 1.0 / s.energy_gain());
    let over_opt = curve(|s| s.opt_gain() / s.energy_gain());
    vec![
        Finding::new("sweep.dense_energy", energy.last().map(|(_, dense)| *dense)),
        Finding::new("sweep.energy_crossover", crossover(&energy)),
        Finding::new("sweep.opt_crossover", crossover(&over_opt)),
        Finding::new(
            "sweep.tenth_energy",
            energy.first().map(|(_, tenth)| *tenth),
        ),
    ]
}

pub fn evaluate(scope: Scope, results: &Results) -> Section {
    let points = points(scope);
    let sums = |tenths, reading| {
        let need = need(tenths, reading);
        whole("googlenet", &ACCOUNTING.report(&need, results.get(&need)))
    };
    let curve = |of: &dyn Fn(&Sums) -> f64| -> Vec<(f64, f64)> {
        let at = |&tenths: &u32| (f64::from(tenths) / 10.0, of(&sums(tenths, HEADLINE)));
        points.iter().map(at).collect()
    };
    let slower = curve(&|s| 1.0 / s.speed());
    let energy = curve(&|s| 1.0 / s.energy_gain());
    let (dense, tenth) = (sums(10, HEADLINE), sums(1, HEADLINE));
    let rows = points.iter().flat_map(|&tenths| {
        readings()
            .map(move |&reading| (tenths, reading))
            .map(|(tenths, reading)| {
                let s = sums(tenths, reading);
                vec![
                    (f64::from(tenths) / 10.0).into(),
                    reading.name.into(),
                    s.cycles.into(),
                    s.speed().into(),
                    s.speed_over_ideal().into(),
                    (1.0 / s.opt_gain()).into(),
                    (1.0 / s.energy_gain()).into(),
                ]
            })
    });
    let table = Table {
        name: "figure7",
        title: "GoogLeNet, densities of weights and activations swept together (figure 7)"
            .to_owned(),
        printed: true,
        columns: names([
            "density, 0 to 1",
            "reading",
            "SCNN cycles",
            "speed over DCNN",
            "over ideal DCNN",
            "energy DCNN-opt / DCNN",
            "energy SCNN / DCNN",
        ]),
        rows: rows.collect(),
    };
    let lines = |name: &str, title: &str, axis, series: Vec<(String, Vec<f64>)>| {
        Chart::Lines(Lines {
            name: name.to_owned(),
            title: title.to_owned(),
            axes: ["density of weights and activations", axis],
            x: slower.iter().map(|(x, _)| *x).collect(),
            series,
        })
    };
    let values = |name: &str, curve: &[(f64, f64)]| {
        (
            name.to_owned(),
            curve.iter().map(|(_, y)| *y).collect::<Vec<_>>(),
        )
    };
    let ones: Vec<(f64, f64)> = slower.iter().map(|(x, _)| (*x, 1.0)).collect();
    Section {
        name: "sweep",
        title: "GoogLeNet at swept densities",
        convention: format!(
            "the 54 convolutions; the zoo's weights and image, biases set so that every layer reads that density; crossovers \
             interpolated between points; reading `{}`, accounting `{}`",
            HEADLINE.name, ACCOUNTING.name
        ),
        findings: [
            Finding::new("sweep.dense_speed", dense.speed()),
            Finding::new("sweep.speed_crossover", crossover(&slower)),
            Finding::new("sweep.tenth_speed", tenth.speed()),
        ]
        .into_iter()
        .chain(energy_findings(scope, results, &ACCOUNTING))
        .collect(),
        tables: vec![table],
        charts: vec![
            lines(
                "figure7a",
                "GoogLeNet: latency relative to DCNN",
                "cycles over DCNN's",
                vec![values("DCNN", &ones), values("SCNN", &slower)],
            ),
            lines(
                "figure7b",
                "GoogLeNet: energy relative to DCNN",
                "energy over DCNN's",
                vec![
                    values("DCNN", &ones),
                    values("DCNN-opt", &curve(&|s| 1.0 / s.opt_gain())),
                    values("SCNN", &energy),
                ],
            ),
        ],
    }
}

/// Where a rising curve crosses one; none where it does not.
pub fn crossover(curve: &[(f64, f64)]) -> Option<f64> {
    let pairs = curve.iter().zip(curve.iter().skip(1));
    let mut crossing = pairs.filter(|((_, below), (_, above))| *below <= 1.0 && *above > 1.0);
    let (&(x, y), &(next_x, next_y)) = crossing.next_back()?;
    Some(x + (next_x - x) * (1.0 - y) / (next_y - y))
}

#[cfg(test)]
mod tests {
    use super::crossover;

    #[test]
    fn a_crossover_lies_between_the_points_around_one() {
        let found = crossover(&[(0.5, 0.5), (0.6, 0.8), (0.8, 1.2)]).unwrap();
        assert!((found - 0.7).abs() < 1e-9, "{found}");
        assert_eq!(crossover(&[(0.5, 0.5), (1.0, 0.9)]), None);
        assert_eq!(crossover(&[(0.5, 1.5), (1.0, 1.9)]), None);
    }
}
