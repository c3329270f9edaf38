//! Which process it is that the view looks at, for who has several of them open.

use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

use super::rows::seconds;

/// The process: what tells it from others in a browser's tabs.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Process {
    /// The machine's name; `None` where the system does not say.
    pub host: Option<String>,
    /// The process's number.
    pub pid: u32,
    /// What the service calls its version; see [`ViewBuilder::version`](super::ViewBuilder::version).
    pub version: Option<String>,
    /// Seconds since 1970, of the moment when the view was made.
    pub started: f64,
}

impl Process {
    pub(super) fn now(version: Option<String>) -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { host: host(), pid: std::process::id(), version, started: seconds(started) }
    }
}

fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_says_who_it_is() {
        let process = Process::now(Some("1.2".into()));
        assert_eq!((process.pid, process.version.as_deref()), (std::process::id(), Some("1.2")));
        assert!(process.started > 1.7e9);
        #[cfg(target_os = "linux")]
        assert!(process.host.is_some());
    }
}
