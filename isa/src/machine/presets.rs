//! The machine files that ship inside the binary.

/// Names and files; a preset extends only presets before it.
pub(super) const PRESETS: &[(&str, &str)] = &[
    ("scnn", include_str!("../../machines/scnn.yaml")),
    (
        "scnn-multicast",
        include_str!("../../machines/scnn-multicast.yaml"),
    ),
    ("scnn-int8", include_str!("../../machines/scnn-int8.yaml")),
    ("scnn-4pe", include_str!("../../machines/scnn-4pe.yaml")),
    ("scnn-16pe", include_str!("../../machines/scnn-16pe.yaml")),
    (
        "scnn-sparse-a",
        include_str!("../../machines/scnn-sparse-a.yaml"),
    ),
    (
        "scnn-sparse-w",
        include_str!("../../machines/scnn-sparse-w.yaml"),
    ),
    ("dcnn", include_str!("../../machines/dcnn.yaml")),
    ("dcnn-opt", include_str!("../../machines/dcnn-opt.yaml")),
];

/// The file of a preset.
pub(super) fn text(name: &str) -> Option<&'static str> {
    PRESETS
        .iter()
        .find(|(preset, _)| *preset == name)
        .map(|(_, text)| *text)
}

/// The names.
pub(super) fn names() -> Vec<&'static str> {
    PRESETS.iter().map(|(name, _)| *name).collect()
}
