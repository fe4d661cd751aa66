//! `sweep`: the points of a specification measured, kept, and joined from parts.
//!
//! ```text
//! SPEC.yaml --points::resolve--> [Point] --store: which are there?--> scnnc_driver::sweep::compute --store--> tables
//! ```

mod export;
mod figures;
mod page;
mod points;
mod serve;
mod store;
mod subjects;

use super::args::{Shard, Sweep, SweepReport, SweepVerb};
use super::failure::Failure;
use super::stages::Stages;
use super::{grid, output};
use crate::codes::Code;
use points::{Point, Resolved};
use scnn_isa::yaml::YamlError;
use scnnc_driver::sweep::tables::Row;
use scnnc_driver::sweep::{Outcome, Spec, Task, compute, tables};
use std::path::Path;
use store::{Manifest, Store};

/// `scnnc sweep`; `code` is the file that holds this code: another one measures anew.
pub fn sweep(options: &Sweep, code: Option<&Path>) -> Result<(), Failure> {
    match &options.verb {
        Some(SweepVerb::Merge { parts, output }) => return merge(parts, output),
        Some(SweepVerb::Report(options)) => return report(options),
        Some(SweepVerb::Serve { spec, output }) => {
            return serve::serve(spec, output.as_deref(), code);
        }
        Some(SweepVerb::Export {
            spec,
            shards,
            output,
            ..
        }) => return export::snakemake(spec, *shards, output.as_deref()),
        None => {}
    }
    let (Some(spec), Some(folder)) = (&options.spec, &options.output) else {
        return Err(Failure::usage("give a specification and `-o DIR`"));
    };
    let resolved = points::resolve(spec, &read(spec)?, code)?;
    if options.list {
        list(&resolved.points);
        return Ok(());
    }
    let store = Store::open(folder)?;
    let stages = Stages::new(1, options.loudness(), options.progress);
    let (manifest, measured) = completed(&resolved, &store, options.shard, &stages)?;
    let rows = tabulate(&manifest, &store, folder)?;
    output::print(&summary(&rows, measured, folder));
    Ok(())
}

/// The points of a sweep's part, in order, and their outcomes.
pub type Outcomes = Vec<(Row, Outcome)>;

/// What a binding asks for.
pub struct Asked<'a> {
    /// Path of the specification, which its files are beside, and its text.
    pub spec: (&'a Path, &'a str),
    /// Folder of the results; none keeps nothing.
    pub folder: Option<&'a Path>,
    /// The part that is measured.
    pub shard: Option<Shard>,
    /// The file that holds this code.
    pub code: Option<&'a Path>,
}

/// The outcomes of a specification's points, as [`sweep`] measures and keeps them.
pub fn outcomes(asked: &Asked<'_>, stages: &Stages) -> Result<Outcomes, Failure> {
    let (path, text) = asked.spec;
    let resolved = points::resolve(path, &parsed(path, text)?, asked.code)?;
    let temporary;
    let folder = if let Some(folder) = asked.folder {
        folder
    } else {
        let made = tempfile::tempdir();
        let failed = |e: std::io::Error| Failure::file(Code::CannotWrite, path, &e.to_string());
        temporary = made.map_err(failed)?;
        temporary.path()
    };
    let store = Store::open(folder)?;
    let (manifest, _) = completed(&resolved, &store, asked.shard, stages)?;
    tabulate(&manifest, &store, folder)?;
    let outcomes = manifest.outcomes(&store)?.into_iter();
    Ok(outcomes
        .map(|(row, outcome)| (row.clone(), outcome))
        .collect())
}

/// The page of a sweep, as `scnnc sweep report -o` writes it.
pub fn page_of(outcomes: &Outcomes) -> String {
    let outcomes = outcomes.iter().map(|(row, outcome)| (row, outcome.clone()));
    page::html(&outcomes.collect::<Vec<_>>())
}

/// The specification in a file.
fn read(path: &Path) -> Result<Spec, Failure> {
    parsed(path, &String::from_utf8_lossy(&output::read(path)?))
}

fn parsed(path: &Path, text: &str) -> Result<Spec, Failure> {
    let refused = |e: YamlError| Failure::yaml(Code::SweepSpec, path, text, &e);
    Spec::read(text).map_err(refused)
}

/// Measures the points of a part that are not in the store, and writes there what it is of: the manifest, and how many points
/// were measured.
fn completed(
    resolved: &Resolved,
    store: &Store,
    shard: Option<Shard>,
    stages: &Stages,
) -> Result<(Manifest, usize), Failure> {
    let points = resolved.points.iter();
    let wanted: Vec<&Point> = points.filter(|point| is_in(shard, point)).collect();
    let measured = measure(resolved, &wanted, store, stages)?;
    let manifest = Manifest::of(&resolved.points, shard);
    store.write(&manifest)?;
    Ok((manifest, measured))
}

fn is_in(shard: Option<Shard>, point: &Point) -> bool {
    shard.is_none_or(|shard| (point.row.point - 1) % shard.count == shard.number - 1)
}

/// Measures the points that are not in the store; how many they are.
fn measure(
    resolved: &Resolved,
    wanted: &[&Point],
    store: &Store,
    stages: &Stages,
) -> Result<usize, Failure> {
    let missing = wanted.iter().filter_map(|point| match &point.task {
        Ok((key, task)) if store.get(key).is_none() => Some(task.clone()),
        _ => None,
    });
    let missing: Vec<Task> = missing.collect();
    if missing.is_empty() {
        return Ok(0);
    }
    stages.begin("measure points");
    stages.length(missing.len());
    let mut count = 0;
    let keys: Vec<&str> = resolved.points.iter().map(Point::key).collect();
    let mut done = |point: usize, outcome: Outcome| {
        count += 1;
        stages.reached(count);
        store.put(keys[point], &outcome)
    };
    let load = |subject: usize| resolved.subjects[subject].load();
    compute(&missing, rayon::current_num_threads(), &load, &mut done)?;
    stages.finish();
    Ok(missing.len())
}

/// Writes the tables of the points of a manifest that are in the store; whether each was measured.
fn tabulate(manifest: &Manifest, store: &Store, folder: &Path) -> Result<Vec<bool>, Failure> {
    let outcomes = manifest.outcomes(store)?;
    let rows: Vec<(&tables::Row, &Outcome)> = outcomes.iter().map(|(r, o)| (*r, o)).collect();
    output::write(&folder.join("points.csv"), tables::points(&rows).as_bytes())?;
    output::write(&folder.join("layers.csv"), tables::layers(&rows).as_bytes())?;
    let measured = rows
        .iter()
        .map(|(_, o)| matches!(o, Outcome::Measured { .. }));
    Ok(measured.collect())
}

fn summary(rows: &[bool], measured: usize, folder: &Path) -> String {
    let failed = rows.iter().filter(|measured| !**measured).count();
    format!(
        "{}: {} points, {measured} of them measured now, {failed} failed\n",
        folder.join("points.csv").display(),
        rows.len()
    )
}

/// Joins parts into one folder.
fn merge(parts: &[std::path::PathBuf], folder: &Path) -> Result<(), Failure> {
    let mut whole: Option<Manifest> = None;
    let store = Store::open(folder)?;
    for path in parts {
        let part = Store::existing(path)?;
        let manifest = part.manifest()?;
        match &whole {
            Some(first) if !first.same_points(&manifest) => {
                let reason = format!("it is not of the same points as {}", parts[0].display());
                return Err(Failure::file(Code::SweepParts, path, &reason));
            }
            Some(_) => {}
            None => whole = Some(manifest.clone().whole()),
        }
        for key in manifest.keys() {
            if let Some(bytes) = part.bytes(key) {
                store.put_bytes(key, &bytes)?;
            }
        }
    }
    let Some(manifest) = whole else {
        return Err(Failure::usage("give the folders of the parts"));
    };
    let missing = manifest
        .keys()
        .filter(|key| store.get(key).is_none())
        .count();
    if missing > 0 {
        let reason = format!(
            "{missing} of {} points are in none of the parts",
            manifest.len()
        );
        return Err(Failure::file(Code::SweepParts, folder, &reason));
    }
    store.write(&manifest)?;
    let rows = tabulate(&manifest, &store, folder)?;
    output::print(&summary(&rows, 0, folder));
    Ok(())
}

/// Shows the points of a folder.
fn report(options: &SweepReport) -> Result<(), Failure> {
    let store = Store::existing(&options.folder)?;
    let manifest = store.manifest()?;
    let outcomes = manifest.outcomes(&store)?;
    if outcomes.is_empty() {
        let reason = "there are no points in it";
        return Err(Failure::file(Code::SweepParts, &options.folder, reason));
    }
    if let Some(path) = &options.output {
        output::write(path, page::html(&outcomes).as_bytes())?;
    }
    if let Some(folder) = &options.svg {
        figures::write(folder, options.title.as_deref(), &outcomes)?;
    }
    Ok(())
}

/// Prints the points.
fn list(points: &[Point]) {
    let Some(first) = points.first() else {
        output::print("no points\n");
        return;
    };
    let axes = first.row.settings.iter().map(|(name, _)| name.as_str());
    let names = ["point", "model"].into_iter().chain(axes);
    let names = names.chain(["machine", "mapping", "objective", "fidelity"]);
    let mut table = grid::plain(&names.collect::<Vec<_>>());
    for Point { row, .. } in points {
        let mut cells = vec![row.point.to_string(), row.model.clone()];
        cells.extend(row.settings.iter().map(|(_, value)| value.clone()));
        let rest = [&row.machine, &row.mapping, &row.objective, &row.fidelity];
        cells.extend(rest.map(Clone::clone));
        table.add_row(cells);
    }
    grid::right(&mut table, [0]);
    output::print(&format!("{}\n", table.trim_fmt()));
}
