//! The generated protobuf messages are those of the schema.
//!
//! `cargo test -p scnn-isa --features schema` compares; with `SCNN_UPDATE_SCHEMA=1` it writes
//! `src/wire/generated.rs` anew. The generator is a feature, so that no one compiles it who only uses the messages.

use std::path::Path;

#[test]
fn the_generated_messages_are_those_of_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema = root.join("proto");
    let files = protox::compile([schema.join("program.proto")], [&schema]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    prost_build::Config::new()
        .out_dir(folder.path())
        .compile_fds(files)
        .unwrap();
    let generated = std::fs::read_to_string(folder.path().join("scnn.program.v1.rs")).unwrap();
    let kept = root.join("src/wire/generated.rs");
    if std::env::var_os("SCNN_UPDATE_SCHEMA").is_some() {
        std::fs::write(&kept, &generated).unwrap();
    }
    assert!(
        generated == std::fs::read_to_string(&kept).unwrap(),
        "proto/program.proto has changed: SCNN_UPDATE_SCHEMA=1 cargo test -p scnn-isa --features schema"
    );
}
