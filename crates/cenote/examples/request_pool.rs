//! A request loop in which every request has a pool of its own, and no request can take more
//! than its share.
//!
//! `cargo run --example request_pool` answers a few requests from a list: what a real server
//! does with sockets, this does with lines of text.

use allocator_api2::vec::Vec;
use cenote::{Account, AllocError, Pool};

/// A request as it is read: everything in it lies in the request's pool.
struct Request<'p> {
    path: &'p str,
    words: &'p [&'p str],
}

fn parse<'p>(pool: &'p Pool, line: &str) -> Result<Request<'p>, AllocError> {
    let line: &str = pool.try_alloc_str(line.trim())?;
    let (path, query) = line.split_once('?').unwrap_or((line, ""));
    let words = query.split('+').filter(|word| !word.is_empty());
    Ok(Request { path, words: pool.try_alloc_slice_fill_iter(words)? })
}

/// The answer's body, built in the request's pool.
fn answer<'p>(pool: &'p Pool, request: &Request<'p>) -> Result<&'p str, AllocError> {
    match request.path {
        "/reverse" => {
            // A collection in the pool: it grows in place.
            let mut words: Vec<&str, _> = Vec::new_in(pool);
            words.extend(request.words.iter().rev().copied());
            Ok(pool.try_alloc_fmt(format_args!("{words:?}"))?)
        }
        "/repeat" => {
            let count = request.words.first().and_then(|word| word.parse().ok()).unwrap_or(1);
            let bytes = pool.try_alloc_zeroed_bytes(count)?;
            bytes.fill(b'x');
            Ok(std::str::from_utf8(bytes).unwrap_or_default())
        }
        _ => Ok("there is no such page"),
    }
}

/// One request's whole life. What it allocated is gone when this returns.
fn handle(requests: &Account, line: &str) -> (u16, String) {
    let pool = Pool::on(requests);
    pool.defer(|| { /* such as: count it, unlock something, close a file */ });
    let body = parse(&pool, line).and_then(|request| answer(&pool, &request));
    match body {
        Ok(body) => (200, format!("{} bytes: {:.40}", body.len(), body)),
        // Only this request is refused; the account and its limit are named.
        Err(error) => (503, error.to_string()),
    }
}

/// Answers every line, and tells who held how much.
pub(crate) fn run(lines: &[&str]) -> (std::vec::Vec<(u16, String)>, String) {
    let process = Account::root("process").with_limit(Some(64 << 20));
    let worker = process.child("worker-0");
    let requests = worker.child("request").with_limit(Some(1 << 20));
    let answers = lines.iter().map(|line| handle(&requests, line)).collect();
    (answers, process.snapshot().to_string())
}

#[allow(dead_code, reason = "the tests call `run`")]
fn main() {
    let lines = ["/reverse?one+two+three", "/repeat?100000", "/repeat?9000000", "/nowhere"];
    let (answers, tree) = run(&lines);
    for (line, (status, text)) in lines.iter().zip(answers) {
        println!("{line}\n    {status} {text}");
    }
    println!("\n{tree}");
}
