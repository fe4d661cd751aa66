//! Compiles the protobuf schema of program files; protox stands in for protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["proto/program.proto"], ["proto"])?;
    prost_build::Config::new().compile_fds(files)?;
    println!("cargo:rerun-if-changed=proto/program.proto");
    Ok(())
}
