//! Parked connections against hyper's own: whatever a client sends, in whatever pieces, what comes
//! back is the same to the byte, on a server that takes connections apart at every idle moment.
//!
//! `CENOTE_PARKING_REQUESTS` sets how many requests the hammer sends to each, and
//! `CENOTE_PARKING_SEED` with what it begins.

mod rules;
mod script;
mod servers;

use script::{Random, Script};
use servers::Servers;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::task::JoinSet;

/// So many conversations go on at once.
const AT_ONCE: usize = 16;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |value| value.parse().expect("a number"))
}

#[test]
fn whatever_clients_send_in_whatever_pieces_the_answers_are_hypers_to_the_byte() {
    let requests = from_environment("CENOTE_PARKING_REQUESTS", 4_000);
    let seed = from_environment("CENOTE_PARKING_SEED", 1);
    // Bodies are dropped on other threads than that of their connection, too.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("there are threads").block_on(async {
        let servers = Arc::new(Servers::start().await);
        let mut talks = JoinSet::new();
        let (mut sent, mut number) = (0, seed);
        while sent < requests {
            if talks.len() >= AT_ONCE {
                talks.join_next().await.expect("there are some").expect("no difference");
            }
            let script = Script::random(&mut Random::new(number));
            sent += script.requests;
            let servers = servers.clone();
            talks.spawn(async move { compare(&servers, script, number).await });
            number += 1;
        }
        while let Some(talk) = talks.join_next().await {
            talk.expect("no difference");
        }
        let (parks, wakes) = (servers.parks.load(Relaxed), servers.wakes.load(Relaxed));
        println!(
            "{sent} requests in {} conversations: {parks} times parked, {wakes} woken",
            number - seed
        );
        assert!(parks > sent / 4, "it was not idle often enough to show anything: {parks}");
    });
}

/// Has the same said to both.
pub(crate) async fn compare(servers: &Servers, script: Script, number: u64) {
    let plain = script.run(servers.plain).await;
    let parked = script.run(servers.parked).await;
    if plain != parked {
        let mut text = String::new();
        let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
        writeln!(text, "conversation {number}:\n{script:?}").expect("a string");
        writeln!(text, "hyper:  {}", show(&plain)).expect("a string");
        writeln!(text, "parked: {}", show(&parked)).expect("a string");
        panic!("{text}");
    }
}
