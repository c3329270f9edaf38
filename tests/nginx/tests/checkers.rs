//! nginx under the checkers of memory: AddressSanitizer with each object for itself, and valgrind.

use cenote_nginx_tests::server::Server;
use cenote_nginx_tests::site::{Addresses, Manner, Site};
use cenote_nginx_tests::tree::{Kind, build};
use cenote_nginx_tests::upstream::Upstream;
use cenote_nginx_tests::wire::{ask, get};
use cenote_nginx_tests::{conversations, has_all, until};
use rustix::process::Signal;

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

#[test]
fn with_each_object_for_itself_address_sanitizer_finds_nothing() {
    let Some(tree) = build(Kind::Sanitized, TMP) else { return };
    let (site, upstream, addresses) = (Site::new(), Upstream::start(), Addresses::free());
    let manner = Manner { status: true, ..Manner::default() };
    let config = site.config(&addresses, &upstream, manner);
    let own =
        concat!("suppressions=", env!("CARGO_MANIFEST_DIR"), "/c/lsan.supp:print_suppressions=0");
    let environment = [("CENOTE_DEBUG", "passthrough"), ("LSAN_OPTIONS", own)];
    let server = Server::start(&tree, &config, addresses.http[0], &[], &environment);
    let answers = conversations::all(&addresses, &upstream, "checked");
    assert!(answers.len() > 500);
    // It really is each for itself: such a request has no large objects otherwise.
    let pools = ask(addresses.http[0], &get("/pools?json")).expect("an answer");
    let pools = String::from_utf8_lossy(&pools).into_owned();
    let json = &pools[pools.find('{').expect("JSON")..];
    let pools: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let request = pools["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|account| account["path"][2] == "ngx_http_alloc_request" && account["live"] == 1);
    assert!(request.expect("this request")["large"].as_u64() >= Some(5), "{pools:#}");
    // A reload, too: all of the configuration's pools go.
    let before = server.workers();
    server.signal(Signal::HUP);
    until("another worker has taken over", || {
        let now = server.workers();
        now.len() == 1 && now != before
    });
    server.stop(Signal::QUIT, &[]);
}

#[test]
fn valgrind_finds_no_error_that_is_not_nginxs_own() {
    if !has_all("nginx under valgrind", &["valgrind"]) {
        return;
    }
    let mut found = Vec::new();
    for kind in [Kind::Stock, Kind::Cenote] {
        let Some(tree) = build(kind, TMP) else { return };
        let (site, upstream, addresses) = (Site::new(), Upstream::start(), Addresses::free());
        let config = site.config(&addresses, &upstream, Manner::default());
        let environment = [("CENOTE_DEBUG", "passthrough")];
        let wrapper = ["valgrind", "--quiet", "--leak-check=no", "--log-file=logs/valgrind.%p"];
        let server = Server::start(&tree, &config, addresses.http[0], &wrapper, &environment);
        for path in [
            "/",
            "/large.bin",
            "/list/",
            "/ssi/page.shtml",
            "/proxy/echo",
            "/proxydisk/big",
            "/missing",
            "/cached/big",
            "/add/page.html",
            "/sub/small.txt",
        ] {
            for address in &addresses.http[..2] {
                ask(*address, &get(path)).expect("an answer");
            }
        }
        assert!(!conversations::http2::ask(addresses.http[1]).is_empty());
        let logged = server.stop(Signal::QUIT, &[]);
        let errors = logged.lines().filter(|line| line.starts_with("==")).map(|line| {
            // Without the number of the process, and of whatever lies where.
            line.split_once("== ").map_or("", |(_, text)| text).to_owned()
        });
        let kinds = ["Invalid", "uninitialised", "points to", "Mismatched", "overlap"];
        let errors = errors.filter(|line| kinds.iter().any(|kind| line.contains(kind)));
        let mut errors: Vec<String> = errors.collect();
        errors.sort();
        errors.dedup();
        found.push(errors);
    }
    let (ours, theirs) = (found.pop().unwrap(), found.pop().unwrap());
    println!("nginx's own: {theirs:#?}");
    let more: Vec<_> = ours.iter().filter(|line| !theirs.contains(line)).collect();
    assert!(more.is_empty(), "{more:#?}");
}
