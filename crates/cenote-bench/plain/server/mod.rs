//! One hyper server with two kinds of memory: the same runtime and connection set-up as `cenote
//! serve`, a worker of one thread, the same calls to the system for each request. What a request
//! needs is in `Vec` and `String` (`vec`), or in a pool (`pools`), with accounts or without. It
//! serves files of one folder, read whole; it is here to be measured, not to be used.

mod pools;
mod vec;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use cenote::Account;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

/// Where a request's memory comes from.
#[derive(Clone)]
enum Memory {
    Vec,
    /// On no account.
    Pools,
    /// On accounts: the process's, and under it the worker's, which is this one; each connection has one
    /// of its own under that, and its requests one under that: the same for one after the other, or
    /// one for each.
    Accounts(Account, Requests),
}

/// Whose accounts requests are on.
#[derive(Clone, Copy, PartialEq)]
enum Requests {
    OneForAll,
    OneForEach,
}

/// Serves `argv[1]` at `argv[2]` until it is killed.
pub(crate) fn main() {
    let mut arguments = std::env::args().skip(1);
    let (folder, listen, memory) = (arguments.next(), arguments.next(), arguments.next());
    let memory = match memory.as_deref() {
        None | Some("vec") => Some(Memory::Vec),
        Some("pools") => Some(Memory::Pools),
        Some("accounts") => Some(Memory::Accounts(worker(), Requests::OneForAll)),
        Some("accounts-each") => Some(Memory::Accounts(worker(), Requests::OneForEach)),
        Some(_) => None,
    };
    let (Some(folder), Some(listen), Some(memory)) = (folder, listen, memory) else {
        eprintln!(
            "usage: cenote-bench-plain-... FOLDER ADDRESS:PORT [vec|pools|accounts|accounts-each]"
        );
        std::process::exit(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, serve(PathBuf::from(folder).into(), listen, memory));
}

fn worker() -> Account {
    Account::root("process").child("worker")
}

async fn serve(folder: Rc<Path>, listen: String, memory: Memory) {
    let listener = TcpListener::bind(listen).await.expect("an address to listen at");
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
    let http = Rc::new(http);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let connection = converse(http.clone(), folder.clone(), memory.clone(), stream);
        tokio::task::spawn_local(connection);
    }
}

async fn converse(http: Rc<http1::Builder>, folder: Rc<Path>, memory: Memory, stream: TcpStream) {
    let stream = TokioIo::new(stream);
    let _ = match memory {
        Memory::Vec => {
            let service = service_fn(|request| vec::answer(folder.clone(), request));
            http.serve_connection(stream, service).await
        }
        Memory::Pools | Memory::Accounts(..) => {
            let connection = Rc::new(pools::Connection::new(folder, &memory));
            let service = service_fn(|request| pools::answer(connection.clone(), request));
            http.serve_connection(stream, service).await
        }
    };
}

/// The path that is asked for, without its first slash.
fn path<B>(request: &Request<B>) -> Result<&str, StatusCode> {
    if request.method() != Method::GET {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    Ok(request.uri().path().trim_start_matches('/'))
}

/// Whether it may be opened.
fn checked(path: &str) -> Result<(), StatusCode> {
    let bad = path.split('/').any(|part| part.is_empty() || part.starts_with('.'));
    if bad { Err(StatusCode::NOT_FOUND) } else { Ok(()) }
}

/// An open file, its length in bytes, and when it was changed.
fn open(folder: &Path, path: &str) -> Result<(File, usize, SystemTime), StatusCode> {
    let file = File::open(folder.join(path)).map_err(|_| StatusCode::NOT_FOUND)?;
    let known = file.metadata().map_err(|_| StatusCode::NOT_FOUND)?;
    let changed = known.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Ok((file, known.len() as usize, changed))
}

/// Reads as many bytes as there is room for.
fn read(mut file: File, body: &mut [u8]) -> Result<(), StatusCode> {
    file.read_exact(body).map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    })
}

fn seconds(changed: SystemTime) -> u64 {
    changed.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// hyper keeps a header's value in memory of its own.
fn header(text: &str) -> Result<HeaderValue, StatusCode> {
    HeaderValue::from_str(text).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
