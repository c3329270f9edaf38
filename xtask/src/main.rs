//! Jobs of this project that are more than one command.

mod trust;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let plan = match &arguments[..] {
        ["trust", rest @ ..] => trust::Plan::new(rest),
        ["api"] => return trust::write_api(),
        ["broken", names @ ..] => return trust::break_invariants(names),
        _ => None,
    };
    let Some(plan) = plan else {
        eprintln!(
            "usage: cargo xtask trust [--quick] [--resume] [--soak MINUTES] [--only LINE]... [--without LINE]... | api | \
             broken [INVARIANT]..."
        );
        return ExitCode::from(2);
    };
    trust::run(plan)
}
