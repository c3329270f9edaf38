//! What a service manager hands over and wants to hear: sockets that listen already (`LISTEN_FDS`),
//! and when the server is ready (`NOTIFY_SOCKET`), as systemd has it.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::{env, io};

use listenfd::ListenFd;

use super::errors::StartError;

/// Sockets that were handed over.
#[derive(Default)]
pub(crate) struct Inherited {
    /// The one for files.
    pub(crate) files: Option<TcpListener>,
    /// The one named `view`.
    pub(crate) view: Option<TcpListener>,
}

/// Takes the sockets that were handed to this process, if any were.
pub(crate) fn inherited() -> Result<Inherited, StartError> {
    let mut sockets = ListenFd::from_env();
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut found = Inherited::default();
    for index in 0..sockets.len() {
        let name = names.next().unwrap_or_default();
        let refuse = |why: &str| {
            StartError(format!("socket {index} of those handed over (LISTEN_FDS) {why}"))
        };
        let socket = sockets
            .take_tcp_listener(index)
            .map_err(|error| refuse(&format!("is not one that listens for TCP: {error}")))?
            .ok_or_else(|| refuse("is not there"))?;
        socket.set_nonblocking(true).map_err(|error| refuse(&format!("is no good: {error}")))?;
        let place = if name == "view" { &mut found.view } else { &mut found.files };
        if place.replace(socket).is_some() {
            return Err(refuse(
                "is one too many: one is for files, and one named `view` for the view",
            ));
        }
    }
    Ok(found)
}

/// Tells the service manager how this process stands, as `READY=1`; if there is one that listens.
pub(crate) fn notify(state: &str) {
    if let Some(socket) = env::var_os("NOTIFY_SOCKET") {
        // It is no reason to stop serving.
        let _ = send(&socket, state.as_bytes());
    }
}

fn send(socket: &OsStr, state: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let from = UnixDatagram::unbound()?;
    // A manager that does not read must not keep the server.
    from.set_nonblocking(true)?;
    from.send_to_addr(state, &address).map(drop)
}
