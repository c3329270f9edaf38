//! What a request can come to instead of an answer, and the response that says so.

use std::{fmt, io};

use bytes::Bytes;
use cenote::{AllocError, ConfigError};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use rustix::io::Errno;

use super::body::Body;

/// A request that is not served: the status, and why.
#[derive(Debug)]
pub(crate) struct Fault {
    status: StatusCode,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Said(&'static str),
    Memory(AllocError),
    System(Errno),
}

impl Fault {
    /// A refusal with its reason in a few words.
    pub(crate) const fn new(status: StatusCode, why: &'static str) -> Self {
        Self { status, why: Why::Said(why) }
    }

    /// Whether it is for want of memory.
    pub(crate) const fn is_memory(&self) -> bool {
        matches!(self.why, Why::Memory(_))
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether an account's limit refused what the request needed.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(&self.why, Why::Memory(error) if error.account().is_some())
    }

    /// The response. Its few words come from the heap: pool memory may be the very thing that ran
    /// out.
    pub(crate) fn response(&self) -> Response<Body> {
        let text = match &self.why {
            Why::Memory(error) if error.account().is_some() => {
                Bytes::from(format!("{}\n{error}\n", StatusLine(self.status)))
            }
            // The system itself has none: not even words.
            Why::Memory(_) => Bytes::from_static(b"503 Service Unavailable\nout of memory\n"),
            // What the system said is for the log; the reason phrase is enough for a client.
            Why::System(_) => Bytes::from(format!("{}\n", StatusLine(self.status))),
            Why::Said(why) => Bytes::from(format!("{}\n{why}\n", StatusLine(self.status))),
        };
        let mut response = Response::new(Body::words(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

struct StatusLine(StatusCode);

impl fmt::Display for StatusLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.as_str(), self.0.canonical_reason().unwrap_or(""))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Said(why) => f.write_str(why),
            Why::Memory(error) => error.fmt(f),
            Why::System(error) => error.fmt(f),
        }
    }
}

impl From<AllocError> for Fault {
    fn from(error: AllocError) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, why: Why::Memory(error) }
    }
}

impl From<ConfigError> for Fault {
    fn from(_: ConfigError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "a pool cannot be made as it is configured")
    }
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Self {
        let status = match error {
            Errno::NOENT | Errno::NOTDIR => {
                return Self::new(StatusCode::NOT_FOUND, "no such file");
            }
            Errno::NAMETOOLONG => {
                return Self::new(StatusCode::URI_TOO_LONG, "a name in the path is too long");
            }
            Errno::ACCESS | Errno::PERM => StatusCode::FORBIDDEN,
            // A loop of links, and a socket or a device without a driver.
            Errno::LOOP | Errno::NXIO => StatusCode::FORBIDDEN,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, why: Why::System(error) }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Errno::from_io_error(&error).unwrap_or(Errno::IO).into()
    }
}

/// A server that could not be started: one line, and the command exits with 2.
#[derive(Debug)]
pub struct StartError(pub(crate) String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_memory_is_told_without_taking_any() {
        let fault = Fault::from(AllocError::out_of_memory(4096));
        assert_eq!(fault.status(), StatusCode::SERVICE_UNAVAILABLE);
        let Body::Words(text) = fault.response().into_body() else { panic!("words expected") };
        assert_eq!(text, "503 Service Unavailable\nout of memory\n");
    }
}
