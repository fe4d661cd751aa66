//! The published figures of energy under every accounting.

use super::{Scope, ablation, energy, names, sweep};
use crate::paper::accounting::{ACCOUNTINGS, Accounting, ENTRIES, EVERY_BYTE};
use crate::paper::finding::{Cell, Finding, Section, Table};
use crate::paper::lab::{Need, Results};
use scnn_isa::machine::Machine;

pub fn needs(scope: Scope) -> Vec<Need> {
    let mut needs = energy::needs(scope);
    needs.extend(sweep::headline_needs(scope));
    needs.extend(ablation::needs(scope));
    needs
}

pub fn evaluate(scope: Scope, results: &Results) -> Section {
    let of = |accounting: &&Accounting| -> Vec<Finding> {
        let mut findings = energy::findings(scope, results, accounting);
        findings.extend(sweep::energy_findings(scope, results, accounting));
        findings.extend(ablation::energy_findings(results, accounting));
        findings
    };
    let all: Vec<Vec<Finding>> = ACCOUNTINGS.iter().map(of).collect();
    let number = |ours: Option<f64>| ours.map_or_else(|| Cell::from("-"), Cell::from);
    let rows = (0..all[0].len()).map(|row| {
        let first = &all[0][row];
        let mut cells = vec![first.what.into(), first.published.into()];
        cells.extend(all.iter().map(|findings| number(findings[row].ours)));
        cells
    });
    let columns = |first: &[&str]| -> Vec<String> {
        let accountings = ACCOUNTINGS.iter().map(|accounting| accounting.name);
        first
            .iter()
            .copied()
            .chain(accountings)
            .map(str::to_owned)
            .collect()
    };
    let figures = Table {
        name: "accountings",
        title: "figures of energy by accounting".to_owned(),
        printed: true,
        columns: columns(&["figure", "published"]),
        rows: rows.collect(),
    };
    let machine = Machine::preset("scnn").expect("a preset");
    let prices = ENTRIES.iter().map(|(name, entry)| {
        let of = |accounting: &&Accounting| {
            let mut priced = accounting.priced(&machine);
            Cell::from(entry(&mut priced.energy).pj)
        };
        let mut cells = vec![Cell::from(*name)];
        cells.extend(ACCOUNTINGS.iter().map(of));
        cells
    });
    let prices = Table {
        name: "prices",
        title: "energy of an event, pJ, by accounting".to_owned(),
        printed: true,
        columns: columns(&["event"]),
        rows: prices.collect(),
    };
    let about = ACCOUNTINGS
        .iter()
        .map(|accounting| vec![accounting.name.into(), accounting.about.into()]);
    Section {
        name: "accounting",
        title: "What is charged with DRAM, and at which prices",
        convention: format!(
            "the headlines are those of `{}`; `{}` is what `scnnc run` reports",
            ACCOUNTINGS[0].name, EVERY_BYTE.name
        ),
        findings: Vec::new(),
        tables: vec![
            figures,
            prices,
            Table {
                name: "accounting-assumptions",
                title: "what an accounting assumes".to_owned(),
                printed: true,
                columns: names(["accounting", "assumes"]),
                rows: about.collect(),
            },
        ],
        charts: Vec::new(),
    }
}
