//! Requests that hyper would let pass, or would not; clocks that are set back; pipes.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, inotify, mknodat};

use crate::client::Client;
use crate::running::{Running, serve};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "content").expect("a file");
    std::fs::write(folder.path().join("empty"), "").expect("a file");
    folder
}

#[test]
fn an_answer_that_does_not_need_the_body_does_not_wait_for_it() {
    let folder = folder();
    let running = Running::start(&mut serve(folder.path()));
    for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let mut client = running.client();
        client.send(format!("GET /file HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"));
        assert_eq!(client.response().text(), "content");
        // Then comes the body, and another request.
        client.send(if framing.starts_with('C') { "hello" } else { "5\r\nhello\r\n0\r\n\r\n" });
        assert_eq!(client.get("/file").text(), "content");
        client.send(format!("POST /file HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n"));
        assert_eq!(client.response().status, 405);
    }
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn a_body_that_comes_in_drips_is_bounded_in_total() {
    let folder = folder();
    let running = Running::start(serve(folder.path()).args(["--body-timeout", "500ms"]));
    let mut client = running.client();
    client.send("POST /file HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!(client.response().status, 405);
    client.stream().set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let mut sent = 0;
    loop {
        match client.stream().read(&mut [0]) {
            Ok(0) => break,
            Ok(_) => panic!("an answer to nothing"),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                assert!(sent < 900, "a body of {sent} drips");
                // Refused only where the connection has been closed.
                sent += 1;
                if client.try_send("x").is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    assert!(sent < 900, "{sent}");
    assert_eq!(running.stop().0, Some(0));
}

/// The status of the answer to bytes as they are, and whether the connection is closed after it.
fn status(running: &Running, request: &str) -> (u16, bool) {
    let mut client = running.client();
    client.send(request);
    let response = client.response();
    let closes = response.header("connection") == Some("close");
    if closes {
        assert!(client.is_closed());
    }
    (response.status, closes)
}

#[test]
fn a_host_that_is_none_and_two_of_them_are_refused() {
    let folder = folder();
    let running = Running::start(&mut serve(folder.path()));
    for (version, hosts, expected) in [
        ("1.1", "Host: test\r\n", 200),
        ("1.1", "Host: [::1]:8080\r\n", 200),
        ("1.0", "", 200),
        ("1.0", "Host: test\r\n", 200),
        ("1.1", "", 400),
        ("1.1", "Host:\r\n", 400),
        ("1.1", "Host: a b\r\n", 400),
        ("1.1", "Host: a/b\r\n", 400),
        ("1.1", "Host: a:b\r\n", 400),
        ("1.1", "Host: user@a\r\n", 400),
        ("1.1", "Host: a\r\nHost: a\r\n", 400),
        ("1.0", "Host: a\r\nHost: b\r\n", 400),
        ("1.0", "Host: a b\r\n", 400),
    ] {
        let request = format!("GET /file HTTP/{version}\r\n{hosts}\r\n");
        assert_eq!(status(&running, &request).0, expected, "{request:?}");
    }
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn a_body_in_codings_that_nobody_knows_or_chunked_twice_is_refused() {
    let folder = folder();
    let running = Running::start(&mut serve(folder.path()));
    for (codings, expected) in [
        ("Transfer-Encoding: chunked", (200, false)),
        ("Transfer-Encoding: Chunked", (200, false)),
        ("Transfer-Encoding: chunked, chunked", (400, true)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", (400, true)),
        ("Transfer-Encoding: gzip, chunked", (501, true)),
        ("Transfer-Encoding: nonsense\r\nTransfer-Encoding: chunked", (501, true)),
    ] {
        let body = "0\r\n\r\n";
        let request = format!("GET /file HTTP/1.1\r\nHost: test\r\n{codings}\r\n\r\n{body}");
        assert_eq!(status(&running, &request), expected, "{codings}");
    }
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn a_range_of_an_empty_file_is_answered_as_by_nginx() {
    let folder = folder();
    let running = Running::start(&mut serve(folder.path()));
    let mut client = running.client();
    for (range, expected) in
        [("0-", 200), ("0-0", 200), ("-5", 200), ("5-", 416), ("5-6", 416), ("x", 200)]
    {
        let response = client.ask("GET", "/empty", &format!("Range: bytes={range}\r\n"));
        assert_eq!((response.status, response.body.len()), (expected, 0), "{range}");
    }
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn more_than_a_hundred_headers_are_fine_up_to_the_size_of_a_head() {
    let folder = folder();
    let running = Running::start(&mut serve(folder.path()));
    let mut client = running.client();
    for count in [1, 100, 101, 250, 7900, 1, 7900] {
        // Beside those that every request here has.
        let response = client.ask("GET", "/file", &"a:\r\n".repeat(count));
        assert_eq!(response.status, 200, "{count}");
    }
    assert_eq!(client.ask("GET", "/file", &"a:\r\n".repeat(8300)).status, 431);
    // The first thing that a client says, too.
    assert_eq!(running.client().ask("GET", "/file", &"a:\r\n".repeat(7900)).status, 200);
    assert_eq!(running.client().ask("GET", "/file", &"a:\r\n".repeat(8300)).status, 431);
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn a_pipe_is_never_opened() {
    let folder = folder();
    let pipe = folder.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("a pipe");
    std::os::unix::fs::symlink("pipe", folder.path().join("link")).expect("a link");
    let running = Running::start(&mut serve(folder.path()));
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).expect("a watch");
    inotify::add_watch(&watch, &pipe, inotify::WatchFlags::OPEN).expect("a watch");
    let opened = || rustix::io::read(&watch, &mut [0; 256][..]).is_ok();
    let mut client = running.client();
    for path in ["/pipe", "/link", "/pipe/", "/pipe/x"] {
        assert!(matches!(client.get(path).status, 403 | 404), "{path}");
    }
    let listing = client.get("/").text();
    assert!(listing.contains("file") && !listing.contains("pipe"), "{listing}");
    assert!(!opened());
    // It would have been seen.
    drop(File::options().read(true).write(true).open(&pipe).expect("the pipe"));
    assert!(opened());
    assert_eq!(running.stop().0, Some(0));
}

/// A library that, loaded before all others, sets the clock back by what a file says.
fn clock(folder: &Path) -> Option<std::path::PathBuf> {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(
        &source,
        r#"
        #define _GNU_SOURCE
        #include <stdio.h>
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>
        int clock_gettime(clockid_t clock, struct timespec *now) {
            int result = syscall(SYS_clock_gettime, clock, now);
            if (result == 0 && clock == CLOCK_REALTIME) {
                FILE *file = fopen(getenv("SET_BACK"), "r");
                long seconds = 0;
                if (file) {
                    if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
                    fclose(file);
                }
                now->tv_sec -= seconds;
            }
            return result;
        }
        "#,
    )
    .expect("a file");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
    match compiler.status() {
        Ok(status) if status.success() => Some(library),
        _ => None,
    }
}

#[test]
fn the_date_goes_back_with_the_clock() {
    let (folder, tools) = (folder(), tempfile::tempdir().expect("a folder"));
    let Some(library) = clock(tools.path()) else {
        return eprintln!("SKIPPED: there is no C compiler, so the clock cannot be set back");
    };
    let back = tools.path().join("back");
    let mut command = serve(folder.path());
    let running = Running::start(command.env("LD_PRELOAD", &library).env("SET_BACK", &back));
    let mut client = running.client();
    let date = |client: &mut Client| {
        let response = client.get("/file");
        let date = response.header("date").expect("a date");
        httpdate::parse_http_date(date).expect("a date")
    };
    let before = date(&mut client);
    std::fs::write(&back, "864000").expect("a file");
    let after = date(&mut client);
    let days = before.duration_since(after).expect("it went back").as_secs_f64() / 86_400.0;
    assert!((9.9..10.1).contains(&days), "{days} days");
    std::fs::write(&back, "0").expect("a file");
    assert!(date(&mut client) >= before);
    assert_eq!(running.stop().0, Some(0));
}
