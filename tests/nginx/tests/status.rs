//! `cenote_status`: who holds how much, as text and as JSON.

use cenote_nginx_tests::server::Server;
use cenote_nginx_tests::site::{Addresses, Manner, Site};
use cenote_nginx_tests::tree::{Kind, build};
use cenote_nginx_tests::until;
use cenote_nginx_tests::upstream::Upstream;
use cenote_nginx_tests::wire::{Wire, ask, get};
use rustix::process::Signal;
use serde_json::Value;
use std::net::SocketAddr;

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

fn pools(address: SocketAddr, request: &[u8]) -> Vec<Value> {
    let answer = String::from_utf8(ask(address, request).expect("an answer")).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("Content-Type: application/json\r\n"), "{answer}");
    let (_, json) = answer.split_once("\r\n\r\n").expect("a body");
    let document: Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(document["schema"], 1);
    document["accounts"].as_array().expect("accounts").clone()
}

/// What one function's pools of one size are.
fn row<'a>(pools: &'a [Value], name: &str, size: u64) -> &'a Value {
    let row = pools.iter().find(|row| row["path"][2] == name && row["pool_bytes"] == size);
    row.unwrap_or_else(|| panic!("no {name} of {size} in {pools:#?}"))
}

#[test]
fn the_status_page_tells_who_made_which_pools_and_what_they_hold() {
    let Some(tree) = build(Kind::Cenote, TMP) else { return };
    let (site, upstream, addresses) = (Site::new(), Upstream::start(), Addresses::free());
    let manner = Manner { status: true, ..Manner::default() };
    let config = site.config(&addresses, &upstream, manner);
    let server = Server::start(&tree, &config, addresses.http[0], &[], &[]);
    let address = addresses.http[0];
    let json = get("/pools?json");

    // Alone, it sees itself.
    let before = pools(address, &json);
    let requests = row(&before, "ngx_http_alloc_request", 4096);
    assert_eq!(requests["live"], 1);
    assert!(requests["created_at"].as_str().unwrap().starts_with("src/http/ngx_http_request.c:"));
    assert_eq!(row(&before, "ngx_event_accept", 512)["live"], 1);
    let worker = &before[0];
    assert_eq!(worker["path"], serde_json::json!(["nginx", "worker-0"]));
    let sum =
        |figure: &str| before[1..].iter().map(|row| row[figure].as_u64().unwrap()).sum::<u64>();
    for figure in ["live", "created", "held_bytes", "blocks", "large", "cleanups"] {
        assert_eq!(worker[figure].as_u64().unwrap(), sum(figure), "{figure}");
    }
    assert!(worker["peak_bytes"].as_u64() >= worker["held_bytes"].as_u64());

    // A hundred connections and ten requests at work, and then none.
    let mut kept: Vec<Wire> = (0..100).map(|_| Wire::open(address).unwrap()).collect();
    for (index, wire) in kept.iter_mut().enumerate() {
        let gate = format!("GET /limited/status-{index} HTTP/1.1\r\nHost: test\r\n\r\n");
        let small = "GET /small.txt HTTP/1.1\r\nHost: test\r\n\r\n".to_owned();
        wire.send(if index < 10 { gate } else { small }.as_bytes()).unwrap();
        if index < 10 {
            upstream.arrived(&format!("status-{index}"));
        } else {
            assert!(!wire.answer(false).unwrap().is_empty());
        }
    }
    let busy = pools(address, &json);
    let requests = row(&busy, "ngx_http_alloc_request", 4096);
    assert_eq!(requests["live"], 11);
    assert!(requests["held_bytes"].as_u64() >= Some(11 * 4096));
    assert!(requests["created"].as_u64() >= Some(102));
    assert!(
        requests["cleanups"].as_u64() >= Some(10),
        "each counts against a limit until it is cleaned up"
    );
    let connections = row(&busy, "ngx_event_accept", 512);
    assert_eq!(connections["live"], 101);
    for index in 0..10 {
        upstream.open(&format!("status-{index}"));
    }
    drop(kept);
    until("all pools are gone again", || {
        let now = pools(address, &json);
        row(&now, "ngx_http_alloc_request", 4096)["live"] == 1
            && row(&now, "ngx_event_accept", 512)["live"] == 1
    });
    let after = pools(address, &json);
    let requests = row(&after, "ngx_http_alloc_request", 4096);
    assert!(requests["peak_bytes"].as_u64() >= Some(11 * 4096));
    assert!(requests["held_bytes"].as_u64() <= Some(3 * 4096), "{requests:#}");

    // By size, by Accept, as text, and by no other method.
    let _ = ask(addresses.http[1], &get("/small.txt"));
    assert!(
        row(&pools(address, &json), "ngx_http_alloc_request", 112)["created"].as_u64() >= Some(1)
    );
    let accept =
        b"GET /pools HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept: application/json\r\n\r\n";
    assert!(!pools(address, accept).is_empty());
    let text = String::from_utf8(ask(address, &get("/pools")).unwrap()).unwrap();
    assert!(text.contains("Content-Type: text/plain\r\n"), "{text}");
    for word in ["creator", "ngx_http_alloc_request", "src/event/ngx_event_accept.c:", "worker-0"] {
        assert!(text.contains(word), "{text}");
    }
    let post = b"POST /pools HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert!(ask(address, post).unwrap().starts_with(b"HTTP/1.1 405"));
    server.stop(Signal::QUIT, &[]);
}
