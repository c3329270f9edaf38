//! axum's extractors of a request's pool, and of its body, read into the pool.

use crate::{Error, RequestPool};
use axum::RequestExt;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cenote::{Freeze, SharedBuffer, SharedPool};
use http::StatusCode;
use http::request::Parts;
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError};
use std::fmt;
use std::ops::Deref;

/// There is no pool to extract: the service is put together wrongly. A response with status
/// 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingPool {
    /// No [`PoolLayer`](crate::PoolLayer) is above the handler.
    Request,
    /// No [`PoolListener`](crate::PoolListener) accepted the connection, or the service was
    /// made without `into_make_service_with_connect_info::<ConnectionPool>()`.
    Connection,
}

impl fmt::Display for MissingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "no pool for this request: the service has no PoolLayer here",
            Self::Connection => "no pool for this connection: the service has no PoolListener",
        })
    }
}

impl std::error::Error for MissingPool {}

impl IntoResponse for MissingPool {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{self}\n")).into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for RequestPool {
    type Rejection = MissingPool;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MissingPool> {
        parts.extensions.get::<Self>().cloned().ok_or(MissingPool::Request)
    }
}

/// A request's body, read into the request's pool.
///
/// Bounded by the request's account, and by axum's `DefaultBodyLimit`. With
/// [`PoolBytes::json`](PoolBytes::json) what is in it is read without copying.
#[derive(Debug)]
pub struct PoolBytes {
    bytes: SharedBuffer,
}

/// Bytes of a body that are reserved before any has come, if it is no longer.
const FIRST: usize = 4096;

impl PoolBytes {
    /// The pool that the body is in: the request's.
    pub fn pool(&self) -> &SharedPool {
        self.bytes.pool()
    }

    /// Reads a body into a pool.
    ///
    /// # Errors
    /// Where the pool has no more memory, or the body cannot be read.
    pub async fn read<B>(pool: SharedPool, body: B) -> Result<Self, Error>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut body = std::pin::pin!(body);
        let mut bytes = SharedBuffer::new(pool);
        // What the client says is no reason to take more than a block, or four times what came: one
        // that lies costs little, and one that does not has room for all, without it twice.
        let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        // Nothing yet for one that will not fit that block: it would be moved out of it.
        let mut reserved = if told <= FIRST { told } else { 0 };
        bytes.try_reserve(reserved)?;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| body_error(error.into()))?;
            if let Ok(data) = frame.into_data() {
                let came = bytes.len() + data.len();
                if came > reserved && came < told {
                    reserved = told.min(4 * came);
                    bytes.try_reserve_exact(reserved - bytes.len())?;
                }
                bytes.try_extend_from_slice(&data)?;
            }
        }
        Ok(Self { bytes })
    }
}

fn body_error(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
    while let Some(cause) = at {
        if cause.is::<LengthLimitError>() {
            return Error::TooLong;
        }
        at = cause.source();
    }
    Error::Body(error)
}

impl Deref for PoolBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Freeze for PoolBytes {
    fn freeze(self) -> Bytes {
        self.bytes.freeze()
    }
}

impl<S: Sync> FromRequest<S> for PoolBytes {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let Some(pool) = RequestPool::of(&request).map(RequestPool::handle) else {
            return Err(MissingPool::Request.into_response());
        };
        let body = request.into_limited_body();
        Self::read(pool, body).await.map_err(Error::into_response)
    }
}
