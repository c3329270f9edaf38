//! The view over HTTP: which requests are its own, and the answers.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use tokio::sync::oneshot;

use super::access::Refusal;
use super::exposition::Format;
use super::observer::{Found, Given, Missing, Wanted};
use super::{View, page};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// The text format of Prometheus.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// The answer to a request, in the making: a future. Owns all it needs, on any thread.
#[must_use = "a future does nothing unless it is awaited"]
#[derive(Debug)]
pub struct Answer {
    made: Made,
    kind: HeaderValue,
}

#[derive(Debug)]
enum Made {
    Now(Option<Response<Bytes>>),
    Later(oneshot::Receiver<Found>),
}

impl View {
    /// Answers a request for a path of the view's: `/pools`, `/pools.json`, `/metrics`. `None`:
    /// it is for another path. `peer` is the client's address, if it is known.
    ///
    /// `/pools.json?pool=ID` gives the blocks of one pool, `?ago=SECONDS` and `?history` what is kept by
    /// a [history](super::ViewBuilder::history). The response to a HEAD has a body,
    /// which servers leave out.
    pub fn answer(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Option<Answer> {
        let path = uri.path();
        if !matches!(path, "/pools" | "/pools.json" | "/metrics") {
            return None;
        }
        if let Err(refusal) = self.state.policy.check(method, uri, headers, peer) {
            return Some(Answer::now(refused(refusal)));
        }
        Some(match path {
            "/pools" => Answer::now(page::response()),
            "/metrics" => {
                let format = Format::of(headers);
                let kind = if format == Format::Text { METRICS } else { OPEN_METRICS };
                self.wait_for(Wanted::Metrics(format), kind)
            }
            _ => match (query(uri, "pool"), query(uri, "ago")) {
                (Some(id), _) => self.wait_for(Wanted::Map(id.to_owned()), JSON),
                (None, Some(ago)) => match ago.parse() {
                    Ok(seconds) => self.wait_for(Wanted::Ago(seconds), JSON),
                    Err(_) => Answer::now(words(
                        StatusCode::BAD_REQUEST,
                        "ago is a whole number of seconds, as in /pools.json?ago=300",
                    )),
                },
                (None, None) if uri.query() == Some("history") => {
                    self.wait_for(Wanted::History, JSON)
                }
                (None, None) => self.wait_for(Wanted::Json, JSON),
            },
        })
    }

    fn wait_for(&self, wanted: Wanted, kind: HeaderValue) -> Answer {
        match self.observer.ask(wanted) {
            Ok(answer) => Answer { made: Made::Later(answer), kind },
            Err(_) => Answer::now(unavailable()),
        }
    }
}

/// A value of the query, as it stands there: ids need no decoding.
fn query<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
}

impl Answer {
    fn now(response: Response<Bytes>) -> Self {
        Self { made: Made::Now(Some(response)), kind: TEXT }
    }
}

impl Future for Answer {
    type Output = Response<Bytes>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Bytes>> {
        let this = self.get_mut();
        match &mut this.made {
            // Polled again after it was ready: a mistake of the caller's, met without a panic.
            Made::Now(response) => Poll::Ready(response.take().unwrap_or_else(unavailable)),
            Made::Later(answer) => Pin::new(answer).poll(cx).map(|answer| {
                this.made = Made::Now(None);
                match answer {
                    Ok(Ok(Given::Body(body))) => {
                        respond(StatusCode::OK, this.kind.clone(), body)
                    }
                    Ok(Err(Missing::Gone)) => {
                        words(StatusCode::NOT_FOUND, "there is no such pool, not any more")
                    }
                    Ok(Err(Missing::Past)) => words(
                        StatusCode::NOT_FOUND,
                        "nothing is kept of that moment: there is no history, or it does not go back so far",
                    ),
                    Ok(Err(Missing::Busy)) => {
                        words(StatusCode::SERVICE_UNAVAILABLE, "its thread has no time now")
                    }
                    // Nothing else is given where a body was asked for.
                    Ok(Ok(Given::Look(_) | Given::Families(_))) | Err(_) => unavailable(),
                }
            }),
        }
    }
}

fn refused(refusal: Refusal) -> Response<Bytes> {
    let mut response = words(refusal.status, refusal.why);
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn unavailable() -> Response<Bytes> {
    words(StatusCode::SERVICE_UNAVAILABLE, "the view cannot answer now")
}

fn words(status: StatusCode, why: &str) -> Response<Bytes> {
    respond(status, TEXT, Bytes::from(format!("{why}\n")))
}

/// A response that nobody keeps, and that no other site may use.
pub(super) fn respond(status: StatusCode, kind: HeaderValue, body: Bytes) -> Response<Bytes> {
    const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), SAME_ORIGIN);
    response
}

pub(super) fn html(body: Bytes, policy: HeaderValue) -> Response<Bytes> {
    let mut response = respond(StatusCode::OK, HTML, body);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
