//! The server behind nginx: it answers by path, and tells what it was sent.

use crate::PATIENCE;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// A running upstream server. Its threads end with the process.
#[derive(Debug)]
pub struct Upstream {
    /// Where HTTP is spoken.
    pub http: SocketAddr,
    /// Where every byte comes back.
    pub echo: SocketAddr,
    gates: Arc<Gates>,
}

/// Requests that wait until a test lets them go on.
#[derive(Debug, Default)]
struct Gates {
    state: Mutex<(HashSet<String>, HashSet<String>)>,
    changed: Condvar,
}

impl Gates {
    /// A request has come to a gate, and waits until it is open.
    fn pass(&self, name: &str) {
        let mut state = self.state.lock().expect("no test panics here");
        state.0.insert(name.to_owned());
        self.changed.notify_all();
        let closed = |state: &mut (HashSet<String>, HashSet<String>)| !state.1.contains(name);
        let waited = self.changed.wait_timeout_while(state, PATIENCE, closed);
        drop(waited);
    }
}

impl Upstream {
    /// Starts it.
    ///
    /// # Panics
    /// If there is no port.
    #[must_use]
    pub fn start() -> Self {
        let gates = Arc::new(Gates::default());
        let known = Arc::clone(&gates);
        let http = listen(move |stream| drop(serve(stream, &known)));
        let echo = listen(|mut stream| {
            if let Ok(mut back) = stream.try_clone() {
                let _ = io::copy(&mut stream, &mut back);
            }
        });
        Self { http, echo, gates }
    }

    /// Waits until a request has come to the gate of this name.
    ///
    /// # Panics
    /// If none does.
    pub fn arrived(&self, name: &str) {
        let state = self.gates.state.lock().expect("no test panics here");
        let waited = self
            .gates
            .changed
            .wait_timeout_while(state, PATIENCE, |state| !state.0.contains(name))
            .expect("no test panics here")
            .1
            .timed_out();
        assert!(!waited, "nothing came to gate {name}");
    }

    /// Lets the requests at a gate go on.
    ///
    /// # Panics
    /// Never, unless another test did while it held the gates.
    pub fn open(&self, name: &str) {
        self.gates.state.lock().expect("no test panics here").1.insert(name.to_owned());
        self.gates.changed.notify_all();
    }
}

fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// One request, one answer.
fn serve(mut stream: TcpStream, gates: &Gates) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (head, body) = request(&mut stream)?;
    let text = String::from_utf8_lossy(&head).into_owned();
    let path = text.split(' ').nth(1).unwrap_or("/").to_owned();
    let answer = match path.as_str() {
        // What nginx sent, head and body: so both nginx must send the same.
        "/echo" => with_length("X-Echo: yes\r\n", &[head.as_slice(), &body].concat()),
        "/many" => {
            let mut more = String::new();
            for n in 0..90 {
                let _ = write!(more, "X-Many-{n}: {}\r\n", "v".repeat(n));
            }
            with_length(&more, b"many headers")
        }
        "/chunked" => {
            let mut answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
                Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                .to_vec();
            for n in 1..=40_usize {
                let chunk = "c".repeat(n * 97);
                let _ = write!(answer, "{:x}\r\n{chunk}\r\n", chunk.len());
            }
            answer.extend_from_slice(b"0\r\n\r\n");
            answer
        }
        "/unbounded" => {
            let mut answer = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n".to_vec();
            answer.extend(b"until the end ".repeat(5000));
            answer
        }
        "/big" => with_length("", &b"0123456789abcdef".repeat(1 << 16)),
        "/broken" => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntoo short".to_vec(),
        "/nonsense" => b"this is no answer\r\n\r\n".to_vec(),
        "/error" => b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy".to_vec(),
        _ => {
            if let Some(name) = path.strip_prefix("/gate/") {
                gates.pass(name);
            }
            with_length("Cache-Control: max-age=1000\r\n", path.as_bytes())
        }
    };
    stream.write_all(&answer)
}

fn with_length(more: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n{more}\
         Connection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// A request's head and body, chunks put together.
fn request(stream: &mut TcpStream) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    let mut buffer = [0; 16384];
    let end = |all: &[u8], mark: &[u8]| {
        all.windows(mark.len()).position(|window| window == mark).map(|at| at + mark.len())
    };
    let head = loop {
        if let Some(at) = end(&all, b"\r\n\r\n") {
            break at;
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => all.extend_from_slice(&buffer[..count]),
        }
    };
    let text = String::from_utf8_lossy(&all[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    let chunked = text.contains("transfer-encoding: chunked");
    let complete = |all: &[u8]| {
        if chunked { all[head..].ends_with(b"0\r\n\r\n") } else { all.len() >= head + length }
    };
    while !complete(&all) {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
    let mut body = all.split_off(head);
    if chunked {
        // Where nginx cuts what it passes on is a matter of time.
        let mut whole = Vec::new();
        crate::wire::one_chunk(&body, &mut whole);
        body = whole;
    }
    Ok((all, body))
}
