//! `/pools` and `/pools.json`.

use serde_json::Value;

use crate::support::{Site, eventually, noise};

fn figures(site: &Site) -> Vec<Value> {
    let response = site.get("/pools.json");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    let document: Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(document["schema"], 1);
    document["accounts"].as_array().expect("rows").clone()
}

fn row<'a>(rows: &'a [Value], path: &[&str]) -> Option<&'a Value> {
    rows.iter().find(|row| row["path"] == Value::from(path.to_vec()))
}

#[test]
fn the_figures_count_the_request_that_asks() {
    let site = Site::with(|config| {
        config.workers = 1;
        config.request_limit = Some(1 << 20);
    });
    let rows = figures(&site);
    let request =
        row(&rows, &["process", "worker-0", "connection", "request"]).expect("its own row");
    assert_eq!(request["live"], 1);
    assert_eq!(request["created"], 1);
    assert_eq!(request["limit_bytes"], 1 << 20);
    assert!(request["held_bytes"].as_u64() > Some(0));
    assert!(request["blocks"].as_u64() >= Some(1) || request["large"].as_u64() >= Some(1));
    assert_eq!(request["cleanups"], 0);
    assert_eq!(request["refused"], 0);
    assert!(request["created_at"].as_str().is_some_and(|place| place.contains("request.rs:")));
    let keys: Vec<_> = request.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = [
        "path",
        "live",
        "created",
        "held_bytes",
        "used_bytes",
        "peak_bytes",
        "limit_bytes",
        "refused",
        "blocks",
        "large",
        "cleanups",
        "created_at",
    ];
    expected.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(keys, expected);
    let connection = row(&rows, &["process", "worker-0", "connection"]).expect("its connection");
    assert_eq!(connection["live"], 1);
    assert!(connection["limit_bytes"].is_null());
    let worker = row(&rows, &["process", "worker-0"]).expect("its worker");
    assert_eq!(worker["live"], 1);
    assert_eq!(worker["cleanups"], 1, "the folder is attached to the worker's pool");
    let process = row(&rows, &["process"]).expect("the process");
    for row in &rows {
        assert!(row["used_bytes"].as_u64() <= row["held_bytes"].as_u64(), "{row}");
        assert!(row["held_bytes"].as_u64() <= row["peak_bytes"].as_u64(), "{row}");
        assert!(row["used_bytes"].as_u64() <= process["used_bytes"].as_u64(), "{row}");
    }
}

#[test]
fn every_worker_answers_and_rows_stay_few() {
    let site = Site::with(|config| config.workers = 4);
    site.put("large.bin", noise(20 << 20));
    // Downloads that wait for their clients, on whichever worker.
    let waiting: Vec<_> = (0..40)
        .map(|_| {
            let mut client = site.client();
            client.send("GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n");
            client
        })
        .collect();
    eventually("all are being served", || site.held_by("request").0 >= 40);
    let rows = figures(&site);
    assert!(rows.len() <= 1 + 4 * 3, "{}", rows.len());
    assert!(rows.iter().all(|row| !row["used_bytes"].is_null()));
    let sum = |name: &str, field: &str| -> u64 {
        let of = |row: &&Value| {
            row["path"].as_array().and_then(|path| path.last()) == Some(&Value::from(name))
        };
        rows.iter().filter(of).filter_map(|row| row[field].as_u64()).sum()
    };
    assert_eq!(sum("request", "live"), 41);
    assert_eq!(sum("request", "cleanups"), 40, "each download has a file attached");
    assert_eq!(sum("connection", "live"), 41);
    assert_eq!(sum("worker-0", "live"), 1);
    drop(waiting);
    site.is_quiet();
}

#[test]
fn the_page_shows_the_same_rows_and_can_do_nothing_else() {
    let site = Site::new();
    let response = site.get("/pools");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        response
            .header("content-security-policy")
            .is_some_and(|policy| policy.contains("default-src 'none'"))
    );
    assert!(
        response.text().contains("<tr><td class=d3>request<td class=n>1<"),
        "{}",
        response.text()
    );
    assert_eq!(site.client().ask("POST", "/pools", "").status, 405);
    assert_eq!(site.client().ask("DELETE", "/pools.json", "").status, 405);
}

#[test]
fn others_see_the_pools_only_if_asked_for() {
    let site = Site::with(|config| config.listen = "0.0.0.0:0".to_owned());
    let mut address = site.address();
    address.set_ip([127, 0, 0, 1].into());
    let mut client = crate::client::Client::connect(address);
    assert_eq!(client.get("/pools").status, 404);
    assert_eq!(client.get("/pools.json").status, 404);
    // Then the name is as good as any other.
    site.put("pools", "water");
    assert_eq!(client.get("/pools").text(), "water");
    let site = Site::with(|config| {
        config.listen = "0.0.0.0:0".to_owned();
        config.expose_pools = true;
    });
    address.set_port(site.address().port());
    assert_eq!(crate::client::Client::connect(address).get("/pools.json").status, 200);
}
