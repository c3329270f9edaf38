//! HTTP/2 in the clear, by a client that knows beforehand that nginx speaks it.

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request};
use std::fmt::Write as _;
use std::net::SocketAddr;

type Failed = Box<dyn std::error::Error>;

/// Asks on one connection, many at once; heads and bodies as they came, in the order asked.
///
/// # Panics
/// If there is no answer.
#[must_use]
pub fn ask(address: SocketAddr) -> Vec<(String, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    runtime.expect("a runtime").block_on(conversation(address)).expect("HTTP/2")
}

async fn conversation(address: SocketAddr) -> Result<Vec<(String, Vec<u8>)>, Failed> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    // Answers are read in order: none may be kept waiting by what others have in flight. Within
    // each, nginx has to wait for the window to be moved.
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(100_000).initial_connection_window_size(1 << 30);
    let (client, connection) = builder.handshake(stream).await?;
    let talk = async move {
        let mut waiting = Vec::new();
        for round in 0..3_usize {
            for path in [
                "/",
                "/small.txt",
                "/large.bin",
                "/missing",
                "/list/",
                "/ssi/page.shtml",
                "/proxy/echo",
                "/proxy/chunked",
                "/proxy/big",
                "/proxymany/",
                "/empty.txt",
            ] {
                waiting.push(start(&client, Method::GET, path, Vec::new(), round).await?);
            }
            for size in [0, 1000, 50_000] {
                let body = vec![b'b'; size];
                waiting.push(start(&client, Method::POST, "/proxy/echo", body, round).await?);
            }
            waiting.push(start(&client, Method::HEAD, "/large.bin", Vec::new(), round).await?);
        }
        let mut answers = Vec::new();
        for (name, response) in waiting {
            let (head, mut body) = response.await?.into_parts();
            let mut text = format!("{}\n", head.status);
            for (name, value) in &head.headers {
                if name != "date" {
                    let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
                }
            }
            let mut answer = text.into_bytes();
            while let Some(data) = body.data().await {
                let data = data?;
                let _ = body.flow_control().release_capacity(data.len());
                answer.extend_from_slice(&data);
            }
            answers.push((name, answer));
        }
        Ok::<_, Failed>(answers)
    };
    // The connection moves only while it is polled, beside the talk.
    let mut connection = std::pin::pin!(connection);
    let mut talk = std::pin::pin!(talk);
    std::future::poll_fn(|context| {
        if let std::task::Poll::Ready(done) = talk.as_mut().poll(context) {
            return std::task::Poll::Ready(done);
        }
        match connection.as_mut().poll(context) {
            std::task::Poll::Ready(Err(error)) => std::task::Poll::Ready(Err(error.into())),
            _ => std::task::Poll::Pending,
        }
    })
    .await
}

type Waiting = (String, h2::client::ResponseFuture);

async fn start(
    client: &SendRequest<Bytes>,
    method: Method,
    path: &str,
    body: Vec<u8>,
    round: usize,
) -> Result<Waiting, Failed> {
    let name = format!("HTTP/2, round {round}, {method} {path}, {} bytes", body.len());
    let mut request = Request::builder().method(method).uri(format!("http://test{path}"));
    for n in 0..round * 20 {
        request = request.header(format!("x-header-{n}"), "v".repeat(n));
    }
    let mut client = client.clone().ready().await?;
    let request = request.body(()).expect("a request");
    let (response, mut sending) = client.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        sending.reserve_capacity(body.len());
        sending.send_data(Bytes::from(body), true)?;
    }
    Ok((name, response))
}
