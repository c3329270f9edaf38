//! Proves that the example works as its users would use it: over sockets, on the multi-thread
//! runtime, with many clients at once, over a real database; and that nothing of it stays.

#[allow(dead_code, unreachable_pub, reason = "the example's `main` is not run here")]
#[path = "../examples/notes.rs"]
mod notes;

mod common;

use cenote::Account;
use cenote_web::view::View;
use cenote_web::{ConnectionPool, PoolListener};
use common::{Client, until};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// The service, and what is to be looked at and kept while it runs.
struct Running {
    address: SocketAddr,
    account: Account,
    _folder: tempfile::TempDir,
}

async fn serve() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let account = Account::root("notes").with_limit(Some(64 << 20));
    let db = notes::Db::open(&folder.path().join("notes.db")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let view = View::builder(&account).hosts(["test"]).build();
    let app = notes::app(&view, db).merge(notes::pools(&view));
    let app = app.into_make_service_with_connect_info::<ConnectionPool>();
    let listener = PoolListener::new(listener, &account).view(&view).limit(4 << 20);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Running { address, account, _folder: folder }
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notes_are_kept_and_found_as_they_were_sent() {
    let service = serve().await;
    let mut client = Client::connect(service.address).await;
    let note = json!({ "title": "Zoë's \"tea\"\n", "text": "\u{1F375} ".repeat(3000),
        "tags": ["urgent", "shop", "shop"] });
    let answer = client.post("/notes", note.to_string().as_bytes()).await;
    assert_eq!((answer.status, answer.text()), (201, "{\"id\":1}"));
    // The same in other words: escapes that no borrowed string could be read from.
    let second = br#"{"text": "\u0061\/b", "tags": [], "title": "x\ty", "more": [1, {"a": "\n"}]}"#;
    assert_eq!(parsed(&client.post("/notes", second).await.body), json!({ "id": 2 }));

    let answer = client.get("/notes/1").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    let expected = json!({ "id": 1, "title": note["title"], "text": note["text"],
        "tags": ["shop", "urgent"] });
    assert_eq!(parsed(&answer.body), expected);
    let other = json!({ "id": 2, "title": "x\ty", "text": "a/b", "tags": [] });
    assert_eq!(parsed(&client.get("/notes/2").await.body), other);
    assert_eq!(parsed(&client.get("/tags/shop").await.body), json!([expected]));
    assert_eq!(parsed(&client.get("/tags/none").await.body), json!([]));

    assert_eq!(client.get("/notes/3").await.status, 404);
    let bad = client.post("/notes", br#"{"title": "x", "text": 7, "tags": []}"#).await;
    assert_eq!(bad.status, 400);
    assert!(bad.text().contains("invalid type: integer `7`"), "{}", bad.text());
    let cut = client.post("/notes", br#"{"title": "x", "text": "#).await;
    assert_eq!(cut.status, 400);

    // All this over one connection, whose account has what its requests left.
    let connection = service.account.snapshot().children[0].clone();
    assert_eq!((connection.name.as_str(), connection.live), ("connection", 1));
    drop(client);
    let account = &service.account;
    until("the connection's end", || account.held() == 0 && account.snapshot().live_below() == 0)
        .await;
}

trait LiveBelow {
    fn live_below(&self) -> usize;
}

impl LiveBelow for cenote::inspect::AccountSnapshot {
    fn live_below(&self) -> usize {
        self.live + self.children.iter().map(LiveBelow::live_below).sum::<usize>()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_over_its_limit_is_a_503_that_names_it_and_others_are_served() {
    let service = serve().await;
    let mut client = Client::connect(service.address).await;
    let large = json!({ "title": "large", "text": "x".repeat(100_000), "tags": ["all"] });
    for _ in 0..12 {
        assert_eq!(client.post("/notes", large.to_string().as_bytes()).await.status, 201);
    }
    // Twelve of a hundred thousand bytes, and their JSON, are more than a megabyte.
    let refused = client.get("/tags/all").await;
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("account notes/connection/request"), "{}", refused.text());
    assert!(refused.text().contains("limit of 1048576 bytes"), "{}", refused.text());
    let one = client.get("/notes/1").await;
    assert_eq!((one.status, parsed(&one.body)["title"].as_str()), (200, Some("large")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_pools_are_shown_while_requests_are_under_way() {
    let service = serve().await;
    let mut client = Client::connect(service.address).await;
    // Half of a request: its pool is there until the rest comes, or the client goes.
    let mut half = Client::connect(service.address).await;
    let head = b"POST /notes HTTP/1.1\r\nhost: test\r\ncontent-length: 3000\r\n\r\n{\"title\": ";
    half.stream.write_all(head).await.unwrap();
    // A look that is made while its pool begins may take its account for one whose pools it is never
    // shown, once.
    let is_shown = |pool: &Value| pool["name"] == "request" && pool["kind"] == "shared";
    let look = async {
        loop {
            let shown = parsed(&client.get("/pools.json").await.body);
            let pools = shown["pools"].as_array().unwrap();
            let names = |name| pools.iter().filter(|pool| pool["name"] == name).count();
            // None for the requests that look: they are not under the layer.
            let all = (names("request"), names("connection"), pools.len()) == (1, 2, 3);
            if all && pools.iter().any(is_shown) {
                return shown;
            }
        }
    };
    let limit = std::time::Duration::from_secs(30);
    let shown = tokio::time::timeout(limit, look).await.expect("the pools are shown");
    let pools = shown["pools"].as_array().unwrap();
    let request = pools.iter().find(|pool| pool["name"] == "request").unwrap();
    assert_eq!(request["path"], json!(["notes", "connection", "request"]));
    assert_eq!((&request["kind"], &request["limit_bytes"]), (&"shared".into(), &(1 << 20).into()));
    drop(half);
    until("the request's end", || service.account.snapshot().live_below() == 1).await;
    let metrics = client.get("/metrics").await;
    assert!(metrics.text().contains("cenote_pools_live{account=\"notes/connection/request\"} 0"));
    assert_eq!(client.post("/pools", b"").await.status, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_at_once_get_their_own_notes() {
    let service = serve().await;
    let clients: Vec<_> = (0..16)
        .map(|me| {
            let address = service.address;
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                for round in 0..20 {
                    let title = format!("{me}-{round}");
                    let note = json!({ "title": title, "text": title.repeat(me * 20),
                        "tags": [format!("of-{me}"), format!("at-{round}")] });
                    let id = client.post("/notes", note.to_string().as_bytes()).await;
                    let id = parsed(&id.body)["id"].as_i64().unwrap();
                    let back = parsed(&client.get(&format!("/notes/{id}")).await.body);
                    assert_eq!((&back["title"], &back["text"]), (&note["title"], &note["text"]));
                }
                let mine = parsed(&client.get(&format!("/tags/of-{me}")).await.body);
                assert_eq!(mine.as_array().unwrap().len(), 20);
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let account = &service.account;
    until("the end of all", || account.held() == 0 && account.snapshot().live_below() == 0).await;
}
