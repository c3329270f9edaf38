//! What a service manager does: sockets that are handed over, being told of readiness, and the units
//! that are shipped.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use socket2::SockRef;

use crate::client::Client;
use crate::running::{CENOTE, Running, eventually, serve};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "content").expect("a file");
    folder
}

/// The server with a socket as a manager hands it over, and one for the view if there is one (in
/// the place of its log).
fn handed(folder: &Path, files: &TcpListener, view: Option<&TcpListener>) -> Running {
    let mut command = Command::new("/bin/sh");
    let (count, names, sockets) = match view {
        Some(_) => (2, "files:view", "3<&0 4<&2 2>/dev/null"),
        None => (1, "files", "3<&0"),
    };
    command.arg("-c").arg(format!(
        "exec {sockets} </dev/null && LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names} \
         exec \"$0\" \"$@\""
    ));
    command.arg(CENOTE).arg("serve").arg(folder).args([
        "--listen",
        "127.0.0.1:1",
        "--workers",
        "2",
    ]);
    let socket = |listener: &TcpListener| {
        Stdio::from(OwnedFd::from(listener.try_clone().expect("another handle")))
    };
    command.stdin(socket(files));
    Running::start_with_log(&mut command, view.map_or(Stdio::piped(), socket))
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

#[test]
fn sockets_that_are_handed_over_are_served() {
    let folder = folder();
    let ((files, address), (view, view_address)) = (listener(), listener());
    // One who came before the server was there.
    let mut early = Client::connect(address);
    early.send("GET /file HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut running = handed(folder.path(), &files, Some(&view));
    assert_eq!(running.address, address);
    assert_eq!(running.says(), format!("  pools  http://{view_address}/pools\n"));
    assert_eq!(early.response().text(), "content");
    for _ in 0..10 {
        assert_eq!(running.client().get("/file").text(), "content");
    }
    let metrics = Client::connect(view_address).get("/metrics");
    assert!(metrics.text().contains("cenote_pools_live"));
    assert_eq!(running.stop().0, Some(0));
    // It is not the server's to close: who comes now is kept for the next one.
    drop(TcpStream::connect(address).expect("the manager still listens"));
}

#[test]
fn a_worker_whose_listener_breaks_ends_the_process_with_a_last_word() {
    let folder = folder();
    let (files, _) = listener();
    let running = handed(folder.path(), &files, None);
    let mut client = running.client();
    assert_eq!(client.get("/file").text(), "content");
    // Who handed it over shuts it down: it accepts nobody any more.
    SockRef::from(&files).shutdown(Shutdown::Read).expect("it listens");
    let (code, said, log) = running.end();
    assert_eq!(code, Some(1));
    assert!(client.is_closed());
    assert!(said.contains("every request in flight was finished"), "{said}");
    assert!(log.contains("cannot accept connections any more: Invalid argument"), "{log}");
    let last = log.lines().last().expect("a last word");
    assert!(last.starts_with("cenote: stopped because worker-"), "{last}");
    assert!(last.ends_with(" ended by itself"), "{last}");
}

#[test]
fn a_manager_is_told_when_the_server_is_ready_and_when_it_stops() {
    let (folder, runtime) = (folder(), tempfile::tempdir().expect("a folder"));
    let path = runtime.path().join("notify");
    let name = format!("cenote-test-{}", std::process::id());
    let named = UnixAddress::from_abstract_name(&name).expect("a name");
    for (manager, address) in [
        (UnixDatagram::bind(&path), path.to_str().expect("text").to_owned()),
        (UnixDatagram::bind_addr(&named), format!("@{name}")),
    ] {
        let manager = manager.expect("a socket");
        manager.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let heard = || {
            let mut text = [0; 256];
            let length = manager.recv(&mut text).expect("a word");
            String::from_utf8_lossy(&text[..length]).into_owned()
        };
        let running = Running::start(serve(folder.path()).env("NOTIFY_SOCKET", &address));
        assert!(heard().starts_with("READY=1\n"));
        // It is true.
        assert_eq!(running.client().get("/file").status, 200);
        assert_eq!(running.stop().0, Some(0));
        assert_eq!(heard(), "STOPPING=1");
    }
}

/// The shipped units, with the command where it is here.
fn units(into: &Path) {
    for name in ["cenote.service", "cenote.socket"] {
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ops").join(name);
        let unit =
            std::fs::read_to_string(unit).expect("a unit").replace("/usr/bin/cenote", CENOTE);
        std::fs::write(into.join(name), unit).expect("a file");
    }
}

/// Whether a tool of systemd's is here.
fn there_is(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok_and(|out| out.status.success());
    if !found {
        eprintln!("SKIPPED: there is no {tool} here (Debian's package systemd has it)");
    }
    found
}

#[test]
fn the_shipped_units_are_sound_and_leave_the_server_little() {
    let folder = tempfile::tempdir().expect("a folder");
    units(folder.path());
    if !there_is("systemd-analyze") {
        return;
    }
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze")
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .expect("systemd-analyze");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let (sound, text) = analyze(&["verify", "./cenote.service", "./cenote.socket"]);
    let ours = text.lines().filter(|line| line.contains("cenote")).count();
    assert!(sound && ours == 0, "{text}");
    // Of ten, less is better; most services of a distribution have more than nine.
    let arguments = ["security", "--offline=true", "--no-pager", "--threshold=15"];
    let (little, text) = analyze(&[&arguments[..], &["./cenote.service"]].concat());
    if text.contains("unrecognized option") {
        return eprintln!("SKIPPED: this systemd-analyze cannot rate a unit that is not loaded");
    }
    assert!(little, "{text}");
}

#[test]
fn systemd_s_own_tool_starts_it_on_its_socket() {
    if !there_is("systemd-socket-activate") {
        return;
    }
    let folder = folder();
    // Free a moment ago.
    let address = listener().1;
    let mut command = Command::new("systemd-socket-activate");
    command.args(["--listen", &address.to_string(), CENOTE, "serve"]).arg(folder.path());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the tool");
    eventually("the tool listens", || TcpStream::connect(address).is_ok());
    let mut client = Client::connect(address);
    assert_eq!(client.get("/file").text(), "content");
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
    assert!(client.is_closed());
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}
