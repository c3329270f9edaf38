#!/usr/bin/env bash
# metrics-exporter-prometheus 0.18.3 (the exporter that is used with the facade `metrics` 0.24).
#
# A good guess: a label's value is text, of which the exporter escapes backslash, quotation mark and line end, so
# that a reader has the same text again, and two values are two series.
# Seen: a backslash before a quotation mark, or before another backslash, is taken for an escape that is there already.
# So `a\"b` (four characters) is written as `a"b` is, and `a\\b` (two backslashes) as `a\b` is: a reader has other
# text, and the exposition has two samples of one series.
# Printed, by `render`, for the values a\b, a\\b, a"b and a\"b:
#   held{path="a\\b"} 1
#   held{path="a\\b"} 1
#   held{path="a\"b"} 1
#   held{path="a\"b"} 1
#
# Fails if that changes. Needs cargo and the crate registry.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "labels"
version = "0.0.0"
edition = "2021"
[dependencies]
metrics = "=0.24.6"
metrics-exporter-prometheus = { version = "=0.18.3", default-features = false }
[workspace]
TOML
cat > "$dir/src/main.rs" <<'RUST'
use metrics_exporter_prometheus::PrometheusBuilder;

fn main() {
    for value in [r"a\b", r"a\\b", r#"a"b"#, r#"a\"b"#] {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || metrics::gauge!("held", "path" => value).set(1.0));
        let text = recorder.handle().render();
        println!("{}", text.lines().find(|line| line.starts_with("held")).unwrap());
    }
}
RUST
cd "$dir"
cargo run -q > seen
cat seen
diff seen - <<'EXPECTED' || { echo "changed"; exit 1; }
held{path="a\\b"} 1
held{path="a\\b"} 1
held{path="a\"b"} 1
held{path="a\"b"} 1
EXPECTED
