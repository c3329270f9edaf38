//! What both nginx are asked, and must answer alike, byte for byte.

pub mod http2;

use crate::site::Addresses;
use crate::upstream::Upstream;
use crate::wire::{Wire, ask, get, timeless};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// What came back: the name of the question, and the answer.
pub type Answers = Vec<(String, Vec<u8>)>;

/// Asks everything, at a server's every address.
///
/// # Panics
/// If there is no answer at all.
#[must_use]
pub fn all(addresses: &Addresses, upstream: &Upstream, run: &str) -> Answers {
    let mut answers = Answers::new();
    for (index, address) in addresses.http.iter().enumerate() {
        let mut told = |name: &str, answer: Vec<u8>| {
            answers.push((format!("{name} (pools {index})"), timeless(&answer)));
        };
        single(*address, &mut told);
        kept(*address, &mut told);
        limited(*address, upstream, &format!("{run}-{index}"), &mut told);
        for (name, answer) in http2::ask(*address) {
            told(&name, answer);
        }
    }
    answers.extend(stream(addresses));
    answers
}

/// A request of the given head lines and body, which closes.
fn request(line: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// A body in chunks of so many bytes.
fn chunked(body: &[u8], each: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(each) {
        out.extend_from_slice(format!("{:x};ext=1\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
    out
}

/// One request on each connection.
fn single(address: SocketAddr, told: &mut impl FnMut(&str, Vec<u8>)) {
    let mut asked = |name: &str, request: &[u8]| {
        let answer = ask(address, request).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!answer.is_empty(), "{name}: no answer");
        told(name, answer);
    };
    for path in [
        "/",
        "/small.txt",
        "/empty.txt",
        "/large.bin",
        "/missing",
        "/forbidden/",
        "/list",
        "/list/",
        "/json/",
        "/list/deep/",
        "/list/a%20file%20called%2007%20%3C%26%3E.txt",
        "/ssi/page.shtml?q=1",
        "/ssi/part.shtml",
        "/add/page.html",
        "/sub/small.txt",
        "/sub/large.bin",
        "/proxy/echo",
        "/proxy/chunked",
        "/proxy/unbounded",
        "/proxy/big",
        "/proxy/broken",
        "/proxy/nonsense",
        "/proxy/error",
        "/proxy11/chunked",
        "/proxy11/big",
        "/proxydisk/big",
        "/proxydisk/unbounded",
        "/proxymany/",
        "/proxysmall/",
        "/dead/",
        "/cached/one",
        "/cached/one",
        "/cached/big",
        "/cached/big",
        "/slow/small.txt",
        "/slow/small.txt",
        "/../escape",
        "/%zz",
        "//list//deep/./er/../er/file",
    ] {
        asked(&format!("GET {path}"), &get(path));
    }
    for range in [
        "bytes=0-0",
        "bytes=5-",
        "bytes=-7",
        "bytes=0-1,3-4,7-7",
        "bytes=9999999-",
        "bytes=x",
        "bytes=100-2000000",
        "bytes=0-99999999",
        "bytes=1-2,999999-1000999",
    ] {
        for path in ["/small.txt", "/large.bin", "/proxy/big", "/cached/big"] {
            let name = format!("GET {path}, range {range}");
            // The boundary of several parts is a number that nginx counts up.
            asked(&name, &request(&format!("GET {path}"), &[("Range", range)], b""));
        }
    }
    let time = "Tue, 14 Nov 2023 22:13:20 GMT";
    for (name, header, value) in [
        ("not modified", "If-Modified-Since", time),
        ("modified", "If-Modified-Since", "Tue, 14 Nov 2000 22:13:20 GMT"),
        ("unmodified", "If-Unmodified-Since", "Tue, 14 Nov 2000 22:13:20 GMT"),
        ("no match", "If-None-Match", "\"x\", \"6553f100-d\""),
        ("match", "If-Match", "\"x\""),
        ("if range", "If-Range", time),
    ] {
        let headers = [(header, value), ("Range", "bytes=1-3")];
        asked(name, &request("GET /small.txt", &headers, b""));
    }
    asked("HEAD", &request("HEAD /large.bin", &[], b""));
    asked("POST to a file", &request("POST /small.txt", &[("Content-Length", "3")], b"abc"));
    asked("PUT", &request("PUT /small.txt", &[("Content-Length", "0")], b""));
    asked("OPTIONS", &request("OPTIONS *", &[], b""));
    asked("HTTP/1.0", b"GET /proxy/chunked HTTP/1.0\r\nHost: test\r\n\r\n");
    asked("HTTP/0.9", b"GET /small.txt\r\n");
    asked("no host", b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    asked("bad method", b"get / HTTP/1.1\r\n\r\n");
    asked("bad version", b"GET / HTTP/7.1\r\nHost: a\r\n\r\n");
    asked("bad header", b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n");
    asked(
        "expect",
        &request(
            "POST /proxy/echo",
            &[("Expect", "100-continue"), ("Content-Length", "4")],
            b"body",
        ),
    );
    asked("realip", &request("GET /ssi/page.shtml", &[("X-Real-IP", "192.0.2.77")], b""));
    asked("realip, proxied", &request("GET /proxy11/echo", &[("X-Real-IP", "2001:db8::7")], b""));

    // Bodies in memory, in a buffer that is just full, on disk, and beyond the limit.
    for size in [0_usize, 1, 1023, 1024, 1025, 20_000, 1 << 20] {
        let body: Vec<u8> = (0..size).map(|n| b'a' + (n % 23) as u8).collect();
        let length = size.to_string();
        for path in ["/proxy/echo", "/proxy11/echo", "/proxydisk/echo"] {
            let line = format!("POST {path}");
            let whole = request(&line, &[("Content-Length", &length)], &body);
            asked(&format!("{line}, {size} bytes"), &whole);
            let parts = request(&line, &[("Transfer-Encoding", "chunked")], &chunked(&body, 777));
            asked(&format!("{line}, {size} bytes in chunks"), &parts);
        }
    }
    let headers = [("Content-Length", "999999999")];
    asked("too large a body", &request("POST /proxy/echo", &headers, b""));
    let broken = request("POST /proxy/echo", &[("Transfer-Encoding", "chunked")], b"zz\r\n");
    asked("a chunk without size", &broken);

    // Heads that need more and larger buffers, up to those for which there are none.
    for size in [10_usize, 200, 255, 256, 257, 1000, 1900, 2040, 2100, 5000, 9000] {
        let value = "h".repeat(size);
        let headers = [("X-Big", value.as_str()), ("X-Next", "n")];
        asked(&format!("a header of {size}"), &request("GET /proxy11/echo", &headers, b""));
        let line = format!("GET /small.txt?{}", "q".repeat(size));
        asked(&format!("a line of {size}"), &request(&line, &[], b""));
    }
    for count in [1_usize, 20, 100, 300] {
        let names: Vec<(String, String)> =
            (0..count).map(|n| (format!("X-Header-{n}"), "v".repeat(n % 40))).collect();
        let headers: Vec<(&str, &str)> =
            names.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        asked(&format!("{count} headers"), &request("GET /proxy/echo", &headers, b""));
    }
}

/// Several requests on one connection, one after the other and at once.
fn kept(address: SocketAddr, told: &mut impl FnMut(&str, Vec<u8>)) {
    let paths = [
        "/small.txt",
        "/list/",
        "/missing",
        "/large.bin",
        "/proxy/echo",
        "/ssi/page.shtml",
        "/proxy/chunked",
        "/empty.txt",
        "/proxymany/",
    ];
    let mut wire = Wire::open(address).expect("nginx listens");
    for round in 0..3 {
        for path in paths {
            // In pieces, so that nginx has to come back for the rest of the head.
            let line = format!("GET {path} HTTP/1.1\r\nHost: te");
            wire.send(line.as_bytes()).expect("it is kept");
            wire.send(b"st\r\n\r\n").expect("it is kept");
            let answer = wire.answer(false).expect("an answer");
            told(&format!("kept, round {round}, {path}"), answer);
            let post = format!(
                "POST /proxy/echo HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{}",
                round * 3000,
                "p".repeat(round * 3000)
            );
            wire.send(post.as_bytes()).expect("it is kept");
            told(&format!("kept, round {round}, POST"), wire.answer(false).expect("an answer"));
            wire.send(b"HEAD /list/ HTTP/1.1\r\nHost: test\r\n\r\n").expect("it is kept");
            told(&format!("kept, round {round}, HEAD"), wire.answer(true).expect("an answer"));
        }
    }
    drop(wire);

    let mut all = Vec::new();
    for path in paths.iter().cycle().take(60) {
        all.extend_from_slice(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
    }
    all.extend_from_slice(
        b"POST /proxy/echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello",
    );
    all.extend_from_slice(&get("/small.txt"));
    let mut wire = Wire::open(address).expect("nginx listens");
    let mut sender: TcpStream = wire.sender().expect("a handle");
    std::thread::scope(|scope| {
        // What comes back is more than sockets hold, so both directions at once.
        scope.spawn(move || sender.write_all(&all));
        told("pipelined", wire.take_rest().expect("answers"));
    });
}

/// `limit_conn`, which unlinks its cleanup from the pool's list.
fn limited(
    address: SocketAddr,
    upstream: &Upstream,
    run: &str,
    told: &mut impl FnMut(&str, Vec<u8>),
) {
    let path = format!("/limited/{run}");
    let mut first = Wire::open(address).expect("nginx listens");
    first.send(&get(&path)).expect("it is sent");
    upstream.arrived(run);
    let refused = ask(address, &get(&path)).expect("an answer");
    assert!(refused.starts_with(b"HTTP/1.1 503"), "the limit is not kept");
    told("over the limit", refused);
    upstream.open(run);
    let length = run.len();
    let answer = first.rest().expect("an answer");
    let answer = String::from_utf8_lossy(&answer).replace(run, &"r".repeat(length));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    told("within the limit", answer.into_bytes());
    // Not after the first is done, but after nginx has noticed.
    crate::until("the limit has room again", || {
        ask(address, &get(&path)).is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
    });
}

/// TCP.
fn stream(addresses: &Addresses) -> Answers {
    let mut answers = Answers::new();
    for size in [0_usize, 1, 4096, 300_000] {
        let sent: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let mut stream = TcpStream::connect(addresses.stream).expect("nginx listens");
        stream.set_read_timeout(Some(crate::PATIENCE)).expect("a socket");
        let mut writer = stream.try_clone().expect("a handle");
        let mut came = Vec::new();
        std::thread::scope(|scope| {
            let sent = &sent;
            scope.spawn(move || {
                writer.write_all(sent).expect("it is sent");
                writer.shutdown(Shutdown::Write).expect("a socket");
            });
            stream.read_to_end(&mut came).expect("it comes back");
        });
        assert!(came == sent, "{size} bytes changed on their way");
        answers.push((format!("stream, {size} bytes"), came));
    }
    let mut fixed = TcpStream::connect(addresses.fixed).expect("nginx listens");
    let mut text = Vec::new();
    fixed.read_to_end(&mut text).expect("an answer");
    answers.push(("stream, fixed".into(), text));
    answers
}
