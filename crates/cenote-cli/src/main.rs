//! The `cenote` command: everything is in the library, so that tests can start a server in their
//! own process.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    cenote_cli::cli::main()
}
