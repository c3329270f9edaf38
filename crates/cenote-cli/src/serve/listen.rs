//! Listening: one socket for each worker, all on the same port, so that the kernel spreads the
//! connections.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};

use super::errors::StartError;

/// How many clients the kernel keeps waiting for each worker.
const BACKLOG: i32 = 1024;

/// Binds `count` listeners to `listen`. Port 0 takes a free port, the same for all.
pub(crate) fn bind(
    listen: &str,
    count: usize,
) -> Result<(SocketAddr, Vec<TcpListener>), StartError> {
    let address = listen
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(|| {
            StartError(format!("`{listen}` is not an address to listen on, such as 127.0.0.1:8080"))
        })?;
    let refuse = |error: io::Error| {
        StartError(match error.kind() {
            io::ErrorKind::AddrInUse => format!("{address} is in use by another program"),
            _ => format!("cannot listen on {address}: {error}"),
        })
    };
    let first = bind_first(address).map_err(refuse)?;
    let address = first.local_addr().map_err(refuse)?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(bind_another(address).map_err(refuse)?);
    }
    Ok((address, listeners))
}

/// `count` handles on one listener that was handed over: the workers take from the same queue.
pub(crate) fn share(
    listener: TcpListener,
    count: usize,
) -> Result<(SocketAddr, Vec<TcpListener>), StartError> {
    let all = || {
        let address = listener.local_addr()?;
        let more = (1..count).map(|_| listener.try_clone()).collect::<io::Result<Vec<_>>>()?;
        Ok((address, more))
    };
    let (address, mut listeners) = all().map_err(|error: io::Error| {
        StartError(format!("the socket that was handed over is no good: {error}"))
    })?;
    listeners.push(listener);
    Ok((address, listeners))
}

/// The first listener is bound without `SO_REUSEPORT`, so that a port is in use even if another
/// server of this kind has it; from then on it lets the others in.
fn bind_first(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    listen(socket)
}

fn bind_another(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    listen(socket)
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a server that just stopped should not keep the next one from starting.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
