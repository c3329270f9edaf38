//! The hyper server without pools: the same runtime and connection set-up as `cenote serve`, a
//! worker of one thread, with `Vec` and `String` where that has pools. What it serves is files of one
//! folder, read whole; it is here to be measured, not to be used.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT_RANGES, CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

/// Serves `argv[1]` at `argv[2]` until it is killed.
pub(crate) fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(listen)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: cenote-bench-plain-... FOLDER ADDRESS:PORT");
        std::process::exit(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, serve(PathBuf::from(folder).into(), listen));
}

async fn serve(folder: Rc<Path>, listen: String) {
    let listener = TcpListener::bind(listen).await.expect("an address to listen at");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let folder = folder.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| answer(folder.clone(), request));
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    folder: Rc<Path>,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(file(&folder, &request).unwrap_or_else(|status| {
        let mut response = Response::new(Full::new(Bytes::from(format!("{status}\n"))));
        *response.status_mut() = status;
        response
    }))
}

fn file(
    folder: &Path,
    request: &Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, StatusCode> {
    if request.method() != Method::GET {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let path = request.uri().path().trim_start_matches('/').to_owned();
    if path.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
        return Err(StatusCode::NOT_FOUND);
    }
    let mut file = std::fs::File::open(folder.join(&path)).map_err(|_| StatusCode::NOT_FOUND)?;
    let known = file.metadata().map_err(|_| StatusCode::NOT_FOUND)?;
    let mut body = Vec::with_capacity(known.len() as usize);
    std::io::Read::read_to_end(&mut file, &mut body).map_err(|_| StatusCode::NOT_FOUND)?;
    let changed = known.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let seconds = changed.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let header = |text: String| HeaderValue::from_str(&text).map_err(|_| StatusCode::NOT_FOUND);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        header(mime_guess::from_path(&path).first_or_octet_stream().to_string())?,
    );
    headers.insert(ETAG, header(format!("\"{seconds:x}-{:x}\"", known.len()))?);
    headers.insert(LAST_MODIFIED, header(httpdate::fmt_http_date(changed))?);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(response)
}
