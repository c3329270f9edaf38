//! Both nginx under the same requests: the same answers, byte for byte, dates aside.

use cenote_nginx_tests::server::Server;
use cenote_nginx_tests::site::{Addresses, Manner, Site};
use cenote_nginx_tests::tree::{Kind, build};
use cenote_nginx_tests::upstream::Upstream;
use cenote_nginx_tests::wire::{ask, get};
use cenote_nginx_tests::{conversations, until};
use rustix::process::Signal;

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

#[test]
fn both_nginx_answer_alike_and_leave_nothing_behind() {
    let (Some(stock), Some(cenote)) = (build(Kind::Stock, TMP), build(Kind::Cenote, TMP)) else {
        return;
    };
    let site = Site::new();
    let upstream = Upstream::start();
    let mut told = Vec::new();
    for (run, tree) in [("stock-", &stock), ("cenote", &cenote)] {
        let addresses = Addresses::free();
        let config = site.config(&addresses, &upstream, Manner::default());
        let server = Server::start(tree, &config, addresses.http[0], &[], &[]);
        // Once, so that what nginx opens once is open.
        for address in &addresses.http {
            assert!(ask(*address, &get("/small.txt")).is_ok());
        }
        let open = server.open_at_rest(addresses.http[0]);
        let answers = conversations::all(&addresses, &upstream, run);
        until("all descriptors are closed again", || {
            server.open_at_rest(addresses.http[0]) == open
        });
        // What tells the port, or where the site lies, is made alike.
        let ports: Vec<String> = addresses.http.iter().map(ToString::to_string).collect();
        let alike = answers.into_iter().map(|(name, answer)| {
            let mut text = String::from_utf8(answer).unwrap_or_else(|error| {
                // Bytes that are no text stay as they are, one character each.
                error.into_bytes().into_iter().map(char::from).collect()
            });
            for (index, port) in ports.iter().enumerate() {
                text = text.replace(port, &format!("address-{index}"));
            }
            (name, text)
        });
        told.push(alike.collect::<Vec<_>>());
        server.stop(Signal::QUIT, &[]);
    }
    let (cenote, stock) = (told.pop().unwrap(), told.pop().unwrap());
    assert_eq!(stock.len(), cenote.len());
    assert!(stock.len() > 500, "{} answers", stock.len());
    let good = stock.iter().filter(|(_, answer)| answer.contains("200 OK\r\n")).count();
    assert!(good > 300, "{good} of {} went well", stock.len());
    for ((name, theirs), (_, ours)) in stock.iter().zip(&cenote) {
        assert!(
            theirs == ours,
            "{name}: nginx answered\n{theirs:.2000}\nand with cenote\n{ours:.2000}"
        );
    }
}
