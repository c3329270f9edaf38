//! Links: what is chosen on the page stands in its address, and a page that is opened by it shows the same.

use cenote_cli::serve::{Config, Server};

use crate::past::{BANNER, HIDDEN, account, end_cache, opened};
use crate::site::Site;
use crate::{browser, complaints, number};

/// The time that the chart's cursor is at, when it is at the left end.
const LEFT: &str = "(() => {
    const over = document.querySelector('#history .u-over'), box = over.getBoundingClientRect();
    over.dispatchEvent(new MouseEvent('mousemove', {clientX: box.left + 1, clientY: box.top + 40, movementX: 1, bubbles: true}));
    return document.querySelector('#history .u-series .u-value').textContent;
})()";

#[test]
fn a_link_shows_others_the_same_moments_and_the_same_part_of_the_chart() {
    let Some(mut browser) = browser() else { return };
    let site = Site::under_load("uploads", None, 0);
    opened(&mut browser, &site);
    let whole = browser.get(LEFT);
    browser.drag("#history .u-over", 0.4, 0.95);
    browser.until("/from=\\d+\\.\\d+&to=\\d+\\.\\d+/.test(location.hash)");
    // The end of a drag is no click.
    assert_eq!(browser.get(HIDDEN), true);
    let part = browser.get(LEFT);
    assert_ne!(part, whole);
    end_cache(&mut browser, &site);
    // Far enough from the left end that the server's moment before it is in that part as well.
    browser.click("#history .u-over", 0.7, true);
    browser.click("#history .u-over", 0.9, false);
    browser.get("const choice = document.getElementById('history-account'); choice.value = 'process\\nother work'; choice.dispatchEvent(new Event('change'))");
    browser.drag("#history .u-over", 0.4, 0.95);
    browser.until("/from=\\d+\\.\\d+&to=\\d+\\.\\d+/.test(location.hash)");
    let shown = "(() => {
        const said = new URLSearchParams(location.hash.slice(1));
        return [said.get('from'), said.get('to'), said.get('account'), document.getElementById('history-account').value,
            document.querySelectorAll('#history .mark:is(.at, .since)').length, document.querySelector('main').className];
    })()";
    let before = browser.get(shown);
    assert_eq!((&before[4], &before[5]), (&2.into(), &"past".into()));
    // By what is held: what is compared is sorted by what has changed, unless somebody says otherwise.
    browser.get("document.querySelector('[data-sort=held]').click()");
    let link = browser.get("location.href");
    let link = link.as_str().expect("an address");
    for name in ["at=", "since=", "from=", "to=", "account=", "sort=held-"] {
        assert!(link.contains(name), "{link}");
    }
    let mut other = crate::browser().expect("there was one");
    other.screen(1280, 900, false);
    other.open(link);
    other.until(&format!("{BANNER}.includes(' compared with ')"));
    other.until("document.querySelector('#history .u-over') !== null");
    other.until(&format!("JSON.stringify({shown}) === {:?}", before.to_string()));
    let sorted = "new URLSearchParams(location.hash.slice(1)).get('sort')";
    assert_eq!(other.get(sorted), "held-");
    other.get("document.querySelector('[data-sort=more]').click()");
    assert_eq!(other.get(sorted), serde_json::Value::Null);
    // What the server keeps lies between the looks that a page has: a moment is the same within a second
    // or so.
    for name in ["at", "since"] {
        let moment = format!("+new URLSearchParams(location.hash.slice(1)).get('{name}')");
        let apart = number(&mut browser, &moment) - number(&mut other, &moment);
        assert!((0.0..2.5).contains(&apart), "{name}: {apart}");
    }
    assert_eq!(other.get(&account("cache"))["Held"], browser.get(&account("cache"))["Held"]);
    // The day, and back to what is as it begins: nothing is left in the address.
    other.get("document.querySelector('#history-ranges button:last-child').click()");
    other.until("location.hash.includes('range=day')");
    other.get("document.getElementById('moment-back').click()");
    other.get("document.querySelector('#history-ranges button').click()");
    other.get("const choice = document.getElementById('history-account'); choice.value = ''; choice.dispatchEvent(new Event('change'))");
    other.until("location.hash === ''");
    // A look closer is taken back by two clicks, which choose no moment.
    other.drag("#history .u-over", 0.4, 0.95);
    other.until("location.hash.includes('from=')");
    other.double_click("#history .u-over", 0.5);
    other.until("location.hash === ''");
    assert_eq!(other.get(HIDDEN), true);
    // An address that is changed by hand is heeded too.
    let at = link.split("at=").nth(1).and_then(|rest| rest.split('&').next()).expect("a moment");
    other.get(&format!("void (location.hash = '#at={at}')"));
    other.until(&format!("{BANNER}.startsWith('As of ')"));
    other.get("void (location.hash = '')");
    other.until(HIDDEN);
    // Also where the page notes something of its own before it is told.
    other.get(&format!("void (location.hash = '#at={at}')"));
    other.until(&format!("{BANNER}.startsWith('As of ')"));
    other.get("location.hash = ''; document.querySelector('[data-sort=used]').click()");
    other.until(HIDDEN);
    assert_eq!(complaints(&other), [] as [&String; 0]);
    assert_eq!(complaints(&browser), [] as [&String; 0]);
}

#[test]
fn what_a_link_names_and_is_not_kept_is_said() {
    let Some(mut browser) = browser() else { return };
    let site = Site::under_load("uploads", None, 0);
    browser.screen(1280, 900, false);
    let address = site.address();
    browser.open(&format!("http://{address}/pools#at=1000000000&since=1000000060&from=1000000000.000&to=1000000900.000"));
    browser.until(&format!("{BANNER}.match(/2001/g)?.length === 4"));
    let banner = browser.get(BANNER);
    let banner = banner.as_str().expect("text");
    assert_eq!(banner.matches(" is not kept: what is kept begins at ").count(), 2, "{banner}");
    assert!(banner.contains("Nothing is kept of the time from "), "{banner}");
    // It is now that is shown.
    assert_eq!(browser.get("document.querySelector('main').className"), "");
    browser.get("document.getElementById('moment-back').click()");
    browser.until("location.hash === ''");
    assert_eq!(browser.get(HIDDEN), true);
    drop(site);

    let folder = tempfile::tempdir().expect("a folder");
    let mut config = Config::new(folder.path());
    config.history = None;
    let server = Server::start(config).expect("the server starts");
    browser.open(&format!("http://{}/pools#at=1000000000", server.address()));
    browser
        .until(&format!("{BANNER}.endsWith(' is not kept, since this server keeps no history.')"));
    assert_eq!(complaints(&browser), [] as [&String; 0]);
    server.stop();
}
