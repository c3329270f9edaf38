//! Whose pools are: what the page says of requests that are under way, of the command as it is installed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::chromium::Browser;
use crate::{browser, complaints};

/// The command, serving a folder.
struct Served {
    child: Child,
    address: SocketAddr,
}

impl Served {
    fn start(folder: &Path, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cenote"))
            .args(["serve", "--listen", "127.0.0.1:0", "--workers", "1"])
            .args(options)
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the command");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let address = loop {
            let line = lines.next().expect("it listens").expect("text");
            if let Some((_, address)) = line.split_once("files  http://") {
                break address.trim_end_matches('/').parse().expect("an address");
            }
        };
        Self { child, address }
    }

    /// A client that asks, hears what it is answered with, and takes no more of it.
    fn ask(&self, target: &[u8]) -> (TcpStream, String) {
        let domain = Domain::for_address(self.address);
        let socket = Socket::new(domain, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(16 << 10).expect("a small buffer");
        socket.connect(&self.address.into()).expect("it listens");
        let mut stream = TcpStream::from(socket);
        stream
            .write_all(&[b"GET ", target, b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat())
            .expect("it reads");
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).expect("an answer");
        let peer = stream.local_addr().expect("an address").to_string();
        assert!(begin.starts_with(b"HTTP/1.1 "), "{begin:?}");
        (stream, peer)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is said under the names of pools: what was asked for, the answer, the client, and whether it can be seen.
const WHOSE: &str = "[...document.querySelectorAll('#pools td.name .whose')].map(e => [...e.querySelectorAll('bdi, span:not(.asked, .request)')].map(part => part.textContent).concat(!e.hidden))";

fn find(browser: &mut Browser, text: &str) {
    let text = serde_json::Value::from(text);
    browser.get(&format!("(() => {{ const find = document.getElementById('find'); find.value = {text}; find.dispatchEvent(new Event('input')); }})()"));
}

#[test]
fn a_request_that_is_under_way_is_shown_with_what_was_asked_the_answer_and_the_client() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("report-27.bin"), vec![7; 20 << 20]).expect("a file");
    for options in [&[][..], &["--hide-peers"]] {
        let served = Served::start(folder.path(), options);
        let (client, peer) = served.ask(b"/report-27.bin?key=secret");
        let shown = if options.is_empty() { peer.clone() } else { String::new() };
        browser.screen(1280, 900, false);
        browser.open(&format!("http://{}/pools", served.address));
        // Of the request, and of its connection.
        let wanted = json!(["GET /report-N.bin", "200", shown, true]);
        let row = format!("JSON.stringify(row) === {:?}", wanted.to_string());
        browser.until(&format!("{WHOSE}.filter(row => {row}).length === 2"));
        // What asks is shown as well, and the worker is nobody's.
        browser.until(&format!("{WHOSE}.some(row => row[0] === 'GET /pools.json')"));
        browser.until(&format!("{WHOSE}.filter(row => !row[3]).length >= 1"));
        let text = browser
            .get("document.documentElement.outerHTML + JSON.stringify(performance.getEntries())");
        let text = text.as_str().expect("text");
        assert_eq!(text.contains(&peer), options.is_empty(), "the client's address");
        assert!(!text.contains("secret"), "a query");
        let asked = browser.get("fetch('pools.json').then(response => response.text())");
        let asked = asked.as_str().expect("text");
        assert_eq!(asked.contains("127.0.0.1"), options.is_empty(), "{asked}");
        // It is found by each of them.
        for (text, is_found) in [
            ("report-n", true),
            ("get /REPORT", true),
            (" 200", true),
            (&peer[..], options.is_empty()),
        ] {
            find(&mut browser, text);
            let found = browser.get(&format!("{WHOSE}.filter(row => {row}).length"));
            assert_eq!(found, if is_found { 2 } else { 0 }, "{text}");
        }
        // And said of the one that is chosen, in words, and in the map.
        find(&mut browser, "report-n");
        browser.until("[...document.querySelectorAll('#treemap .leaf')].some(e => e.getAttribute('aria-label').includes(', GET /report-N.bin 200'))");
        browser.get("document.querySelector('#pools td.name button').click()");
        let words = format!(
            "GET /report-N.bin 200{}",
            if options.is_empty() { format!(" from {peer}") } else { String::new() }
        );
        browser.until(&format!("document.getElementById('blocks-who').textContent === {words:?}"));
        browser.get("document.getElementById('blocks-close').click()");
        find(&mut browser, "");
        drop(client);
        browser.until(&format!("{WHOSE}.every(row => row[0] !== 'GET /report-N.bin')"));
    }
    assert_eq!(complaints(&browser), [] as [&String; 0]);
}

#[test]
fn what_a_hostile_client_asks_for_is_text() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["<img src=x onerror=alert(1)>.bin", "\"a\"\u{202e}{b}.bin"] {
        std::fs::write(folder.path().join(name), vec![7; 20 << 20]).expect("a file");
    }
    let served = Served::start(folder.path(), &[]);
    let clients = [
        served.ask(b"/%3Cimg%20src=x%20onerror=alert(1)%3E.bin"),
        // As bytes, as far as that is a path. With a bracket it is none.
        served.ask("/\"a\"\u{202e}{b}.bin".as_bytes()),
        served.ask(b"/<img%20src=x%20onerror=alert(1)>.bin"),
    ];
    browser.screen(390, 900, true);
    browser.open(&format!("http://{}/pools", served.address));
    for asked in ["GET /%3Cimg%20src=x%20onerror=alert(N)%3E.bin", "GET /\"a\"\\u{202e}{b}.bin"] {
        let text = json!(asked);
        browser.until(&format!("{WHOSE}.some(row => row[0] === {text})"));
        find(&mut browser, asked);
        browser.until("document.querySelectorAll('#pools tbody tr').length === 2");
        browser.get("document.querySelector('#pools td.name button').click()");
        browser.until(&format!(
            "document.getElementById('blocks-who').textContent.startsWith({text})"
        ));
        browser.get("document.getElementById('blocks-close').click()");
        find(&mut browser, "");
    }
    assert_eq!(browser.get("document.querySelectorAll('img').length"), 0);
    drop(clients);
    assert_eq!(complaints(&browser), [] as [&String; 0]);
}
