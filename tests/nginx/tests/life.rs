//! What happens to a server in its life: reloads under load, a worker that dies, an end in a hurry.

use cenote_nginx_tests::server::Server;
use cenote_nginx_tests::site::{Addresses, Manner, Site};
use cenote_nginx_tests::tree::{Kind, build};
use cenote_nginx_tests::until;
use cenote_nginx_tests::upstream::Upstream;
use cenote_nginx_tests::wire::{Wire, ask, get};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

struct World {
    site: Site,
    upstream: Upstream,
    addresses: Addresses,
}

fn world() -> World {
    World { site: Site::new(), upstream: Upstream::start(), addresses: Addresses::free() }
}

fn start(world: &World, manner: Manner) -> Option<Server> {
    let tree = build(Kind::Cenote, TMP)?;
    let config = world.site.config(&world.addresses, &world.upstream, manner);
    Some(Server::start(&tree, &config, world.addresses.http[0], &[], &[]))
}

const KEPT: &[u8] = b"GET /small.txt HTTP/1.1\r\nHost: test\r\n\r\n";

/// Connections that are kept after a request.
fn keep(address: SocketAddr, count: usize) -> Vec<Wire> {
    let mut kept = Vec::new();
    for _ in 0..count {
        let mut wire = Wire::open(address).expect("nginx listens");
        wire.send(KEPT).expect("it is sent");
        let answer = wire.answer(false).expect("an answer");
        assert!(answer.ends_with(b"a small file\n"));
        kept.push(wire);
    }
    kept
}

/// Asks until told to stop; every answer has to be whole.
fn load(address: SocketAddr, paths: &[&str], stop: &AtomicBool, done: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        for path in paths {
            let answer = ask(address, &get(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            let text = String::from_utf8_lossy(&answer[..answer.len().min(400)]).into_owned();
            assert!(text.starts_with("HTTP/1.1 200 OK"), "{path}: {text}");
            let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if let Some(length) = length.and_then(|length| length.trim().parse::<usize>().ok()) {
                let head = text.find("\r\n\r\n").expect("a head") + 4;
                assert_eq!(answer.len(), head + length, "{path}");
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn reloads_under_load_lose_no_request_and_leave_nothing_open() {
    let world = world();
    let Some(server) = start(&world, Manner { workers: 2, ..Manner::default() }) else { return };
    let address = world.addresses.http[0];
    drop(keep(address, 4));
    // One may answer before the other has its title.
    until("both workers are there", || server.workers().len() == 2);
    let open = server.open_at_rest(address);

    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let paths = ["/small.txt", "/list/", "/proxy/chunked", "/large.bin", "/ssi/part.shtml"];
    thread::scope(|scope| {
        let loads: Vec<_> =
            (0..3).map(|_| scope.spawn(|| load(address, &paths, &stop, &done))).collect();
        let mut kept = keep(address, 200);
        for round in 0..3 {
            let before = server.workers();
            server.signal(Signal::HUP);
            until("new workers have taken over", || {
                let now = server.workers();
                now.len() >= 2 && now.iter().filter(|pid| !before.contains(pid)).count() >= 2
            });
            // Idle connections are closed by the workers that leave; a request that comes just
            // then is answered, or the connection was closed before it.
            let mut answered = 0;
            for wire in &mut kept {
                let sent = wire.send(KEPT);
                match wire.answer(false) {
                    Ok(answer) if answer.ends_with(b"a small file\n") => answered += 1,
                    Ok(answer) => assert!(answer.is_empty(), "half an answer"),
                    Err(error) => {
                        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{sent:?}");
                    }
                }
            }
            println!("reload {round}: {answered} of {} were answered once more", kept.len());
            kept = keep(address, 200);
            let more = done.load(Ordering::Relaxed) + 20;
            until("requests go on", || {
                done.load(Ordering::Relaxed) > more || loads.iter().any(|load| load.is_finished())
            });
        }
        stop.store(true, Ordering::Relaxed);
        for load in loads {
            load.join().expect("every request was answered");
        }
    });
    until("the old workers are gone", || server.workers().len() == 2);
    // The logs are opened again by new workers, and so is all else: as many as before.
    until("all descriptors are closed again", || server.open_at_rest(address) == open);
    server.stop(Signal::QUIT, &[]);
}

#[test]
fn a_worker_that_is_killed_is_replaced() {
    let world = world();
    let Some(server) = start(&world, Manner::default()) else { return };
    let address = world.addresses.http[0];
    let kept = keep(address, 50);
    for _ in 0..3 {
        let old = server.workers();
        assert_eq!(old.len(), 1);
        server.kill_worker(old[0]);
        until("another worker is there", || {
            let new = server.workers();
            new.len() == 1 && new != old
        });
        until("it answers", || {
            ask(address, &get("/small.txt")).is_ok_and(|answer| answer.ends_with(b"a small file\n"))
        });
    }
    drop(kept);
    let logged = server.stop(Signal::QUIT, &["exited on signal 9"]);
    assert_eq!(logged.matches("exited on signal 9").count(), 3);
}

#[test]
fn an_end_in_a_hurry_closes_what_is_open() {
    for signal in [Signal::TERM, Signal::INT] {
        let world = world();
        let Some(server) = start(&world, Manner::default()) else { return };
        let address = world.addresses.http[0];
        let kept = keep(address, 50);
        // Some in the middle of an answer, some in the middle of a request.
        let mut waiting = Wire::open(address).expect("nginx listens");
        waiting.send(b"GET /limited/never HTTP/1.1\r\nHost: test\r\n\r\n").expect("it is sent");
        world.upstream.arrived("never");
        let mut half = Wire::open(address).expect("nginx listens");
        half.send(b"POST /proxy/echo HTTP/1.1\r\nHost: test\r\nContent-Length: 9000\r\n\r\nabc")
            .expect("it is sent");
        server.stop(signal, &[]);
        drop((kept, half));
        world.upstream.open("never");
        assert!(waiting.rest().unwrap_or_default().is_empty());
    }
}
