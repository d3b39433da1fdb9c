//! The binary: hands the command line to [`pertuis::cli`] and turns its answer into an exit code.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    // every command reads the file, and with it the passwords
    pertuis::platform::no_core_dumps();
    let code = pertuis::cli::main(std::env::args_os().collect(), &mut io::stdout(), &mut io::stderr());
    ExitCode::from(code)
}
