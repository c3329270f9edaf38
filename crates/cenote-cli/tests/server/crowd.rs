//! Many requests from many clients, half of whom do not stay to the end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::client::Client;
use crate::support::{Site, accounts, eventually, noise};

const CLIENTS: usize = 8;
const REQUESTS: usize = 10_000;
/// Of the clients that leave, how often they come.
const VISITS: usize = 60;

#[test]
fn ten_thousand_requests_with_half_of_the_clients_leaving_midway_leave_nothing() {
    let site = Site::with(|config| {
        config.request_limit = Some(64 << 10);
        config.connection_limit = Some(128 << 10);
    });
    site.put("small.txt", "hello");
    site.put("page/index.html", noise(3000));
    site.put("list/a.txt", "x");
    site.put("medium.bin", noise(100_000));
    site.put("large.bin", noise(8 << 20));
    // One of each first, so that what the workers keep for good is there before.
    let mut warm = site.client();
    for path in ["/small.txt", "/page/", "/list/", "/medium.bin"] {
        assert_eq!(warm.get(path).status, 200);
    }
    drop(warm);
    site.is_quiet();
    let before = site.held_by("worker-0").1 + site.held_by("worker-1").1;

    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (site, done) = (&site, &done);
            scope.spawn(
                move || {
                    if client % 2 == 0 { stay(site, done) } else { leave(site, done, client) }
                },
            );
        }
    });
    assert!(done.load(Ordering::Relaxed) >= REQUESTS);
    site.is_quiet();
    assert_eq!(site.held_by("worker-0").1 + site.held_by("worker-1").1, before);
    // The process is charged in advance by each thread; an idle one gives that back.
    eventually("the process holds what its workers hold", || {
        let process = site.server().account().snapshot().merged();
        process.held_bytes == process.children.iter().map(|worker| worker.held_bytes).sum::<usize>()
    });
    let all = accounts(&site.server().account().snapshot().merged());
    let created: u64 =
        all.iter().filter(|account| account.name == "request").map(|account| account.created).sum();
    assert!(created as usize >= REQUESTS, "{created} pools for requests");
    assert_eq!(site.get("/small.txt").text(), "hello");
}

/// Asks for one thing after the other on one connection.
fn stay(site: &Site, done: &AtomicUsize) {
    let mut client = site.client();
    let each = REQUESTS / (CLIENTS / 2);
    for n in 0..each {
        let (path, status) = match n % 10 {
            0 => ("/page/", 200),
            1 => ("/list/", 200),
            2 => ("/missing", 404),
            3 => ("/page", 301),
            4 if n % 100 == 4 => ("/medium.bin", 200),
            _ => ("/small.txt", 200),
        };
        assert_eq!(client.get(path).status, status, "{path}");
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Comes and goes: in the middle of a request, of a response, or between two.
fn leave(site: &Site, done: &AtomicUsize, client: usize) {
    for n in 0..VISITS {
        let mut visitor: Client = site.client();
        for _ in 0..n % 4 {
            assert_eq!(visitor.get("/small.txt").status, 200);
            done.fetch_add(1, Ordering::Relaxed);
        }
        let download = "GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n";
        let upload = "POST /small.txt HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nabc";
        match (n + client) % 5 {
            0 => _ = visitor.send("GET /large.bin HTTP/1.1\r\nHost: te"),
            1 => visitor.send(download).read_exact(&mut [0; 10_000]),
            2 => _ = visitor.send(download),
            3 => _ = visitor.send(upload),
            _ => _ = visitor.send("GET /medium.bin HTTP/1.1\r\nHost: test\r\n\r\n".repeat(20)),
        }
    }
}
