//! The folder of a sweep: finished points by the hash of all that decides them, and which points the last run was of.
//!
//! ```text
//! DIR/points/HASH.json   an outcome; written whole or not at all, never changed
//! DIR/sweep.json         the manifest: every point with its hash
//! DIR/points.csv, layers.csv
//! ```
//!
//! Tables are made of the files, not of what was just computed, so that a run that was interrupted gives the same bytes.

use super::points::Point;
use crate::args::Shard;
use crate::codes::Code;
use crate::failure::Failure;
use crate::output;
use scnnc_driver::sweep::tables::Row;
use scnnc_driver::sweep::{Failed, Outcome};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Version of the folder's form; it is a part of every hash.
pub const FORMAT: u32 = 2;

/// The folder of a sweep.
pub struct Store {
    folder: PathBuf,
    /// Held while this process may write there.
    _lock: Option<File>,
}

impl Store {
    /// The folder, which is made if it is not there. Temporary files of killed processes are removed, unless another process
    /// is writing there.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        output::folder(&folder.join("points"))?;
        Ok(Self {
            folder: folder.to_owned(),
            _lock: lock_and_clean(folder),
        })
    }

    /// A folder that a sweep has written.
    pub fn existing(folder: &Path) -> Result<Self, Failure> {
        if !folder.join("sweep.json").is_file() {
            let reason = "it is not the folder of a sweep: there is no sweep.json in it";
            return Err(Failure::file(Code::SweepParts, folder, reason));
        }
        Ok(Self {
            folder: folder.to_owned(),
            _lock: None,
        })
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join("points").join(format!("{key}.json"))
    }

    /// The outcome of a point, if it is there and whole.
    pub fn get(&self, key: &str) -> Option<Outcome> {
        serde_json::from_slice(&self.bytes(key)?).ok()
    }

    /// Its file.
    pub fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        std::fs::read(self.path(key)).ok()
    }

    /// Keeps an outcome.
    pub fn put(&self, key: &str, outcome: &Outcome) -> Result<(), Failure> {
        self.put_bytes(key, &json(outcome))
    }

    /// Keeps the file of an outcome.
    pub fn put_bytes(&self, key: &str, bytes: &[u8]) -> Result<(), Failure> {
        output::write(&self.path(key), bytes)
    }

    /// Writes the manifest.
    pub fn write(&self, manifest: &Manifest) -> Result<(), Failure> {
        output::write(&self.folder.join("sweep.json"), &json(manifest))
    }

    /// Reads it.
    pub fn manifest(&self) -> Result<Manifest, Failure> {
        let path = self.folder.join("sweep.json");
        let manifest = serde_json::from_slice(&output::read(&path)?);
        manifest.map_err(|e| Failure::file(Code::SweepParts, &path, &e.to_string()))
    }
}

/// A shared lock of the folder of points; before it is taken, a process that is alone there removes the temporary files.
/// None on a system without locks.
fn lock_and_clean(folder: &Path) -> Option<File> {
    let lock = File::open(folder.join("points")).ok()?;
    if lock.try_lock().is_ok() {
        for within in [folder.to_owned(), folder.join("points")] {
            let entries = std::fs::read_dir(within).ok()?;
            let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
            let temporary = |path: &PathBuf| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with(output::TEMPORARY) && path.is_file()
            };
            for path in paths.filter(temporary) {
                // One that cannot be removed does no harm.
                let _ = std::fs::remove_file(path);
            }
        }
        lock.unlock().ok()?;
    }
    lock.lock_shared().ok()?;
    Some(lock)
}

/// A value as JSON and a line's end.
fn json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("names are the keys of all its maps");
    bytes.push(b'\n');
    bytes
}

/// The points of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The part of them that was measured, as `I/N`.
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<[usize; 2]>,
    points: Vec<StoredFile>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoredFile {
    #[serde(flatten)]
    row: Row,
    /// Hash of what decides its outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Why there is no such point.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Failed>,
}

impl Manifest {
    /// Of points of which a part was measured, or all.
    pub fn of(points: &[Point], shard: Option<Shard>) -> Self {
        let entry = |point: &Point| StoredFile {
            row: point.row.clone(),
            key: point.task.as_ref().ok().map(|(key, _)| key.clone()),
            failed: point.task.as_ref().err().cloned(),
        };
        Self {
            shard: shard.map(|shard| [shard.number, shard.count]),
            points: points.iter().map(entry).collect(),
        }
    }

    /// The same as of all points.
    pub fn whole(mut self) -> Self {
        self.shard = None;
        self
    }

    /// Whether two are of the same points.
    pub fn same_points(&self, other: &Self) -> bool {
        self.points == other.points
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Hashes of the points that can be measured.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.points.iter().filter_map(|entry| entry.key.as_deref())
    }

    /// The points of its part with their outcomes, in order.
    pub fn outcomes(&self, store: &Store) -> Result<Vec<(&Row, Outcome)>, Failure> {
        let mine = |entry: &&StoredFile| {
            let at = entry.row.point - 1;
            self.shard
                .is_none_or(|[number, count]| at % count == number - 1)
        };
        let outcome = |entry: &'_ StoredFile| match (&entry.key, &entry.failed) {
            (Some(key), _) => store.get(key).ok_or_else(|| {
                let reason = format!("the outcome of point {} is missing", entry.row.point);
                Failure::file(Code::SweepParts, &store.folder, &reason)
            }),
            (None, failed) => Ok(Outcome::Failed(failed.clone().unwrap_or_else(|| Failed {
                code: Code::SweepParts.entry().code.to_owned(),
                message: "no hash".to_owned(),
            }))),
        };
        let points = self.points.iter().filter(mine);
        points
            .map(|entry| Ok((&entry.row, outcome(entry)?)))
            .collect()
    }
}
