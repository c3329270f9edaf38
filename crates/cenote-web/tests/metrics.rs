//! The metrics: as data, and as text that real parsers of the format read.

mod common;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use cenote::{Account, Pool, SharedPool};
use cenote_web::view::metrics::Value;
use cenote_web::view::{Unavailable, View};
use common::scrape::{ask, checked_by_promtool, is_ours, metrics, open_metrics, parsed};

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_what_the_accounts_say_and_parsers_read_them() {
    let process = Account::root("process").with_limit(Some(1 << 20));
    let view = View::builder(&process).build();
    let uploads = process.child("uploads of \u{e9}");
    let worker = process.child("worker-0");
    let pools: Vec<_> = (0..3)
        .map(|_| {
            let pool =
                Arc::new(SharedPool::try_on(&worker.shared_child("request")).expect("memory"));
            view.watch(Arc::downgrade(&pool));
            pool
        })
        .collect();
    let unshown = Pool::on(&uploads);
    unshown.alloc([0_u8; 5000]);
    assert!(unshown.try_alloc_bytes(2 << 20).is_err());
    let text = metrics(&view).await;
    checked_by_promtool(&text);
    let samples = parsed(&text);
    let sample = |name: &str, account: &str| {
        let key = (name.to_owned(), account.to_owned());
        samples.get(&key).copied().unwrap_or_else(|| panic!("{key:?} in {text}"))
    };
    let request = "process/worker-0/request";
    let held: usize = pools.iter().map(|pool| pool.held_bytes()).sum();
    let used: usize = pools.iter().map(|pool| pool.used_bytes()).sum();
    assert_eq!(sample("cenote_pool_held_bytes", request), held as f64);
    assert_eq!(sample("cenote_pool_used_bytes", request), used as f64);
    assert_eq!(sample("cenote_pools_live", request), 3.0);
    assert_eq!(sample("cenote_pools_created_total", request), 3.0);
    assert_eq!(sample("cenote_pool_refused_total", "process"), 1.0);
    assert_eq!(sample("cenote_pool_limit_bytes", "process"), f64::from(1 << 20));
    assert_eq!(
        (sample("cenote_accounts", request), sample("cenote_accounts", "process")),
        (3.0, 1.0)
    );
    let largest = pools.iter().map(|pool| pool.account().unwrap().held()).max().unwrap();
    assert_eq!(sample("cenote_account_largest_bytes", request), largest as f64);
    assert_eq!(sample("cenote_account_largest_bytes", "process"), process.held() as f64);
    assert!(text.contains("\ncenote_build_info{version=\"\",cenote_web=\""), "{text}");
    let late = sample("cenote_account_recent_peak_bytes", "process");
    assert!(late >= process.held() as f64 && late <= sample("cenote_pool_peak_bytes", "process"));
    // Own bytes only, so that a sum over accounts is the whole.
    let sum: f64 = samples
        .iter()
        .filter(|((name, _), _)| name == "cenote_pool_held_bytes")
        .map(|(_, value)| value)
        .sum();
    assert_eq!(sum, process.held() as f64);
    drop(pools);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_openmetrics_is_given_the_same_figures_in_that_format() {
    let process = Account::root("process").with_limit(Some(1 << 20));
    let view = View::builder(&process).build();
    let pool = Pool::on(&process.child("uploads"));
    pool.alloc(1_u64);
    let open = open_metrics(&view).await;
    let plain = metrics(&view).await;
    assert!(open.ends_with("\n# EOF\n") && open.matches("# EOF").count() == 1, "{open}");
    let samples = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && is_ours(line));
        lines.map(|line| line.rsplit_once(' ').expect("a value").0.to_owned()).collect()
    };
    assert_eq!(samples(&open), samples(&plain));
    // Each family once, all its samples behind it; counters' end in what their families do not.
    let mut families = HashSet::new();
    let mut family = (String::new(), String::new());
    for line in open.lines().filter(|&line| line != "# EOF") {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a type");
            assert!(families.insert(name.to_owned()) && !name.ends_with("_total"), "{line}");
            family = (name.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') {
            let end = if family.1 == "counter" { "_total" } else { "" };
            let rest = line.strip_prefix(&family.0).and_then(|rest| rest.strip_prefix(end));
            assert!(rest.is_some_and(|rest| rest.starts_with(['{', ' '])), "{line} in {family:?}");
        }
    }
    assert!(families.contains("cenote_pools_created") && families.len() > 12, "{families:?}");
    // A unit is said of the families whose names end in it.
    for name in families {
        let unit = format!("\n# UNIT {name} bytes\n");
        assert_eq!(open.contains(&unit), name.ends_with("_bytes"), "{name} in {open}");
    }
}

/// The lines of the text, each as its name and labels, with its value.
fn lines(text: &str) -> BTreeMap<&str, &str> {
    let samples = text.lines().filter(|line| !line.starts_with('#') && is_ours(line));
    samples.map(|line| line.rsplit_once(' ').expect("a value")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_is_given_is_what_the_text_says() {
    let process = Account::root("process").with_limit(Some(1 << 20));
    let view = View::builder(&process).version("1.2").build();
    let pool = Pool::on(&process.child("up \"loads\""));
    pool.alloc([1_u8; 5000]);
    assert!(pool.try_alloc_bytes(2 << 20).is_err());
    let families = view.metrics().await.expect("a look");
    let text = metrics(&view).await;
    let mut left = lines(&text);
    for family in families.iter() {
        assert!(text.contains(&format!("# HELP {} {}\n", family.name, family.help)));
        for sample in family.samples.iter().filter(|_| is_ours(family.name)) {
            let labels: Vec<_> = sample
                .labels
                .iter()
                .map(|label| format!("{}=\"{}\"", label.name, label.value.replace('"', "\\\"")))
                .collect();
            let labels =
                if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let key = format!("{}{labels}", family.name);
            let value = left.remove(key.as_str()).unwrap_or_else(|| panic!("{key} in {text}"));
            let Value::Number(number) = sample.value else { panic!("{key}: {:?}", sample.value) };
            assert_eq!(value, number.to_string(), "{key}");
        }
    }
    assert_eq!(left, BTreeMap::new(), "in the text alone");
}

/// Rows without what is another a moment later.
fn ageless(rows: &serde_json::Value) -> Vec<serde_json::Value> {
    let mut rows = rows.as_array().expect("rows").clone();
    for row in &mut rows {
        row.as_object_mut().expect("a row").remove("age_seconds").expect("an age");
    }
    rows
}

#[test]
fn a_look_is_given_to_tasks_and_to_threads_that_wait_and_is_what_the_json_says() {
    common::plain(async {
        let process = Account::root("process");
        let view = View::builder(&process).build();
        let sessions = process.child("sessions").with_limit(Some(1 << 20));
        let pool = SharedPool::try_on(&sessions.shared_child("session")).expect("memory");
        view.watch(pool.downgrade());
        assert!(pool.try_alloc_bytes(2 << 20).is_err());
        let reserved = sessions.try_reserve(5000).expect("there is room");
        let awaited = view.look().await.expect("a look");
        // This thread has nothing else to do, as one has that calls a registry's callback.
        let waited = view.look().wait().expect("a look");
        for look in [awaited, waited] {
            let row = look.account(&["process", "sessions"]).expect("a row");
            assert_eq!((row.name(), row.limit_bytes, row.refused), ("sessions", Some(1 << 20), 1));
            assert_eq!(row.held_bytes, pool.held_bytes() + 5000);
            assert_eq!((row.own_reserved_bytes, row.reserved_bytes), (5000, 5000));
            assert!(row.peak_bytes >= row.held_bytes && row.recent_peak_bytes >= row.held_bytes);
            let below: Vec<_> = look.below(row).map(|row| row.path.join("/")).collect();
            assert_eq!(below, ["process/sessions/session"]);
            assert_eq!(look.account(&["process"]).expect("the root").parent(), None);
            assert!(look.account(&["process", "other"]).is_none() && look.account(&[]).is_none());
            let shown = &look.pools[0];
            assert_eq!((shown.kind, shown.held_bytes), ("shared", pool.held_bytes()));
            let body = ask(&view, "/pools.json").await;
            let json: serde_json::Value = serde_json::from_slice(body.body()).expect("JSON");
            let mine = serde_json::to_value(&*look).expect("JSON");
            assert_eq!(ageless(&json["accounts"]), ageless(&mine["accounts"]));
            assert_eq!(json["pools"][0]["id"], mine["pools"][0]["id"]);
            assert_eq!(look.process.pid, std::process::id());
        }
        drop(reserved);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_together_shares_a_look() {
    let process = Account::root("process");
    let view = View::builder(&process).build();
    // A thread that never tells: each look takes as long as it may.
    let (_pools, never_run) = view.local(&process.child("quiet"));
    let first = tokio::spawn(view.look());
    let more: Vec<_> = (0..50).map(|_| tokio::spawn(view.look())).collect();
    let mut looks = vec![first.await.expect("no panic").expect("a look")];
    for one in more {
        looks.push(one.await.expect("no panic").expect("a look"));
    }
    let different: HashSet<_> = looks.iter().map(Arc::as_ptr).collect();
    assert!(different.len() <= 10, "{} looks for those who asked at once", different.len());
    drop(never_run);
}

#[tokio::test]
async fn a_view_that_is_asked_too_much_says_so() {
    let process = Account::root("process");
    let view = View::builder(&process).build();
    let (_pools, never_run) = view.local(&process.child("quiet"));
    let mut asked: Vec<_> = (0..2000).map(|_| Box::pin(view.look())).collect();
    let refused = asked.iter_mut().find_map(|one| {
        let polled =
            one.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        match polled {
            std::task::Poll::Ready(Err(refused)) => Some(refused),
            _ => None,
        }
    });
    let refused = refused.expect("there is a bound");
    assert_eq!(refused, Unavailable::Busy);
    assert!(refused.to_string().contains("ask less often"), "{refused}");
    drop((asked, never_run));
    // And answers again once they have gone.
    while view.look().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reserved_is_told_apart_from_blocks() {
    let process = Account::root("process");
    let view = View::builder(&process).build();
    let tables = process.child("tables").with_limit(Some(100_000));
    let pool = Pool::on(&tables);
    pool.alloc(1_u64);
    let mut index = tables.try_reserve(60_000).expect("there is room");
    let other = process.try_reserve(5000).expect("there is room");
    index.grow(50_000);
    let text = metrics(&view).await;
    checked_by_promtool(&text);
    let samples = parsed(&text);
    let sample = |name: &str, account: &str| samples[&(name.to_owned(), account.to_owned())];
    let blocks = pool.held_bytes() as f64;
    assert_eq!(sample("cenote_account_reserved_bytes", "process/tables"), 110_000.0);
    // An account's own, so that a sum over accounts is the whole.
    assert_eq!(sample("cenote_account_reserved_bytes", "process"), 5000.0);
    assert_eq!(sample("cenote_pool_held_bytes", "process/tables"), blocks);
    assert_eq!(sample("cenote_pool_held_bytes", "process"), 0.0);
    let beyond = (pool.held_bytes() + 110_000 - 100_000) as f64;
    assert_eq!(sample("cenote_account_overcommitted_bytes_total", "process/tables"), beyond);
    assert_eq!(sample("cenote_account_overcommitted_bytes_total", "process"), 0.0);
    drop((index, other));
    let samples = parsed(&metrics(&view).await);
    let key = ("cenote_account_reserved_bytes".to_owned(), "process/tables".to_owned());
    assert_eq!(samples[&key], 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_cannot_break_out_of_its_label() {
    let process = Account::root("process");
    let view = View::builder(&process).build();
    let plain = metrics(&view).await.lines().count();
    let odd = process.child("a\"b\\c\nd{e=\"f\"} 1\u{1b}[2J");
    let text = metrics(&view).await;
    checked_by_promtool(&text);
    // All are 0, but that it is one account.
    let label = "{account=\"process/a\\\"b\\\\c\\nd{e=\\\"f\\\"} 1\u{fffd}[2J\"} ";
    assert_eq!(text.matches(label).count(), text.lines().count() - plain, "{text}");
    drop(odd);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_without_end_become_few_series_and_their_counters_never_go_down() {
    let process = Account::root("process");
    let view = View::builder(&process).build();
    let mut before = BTreeMap::new();
    for round in 0..4 {
        let open: Vec<_> = (0..700)
            .map(|n| {
                let pool = Pool::on(&process.child(format!("user-{round}-{n}")));
                pool.alloc(1_u8);
                pool
            })
            .collect();
        let text = metrics(&view).await;
        checked_by_promtool(&text);
        let samples = parsed(&text);
        let accounts: std::collections::BTreeSet<_> =
            samples.keys().map(|(_, account)| account).collect();
        assert!(accounts.len() <= 203, "{}", accounts.len());
        let live: f64 = samples
            .iter()
            .filter(|((name, _), _)| name == "cenote_pools_live")
            .map(|(_, value)| value)
            .sum();
        assert_eq!(live, 700.0, "none is lost");
        let other = samples[&("cenote_pools_created_total".to_owned(), "other".to_owned())];
        let last = before.insert("other", other).unwrap_or(0.0);
        assert!(other >= last, "{last} {other}");
        drop(open);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_accounts_there_are_at_once_they_are_two_hundred_series_and_one_of_the_others()
{
    let process = Account::root("process");
    let view = View::builder(&process).build();
    // No more below one than are told by name.
    let tenants: Vec<_> = (0..7).map(|n| process.child(format!("tenant-{n}"))).collect();
    let all = tenants.iter().flat_map(|tenant| (0..100).map(move |n| (tenant, n)));
    let pools: Vec<_> =
        all.map(|(tenant, n)| Pool::on(&tenant.child(format!("user-{n}")))).collect();
    for _ in 0..2 {
        let samples = parsed(&metrics(&view).await);
        let live: Vec<_> =
            samples.iter().filter(|((name, _), _)| name == "cenote_pools_live").collect();
        assert_eq!(live.len(), 201);
        assert_eq!(live.iter().map(|(_, value)| **value).sum::<f64>(), pools.len() as f64);
    }
}
