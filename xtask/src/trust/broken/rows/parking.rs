//! Rows of the table in `docs/design/parking.md`.

use super::Change::Break;
use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row {
        invariant: "K1",
        change: Break {
            file: "crates/cenote-web/src/park/watch.rs",
            text: r"        let quiet = pending
            && Arc",
            by: "        let quiet = Arc",
            tests: &["-p cenote-web --test parking requests_that_hyper_leaves_for_its_next_turn"],
        },
    },
    Row {
        invariant: "K2",
        change: Break {
            file: "crates/cenote-web/src/park/watch.rs",
            text: "Arc::strong_count(self) == OWN_HANDLES",
            by: "Arc::strong_count(self) >= OWN_HANDLES",
            tests: &["-p cenote-web --test parking a_body_that_is_held_beyond_its_answer"],
        },
    },
    Row {
        invariant: "K3",
        change: Break {
            file: "crates/cenote-web/src/park/watch.rs",
            text: r"
            && !self.unflushed.load(Relaxed)",
            by: "",
            tests: &["-p cenote-web --test parking an_answer_that_the_socket_has_not_taken_yet"],
        },
    },
    Row {
        invariant: "K3",
        change: Break {
            file: "crates/cenote-web/src/park/watch.rs",
            text: r"
            && !self.unflushed.load(Relaxed)",
            by: "",
            tests: &["-p cenote-web --test parking an_answer_that_hyper_holds_back"],
        },
    },
    Row {
        invariant: "K4",
        change: Break {
            file: "crates/cenote-web/src/park/watch.rs",
            text: "                self.owed.load(Relaxed) == seen",
            by: "                self.owed.load(Relaxed) >= seen",
            tests: &["-p cenote-web --test parking a_body_that_was_dropped_after_a_look"],
        },
    },
    Row {
        invariant: "K5",
        change: Break {
            file: "crates/cenote-web/src/park/watch.rs",
            text: "        !self.upgrade.load(Relaxed) && !self.old_version",
            by: "        !self.old_version",
            tests: &["-p cenote-web --test parking an_upgrade_that_was_offered_is_open"],
        },
    },
    Row {
        invariant: "K6",
        change: Break {
            file: "crates/cenote-web/src/park/watch.rs",
            text: "        !self.upgrade.load(Relaxed) && !self.old_version.load(Relaxed)",
            by: "        !self.upgrade.load(Relaxed)",
            tests: &["-p cenote-web --test parking a_bad_head_after_a_request_of_http_1_0"],
        },
    },
    Row {
        invariant: "K7",
        change: Break {
            file: "crates/cenote-web/src/park/connection.rs",
            text: r"        if self.head.is_none() && before.reads != reads {
            self.head = Some(Instant::now());
        }
",
            by: "",
            tests: &[
                "-p cenote-web --test parking where_idle_connections_have_a_bound_of_their_own",
            ],
        },
    },
    Row {
        invariant: "K8",
        change: Break {
            file: "crates/cenote-web/src/park/connection.rs",
            text: "[&parts.read_buf[..], &unread[..]].concat().into()",
            by: "Bytes::new()",
            tests: &["-p cenote-web --test parking a_part_of_a_head_that_came_with_the_request"],
        },
    },
    Row {
        invariant: "K9",
        change: Break {
            file: "crates/cenote-web/src/park/connection.rs",
            text: "State::Waiting { heard, .. } => !heard,",
            by: "State::Waiting { .. } => true,",
            tests: &["-p cenote-web --test parking one_that_spoke_before_it_is_told_to_stop"],
        },
    },
    Row {
        invariant: "K9a",
        change: Break {
            file: "crates/cenote-web/src/park/connection.rs",
            text: "this.next().or_else(|| this.look_again())",
            by: "this.next().or(None)",
            tests: &[
                "-p cenote-web --test parking a_connection_is_parked_when_a_body_was_read_after",
            ],
        },
    },
    Row {
        invariant: "K10",
        change: Break {
            file: "crates/cenote-web/src/park/connection.rs",
            text: "times.born, times.quiet, heard)",
            by: "times.born, Instant::now(), heard)",
            tests: &["-p cenote-web --test parking a_head_has_the_time_since"],
        },
    },
    Row {
        invariant: "K11",
        change: Break {
            file: "crates/cenote-web/src/park/connection.rs",
            text: "if this.stop != Stop::No && !*heard && !io.is_heard() {",
            by: "if this.stop != Stop::No {",
            tests: &["-p cenote-web --test parking one_that_spoke_before_it_is_told_to_stop"],
        },
    },
    Row {
        invariant: "K12",
        change: Break {
            file: "crates/cenote-web/src/park/watch.rs",
            text: "            && self.flushed == self.watch.calls()\n",
            by: "",
            tests: &["-p cenote-web --test parking a_refusal_of_the_services_own"],
        },
    },
    Row {
        invariant: "K13",
        change: Break {
            file: "crates/cenote-web/src/park/watch.rs",
            text: "        self.instead = [&before[..8],",
            by: "        self.instead = [&now[..8],",
            tests: &["-p cenote-web --test parking a_head_that_is_refused_with_more_room_too"],
        },
    },
];
