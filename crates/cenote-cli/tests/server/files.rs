//! Files, as they are served when all is well.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::time::{Duration, UNIX_EPOCH};

use crate::support::{Site, noise};

#[test]
fn a_file_is_served_with_its_type_length_and_validators() {
    let site = Site::new();
    site.put("docs/hello.html", "<p>hello");
    let response = site.get("/docs/hello.html");
    assert_eq!(response.status, 200);
    assert_eq!(response.text(), "<p>hello");
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(response.header("content-length"), Some("8"));
    assert_eq!(response.header("accept-ranges"), Some("bytes"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert!(
        response.header("etag").is_some_and(|etag| etag.starts_with('"') && etag.ends_with('"'))
    );
    assert!(response.header("last-modified").is_some_and(|date| date.ends_with("GMT")));
    assert!(response.header("date").is_some());
    site.is_quiet();
}

#[test]
fn content_types_follow_the_name_and_else_the_content() {
    let site = Site::new();
    for (name, content, kind) in [
        ("a.css", &b"x"[..], "text/css; charset=utf-8"),
        ("a.js", b"x", "text/javascript; charset=utf-8"),
        ("a.json", b"{}", "application/json"),
        ("a.svg", b"<svg>", "image/svg+xml; charset=utf-8"),
        ("a.PNG", b"x", "image/png"),
        ("LICENSE", b"all rights", "text/plain; charset=utf-8"),
        ("data", b"\x00\x01\x02", "application/octet-stream"),
        ("latin1", b"caf\xe9", "application/octet-stream"),
        ("empty", b"", "text/plain; charset=utf-8"),
    ] {
        site.put(name, content);
        let response = site.get(&format!("/{name}"));
        assert_eq!(response.header("content-type"), Some(kind), "{name}");
        assert_eq!(response.body, content, "{name}");
    }
}

#[test]
fn files_of_every_size_around_the_window_are_served_byte_for_byte() {
    let site = Site::new();
    let mut client = site.client();
    for size in
        [0, 1, 511, 512, 513, 4095, 4096, 32_767, 32_768, 32_769, 65_536, 65_537, 200_000, 1 << 20]
    {
        let content = noise(size);
        site.put("file.bin", &content);
        let response = client.get("/file.bin");
        assert_eq!(response.header("content-length"), Some(size.to_string().as_str()));
        assert!(response.body == content, "a file of {size} bytes");
    }
    drop(client);
    site.is_quiet();
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let site = Site::new();
    site.put("file.txt", noise(100_000));
    site.put("empty.txt", "");
    site.put("folder/inside", "x");
    let mut client = site.client();
    for path in ["/file.txt", "/empty.txt", "/folder/", "/folder", "/missing", "/../x", "/pools"] {
        let get = client.get(path);
        let head = client.ask("HEAD", path, "");
        assert_eq!(head.status, get.status, "{path}");
        assert!(head.body.is_empty());
        if path != "/pools" {
            assert_eq!(head.headers(), get.headers(), "{path}");
        }
    }
    // Had a body been sent after all, this would read it.
    assert_eq!(client.get("/empty.txt").status, 200);
}

#[test]
fn a_client_that_has_the_file_is_not_sent_it_again() {
    let site = Site::new();
    let path = site.put("file.txt", "one");
    let mut client = site.client();
    let first = client.get("/file.txt");
    let etag = first.header("etag").expect("an etag").to_owned();
    let date = first.header("last-modified").expect("a date").to_owned();
    for condition in [
        format!("If-None-Match: {etag}\r\n"),
        format!("If-None-Match: \"other\", W/{etag}\r\n"),
        "If-None-Match: *\r\n".to_owned(),
        format!("If-Modified-Since: {date}\r\n"),
    ] {
        for method in ["GET", "HEAD"] {
            let response = client.ask(method, "/file.txt", &condition);
            assert_eq!(response.status, 304, "{condition}");
            assert_eq!(response.header("etag"), Some(etag.as_str()));
            assert_eq!(response.header("content-length"), None);
        }
    }
    assert_eq!(client.ask("GET", "/file.txt", &format!("If-Match: {etag}\r\n")).status, 200);
    assert_eq!(client.ask("GET", "/file.txt", "If-Match: \"other\"\r\n").status, 412);
    assert_eq!(
        client
            .ask("GET", "/file.txt", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
            .status,
        412
    );
    // The same length, but another time.
    std::fs::write(&path, "two").expect("a file");
    let file = std::fs::File::options().write(true).open(&path).expect("a file");
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("a new time");
    let response = client.ask("GET", "/file.txt", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((response.status, response.text()), (200, "two".to_owned()));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let site = Site::new();
    let requests: String = (0..50)
        .map(|n| {
            site.put(&format!("{n}.txt"), noise(n * 1000));
            format!("GET /{n}.txt HTTP/1.1\r\nHost: test\r\n\r\n")
        })
        .collect();
    let mut client = site.client();
    client.send(requests);
    for n in 0..50 {
        let response = client.response();
        assert_eq!(response.status, 200);
        assert!(response.body == noise(n * 1000), "response {n}");
    }
    drop(client);
    site.is_quiet();
}

#[test]
fn an_old_client_without_keep_alive_is_served_and_closed() {
    let site = Site::new();
    site.put("file.txt", "hello");
    let mut client = site.client();
    client.send("GET /file.txt HTTP/1.0\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.text()), (200, "hello".to_owned()));
    assert!(client.is_closed());
}

#[test]
fn a_client_that_shuts_its_side_after_asking_is_answered() {
    let site = Site::new();
    let content = noise(300_000);
    site.put("file.bin", &content);
    let mut client = site.client();
    client.send("GET /file.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    client.shut_write();
    assert!(client.response().body == content);
    assert!(client.is_closed());
    site.is_quiet();
}

#[test]
fn names_are_bytes_and_links_inside_are_followed() {
    let site = Site::new();
    site.put("with space & plus+.txt", "1");
    site.put("ünïcode.txt", "2");
    std::fs::write(site.root().join(std::ffi::OsStr::from_bytes(b"\xff\xfe.txt")), "3")
        .expect("a file");
    site.put("folder/target.txt", "4");
    symlink("folder/target.txt", site.path("relative")).expect("a link");
    symlink(site.path("folder/target.txt"), site.path("absolute")).expect("a link");
    symlink("folder", site.path("also")).expect("a link");
    site.put(".hidden", "5");
    for (path, content) in [
        ("/with%20space%20&%20plus+.txt", "1"),
        ("/%C3%BCn%C3%AFcode.txt", "2"),
        ("/%ff%FE.txt", "3"),
        ("/relative", "4"),
        ("/absolute", "4"),
        ("/also/target.txt", "4"),
        ("//folder/./target.txt?query=ignored", "4"),
        ("/.hidden", "5"),
        ("http://elsewhere/folder/target.txt", "4"),
    ] {
        let response = site.get(path);
        assert_eq!((response.status, response.text()), (200, content.to_owned()), "{path}");
    }
}
