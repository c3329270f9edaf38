//! Running other programs, and what they said.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// What a program said, and how it ended.
pub(super) struct Said {
    pub(super) text: String,
    pub(super) code: Option<i32>,
    pub(super) good: bool,
}

impl Said {
    /// Numbers behind a word, summed over all lines that begin with it.
    pub(super) fn sum_after(&self, word: &str) -> u64 {
        let numbers = self.text.lines().filter_map(|line| line.trim().strip_prefix(word));
        numbers.filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).sum()
    }

    /// How many tests passed.
    pub(super) fn passed(&self) -> u64 {
        self.sum_after("test result: ok.") + self.sum_after("test result: FAILED.")
    }

    /// The tests that failed, and what else went wrong, in a line.
    pub(super) fn failures(&self) -> String {
        let failed = self.text.lines().filter(|line| line.ends_with("... FAILED"));
        let names: Vec<&str> = failed.filter_map(|line| line.split_whitespace().nth(1)).collect();
        if names.is_empty() {
            let last = self.text.lines().rfind(|line| !line.trim().is_empty());
            format!("exit code {:?}: {}", self.code, last.unwrap_or_default())
        } else {
            names.join(", ")
        }
    }
}

/// Runs a command to its end.
pub(super) fn run(command: &mut Command) -> Said {
    match command.current_dir(root()).output() {
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            Said { text, code: output.status.code(), good: output.status.success() }
        }
        Err(error) => Said { text: format!("{command:?}: {error}"), code: None, good: false },
    }
}

/// The repository.
pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where built things go, as cargo has it, and apart from it for builds with other flags.
pub(super) fn target(apart: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root().join("target"), PathBuf::from);
    if apart.is_empty() { target } else { target.join(apart) }
}

/// `cargo`, with built things in a folder of their own unless that is "".
pub(super) fn cargo(apart: &str) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.env("CARGO_TERM_COLOR", "never").env("CARGO_TARGET_DIR", target(apart));
    cargo.env_remove("CENOTE_DEBUG");
    cargo
}

/// `cargo` for a build with a sanitizer, on the stable toolchain.
pub(super) fn sanitized(which: &str) -> Command {
    let mut cargo = cargo(which);
    let flags = match which {
        "asan" => "-Zsanitizer=address --cfg cenote_asan",
        _ => "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg cenote_tsan",
    };
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", flags);
    // Tests ask for sizes that nobody can have, which is no mistake.
    cargo.env("ASAN_OPTIONS", "allocator_may_return_null=1");
    // A cached block leads to the next by a word that is poisoned with the rest of it; that the
    // depot of shared pools keeps them to the end is no leak.
    cargo.env("LSAN_OPTIONS", "use_poisoned=1");
    cargo
}

/// The platform that this was built for, if sanitizers can be used there.
pub(super) fn host() -> Option<&'static str> {
    static HOST: OnceLock<Option<String>> = OnceLock::new();
    let host = HOST.get_or_init(|| {
        let said = run(Command::new("rustc").arg("-vV"));
        let host = said.text.lines().find_map(|line| line.strip_prefix("host: "))?;
        let known = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];
        known.contains(&host).then(|| host.to_owned())
    });
    host.as_deref()
}

/// Whether there is such a program.
pub(super) fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|path| path.join(program).is_file())
}
