//! Reading the page as an operator does: the tree of accounts, what is looked for, links that show the
//! same to others, and a pool that goes while it is looked at.

use crate::site::Site;
use crate::{browser, complaints, number, open_row};
use std::time::Duration;

const ROWS: &str = "[...document.querySelectorAll('#accounts tbody tr')]";

#[test]
fn accounts_are_a_tree_and_a_row_over_its_age_is_marked_from_end_to_end() {
    let Some(mut browser) = browser() else { return };
    let site = Site::under_load("uploads", Some(Duration::from_secs(1)), 0);
    for (name, width, dark) in [("wide", 1280, false), ("dark", 1280, true), ("phone", 390, false)]
    {
        browser.screen(width, 900, dark);
        browser.open(&format!("http://{}/pools", site.address()));
        browser
            .until(&format!("{ROWS}.length >= 8 && {ROWS}.some(row => row.className === 'old')"));
        browser.get("document.getElementById('pause').click()");
        // What stands for pools that the view was not shown is not counted as one of those that it was.
        let counts = browser.get("document.getElementById('pools-more').textContent.match(/^(\\d+) shown of (\\d+) /).slice(1).map(Number)");
        assert!(counts[0].as_u64() <= counts[1].as_u64(), "{name}: {counts}");
        // Where each name begins, by how deep it is: the deeper, the further in.
        let indents = browser.get(&format!(
            "Object.entries({ROWS}.reduce((all, row) => {{
                const head = row.querySelector('th.path'), range = document.createRange();
                range.selectNodeContents(head);
                const depth = +head.style.getPropertyValue('--depth');
                (all[depth] ??= new Set()).add(Math.round(range.getBoundingClientRect().left - row.getBoundingClientRect().left));
                return all;
            }}, {{}})).map(([, lefts]) => [...lefts])"
        ));
        let indents: Vec<Vec<i64>> = serde_json::from_value(indents).expect("numbers");
        assert!(indents.len() >= 4, "{name}: {indents:?}");
        assert!(indents.iter().all(|lefts| lefts.len() == 1), "{name}: {indents:?}");
        assert!(indents.is_sorted_by(|a, b| a[0] + 8 <= b[0]), "{name}: {indents:?}");
        // One ground for all of a row, and one line above it.
        let uneven = browser.get(&format!(
            "{ROWS}.filter(row => new Set([...row.children].map(cell => {{
                const style = getComputedStyle(cell);
                return style.backgroundColor + style.borderTopWidth + style.borderTopColor;
            }})).size !== 1).map(row => row.textContent)"
        ));
        assert_eq!(uneven, serde_json::json!([]), "{name}");
        let grounds = number(
            &mut browser,
            &format!(
                "new Set({ROWS}.map(row => getComputedStyle(row.children[0]).backgroundColor)).size"
            ),
        );
        assert!(grounds >= 2.0, "{name}: rows over their age look like the others");
    }
    assert_eq!(complaints(&browser), [] as [&String; 0]);
}

#[test]
fn what_is_looked_for_is_in_the_map_too_and_a_link_shows_the_same_to_others() {
    let Some(mut browser) = browser() else { return };
    let site = Site::under_load("uploads", None, 0);
    browser.screen(1280, 900, false);
    browser.open(&format!("http://{}/pools", site.address()));
    browser.until("document.querySelectorAll('#treemap .leaf').length >= 8");
    browser.get("document.querySelector('[data-sort=age]').click()");
    browser.get("document.querySelector('[data-sort=age]').click()");
    browser.get("const box = document.getElementById('find'); box.value = 'cache'; box.dispatchEvent(new Event('input'))");
    browser.until("document.querySelectorAll('#treemap .leaf').length === 1");
    open_row(&mut browser, "cache");
    browser.get("document.getElementById('pause').click()");
    let shown = "[location.hash.length > 1,
        document.querySelector('#pools th[aria-sort=ascending] button')?.dataset.sort,
        document.getElementById('find').value,
        document.querySelectorAll('#treemap .leaf').length,
        document.querySelector('#pools tr.chosen td.name')?.textContent,
        document.getElementById('blocks').hidden,
        document.body.className]";
    let before = browser.get(shown);
    assert_eq!(
        before,
        serde_json::json!([true, "age", "cache", 1, "other work › cache #1", false, "paused"])
    );
    let link = browser.get("location.href");
    let link = link.as_str().expect("an address");
    assert!(link.contains("sort=age") && link.contains("find=cache"), "{link}");
    let mut other = crate::browser().expect("there was one");
    other.screen(1280, 900, false);
    other.open(link);
    other.until("document.body.className === 'paused'");
    assert_eq!(other.get(shown), before);
    // What is as it begins leaves nothing in the address.
    other.get("document.getElementById('pause').click()");
    other.get("document.getElementById('blocks-close').click()");
    other.get("const box = document.getElementById('find'); box.value = ''; box.dispatchEvent(new Event('input'))");
    other.get("document.getElementById('fattest').click()");
    assert_eq!(other.get("location.hash"), "");
    assert_eq!(complaints(&other), [] as [&String; 0]);
    assert_eq!(complaints(&browser), [] as [&String; 0]);
}

#[test]
fn names_have_the_same_colour_in_whatever_order_they_come() {
    let Some(mut browser) = browser() else { return };
    let mut seen = Vec::new();
    for jobs in [0, 2] {
        let site = Site::under_load("uploads", None, jobs);
        browser.screen(1280, 900, false);
        browser.open(&format!("http://{}/pools", site.address()));
        browser.until("document.querySelectorAll('#map-legend li').length >= 4");
        let colours = browser.get("Object.fromEntries([...document.querySelectorAll('#map-legend li')].map(e => [e.textContent, getComputedStyle(e.firstChild).backgroundColor]))");
        seen.push(colours);
    }
    for name in ["request", "cache"] {
        assert!(seen[0][name].is_string(), "{seen:?}");
        assert_eq!(seen[0][name], seen[1][name], "{name}");
    }
    assert_ne!(seen[0]["request"], seen[0]["cache"]);
}

#[test]
fn a_pool_that_goes_while_it_is_looked_at_is_not_asked_for_any_more() {
    let Some(mut browser) = browser() else { return };
    let site = Site::under_load("uploads", None, 0);
    browser.screen(1280, 900, false);
    browser.open(&format!("http://{}/pools", site.address()));
    open_row(&mut browser, "cache");
    browser.until("document.querySelectorAll('#blocks-map .cluster svg').length > 0");
    let asked = "performance.getEntriesByType('resource').filter(e => e.name.includes('pools.json?pool=')).length";
    let looks = "performance.getEntriesByType('resource').filter(e => e.name.endsWith('pools.json')).length";
    site.end_cache();
    browser.until("/It is gone\\. These were its blocks/.test(document.getElementById('blocks-facts').textContent)");
    let (questions, before) = (number(&mut browser, asked), number(&mut browser, looks));
    browser.until(&format!("({looks}) >= {before} + 3"));
    assert_eq!(number(&mut browser, asked), questions);
    assert!(
        number(&mut browser, "document.querySelectorAll('#blocks-map .cluster svg').length") > 0.0
    );
}
