//! Folders to serve, servers to start, and waiting for what must come about.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cenote::inspect::AccountSnapshot;
use cenote_cli::serve::{Config, Server};
use tempfile::TempDir;

use crate::client::Client;

/// A folder and a server of it.
pub(crate) struct Site {
    folder: TempDir,
    server: Option<Server>,
    address: SocketAddr,
}

impl Site {
    /// Serves an empty folder with two workers.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// Serves an empty folder as `change` has it.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = Config::new(folder.path());
        config.workers = 2;
        change(&mut config);
        let server = Server::start(config).expect("the server starts");
        Self { folder, address: server.address(), server: Some(server) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, and the folders it needs.
    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        path
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("a server that runs")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn get(&self, path: &str) -> crate::client::Response {
        self.client().get(path)
    }

    /// Waits until no connection and no request is left and none of their memory is held.
    pub(crate) fn is_quiet(&self) {
        let mut last = Vec::new();
        eventually_or("connections and requests are all gone", || {
            last = accounts(&self.server().account().snapshot().merged());
            last.iter()
                .filter(|account| matches!(account.name.as_str(), "connection" | "request"))
                .all(|account| account.live == 0 && account.held_bytes == 0)
        })
        .unwrap_or_else(|what| panic!("{what}: {last:#?}"));
    }

    /// What the accounts of this name hold together: live pools, bytes.
    pub(crate) fn held_by(&self, name: &str) -> (usize, usize) {
        accounts(&self.server().account().snapshot().merged())
            .iter()
            .filter(|account| account.name == name)
            .fold((0, 0), |(live, held), account| (live + account.live, held + account.held_bytes))
    }
}

/// The account and all below it, in one list.
pub(crate) fn accounts(account: &AccountSnapshot) -> Vec<AccountSnapshot> {
    let mut list = vec![AccountSnapshot { children: Vec::new(), ..account.clone() }];
    list.extend(account.children.iter().flat_map(accounts));
    list
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    eventually_or(what, is_so).unwrap_or_else(|what| panic!("{what}"));
}

fn eventually_or(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        if Instant::now() > deadline {
            return Err(format!("waited too long until {what}"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Bytes without a pattern that a misplaced buffer could hide in.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
