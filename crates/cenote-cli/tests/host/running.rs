//! `cenote serve` as a process of its own, and waiting for what must come about.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::client::Client;

pub(crate) const CENOTE: &str = env!("CARGO_BIN_EXE_cenote");

/// A server, running. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

/// The command that serves a folder on a free port with two workers.
pub(crate) fn serve(folder: &Path) -> Command {
    serve_with(folder, "2")
}

/// The same with so many workers.
pub(crate) fn serve_with(folder: &Path, workers: &str) -> Command {
    let mut command = Command::new(CENOTE);
    command.arg("serve").arg(folder).args(["--listen", "127.0.0.1:0", "--workers", workers]);
    command
}

impl Running {
    /// Starts a server whose log is kept for [`Running::end`].
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_with_log(command, Stdio::piped())
    }

    pub(crate) fn start_with_log(command: &mut Command, log: Stdio) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the command");
        let mut stdout = BufReader::new(child.stdout.take().expect("its output"));
        let address = loop {
            let mut line = String::new();
            if stdout.read_line(&mut line).expect("a line") == 0 {
                let mut log = String::new();
                if let Some(mut stderr) = child.stderr.take() {
                    stderr.read_to_string(&mut log).expect("text");
                }
                panic!("the command ended: {:?}: {log}", child.wait());
            }
            if let Some((_, rest)) = line.split_once("files  http://") {
                break rest.trim().trim_end_matches('/').parse().expect("an address");
            }
        };
        Self { child, stdout, address }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// The next line that it says on stdout.
    pub(crate) fn says(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        line
    }

    pub(crate) fn take_log(&mut self) -> ChildStderr {
        self.child.stderr.take().expect("a log that is kept")
    }

    /// Tells it to stop, and waits: its exit code, and what it said last on stdout and stderr.
    pub(crate) fn stop(self) -> (Option<i32>, String, String) {
        self.signal(Signal::TERM);
        self.end()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> (Option<i32>, String, String) {
        let (mut said, mut log) = (String::new(), String::new());
        self.stdout.read_to_string(&mut said).expect("text");
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut log).expect("text");
        }
        (self.child.wait().expect("an end").code(), said, log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, where the test has come to its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A device that is always full.
pub(crate) fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("the device").into()
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
