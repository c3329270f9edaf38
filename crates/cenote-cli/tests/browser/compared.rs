//! Two moments compared on the page: both on the chart, one of them now, or one in a file.

use std::path::Path;

use cenote::SharedPool;
use serde_json::{Value, json};

use crate::chromium::Browser;
use crate::past::{BANNER, HIDDEN, account, end_cache, opened, tile};
use crate::site::Site;
use crate::{CONTRAST, browser, complaints, number};

/// The changes of pools, by the title of their row: `process/other work/cache: chunk cache`.
const POOLS: &str = "Object.fromEntries([...document.querySelectorAll('#pools tbody tr')].map(row => [row.querySelector('button').title, row.children[4].textContent]))";

fn change(browser: &mut Browser, name: &str) -> Value {
    browser.get(&account(name))["Change"].clone()
}

#[test]
fn two_moments_are_compared() {
    let Some(mut browser) = browser() else { return };
    let site = Site::under_load("uploads", None, 0);
    opened(&mut browser, &site);
    // With Shift, a moment is what now is compared with.
    browser.click("#history .u-over", 0.5, true);
    assert_eq!(browser.get(HIDDEN), false);
    let banner = browser.get(BANNER);
    assert!(banner.as_str().is_some_and(|text| text.starts_with("Now compared with ")), "{banner}");
    assert_eq!(browser.get("document.querySelectorAll('#history .mark.since').length"), 1);
    assert_eq!(change(&mut browser, "cache"), "");
    // A pool that is older than that was there, whatever is kept of it.
    assert_eq!(browser.get(POOLS)["process/other work/cache: chunk cache"], "");
    let late = SharedPool::try_on(&site.account().shared_child("late")).expect("memory");
    late.alloc_zeroed_bytes(100_000);
    browser.until(&format!("/^\\+[\\d.]+ KiB new$/.test({}?.Change)", account("late")));
    end_cache(&mut browser, &site);
    assert_eq!(change(&mut browser, "cache"), "−256 KiB");
    assert_eq!(browser.get(&format!("{}.className", tile("other work › cache"))), "leaf",);
    browser
        .until(&format!("/grown/.test({})", "document.getElementById('map-legend').textContent"));
    // Of pools nothing is kept; it is said what that leaves.
    browser.until("/Which pools there were is not kept/.test(document.getElementById('pools-more').textContent)");
    browser.press("Escape");
    assert_eq!(browser.get(HIDDEN), true);
    assert_eq!(
        browser.get("getComputedStyle(document.querySelector('#accounts .more')).display"),
        "none"
    );

    // A moment, and now; then another moment.
    browser.click("#history .u-over", 0.4, false);
    browser.get("document.getElementById('moment-compare').click()");
    browser.until(&format!("{}.Change === '−256 KiB'", account("cache")));
    assert_eq!(browser.get("document.activeElement.id"), "moment-back");
    assert_eq!(browser.get("document.getElementById('moment-back').textContent"), "Stop comparing");
    browser.click("#history .u-over", 0.45, false);
    let text = browser.get(BANNER);
    assert!(
        text.as_str()
            .is_some_and(|text| text.contains(" compared with ") && !text.starts_with("Now")),
        "{text}"
    );
    assert_eq!(change(&mut browser, "cache"), "");
    assert_eq!(browser.get(&account("late")), Value::Null);
    browser.get("document.getElementById('moment-back').click()");

    // Without a mouse, and in whatever order: what was first is compared with what was then.
    browser.get("document.getElementById('history').focus()");
    browser.press("Home");
    browser.press_with("ArrowLeft", true);
    assert_eq!(browser.get("document.querySelectorAll('#history .mark.since').length"), 1);
    browser.until(&format!("/ new$/.test({}?.Change)", account("late")));
    assert_eq!(complaints(&browser), [] as [&String; 0]);
}

#[test]
fn what_a_history_had_no_room_for_is_not_said_to_be_new() {
    let Some(mut browser) = browser() else { return };
    let site = Site::under_load("uploads", None, 0);
    // More paths than there is room for in the site's MiB.
    let pools: Vec<_> = (0..80)
        .map(|n| {
            SharedPool::try_on(&site.account().shared_child(format!("tenant-{n}"))).expect("memory")
        })
        .inspect(|pool| {
            pool.alloc_zeroed_bytes(1000);
        })
        .collect();
    opened(&mut browser, &site);
    browser.get("document.getElementById('history').focus()");
    browser.press("Home");
    browser.until("/^Held .* Of \\d+ accounts there was no room to keep anything/.test(document.getElementById('accounts-more').textContent)");
    browser.get("document.getElementById('moment-compare').click()");
    // The first that came have no room; of the last there was some, before they came.
    for (name, wanted) in [("tenant-0", "not told then"), ("tenant-79", "+4096 B new")] {
        browser.until(&format!("{}?.Change === '{wanted}'", account(name)));
    }
    drop(pools);
}

/// What the page is told, with other figures for a moment before.
pub(crate) fn earlier(browser: &mut Browser, uploads: &str) -> Value {
    let text = browser.get("fetch('pools.json').then(answer => answer.text())");
    let mut look: Value = serde_json::from_str(text.as_str().expect("text")).expect("JSON");
    look["now"] = (look["now"].as_f64().expect("seconds") - 3600.0).into();
    let accounts = look["accounts"].as_array_mut().expect("rows");
    accounts.retain(|row| row["path"] != json!(["process", "other work", "cache"]));
    let mut ghost = accounts[0].clone();
    ghost["path"] = json!(["process", "other work", "ghost"]);
    ghost["held_bytes"] = (1 << 20).into();
    accounts.push(ghost);
    let uploads = accounts.iter_mut().find(|row| row["path"] == json!(["process", uploads]));
    let held = &mut uploads.expect("its row")["held_bytes"];
    *held = (held.as_u64().expect("bytes") - 4096).into();
    let pools = look["pools"].as_array_mut().expect("rows");
    let cache = pools.iter_mut().find(|pool| pool["name"] == "cache").expect("its pool");
    cache["held_bytes"] = (cache["held_bytes"].as_u64().expect("bytes") - 512).into();
    let mut gone = cache.clone();
    gone["id"] = "w7-7777".into();
    gone["name"] = "stale".into();
    gone["held_bytes"] = (2 << 20).into();
    pools.push(gone);
    look
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("a file");
    file
}

#[test]
fn what_was_written_to_a_file_is_compared_with_now() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::under_load("uploads", None, 0);
    opened(&mut browser, &site);
    let mut look = earlier(&mut browser, "uploads");
    browser.choose("#file", &write(folder.path(), "<b>before.json", &look.to_string()));
    browser.until(&format!("!{HIDDEN}"));
    let banner = browser.get(BANNER);
    let said = "Now compared with “<b>before.json” of ";
    assert!(banner.as_str().is_some_and(|text| text.starts_with(said)), "{banner}");
    for (name, wanted) in
        [("cache", "+256 KiB new"), ("ghost", "−1 MiB gone"), ("uploads", "+4096 B")]
    {
        assert_eq!(change(&mut browser, name), wanted, "{name}");
    }
    // One that is gone stands with those that it was with.
    let names = "[...document.querySelectorAll('#accounts tbody th')].map(e => e.textContent)";
    let names: Vec<String> = serde_json::from_value(browser.get(names)).expect("names");
    let place = |name: &str| names.iter().position(|other| other == name).expect(name);
    assert_eq!(
        [place("cache"), place("ghost")],
        [place("other work") + 1, place("other work") + 2]
    );
    // Pools, the most grown first; those of the file that are told no more are gone.
    let cache = "process/other work/cache: chunk cache";
    browser.until(&format!("{POOLS}['{cache}'] === '+512 B'"));
    browser.until(&format!("{POOLS}['process/other work/cache: chunk stale'] === '−2 MiB gone'"));
    assert_eq!(
        browser.get("document.querySelector('#pools th[aria-sort] button').dataset.sort"),
        "more"
    );
    // The map shows all three, and what was there is there no more.
    for (path, class) in [
        ("other work › ghost", "−1 MiB gone"),
        ("uploads", "+4096 B"),
        ("other work › cache", "+256 KiB new"),
    ] {
        let label = browser.get(&format!("{}?.getAttribute('aria-label')", tile(path)));
        assert!(label.as_str().is_some_and(|label| label.ends_with(class)), "{path}: {label}");
    }
    browser.get("document.getElementById('moment-back').click()");
    assert_eq!(browser.get(&account("ghost")), Value::Null);
    assert_eq!(
        browser.get("document.querySelector('#pools th[aria-sort] button').dataset.sort"),
        "held"
    );

    // Numbers of another process tell nothing of pools.
    look["process"]["pid"] = 1.into();
    browser.choose("#file", &write(folder.path(), "other.json", &look.to_string()));
    browser.until(&format!("/, of another process: /.test({BANNER})"));
    assert_eq!(change(&mut browser, "ghost"), "−1 MiB gone");
    assert_eq!(browser.get(&format!("Object.values({POOLS}).filter(text => text).length")), 0);
    browser.until("/Those of another process cannot be told apart/.test(document.getElementById('pools-more').textContent)");
    browser.press("Escape");

    // A path that may be among the others is not said to be gone.
    look["accounts"]
        .as_array_mut()
        .expect("rows")
        .retain(|row| row["path"] != json!(["process", "uploads"]));
    let mut others = look["accounts"][0].clone();
    others["path"] = json!(["process", "(others)"]);
    look["accounts"].as_array_mut().expect("rows").push(others);
    browser.choose("#file", &write(folder.path(), "many.json", &look.to_string()));
    browser.until(&format!("{}?.Change === 'not told then'", account("uploads")));
    assert_eq!(complaints(&browser), [] as [&String; 0]);
}

#[test]
fn a_pool_that_may_be_among_those_not_shown_is_not_said_to_be_gone() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    // More than are told one by one.
    let site = Site::under_load("uploads", None, 250);
    opened(&mut browser, &site);
    let look = earlier(&mut browser, "uploads");
    browser.choose("#file", &write(folder.path(), "before.json", &look.to_string()));
    browser.until("/ that were told then it is not known whether they are gone, since not all are shown now/.test(document.getElementById('pools-more').textContent)");
    assert_eq!(browser.get("document.querySelectorAll('#pools tr.gone').length"), 0);
    assert_eq!(change(&mut browser, "ghost"), "−1 MiB gone");
}

#[test]
fn a_file_that_is_no_look_is_told_what_it_is_and_what_it_should_be() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::under_load("uploads", None, 0);
    opened(&mut browser, &site);
    let history = browser.get("fetch('pools.json?history').then(answer => answer.text())");
    let look = earlier(&mut browser, "uploads");
    let with = |pointer: &str, value: Value| {
        let mut look = look.clone();
        *look.pointer_mut(pointer).expect("it is there") = value;
        look.to_string()
    };
    for (name, text, wanted) in [
        ("empty", String::new(), "is empty."),
        ("words", "process 3 MiB".to_owned(), "is no JSON: "),
        (
            "history",
            history.as_str().expect("text").to_owned(),
            "is a whole history, with many moments.",
        ),
        ("list", "[1, 2]".to_owned(), "has no accounts."),
        ("null", "null".to_owned(), "has no accounts."),
        ("newer", with("/schema", 2.into()), "has the schema 2, of which this page knows only 1."),
        ("timeless", with("/now", "noon".into()), "does not say of when it is (now)."),
        (
            "weightless",
            with("/accounts/1/held_bytes", "much".into()),
            "has no held_bytes in accounts[1].",
        ),
        ("nowhere", with("/pools/0/path", Value::Null), "has no path in pools[0]."),
    ] {
        browser.choose("#file", &write(folder.path(), name, &text));
        browser.until(&format!("{BANNER}.startsWith('“{name}” {wanted}')"));
        let banner = browser.get(BANNER);
        let right = "What can be compared with is one look, as `cenote pools --json URL` prints it and /pools.json has it.";
        assert!(banner.as_str().is_some_and(|text| text.ends_with(right)), "{banner}");
        // Nothing else has changed, and it can be put away.
        assert_eq!(browser.get("document.querySelector('main').className"), "");
        assert_eq!(browser.get("document.getElementById('moment-back').textContent"), "Close");
        browser.press("Escape");
        assert_eq!(browser.get(HIDDEN), true);
    }
    assert_eq!(complaints(&browser), [] as [&String; 0]);
}

#[test]
fn a_comparison_can_be_read_in_the_dark_in_the_light_and_on_a_phone() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::under_load("uploads", None, 0);
    opened(&mut browser, &site);
    let file = write(folder.path(), "before.json", &earlier(&mut browser, "uploads").to_string());
    for (name, width, height, dark) in [
        ("since", 1280, 1360, false),
        ("since-dark", 1280, 1360, true),
        ("since-phone", 390, 1400, true),
    ] {
        browser.screen(width, height, dark);
        browser.choose("#file", &file);
        browser.until(&format!("{}?.Change === '−1 MiB gone'", account("ghost")));
        let sticks_out = number(&mut browser, "document.documentElement.scrollWidth");
        assert!(sticks_out <= f64::from(width), "{name}: {sticks_out}");
        assert_eq!(browser.get(CONTRAST), json!([]), "{name}");
        if let Some(folder) = std::env::var_os("CENOTE_SCREENSHOTS").filter(|_| name == "since") {
            browser
                .get("document.getElementById('history-title').scrollIntoView(); scrollBy(0, -90)");
            browser.save(&Path::new(&folder).join("pools-since.png"));
        }
    }
    assert_eq!(complaints(&browser), [] as [&String; 0]);
}
