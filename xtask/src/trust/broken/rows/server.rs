//! Rows of the table in `docs/design/server.md`.

use super::Change::Break;
use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row {
        invariant: "H1",
        change: Break {
            file: "crates/cenote-cli/src/serve/places.rs",
            text: "        self.waiting.load(Relaxed) > self.leaving.load(Relaxed)",
            by: "        self.waiting.load(Relaxed) > 0",
            tests: &["-p cenote-cli --lib the_longest_idle_connection_of_all_is_asked_to_leave"],
        },
    },
    Row {
        invariant: "H4",
        change: Break {
            file: "crates/cenote-cli/src/serve/host.rs",
            text: "seen.fetch_max(has, Relaxed) < has",
            by: "seen.fetch_max(has, Relaxed) <= has",
            tests: &["-p cenote-cli --lib memory_is_too_much_when_it_has_passed_its_bound"],
        },
    },
    Row {
        invariant: "H8",
        change: Break {
            file: "crates/cenote-cli/src/serve/turns.rs",
            text: "        if self.0 >= TURN {",
            by: "        if self.0 >= 100 * TURN {",
            tests: &["-p cenote-cli --lib lists_of_every_length_are_sorted"],
        },
    },
    Row {
        invariant: "H2",
        change: Break {
            file: "crates/cenote-cli/src/serve/places.rs",
            text: "        if slots.of(self.at).idle {\n",
            by: "        if slots.of(self.at).idle && slots.of(self.at).asked {\n",
            tests: &["-p cenote-cli --lib where_all_are_busy_the_first_to_become_idle_leaves"],
        },
    },
    Row {
        invariant: "H3",
        change: Break {
            file: "crates/cenote-web/src/park/connection.rs",
            text: "            && watch.is_as_new()\n        {",
            by: "            && false\n        {",
            tests: &["-p cenote-cli --lib a_client_that_has_spoken_is_answered_before"],
        },
    },
    Row {
        invariant: "H5",
        change: Break {
            file: "crates/cenote-cli/src/outlet.rs",
            text: "        STDERR.put(lines);",
            by: "        STDERR.put(lines);\n        STDERR.flush(Duration::from_secs(100));",
            tests: &["-p cenote-cli --test host a_log_that_nobody_reads_stops_neither_answers"],
        },
    },
    Row {
        invariant: "H6",
        change: Break {
            file: "crates/cenote-cli/src/outlet.rs",
            text: r"            queue.dropped += count(lines);
",
            by: "",
            tests: &["-p cenote-cli --test host lines_that_nobody_read_in_time_are_counted"],
        },
    },
    Row {
        invariant: "H7",
        change: Break {
            file: "crates/cenote-cli/src/serve/listing.rs",
            text: "        if needed.saturating_add(taken) > room {",
            by: "        if needed.saturating_add(taken) > room.max(usize::MAX - 1) {",
            tests: &["-p cenote-cli --test host a_folder_too_large_for_its_limit_is_refused"],
        },
    },
    Row {
        invariant: "H9",
        change: Break {
            file: "crates/cenote-cli/src/serve/viewer.rs",
            text: "    if let Err(fault) = framing::check(request.version(), request.headers()) {",
            by: r"    let pool = cenote::Pool::builder().account(&shared.process).build();
    if let Err(fault) = pool.map_err(super::errors::Fault::from).and_then(|pool| {
        let _ = pool.try_alloc_bytes(16 << 10)?;
        framing::check(request.version(), request.headers())
    }) {",
            tests: &["-p cenote-cli --test host the_view_is_not_refused_by_the_limit"],
        },
    },
];
