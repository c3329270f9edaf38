//! nginx, stock and with cenote's pools, side by side under the same requests.
//!
//! What the tests share: nginx built from source (`tree`), run in a folder of its own (`server`),
//! with something to serve (`site`) and a server behind it (`upstream`), and asked over real
//! sockets (`wire`, `conversations`).

pub mod conversations;
pub mod server;
pub mod site;
pub mod tree;
pub mod upstream;
pub mod wire;

use std::time::{Duration, Instant};

/// How long to wait for anything before giving up. Only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so.
///
/// # Panics
/// If it never is; `what` says what was waited for.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        // Looked at again, not assumed: this only leaves the processor to others meanwhile.
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Whether a command is there.
#[must_use]
pub fn has(command: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(command).is_file())
}

/// Whether all of these commands are there; says so, loudly, where a test is left out for one.
#[must_use]
pub fn has_all(test: &str, commands: &[&str]) -> bool {
    for command in commands {
        if !has(command) {
            eprintln!("SKIPPED: {test}: there is no {command} here");
            return false;
        }
    }
    true
}
