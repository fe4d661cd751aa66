//! The advice as text: a table for every kind of change.

use super::{Advice, Advised, ChangeKind, Effect, MeasuredChange, Prediction};
use crate::grid;
use crate::table::si;
use scnnc_driver::advise::Costs;
use std::fmt::Write;

/// The kinds with a table, and its title.
const TITLES: [(ChangeKind, &str); 5] = [
    (ChangeKind::Free, "gains that take no area of the model"),
    (ChangeKind::Gain, "gains, by what they gain per area"),
    (
        ChangeKind::Saving,
        "savings of area, by what they save per loss",
    ),
    (ChangeKind::Nothing, "no gain"),
    (
        ChangeKind::Price,
        "prices: how much the results hang on them",
    ),
];

/// The advice.
pub fn text(advice: &Advice) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    for model in &advice.models {
        let _ = writeln!(
            text,
            "{} on {}: {} cycles, {}, {:.3} mm2 (mapping {}, objective {}; {} sample{})",
            model.name,
            advice.machine,
            si(model.costs.cycles, ""),
            si(model.costs.energy_pj * 1e-12, "J"),
            advice.area_mm2,
            advice.mapping,
            advice.objective,
            model.samples,
            if model.samples == 1 { "" } else { "s" },
        );
    }
    for (kind, title) in TITLES {
        let changes: Vec<&Advised> = advice.of_kind(kind).collect();
        if !changes.is_empty() {
            let _ = writeln!(text, "\n{title}\n\n{}", table(advice, kind, &changes));
        }
    }
    let unknown: Vec<&Advised> = advice.of_kind(ChangeKind::Unknown).collect();
    if !unknown.is_empty() {
        let _ = writeln!(text, "\nneeds a run\n\n{}", reasons(&unknown));
    }
    if let Some(off) = worst(advice) {
        let _ = writeln!(text, "\n{off}");
    }
    text
}

fn table(advice: &Advice, kind: ChangeKind, changes: &[&Advised]) -> String {
    let several = advice.models.len() > 1;
    let mut header = vec!["parameter".to_owned(), "from".to_owned(), "to".to_owned()];
    for model in &advice.models {
        let of = |what: &str| {
            if several {
                format!("{} {what}", model.name)
            } else {
                what.to_owned()
            }
        };
        header.extend([of("cycles"), of("energy")]);
    }
    // The columns that a kind is ranked by; columns that would repeat another are left out.
    let last: &[&str] = match kind {
        ChangeKind::Gain => &["area", "gain", "per mm2"],
        ChangeKind::Price => &["area"],
        _ => &["area", "gain"],
    };
    header.extend(last.iter().map(|name| (*name).to_owned()));
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = grid::plain(&header);
    for change in changes {
        let mut cells = vec![
            change.parameter.clone(),
            change.from.clone(),
            change.to.clone(),
        ];
        for (model, effect) in advice.models.iter().zip(&change.models) {
            let change = |pick: fn(&Costs) -> f64| {
                let costs = effect.costs();
                let change = costs.map(|costs| pick(&costs) / pick(&model.costs) - 1.0);
                change.map_or_else(|| "?".to_owned(), percent)
            };
            cells.extend([change(|c| c.cycles), change(|c| c.energy_pj)]);
        }
        let share = |gain: Option<f64>| gain.map_or_else(String::new, |gain| percent(gain / 100.0));
        cells.push(square_millimetres(change.area_mm2));
        if last.contains(&"gain") {
            cells.push(share(change.gain_percent));
        }
        if last.contains(&"per mm2") {
            cells.push(share(change.gain_percent_per_mm2));
        }
        table.add_row(cells);
    }
    grid::right(&mut table, 1..header.len());
    grid::fitted(table, &[1])
}

fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent.abs() < super::NOTHING {
        "0".to_owned()
    } else {
        format!("{percent:+.1} %")
    }
}

fn square_millimetres(added: f64) -> String {
    if added == 0.0 {
        "0".to_owned()
    } else {
        format!("{added:+.3} mm2")
    }
}

fn reasons(changes: &[&Advised]) -> String {
    let mut table = grid::plain(&["parameter", "from", "to", "area", "why"]);
    for change in changes {
        let reason = change.models.iter().find_map(Effect::reason);
        table.add_row([
            change.parameter.clone(),
            change.from.clone(),
            change.to.clone(),
            square_millimetres(change.area_mm2),
            reason.unwrap_or_default().to_owned(),
        ]);
    }
    grid::right(&mut table, 1..4);
    grid::wrapped(table, &[1])
}

/// The largest error of the predictions that were measured, too.
fn worst(advice: &Advice) -> Option<String> {
    let mut count = 0;
    let mut worst: Option<(f64, &Advised)> = None;
    for change in &advice.changes {
        for effect in &change.models {
            let (Prediction::Costs(predicted), Some(MeasuredChange::Costs(measured))) =
                (&effect.predicted, &effect.measured)
            else {
                continue;
            };
            count += 1;
            let off = |pick: fn(&Costs) -> f64| (pick(predicted) / pick(measured) - 1.0).abs();
            let off = off(|c| c.cycles).max(off(|c| c.energy_pj));
            if worst.is_none_or(|(most, _)| off > most) {
                worst = Some((off, change));
            }
        }
    }
    let (off, change) = worst?;
    Some(format!(
        "predictions of {count} changes are off by {:.2} % at most ({}={})",
        100.0 * off,
        change.parameter,
        change.to
    ))
}
