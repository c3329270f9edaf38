//! JSON in pools: read into one, and written in one.
//!
//! Types derive `Deserialize` and `Serialize` as always. What is special is where things go:
//!
//! - A `&'p str` (or `&'p [u8]`) that is read is in the pool, whether or not it had to be
//!   unescaped; serde alone can give a `&str` only where the input has it as it is. Where the
//!   input is in the pool already, as [`PoolBytes`](crate::PoolBytes) are, it is not copied.
//! - [`PoolVec`] and [`PoolMap`] are in the pool that is read into. They have handles of their
//!   own, are `Send`, and may outlive all others; strings that borrow bind them to the pool.
//! - What is written goes into a buffer in the pool, and is `Bytes` that keep the pool.
//!
//! ```
//! use cenote::SharedPool;
//! use cenote_web::json::{self, PoolVec};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize, Serialize)]
//! struct Order<'p> {
//!     customer: &'p str,
//!     #[serde(borrow)]
//!     lines: PoolVec<Line<'p>>,
//! }
//!
//! #[derive(Deserialize, Serialize)]
//! struct Line<'p> {
//!     article: &'p str,
//!     count: u32,
//! }
//!
//! let pool = SharedPool::new();
//! let text = br#"{"customer": "Zo\u00eb", "lines": [{"article": "tea", "count": 2}]}"#;
//! let order: Order<'_> = json::from_slice(&pool, text)?;
//! assert_eq!((order.customer, order.lines[0].article), ("Zoë", "tea"));
//! let bytes = json::to_bytes(&pool, &order)?;
//! assert_eq!(bytes, r#"{"customer":"Zoë","lines":[{"article":"tea","count":2}]}"#);
//! # Ok::<(), cenote_web::Error>(())
//! ```
//!
//! Files: `collections` has the vectors and maps; `current` how they know the pool; `keep` the
//! way between a format and what is read, on which strings are put into the pool.

mod collections;
mod current;
mod keep;

pub use collections::{PoolMap, PoolVec};
pub use keep::InPool;

use crate::Error;
use bytes::Bytes;
use cenote::{Freeze, SharedBuffer, SharedPool};
use serde::de::DeserializeSeed;
use serde::{Deserialize, Serialize};

/// Reads JSON into a pool.
///
/// # Errors
/// [`Error::Json`] where the text is not what is expected; a refusal where the pool has no more
/// memory.
pub fn from_slice<'p, T: Deserialize<'p>>(pool: &'p SharedPool, text: &[u8]) -> Result<T, Error> {
    read(text, InPool::new(pool))
}

/// Reads JSON that is in the pool already, or lives as long: strings that need no unescaping
/// are borrowed from it.
///
/// # Errors
/// As for [`from_slice`].
pub fn from_slice_in_place<'p, T: Deserialize<'p>>(
    pool: &'p SharedPool,
    text: &'p [u8],
) -> Result<T, Error> {
    read(text, keep::InPlace::new(pool))
}

fn read<'de, T: DeserializeSeed<'de>>(text: &'de [u8], seed: T) -> Result<T::Value, Error> {
    current::failing(|| {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let value = seed.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(value)
    })
}

/// Writes a value as JSON, into the pool.
///
/// # Errors
/// A refusal where the pool has no more memory; [`Error::Json`] where the value cannot be JSON.
pub fn to_bytes<T: Serialize + ?Sized>(pool: &SharedPool, value: &T) -> Result<Bytes, Error> {
    let mut buffer = SharedBuffer::new(pool.clone());
    match serde_json::to_writer(&mut buffer, value) {
        Ok(()) => Ok(buffer.freeze()),
        Err(error) => Err(buffer.take_failure().map_or(Error::Json(error), Error::Memory)),
    }
}

/// Writes a value as the JSON body of a response, into the pool.
///
/// # Errors
/// As for [`to_bytes`].
#[cfg(feature = "axum")]
pub fn response<T: Serialize + ?Sized>(
    pool: &SharedPool,
    value: &T,
) -> Result<axum::response::Response, Error> {
    Ok(bytes_response(to_bytes(pool, value)?))
}

/// A response of JSON that was written already.
#[cfg(feature = "axum")]
#[must_use]
pub fn bytes_response(json: Bytes) -> axum::response::Response {
    let mut response = axum::response::Response::new(axum::body::Body::from(json));
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

#[cfg(feature = "axum")]
impl crate::PoolBytes {
    /// Reads the body as JSON. Strings are borrowed from it, or put into its pool.
    ///
    /// # Errors
    /// As for [`from_slice`].
    pub fn json<'p, T: Deserialize<'p>>(&'p self) -> Result<T, Error> {
        from_slice_in_place(self.pool(), self)
    }
}
