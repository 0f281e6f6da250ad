//! Makes Rust of `proto/`, without a compiler for it on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["open_inference.proto"], ["proto"])?;
    // Contents of tensors stay where they were read: `Bytes` shares them.
    prost_build::Config::new().bytes(["."]).btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}
