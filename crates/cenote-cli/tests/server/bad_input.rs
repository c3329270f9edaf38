//! Clients that send nonsense, too much, too little or nothing: the right status, and nothing left
//! behind.

use std::io::Read;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::{Site, eventually, noise};

/// A server with little patience.
fn hasty() -> Site {
    Site::with(|config| {
        config.timeouts.header = Duration::from_millis(300);
        config.timeouts.body = Duration::from_millis(300);
        config.timeouts.write = Duration::from_millis(300);
    })
}

#[test]
fn paths_out_of_the_folder_and_paths_that_are_none_are_refused() {
    let site = Site::new();
    site.put("folder/file", "x");
    let mut client = site.client();
    for path in [
        "/../etc/passwd",
        "/folder/../../etc/passwd",
        "/folder/../folder/file",
        "/%2e%2e/etc/passwd",
        "/%2E./etc/passwd",
        "/..%2fetc/passwd",
        "/folder%2ffile",
        "/folder/..",
        "/file%00.txt",
        "/%",
        "/%f",
        "/%zz",
    ] {
        let response = client.get(path);
        assert_eq!(response.status, 400, "{path}");
        assert!(response.text().starts_with("400 Bad Request\n"), "{path}");
    }
    // A backslash is a character like others here.
    assert_eq!(client.get("/..\\..\\etc\\passwd").status, 404);
    assert_eq!(client.get("/folder/file").status, 200);
    drop(client);
    site.is_quiet();
}

#[test]
fn what_is_over_long_is_refused() {
    let site = Site::new();
    let mut client = site.client();
    assert_eq!(client.get(&format!("/{}", "a".repeat(300))).status, 414);
    assert_eq!(client.get(&format!("/{}", "a/".repeat(5000))).status, 414);
    assert_eq!(client.get("/missing").status, 404);
    // A head that is too large ends the connection, but the answer arrives.
    let response = client.ask("GET", "/", &format!("X-Large: {}\r\n", "x".repeat(100_000)));
    assert_eq!(response.status, 431);
    assert!(client.is_closed());
    let many: String = (0..4000).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert_eq!(site.client().ask("GET", "/", &many).status, 431);
    site.is_quiet();
}

#[test]
fn what_is_not_http_is_refused() {
    let site = Site::new();
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        let mut client = site.client();
        client.send(format!("GET / HTTP/1.1\r\n{hosts}\r\n"));
        assert_eq!(client.response().status, 400, "{hosts}");
    }
    for nonsense in [
        "hello\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "GET / HTTP/1.1\r\n: x\r\n\r\n",
    ] {
        let mut client = site.client();
        client.send(nonsense);
        assert_eq!(client.response().status, 400, "{nonsense:?}");
        assert!(client.is_closed());
    }
    site.is_quiet();
}

#[test]
fn other_methods_are_told_which_there_are() {
    let site = Site::new();
    site.put("file", "x");
    let mut client = site.client();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "NONSENSE"] {
        let response = client.ask(method, "/file", "");
        assert_eq!(response.status, 405, "{method}");
        assert_eq!(response.header("allow"), Some("GET, HEAD"));
    }
    assert_eq!(client.get("/file").status, 200);
    assert_eq!(site.client().ask("OPTIONS", "*", "").status, 405);
}

#[test]
fn links_out_of_the_folder_pipes_and_devices_are_refused() {
    let site = Site::new();
    symlink("/etc/passwd", site.path("out")).expect("a link");
    symlink("/etc", site.path("outdir")).expect("a link");
    symlink("loop", site.path("loop")).expect("a link");
    symlink("/dev/zero", site.path("zero")).expect("a link");
    mknodat(CWD, site.path("pipe"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("a pipe");
    let _socket = std::os::unix::net::UnixListener::bind(site.path("socket")).expect("a socket");
    let mut client = site.client();
    for path in
        ["/out", "/outdir", "/outdir/", "/outdir/passwd", "/loop", "/zero", "/pipe", "/socket"]
    {
        assert_eq!(client.get(path).status, 403, "{path}");
    }
    drop(client);
    site.is_quiet();
}

#[test]
fn a_short_body_is_dropped_and_the_connection_kept() {
    let site = Site::new();
    site.put("file", "x");
    let mut client = site.client();
    client.send("GET /file HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.response().status, 200);
    client.send(
        "POST /file HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n",
    );
    assert_eq!(client.response().status, 405);
    assert_eq!(client.get("/file").status, 200);
    drop(client);
    site.is_quiet();
}

#[test]
fn a_body_nobody_reads_is_answered_and_the_connection_closed() {
    let site = Site::new();
    site.put("file", "x");
    let mut client = site.client();
    client.send("POST /file HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\r\n");
    // Until the server has had enough; then the answer must still be there to be read.
    let block = vec![b'x'; 10_000];
    for _ in 0..12 {
        if client.try_send(&block).is_err() {
            break;
        }
    }
    let response = client.response();
    assert_eq!(response.status, 405);
    assert_eq!(response.header("connection"), Some("close"));
    assert!(client.is_closed());
    // A client that asks first is told without sending it.
    let mut client = site.client();
    client.send(
        "PUT /file HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\
         Expect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.response().status, 405);
    site.is_quiet();
}

#[test]
fn a_body_that_is_malformed_or_does_not_come_ends_the_connection() {
    let site = hasty();
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n");
    assert_eq!(client.response().status, 405);
    assert!(client.is_closed());
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhel");
    assert_eq!(client.response().status, 405);
    assert!(client.is_closed());
    // One that leaves in the middle of its own body.
    let mut client = site.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhel");
    drop(client);
    site.is_quiet();
}

#[test]
fn a_client_that_is_slow_to_ask_is_closed() {
    let site = hasty();
    site.put("file", "x");
    for beginning in ["", "GET /file HT", "GET /file HTTP/1.1\r\nHost: te"] {
        let mut client = site.client();
        client.send(beginning);
        assert!(client.is_closed(), "{beginning:?}");
    }
    // Also after a first request.
    let mut client = site.client();
    assert_eq!(client.get("/file").status, 200);
    client.send("GET /fi");
    assert!(client.is_closed());
    site.is_quiet();
}

#[test]
fn a_client_that_stops_reading_is_closed_and_its_memory_freed() {
    let site = hasty();
    site.put("large.bin", noise(20 << 20));
    let mut client = site.client();
    client.send("GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually("the request is being served", || site.held_by("request").0 == 1);
    // Without having read a byte, and with the socket still open:
    site.is_quiet();
    assert!(client.rest().len() < 20 << 20);
}

#[test]
fn an_aborted_download_leaves_nothing() {
    let site = Site::new();
    site.put("large.bin", noise(20 << 20));
    for _ in 0..10 {
        let mut client = site.client();
        client.send("GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n");
        let mut part = [0; 100_000];
        client.read_exact(&mut part);
        assert_eq!(site.held_by("request").0, 1);
        drop(client);
        site.is_quiet();
    }
    assert!(site.get("/large.bin").body.len() == 20 << 20);
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_the_connection() {
    let site = Site::new();
    let path = site.put("large.bin", noise(20 << 20));
    let mut client = site.client();
    client.send("GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut part = [0; 1000];
    client.read_exact(&mut part);
    let file = std::fs::File::options().write(true).open(&path).expect("a file");
    file.set_len(1 << 20).expect("a shorter file");
    // What was promised does not come, and the client can tell: the connection ends before.
    assert!(client.rest().len() < 20 << 20);
    site.is_quiet();
    assert_eq!(site.get("/large.bin").body.len(), 1 << 20);
}

#[test]
fn a_file_that_grows_while_it_is_sent_has_the_length_it_had() {
    let site = Site::new();
    let content = noise(8 << 20);
    let path = site.put("large.bin", &content);
    let mut client = site.client();
    client.send("GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = client.head().expect("a head");
    assert_eq!(head.header("content-length"), Some("8388608"));
    let mut file = std::fs::File::options().append(true).open(&path).expect("a file");
    std::io::Write::write_all(&mut file, b"more").expect("more");
    let mut body = vec![0; 8 << 20];
    client.read_exact(&mut body);
    assert!(body == content);
    assert_eq!(client.get("/large.bin").body.len(), (8 << 20) + 4);
}

#[test]
fn many_silent_clients_do_not_keep_others_waiting() {
    let site = Site::with(|config| config.workers = 1);
    site.put("file", "x");
    let silent: Vec<_> = (0..200)
        .map(|n| {
            let mut client = site.client();
            client.send(&"GET /file HTTP/1.1\r\n"[..n % 20]);
            client
        })
        .collect();
    let begun = Instant::now();
    assert_eq!(site.get("/file").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(5));
    eventually("all are connected", || site.held_by("connection").0 >= 200);
    drop(silent);
    site.is_quiet();
}

#[test]
fn bytes_after_a_request_that_closes_do_not_reset_its_answer() {
    let site = Site::new();
    let content = noise(200_000);
    site.put("file.bin", &content);
    let mut client = site.client();
    client.send("GET /file.bin HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    client.send(noise(50_000));
    assert!(client.response().body == content);
    let mut end = [0; 1];
    assert!(matches!(client.stream().read(&mut end), Ok(0)));
}
