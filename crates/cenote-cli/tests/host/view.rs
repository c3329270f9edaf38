//! The view when there is something to see: at a limit, and when every worker is blocked.

use std::net::SocketAddr;
use std::time::Instant;

use crate::client::Client;
use crate::running::{Running, eventually, serve};
use crate::stuck;

const PATHS: [&str; 3] = ["/pools", "/pools.json", "/metrics"];

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "content").expect("a file");
    std::fs::write(folder.path().join("large"), vec![b'x'; 20 << 20]).expect("a file");
    folder
}

/// Where it says that its view is.
fn view_of(running: &mut Running) -> SocketAddr {
    let line = running.says();
    let (_, rest) = line.split_once("pools  http://").expect("an address");
    rest.trim().trim_end_matches("/pools").parse().expect("an address")
}

/// Clients that take nothing of their downloads, until the process is at its limit.
fn fill(running: &Running) -> Vec<Client> {
    let mut holders = Vec::new();
    eventually("the process is at its limit", || {
        let mut client = running.client();
        client.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
        holders.push(client);
        running.client().get("/file").status == 503
    });
    holders
}

#[test]
fn the_view_is_not_refused_by_the_limit_that_it_shows() {
    let folder = folder();
    for view in [&[][..], &["--view", "127.0.0.1:0"]] {
        let mut command = serve(folder.path());
        let mut running = Running::start(command.args(["--process-limit", "300KiB"]).args(view));
        let address = view_of(&mut running);
        assert_eq!(address == running.address, view.is_empty());
        let holders = fill(&running);
        for path in PATHS {
            let response = Client::connect(address).get(path);
            assert_eq!(response.status, 200, "{path}");
        }
        let metrics = Client::connect(address).get("/metrics").text();
        assert!(metrics.contains("cenote_pool_limit_bytes{account=\"process\"} 307200\n"));
        // It is at its limit still.
        assert_eq!(running.client().get("/file").status, 503);
        drop(holders);
        assert_eq!(running.stop().0, Some(0));
    }
}

#[test]
fn the_view_answers_while_every_worker_is_blocked() {
    let folder = folder();
    let mut running = Running::start(serve(folder.path()).args(["--view", "127.0.0.1:0"]));
    let address = view_of(&mut running);
    assert_eq!(running.client().get("/file").status, 200);
    let held = match stuck::hold(running.id(), "worker-") {
        Ok(held) => held,
        Err(error) => return eprintln!("SKIPPED: threads cannot be held here: {error}"),
    };
    assert_eq!(held.count(), 2);
    let mut waiting = running.client();
    waiting.send("GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for path in PATHS {
        let begun = Instant::now();
        let response = Client::connect(address).get(path);
        assert_eq!(response.status, 200, "{path}");
        println!("{path} after {} ms with all workers blocked", begun.elapsed().as_millis());
        if path == "/pools.json" {
            let look: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
            assert_eq!(look["silent"].as_array().map(Vec::len), Some(2));
        }
    }
    drop(held);
    assert_eq!(waiting.response().text(), "content");
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn the_views_own_listener_has_the_view_and_nothing_else() {
    let folder = folder();
    std::fs::write(folder.path().join("pools"), "a file").expect("a file");
    let mut running = Running::start(serve(folder.path()).args(["--view", "127.0.0.1:0"]));
    let address = view_of(&mut running);
    let mut view = Client::connect(address);
    assert_eq!(view.get("/file").status, 404);
    assert_eq!(view.get("/pools").status, 200);
    assert_eq!(view.ask("POST", "/pools", "").status, 405);
    view.send("GET /pools HTTP/1.1\r\nHost: attacker.example\r\n\r\n");
    assert_eq!(view.response().status, 403);
    // And the workers' has files only.
    let mut files = running.client();
    assert_eq!(files.get("/pools").text(), "a file");
    assert_eq!(files.get("/metrics").status, 404);
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn the_view_does_not_listen_for_others_unless_asked_to() {
    let folder = folder();
    let output = serve(folder.path()).args(["--view", "0.0.0.0:0"]).output().expect("the command");
    assert_eq!(output.status.code(), Some(2));
    let line = String::from_utf8_lossy(&output.stderr);
    assert!(line.contains("which others can reach: give --expose-pools"), "{line}");
    let mut command = serve(folder.path());
    let mut running = Running::start(command.args(["--view", "0.0.0.0:0", "--expose-pools"]));
    let port = view_of(&mut running).port();
    assert_eq!(Client::connect(([127, 0, 0, 1], port).into()).get("/metrics").status, 200);
    assert_eq!(running.stop().0, Some(0));
}
