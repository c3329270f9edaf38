//! Parts of files.

use crate::support::{Site, noise};

#[test]
fn a_part_of_a_file_is_served() {
    let site = Site::new();
    let content = noise(100_000);
    site.put("file.bin", &content);
    let mut client = site.client();
    for (range, start, end) in [
        ("0-0", 0, 1),
        ("0-99", 0, 100),
        ("99999-", 99_999, 100_000),
        ("10-5000000", 10, 100_000),
        ("-1", 99_999, 100_000),
        ("-1000000", 0, 100_000),
        ("30000-70000", 30_000, 70_001),
    ] {
        let response = client.ask("GET", "/file.bin", &format!("Range: bytes={range}\r\n"));
        assert_eq!(response.status, 206, "{range}");
        let extent = format!("bytes {start}-{}/100000", end - 1);
        assert_eq!(response.header("content-range"), Some(extent.as_str()));
        assert!(response.body == content[start..end], "{range}");
    }
}

#[test]
fn a_part_that_the_file_does_not_have_is_refused_with_its_size() {
    let site = Site::new();
    site.put("file.bin", noise(100));
    site.put("empty", "");
    let mut client = site.client();
    for (path, range, size) in
        [("/file.bin", "100-", 100), ("/file.bin", "-0", 100), ("/empty", "5-", 0)]
    {
        let response = client.ask("GET", path, &format!("Range: bytes={range}\r\n"));
        assert_eq!(response.status, 416, "{range}");
        assert_eq!(response.header("content-range"), Some(format!("bytes */{size}").as_str()));
    }
    assert_eq!(client.get("/file.bin").status, 200);
}

#[test]
fn a_range_that_makes_no_sense_or_is_not_for_get_is_ignored() {
    let site = Site::new();
    site.put("file.bin", noise(100));
    let mut client = site.client();
    for range in ["bytes=5-4", "bytes=x", "pages=1-2", "bytes", "bytes=0-,0-,0-"] {
        assert_eq!(
            client.ask("GET", "/file.bin", &format!("Range: {range}\r\n")).status,
            200,
            "{range}"
        );
    }
    assert_eq!(client.ask("HEAD", "/file.bin", "Range: bytes=0-1\r\n").status, 200);
}

#[test]
fn several_parts_come_as_multipart() {
    let site = Site::new();
    let content = noise(100_000);
    site.put("file.bin", &content);
    let mut client = site.client();
    let response = client.ask("GET", "/file.bin", "Range: bytes=0-9,50000-89999,-10\r\n");
    assert_eq!(response.status, 206);
    let kind = response.header("content-type").expect("a type").to_owned();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect("a boundary");
    let mut expected = Vec::new();
    for (n, (start, end)) in [(0, 10), (50_000, 90_000), (99_990, 100_000)].into_iter().enumerate()
    {
        let line = if n == 0 { "" } else { "\r\n" };
        expected.extend_from_slice(
            format!(
                "{line}--{boundary}\r\nContent-Type: application/octet-stream\r\n\
                 Content-Range: bytes {start}-{}/100000\r\n\r\n",
                end - 1
            )
            .as_bytes(),
        );
        expected.extend_from_slice(&content[start..end]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(response.body == expected);
    // One that remains of several is an ordinary part.
    let response = client.ask("GET", "/file.bin", "Range: bytes=5-6,100000-\r\n");
    assert_eq!(response.header("content-range"), Some("bytes 5-6/100000"));
    drop(client);
    site.is_quiet();
}

#[test]
fn if_range_sends_the_whole_file_when_it_has_changed() {
    let site = Site::new();
    site.put("file.bin", noise(100));
    let mut client = site.client();
    let first = client.get("/file.bin");
    let etag = first.header("etag").expect("an etag");
    let date = first.header("last-modified").expect("a date");
    for (condition, status) in [
        (etag, 206),
        (date, 206),
        ("\"other\"", 200),
        ("W/\"other\"", 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 200),
    ] {
        let response = client.ask(
            "GET",
            "/file.bin",
            &format!("Range: bytes=0-4\r\nIf-Range: {condition}\r\n"),
        );
        assert_eq!(response.status, status, "{condition}");
    }
}
