//! The packages of the workspace: which may know which, and that each uses what it names; and the modules of each, which know
//! each other one way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Every package, where it is, and the packages of ours that it may know.
const ARROWS: [(&str, &str, &[&str]); 9] = [
    ("scnn-isa", "isa", &[]),
    ("scnn-host", "simulator/host", &["scnn-isa"]),
    ("scnn-models", "models", &[]),
    ("scnn-simulator", "simulator", &["scnn-isa", "scnn-host"]),
    ("scnnc", "compiler", &["scnn-isa", "scnn-host"]),
    (
        "scnnc-driver",
        "compiler/driver",
        &["scnn-isa", "scnn-host", "scnn-simulator", "scnnc"],
    ),
    (
        "scnnc-snapshots",
        "snapshots",
        &["scnn-isa", "scnn-simulator", "scnnc", "scnnc-driver"],
    ),
    (
        "scnnc-cli",
        "compiler/cli",
        &[
            "scnn-isa",
            "scnn-host",
            "scnn-models",
            "scnn-simulator",
            "scnnc",
            "scnnc-driver",
        ],
    ),
    (
        "scnnc-python",
        "compiler/python",
        &[
            "scnn-isa",
            "scnn-host",
            "scnn-simulator",
            "scnnc",
            "scnnc-driver",
            "scnnc-cli",
        ],
    ),
];

/// Packages that only talk to people, which no library needs.
const OF_THE_COMMAND_LINE: [&str; 5] = ["clap", "indicatif", "mimalloc", "comfy-table", "anstream"];

/// Dependencies that no line names, and why they are there.
const UNNAMED: [(&str, &str); 2] = [
    ("prost-build", "tests/schema.rs, with the feature `schema`"),
    ("protox", "tests/schema.rs, with the feature `schema`"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names in the tables of dependencies of a package: those of its own, and those of its tests and benches.
fn dependencies(folder: &str) -> [Vec<String>; 2] {
    let text = read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let (mut section, mut found) = ("", [Vec::new(), Vec::new()]);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((name, _)) = line.split_once(['.', ' ', '='])
            && section.ends_with("dependencies")
            && !name.starts_with('#')
        {
            found[usize::from(section.contains("dev-"))].push(name.to_owned());
        }
    }
    found
}

/// All Rust text of a folder.
fn text_of(folder: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return String::new();
    };
    let texts = entries.map(|entry| {
        let path = entry.unwrap().path();
        match path.extension() {
            _ if path.is_dir() => text_of(&path),
            Some(extension) if extension == "rs" => read_to_string(&path).unwrap(),
            _ => String::new(),
        }
    });
    texts.collect()
}

#[test]
fn packages_know_only_those_below_them() {
    let names: Vec<&str> = ARROWS.iter().map(|(name, ..)| *name).collect();
    let members = read_to_string(root().join("Cargo.toml")).unwrap();
    for (name, folder, allowed) in ARROWS {
        assert!(members.contains(&format!("\"{folder}\"")), "{folder}");
        let [own, _] = dependencies(folder);
        for known in own.iter().filter(|known| names.contains(&known.as_str())) {
            assert!(
                allowed.contains(&known.as_str()),
                "{name} must not know {known}"
            );
        }
        for known in OF_THE_COMMAND_LINE {
            let is_used = own.iter().any(|own| own == known);
            assert!(
                name == "scnnc-cli" || !is_used,
                "{name} must not need {known}"
            );
        }
    }
    let count = members
        .lines()
        .find(|line| line.starts_with("members"))
        .unwrap();
    assert_eq!(count.matches('"').count(), 2 * ARROWS.len(), "{count}");
}

#[test]
fn what_a_package_depends_on_is_used() {
    let mut unused: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, folder, _) in ARROWS {
        let [own, of_tests] = dependencies(folder);
        let text = |folders: &[&str]| -> String {
            let folders = folders.iter().map(|sub| root().join(folder).join(sub));
            folders.map(|folder| text_of(&folder)).collect()
        };
        let sources = text(&["src"]);
        let tests = sources.clone() + &text(&["tests", "benches", "examples"]);
        let is_unused = |dependency: &&String, text: &str| {
            let path = format!("{}::", dependency.replace('-', "_"));
            !text.contains(&path) && UNNAMED.iter().all(|(name, _)| name != dependency)
        };
        let idle = own.iter().filter(|own| is_unused(own, &sources));
        let idle = idle.chain(of_tests.iter().filter(|own| is_unused(own, &tests)));
        unused.entry(name).or_default().extend(idle.cloned());
    }
    unused.retain(|_, names| !names.is_empty());
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn a_library_that_builds_no_tests_has_none() {
    let without_tests = ARROWS.iter().filter(|(_, folder, _)| {
        let text = read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let library = text.split("[lib]").nth(1).unwrap_or_default();
        let library = library.split("\n[").next().unwrap_or_default();
        library.contains("\ntest = false")
    });
    let mut count = 0;
    for (name, folder, _) in without_tests {
        let text = text_of(&root().join(folder).join("src"));
        let is_test = |line: &str| matches!(line.trim(), "#[test]" | "#[cfg(test)]");
        assert!(
            !text.lines().any(is_test),
            "{name} has tests that no one builds"
        );
        count += 1;
    }
    assert_eq!(count, 3, "models, snapshots, python");
}

/// The modules at the top of a package, each with its own text and that of its folder, tests left out.
fn modules(source: &Path) -> BTreeMap<String, [String; 2]> {
    let mut modules: BTreeMap<String, [String; 2]> = BTreeMap::new();
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let texts = modules.entry(name).or_default();
        if path.is_dir() {
            texts[1] = files_of(&path).iter().map(|file| code(file)).collect();
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts[0] = code(&path);
        }
    }
    for root in ["lib", "main"] {
        modules.remove(root);
    }
    modules
}

/// The Rust files below a folder, without files of tests.
fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let files = entries.flat_map(|entry| {
        let path = entry.unwrap().path();
        match path.file_stem().and_then(|stem| stem.to_str()) {
            Some("tests") => Vec::new(),
            _ if path.is_dir() => files_of(&path),
            _ => vec![path],
        }
    });
    files
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// A file's lines before its tests, without comments.
fn code(file: &Path) -> String {
    let text = read_to_string(file).unwrap();
    let lines = text.lines().take_while(|line| *line != "mod tests {");
    let lines = lines.map(|line| line.split("//").next().unwrap_or_default());
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The first names of the paths that begin with `root` in a text: of `root::a::b` and `root::{a, b::c}`, a and b.
fn first_names(text: &str, root: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices(root) {
        let rest = &text[at + root.len()..];
        let mut depth = 0;
        let list = rest
            .strip_prefix('{')
            .unwrap_or("")
            .chars()
            .take_while(|c| {
                depth += i32::from(*c == '{') - i32::from(*c == '}');
                depth >= 0
            });
        let mut list: String = list.collect();
        // Names in inner braces are not the first ones.
        while let Some(end) = list.find('}') {
            let begin = list[..end].rfind('{').unwrap_or(end);
            list.replace_range(begin..=end, "");
        }
        let paths = if list.is_empty() { rest } else { &list };
        let count = if list.is_empty() { 1 } else { usize::MAX };
        names.extend(paths.split(',').take(count).map(|path| {
            let name = path.trim().chars();
            name.take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        }));
    }
    names
}

#[test]
fn modules_know_each_other_one_way() {
    for (package, folder, _) in ARROWS {
        let modules = modules(&root().join(folder).join("src"));
        let knows = |name: &str, other: &str| {
            let [own, below] = &modules[name];
            let all = first_names(&format!("{own}{below}"), "crate::");
            all.contains(other) || first_names(own, "super::").contains(other)
        };
        for (name, other) in modules
            .keys()
            .flat_map(|a| modules.keys().map(move |b| (a, b)))
        {
            let circle = name < other && knows(name, other) && knows(other, name);
            assert!(!circle, "{package}: `{name}` and `{other}` know each other");
        }
    }
}
