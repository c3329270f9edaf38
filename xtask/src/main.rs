//! Jobs of this project that are more than one command.

mod trust;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["trust"] => trust::run(trust::Extent::Full),
        ["trust", "--quick"] => trust::run(trust::Extent::Quick),
        ["api"] => trust::write_api(),
        _ => {
            eprintln!("usage: cargo xtask trust [--quick] | api");
            ExitCode::from(2)
        }
    }
}
