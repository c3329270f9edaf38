#!/usr/bin/env bash
# serde 1.0.229 (with serde_json 1.0.154), `#[derive(Deserialize)]` with `#[serde(tag = "..")]`.
#
# A good guess: a body of a megabyte that is read into a vector of as many numbers takes about what
# the vector takes, whatever attributes stand at the enum around it.
# Seen: where the tag comes after the content, all of the content is read into serde's own buffer
# first, in which each number has 32 bytes (and a growing vector half as much again and more), from the
# global allocator, whatever allocator the fields have. Printed is the most that was allocated at once,
# in multiples of the body's length:
#   plain struct: 3
#   tagged enum: 25
#
# Fails if the tagged enum takes less than 15 times the body, or the struct more than 8.
# Needs cargo and the crate registry.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "tagged"
version = "0.0.0"
edition = "2021"
[dependencies]
serde = { version = "=1.0.229", features = ["derive"] }
serde_json = "=1.0.154"
[workspace]
TOML
cat > "$dir/src/main.rs" <<'RUST'
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;
static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
// SAFETY: passed on to the system, with counts beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        System.alloc(layout)
    }
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        System.dealloc(start, layout)
    }
}
#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(serde::Deserialize)]
struct Plain {
    numbers: Vec<u32>,
}
#[derive(serde::Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    #[serde(rename = "plain")]
    Plain(Plain),
}

fn main() {
    let body = format!("{{\"numbers\":[{}],\"kind\":\"plain\"}}", vec!["1"; 500_000].join(","));
    let times = |read: &dyn Fn() -> usize| {
        let before = NOW.load(Relaxed);
        MOST.store(before, Relaxed);
        assert_eq!(read(), 500_000);
        (MOST.load(Relaxed) - before) / body.len()
    };
    let plain = times(&|| serde_json::from_str::<Plain>(&body).unwrap().numbers.len());
    let tagged = times(&|| {
        let Tagged::Plain(plain) = serde_json::from_str(&body).unwrap();
        plain.numbers.len()
    });
    println!("plain struct: {plain}\ntagged enum: {tagged}");
}
RUST
cd "$dir"
cargo run -q > seen
cat seen
plain=$(awk '/plain/ {print $3}' seen)
tagged=$(awk '/tagged/ {print $3}' seen)
[ "$plain" -le 8 ] && [ "$tagged" -ge 15 ] || { echo "changed"; exit 1; }
