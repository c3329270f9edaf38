//! Proves that snapshots tell what is: a pool's blocks, large objects and cleanups, the tree of
//! accounts with what closed ones left behind, and both as text and (by feature) through serde.

mod common;

use cenote::inspect::{AccountSnapshot, Bytes, PoolSnapshot};
use cenote::{Account, Pool};
use std::ptr::NonNull;

fn pool() -> Pool {
    Pool::builder().name("request").first_block(256).largest_block(1024).build().unwrap()
}

#[test]
fn a_pools_snapshot_has_every_block_large_object_and_cleanup() {
    common::plain();
    let pool = pool();
    let empty = pool.snapshot();
    assert_eq!((empty.name.as_str(), empty.held_bytes, empty.used_bytes), ("request", 0, 0));
    assert_eq!((empty.blocks.len(), empty.large.len(), empty.cleanups), (0, 0, 0));
    assert!(empty.created_at.contains("snapshots.rs:"), "{}", empty.created_at);

    pool.alloc([0_u64; 10]);
    pool.alloc_str("0123456789");
    pool.defer(|| ());
    pool.alloc_bytes(1000);
    pool.alloc_bytes(2000);
    let snapshot = pool.snapshot();
    assert_eq!(snapshot.held_bytes, pool.held_bytes());
    assert_eq!(snapshot.used_bytes, pool.used_bytes());
    assert_eq!((snapshot.blocks.len(), snapshot.cleanups), (1, 1));
    let block = &snapshot.blocks[0];
    assert_eq!((block.size, block.packed, block.failures), (256, 10, 0));
    assert!(block.used > 80 && block.active && block.current);
    assert_eq!(block.header + block.used + block.free + block.packed, 256);
    // What was taken is what the cache gives; the largest first.
    assert_eq!(snapshot.large, [2048, 1024]);
    let blocks: usize = snapshot.blocks.iter().map(|block| block.size).sum();
    let large: usize = snapshot.large.iter().sum();
    assert_eq!(blocks + large + snapshot.large_table_bytes, snapshot.held_bytes);
}

#[test]
fn blocks_that_failed_six_times_are_not_tried_any_more() {
    common::plain();
    let pool = Pool::builder().first_block(256).largest_block(256).build().unwrap();
    // Each wants more than half a block, so that each takes a new one.
    let mut seen = 0;
    for number in 1..=20 {
        pool.alloc([0_u64; 5]);
        pool.alloc([0_u8; 64]);
        pool.alloc([0_u8; 64]);
        let snapshot = pool.snapshot();
        assert!(snapshot.blocks.iter().all(|block| block.failures <= 6));
        assert_eq!(snapshot.blocks.iter().filter(|block| block.active).count(), 1);
        assert_eq!(snapshot.blocks.iter().filter(|block| block.current).count(), 1);
        seen = seen.max(snapshot.blocks.iter().map(|block| block.failures).max().unwrap());
        assert!(snapshot.blocks.len() <= number + 1);
    }
    let snapshot = pool.snapshot();
    assert_eq!(seen, 6);
    let current = snapshot.blocks.iter().position(|block| block.current).unwrap();
    assert!(current > 0);
    assert!(snapshot.blocks[..current].iter().all(|block| block.failures == 6));
    assert!(snapshot.blocks[current].failures < 6);
}

#[test]
fn a_pools_text_has_a_line_and_a_bar_for_each_block() {
    common::plain();
    let pool = pool();
    pool.alloc([0_u8; 100]);
    pool.alloc_str("0123456789");
    pool.alloc_bytes(5000);
    pool.own(String::new());
    let text = pool.snapshot().to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("request: "), "{text}");
    assert!(lines[0].contains("1 blocks, 1 large, 1 cleanups"), "{text}");
    assert!(lines[1].contains("256 B") && lines[1].contains("packed     10"), "{text}");
    assert!(lines[1].contains("current") && lines[1].contains("active"), "{text}");
    assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["large", "8192", "B"]);
}

#[test]
fn a_bar_is_as_wide_as_asked_and_shows_every_part_that_is_there() {
    common::plain();
    let pool = pool();
    pool.alloc(1_u8);
    pool.alloc_str("x");
    let block = &pool.snapshot().blocks[0];
    for width in 0..200 {
        let bar = block.bar(width);
        assert_eq!(bar.chars().count(), width);
        if width >= 32 {
            for part in ['H', '#', '.', '='] {
                assert!(bar.contains(part), "no {part} in {bar:?}");
            }
            let sorted: String = bar.chars().map(|c| "H#.=".find(c).unwrap().to_string()).collect();
            assert!(sorted.as_bytes().is_sorted(), "{bar}");
        }
    }
    while pool.snapshot().blocks[0].free > 0 {
        pool.alloc_bytes(1);
    }
    assert!(!pool.snapshot().blocks[0].bar(48).contains('.'));
}

#[test]
fn sizes_are_written_as_people_read_them() {
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1024 B"),
        (4096, "4096 B"),
        (10_239, "10239 B"),
        (10_240, "10 KiB"),
        (10_240 + 103, "10.1 KiB"),
        (65_536, "64 KiB"),
        ((1 << 20) - 1, "1023.9 KiB"),
        (1 << 20, "1 MiB"),
        (3 << 19, "1.5 MiB"),
        (1 << 30, "1 GiB"),
        (5 << 40, "5 TiB"),
        (usize::MAX, "16777215.9 TiB"),
    ] {
        assert_eq!(Bytes(bytes).to_string(), text);
        assert_eq!(format!("[{:>16}]", Bytes(bytes)), format!("[{text:>16}]"));
    }
}

/// process > two workers > a request each, with a pool on each request.
fn tree() -> (Account, Vec<(Account, Account, Pool)>) {
    let process = Account::root("process").with_limit(Some(1 << 30));
    let workers = (0..2).map(|number| {
        let worker = process.child(format!("worker-{number}"));
        let request = worker.child("request").with_limit(Some(1 << 20));
        let pool = Pool::on(&request);
        pool.alloc_bytes(30_000 * (number + 1));
        (worker, request, pool)
    });
    let workers = workers.collect();
    (process, workers)
}

fn path(account: &AccountSnapshot) -> String {
    account.path.join("/")
}

#[test]
fn an_accounts_snapshot_has_the_whole_tree_the_oldest_first() {
    let (process, workers) = tree();
    let snapshot = process.snapshot();
    let all: Vec<_> = snapshot.all().map(path).collect();
    let expected = [
        "process",
        "process/worker-0",
        "process/worker-0/request",
        "process/worker-1",
        "process/worker-1/request",
    ];
    assert_eq!(all, expected);
    let held: usize = workers.iter().map(|(_, _, pool)| pool.held_bytes()).sum();
    assert_eq!((snapshot.held_bytes, snapshot.limit_bytes), (held, Some(1 << 30)));
    assert_eq!((snapshot.live, snapshot.created, snapshot.refused), (0, 0, 0));
    assert!(snapshot.peak_bytes >= held);
    let request = &snapshot.children[1].children[0];
    assert_eq!((request.live, request.created, request.accounts), (1, 1, 1));
    assert_eq!(request.held_bytes, workers[1].2.held_bytes());
    assert_eq!((request.name.as_str(), request.limit_bytes), ("request", Some(1 << 20)));
    assert!(request.created_at.contains("snapshots.rs:"), "{}", request.created_at);
    // Taken further down it begins there, with the path from the root all the same.
    let part = workers[1].0.snapshot();
    assert_eq!(part.all().map(path).collect::<Vec<_>>(), expected[3..]);
    // It is a copy: what happens later does not show in it.
    let copy = snapshot.clone();
    drop(workers);
    assert_eq!(snapshot, copy);
    assert_eq!(process.snapshot().held_bytes, 0);
}

#[test]
fn merged_accounts_of_one_name_are_one_with_the_sums() {
    let process = Account::root("process");
    let mut open = Vec::new();
    for number in 0..6_usize {
        let connection = process.child("connection").with_limit(Some(1 << (20 + number)));
        let request = connection.child("request");
        let pool = Pool::on(&request);
        pool.alloc_bytes(2_000 * (number + 1));
        if number % 2 == 0 {
            open.push((connection, request, pool));
        }
    }
    drop(process.child("other"));
    let plain = process.snapshot();
    assert_eq!((plain.children.len(), plain.closed.len()), (3, 2));
    let held = plain.held_bytes;
    let merged = plain.merged();
    let names: Vec<_> = merged.children.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(names, ["connection", "other"]);
    assert_eq!(merged.held_bytes, held);
    let connection = &merged.children[0];
    assert_eq!((connection.accounts, connection.held_bytes, connection.live), (3, held, 0));
    assert_eq!(connection.limit_bytes, Some(1 << 25));
    assert_eq!(connection.children.len(), 1);
    let request = &connection.children[0];
    assert_eq!((request.accounts, request.live, request.created), (3, 3, 6));
    assert_eq!(path(request), "process/connection/request");
    // Of several the peak is the largest of any one, the closed ones included.
    assert!(request.peak_bytes >= 12_000, "{}", request.peak_bytes);
    assert!(request.recycled_bytes > 0);
    assert!(merged.closed.is_empty() && connection.closed.is_empty());
    assert_eq!(merged.clone().merged(), merged);
    assert!(merged.to_string().contains("connection x3"), "{merged}");
}

#[test]
fn what_closed_accounts_did_is_remembered_by_name_under_their_parent() {
    common::plain();
    let process = Account::root("process");
    for number in 0..50_usize {
        let worker = process.child("worker");
        let request = worker.child("request").with_limit(Some(40_000));
        let pool = Pool::on(&request);
        pool.alloc_bytes(1000);
        if number == 7 {
            pool.alloc_bytes(30_000);
            pool.try_alloc_bytes(60_000).unwrap_err();
        }
    }
    let snapshot = process.snapshot();
    assert_eq!((snapshot.children.len(), snapshot.closed.len()), (0, 1));
    let worker = &snapshot.closed[0];
    assert_eq!((worker.accounts, worker.live, worker.held_bytes), (0, 0, 0));
    assert_eq!((path(worker).as_str(), worker.closed.len()), ("process/worker", 1));
    let request = &worker.closed[0];
    assert_eq!((request.created, request.refused), (50, 1));
    assert!(request.peak_bytes >= 31_000 && request.recycled_bytes >= 50 * 4096);
    assert!(request.created_at.contains("snapshots.rs:"));
}

#[test]
fn the_names_that_are_remembered_are_bounded_and_none_is_lost() {
    let process = Account::root("process");
    for number in 0..500 {
        drop(Pool::on(&process.child(format!("connection {number}"))));
    }
    let closed = process.snapshot().closed;
    assert!(closed.len() <= 70, "{} names", closed.len());
    assert_eq!(closed.iter().map(|account| account.created).sum::<u64>(), 500);
}

#[test]
fn an_accounts_text_is_a_table_indented_as_the_tree() {
    let (process, _workers) = tree();
    let text = process.snapshot().to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert!(lines[0].starts_with("account ") && lines[0].ends_with(" refused"));
    for (line, name) in lines[1..].iter().zip([
        "process ",
        "  worker-0 ",
        "    request ",
        "  worker-1 ",
        "    request ",
    ]) {
        assert!(line.starts_with(name), "{text}");
    }
    let last: Vec<_> = lines[5].split_whitespace().collect();
    assert_eq!(last[..3], ["request", "1", "1"]);
    assert_eq!(last[last.len() - 3..], ["1", "MiB", "0"]);
    assert!(lines[2].contains(" - "), "a worker has no limit: {text}");
}

#[test]
fn a_snapshot_of_a_pool_changes_nothing_in_it() {
    common::plain();
    let pool = pool();
    let first = NonNull::from(pool.alloc(1_u64));
    let snapshots: Vec<PoolSnapshot> = (0..3).map(|_| pool.snapshot()).collect();
    assert!(snapshots[0] == snapshots[1] && snapshots[1] == snapshots[2]);
    let second = NonNull::from(pool.alloc(2_u64));
    assert_eq!(second.addr().get() - first.addr().get(), 8);
}

#[cfg(feature = "serde")]
#[test]
fn snapshots_are_objects_of_their_fields_for_serde() {
    let (process, workers) = tree();
    let value = serde_json::to_value(process.snapshot()).unwrap();
    let request = &value["children"][1]["children"][0];
    assert_eq!(request["path"], serde_json::json!(["process", "worker-1", "request"]));
    assert_eq!(request["held_bytes"], workers[1].2.held_bytes());
    assert_eq!(request["limit_bytes"], 1 << 20);
    assert_eq!(value["children"][0]["limit_bytes"], serde_json::Value::Null);
    let value = serde_json::to_value(workers[0].2.snapshot()).unwrap();
    assert_eq!(value["name"], "pool");
    assert_eq!(value["blocks"].as_array().unwrap().len(), workers[0].2.snapshot().blocks.len());
}
