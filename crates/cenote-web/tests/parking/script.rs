//! What a client says, and in what pieces; and a client that says it.

use crate::servers::MANY_HEADERS;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::yield_now;

/// A conversation that hangs fails, after this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Small numbers without order, from one that is given.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// One below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// How bytes are cut into what is sent at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    Whole,
    At(usize),
    EveryByte,
}

#[derive(Debug)]
pub(crate) enum Step {
    Send(Vec<u8>, Cut),
    /// Waits for so many whole answers; those of 100 do not count.
    Answers(usize),
    /// Waits for leave to go on.
    Continue,
    /// Waits for so many bytes, of an upgraded connection.
    Bytes(usize),
    /// Lets the server come to rest, or not.
    Pause(usize),
    /// Says no more.
    Shut,
}

/// What a client says on one connection. It reads to the end at last.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    pub(crate) requests: u64,
    /// An upgrade was offered to the service: from then on, no build has room for more headers.
    offered: bool,
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes()
}

fn with_length(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn chunked(path: &str, body: &str) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    let (one, other) = body.split_at(body.len() / 2);
    let mut bytes = head.into_bytes();
    for chunk in [one, other].iter().filter(|chunk| !chunk.is_empty()) {
        bytes.extend_from_slice(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes());
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// A request that a body must not be taken for.
pub(crate) const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";

impl Script {
    pub(crate) fn send(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.steps.push(Step::Send(bytes.into(), Cut::Whole));
        self
    }

    pub(crate) fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn push(&mut self, bytes: Vec<u8>, cut: Cut) {
        self.steps.push(Step::Send(bytes, cut));
    }

    pub(crate) fn random(random: &mut Random) -> Self {
        let mut script = Self::default();
        for _ in 0..1 + random.below(6) {
            if !script.random_requests(random) {
                break;
            }
            if random.one_in(2) {
                script.steps.push(Step::Pause(random.below(30)));
            }
        }
        script.steps.push(Step::Shut);
        script
    }

    /// A few requests; false if the connection ends with them.
    fn random_requests(&mut self, random: &mut Random) -> bool {
        const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";
        let body = &LETTERS[..random.below(LETTERS.len())];
        let body = if random.one_in(3) { SMUGGLED } else { body };
        self.requests += 1;
        let whole = match random.below(22) {
            0..3 => get("/count"),
            3 => get("/refused"),
            4 => get("/stream"),
            5 | 6 => with_length("/echo", body),
            7 | 8 => chunked("/echo", body),
            9 => with_length("/hold", body),
            10 => chunked("/hold", body),
            11 => [&b"\r\n"[..], &get("/after-an-empty-line")].concat(),
            12 => b"HEAD /head HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
            13 => return self.several(random),
            14 => return self.dropped(random, body),
            15 => return self.late(random, body),
            16 => return self.expecting(random, body),
            17 => return self.old(random),
            19 | 20 => return self.many_headers(random, body),
            18 if random.one_in(3) => return self.upgraded(random),
            18 => [
                &b"GET /offered HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
                    [..],
                &get("/count"),
            ]
            .concat(),
            _ => return self.last(random),
        };
        let offered = whole.windows(8).any(|part| part == b"/offered");
        self.offered |= offered;
        let answers = if offered { 2 } else { 1 };
        self.requests += answers as u64 - 1;
        let cut = match random.below(4) {
            0 => Cut::Whole,
            1 => Cut::EveryByte,
            _ => Cut::At(random.below(whole.len())),
        };
        self.push(whole, cut);
        self.steps.push(Step::Answers(answers));
        true
    }

    /// Several at once, the last of which may be cut short for a while.
    fn several(&mut self, random: &mut Random) -> bool {
        let count = 2 + random.below(4);
        let mut bytes = Vec::new();
        for _ in 0..count {
            bytes.extend(match random.below(4) {
                0 => with_length("/echo", "glued"),
                1 => get("/stream"),
                2 => chunked("/hold", "glued, too"),
                _ => get("/count"),
            });
        }
        self.requests += count as u64 - 1;
        let rest = bytes.split_off(bytes.len() - random.below(20));
        self.push(bytes, Cut::Whole);
        let done = if rest.is_empty() { count } else { count - 1 };
        if random.one_in(2) {
            // What came with the others is a part of a head, or of a body.
            self.steps.push(Step::Answers(done));
            self.steps.push(Step::Pause(random.below(30)));
            self.push(rest, Cut::Whole);
            self.steps.push(Step::Answers(count - done));
        } else {
            self.push(rest, Cut::Whole);
            self.steps.push(Step::Answers(count));
        }
        true
    }

    /// One with more headers than hyper has room for by itself, or than it may have at all; glued to
    /// another, perhaps.
    fn many_headers(&mut self, random: &mut Random, body: &str) -> bool {
        let most = if self.offered { 98 } else { MANY_HEADERS + 10 };
        let count = [90 + random.below(20), random.below(most)][random.below(2)].min(most);
        let length = body.len();
        let head = format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n");
        let bad = random.one_in(8);
        let end = if bad { "bad header\r\n\r\n" } else { "\r\n" };
        let whole = head + &"a: b\r\n".repeat(count) + end + body;
        let glued = match random.below(3) {
            0 => Vec::new(),
            1 => get("/count"),
            _ => chunked("/hold", "before"),
        };
        let others = usize::from(!glued.is_empty());
        self.requests += others as u64;
        let cut = match random.below(3) {
            0 => Cut::Whole,
            1 => Cut::EveryByte,
            _ => Cut::At(random.below(whole.len())),
        };
        self.push([&glued[..], whole.as_bytes()].concat(), cut);
        self.steps.push(Step::Answers(others));
        if bad || count + 2 > MANY_HEADERS {
            return false;
        }
        self.steps.push(Step::Answers(1));
        true
    }

    /// One whose body is there at once, and not wanted.
    fn dropped(&mut self, random: &mut Random, body: &str) -> bool {
        let path = ["/drop", "/let-go"][random.below(2)];
        self.requests += 1;
        self.push([with_length(path, body), get("/next")].concat(), Cut::Whole);
        self.steps.push(Step::Answers(2));
        true
    }

    /// One whose body comes when it has been answered. Where it was dropped, hyper ends the
    /// connection, or reads the body if it is there by then.
    fn late(&mut self, random: &mut Random, body: &str) -> bool {
        let path = ["/drop", "/glance", "/hold"][random.below(3)];
        let kept = path == "/hold" || body.is_empty();
        let whole = with_length(path, body);
        let head = whole.len() - body.len();
        self.push(whole[..head].to_vec(), Cut::At(random.below(head)));
        self.steps.push(Step::Answers(1));
        self.steps.push(Step::Pause(random.below(30)));
        self.push(whole[head..].to_vec(), if kept { Cut::EveryByte } else { Cut::Whole });
        kept
    }

    /// One that waits for leave to send its body.
    fn expecting(&mut self, random: &mut Random, body: &str) -> bool {
        let wanted = random.one_in(2);
        let path = if wanted { "/echo" } else { "/drop" };
        let length = body.len().max(1);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n"
        );
        self.push(head.into_bytes(), Cut::EveryByte);
        if wanted {
            self.steps.push(Step::Continue);
            self.push(format!("{body:x<length$}").into_bytes(), Cut::EveryByte);
        }
        self.steps.push(Step::Answers(1));
        wanted
    }

    /// One of HTTP/1.0 that is kept alive, and perhaps a bad one after it.
    fn old(&mut self, random: &mut Random) -> bool {
        let whole = b"GET /old HTTP/1.0\r\nconnection: keep-alive\r\n\r\n".to_vec();
        self.push(whole, Cut::At(random.below(20)));
        self.steps.push(Step::Answers(1));
        if random.one_in(2) {
            return true;
        }
        self.steps.push(Step::Pause(random.below(30)));
        self.push(b"NONSENSE\r\n\r\n".to_vec(), Cut::Whole);
        false
    }

    fn upgraded(&mut self, random: &mut Random) -> bool {
        let whole =
            b"GET /upgrade HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: up\r\n\r\n";
        self.push(whole.to_vec(), Cut::At(random.below(whole.len())));
        self.steps.push(Step::Answers(1));
        for _ in 0..random.below(4) {
            self.push(b"hello".to_vec(), Cut::Whole);
            self.steps.push(Step::Bytes(8));
        }
        self.steps.push(Step::Shut);
        false
    }

    /// One that ends the connection.
    fn last(&mut self, random: &mut Random) -> bool {
        let bad: &[u8] = match random.below(6) {
            0 => b"GET /close HTTP/1.1\r\nhost: x\r\n\r\n",
            1 => b"GET /asked HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            2 => b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
            3 => b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n",
            4 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            // The end in the middle of a head.
            _ => b"GET /unfinish",
        };
        let glued = if random.one_in(2) { get("/count") } else { Vec::new() };
        self.requests += u64::from(!glued.is_empty());
        self.push([&glued[..], bad].concat(), Cut::Whole);
        if bad == b"GET /unfinish" {
            self.steps.push(Step::Answers(usize::from(!glued.is_empty())));
            self.steps.push(Step::Pause(random.below(30)));
            self.steps.push(Step::Shut);
        }
        false
    }

    /// Says it, and returns all that came back, without the time of day.
    pub(crate) async fn run(&self, address: SocketAddr) -> Vec<u8> {
        let mut talk = Talk::begin(address).await;
        match tokio::time::timeout(PATIENCE, talk.say(&self.steps)).await {
            Ok(()) => undated(&talk.heard),
            Err(_) => {
                panic!("no answer after {:?}: {self:?}", talk.heard.escape_ascii().to_string())
            }
        }
    }
}

/// A connection, and what was heard over it.
struct Talk {
    stream: TcpStream,
    heard: Vec<u8>,
    /// So much of it is answers that were waited for.
    taken: usize,
    ended: bool,
}

impl Talk {
    async fn begin(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, heard: Vec::new(), taken: 0, ended: false }
    }

    async fn say(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Send(bytes, cut) => self.send(bytes, *cut).await,
                Step::Answers(count) => {
                    for _ in 0..*count {
                        while !self.answer().await {}
                    }
                }
                Step::Continue => {
                    self.until(|heard| find(heard, b"\r\n\r\n")).await;
                }
                Step::Bytes(count) => {
                    self.until(|heard| (heard.len() >= *count).then_some(*count)).await;
                }
                Step::Pause(times) => {
                    for _ in 0..*times {
                        yield_now().await;
                    }
                }
                Step::Shut => {
                    let _ = self.stream.shutdown().await;
                }
            }
        }
        while !self.ended {
            self.read().await;
        }
    }

    /// A client that is refused while it sends gets to know when it reads.
    async fn send(&mut self, bytes: &[u8], cut: Cut) {
        match cut {
            Cut::Whole => {
                let _ = self.stream.write_all(bytes).await;
            }
            Cut::At(at) => {
                let _ = self.stream.write_all(&bytes[..at]).await;
                yield_now().await;
                yield_now().await;
                let _ = self.stream.write_all(&bytes[at..]).await;
            }
            Cut::EveryByte => {
                for byte in bytes {
                    let _ = self.stream.write_all(&[*byte]).await;
                    yield_now().await;
                }
            }
        }
    }

    async fn read(&mut self) {
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes).await {
            Ok(length @ 1..) => self.heard.extend_from_slice(&bytes[..length]),
            _ => self.ended = true,
        }
    }

    /// Waits for something, which is taken then. False if the connection has ended before.
    async fn until(&mut self, mut found: impl FnMut(&[u8]) -> Option<usize>) -> bool {
        loop {
            if let Some(length) = found(&self.heard[self.taken..]) {
                self.taken += length;
                return true;
            }
            if self.ended {
                return false;
            }
            self.read().await;
        }
    }

    /// One answer; false if it was only one of leave to go on.
    async fn answer(&mut self) -> bool {
        let mut leave = false;
        let came = self.until(|heard| {
            let head = find(heard, b"\r\n\r\n")?;
            let text = String::from_utf8_lossy(&heard[..head]).to_ascii_lowercase();
            leave = text.starts_with("http/1.1 100");
            if leave || text.contains(" 101 ") {
                return Some(head);
            }
            if text.contains("transfer-encoding: chunked") {
                return find(&heard[head..], b"0\r\n\r\n").map(|end| head + end);
            }
            let length = text.split("content-length: ").nth(1).unwrap_or("0");
            let length: usize =
                length.split("\r\n").next().expect("one").parse().expect("a number");
            (heard.len() >= head + length).then_some(head + length)
        });
        let came = came.await;
        !leave || !came
    }
}

fn find(heard: &[u8], end: &[u8]) -> Option<usize> {
    heard.windows(end.len()).position(|part| part == end).map(|at| at + end.len())
}

fn undated(heard: &[u8]) -> Vec<u8> {
    let mut rest = heard;
    let mut bytes = Vec::new();
    // In a long body there is none.
    while let Some(at) = find(&rest[..rest.len().min(64 << 10)], b"\r\ndate: ") {
        bytes.extend_from_slice(&rest[..at]);
        let length = find(&rest[at..], b"\r\n").expect("a line") - 2;
        rest = &rest[at + length..];
    }
    bytes.extend_from_slice(rest);
    bytes
}
