//! The server under thousands of connections that come and go, good and hostile ones: whether
//! its memory is the same at the end as it was near the beginning.

use super::process::{cargo, root, run, target};
use super::report::{End, Report};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Connections at once.
const CLIENTS: u64 = 8;
/// Sizes of resident memory, in KiB, that the end may be above the first tenth.
const GROWTH: u64 = 4096;

struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start() -> Result<Self, String> {
        let mut command = Command::new(target("").join("release/cenote"));
        command.args(["serve", ".", "--listen", "127.0.0.1:0", "--workers", "2"]);
        command.current_dir(root()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let (send, receive) = std::sync::mpsc::channel();
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>),
            child.stderr.take().map(|err| Box::new(err) as Box<dyn Read + Send>),
        ];
        for stream in streams.into_iter().flatten() {
            let send = send.clone();
            // Read to the end, or the server would wait for room.
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if let Some(at) = line.find("http://127.0.0.1:") {
                        let rest = line[at + 7..].chars();
                        let address = rest.take_while(|c| c.is_ascii_digit() || ".:".contains(*c));
                        let _ = send.send(address.collect::<String>());
                    }
                }
            });
        }
        let mut server = Self { child, address: String::new() };
        let said = receive.recv_timeout(Duration::from_secs(60));
        server.address = said.map_err(|_| "the server did not say where it listens")?;
        Ok(server)
    }

    /// Resident memory in KiB.
    fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    fn ask(&self, request: &[u8]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(request)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Live pools of requests and connections, and bytes held by all.
    fn pools(&self) -> Result<(u64, u64, u64), String> {
        let request = "GET /pools.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let answer = self.ask(request.as_bytes()).map_err(|error| error.to_string())?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        // From the first brace to the last: the body may be in chunks.
        let (from, to) = (body.find('{').unwrap_or(0), body.rfind('}').map_or(0, |at| at + 1));
        let data: Value = serde_json::from_str(body.get(from..to).unwrap_or_default())
            .map_err(|error| format!("/pools.json: {error}"))?;
        let (mut requests, mut connections, mut held) = (0, 0, 0);
        for account in data["accounts"].as_array().into_iter().flatten() {
            let path = account["path"].as_array().cloned().unwrap_or_default();
            let number = |key: &str| account[key].as_u64().unwrap_or(0);
            match path.last().and_then(Value::as_str) {
                Some("request") => requests += number("live"),
                Some("connection") => connections += number("live"),
                _ if path.len() == 1 => held += number("held_bytes"),
                _ => {}
            }
        }
        Ok((requests, connections, held))
    }
}

/// One connection; which kind goes by its number. Whether the answer was as it should be.
fn connection(server: &Server, number: u64) -> bool {
    let host = "Host: localhost\r\n";
    let last = format!("{host}Connection: close\r\n\r\n");
    let status = |request: String, wanted: &[&str]| {
        let answer = server.ask(request.as_bytes()).unwrap_or_default();
        wanted.iter().any(|status| answer.starts_with(&format!("HTTP/1.1 {status}")))
    };
    match number % 10 {
        0..=2 => status(format!("GET /README.md HTTP/1.1\r\n{last}"), &["200"]),
        3 => {
            // Several requests on one connection.
            let one = format!("GET /Cargo.toml HTTP/1.1\r\n{host}\r\n");
            let all = format!("{one}{one}{one}GET /nowhere HTTP/1.1\r\n{last}");
            let answer = server.ask(all.as_bytes()).unwrap_or_default();
            answer.matches("HTTP/1.1 200").count() == 3 && answer.contains("HTTP/1.1 404")
        }
        4 => status(format!("GET / HTTP/1.1\r\n{last}"), &["200"]),
        5 => status(format!("GET /../../etc/passwd HTTP/1.1\r\n{last}"), &["400", "403", "404"]),
        6 => {
            // Garbage: refused, or the connection closed.
            let answer = server.ask(b"\x16\x03\x01\x02\x00 not http at all\r\n\r\n");
            answer.is_ok_and(|answer| answer.is_empty() || answer.starts_with("HTTP/1.1 4"))
        }
        7 => {
            let long = "x".repeat(100_000);
            // It may close while we still write.
            let answer = server.ask(format!("GET /{long} HTTP/1.1\r\n{last}").as_bytes());
            answer.is_err() || answer.is_ok_and(|a| a.is_empty() || a.starts_with("HTTP/1.1 4"))
        }
        8 => {
            // Half a request, and gone.
            let stream = TcpStream::connect(&server.address);
            stream.is_ok_and(|mut stream| {
                let sent = stream.write_all(b"GET /README.md HTTP/1.1\r\nHost: loc");
                sent.is_ok() && stream.shutdown(Shutdown::Both).is_ok()
            })
        }
        _ => {
            // Asks for a file and reads only its beginning.
            let stream = TcpStream::connect(&server.address);
            stream.is_ok_and(|mut stream| {
                let request = format!("GET /Cargo.lock HTTP/1.1\r\n{last}");
                let mut some = [0; 100];
                stream.write_all(request.as_bytes()).is_ok() && stream.read(&mut some).is_ok()
            })
        }
    }
}

/// How much of a crowd there is: so many connections, and so long, at least.
#[derive(Clone, Copy)]
struct Crowd {
    connections: u64,
    time: Duration,
}

/// What came of a part of it.
#[derive(Default)]
struct Came {
    connections: u64,
    wrong: u64,
}

impl Crowd {
    /// So many tenths of it.
    fn tenths(self, tenths: u32) -> Self {
        let connections = self.connections * u64::from(tenths) / 10;
        Self { connections, time: self.time * tenths / 10 }
    }

    /// Lets them come, and adds what came of it.
    fn come(self, server: &Server, came: &mut Came) {
        let (began, next, wrong) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, SeqCst);
                        if number >= self.connections && began.elapsed() >= self.time {
                            next.fetch_sub(1, SeqCst);
                            break;
                        }
                        if !connection(server, number) {
                            wrong.fetch_add(1, SeqCst);
                        }
                    }
                });
            }
        });
        came.connections += next.into_inner();
        came.wrong += wrong.into_inner();
    }
}

pub(super) fn server(report: &mut Report) {
    report.line("server under a mixed crowd", |report| {
        let built = run(cargo("").args(["build", "--release", "-p", "cenote-cli"]));
        if !built.good {
            return End::Bad(built.failures());
        }
        let connections = report.extent.pick(3000, 30_000);
        match soak(Crowd { connections, time: report.plan.soak }) {
            Ok(end) => end,
            Err(error) => End::Bad(error),
        }
    });
}

fn soak(crowd: Crowd) -> Result<End, String> {
    let server = Server::start()?;
    let (began, mut came) = (Instant::now(), Came::default());
    crowd.tenths(1).come(&server, &mut came);
    let first = server.resident();
    let (_, _, idle) = server.pools()?;
    crowd.tenths(4).come(&server, &mut came);
    let half = server.resident();
    crowd.tenths(5).come(&server, &mut came);
    let took = began.elapsed().as_secs_f64();
    let end = server.resident();
    // Connections that went away are noticed soon, not at once: ask until it is so, or a
    // hundred times.
    let mut last = server.pools()?;
    for _ in 0..100 {
        if (last.0, last.1) == (1, 1) {
            break;
        }
        last = server.pools()?;
    }
    let (requests, connections, held) = last;
    let Came { connections: count, wrong } = came;
    let what = format!(
        "{count} connections in {took:.1} s, {wrong} answered wrongly; RSS {first}, {half}, {end} KiB at 10, 50, \
         100 %; then {requests} request and {connections} connection live (the one that asks); \
         held {idle} bytes after the first tenth, {held} at the end",
    );
    let good = wrong == 0
        && (requests, connections) == (1, 1)
        && end <= first + GROWTH
        && held <= idle + (64 << 10);
    Ok(if good { End::Good(what) } else { End::Bad(what) })
}
