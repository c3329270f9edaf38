//! What a connection costs that is kept alive and idle: after a small request, after an upload, and
//! after a burst of uploads all at once. Each server by itself, the clients in this process.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::{Running, Server};
use crate::harness::Row;
use crate::report::table::Live;

pub(crate) const SMALL: &str = "idle after a small request";
pub(crate) const UPLOAD: &str = "idle after an upload of 300 kB each, one after the other";
pub(crate) const BURST: &str = "ten seconds after such uploads all at once";

/// The service on `cenote_web::serve`, which parks connections.
pub(crate) const PARKED: &str = "cenote (cenote_web::serve)";
pub(crate) const AXUM: &str = "axum::serve";

const CONNECTIONS: [usize; 2] = [10_000, 500];
const BODY: usize = 300_000;
/// Connections are parked once they have been idle for five seconds, and the allocator is trimmed
/// after that; nothing here changes later.
const REST: Duration = Duration::from_secs(10);

/// A row for each server and moment.
pub(super) fn rows(
    servers: &[Server],
    quick: bool,
    scratch: &Path,
    live: &Live,
) -> Result<Vec<Row>> {
    let count = CONNECTIONS[usize::from(quick)];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rows = [const { Vec::new() }; 3];
    for (at, server) in servers.iter().enumerate() {
        live.step(at + 1, servers.len(), server.name);
        let running = server.start(scratch, &[])?;
        let measured = runtime.block_on(lives(server, &running, count));
        let measured = measured.with_context(|| server.name)?;
        for ((rows, case), held) in rows.iter_mut().zip([SMALL, UPLOAD, BURST]).zip(measured) {
            rows.push(Row {
                group: "parked".into(),
                case: case.into(),
                subject: server.name.into(),
                unit: "connection".into(),
                held: held.map(|held| held / count),
                note: if held.is_none() { "takes no uploads".into() } else { server.note() },
                ..Row::default()
            });
        }
    }
    Ok(rows.concat())
}

/// Bytes of the server's more than before its connections, at each moment.
async fn lives(server: &Server, running: &Running, count: usize) -> Result<[Option<usize>; 3]> {
    let get = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    // What is made once for all is there before.
    for _ in 0..20 {
        exchange(&mut connect(running.port).await?, get).await?;
    }
    rest().await;
    let before = running.resident()?;
    let more = || -> Result<usize> { Ok(running.resident()?.saturating_sub(before)) };
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut connection = connect(running.port).await?;
        exchange(&mut connection, get).await?;
        connections.push(connection);
    }
    rest().await;
    let mut held = [Some(more()?), None, None];
    if !server.takes_uploads() {
        return Ok(held);
    }
    let mut post =
        format!("POST /upload HTTP/1.1\r\nhost: localhost\r\ncontent-length: {BODY}\r\n\r\n")
            .into_bytes();
    post.resize(post.len() + BODY, b'u');
    for connection in &mut connections {
        exchange(connection, &post).await?;
    }
    rest().await;
    held[1] = Some(more()?);
    let post: &'static [u8] = post.leak();
    let mut uploads = tokio::task::JoinSet::new();
    for mut connection in connections {
        uploads.spawn(async move {
            exchange(&mut connection, post).await?;
            anyhow::Ok(connection)
        });
    }
    let mut connections = Vec::with_capacity(count);
    while let Some(done) = uploads.join_next().await {
        connections.push(done??);
    }
    rest().await;
    held[2] = Some(more()?);
    // None was closed meanwhile: each answers once more.
    for connection in &mut connections {
        exchange(connection, get).await?;
    }
    Ok(held)
}

async fn rest() {
    tokio::time::sleep(REST).await;
}

async fn connect(port: u16) -> Result<TcpStream> {
    let begun = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => return Ok(stream),
            Err(why) => ensure!(begun.elapsed() < Duration::from_secs(10), "no connection: {why}"),
        }
    }
}

/// A request, and all of its answer.
async fn exchange(connection: &mut TcpStream, request: &[u8]) -> Result<()> {
    connection.write_all(request).await?;
    let mut answer = Vec::with_capacity(1024);
    let mut buffer = [0; 1024];
    loop {
        let count = connection.read(&mut buffer).await?;
        ensure!(count > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..count]);
        if let Some(whole) = length(&answer)?
            && answer.len() >= whole
        {
            return Ok(());
        }
    }
}

/// How long an answer is, once its head is there.
fn length(answer: &[u8]) -> Result<Option<usize>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&answer[..end])?.to_ascii_lowercase();
    let body = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let body = body.with_context(|| format!("an answer of no length: {head}"))?;
    Ok(Some(end + 4 + body.trim().parse::<usize>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_head_says() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
        assert_eq!(length(answer).unwrap(), Some(answer.len()));
        assert_eq!(length(&answer[..20]).unwrap(), None);
        assert!(length(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
