//! A response as a chain of buffers: head and parts are written where they are, by vectored
//! writes, to a socket that takes as much as it likes.
//!
//! `cargo run --example chain_to_socket` sends it through a socket of this machine.

use cenote::{Chain, Pool};
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

/// Builds a response in a pool; the body's parts are borrowed, not copied.
fn respond<'p>(pool: &'p Pool, parts: &[&'p str]) -> Result<Chain<'p>, Box<dyn std::error::Error>> {
    let mut chain = Chain::new(pool);
    let length: usize = parts.iter().map(|part| part.len()).sum();
    write!(chain, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")?;
    for part in parts {
        chain.try_push(part.as_bytes())?;
    }
    Ok(chain)
}

/// Sends all of a chain through a socket that does not block; how often it had to wait.
fn send(chain: &mut Chain<'_>, socket: &mut TcpStream) -> io::Result<usize> {
    socket.set_nonblocking(true)?;
    let mut waits = 0;
    loop {
        match chain.write_to(socket) {
            Ok(_) => return Ok(waits),
            // What was not taken is still in the chain. A real server waits for the socket
            // here, and does something else meanwhile.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                waits += 1;
                thread::yield_now();
            }
            Err(error) => return Err(error),
        }
    }
}

/// Sends a response of `count` lines; what arrived, and how often the sender had to wait.
pub(crate) fn run(count: usize) -> Result<(String, usize), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let client = thread::spawn(move || -> io::Result<String> {
        let mut socket = TcpStream::connect(address)?;
        let mut text = String::new();
        socket.read_to_string(&mut text)?;
        Ok(text)
    });
    let (mut socket, _) = listener.accept()?;
    let waits = {
        let pool = Pool::new();
        let lines = pool.alloc_slice_fill_with(count, |_| "");
        for (number, line) in lines.iter_mut().enumerate() {
            *line = pool.alloc_fmt(format_args!("line {number} of {count}\n"));
        }
        let mut chain = respond(&pool, lines)?;
        send(&mut chain, &mut socket)?
    };
    socket.flush()?;
    drop(socket);
    let text = client.join().map_err(|_| "the client panicked")??;
    Ok((text, waits))
}

#[allow(dead_code, reason = "the tests call `run`")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (text, waits) = run(100_000)?;
    println!("{} bytes arrived; the sender had to wait {waits} times", text.len());
    Ok(())
}
