//! A file as a response: its headers, the part of it that is wanted, and its body.

use std::fmt;
use std::fs::{File, Metadata};
use std::hash::{BuildHasher, RandomState};

use cenote::{Buffer, Pool};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode};

use super::body::{Body, FileBody, FileParts, Segment};
use super::conditional::{Outcome, Validators};
use super::errors::Fault;
use super::mime;
use super::range::{self, Part, Wanted};
use super::request::{Request, header_value};

/// Answers a GET or HEAD of `file`, whose path in the folder is `path`.
pub(crate) fn respond(
    request: &Request<'_>,
    path: &[u8],
    file: File,
    meta: &Metadata,
) -> Result<Response<Body>, Fault> {
    let pool = &**request.pool;
    let validators = Validators::of(pool, meta)?;
    let (kind, charset) = mime::of(path, &file);
    let mut response = Response::new(Body::Empty);
    let headers = response.headers_mut();
    headers.insert(header::ETAG, header_value(pool, format_args!("{}", validators.etag))?);
    headers.insert(
        header::LAST_MODIFIED,
        header_value(pool, format_args!("{}", validators.last_modified))?,
    );
    headers.insert(header::ACCEPT_RANGES, const { HeaderValue::from_static("bytes") });

    match validators.check(&request.head.headers) {
        Outcome::Proceed => {}
        Outcome::NotModified => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        Outcome::Failed => {
            return Err(Fault::new(
                StatusCode::PRECONDITION_FAILED,
                "the file is not that version",
            ));
        }
    }

    let size = meta.len();
    match wanted(request, &validators, size) {
        Wanted::Nothing => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            let headers = response.headers_mut();
            headers
                .insert(header::CONTENT_RANGE, header_value(pool, format_args!("bytes */{size}"))?);
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Wanted::Whole => {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, content_type(pool, kind, charset)?);
            send(
                request,
                &mut response,
                file,
                &[Segment { text: 0, start: 0, length: size }],
                &[],
            )?;
        }
        Wanted::Parts(parts) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let headers = response.headers_mut();
            if let [part] = parts.as_slice() {
                headers.insert(header::CONTENT_TYPE, content_type(pool, kind, charset)?);
                headers.insert(
                    header::CONTENT_RANGE,
                    header_value(pool, format_args!("{}", Extent(part, size)))?,
                );
                let segment = Segment { text: 0, start: part.start, length: part.length };
                send(request, &mut response, file, &[segment], &[])?;
            } else {
                let boundary = Boundary(RandomState::new().hash_one(size));
                let kind = format_args!("{kind}{charset}");
                let (segments, texts) =
                    multipart(request, parts.as_slice(), &boundary, kind, size)?;
                let value =
                    header_value(pool, format_args!("multipart/byteranges; boundary={boundary}"))?;
                headers.insert(header::CONTENT_TYPE, value);
                send(request, &mut response, file, segments, texts)?;
            }
        }
    }
    Ok(response)
}

/// What is asked for. Only GET has ranges; a HEAD is answered as a GET without one (RFC 9110,
/// 14.2).
fn wanted(request: &Request<'_>, validators: &Validators<'_>, size: u64) -> Wanted {
    let headers: &HeaderMap = &request.head.headers;
    match headers.get(header::RANGE).and_then(|value| value.to_str().ok()) {
        Some(value) if request.head.method == Method::GET && validators.range_allowed(headers) => {
            range::parse(value, size)
        }
        _ => Wanted::Whole,
    }
}

/// Gives `response` its length and, unless only the head is wanted, its body.
fn send(
    request: &Request<'_>,
    response: &mut Response<Body>,
    file: File,
    segments: &[Segment],
    texts: &[u8],
) -> Result<(), Fault> {
    let length: u64 = segments.iter().map(|segment| segment.text as u64 + segment.length).sum();
    if length == 0 || request.head.method == Method::HEAD {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    } else {
        // hyper says how long it is. With that the headers would be seven, for which a map of them has
        // to grow.
        let label = format_args!("{}", request.label);
        let parts = FileParts { file, segments, texts, label, headroom: request.headroom() };
        *response.body_mut() = Body::File(FileBody::new(request.pool, parts)?);
    }
    Ok(())
}

/// The value of `Content-Type`. Of the usual ones nothing is made: they are there already.
fn content_type(
    pool: &Pool,
    kind: &'static str,
    charset: &'static str,
) -> Result<HeaderValue, Fault> {
    Ok(match (kind, charset) {
        (_, "") => HeaderValue::from_static(kind),
        ("text/plain", mime::UTF8) => {
            const { HeaderValue::from_static("text/plain; charset=utf-8") }
        }
        ("text/html", mime::UTF8) => const { HeaderValue::from_static("text/html; charset=utf-8") },
        ("text/css", mime::UTF8) => const { HeaderValue::from_static("text/css; charset=utf-8") },
        ("text/javascript", mime::UTF8) => {
            const { HeaderValue::from_static("text/javascript; charset=utf-8") }
        }
        ("image/svg+xml", mime::UTF8) => {
            const { HeaderValue::from_static("image/svg+xml; charset=utf-8") }
        }
        _ => header_value(pool, format_args!("{kind}{charset}"))?,
    })
}

/// Lays out a `multipart/byteranges` body: for each part its head, then that part of the file; then
/// the last boundary.
fn multipart<'p>(
    request: &Request<'p>,
    parts: &[Part],
    boundary: &Boundary,
    kind: fmt::Arguments<'_>,
    size: u64,
) -> Result<(&'p [Segment], &'p [u8]), Fault> {
    let pool = &**request.pool;
    let none = Segment { text: 0, start: 0, length: 0 };
    let segments = pool.try_alloc_slice_fill_with(parts.len() + 1, |_| none)?;
    let mut texts = Buffer::new(pool);
    for (segment, part) in segments.iter_mut().zip(parts) {
        let before = texts.len();
        let break_before = if before == 0 { "" } else { "\r\n" };
        let range = Extent(part, size);
        texts.try_extend_fmt(format_args!(
            "{break_before}--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {range}\r\n\r\n"
        ))?;
        let text = texts.len() - before;
        *segment = Segment { text, start: part.start, length: part.length };
    }
    let before = texts.len();
    texts.try_extend_fmt(format_args!("\r\n--{boundary}--\r\n"))?;
    segments[parts.len()].text = texts.len() - before;
    Ok((segments, texts.into_slice()))
}

/// Random, so that no file can be made to hold it.
struct Boundary(u64);

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cenote-{:016x}", self.0)
    }
}

/// The value of `Content-Range`.
struct Extent<'a>(&'a Part, u64);

impl fmt::Display for Extent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/{}", self.0.start, self.0.last(), self.1)
    }
}
