#!/usr/bin/env bash
# tracing-subscriber 0.3.23 (with tracing 0.1.44), the `fmt` subscriber as its builder makes it.
#
# A good guess: a line of log that cannot be written, since the disk is full or the reader of the pipe has
# gone, is lost, and the program goes on.
# Seen: the subscriber tells of the failure by `eprintln!`. Where standard error is what cannot be
# written, that panics, in the thread that logged: a server loses the request it was serving, or the
# worker. `log_internal_errors(false)` on the builder makes it the good guess.
# Printed is the program's exit code with standard output and error on a full device, 101 being a panic's:
#   as built: 101
#   log_internal_errors(false): 0
#
# Fails if that changes. Needs cargo, the crate registry, and /dev/full.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "full"
version = "0.0.0"
edition = "2021"
[dependencies]
tracing = "=0.1.44"
tracing-subscriber = { version = "=0.3.23", default-features = false, features = ["fmt"] }
[workspace]
TOML
cat > "$dir/src/main.rs" <<'RUST'
fn main() {
    let builder = tracing_subscriber::fmt();
    match std::env::args().nth(1) {
        None => builder.init(),
        Some(_) => builder.log_internal_errors(false).init(),
    }
    tracing::info!("a request");
}
RUST
cd "$dir"
cargo build -q
code() { local code=0; "$@" >/dev/full 2>/dev/full || code=$?; echo "$code"; }
{
    echo "as built: $(code target/debug/full)"
    echo "log_internal_errors(false): $(code target/debug/full quiet)"
} > seen
cat seen
diff seen - <<'EXPECTED' || { echo "changed"; exit 1; }
as built: 101
log_internal_errors(false): 0
EXPECTED
