//! A request in `Vec` and `String`.

use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_RANGES, CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED};
use hyper::{Request, Response, StatusCode};

/// Answers a request.
pub(super) async fn answer(
    folder: Rc<Path>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(file(&folder, &request).unwrap_or_else(|status| {
        let mut response = Response::new(Full::new(Bytes::from(format!("{status}\n"))));
        *response.status_mut() = status;
        response
    }))
}

fn file(folder: &Path, request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, StatusCode> {
    let path = super::path(request)?.to_owned();
    super::checked(&path)?;
    let (file, length, changed) = super::open(folder, &path)?;
    let mut body = vec![0; length];
    super::read(file, &mut body)?;
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let headers = response.headers_mut();
    let kind = mime_guess::from_path(&path).first_or_octet_stream().to_string();
    headers.insert(CONTENT_TYPE, super::header(&kind)?);
    let etag = format!("\"{:x}-{length:x}\"", super::seconds(changed));
    headers.insert(ETAG, super::header(&etag)?);
    let changed = httpdate::HttpDate::from(changed).to_string();
    headers.insert(LAST_MODIFIED, super::header(&changed)?);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(response)
}
