//! The command itself: how it starts, refuses to start, and stops.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};

use crate::client::Client;
use crate::support::{eventually, noise};

const CENOTE: &str = env!("CARGO_BIN_EXE_cenote");

/// `cenote serve`, running.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command");
        let mut stdout = BufReader::new(child.stdout.take().expect("its output"));
        let address = loop {
            let mut line = String::new();
            assert_ne!(
                stdout.read_line(&mut line).expect("a line"),
                0,
                "the command ended: {:?}",
                child.wait()
            );
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.trim().trim_end_matches('/').parse().expect("an address");
            }
        };
        Self { child, stdout, address }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("it runs");
    }

    /// Its exit code, and what it said last on stdout and stderr.
    pub(crate) fn end(mut self) -> (Option<i32>, String, String) {
        let (mut said, mut log) = (String::new(), String::new());
        self.stdout.read_to_string(&mut said).expect("text");
        self.child.stderr.take().expect("its log").read_to_string(&mut log).expect("text");
        (self.child.wait().expect("an end").code(), said, log)
    }
}

pub(crate) fn serve(folder: &std::path::Path) -> Command {
    let mut command = Command::new(CENOTE);
    command.arg("serve").arg(folder).args(["--listen", "127.0.0.1:0", "--workers", "2"]);
    command
}

fn refused(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new(CENOTE).args(arguments).output().expect("the command");
    let stderr = String::from_utf8(stderr).expect("text");
    assert_eq!(status.code(), Some(2), "{arguments:?}: {stderr}");
    assert!(stdout.is_empty());
    assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    assert!(stderr.starts_with("cenote: "), "{stderr}");
    stderr
}

#[test]
fn what_cannot_be_started_is_one_line_and_exit_code_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("a file");
    let (folder, file) = (folder.path().to_str().expect("text"), file.to_str().expect("text"));
    assert!(
        refused(&["serve", "/no/such/folder"])
            .contains("/no/such/folder: No such file or directory")
    );
    assert!(refused(&["serve", file]).contains("not a folder"));
    assert!(refused(&["serve", "/no/such\nfolder"]).contains("/no/such folder"));
    for size in ["16QiB", "abc", "-1", "1.5MiB", "0", "99999999999TiB", ""] {
        let line = refused(&["serve", folder, &format!("--request-limit={size}")]);
        assert!(line.contains("--request-limit"), "{line}");
    }
    assert!(
        refused(&["serve", folder, "--listen", "nonsense"])
            .contains("`nonsense` is not an address")
    );
    assert!(refused(&["serve", folder, "--listen", "127.0.0.1"]).contains("not an address"));
    assert!(
        refused(&["serve", folder, "--listen", "192.0.2.1:0"])
            .contains("cannot listen on 192.0.2.1:0")
    );
    assert!(refused(&["serve", folder, "--workers", "0"]).contains("--workers"));
    assert!(
        refused(&["serve", folder, "--write-timeout", "soon"]).contains("`soon` is not a time")
    );
    assert!(
        refused(&["serve", folder, "--history", "100KiB"]).contains("262144 bytes is the least")
    );
    assert!(refused(&["serve", folder, "--nonsense"]).contains("--nonsense"));
    assert!(
        refused(&["serve", folder, "--listen", "127.0.0.1:0", "--process-limit", "100"])
            .contains("process is at its limit")
    );
    assert!(refused(&["nonsense"]).contains("nonsense"));
}

#[test]
fn a_limit_may_be_a_part_of_the_containers_memory_and_what_was_taken_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    for part in ["0%", "101%", "%", "half"] {
        let line = refused(&["serve", path, "--process-limit", part]);
        assert!(line.contains("--process-limit") && line.contains("expected"), "{line}");
    }
    let mut command = serve(folder.path());
    let output = command.args(["--process-limit", "25%"]).stdout(Stdio::piped()).spawn();
    let mut child = output.expect("the command");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let line = lines.find_map(|line| line.ok().filter(|line| line.contains("  limit  ")));
    let line = line.expect("it says what it took");
    child.kill().expect("it runs");
    child.wait().expect("an end");
    let memory = cenote::ContainerMemory::read().expect("this machine has some");
    assert!(line.ends_with(&format!("for all pools, of {memory}")), "{line}");
}

#[test]
fn a_port_in_use_is_refused_whoever_uses_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("an address").to_string();
    assert!(
        refused(&["serve", path, "--listen", &address]).contains(&format!("{address} is in use"))
    );
    // A server of the same kind would share the port, if it were let.
    let running = Running::start(&mut serve(folder.path()));
    let address = running.address.to_string();
    assert!(
        refused(&["serve", path, "--listen", &address]).contains(&format!("{address} is in use"))
    );
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn a_signal_stops_the_server_and_requests_in_flight_are_finished() {
    let folder = tempfile::tempdir().expect("a folder");
    let content = noise(20 << 20);
    std::fs::write(folder.path().join("large.bin"), &content).expect("a file");
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let running = Running::start(&mut serve(folder.path()));
        let mut busy = Client::connect(running.address);
        busy.send("GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n");
        let head = busy.head().expect("a response begins");
        assert_eq!(head.status, 200);
        let mut idle = Client::connect(running.address);
        assert_eq!(idle.get("/missing").status, 404);
        let mut silent = Client::connect(running.address);
        running.signal(signal);
        // It listens no more, and those who wait for nothing are let go.
        eventually("it stops listening", || std::net::TcpStream::connect(running.address).is_err());
        assert!(idle.is_closed());
        assert!(silent.is_closed());
        let mut body = vec![0; content.len()];
        busy.read_exact(&mut body);
        assert!(body == content);
        let (code, said, _) = running.end();
        assert_eq!(code, Some(0));
        assert!(said.contains("stopped; every request in flight was finished"), "{said}");
    }
}

#[test]
fn a_request_that_never_ends_is_cut_off_when_the_server_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("large.bin"), noise(20 << 20)).expect("a file");
    let running = Running::start(serve(folder.path()).args(["--stop-timeout", "200ms"]));
    let mut stuck = Client::connect(running.address);
    stuck.send("GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(stuck.head().expect("a response begins").status, 200);
    running.signal(rustix::process::Signal::TERM);
    let (code, said, _) = running.end();
    assert_eq!(code, Some(0));
    assert!(said.contains("stopped; 1 connections were cut off"), "{said}");
}

#[test]
fn each_bad_request_is_one_line_in_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.bin");
    std::fs::write(&path, noise(20 << 20)).expect("a file");
    let timeouts =
        ["--header-timeout", "300ms", "--body-timeout", "300ms", "--write-timeout", "300ms"];
    let running = Running::start(serve(folder.path()).args(timeouts));
    let connect = || Client::connect(running.address);
    assert_eq!(connect().get("/../../etc/passwd").status, 400);
    assert_eq!(connect().get("/missing").status, 404);
    assert_eq!(connect().get("/new%0aline%1b[31m").status, 404);
    assert_eq!(connect().ask("DELETE", "/", "").status, 405);
    assert_eq!(connect().ask("GET", "/", &format!("X: {}\r\n", "x".repeat(40_000))).status, 431);
    assert!(connect().send("GET / HTT").is_closed());
    connect().send("nonsense\r\n\r\n").rest();
    connect().send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nx").rest();
    connect().send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\ny");
    let mut stalled = connect();
    stalled.send("GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut shrunk = connect();
    shrunk.send("GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    shrunk.head().expect("a response begins");
    std::fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(6 << 20))
        .expect("a shorter file");
    shrunk.rest();
    eventually("all connections are gone", || {
        let text = connect().get("/pools.json").text();
        let rows: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let live = |row: &serde_json::Value| {
            let connection = row["path"]
                .as_array()
                .and_then(|path| path.last())
                .is_some_and(|name| name == "connection");
            if connection { row["live"].as_u64().unwrap_or(0) } else { 0 }
        };
        rows["accounts"].as_array().expect("rows").iter().map(live).sum::<u64>() == 1
    });
    drop(stalled);
    running.signal(rustix::process::Signal::TERM);
    let (code, _, log) = running.end();
    assert_eq!(code, Some(0));
    for (what, count) in [
        (": 400: the path has a `..`", 1),
        ("GET /missing: 404: no such file", 1),
        ("GET /new%0aline%1b[31m: 404", 1),
        ("DELETE /: 405", 1),
        (": 431: ", 1),
        ("the head of a request did not come in time", 1),
        (": 400: invalid HTTP method", 1),
        // Whatever becomes of their bodies.
        ("POST /: 405", 2),
        ("closed: the client stopped taking the response", 1),
        ("GET /large.bin: cut short: the file has shrunk", 1),
    ] {
        assert_eq!(log.matches(what).count(), count, "{what} in\n{log}");
    }
    assert_eq!(log.lines().count(), 11, "{log}");
    assert!(!log.contains('\x1b'));
}

#[test]
fn what_may_not_be_read_is_forbidden() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = folder.path().join("cenote");
    std::fs::copy(CENOTE, &command).expect("a copy that anyone can run");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("permissions");
    let site = folder.path().join("site");
    std::fs::create_dir_all(site.join("closed")).expect("a folder");
    std::fs::create_dir_all(site.join("passage")).expect("a folder");
    for name in ["secret", "closed/file", "passage/file", "open"] {
        std::fs::write(site.join(name), "x").expect("a file");
    }
    let permit =
        |name, mode| std::fs::set_permissions(site.join(name), PermissionsExt::from_mode(mode));
    permit("secret", 0o000).expect("permissions");
    permit("closed", 0o000).expect("permissions");
    permit("passage", 0o311).expect("permissions");
    let mut serve = Command::new(&command);
    serve.arg("serve").arg(&site).args(["--listen", "127.0.0.1:0", "--workers", "1"]);
    if rustix::process::geteuid().is_root() {
        // Root may read everything, so the server runs as nobody; and as the owner of nothing here.
        serve.uid(65_534).gid(65_534);
    }
    let running = Running::start(&mut serve);
    let mut client = Client::connect(running.address);
    for (path, status) in [
        ("/secret", 403),
        ("/closed/", 403),
        ("/closed/file", 403),
        ("/passage/", 403),
        ("/passage/file", 200),
        ("/open", 200),
    ] {
        assert_eq!(client.get(path).status, status, "{path}");
    }
    // So that the folder can be deleted.
    permit("closed", 0o755).expect("permissions");
    permit("passage", 0o755).expect("permissions");
    drop(client);
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn help_and_version_go_to_stdout() {
    for (arguments, text) in [
        (&["--help"][..], "serve"),
        (&["serve", "--help"], "--request-limit"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let output = Command::new(CENOTE).args(arguments).output().expect("the command");
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains(text), "{arguments:?}");
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn the_tour_is_plain_text_when_piped() {
    let output = Command::new(CENOTE).arg("tour").output().expect("the command");
    assert_eq!(output.status.code(), Some(0));
    assert!(!output.stdout.is_empty());
    assert!(!output.stdout.contains(&0x1b));
}

#[test]
fn the_log_names_the_account_of_a_request_and_tells_a_refused_charge() {
    let folder = tempfile::tempdir().expect("a folder");
    for n in 0..2000 {
        std::fs::write(folder.path().join(format!("{n:04}")), "").expect("a file");
    }
    let mut command = serve(folder.path());
    let running = Running::start(command.args(["--request-limit", "16KiB", "--log", "debug"]));
    let mut client = Client::connect(running.address);
    assert_eq!(client.get("/").status, 503);
    assert_eq!(client.get("/0001").status, 200);
    drop(client);
    running.signal(rustix::process::Signal::TERM);
    let (code, _, log) = running.end();
    assert_eq!(code, Some(0));
    let line = |part: &str| {
        log.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {log}"))
    };
    // In the span of the request, which is in that of its connection.
    let told = line("a charge was refused");
    for part in [
        "WARN",
        "connection{account=\"process/worker-",
        "request{account=\"process/worker-",
        "/connection/request\" number=1}",
        "limit_bytes=16384",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(line("GET /0001: 200").contains("/connection/request\" number=2}"));
}

/// Bytes of a process's own memory that are resident.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn resident(child: &Child) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a figure");
    let kib: usize = line.trim().strip_suffix("kB").expect("kB").trim().parse().expect("a number");
    kib << 10
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn after_a_crowd_has_left_its_memory_goes_back_to_the_system() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), noise(2000)).expect("a file");
    let running = Running::start(&mut serve(folder.path()));
    let before = resident(&running.child);
    // Fewer than the files that a process may usually have open.
    let mut crowd: Vec<_> = (0..800).map(|_| Client::connect(running.address)).collect();
    for client in &mut crowd {
        assert_eq!(client.get("/file").status, 200);
    }
    let grown = resident(&running.child) - before;
    assert!(grown > 2 << 20, "{grown} bytes for 800 connections: there is nothing to see here");
    drop(crowd);
    let mut left = 0;
    eventually("an idle server is nearly as small as it was", || {
        left = resident(&running.child).saturating_sub(before);
        left < grown / 3
    });
    println!("{grown} bytes with 800 connections, {left} when they had left");
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn completions_and_manual_pages_know_every_subcommand() {
    let run = |arguments: &[&str]| -> Output {
        Command::new(CENOTE).args(arguments).output().expect("the command")
    };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        let script = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(0), "{shell}");
        for word in ["serve", "pools", "tour", "max-connections", "leaks"] {
            assert!(script.contains(word), "{word} in {shell}'s");
        }
    }
    // The shell itself takes the script, and completes by it.
    let script = "source <(\"$0\" completions bash); COMP_WORDS=(cenote pools --ch); COMP_CWORD=2; \
                  _cenote cenote --ch pools; echo \"${COMPREPLY[@]}\"";
    let bash = Command::new("bash").args(["-c", script, CENOTE]).output().expect("bash");
    assert_eq!(String::from_utf8_lossy(&bash.stdout).trim(), "--check", "{bash:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let into = folder.path().to_str().expect("its name is text");
    assert_eq!(run(&["man", into]).status.code(), Some(0));
    for page in ["cenote.1", "cenote-serve.1", "cenote-pools.1", "cenote-tour.1"] {
        let text = std::fs::read_to_string(folder.path().join(page)).expect(page);
        assert!(text.contains(".TH") && text.contains(".SH NAME"), "{page}");
    }
    let serve = std::fs::read_to_string(folder.path().join("cenote-serve.1")).expect("a page");
    assert!(serve.contains("\\-\\-process\\-limit"), "{serve}");
    let nowhere = run(&["man", &format!("{into}/none")]);
    let said = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert_eq!((nowhere.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("/none: "), "{said}");
}
