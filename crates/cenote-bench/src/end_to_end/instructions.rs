//! Instructions of a request, end to end: the server runs under callgrind, one client asks for the same
//! page again and again on one connection, and callgrind is told to write its sums between stretches.
//!
//! What is counted is the server's own code, libraries included; not the system's.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::server::{Running, Server};
use crate::count;
use crate::stats::{self, Spread};

/// Requests before the first stretch, to find everything warm.
const WARM: usize = 400;
/// Stretches, and requests in each.
const STRETCHES: usize = 7;
const REQUESTS: usize = 200;

const ASKED: &[u8] =
    b"GET /index.html HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: cenote-bench\r\nAccept: */*\r\n\r\n";

/// Per request, over the stretches.
pub(super) type Count = Spread;

/// What a request costs this server.
pub(super) fn per_request(server: &Server, scratch: &Path) -> Result<Count> {
    let folder = scratch.join("callgrind");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let mut under: Vec<OsString> = vec!["valgrind".into(), "--tool=callgrind".into()];
    under.push(format!("--callgrind-out-file={}", folder.join("out").display()).into());
    under.push("--combine-dumps=no".into());
    let running = server.start(scratch, &under)?;
    let mut client = Client::new(running.port)?;
    for _ in 0..WARM {
        client.ask()?;
    }
    dump(&running)?;
    let before = dumps(&folder)?;
    for _ in 0..STRETCHES {
        for _ in 0..REQUESTS {
            client.ask()?;
        }
        dump(&running)?;
    }
    let mut counts = Vec::new();
    // Numbered from 1.
    for number in before + 1..=before + STRETCHES {
        counts.push(count::sum(&folder.join(format!("out.{number}")))? / REQUESTS as f64);
    }
    stats::spread(&counts).context("no stretch was counted")
}

/// Has callgrind write what it counted since the last time.
fn dump(running: &Running) -> Result<()> {
    let out = Command::new("vgdb")
        .args([format!("--pid={}", running.id()).as_str(), "--wait=60", "dump"])
        .output()
        .context("vgdb, which comes with valgrind")?;
    ensure!(out.status.success(), "vgdb: {}", String::from_utf8_lossy(&out.stderr).trim());
    Ok(())
}

fn dumps(folder: &Path) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix("out.").and_then(|number| number.parse::<usize>().ok());
        count = count.max(number.unwrap_or(0));
    }
    Ok(count)
}

/// A client that sends a request when it has the whole answer to the one before.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    fn new(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    fn ask(&mut self) -> Result<()> {
        self.stream.write_all(ASKED)?;
        self.buffer.clear();
        let mut piece = [0; 4096];
        loop {
            let count = self.stream.read(&mut piece)?;
            ensure!(count > 0, "the server closed the connection");
            self.buffer.extend_from_slice(&piece[..count]);
            if let Some(length) = whole(&self.buffer)? {
                ensure!(self.buffer.len() <= length, "more than was asked for");
                if self.buffer.len() == length {
                    return Ok(());
                }
            }
        }
    }
}

/// The length of the whole answer, once its head is there.
fn whole(answer: &[u8]) -> Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end])?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "answered: {}", head.lines().next().unwrap_or(""));
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .context("an answer without its length")?;
    Ok(Some(end + 4 + length.1.trim().parse::<usize>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_length_is_known_with_its_head() {
        assert_eq!(whole(b"HTTP/1.1 200 OK\r\ncontent-le").unwrap(), None);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(whole(answer).unwrap(), Some(answer.len()));
        assert!(whole(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n").is_err());
    }
}
