//! Notes with tags: a JSON API over SQLite, each request of which is parsed, worked on and
//! answered in a pool of its own.
//!
//! ```sh
//! cargo run --release -p cenote-web --example notes
//! curl -d '{"title": "Tea", "text": "Buy some.", "tags": ["shop", "urgent"]}' localhost:3000/notes
//! curl localhost:3000/notes/1
//! curl localhost:3000/tags/shop
//! ```
//!
//! `http://localhost:3000/pools` shows the pools meanwhile, to this machine.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use cenote::{Account, AllocError, SharedPool};
use cenote_web::json::{self, PoolVec};
use cenote_web::view::{View, events};
use cenote_web::{ConnectionPool, Error, PoolBytes, PoolLayer, PoolListener, RequestPool};
use http::StatusCode;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tower_http::timeout::TimeoutLayer;

/// How long a request may be worked on: a client that has gone is not always noticed.
const TIME: Duration = Duration::from_secs(10);

/// What a client sends. Its strings are in the request's body, or beside it in the pool.
#[derive(Deserialize)]
struct NewNote<'p> {
    title: &'p str, // in the body, or unescaped beside it: no `String`
    text: &'p str,
    #[serde(borrow)]
    tags: PoolVec<&'p str>,
}

/// What a client gets. Its strings were copied from SQLite's rows into the pool.
#[derive(Serialize)]
struct Note<'p> {
    id: i64,
    title: &'p str,
    text: &'p str,
    tags: PoolVec<&'p str>,
}

async fn add(State(db): State<Db>, pool: RequestPool, body: PoolBytes) -> Result<Response, Fault> {
    let id = db.run(move |db| insert(db, &body.json()?)).await?; // on a thread that may block
    let body = pool.try_freeze_fmt(format_args!("{{\"id\":{id}}}"))?; // Bytes that keep the pool
    Ok((StatusCode::CREATED, json::bytes_response(body)).into_response())
}

fn insert(db: &mut Connection, note: &NewNote<'_>) -> Result<i64, Fault> {
    let all = db.transaction()?;
    all.prepare_cached("insert into notes (title, text) values (?, ?)")?
        .execute((note.title, note.text))?;
    let id = all.last_insert_rowid();
    let mut tag = all.prepare_cached("insert or ignore into tags values (?, ?)")?;
    note.tags.iter().try_for_each(|name| tag.execute((id, name)).map(|_| ()))?;
    drop(tag);
    all.commit()?;
    Ok(id)
}

async fn one(
    State(db): State<Db>,
    pool: RequestPool,
    Path(id): Path<i64>,
) -> Result<Response, Fault> {
    let body = db
        .run(move |db| {
            let mut one = db.prepare_cached("select id, title, text from notes where id = ?")?;
            let note = one.query_row([id], |row| Ok(note(&pool, db, row))).optional()?;
            Ok(json::to_bytes(&pool, &note.ok_or(Fault::NotFound)??)?)
        })
        .await?;
    Ok(json::bytes_response(body))
}

async fn tagged(
    State(db): State<Db>,
    pool: RequestPool,
    Path(tag): Path<String>,
) -> Result<Response, Fault> {
    let body: Bytes = db
        .run(move |db| {
            let mut all = db.prepare_cached(
                "select id, title, text from notes join tags on note = id where tag = ? order by id",
            )?;
            let mut rows = all.query([tag])?;
            let mut notes = PoolVec::new_in(pool.handle());
            while let Some(row) = rows.next()? {
                notes.try_push(note(&pool, db, row)?)?;
            }
            Ok(json::to_bytes(&pool, &notes)?)
        })
        .await?;
    Ok(json::bytes_response(body))
}

/// A row, and its tags, in the pool.
fn note<'p>(pool: &'p SharedPool, db: &Connection, row: &Row<'_>) -> Result<Note<'p>, Fault> {
    let text = |row: &Row<'_>, column| -> Result<&'p str, Fault> {
        let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
        Ok(pool.try_alloc_str(text)?)
    };
    let id = row.get(0)?;
    let mut tags = PoolVec::new_in(pool.clone());
    let mut select = db.prepare_cached("select tag from tags where note = ? order by tag")?;
    let mut rows = select.query([id])?;
    while let Some(row) = rows.next()? {
        tags.try_push(text(row, 0)?)?;
    }
    Ok(Note { id, title: text(row, 1)?, text: text(row, 2)?, tags })
}

/// The service. Each request may hold a megabyte.
pub fn app(view: &View, db: Db) -> Router {
    Router::new()
        .route("/notes", post(add))
        .route("/notes/{id}", get(one))
        .route("/tags/{tag}", get(tagged))
        .layer(PoolLayer::new(view.root()).view(view).under_connections().limit(1 << 20))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, TIME))
        .with_state(db)
}

/// The pools of the service, live.
pub fn pools(view: &View) -> Router {
    Router::new()
        .route_service("/pools", view.service())
        .route_service("/pools.json", view.service())
        .route_service("/metrics", view.service())
}

/// The database, used by one thread at a time, of those that may block.
#[derive(Clone)]
pub struct Db(Arc<Mutex<Connection>>);

impl Db {
    /// Opens it, and makes its tables if need be.
    pub fn open(path: &std::path::Path) -> rusqlite::Result<Self> {
        let db = Connection::open(path)?;
        db.execute_batch(
            "pragma journal_mode = wal; pragma synchronous = normal;
             create table if not exists notes (
                 id integer primary key, title text not null, text text not null);
             create table if not exists tags (
                 note integer not null, tag text not null, primary key (tag, note)) without rowid;
             create index if not exists tags_of on tags (note);",
        )?;
        Ok(Self(Arc::new(Mutex::new(db))))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let db = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            // A panic leaves a transaction to be rolled back, nothing worse.
            work(&mut db.lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

/// What can go wrong: memory or JSON, the database, and notes that are not there.
pub enum Fault {
    /// Memory was refused, or the request is not as expected.
    Pool(Error),
    /// The database failed.
    Db(rusqlite::Error),
    /// There is no such note.
    NotFound,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Pool(error)
    }
}

impl From<AllocError> for Fault {
    fn from(error: AllocError) -> Self {
        Self::Pool(error.into())
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Db(error)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        match self {
            Self::Pool(error) => error.into_response(),
            Self::Db(error) => {
                eprintln!("database: {error}");
                (StatusCode::INTERNAL_SERVER_ERROR, "the database failed\n").into_response()
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "no such note\n").into_response(),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    events::install(); // for whoever subscribes to `tracing`
    let service = Account::root("notes").with_limit(Some(256 << 20));
    let view = View::builder(&service).age_limit("request", Duration::from_secs(10)).build();
    let db = Db::open(std::path::Path::new("notes.db"))?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let address = listener.local_addr()?;
    println!("http://{address}/notes\nhttp://{address}/pools");
    let listener = PoolListener::new(listener, &service).view(&view).limit(4 << 20);
    let app = app(&view, db).merge(pools(&view));
    axum::serve(listener, app.into_make_service_with_connect_info::<ConnectionPool>()).await?;
    Ok(())
}
