//! A room: what somebody says over a WebSocket all others hear as server-sent events, from handlers that
//! live for hours and hold no more after them than at first.
//!
//! ```sh
//! cargo run --release -p cenote-web --example live
//! curl -N localhost:3000/events
//! websocat ws://localhost:3000/socket
//! ```
//!
//! `http://localhost:3000/pools` shows the pools meanwhile, to this machine. docs/RECIPES.md has more words.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use cenote::{Account, SharedPool};
use cenote_web::json::PoolVec;
use cenote_web::view::View;
use cenote_web::{ConnectionPool, Error, PoolLayer, PoolListener, RequestPool};
use futures_util::{StreamExt, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use std::convert::Infallible;
use std::fmt;
use tokio::sync::broadcast::{self, error::RecvError};

/// What a client may send at once.
const MESSAGE: usize = 64 << 10;
/// What tungstenite buffers in each direction.
const BUFFER: usize = 16 << 10;
/// What a socket may hold: its buffers, and the pool of the message at hand.
const SOCKET: usize = 384 << 10;
/// Events that wait for a client. One that is slower misses some.
const WAITING: usize = 16;

/// What all handlers share.
#[derive(Clone)]
pub struct Room {
    events: broadcast::Sender<Bytes>,
    /// Charged with what is being heard.
    account: Account,
}

async fn socket(
    ws: WebSocketUpgrade,
    connection: ConnectionPool, // not the request's: that ends with the answer to it
    State(room): State<Room>,
) -> Result<Response, Error> {
    let above = connection.account().unwrap_or(&room.account);
    let account = above.shared_child("socket").with_limit(Some(SOCKET));
    let buffers = account.try_reserve(2 * BUFFER + MESSAGE)?; // tungstenite's: in no pool
    let ws = ws.max_message_size(MESSAGE).read_buffer_size(BUFFER).write_buffer_size(BUFFER);
    Ok(ws.max_write_buffer_size(BUFFER + MESSAGE).on_upgrade(async move |mut socket| {
        if let Err(error) = talk(&mut socket, &account, &room).await {
            eprintln!("a socket is closed: {error}");
            let (code, reason) = (close_code::AGAIN, Utf8Bytes::from_static("no memory"));
            drop(socket.send(Message::Close(Some(CloseFrame { code, reason }))).await);
        }
        drop((buffers, connection)); // with the socket
    }))
}

async fn talk(socket: &mut WebSocket, account: &Account, room: &Room) -> Result<(), Error> {
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(text) = message else { continue };
        let pool = SharedPool::try_on(account)?; // for this message, and for nothing after it
        let mut words = PoolVec::new_in(pool.clone());
        for word in text.split_whitespace() {
            words.try_push(word)?;
        }
        room.say(&text)?;
        let answer = pool.try_freeze_fmt(format_args!("{} words", words.len()))?; // not copied
        let answer = Utf8Bytes::try_from(answer).unwrap_or_default();
        if socket.send(Message::Text(answer)).await.is_err() {
            break;
        }
    }
    Ok(())
}

impl Room {
    /// A room that is charged to an account of its own.
    pub fn new(service: &Account) -> Self {
        let account = service.shared_child("events").with_limit(Some(8 << 20));
        Self { events: broadcast::channel(WAITING).0, account }
    }

    /// An event, in a pool that is there until the last client has been sent it, or missed it.
    fn say(&self, text: &str) -> Result<(), Error> {
        let pool = SharedPool::try_on(&self.account)?;
        let event = pool.try_freeze_fmt(format_args!("{}\n", Data(text)))?;
        drop(self.events.send(event)); // nobody may be there
        Ok(())
    }
}

async fn events(State(room): State<Room>, pool: RequestPool) -> Result<Response, Error> {
    // The request's pool is there as long as the stream: for what is made once for each client.
    let hello =
        pool.try_freeze_fmt(format_args!(": {} others\n\n", room.events.receiver_count()))?;
    let heard = stream::unfold(room.events.subscribe(), async |mut events| {
        loop {
            match events.recv().await {
                Ok(event) => return Some((event, events)),
                Err(RecvError::Lagged(_)) => {} // too slow for some, which are gone
                Err(RecvError::Closed) => return None,
            }
        }
    });
    let all = stream::iter([hello]).chain(heard).map(Ok::<_, Infallible>);
    let head = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    Ok((head, Body::from_stream(all)).into_response())
}

/// Text as the lines of an event. A line ends at either of two characters, there.
struct Data<'a>(&'a str);

impl fmt::Display for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.split(['\n', '\r']).try_for_each(|line| writeln!(f, "data: {line}"))
    }
}

/// The service. A stream of events may hold 64 KiB of its own.
pub fn app(view: &View, room: Room) -> Router {
    Router::new()
        .route("/events", get(events))
        .route("/socket", get(socket))
        .layer(PoolLayer::new(view.root()).view(view).by_route().limit(64 << 10))
        .route_service("/pools", view.service())
        .route_service("/pools.json", view.service())
        .route_service("/metrics", view.service())
        .with_state(room)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = Account::root("live").with_limit(Some(256 << 20));
    let view = View::builder(&service).build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}/pools", listener.local_addr()?);
    let listener = PoolListener::new(listener, &service).view(&view);
    let app = app(&view, Room::new(&service));
    axum::serve(listener, app.into_make_service_with_connect_info::<ConnectionPool>()).await?;
    Ok(())
}
