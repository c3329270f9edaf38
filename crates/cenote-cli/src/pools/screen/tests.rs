//! The screen without a terminal: what is drawn, and what keys do.

use std::time::Duration;

use clap::Parser;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use serde_json::{Value, json};

use super::state::{Next, State};
use super::view;
use crate::cli::{Cli, Command};
use crate::pools::look::Look;

const MIB: u64 = 1 << 20;

fn account(path: &[&str], held: u64) -> Value {
    json!({ "path": path, "accounts": 1, "live": 1, "created": 3, "held_bytes": held,
        "used_bytes": held / 2, "peak_bytes": 2 * held, "recent_peak_bytes": held,
        "limit_bytes": null, "refused": 0, "age_seconds": 61.0, "created_at": "main.rs:7" })
}

fn pool(path: &[&str], held: u64, age: f64) -> Value {
    json!({ "id": "1", "path": path, "created_at": "request.rs:90", "age_seconds": age,
        "held_bytes": held, "used_bytes": held / 4, "peak_bytes": held, "recent_peak_bytes": held,
        "limit_bytes": 64 * MIB, "refused": 0 })
}

fn document() -> Value {
    let mut old = account(&["process", "worker-0", "connection"], 5 * MIB);
    (old["over_age"], old["refused"]) = (2.into(), 4.into());
    json!({ "schema": 1, "now": 10.0, "uptime_seconds": 300.0, "pools_shown": 3,
        "accounts": [
            account(&["process"], 9 * MIB),
            account(&["process", "cache"], 3 * MIB),
            account(&["process", "worker-0"], 6 * MIB),
            account(&["process", "worker-0", "batch"], MIB),
            old,
        ],
        "pools": [
            pool(&["process", "cache"], 3 * MIB, 200.0),
            pool(&["process", "worker-0", "batch"], MIB, 30.0),
            pool(&["process", "worker-0", "connection"], 5 * MIB, 7.26),
        ],
        "memory": { "resident_bytes": 30 * MIB, "pools_bytes": 9 * MIB, "block_cache_bytes": MIB,
            "other_bytes": 20 * MIB, "pools_grown_bytes": 2 * MIB, "other_grown_bytes": MIB } })
}

fn read(document: Value) -> Look {
    serde_json::from_value(document).expect("a look")
}

fn state_with(arguments: &[&str]) -> State {
    let line = ["cenote", "pools", "http://x", "--watch"].iter().chain(arguments);
    let Command::Pools(args) = Cli::try_parse_from(line).expect("arguments").command else {
        panic!("other arguments");
    };
    State::new("http://x/pools.json".to_owned(), true, &args)
}

/// Looks at this.
fn state_of(document: Value) -> State {
    let mut state = state_with(&[]);
    state.hear(Ok(read(document)));
    state
}

fn buffer(state: &mut State, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
    terminal.draw(|frame| view::draw(frame, state)).expect("drawn");
    terminal.backend().buffer().clone()
}

/// The lines, without the room on their right.
fn shown(state: &mut State, width: u16, height: u16) -> Vec<String> {
    let buffer = buffer(state, width, height);
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

fn press(state: &mut State, keys: &[KeyCode]) -> Next {
    let mut next = Next::Stay;
    for &key in keys {
        assert_eq!(next, Next::Stay, "it was left before {key}");
        next = state.on(&Event::Key(KeyEvent::new(key, KeyModifiers::NONE)));
    }
    next
}

fn type_in(state: &mut State, text: &str) -> Next {
    press(state, &text.chars().map(KeyCode::Char).collect::<Vec<_>>())
}

/// The names of the rows, of accounts and then of pools.
fn names(state: &mut State) -> (Vec<String>, Vec<String>) {
    let lines = shown(state, 160, 40);
    let at = |word| lines.iter().position(|line| line == word).expect("both parts");
    let names = |lines: &[String]| {
        let names = lines.iter().filter_map(|line| {
            let name = line.trim_start_matches(['!', ' ']).split(' ').next()?;
            (!name.is_empty()).then(|| name.to_owned())
        });
        names.collect::<Vec<_>>()
    };
    let (accounts, pools) = (at("accounts"), at("pools"));
    (names(&lines[accounts + 1..pools]), names(&lines[pools + 1..lines.len() - 1]))
}

#[test]
fn columns_are_left_out_by_rank_where_the_terminal_is_narrow() {
    let mut state = state_of(document());
    let head = |state: &mut State, width| shown(state, width, 24)[3].clone();
    let words = |line: String| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(head(&mut state, 60)), ["name", "held↓", "used", "peak", "age"]);
    // There would be room for the number of pools, but refusals come before it.
    assert_eq!(words(head(&mut state, 66)), ["name", "held↓", "used", "peak", "age"]);
    assert_eq!(words(head(&mut state, 67)), ["name", "held↓", "used", "peak", "refused", "age"]);
    assert_eq!(
        words(head(&mut state, 80)),
        ["name", "held↓", "used", "peak", "limit", "refused", "age"]
    );
    assert_eq!(
        words(head(&mut state, 160)).join(" "),
        "name pools made held↓ used peak recent limit refused age made at"
    );
    // What is sorted by is always there.
    type_in(&mut state, "ssss");
    assert_eq!(words(head(&mut state, 60)), ["name", "held", "used", "peak", "refused↓"]);
    assert_eq!(words(head(&mut state, 25)), ["name"]);
}

/// With whose the pools are, as a service says it that knows.
fn with_whose() -> Value {
    let mut document = document();
    let pools = &mut document["pools"];
    pools[0]["request"] = "POST /uploads/of-tenants/N/parts/N".into();
    pools[0]["peer"] = "[2001:db8::7]:51234".into();
    (pools[2]["request"], pools[2]["status"]) = ("GET /reports/N".into(), 200.into());
    pools[2]["peer"] = "10.0.0.7:41234".into();
    document
}

#[test]
fn whose_a_pool_is_stands_beside_it_as_far_as_there_is_room() {
    let mut state = state_of(with_whose());
    let row = |state: &mut State, width, name: &str| {
        let lines = shown(state, width, 24);
        lines.iter().rfind(|line| line.contains(name)).expect("a row").clone()
    };
    assert!(shown(&mut state, 180, 24)[3].contains("age whose"));
    let wide = row(&mut state, 180, "worker-0/connection");
    assert!(wide.contains(" GET /reports/N 200 from 10.0.0.7:41234 "), "{wide}");
    // The client is left out first, and then the beginning of what was asked for.
    let narrow = row(&mut state, 80, "worker-0/connection");
    assert!(narrow.ends_with(" 7.3s GET /reports/N 200"), "{narrow}");
    let narrow = row(&mut state, 80, "  cache");
    assert!(narrow.ends_with(" 3min ..-tenants/N/parts/N"), "{narrow}");
    let none = row(&mut state, 80, "worker-0/batch");
    assert!(none.ends_with(" 30s"), "{none}");
    assert!(!shown(&mut state, 60, 24)[3].contains("whose"));
    // It is found by any part of it; a service that does not say has no such column.
    for wanted in ["/GET /rep", "/10.0.0.7", "/n 200 f"] {
        press(&mut state, &[KeyCode::Esc]);
        type_in(&mut state, wanted);
        assert_eq!(names(&mut state).1, ["worker-0/connection"], "{wanted}");
    }
    assert!(!shown(&mut state_of(document()), 180, 24)[3].contains("whose"));
}

#[test]
fn figures_stand_under_their_heads_and_over_age_is_marked() {
    let mut state = state_of(document());
    let lines = shown(&mut state, 80, 24);
    assert_eq!(lines[0], "process  9 MiB held  5 pools  4 refused  2 over age  up 5min");
    assert_eq!(lines[1], "resident 30 MiB  in pools 9 MiB  in no pool 20 MiB  cached 1 MiB");
    let wide = shown(&mut state, 160, 24);
    assert!(wide[1].contains("in pools 9 MiB (+2 MiB since the start)"), "{}", wide[1]);
    let row = lines.iter().find(|line| line.contains("connection")).expect("a row");
    assert!(row.starts_with("!     connection "), "{row}");
    let words: Vec<_> = row.split_whitespace().skip(2).collect();
    assert_eq!(words.join(" "), "5 MiB 50% 10 MiB - 4 61s");
    for (figure, head) in [("50%", "used"), ("10 MiB", "peak"), ("61s", "age")] {
        let end = |line: &str, text: &str| {
            line.find(text).map(|at| line[..at].chars().count() + text.chars().count())
        };
        assert_eq!(end(row, figure), end(&lines[3], head), "{row}\n{}", lines[3]);
    }
    assert!(
        wide.iter().any(|line| line.contains("worker-0/batch") && line.ends_with("request.rs:90"))
    );
}

#[test]
fn long_paths_keep_their_end() {
    let name = "a-name-that-is-much-longer-than-any-column-for-names-of-accounts-could-be/its-end";
    let mut document = document();
    document["pools"] = json!([pool(&["process", name], MIB, 1.0)]);
    let lines = shown(&mut state_of(document), 60, 24);
    let row = lines.iter().find(|line| line.contains("its-end")).expect("its end");
    assert!(row.trim_start().starts_with("..") && row.contains("/its-end "), "{row}");
    assert_eq!(super::columns::clip("終わり", 4), "..り");
}

#[test]
fn rows_are_sorted_as_keys_say_and_the_tree_stays_one() {
    let mut state = state_of(document());
    let accounts = |names: [&str; 4]| {
        std::iter::once("process").chain(names).map(str::to_owned).collect::<Vec<_>>()
    };
    let (tree, pools) = names(&mut state);
    assert_eq!(tree, accounts(["worker-0", "connection", "batch", "cache"]));
    assert_eq!(pools, ["worker-0/connection", "cache", "worker-0/batch"]);
    type_in(&mut state, "r");
    let (tree, pools) = names(&mut state);
    assert_eq!(tree, accounts(["cache", "worker-0", "batch", "connection"]));
    assert_eq!(pools, ["worker-0/batch", "cache", "worker-0/connection"]);
    // By age, then by name, whose first is the least.
    type_in(&mut state, "rsssss");
    assert!(shown(&mut state, 80, 24)[3].contains("age↓"));
    assert_eq!(names(&mut state).1, ["cache", "worker-0/batch", "worker-0/connection"]);
    press(&mut state, &[KeyCode::Right]);
    assert!(shown(&mut state, 80, 24)[3].starts_with("name↑"));
    assert_eq!(names(&mut state).0, accounts(["cache", "worker-0", "batch", "connection"]));
    // Round, and back.
    type_in(&mut state, "s");
    assert!(shown(&mut state, 80, 24)[3].contains("held↓"));
    press(&mut state, &[KeyCode::Left]);
    type_in(&mut state, "SS");
    assert!(shown(&mut state, 80, 24)[3].contains("refused↓"));
    assert_eq!(names(&mut state).0[1], "cache", "as it was told: no branch was refused itself");
}

#[test]
fn what_is_looked_for_is_listed_with_its_path_until_escape() {
    let mut state = state_of(document());
    assert_eq!(type_in(&mut state, "/quit?"), Next::Stay, "letters are no keys now");
    assert!(shown(&mut state, 80, 24)[23].starts_with("find: quit?"));
    assert_eq!(names(&mut state), (vec![], vec![]));
    press(&mut state, &[KeyCode::Backspace; 5]);
    type_in(&mut state, "BATCH");
    press(&mut state, &[KeyCode::Enter]);
    let found = || vec!["worker-0/batch".to_owned()];
    assert_eq!(names(&mut state), (found(), found()));
    assert!(shown(&mut state, 80, 24)[23].starts_with("find: BATCH  ? keys"));
    // Keys are keys again, and the first escape is for the filter.
    type_in(&mut state, "p");
    assert!(state.paused);
    assert_eq!(press(&mut state, &[KeyCode::Esc]), Next::Stay);
    assert_eq!(names(&mut state).1.len(), 3);
    assert_eq!(press(&mut state, &[KeyCode::Esc]), Next::Leave);
    // A place is found, too.
    type_in(&mut state, "/request.rs");
    let (accounts, pools) = names(&mut state);
    assert_eq!((accounts.len(), pools.len()), (0, 3));
}

#[test]
fn a_long_list_is_scrolled_and_its_head_stays() {
    let mut document = document();
    let many: Vec<_> = (0..100)
        .map(|at: u64| pool(&["process", &format!("pool-{at:02}")], 1000 - at, 1.0))
        .collect();
    document["pools"] = json!(many);
    let mut state = state_of(document.clone());
    // Five accounts, a hundred pools, two titles and a line between: nineteen at once.
    let ends = |state: &mut State| {
        let lines = shown(state, 80, 24);
        assert!(lines[3].starts_with("name "), "{}", lines[3]);
        let place = lines[23].split("  ").last().expect("a place").trim().to_owned();
        (lines[4].trim().to_owned(), place)
    };
    assert_eq!(ends(&mut state), ("accounts".to_owned(), "1-19 of 108 lines".to_owned()));
    press(&mut state, &[KeyCode::Down; 8]);
    let (first, place) = ends(&mut state);
    assert!(first.starts_with("pool-00 ") && place == "9-27 of 108 lines", "{first}: {place}");
    press(&mut state, &[KeyCode::PageDown, KeyCode::Up]);
    assert_eq!(ends(&mut state).1, "27-45 of 108 lines");
    press(&mut state, &[KeyCode::End, KeyCode::Down, KeyCode::PageDown]);
    assert_eq!(ends(&mut state).1, "90-108 of 108 lines");
    assert!(shown(&mut state, 80, 24)[22].starts_with("  pool-99"));
    press(&mut state, &[KeyCode::Up]);
    assert_eq!(ends(&mut state).1, "89-107 of 108 lines", "the first key up shows");
    press(&mut state, &[KeyCode::PageUp; 9]);
    assert_eq!(ends(&mut state).1, "1-19 of 108 lines");
    // A list that has become shorter than where one was.
    press(&mut state, &[KeyCode::End]);
    document["pools"] = json!(many[..14]);
    state.hear(Ok(read(document.clone())));
    assert_eq!(ends(&mut state).1, "4-22 of 22 lines");
    // And one that grows, of which one was at the end.
    press(&mut state, &[KeyCode::Down]);
    document["pools"] = json!(many[..15]);
    state.hear(Ok(read(document)));
    assert_eq!(ends(&mut state).1, "4-22 of 23 lines");
    press(&mut state, &[KeyCode::Home]);
    assert_eq!(ends(&mut state).1, "1-19 of 23 lines");
    // What is not listed is counted.
    let mut few = state_with(&["--top", "2", "--sort", "age"]);
    few.hear(Ok(read(self::document())));
    let lines = shown(&mut few, 80, 24);
    assert!(lines[3].contains("age↓") && lines.iter().any(|line| line == "and 1 more"));
}

#[test]
fn a_pause_keeps_the_figures_and_says_how_old_they_are() {
    let mut state = state_of(document());
    assert_eq!(shown(&mut state, 80, 24)[2], "");
    type_in(&mut state, "p");
    let mut other = document();
    other["accounts"][0]["held_bytes"] = 0.into();
    state.now = Duration::from_secs(7);
    state.hear(Ok(read(other.clone())));
    state.hear(Err("an answer that comes late".to_owned()));
    let lines = shown(&mut state, 80, 24);
    assert!(lines[0].contains("9 MiB held"), "{}", lines[0]);
    assert_eq!(lines[2], "paused; the figures are 7.0s old");
    type_in(&mut state, "p");
    state.hear(Ok(read(other)));
    let lines = shown(&mut state, 80, 24);
    assert!(lines[0].contains("0 B held") && lines[2].is_empty(), "{lines:?}");
}

#[test]
fn a_service_that_does_not_answer_is_told_and_its_last_figures_are_old() {
    let mut state = state_with(&[]);
    assert_eq!(shown(&mut state, 80, 24)[0], "http://x/pools.json");
    assert_eq!(shown(&mut state, 80, 24)[2], "asking");
    let refused = || Err("http://x/pools.json: Connection refused".to_owned());
    state.hear(refused());
    state.now = Duration::from_secs(3);
    let lines = shown(&mut state, 80, 24);
    assert_eq!(lines[2], "http://x/pools.json: Connection refused");
    assert_eq!(lines[3], "no answer for 3.0s, asking again");
    state.hear(Ok(read(document())));
    assert_eq!(shown(&mut state, 80, 24)[2], "");
    // The first time counts, and the last figures stay.
    state.asked_at = Duration::from_secs(5);
    state.now = Duration::from_secs(7);
    state.hear(refused());
    state.now = Duration::from_secs(9);
    state.hear(Err("http://x/pools.json: timeout".to_owned()));
    let lines = shown(&mut state, 80, 24);
    assert_eq!(lines[2], "http://x/pools.json: timeout");
    assert_eq!(lines[3], "no answer for 4.0s, asking again; the figures are 6.0s old");
    assert!(lines.iter().any(|line| line.contains("worker-0/connection")));
    // How many were made meanwhile says nothing of a second.
    let mut later = document();
    later["now"] = 11.into();
    state.hear(Ok(read(later)));
    assert!(!shown(&mut state, 160, 24)[0].contains("made/s"));
    // One that has been asked and is silent is not waited for in silence.
    state.now += Duration::from_secs(4);
    assert_eq!(shown(&mut state, 80, 24)[2], "the figures are 4.0s old");
}

#[test]
fn names_cannot_control_the_terminal() {
    let evil = "\x1b[31mred\r\n\u{202e}";
    let mut document = document();
    document["accounts"][0]["path"][0] = evil.into();
    document["accounts"][1]["path"][1] = evil.into();
    document["pools"][0]["path"][1] = evil.into();
    document["pools"][0]["created_at"] = evil.into();
    document["silent"] = json!([[evil]]);
    (document["pools"][1]["request"], document["pools"][1]["peer"]) = (evil.into(), evil.into());
    let mut state = state_of(document);
    state.hear(Err(evil.to_owned()));
    type_in(&mut state, "/[31M");
    press(&mut state, &[KeyCode::Char('\x1b'), KeyCode::Backspace]);
    let lines = shown(&mut state, 160, 24);
    let text = lines.join("\n");
    let seen = "\u{fffd}[31mred\u{fffd}\u{fffd}\u{fffd}";
    assert_eq!(text.matches(seen).count(), 9, "{text}");
    assert!(!text.contains(['\x1b', '\r', '\u{202e}']), "{text:?}");
    assert_eq!(lines.len(), 24);
}

#[test]
fn no_size_and_no_figure_is_a_panic() {
    let mut document = document();
    for figure in ["held_bytes", "used_bytes", "peak_bytes", "refused", "live", "created"] {
        for part in ["accounts", "pools"] {
            document[part][0][figure] = u64::MAX.into();
            document[part][1][figure] = u64::MAX.into();
        }
    }
    document["accounts"][2]["path"] = json!([]);
    document["pools"][2]["path"] = json!([]);
    let mut states = [state_with(&[]), state_of(document)];
    for state in &mut states {
        for keys in ["", "?", "/long text that is looked for", "p"] {
            type_in(state, keys);
            for (width, height) in
                [(1, 1), (2, 9), (19, 3), (60, 4), (60, 6), (400, 2), (33, 80), (160, 80)]
            {
                (state.now, state.height) = (Duration::MAX, height);
                press(state, &[KeyCode::End]);
                shown(state, width, height);
            }
            press(state, &[KeyCode::Home]);
        }
        state.hear(Err("x".repeat(1000)));
        shown(state, 7, 7);
    }
}

#[test]
fn colours_are_there_only_where_they_are_wanted() {
    let mut state = state_of(document());
    let coloured = |state: &mut State| {
        buffer(state, 80, 24).content.iter().any(|cell| cell.fg != Color::Reset)
    };
    assert!(coloured(&mut state));
    state.colours = false;
    state.help = true;
    assert!(!coloured(&mut state));
}

#[test]
fn the_keys_are_told_and_leave() {
    let mut state = state_of(document());
    type_in(&mut state, "?");
    let text = shown(&mut state, 80, 24).join("\n");
    assert!(text.contains("─ keys ─") || text.contains("┌ keys ─"), "{text}");
    assert!(text.contains("pause, and go on"), "{text}");
    assert_eq!(press(&mut state, &[KeyCode::Esc]), Next::Stay);
    assert!(!shown(&mut state, 80, 24).join("\n").contains("pause, and go on"));
    assert_eq!(type_in(&mut state, "q"), Next::Leave);
    type_in(&mut state, "/q");
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.on(&Event::Key(interrupt)), Next::Leave);
}
