//! More clients than there are descriptors, connections or memory for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::running::{CENOTE, Running, eventually, serve};

/// The server under a limit of the shell's.
fn limited(folder: &Path, limit: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("{limit} && exec \"$0\" \"$@\"")).arg(CENOTE);
    command.arg("serve").arg(folder).args(["--listen", "127.0.0.1:0", "--workers", "2"]);
    command
}

/// A folder with a file, and a large one.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "content").expect("a file");
    std::fs::write(folder.path().join("large"), vec![b'x'; 20 << 20]).expect("a file");
    folder
}

/// As many files may be open here as the system lets be.
fn raise_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("it may be raised");
}

#[test]
fn where_descriptors_end_idle_clients_go_and_ordinary_requests_are_answered() {
    raise_files();
    let folder = folder();
    let mut running = Running::start(&mut limited(folder.path(), "ulimit -n 64"));
    let log = running.take_log();
    // Half of them say nothing at all.
    let mut crowd: Vec<TcpStream> = Vec::new();
    for n in 0..500 {
        let mut client = TcpStream::connect(running.address).expect("the kernel listens");
        if n % 2 == 0 {
            client.write_all(b"GET /file HTTP/1.1\r\nHost: test\r\n\r\n").expect("room");
        }
        crowd.push(client);
    }
    for _ in 0..60 {
        assert_eq!(running.client().get("/file").text(), "content");
    }
    // Those who asked were answered, too, before they were closed.
    for (n, client) in crowd.iter_mut().enumerate().filter(|(n, _)| n % 2 == 0) {
        let mut status = [0; 12];
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        client.read_exact(&mut status).unwrap_or_else(|error| panic!("client {n}: {error}"));
        assert_eq!(&status, b"HTTP/1.1 200");
    }
    drop(crowd);
    assert_eq!(running.stop().0, Some(0));
    let log = std::io::read_to_string(log).expect("text");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("for a new one, the one that is idle for longest is closed"), "{log}");
}

#[test]
fn an_idle_connection_costs_little_more_than_its_account() {
    const CROWD: usize = 2000;
    raise_files();
    let folder = folder();
    let running = Running::start(serve(folder.path()).args(["--park-after", "1s"]));
    let begin = || {
        let mut client = running.client();
        assert_eq!(client.get("/file").text(), "content");
        client
    };
    let before = own_memory(&running);
    let mut crowd: Vec<_> = (0..CROWD).map(|_| begin()).collect();
    // Once they are parked, with what the first one needs for all. Before that it is 15,000 each; with
    // one object each that `malloc` had put between hyper's buffers, it was 5,500.
    let most = 2000;
    let each = || own_memory(&running).saturating_sub(before) / CROWD;
    eventually(&format!("{} bytes each are at most {most}", each()), || each() <= most);
    // They are all there.
    for client in &mut crowd {
        assert_eq!(client.get("/file").text(), "content");
    }
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn the_connection_that_is_idle_for_longest_makes_room() {
    longest_idle_makes_room(&["--max-connections", "3"]);
}

#[test]
fn the_connection_that_is_parked_for_longest_makes_room() {
    longest_idle_makes_room(&["--max-connections", "3", "--park-after", "1ms"]);
}

fn longest_idle_makes_room(options: &[&str]) {
    let folder = folder();
    let running = Running::start(serve(folder.path()).args(options));
    let mut clients: Vec<_> = (0..3).map(|_| running.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/file").status, 200);
    }
    assert_eq!(clients[0].get("/file").status, 200);
    let mut more = running.client();
    assert_eq!(more.get("/file").status, 200);
    assert!(clients[1].is_closed());
    for client in [0, 2] {
        assert_eq!(clients[client].get("/file").status, 200, "{client}");
    }
    assert_eq!(more.get("/file").status, 200);
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn connections_that_are_busy_stay_and_new_ones_wait_for_them() {
    let folder = folder();
    let running = Running::start(serve(folder.path()).args(["--max-connections", "2"]));
    let mut downloads: Vec<_> = (0..2).map(|_| running.client()).collect();
    for client in &mut downloads {
        client.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(client.head().expect("a response begins").status, 200);
    }
    let mut waiting = running.client();
    waiting.send("GET /file HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut body = vec![0; 20 << 20];
    for client in &mut downloads {
        client.read_exact(&mut body);
        assert!(body.iter().all(|&byte| byte == b'x'));
    }
    assert_eq!(waiting.response().text(), "content");
    assert_eq!(running.stop().0, Some(0));
}

fn own_memory(running: &Running) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.id()));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a figure");
    let kib: usize = line.trim().strip_suffix("kB").expect("kB").trim().parse().expect("a number");
    kib << 10
}

/// Clients that each ask for the file and stay; returns them, and how many were answered with it.
fn crowd(running: &Running, size: usize) -> (Vec<TcpStream>, usize) {
    const AT_ONCE: usize = 50;
    let (mut clients, mut served): (Vec<TcpStream>, usize) = (Vec::new(), 0);
    while clients.len() < size {
        let before = clients.len();
        for _ in before..size.min(before + AT_ONCE) {
            let mut client = TcpStream::connect(running.address).expect("the kernel listens");
            client.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
            // One that is refused may find the connection reset.
            let _ = client.write_all(b"GET /file HTTP/1.1\r\nHost: test\r\n\r\n");
            clients.push(client);
        }
        for client in &mut clients[before..] {
            let mut status = [0; 12];
            if client.read_exact(&mut status).is_ok() {
                assert!(matches!(&status, b"HTTP/1.1 200" | b"HTTP/1.1 503"));
                served += usize::from(&status == b"HTTP/1.1 200");
            }
        }
    }
    (clients, served)
}

#[test]
fn a_process_at_its_bound_of_memory_refuses_clients_and_recovers() {
    raise_files();
    let folder = folder();
    let mut running = Running::start(serve(folder.path()).args(["--memory-limit", "16MiB"]));
    let log = running.take_log();
    let (clients, served) = crowd(&running, 4000);
    let memory = own_memory(&running);
    println!("16 MiB, 4,000 clients: {served} served, {memory} bytes at the end");
    assert!(served >= 500, "{served}");
    assert!(memory < 20 << 20, "{memory}");
    drop(clients);
    eventually("clients are served again", || crowd(&running, 1).1 == 1);
    assert_eq!(running.stop().0, Some(0));
    let log = std::io::read_to_string(log).expect("text");
    assert_eq!(log.matches("new ones refused").count(), 1, "{log}");
}

#[test]
fn where_the_address_space_ends_the_process_does_not() {
    raise_files();
    let folder = folder();
    // The C library's arenas, one for each thread, would take most of it by themselves.
    let mut command = limited(folder.path(), "ulimit -v 90000");
    let running = Running::start(command.env("MALLOC_ARENA_MAX", "1"));
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let size = 6000.min(usize::try_from(most).unwrap_or(usize::MAX) - 500);
    let (clients, served) = crowd(&running, size);
    println!("90,000 KiB of address space, {size} clients: {served} served");
    assert!(served >= 500, "{served}");
    drop(clients);
    eventually("clients are served again", || crowd(&running, 1).1 == 1);
    assert_eq!(running.stop().0, Some(0));
}
