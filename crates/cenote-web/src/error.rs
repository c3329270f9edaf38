//! [`Error`]: what a handler returns with `?`.

use cenote::{Account, AllocError};
use http::StatusCode;
use std::fmt;

/// What can go wrong while a request is worked on in its pool.
///
/// With the feature `axum` it is a response: 503 where memory was refused, with the account's
/// name in the body; 400 for a body that is not what was expected; 413 for one that is too
/// long. A [`PoolLayer`](crate::PoolLayer) above may choose another response for refusals.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Memory could not be had.
    Memory(AllocError),
    /// A collection could not grow; the account is that of the pool that it is in.
    Collection(Option<Account>),
    /// The request was refused memory, and a layer inside answered 500: one that catches panics,
    /// most likely. The account is the request's; the limit may be that of one above it.
    Caught(Option<Account>),
    /// The request's body is not the JSON that was expected.
    #[cfg(feature = "serde")]
    Json(serde_json::Error),
    /// The request's body is longer than it may be.
    TooLong,
    /// The request's body could not be read to its end.
    Body(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The account whose limit refused, or whose pool a collection could not grow in; the
    /// request's where the answer was [caught](Error::Caught).
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        match self {
            Self::Memory(error) => error.account(),
            Self::Collection(account) | Self::Caught(account) => account.as_ref(),
            _ => None,
        }
    }

    /// Whether it is memory that could not be had.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Memory(_) | Self::Collection(_) | Self::Caught(_))
    }

    /// The status of its response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Memory(_) | Self::Collection(_) | Self::Caught(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(error) => error.fmt(f),
            Self::Collection(Some(account)) => {
                write!(f, "account {}{}", account.path(), crate::refusal::COLLECTION)
            }
            Self::Collection(None) => f.write_str("a collection could not grow"),
            Self::Caught(Some(account)) => {
                write!(f, "account {}, or one above it, refused memory", account.path())
            }
            Self::Caught(None) => f.write_str("memory was refused"),
            #[cfg(feature = "serde")]
            Self::Json(error) => write!(f, "the request's body is not as expected: {error}"),
            Self::TooLong => f.write_str("the request's body is too long"),
            Self::Body(error) => write!(f, "the request's body could not be read: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Memory(error) => Some(error),
            #[cfg(feature = "serde")]
            Self::Json(error) => Some(error),
            Self::Body(error) => Some(&**error),
            _ => None,
        }
    }
}

impl From<AllocError> for Error {
    fn from(error: AllocError) -> Self {
        Self::Memory(error)
    }
}

impl From<allocator_api2::collections::TryReserveError> for Error {
    fn from(_: allocator_api2::collections::TryReserveError) -> Self {
        Self::Collection(None)
    }
}

#[cfg(feature = "serde")]
impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

/// Left in a response's extensions, for the layer to choose another response by.
#[cfg(feature = "axum")]
#[derive(Clone)]
pub(crate) struct WasRefused(pub(crate) std::sync::Arc<Error>);

#[cfg(feature = "axum")]
impl axum::response::IntoResponse for Error {
    fn into_response(self) -> axum::response::Response {
        let text = format!("{self}\n");
        let mut response = (self.status(), text).into_response();
        if self.is_refusal() {
            response.extensions_mut().insert(WasRefused(std::sync::Arc::new(self)));
        }
        response
    }
}
