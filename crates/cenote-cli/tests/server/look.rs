//! `cenote pools`: a running service in a terminal, and the two leaks of the example told apart.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::client::Client;
use crate::support::{Site, eventually, noise};

const CENOTE: &str = env!("CARGO_BIN_EXE_cenote");

/// What the command prints, and its exit code.
fn look(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(CENOTE)
        .arg("pools")
        .args(arguments)
        // A proxy that is set for other purposes is none of its business.
        .env("http_proxy", "http://192.0.2.1:9")
        .output()
        .expect("the command");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_tree_and_the_fattest_pools_are_printed_without_colours_when_piped() {
    let site = Site::with(|config| config.workers = 1);
    site.put("large.bin", noise(20 << 20));
    let mut dawdler = site.client();
    dawdler.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    eventually("it is being served", || site.held_by("request").0 == 1);
    let address = site.address();
    for url in [
        format!("http://{address}"),
        format!("http://{address}/pools"),
        format!("http://{address}/pools.json"),
        address.to_string(),
    ] {
        let (code, out, err) = look(&[&url]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{url}");
        assert!(!out.contains('\x1b'), "{out}");
        assert!(out.starts_with("process  up "), "{out}");
        let line = |start: &str| {
            out.lines().find(|line| line.trim_start().starts_with(start)).map(str::to_owned)
        };
        // Indented as the tree is, and then the pools, the fattest first.
        assert!(out.contains("\n  worker-0 "), "{out}");
        assert!(out.contains("\n    connection"), "{out}");
        let pool = out.split_once("  pool ").expect("a table").1.lines().nth(1).expect("a pool");
        assert!(pool.contains("worker-0/connection#1/request#1"), "{out}");
        assert!(line("worker-0/connection#1/request#1").is_some_and(|l| l.contains("request.rs:")));
        assert!(pool.contains("  GET /large.bin 200 from 127.0.0.1:"), "{out}");
    }
    let (code, out, _) = look(&[&address.to_string(), "--json"]);
    assert_eq!(code, Some(0));
    let document: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(document["schema"], 1);
    let (_, out, _) = look(&[&address.to_string(), "--sort", "age", "--top", "1"]);
    assert!(out.contains("  and "), "{out}");
}

#[test]
fn what_has_grown_is_new_or_is_gone_since_a_file_is_told() {
    let site = Site::with(|config| config.workers = 1);
    let address = site.address().to_string();
    let (code, before, _) = look(&[&address, "--json"]);
    assert_eq!(code, Some(0));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("before.json");
    std::fs::write(&file, &before).expect("written");
    let file = file.to_str().expect("a name");

    let account = site.server().account().child("cache");
    let pool = cenote::Pool::on(&account);
    pool.alloc_slice_copy(&[0_u8; 300_000]);
    let (code, out, err) = look(&[&address, "--since", file]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("compared with ") && out.contains(" ago\n"), "{out}");
    let row = out.lines().find(|line| line.starts_with("  cache ")).expect("the account's row");
    assert!(row.contains("+1") && row.contains("+29") && row.ends_with("  new"), "{row}");
    assert!(!out.contains("another process") && out.contains("pool that grew"), "{out}");
    let (code, out, _) = look(&[&address, "--since", file, "--json"]);
    let said: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &said["same_process"]), (Some(0), &Value::Bool(true)));
    let accounts = said["accounts"].as_array().expect("accounts");
    let cache = accounts.iter().find(|row| row["path"][1] == "cache").expect("a row");
    assert!(
        cache["then"].is_null() && cache["held_bytes_more"].as_i64() >= Some(300_000),
        "{cache}"
    );

    // And back: what was new is gone.
    std::fs::write(file, look(&[&address, "--json"]).1).expect("written");
    drop((pool, account));
    let (_, out, _) = look(&[&address, "--since", file]);
    let row = out.lines().find(|line| line.starts_with("  cache ")).expect("the account's row");
    assert!(row.contains("-1") && row.contains("-29"), "{row}");

    // Of another process only accounts are compared.
    let mut other: Value = serde_json::from_str(&before).expect("JSON");
    other["process"]["pid"] = 1.into();
    std::fs::write(file, other.to_string()).expect("written");
    let (_, out, _) = look(&[&address, "--since", file]);
    assert!(out.contains("another process") && !out.contains("pool that grew"), "{out}");

    std::fs::write(file, "{\"schema\": 7}").expect("written");
    for (file, why) in [
        (file, "not what is expected"),
        ("nowhere", "--since compares with a file"),
        // This service keeps no history.
        ("5m", "/pools.json?ago=300: 404 nothing is kept of that moment"),
    ] {
        let (code, out, err) = look(&[&address, "--since", file]);
        assert_eq!((code, out.as_str(), err.lines().count()), (Some(1), "", 1), "{err}");
        assert!(err.contains(why), "{err}");
    }
}

#[test]
fn what_accounts_held_so_long_ago_is_compared_with() {
    let site = Site::with(|config| {
        config.workers = 1;
        config.history = Some(1 << 20);
    });
    let address = site.address().to_string();
    let compared = || {
        let (code, out, err) = look(&[&address, "--since", "1s", "--json"]);
        if code != Some(0) {
            assert!(err.contains("404 nothing is kept of that moment"), "{err}");
            return None;
        }
        Some(serde_json::from_str::<Value>(&out).expect("JSON"))
    };
    // It is written once a second.
    eventually("a moment is so long ago", || compared().is_some());
    let account = site.server().account().child("cache");
    let pool = cenote::Pool::on(&account);
    pool.alloc_slice_copy(&[0_u8; 300_000]);
    // Until a moment that it was in is so long ago, it is new.
    eventually("one that it was in is", || {
        let said = compared().expect("moments stay");
        let accounts = said["accounts"].as_array().expect("accounts");
        let row = accounts.iter().find(|row| row["path"][1] == "cache").expect("a row");
        let (then, more) = (&row["then"], row["held_bytes_more"].as_u64());
        if then.is_null() {
            assert!(more >= Some(300_000), "{row}");
            return false;
        }
        assert!(then["held_bytes"].as_u64() >= Some(300_000) && more == Some(0), "{row}");
        assert!(then.get("created").is_none(), "{row}");
        true
    });
    // In words: nothing is said of what is not known.
    let (code, out, err) = look(&[&address, "--since", "1s"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let words: Vec<_> = out
        .lines()
        .find(|line| line.starts_with("  cache "))
        .expect("the account's row")
        .split_whitespace()
        .collect();
    assert_eq!(words[..2], ["cache", "1"], "{out}");
    assert_eq!(words.len(), 4, "held, and its unit: {out}");
    // All of it.
    let mut client = Client::connect(site.address());
    let whole: Value =
        serde_json::from_str(&client.get("/pools.json?history").text()).expect("JSON");
    let step = &whole["steps"][0];
    let times = step["now"].as_array().expect("moments").len();
    assert!(times >= 2 && step["every_seconds"] == 1 && whole["paths_left_out"] == 0, "{whole}");
    let series = step["accounts"].as_array().expect("accounts");
    let of = |name: &str| {
        let found = series
            .iter()
            .find(|one| one["path"].as_array().is_some_and(|path| path[path.len() - 1] == name));
        found.unwrap_or_else(|| panic!("no {name}: {whole}"))["held_bytes"]
            .as_array()
            .expect("figures")
    };
    assert!(of("cache")[0].is_null() && of("cache")[times - 1].as_u64() >= Some(300_000));
    assert!(of("history")[0].as_u64() > Some(70_000));
    let then: Value = serde_json::from_str(&client.get("/pools.json?ago=1").text()).expect("JSON");
    assert_eq!(then["paths_left_out"], 0, "{then}");
    assert_eq!(client.get("/pools.json?ago=x").status, 400);
    assert_eq!(client.get("/pools.json?ago=100000").status, 404);
    drop((pool, account));
}

#[test]
fn a_service_that_is_not_there_or_is_another_is_one_line() {
    let site = Site::new();
    let address = site.address().to_string();
    drop(site);
    let other = Site::with(|config| config.listen = "0.0.0.0:0".to_owned());
    let hidden = format!("127.0.0.1:{}", other.address().port());
    let page = Site::with(|config| config.listen = "0.0.0.0:0".to_owned());
    page.put("pools.json", "{\"schema\": 1}");
    let strange = format!("127.0.0.1:{}", page.address().port());
    for (url, why) in [
        (address.as_str(), "onnection refused"),
        (hidden.as_str(), "404"),
        (strange.as_str(), "not what is expected"),
        ("https://localhost", "only http"),
        ("", "no address"),
    ] {
        let (code, out, err) = look(&[url]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{url}: {err}");
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.starts_with("cenote: ") && err.contains(why), "{url}: {err}");
    }
}

#[test]
fn a_watch_goes_on_and_says_when_the_server_is_lost() {
    let site = Site::new();
    let mut child = Command::new(CENOTE)
        .args(["pools", &site.address().to_string(), "--watch"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut until = |what: &str| {
        let found = lines.by_ref().any(|line| line.expect("text").contains(what));
        assert!(found, "it ended before it said {what}");
    };
    until("worker-1");
    // From one look to the next.
    until("made/s");
    drop(site);
    until("no answer: ");
    until("trying again");
    child.kill().expect("it runs");
    child.wait().expect("an end");
}

#[test]
fn names_cannot_play_with_the_terminal() {
    let site = Site::new();
    let account = site.server().account().child("\x1b[2J\x1b]0;title\x07\nname");
    let pool = cenote::Pool::on(&account);
    pool.alloc_slice_copy(&[0_u8; 100_000]);
    for arguments in [&["--leaks"][..], &[]] {
        let address = site.address().to_string();
        let (code, out, _) = look(&[&[address.as_str()], arguments].concat());
        assert_eq!(code, Some(0));
        assert!(out.contains("\u{fffd}[2J"), "{out}");
        assert!(!out.contains(['\x1b', '\x07']), "{out}");
    }
}

/// The example with two leaks, running.
struct Leaky {
    child: Child,
    address: SocketAddr,
}

impl Leaky {
    fn start() -> Self {
        // In a process of its own, since it is about the memory of one: this very program, as
        // the example.
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "look::the_example_itself", "--nocapture"])
            .env("CENOTE_LEAKS", "1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let address = loop {
            let line = lines.next().expect("it listens").expect("text");
            if let Some((_, address)) = line.split_once("listening on http://") {
                break address.trim_end_matches('/').parse().expect("an address");
            }
        };
        Self { child, address }
    }

    fn ask(&self, path: &str, times: usize) {
        let mut client = Client::connect(self.address);
        for _ in 0..times {
            assert_eq!(client.get(path).status, 200);
        }
    }

    /// Looks until what it says is so.
    fn leaks(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut out = String::new();
        eventually(what, || {
            out = look(&[&self.address.to_string(), "--leaks"]).1;
            is_so(&out)
        });
        out
    }
}

impl Drop for Leaky {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nothing, unless this program runs as the example.
#[test]
fn the_example_itself() {
    if std::env::var_os("CENOTE_LEAKS").is_some() {
        crate::leaks::main().expect("it listens");
    }
}

/// Where the first leak begins, as a view tells places.
fn place_of_leak() -> String {
    let source = include_str!("../../examples/leaks.rs");
    let line = source.lines().position(|line| line.contains("// the first leak begins here"));
    // The pool is made in a function that tells its caller's place.
    format!("examples/leaks.rs:{}", line.expect("the line") + 1)
}

#[test]
fn a_service_without_a_leak_stands_out_nowhere() {
    let leaky = Leaky::start();
    leaky.ask("/work", 2000);
    let out = leaky.leaks("all are gone", |out| out.contains("nothing stands out"));
    assert!(!out.contains('!'), "{out}");
}

#[test]
fn a_pool_that_is_kept_in_a_map_is_named_with_its_place_and_its_age() {
    let leaky = Leaky::start();
    leaky.ask("/work", 200);
    leaky.ask("/keep", 25);
    let out = leaky.leaks("they are over age", |out| out.contains("pools: 25 on "));
    let verdict = out.lines().find(|line| line.starts_with("pools: ")).expect("a verdict");
    assert!(verdict.contains("process/worker-0/request older than 1.0s"), "{verdict}");
    assert!(verdict.contains(&place_of_leak()), "{verdict}");
    assert!(!out.contains("in no pool:"), "{out}");
    // The table has them first, marked.
    let first = out.lines().find(|line| line.starts_with('!')).expect("a marked pool");
    assert!(first.contains("worker-0/request#") && first.contains(&place_of_leak()), "{first}");
}

#[test]
fn memory_of_another_library_is_told_to_be_in_no_pool() {
    let leaky = Leaky::start();
    leaky.ask("/work", 200);
    let mut out = String::new();
    eventually("it has grown", || {
        leaky.ask("/match", 50);
        out = look(&[&leaky.address.to_string(), "--leaks"]).1;
        out.contains("in no pool:")
    });
    assert!(!out.contains("pools: ") && !out.contains('!'), "{out}");
}

#[test]
fn a_monitor_is_told_by_one_line_and_an_exit_code() {
    let site = Site::with(|config| config.workers = 1);
    let address = site.address().to_string();
    let (code, out, err) = look(&[&address, "--check"]);
    assert_eq!((code, &*err, out.lines().count()), (Some(0), "", 1), "{out}");
    assert!(out.starts_with("CENOTE OK - pools hold "), "{out}");
    assert!(out.contains(" | held=") && out.contains("B resident="), "{out}");
    drop(site);
    let (code, out, err) = look(&[&address, "--check"]);
    assert_eq!((code, &*err, out.lines().count()), (Some(3), "", 1), "{out}");
    assert!(out.starts_with("CENOTE UNKNOWN - http://"), "{out}");
    // What was asked wrongly is not that the service is ill.
    for wrong in [&["--check", "--warn", "0"][..], &["--check", "--json"], &["--check", "--warm"]] {
        let (code, out, err) = look(&[&[&*address], wrong].concat());
        assert_eq!((code, &*out, err.lines().count()), (Some(3), "", 1), "{err}");
    }
    let (code, _, err) = look(&[&address, "--critical", "50"]);
    assert_eq!((code, err.lines().count()), (Some(2), 1), "{err}");
}
