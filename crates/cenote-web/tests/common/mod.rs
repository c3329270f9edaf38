//! What the test programs share: a client that speaks HTTP over a socket, as bytes.

#![allow(dead_code, reason = "each test program uses a part")]

#[cfg(feature = "view")]
pub(crate) mod scrape;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No level is on in pools that this thread makes from now on (see `cenote::debug`), whatever the
/// process's levels are.
pub(crate) fn unwatched() {
    cenote::debug::set_thread_levels(Some(cenote::debug::Levels::NONE));
}

/// Runs a test that asserts what pools hold to the byte: on threads that are [`unwatched`].
pub(crate) fn plain<T>(test: impl Future<Output = T>) -> T {
    unwatched();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().on_thread_start(unwatched).build();
    runtime.expect("there are threads").block_on(test)
}

/// One connection to a service.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

/// A response, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("it is text")
    }
}

impl Client {
    pub(crate) async fn connect(address: std::net::SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the service listens");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, method: &str, path: &str, body: &[u8]) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let whole = [head.as_bytes(), body].concat();
        self.stream.write_all(&whole).await.expect("it listens");
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, b"").await;
        self.answer().await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &[u8]) -> Answer {
        self.send("POST", path, body).await;
        self.answer().await
    }

    async fn more(&mut self) {
        let count = self.stream.read_buf(&mut self.read).await.expect("it answers");
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&self.read));
    }

    /// The next response, by its content-length or in chunks.
    pub(crate) async fn answer(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await;
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let head = String::from_utf8(head).expect("heads are text").to_ascii_lowercase();
        let status = head[9..12].parse().expect("a status");
        let mut body = Vec::new();
        if head.contains("transfer-encoding: chunked") {
            loop {
                let line = self.line().await;
                let size = usize::from_str_radix(&line, 16).expect("a chunk's size");
                body.extend(self.exactly(size).await);
                self.line().await;
                if size == 0 {
                    break;
                }
            }
        } else {
            let length = head.split("content-length: ").nth(1).expect("a length");
            let length = length.split("\r\n").next().expect("a line").parse().expect("a number");
            body = self.exactly(length).await;
        }
        Answer { status, head, body }
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.read.drain(..end + 2).collect();
                return String::from_utf8_lossy(&line[..end]).into_owned();
            }
            self.more().await;
        }
    }

    async fn exactly(&mut self, size: usize) -> Vec<u8> {
        while self.read.len() < size {
            self.more().await;
        }
        self.read.drain(..size).collect()
    }
}

/// Waits until something is true, which other tasks bring about; fails after half a minute.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let all = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(30);
    assert!(tokio::time::timeout(limit, all).await.is_ok(), "in vain: {what}");
}
