//! Rows of the table in `docs/design/view.md`.

use super::Change::Break;
use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row {
        invariant: "V1",
        change: Break {
            file: "crates/cenote/src/account/life.rs",
            text: "|count| (count != 0).then(|| count.wrapping_add(BIAS)))",
            by: "|count| Some(count.wrapping_add(BIAS)))",
            tests: &["loom -p cenote --lib account::model::an_account_may_close_while_others"],
        },
    },
    Row {
        invariant: "V2",
        change: Break {
            file: "crates/cenote-web/src/view/local.rs",
            text: r"            from = next;
            tokio::task::yield_now().await;",
            by: r"            let kept = self.find(from);
            from = next;
            tokio::task::yield_now().await;
            drop(kept);",
            tests: &["-p cenote-web --test view no_pool_is_held_while_other_tasks_have_their_turn"],
        },
    },
    Row {
        invariant: "V3",
        change: Break {
            file: "crates/cenote-cli/src/serve/request.rs",
            text: r#"            Pool::builder().name("request")"#,
            by: "            Pool::builder().name(Box::<str>::leak(head.uri.path().into()))",
            tests: &["-p cenote-cli --test server no_answer_shows_what_is_in_a_pool"],
        },
    },
    Row {
        invariant: "V4",
        change: Break {
            file: "crates/cenote-web/src/view/families.rs",
            text: "!others && named.paths.len() < MOST_NAMED && path",
            by: "!others && named.paths.len() < MOST_NAMED * 100 && path",
            tests: &["-p cenote-web --test metrics however_many_accounts"],
        },
    },
    Row {
        invariant: "V5",
        change: Break {
            file: "crates/cenote-web/src/view/page.rs",
            text: r#"        .replace("/*script*/", SCRIPT);"#,
            by: r#"        .replace("/*script*/", SCRIPT.trim_end());"#,
            tests: &["-p cenote-web --lib view::page"],
        },
    },
    Row {
        invariant: "V6",
        change: Break {
            file: "crates/cenote-web/src/view/exposition.rs",
            text: r#"            '"' => f.write_str("\\\""),"#,
            by: r#"            '"' => f.write_char('"'),"#,
            tests: &["-p cenote-web --test metrics a_name_cannot_break_out_of_its_label"],
        },
    },
    Row {
        invariant: "V7",
        change: Break {
            file: "crates/cenote-web/src/view/local.rs",
            text: r"            from = next;
            tokio::task::yield_now().await;",
            by: "            from = next;",
            tests: &["-p cenote-web --test view a_thread_with_many_pools_goes_on"],
        },
    },
    Row {
        invariant: "V8",
        change: Break {
            file: "crates/cenote-web/src/view/local.rs",
            text: r#"        let set = format!("w{}", self.index);"#,
            by: r#"        let set = format!("w{}", self.index);
        let _kept = self.state.upgrade();"#,
            tests: &["-p cenote-web --test view a_threads_answering_ends"],
        },
    },
    Row {
        invariant: "V9",
        change: Break {
            file: "crates/cenote-web/src/view/watched.rs",
            text: "        self.look(|look| f(look)).is_some()",
            by: "        self.upgrade().map(|pool| f(&pool)).is_some()",
            tests: &["-p cenote-web --test view in_axum_requests_that_are_kept"],
        },
    },
    Row {
        invariant: "V10",
        change: Break {
            file: "crates/cenote-web/src/peaks.rs",
            text: r"            self.peaks.note(account, self.route);
            if self.answered {",
            by: r"            if self.answered {
                self.peaks.note(account, self.route);",
            tests: &["-p cenote-web --test requests whatever_becomes_of_a_request"],
        },
    },
    Row {
        invariant: "V11",
        change: Break {
            file: "crates/cenote-web/src/bridge/opentelemetry.rs",
            text: "*most = value.max(*most);",
            by: "*most = value;",
            tests: &["-p cenote-web --all-features --test bridge no_counter_goes_down"],
        },
    },
    Row {
        invariant: "V12",
        change: Break {
            file: "crates/cenote-cli/src/serve/request.rs",
            text: "        self.connection.asks_no_more();\n",
            by: "",
            tests: &["-p cenote-cli --test server what_an_idle_connection_asked_for"],
        },
    },
];
