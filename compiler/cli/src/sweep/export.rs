//! `sweep export`: a sweep as a workflow. Each job is a `scnnc sweep --shard`, the last a `sweep merge`; the engine runs them
//! on local cores, Slurm or Kubernetes, and again where one failed. A job keeps the points that it has measured.

use super::points;
use crate::failure::Failure;
use crate::output;
use std::path::Path;

/// The workflow, with a few marks to fill.
const SNAKEFILE: &str = include_str!("export/Snakefile");

/// Writes a Snakefile.
pub fn snakemake(spec: &Path, shards: usize, target: Option<&Path>) -> Result<(), Failure> {
    // A specification that is not one is refused now, and not by every job.
    let count = points::resolve(spec, &super::read(spec)?, None)?
        .points
        .len();
    let shards = shards.min(count.max(1));
    let spec = std::path::absolute(spec).unwrap_or_else(|_| spec.to_owned());
    let spec = quoted(&spec.display().to_string());
    let text = SNAKEFILE
        .replace("@COUNT@", &count.to_string())
        .replace("@SHARDS@", &shards.to_string())
        .replace("@SPEC@", &spec);
    if let Some(path) = target {
        output::write(path, text.as_bytes())
    } else {
        output::print(&text);
        Ok(())
    }
}

/// A text as a literal of Python.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_path_is_a_literal_whatever_is_in_it() {
        assert_eq!(quoted(r#"a "b" \c"#), r#""a \"b\" \\c""#);
    }
}
