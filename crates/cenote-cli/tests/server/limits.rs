//! Requests that would need more than they may have.

use cenote_cli::serve::{Config, Server};

use crate::client::Client;
use crate::support::{Site, accounts, eventually, noise};

const LIMIT: usize = 16 << 10;

fn small() -> Site {
    Site::with(|config| {
        config.workers = 1;
        config.request_limit = Some(LIMIT);
    })
}

#[test]
fn a_listing_over_the_limit_names_the_account_and_the_connection_lives_on() {
    let site = small();
    for n in 0..5000 {
        site.put(&format!("many/{n:04}.txt"), "");
    }
    site.put("few/file.txt", "x");
    let mut client = site.client();
    for _ in 0..3 {
        let response = client.get("/many/");
        assert_eq!(response.status, 503);
        let text = response.text();
        assert!(text.starts_with("503 Service Unavailable\n"), "{text}");
        assert!(
            text.contains("process/worker-0/connection/request is at its limit of 16384 bytes"),
            "{text}"
        );
        assert_eq!(client.get("/few/").status, 200);
        assert_eq!(client.get("/few/file.txt").text(), "x");
    }
    let all = accounts(&site.server().account().snapshot().merged());
    let requests = all.iter().find(|account| account.name == "request").expect("requests");
    assert!(requests.refused >= 3);
    assert!((4096..=LIMIT).contains(&requests.peak_bytes), "{requests:?}");
    drop(client);
    site.is_quiet();
    // It is the limit, and nothing else, that stands in the way.
    let mut config = Config::new(site.root());
    config.request_limit = Some(8 << 20);
    let roomy = Server::start(config).expect("a second server of the folder");
    let listing = Client::connect(roomy.address()).get("/many/");
    assert_eq!(listing.status, 200);
    assert_eq!(listing.text().matches("<a href=\"./").count(), 5000);
    assert_eq!(roomy.stop(), 0);
}

#[test]
fn a_file_larger_than_the_limit_is_served_whole() {
    let site = small();
    let content = noise(20 << 20);
    site.put("large.bin", &content);
    let mut client = site.client();
    assert!(client.get("/large.bin").body == content);
    let part = client.ask("GET", "/large.bin", "Range: bytes=1000000-2000000,5-\r\n");
    assert_eq!(part.status, 200, "more than the file");
    assert!(part.body == content);
    let part = client.ask("GET", "/large.bin", "Range: bytes=1000000-2000000,3000000-4000000\r\n");
    assert_eq!(part.status, 206);
    assert!(part.body.len() > 2_000_002);
    let all = accounts(&site.server().account().snapshot().merged());
    let requests = all.iter().find(|account| account.name == "request").expect("requests");
    assert!((4096..=LIMIT).contains(&requests.peak_bytes), "{requests:?}");
    drop(client);
    site.is_quiet();
}

#[test]
fn the_smallest_limits_serve_or_refuse_but_never_fail_otherwise() {
    let content = noise(100_000);
    for limit in [1, 255, 256, 512, 1024, 1536, 2048, 3000, 4096, 6000, 8192, 12_000] {
        let site = Site::with(|config| config.request_limit = Some(limit));
        site.put("file.bin", &content);
        let mut client = site.client();
        for _ in 0..2 {
            let response = client.get("/file.bin");
            match response.status {
                200 => assert!(response.body == content, "with a limit of {limit}"),
                503 => assert!(
                    response.text().contains(&format!("request is at its limit of {limit} bytes"))
                ),
                other => panic!("status {other} with a limit of {limit}"),
            }
            assert!(limit < 8192 || response.status == 200, "8 KiB are enough for a file");
        }
        drop(client);
        site.is_quiet();
    }
}

#[test]
fn a_connection_at_its_limit_says_so() {
    let site = Site::with(|config| {
        config.workers = 1;
        config.connection_limit = Some(600);
    });
    site.put("file.txt", "x");
    let mut client = site.client();
    for _ in 0..2 {
        let response = client.get("/file.txt");
        assert_eq!(response.status, 503);
        assert!(
            response.text().contains("process/worker-0/connection is at its limit of 600 bytes")
        );
    }
    drop(client);
    site.is_quiet();
}

#[test]
fn a_process_at_its_limit_refuses_until_memory_comes_back() {
    let site = Site::with(|config| {
        config.workers = 1;
        config.process_limit = Some((256 << 10).into());
    });
    site.put("large.bin", noise(20 << 20));
    site.put("file.txt", "x");
    // Clients that take nothing hold the window of their request.
    let mut holders = Vec::new();
    eventually("the process is at its limit", || {
        let mut client = site.client();
        client.send("GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n");
        holders.push(client);
        site.get("/file.txt").status == 503
    });
    let response = site.get("/file.txt");
    assert_eq!(response.status, 503);
    assert!(
        response.text().contains("account process is at its limit of 262144 bytes"),
        "{}",
        response.text()
    );
    drop(holders);
    eventually("it serves again", || site.get("/file.txt").status == 200);
    site.is_quiet();
}

#[test]
fn one_request_over_its_limit_does_not_touch_others() {
    let site = small();
    for n in 0..1000 {
        site.put(&format!("many/{n:04}.txt"), "");
    }
    let content = noise(4 << 20);
    site.put("large.bin", &content);
    let mut downloads = site.client();
    downloads.send("GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut refused = site.client();
    for _ in 0..5 {
        assert_eq!(refused.get("/many/").status, 503);
    }
    assert!(downloads.response().body == content);
}
