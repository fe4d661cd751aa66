//! The generated messages of Perfetto's format are those of `proto/perfetto.proto`.
//!
//! `cargo test -p scnnc-cli --features schema --test schema` compares; with `SCNN_UPDATE_SCHEMA=1` it writes
//! `src/trace/generated.rs` anew. The generator is a feature, so that no one compiles it who only writes traces.

use std::path::Path;

#[test]
fn the_generated_messages_are_those_of_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema = root.join("proto");
    let files = protox::compile([schema.join("perfetto.proto")], [&schema]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    prost_build::Config::new()
        .out_dir(folder.path())
        .compile_fds(files)
        .unwrap();
    let generated = std::fs::read_to_string(folder.path().join("scnnc.perfetto.rs")).unwrap();
    let kept = root.join("src/trace/generated.rs");
    if std::env::var_os("SCNN_UPDATE_SCHEMA").is_some() {
        std::fs::write(&kept, &generated).unwrap();
    }
    assert!(
        generated == std::fs::read_to_string(&kept).unwrap(),
        "proto/perfetto.proto has changed: SCNN_UPDATE_SCHEMA=1 cargo test -p scnnc-cli --features schema --test schema"
    );
}
