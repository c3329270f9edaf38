//! A running nginx, in a folder of its own, and what must be so when it has ended.

use crate::tree::Tree;
use crate::until;
use crate::wire::{ask, get};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// What nginx logs that it should not, and what checkers print.
const BAD: &[&str] = &["[alert]", "[emerg]", "Sanitizer", "runtime error", "panicked"];

/// Addresses that are free, one for each of so many servers.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn addresses(count: usize) -> Vec<SocketAddr> {
    // All are held until all are known, so none is given twice.
    let held: Vec<_> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    held.iter().map(|listener| listener.local_addr().expect("an address")).collect()
}

/// An nginx, killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: TempDir,
}

impl Server {
    /// Starts nginx and waits until it answers at the last of `addresses`.
    ///
    /// `wrapper` is what to run it under, with its arguments.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(
        tree: &Tree,
        config: &str,
        address: SocketAddr,
        wrapper: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("cenote-nginx-").tempdir().expect("a folder");
        let root = folder.path();
        for name in ["logs", "client", "proxy", "cache"] {
            fs::create_dir(root.join(name)).expect("a folder");
        }
        fs::write(root.join("nginx.conf"), config).expect("a file");
        let output = fs::File::create(root.join("logs/output")).expect("a file");
        let program = tree.program.as_os_str();
        let mut words: Vec<&OsStr> = wrapper.iter().map(OsStr::new).collect();
        words.push(program);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("-p").arg(root).args([
            "-c",
            "nginx.conf",
            "-e",
            "logs/error",
        ]);
        command.envs(environment.iter().copied()).current_dir(root);
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a file")).stderr(output);
        let child = command.spawn().expect("nginx starts");
        let mut server = Self { child, folder };
        until("nginx listens", || {
            if let Some(status) = server.child.try_wait().expect("a child") {
                panic!("nginx ended: {status}\n{}", server.logged());
            }
            TcpStream::connect(address).is_ok()
        });
        server
    }

    /// The folder that it runs in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its logs, and what was printed.
    #[must_use]
    pub fn logged(&self) -> String {
        let mut all = String::new();
        for entry in fs::read_dir(self.folder().join("logs")).expect("a folder").flatten() {
            all.push_str(&String::from_utf8_lossy(&fs::read(entry.path()).unwrap_or_default()));
        }
        all
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends the master process a signal.
    ///
    /// # Panics
    /// If it is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("nginx runs");
    }

    /// Its worker processes.
    ///
    /// # Panics
    /// If the master process is gone.
    #[must_use]
    pub fn workers(&self) -> Vec<i32> {
        let master = self.child.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
        let children = children.expect("nginx runs");
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(is_worker).collect()
    }

    /// Kills a worker process, as a crash would.
    ///
    /// # Panics
    /// If there is none.
    pub fn kill_worker(&self, worker: i32) {
        kill_process(Pid::from_raw(worker).expect("a process"), Signal::KILL).expect("it runs");
    }

    /// What the workers have open while no client is connected: one line for each descriptor,
    /// sorted. Sockets (but those between nginx's processes) and pipes are told by their kind
    /// alone.
    ///
    /// # Panics
    /// If clients stay connected.
    #[must_use]
    pub fn open_at_rest(&self, address: SocketAddr) -> Vec<String> {
        // The one connection is that which asks, and it is closed when the answer is complete.
        until("no client is connected", || {
            ask(address, &get("/active"))
                .is_ok_and(|answer| String::from_utf8_lossy(&answer).contains("connections: 1 \n"))
        });
        let between = unix_sockets();
        let mut open = Vec::new();
        for worker in self.workers() {
            let Ok(folder) = fs::read_dir(format!("/proc/{worker}/fd")) else { continue };
            for entry in folder.flatten() {
                let to = fs::read_link(entry.path()).unwrap_or_default();
                let to = to.to_string_lossy().into_owned();
                // What workers and the master process talk over; how many of them a worker knows
                // depends on when the others came and went.
                if !between.iter().any(|inode| to == format!("socket:[{inode}]")) {
                    open.push(to.split(':').next().unwrap_or_default().to_owned());
                }
            }
        }
        open.sort();
        open
    }

    /// Stops it with a signal, and checks that it went well: no bad line in the logs but such as
    /// contain one of `expected`, and no temporary file left. What was logged.
    ///
    /// # Panics
    /// If it did not.
    pub fn stop(mut self, signal: Signal, expected: &[&str]) -> String {
        self.signal(signal);
        let status = self.wait();
        let logged = self.logged();
        let bad: Vec<&str> = logged
            .lines()
            .filter(|line| BAD.iter().any(|bad| line.contains(bad)))
            .filter(|line| !expected.iter().any(|fine| line.contains(fine)))
            .collect();
        assert!(bad.is_empty(), "nginx logged:\n{}", bad.join("\n"));
        assert!(status.success(), "nginx ended: {status}\n{logged}");
        for name in ["client", "proxy"] {
            let left: Vec<PathBuf> = files(&self.folder().join(name));
            assert!(left.is_empty(), "temporary files are left: {left:?}");
        }
        logged
    }

    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("nginx has ended", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What led to it is mostly in the last lines.
            let logged = self.logged();
            let lines: Vec<&str> = logged.lines().collect();
            eprintln!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(self.pid(), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

/// The inodes of the system's unix sockets.
fn unix_sockets() -> Vec<String> {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    table.lines().filter_map(|line| line.split_whitespace().nth(6)).map(str::to_owned).collect()
}

fn is_worker(pid: &i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.starts_with("nginx: worker"))
}

/// All files under a folder.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.append(&mut files(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found
}
