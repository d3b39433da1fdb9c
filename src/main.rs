//! The binary: hands the command line to [`pertuis::cli`] and turns its answer into an exit code.
fn main() {}
