//! `ckrv`: reads the command line, runs one command, ends with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ckrv_cli::main(std::env::args_os()).into()
}
