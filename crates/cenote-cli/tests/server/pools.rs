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
    // Programs rely on these; more may be added.
    for key in [
        "path",
        "live",
        "created",
        "held_bytes",
        "used_bytes",
        "peak_bytes",
        "recent_peak_bytes",
        "limit_bytes",
        "refused",
        "blocks",
        "large",
        "cleanups",
        "created_at",
    ] {
        assert!(request.get(key).is_some(), "{key}");
    }
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
fn the_page_can_do_nothing_but_ask_again_and_nobody_can_change_anything() {
    let site = Site::new();
    let response = site.get("/pools");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    let policy = response.header("content-security-policy").expect("a policy");
    for part in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for path in ["/pools", "/pools.json", "/metrics", "/pools.json?pool=w0-0"] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            assert_eq!(site.client().ask(method, path, "").status, 405, "{method} {path}");
        }
        let mut client = site.client();
        let head = client.ask("HEAD", path, "");
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(client.get(path).status, 200, "the connection goes on");
    }
}

#[test]
fn what_requests_needed_is_told_by_what_they_were_answered_with() {
    let site = Site::new();
    site.put("folder/a.txt", "a");
    let mut client = site.client();
    for (path, status) in [
        ("/folder/a.txt", 200),
        ("/folder/", 200),
        ("/folder/", 200),
        ("/folder", 301),
        ("/nowhere", 404),
        ("/folder/a.txt/", 404),
        ("/pools.json", 200),
    ] {
        assert_eq!(client.get(path).status, status, "{path}");
    }
    assert_eq!(client.ask("POST", "/folder/a.txt", "").status, 405);
    let counted = || {
        let metrics = site.get("/metrics").text();
        let lines = metrics.lines().filter_map(|line| {
            let (route, count) =
                line.strip_prefix("cenote_request_bytes_count{route=\"")?.split_once("\"} ")?;
            // Each time that it is asked for there is one more of these.
            let count = count.parse::<u64>().expect("a number");
            (route != "view").then(|| (route.to_owned(), count))
        });
        let mut lines: Vec<_> = lines.collect();
        lines.sort();
        lines
    };
    let all = [("error", 3), ("file", 1), ("listing", 2), ("redirect", 1)];
    let all = all.map(|(shape, count)| (shape.to_owned(), count));
    // A response's body is gone some moments after it has been read.
    eventually("all have ended", || counted() == all);
    site.is_quiet();
}

#[test]
fn a_pool_is_shown_block_by_block_while_it_is_there() {
    let site = Site::new();
    site.put("large.bin", noise(20 << 20));
    let mut dawdler = site.client();
    dawdler.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    eventually("it is being served", || site.held_by("request").0 == 1);
    let document = site.get("/pools.json");
    let document: Value = serde_json::from_slice(&document.body).expect("JSON");
    let pools = document["pools"].as_array().expect("pools");
    let pool = pools.iter().find(|pool| pool["large"].as_u64() > Some(0)).expect("the download");
    assert_eq!(pool["name"], "request");
    assert_eq!(pool["path"][2], "connection");
    assert_eq!(pool["numbers"].as_array().map(Vec::len), Some(4));
    assert!(pool["created_at"].as_str().is_some_and(|place| place.contains("request.rs:")));
    assert!(pool["age_seconds"].as_f64().is_some_and(|age| (0.0..60.0).contains(&age)));
    let address = format!("/pools.json?pool={}", pool["id"].as_str().expect("an id"));
    let map: Value = serde_json::from_slice(&site.get(&address).body).expect("JSON");
    let sum = |list: &str, field: &str| -> u64 {
        map[list].as_array().expect("a list").iter().filter_map(|item| item[field].as_u64()).sum()
    };
    let large: u64 = map["large"].as_array().expect("sizes").iter().filter_map(Value::as_u64).sum();
    let held = sum("blocks", "size") + large + map["bookkeeping_bytes"].as_u64().expect("bytes");
    assert_eq!(held, pool["held_bytes"].as_u64().expect("bytes"));
    assert_eq!(
        sum("blocks", "header")
            + sum("blocks", "used")
            + sum("blocks", "gap")
            + sum("blocks", "tail"),
        sum("blocks", "size")
    );
    drop(dawdler);
    site.is_quiet();
    assert_eq!(site.get(&address).status, 404, "it is gone");
    for nonsense in ["", "w0", "w9-0", "s-0", "w0-99999999999999999999", "x-1", "%00"] {
        assert_eq!(site.get(&format!("/pools.json?pool={nonsense}")).status, 404, "{nonsense}");
    }
}

#[test]
fn no_answer_shows_what_is_in_a_pool() {
    const SECRET: &str = "a-secret-that-is-in-pool-memory";
    let site = Site::new();
    // In the query and a header of a request that is being served, in its log label, and in a file's window. Of
    // its path the shape is shown.
    site.put("large.bin", SECRET.repeat(700_000));
    let mut dawdler = site.client();
    dawdler.send(format!(
        "GET /large.bin?key={SECRET} HTTP/1.1\r\nHost: localhost\r\nCookie: {SECRET}\r\n\r\n"
    ));
    eventually("it is being served", || site.held_by("request").0 == 1);
    let list = site.get("/pools.json").text();
    let document: Value = serde_json::from_str(&list).expect("JSON");
    let ids = document["pools"].as_array().expect("pools").iter();
    let ids: Vec<_> = ids.filter_map(|pool| pool["id"].as_str()).collect();
    assert!(!ids.is_empty());
    let maps = ids.iter().map(|id| site.get(&format!("/pools.json?pool={id}")).text());
    for text in maps.chain([list.clone(), site.get("/pools").text(), site.get("/metrics").text()]) {
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn a_name_of_another_site_does_not_lead_here() {
    let site = Site::new();
    site.put("file.txt", "x");
    for path in ["/pools", "/pools.json", "/metrics"] {
        let mut client = site.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: attacker.example\r\n\r\n"));
        let response = client.response();
        assert_eq!(response.status, 403, "{path}");
        assert!(!response.text().contains("bytes"));
    }
    // Files are for everyone who can reach the server.
    let mut client = site.client();
    client.send("GET /file.txt HTTP/1.1\r\nHost: attacker.example\r\n\r\n");
    assert_eq!(client.response().text(), "x");
    let site = Site::with(|config| config.pools_hosts = vec!["pools.example".to_owned()]);
    let mut client = site.client();
    client.send("GET /pools.json HTTP/1.1\r\nHost: pools.example:8080\r\n\r\n");
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_request_that_stays_too_long_is_marked() {
    let site = Site::with(|config| {
        config.request_age = Some(std::time::Duration::from_millis(200));
        config.timeouts.write = std::time::Duration::from_secs(60);
    });
    site.put("large.bin", noise(20 << 20));
    let mut dawdler = site.client();
    dawdler.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    eventually("it is being served", || site.held_by("request").0 == 1);
    let over = || {
        let document: Value = serde_json::from_slice(&site.get("/pools.json").body).expect("JSON");
        let over = |list: &str, is_over: fn(&Value) -> bool| {
            document[list].as_array().expect("a list").iter().filter(|row| is_over(row)).count()
        };
        let pools = over("pools", |pool| pool["over_age"] == true);
        (pools, over("accounts", |row| row["over_age"].as_u64() > Some(0)))
    };
    // Not the requests that ask, though there are many.
    eventually("it is marked", || over() == (1, 1));
    drop(dawdler);
    eventually("it is gone", || over() == (0, 0));
}

#[test]
fn others_see_the_pools_only_if_asked_for() {
    let site = Site::with(|config| config.listen = "0.0.0.0:0".to_owned());
    let mut address = site.address();
    address.set_ip([127, 0, 0, 1].into());
    let mut client = crate::client::Client::connect(address);
    assert_eq!(client.get("/pools").status, 404);
    assert_eq!(client.get("/pools.json").status, 404);
    assert_eq!(client.get("/metrics").status, 404);
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

/// The rows of pools of this name that are told with a request or a client.
fn told(site: &Site, name: &str) -> Vec<Value> {
    let document: Value = serde_json::from_slice(&site.get("/pools.json").body).expect("JSON");
    let pools = document["pools"].as_array().expect("pools").iter();
    pools.filter(|pool| pool["name"] == name).cloned().collect()
}

/// The row of one of them.
fn told_of(site: &Site, name: &str, request: &str) -> Option<Value> {
    told(site, name).into_iter().find(|pool| pool["request"] == request)
}

#[test]
fn a_request_is_told_with_what_it_asks_for_its_answer_and_its_client() {
    for hidden in [false, true] {
        let site = Site::with(|config| config.hide_peers = hidden);
        site.put("report-27.bin", noise(20 << 20));
        let mut client = site.client();
        let peer = client.stream().local_addr().expect("a socket").to_string();
        client.send("GET /report-27.bin?page=3 HTTP/1.1\r\nHost: test\r\n\r\n");
        client.head().expect("an answer");
        let row = told_of(&site, "request", "GET /report-N.bin").expect("it is being sent");
        assert_eq!(row["status"], 200);
        let of_connection = told_of(&site, "connection", "GET /report-N.bin").expect("its own");
        assert_eq!(of_connection["status"], 200);
        // The one that asks is told, too: nothing is answered yet.
        let asking = told_of(&site, "request", "GET /pools.json").expect("its own");
        assert!(asking.get("status").is_none(), "{asking}");
        let worker = told(&site, "worker").pop().expect("a worker");
        for key in ["request", "status", "peer"] {
            assert!(worker.get(key).is_none(), "{worker}");
        }
        let text = site.get("/pools.json").text();
        assert_eq!(text.contains(&format!("\"peer\":\"{peer}\"")), !hidden, "{text}");
        assert_eq!(text.contains("127.0.0.1"), !hidden, "{text}");
        assert_eq!(text.contains("\"peer\""), !hidden, "{text}");
    }
}

#[test]
fn what_an_idle_connection_asked_for_is_told_no_more() {
    let site = Site::with(|config| config.park_after = None);
    site.put("a.txt", "a");
    let mut client = site.client();
    let peer = client.stream().local_addr().expect("a socket").to_string();
    for path in ["/a.txt", "/nowhere"] {
        client.get(path);
        let of_client = || {
            let all = told(&site, "connection").into_iter();
            let mut all = all.chain(told(&site, "request"));
            all.find(|pool| pool["peer"] == peer.as_str())
        };
        eventually("it is idle", || of_client().is_some_and(|row| row.get("request").is_none()));
        let row = of_client().expect("it stays");
        assert!(row.get("status").is_none() && row["name"] == "connection", "{row}");
    }
}

#[test]
fn a_hostile_path_is_told_as_harmless_text() {
    let site = Site::new();
    site.put("<img src=x onerror=alert(1)>.bin", noise(20 << 20));
    let mut client = site.client();
    client.send("GET /%3Cimg%20src=x%20onerror=alert(1)%3E.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    client.head().expect("an answer");
    let row = told(&site, "request").into_iter().find(|row| row["status"] == 200);
    let row = row.expect("it is being sent");
    assert_eq!(row["request"], "GET /%3Cimg%20src=x%20onerror=alert(N)%3E.bin");
}
