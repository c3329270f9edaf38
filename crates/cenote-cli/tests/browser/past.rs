//! Moments that have passed: one chosen on the chart and shown.

use crate::chromium::Browser;
use crate::site::Site;
use crate::{CONTRAST, browser, complaints, number};

/// How many moments the chart has.
pub(crate) const MOMENTS: &str =
    "(parseInt(document.getElementById('history').getAttribute('aria-label')) || 0)";
pub(crate) const BANNER: &str = "document.getElementById('moment-text').textContent";
pub(crate) const HIDDEN: &str = "document.getElementById('moment').hidden";

/// The texts of an account's row, by the titles of their columns.
pub(crate) fn account(name: &str) -> String {
    format!(
        "(() => {{
            const titles = [...document.querySelectorAll('#accounts thead th')].map(th => th.textContent);
            const row = [...document.querySelectorAll('#accounts tbody tr')].find(row => row.children[0].textContent === '{name}');
            return row && Object.fromEntries(titles.map((title, i) => [title, row.children[i].textContent]));
        }})()"
    )
}

pub(crate) fn tile(name: &str) -> String {
    format!(
        "[...document.querySelectorAll('#treemap .leaf')].find(e => e.getAttribute('aria-label').split(':')[0] === '{name}')"
    )
}

/// A page that has seen a cache for some moments; what that held.
pub(crate) fn opened(browser: &mut Browser, site: &Site) -> String {
    browser.screen(1280, 900, false);
    browser.open(&format!("http://{}/pools", site.address()));
    browser.until(&format!("{}?.Held > ''", account("cache")));
    browser.until(&format!("{MOMENTS} > 8"));
    let held = browser.get(&account("cache"))["Held"].clone();
    held.as_str().expect("text").to_owned()
}

/// Ends the cache, and waits until the page shows that.
pub(crate) fn end_cache(browser: &mut Browser, site: &Site) {
    site.end_cache();
    browser.until(&format!("{}.Held === '0 B'", account("cache")));
}

#[test]
fn a_moment_chosen_on_the_chart_is_shown_until_one_goes_back_to_now() {
    let Some(mut browser) = browser() else { return };
    let site = Site::under_load("uploads", None, 0);
    let held = opened(&mut browser, &site);
    end_cache(&mut browser, &site);
    assert_eq!(browser.get(HIDDEN), true);

    // What is under the cursor is what is shown then.
    browser.click("#history .u-over", 0.5, false);
    let time = browser.get("document.querySelector('#history .u-series .u-value').textContent");
    let time = time.as_str().expect("a time");
    let banner = browser.get(BANNER);
    assert!(
        banner.as_str().is_some_and(|text| text.starts_with(&format!("As of {time}: "))),
        "{banner} at {time}"
    );
    assert_eq!(browser.get(HIDDEN), false);
    assert_eq!(browser.get("document.querySelector('#history .mark.at').textContent"), time);
    let row = browser.get(&account("cache"));
    assert_eq!(row["Held"], *held);
    assert_eq!((&row["Used"], &row["Made"]), (&"–".into(), &"–".into()));
    assert!(browser.get(&tile("other work › cache")).is_object());
    // It stays, while the figures of now move on, and says how long ago it was.
    browser.until(
        "/^That was ([3-9]|\\d\\d) s ago/.test(document.getElementById('moment-more').textContent)",
    );
    assert_eq!(browser.get(&account("cache")), row);
    // What cannot be known is said.
    assert_eq!(browser.get("document.querySelectorAll('#pools tbody tr').length"), 0);
    browser.until(
        "document.getElementById('pools-more').textContent.startsWith('Single pools are not kept')",
    );
    browser.until("/is not kept of a moment that has passed/.test(document.getElementById('accounts-more').textContent)");
    assert_eq!(browser.get("document.querySelectorAll('.then h2').length"), 3);
    assert_eq!(
        browser.get(&format!("[...document.querySelectorAll('.then h2')].filter(e => e.textContent.endsWith(' as of {time}')).length")),
        3
    );

    browser.press("Escape");
    assert_eq!(browser.get(HIDDEN), true);
    assert_eq!(browser.get(&account("cache"))["Held"], "0 B");
    browser.until("document.querySelectorAll('#pools tbody tr').length > 3");

    // The same without a mouse: back to the beginning, to and fro, and to now.
    browser.get("document.getElementById('history').focus()");
    browser.press("Home");
    let value = "+document.getElementById('history').getAttribute('aria-valuenow')";
    assert_eq!(browser.get(value), 0);
    assert_eq!(browser.get(HIDDEN), false);
    let mut times = vec![browser.get(BANNER)];
    for (key, place) in [("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)] {
        browser.press(key);
        assert_eq!(browser.get(value), place);
        times.push(browser.get(BANNER));
    }
    assert!(times[0] != times[1] && times[1] != times[2], "{times:?}");
    browser.get("document.getElementById('moment-back').focus()");
    browser.press("Enter");
    assert_eq!(browser.get(HIDDEN), true);
    assert_eq!(browser.get("document.activeElement.id"), "history");
    browser.press("Home");
    browser.press("End");
    assert_eq!(browser.get(HIDDEN), true);

    // The server may be gone by then.
    drop(site);
    browser.until("document.body.className === 'lost'");
    browser.click("#history .u-over", 0.5, false);
    assert_eq!(browser.get(&account("cache"))["Held"], *held);
    browser.get("document.getElementById('moment-back').click()");
    assert_eq!(browser.get(HIDDEN), true);
}

#[test]
fn the_past_can_be_read_in_the_dark_in_the_light_and_on_a_phone() {
    let Some(mut browser) = browser() else { return };
    let site = Site::under_load("uploads", None, 0);
    opened(&mut browser, &site);
    for (name, width, dark) in [("light", 1280, false), ("dark", 1280, true), ("phone", 390, false)]
    {
        browser.screen(width, 700, dark);
        browser.click("#history .u-over", 0.5, false);
        browser.until(&format!("!{HIDDEN}"));
        let sticks_out = number(&mut browser, "document.documentElement.scrollWidth");
        assert!(sticks_out <= f64::from(width), "{name}: {sticks_out}");
        assert_eq!(browser.get(CONTRAST), serde_json::json!([]), "{name}");
        // However far down one reads, it is told that this is the past.
        browser.get("document.getElementById('accounts-more').scrollIntoView({block: 'end'})");
        let shown = browser.get(
            "(() => { const box = document.getElementById('moment').getBoundingClientRect();
                return box.top >= document.querySelector('header').getBoundingClientRect().bottom - 1 && box.bottom <= innerHeight; })()",
        );
        assert_eq!(shown, true, "{name}");
    }
    assert_eq!(complaints(&browser), [] as [&String; 0]);
}
