//! `paper`: the paper's evaluation, run again, every published figure beside ours.
//!
//! [`published`] is the one table of the paper's figures. [`section`]s say what they need measured, [`lab`] measures it
//! once, under the [`reading`]s of what the paper leaves open about time, [`accounting`]s price its events, and each section
//! makes findings, tables and charts of it.

mod accounting;
mod chart;
mod finding;
mod lab;
mod page;
mod published;
mod reading;
mod section;
mod sums;

use super::args::Paper;
use super::failure::Failure;
use super::output;
use crate::codes::DriverCode;
use finding::{Finding, Section};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use section::{PLANS, Plan, Scope};

/// `scnnc paper`.
pub fn paper(options: &Paper) -> Result<(), Failure> {
    let plans = plans(&options.only)?;
    let scope = Scope {
        quick: options.quick,
    };
    let needs: Vec<lab::Need> = plans.iter().flat_map(|plan| (plan.needs)(scope)).collect();
    let bar = bar(options.quiet);
    let results = lab::measure(&needs, options.seed, &bar)?;
    bar.finish_and_clear();
    let sections: Vec<Section> = plans
        .iter()
        .map(|plan| (plan.evaluate)(scope, &results))
        .collect();
    output::print(&page::text(&sections));
    output::print(&page::verdict(&sections));
    if let Some(folder) = &options.output {
        page::write(folder, options.seed, &sections)?;
    }
    if options.check {
        return check(&sections);
    }
    Ok(())
}

/// The sections that were asked for, all without a choice.
fn plans(only: &[String]) -> Result<Vec<&'static Plan>, Failure> {
    let known = || PLANS.iter().map(|plan| plan.name);
    if let Some(unknown) = only
        .iter()
        .find(|name| !known().any(|known| known == **name))
    {
        return Err(Failure::usage(&format!(
            "there is no section `{unknown}` in the evaluation; there are {}",
            known().collect::<Vec<_>>().join(", ")
        )));
    }
    let wanted = |plan: &&Plan| only.is_empty() || only.iter().any(|name| name == plan.name);
    Ok(PLANS.iter().filter(wanted).collect())
}

fn bar(quiet: bool) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if quiet {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("[{pos}/{len}] {msg} ({elapsed})")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar
}

fn check(sections: &[Section]) -> Result<(), Failure> {
    let missed: Vec<&Finding> = sections
        .iter()
        .flat_map(|section| &section.findings)
        .filter(|finding| finding.met == Some(false))
        .collect();
    if missed.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} of the paper's headlines {} not reproduced",
        missed.len(),
        if missed.len() == 1 { "is" } else { "are" }
    );
    let notes = missed.into_iter().map(page::describe).collect();
    Err(Failure::check(DriverCode::NotAsExpected, message, notes))
}
