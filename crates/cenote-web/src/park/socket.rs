//! [`Hear`] and [`Park`]: what an IO must be able to do to be served, and to be parked.

use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use hyper_util::rt::TokioIo;
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// A connection's IO that tells when there is something to read, without reading it.
///
/// For IO of your own around a socket, pass the calls on to that.
pub trait Hear {
    /// Waits until a read would not be pending: for bytes, an error, or the end. Reads nothing.
    fn poll_heard(&self, context: &mut Context<'_>) -> Poll<()>;

    /// Whether a read would not be pending now, whatever the runtime knows of it.
    fn is_heard(&self) -> bool;
}

/// A connection's IO that can leave the runtime while nothing is expected of it, and come back.
///
/// For IO of your own around a socket, pass the calls on to that, and keep in `Parked` what is to
/// be kept; or have the socket alone [wait](super::Idle::try_map). What holds bytes that were read
/// from the socket and not given to hyper, as a TLS stream may, must not be parked while it does:
/// nothing would come any more that wakes it.
pub trait Park: Hear + Sized {
    /// What is kept of it: a descriptor that becomes readable when the client speaks, and little
    /// else.
    type Parked: AsFd;

    /// Leaves the runtime.
    ///
    /// # Errors
    /// Those of the socket, which is closed then.
    fn park(self) -> io::Result<Self::Parked>;

    /// Comes back, to the runtime that this is called in.
    ///
    /// # Errors
    /// Those of the socket, which is closed then.
    fn unpark(parked: Self::Parked) -> io::Result<Self>;
}

/// Whether a read would find something, by looking at it.
fn peek(socket: impl AsFd) -> io::Result<()> {
    let mut byte = [0_u8; 1];
    recv(socket, &mut byte[..], RecvFlags::PEEK)?;
    Ok(())
}

macro_rules! park_socket {
    ($socket:ty, $parked:ty) => {
        impl Hear for $socket {
            fn poll_heard(&self, context: &mut Context<'_>) -> Poll<()> {
                loop {
                    // An error is for whoever reads.
                    if ready!(self.poll_read_ready(context)).is_err() {
                        return Poll::Ready(());
                    }
                    // tokio takes a new socket for readable until it was asked.
                    match self.try_io(Interest::READABLE, || peek(self)) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        _ => return Poll::Ready(()),
                    }
                }
            }

            fn is_heard(&self) -> bool {
                !peek(self).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
        }

        impl Park for $socket {
            type Parked = $parked;

            fn park(self) -> io::Result<$parked> {
                self.into_std()
            }

            fn unpark(parked: $parked) -> io::Result<Self> {
                Self::from_std(parked)
            }
        }
    };
}

park_socket!(TcpStream, std::net::TcpStream);
park_socket!(UnixStream, std::os::unix::net::UnixStream);

impl<I: Hear> Hear for TokioIo<I> {
    fn poll_heard(&self, context: &mut Context<'_>) -> Poll<()> {
        self.inner().poll_heard(context)
    }

    fn is_heard(&self) -> bool {
        self.inner().is_heard()
    }
}

impl<I: Park> Park for TokioIo<I> {
    type Parked = I::Parked;

    fn park(self) -> io::Result<I::Parked> {
        self.into_inner().park()
    }

    fn unpark(parked: I::Parked) -> io::Result<Self> {
        I::unpark(parked).map(Self::new)
    }
}
