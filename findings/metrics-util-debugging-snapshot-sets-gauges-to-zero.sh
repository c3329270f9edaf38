#!/usr/bin/env bash
# metrics-util 0.20.4, DebuggingRecorder (what programs test their metrics with) on the facade `metrics` 0.24.
#
# A good guess: `snapshot()` reads. Counters may begin anew with it, as for a difference since the last one; a gauge
# keeps its value, which nobody has changed.
# Seen: it sets gauges to 0 as well. A second snapshot tells 0 for a gauge that was set once, and an increment goes on
# from there.
# Printed: the gauge in three snapshots; before the third it was incremented by 1.
#   7
#   0
#   1
#
# Fails if that changes. Needs cargo and the crate registry.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "gauges"
version = "0.0.0"
edition = "2021"
[dependencies]
metrics = "=0.24.6"
metrics-util = { version = "=0.20.4", default-features = false, features = ["debugging"] }
[workspace]
TOML
cat > "$dir/src/main.rs" <<'RUST'
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

fn main() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let told = || match snapshotter.snapshot().into_vec().as_slice() {
        [(_, _, _, DebugValue::Gauge(value))] => println!("{value}"),
        other => println!("{} values", other.len()),
    };
    metrics::with_local_recorder(&recorder, || {
        metrics::gauge!("held").set(7.0);
        told();
        told();
        metrics::gauge!("held").increment(1.0);
        told();
    });
}
RUST
cd "$dir"
cargo run -q > seen
cat seen
diff seen - <<'EXPECTED' || { echo "changed"; exit 1; }
7
0
1
EXPECTED
