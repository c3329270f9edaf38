//! The machine, the compilers and what is measured, as the page tells them. Rows of two runs are put
//! side by side only where all of this is the same.

use std::fs;
use std::process::Command;

/// `(what, as found)`.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    let processor =
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    let memory = field("/proc/meminfo", "MemTotal").map_or_else(String::new, |kib| {
        let kib: f64 = kib.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0);
        format!("{:.0} GiB", kib / f64::from(1 << 20))
    });
    vec![
        ("processor", processor),
        ("processors", std::thread::available_parallelism().map_or(1, usize::from).to_string()),
        ("memory", memory),
        ("system", said("uname", &["-srm"])),
        ("C library", said("getconf", &["GNU_LIBC_VERSION"])),
        ("Rust", env!("CENOTE_BENCH_RUSTC").into()),
        (
            "Rust profile",
            format!(
                "{}, no LTO, target {}",
                env!("CENOTE_BENCH_PROFILE"),
                env!("CENOTE_BENCH_TARGET")
            ),
        ),
        ("C and C++", env!("CENOTE_BENCH_CC").into()),
        (
            "C flags",
            format!(
                "nginx: {}; the loops and the other peers: -O2",
                option_env!("CENOTE_BENCH_NGINX_FLAGS").unwrap_or("not built")
            ),
        ),
        ("valgrind", said("valgrind", &["--version"])),
        ("versions", env!("CENOTE_BENCH_VERSIONS").replace(';', ", ")),
        ("sources", super::ran::sources()),
    ]
}

fn said(program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .output()
        .ok()
        .and_then(|out| String::from_utf8(out.stdout).ok())
        .map_or_else(
            || "not installed".into(),
            |text| text.lines().next().unwrap_or_default().to_owned(),
        )
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
