//! `/pools` in a real browser, while a load runs.
//!
//! Skipped, loudly, where there is no Chromium. With `CENOTE_SCREENSHOTS` set to a folder, the
//! pictures of the documentation are written there. They show the memory of the whole process, so each of
//! `it_can_be_read`, `the_page_lives` and `compared::a_comparison` has to be run by itself.

#![forbid(unsafe_code)]

mod chromium;
mod compared;
mod deploys;
mod general;
mod links;
mod measured;
mod past;
mod reading;
mod site;
mod whose;

use chromium::Browser;
use site::Site;
use std::path::Path;
use std::time::Duration;

/// A name that would be a script if it were not text.
const NAME: &str = "<img src=x onerror=\"document.title='broken'\">&amp;";

fn browser() -> Option<Browser> {
    let Some(chromium) = chromium::find() else {
        eprintln!("SKIPPED: no chromium: the page is not looked at in a browser");
        return None;
    };
    Some(Browser::start(&chromium))
}

fn number(browser: &mut Browser, expression: &str) -> f64 {
    browser.get(expression).as_f64().expect("a number")
}

#[test]
fn the_page_lives_while_a_load_runs() {
    let Some(mut browser) = browser() else { return };
    let site = Site::under_load(NAME, Some(Duration::from_secs(1)), 2);
    browser.screen(1280, 900, false);
    browser.open(&format!("http://{}/pools", site.address()));
    browser.until("document.body.className === 'live'");

    // The figures move.
    let made = "+[...document.querySelectorAll('#accounts tbody tr')].map(row => \
                row.children[3].textContent.replace(/\\D/g, '')).reduce((a, b) => +a + +b, 0)";
    let before = number(&mut browser, made);
    browser.until(&format!("({made}) > {before}"));
    browser.until("document.querySelectorAll('#tile-held path[d]').length === 2");

    // The treemap is drawn: tiles of workers, connections and requests that lie side by side.
    browser.until("document.querySelectorAll('#treemap .leaf').length >= 8");
    let overlaps = "(() => {
        const boxes = [...document.querySelectorAll('#treemap .leaf')].map(e => e.getBoundingClientRect());
        const map = document.getElementById('treemap').getBoundingClientRect();
        let bad = 0;
        boxes.forEach((a, i) => {
            if (a.left < map.left - 1 || a.right > map.right + 1 || a.top < map.top - 1 || a.bottom > map.bottom + 1) bad += 1;
            boxes.slice(i + 1).forEach(b => {
                const w = Math.min(a.right, b.right) - Math.max(a.left, b.left);
                const h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
                if (w > 1.5 && h > 1.5) bad += 1;
            });
        });
        return bad;
    })()";
    assert_eq!(browser.get(overlaps), 0);
    assert!(number(&mut browser, "document.querySelectorAll('#treemap .group').length") >= 2.0);

    // Pools of one name are told apart, right under the root too; workers have names of their own.
    browser.until("new Set([...document.querySelectorAll('#pools td.name button')].map(e => e.textContent).filter(name => /^job #\\d+$/.test(name))).size === 2");
    browser.until("new Set([...document.querySelectorAll('#treemap .leaf')].map(e => e.getAttribute('aria-label').split(':')[0]).filter(name => /^job #\\d+$/.test(name))).size === 2");
    assert_eq!(browser.get("[...document.querySelectorAll('#pools td.name button')].filter(e => /^(worker-\\d|api|other work|cache) #/.test(e.textContent)).length"), 0);

    // Names with markup are text.
    browser.until(&format!(
        "[...document.querySelectorAll('#accounts th.path')].some(e => e.textContent === {})",
        serde_json::Value::from(NAME)
    ));
    assert_eq!(browser.get("document.querySelectorAll('img').length"), 0);
    let who = browser.get("document.title + ' / ' + document.getElementById('who').textContent");
    let (who, pid) = (who.as_str().expect("text"), std::process::id());
    assert!(who.starts_with("Pools: process · ") && who.contains(&format!(" {pid} / ")), "{who}");
    assert!(who.contains(&format!("pid {pid} · version ")) && who.contains(" · since "), "{who}");

    // Sorting: each column up and down, the fattest and the oldest first.
    let sorted = |browser: &mut Browser, column: &str| {
        browser.get(&format!(
            "(() => {{ const i = [...document.querySelectorAll('#pools th')].findIndex(th => th.querySelector('[data-sort={column}]'));
                return [...document.querySelectorAll('#pools tbody tr')].map(row => row.children[i].textContent.replace(' ⚠', '')); }})()"
        ))
    };
    browser.get("document.getElementById('pause').click()");
    for column in ["name", "creator", "age", "held", "used", "peak", "limit", "refused"] {
        let click = format!("document.querySelector('[data-sort={column}]').click()");
        let direction = format!(
            "document.querySelector('[data-sort={column}]').parentNode.getAttribute('aria-sort')"
        );
        browser.get(&click);
        let (first, one) = (browser.get(&direction), sorted(&mut browser, column));
        browser.get(&click);
        let (second, other) = (browser.get(&direction), sorted(&mut browser, column));
        let directions = [first.as_str(), second.as_str()];
        assert!(
            directions == [Some("ascending"), Some("descending")]
                || directions == [Some("descending"), Some("ascending")],
            "{column}: {directions:?}"
        );
        let reversed: Vec<_> = other.as_array().expect("cells").iter().rev().cloned().collect();
        assert_eq!(one.as_array().expect("cells"), &reversed, "{column}");
    }
    browser.get("document.getElementById('fattest').click()");
    let held =
        "[...document.querySelectorAll('#pools tbody tr')].map(row => row.children[3].textContent)";
    let held: Vec<_> = browser.get(held).as_array().expect("cells").iter().map(bytes).collect();
    assert!(held.is_sorted_by(|a, b| a >= b) && held.first() > held.last(), "{held:?}");
    browser.get("document.getElementById('pause').click()");
    browser.until("document.body.className === 'live'");

    // Who holds what, since when: the twelve requests that take too long, and the one that the api
    // keeps, are marked, and first among the old ones, with the place where they were made.
    browser.until("document.querySelectorAll('#treemap .leaf.old').length === 13");
    browser.until("document.querySelectorAll('#pools tbody tr.old').length === 13");
    browser.get("document.querySelector('[data-sort=refused]').click()");
    browser.get("document.getElementById('oldest').click()");
    let oldest = "[...document.querySelectorAll('#pools tbody tr')].slice(0, 40)";
    browser.until(&format!(
        "{oldest}.some(row => row.className.startsWith('old') && /⚠/.test(row.children[2].textContent) \
         && /request #\\d+$/.test(row.querySelector('td.name button').textContent) && /request\\.rs:\\d+$/.test(row.children[1].textContent))"
    ));
    assert_eq!(browser.get("document.getElementById('tile-old').className"), "tile bad");
    if let Some(folder) = std::env::var_os("CENOTE_SCREENSHOTS") {
        browser.screen(1280, 620, false);
        browser.get("document.getElementById('pools-title').scrollIntoView(); scrollBy(0, -80)");
        browser.save(&Path::new(&folder).join("pools-old.png"));
        browser.screen(1280, 900, false);
    }

    // The block map of a pool, by keyboard alone: arrows move from tile to tile, which stay where
    // they are meanwhile.
    browser.get("document.getElementById('pause').click()");
    browser.get("document.querySelector('#treemap .leaf[tabindex=\"0\"]').focus()");
    let focused = "document.activeElement.getAttribute('aria-label')";
    let place = "[...document.querySelectorAll('#treemap .leaf')].indexOf(document.activeElement)";
    let mut places = vec![number(&mut browser, place)];
    for key in ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"] {
        browser.press(key);
        places.push(number(&mut browser, place));
    }
    assert!(places.iter().all(|&place| place >= 0.0), "{places:?}");
    assert!(places.windows(2).any(|two| two[0] != two[1]), "{places:?}");
    assert!(browser.get(focused).as_str().is_some_and(|label| label.contains(" held, ")));
    browser.get("document.getElementById('pause').click()");
    browser.until("document.body.className === 'live'");
    browser.get(
        "[...document.querySelectorAll('#treemap .leaf.old')].find(e => /request #/.test(e.getAttribute('aria-label'))).focus()",
    );
    browser.press("Enter");
    browser.until("document.querySelectorAll('#blocks-map .block svg rect.p-used').length > 0");
    assert_eq!(browser.get("document.activeElement.id"), "blocks");
    browser.press("Escape");
    browser.until("document.getElementById('blocks').hidden");
    // The keyboard is where it was, and not at the page's beginning.
    let label = browser.get(focused);
    assert!(label.as_str().is_some_and(|label| label.contains("request #")), "{label}");
    browser.press("Enter");
    browser.until("!document.getElementById('blocks').hidden");
    browser.get("document.getElementById('blocks-close').click()");
    browser.until("/request #/.test(document.activeElement.getAttribute('aria-label'))");

    // And of a pool of chunks, by its row.
    open_row(&mut browser, "cache");
    browser.until("document.querySelectorAll('#blocks-map .cluster svg path.p-used').length > 0");
    browser.until("/[1-9]\\d* chunks used, [1-9]\\d* free/.test(document.getElementById('blocks-map').textContent)");

    // And of a shared one, which no thread owns: who made it is the service's line.
    open_row(&mut browser, "api › GET /");
    browser.until("document.querySelectorAll('#blocks-map .block svg rect.p-used').length > 0");
    browser.until("/large objects/.test(document.getElementById('blocks-map').textContent)");
    let facts = browser.get("document.getElementById('blocks-facts').textContent");
    let facts = facts.as_str().expect("text");
    assert!(facts.starts_with("shared “request”, made at "), "{facts}");
    assert!(
        facts.contains("browser/site.rs:") && facts.ends_with("; held by 2 handles"),
        "{facts}"
    );

    // Finding.
    browser.get("const find = document.getElementById('find'); find.value = 'cache'; find.dispatchEvent(new Event('input'))");
    browser.until("document.querySelectorAll('#pools tbody tr').length === 1");

    assert_eq!(complaints(&browser), [] as [&String; 0]);

    // It says when it has lost the server.
    drop(site);
    browser.until("document.body.className === 'lost'");
    browser.until("/No answer since/.test(document.getElementById('state').textContent)");
}

#[test]
fn what_was_held_is_drawn_and_told_under_the_cursor() {
    let Some(mut browser) = browser() else { return };
    let site = Site::under_load("uploads", None, 0);
    browser.screen(1280, 900, false);
    browser.open(&format!("http://{}/pools", site.address()));
    browser.until("document.querySelectorAll('#history canvas').length === 1");
    assert_eq!(browser.get("document.querySelector('#history').parentNode.hidden"), false);
    // Something is drawn there, of the colour of what pools hold.
    browser.until(
        "(() => {
            const canvas = document.querySelector('#history canvas');
            const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            let drawn = 0;
            for (let i = 0; i < data.length; i += 4) drawn += data[i] === 0x12 && data[i + 1] === 0x8a && data[i + 2] === 0x7e && data[i + 3] > 100;
            return drawn > 20;
        })()",
    );
    let hover = "(() => {
        const over = document.querySelector('#history .u-over'), box = over.getBoundingClientRect();
        over.dispatchEvent(new MouseEvent('mousemove', {clientX: box.right - 3, clientY: box.top + 30, bubbles: true}));
        return [...document.querySelectorAll('#history .u-series')].map(e => e.textContent);
    })()";
    let told = |browser: &mut Browser, name: &str| {
        browser.until(&format!(
            "{hover}.some(text => text.startsWith('{name}') && / (B|KiB|MiB|GiB)$/.test(text))"
        ));
    };
    for name in ["Resident", "In pools", "Cached"] {
        told(&mut browser, name);
    }
    // An account of its own.
    browser.get("const choice = document.getElementById('history-account'); choice.value = 'process\\nworker-0'; choice.dispatchEvent(new Event('change'))");
    told(&mut browser, "process/worker-0");
    // Drawn on as looks come.
    let moments = "+document.getElementById('history').getAttribute('aria-label').split(' ')[0]";
    let before = number(&mut browser, moments);
    browser.get("document.querySelector('#history-ranges button:last-child').click()");
    assert_eq!(browser.get("document.querySelector('#history-ranges button:last-child').getAttribute('aria-pressed')"), "true");
    browser.get("document.querySelector('#history-ranges button').click()");
    browser.until(&format!("{moments} > {}", before + 2.0));
    // What is looked at closer stays that part while looks come.
    let at = |kind: &str, target: &str, part: f64| {
        format!(
            "(() => {{
                const over = document.querySelector('#history .u-over'), box = over.getBoundingClientRect();
                ({target}).dispatchEvent(new MouseEvent('{kind}', {{clientX: box.left + box.width * {part}, clientY: box.top + 40, movementX: 1, button: 0, bubbles: true}}));
                return document.querySelector('#history .u-series').textContent;
            }})()"
        )
    };
    let first = browser.get(&at("mousemove", "over", 0.01));
    for (kind, target, part) in [
        ("mousemove", "over", 0.6),
        ("mousedown", "over", 0.6),
        ("mousemove", "over", 0.99),
        ("mouseup", "document", 0.99),
    ] {
        browser.get(&at(kind, target, part));
    }
    let left = at("mousemove", "over", 0.01);
    browser.until(&format!("{left} !== {first}"));
    let part = browser.get(&left);
    let before = number(&mut browser, moments);
    browser.until(&format!("{moments} > {}", before + 2.0));
    assert_eq!(browser.get(&left), part);
    assert_eq!(complaints(&browser), [] as [&String; 0]);
}

#[test]
fn it_can_be_read_in_the_dark_in_the_light_and_on_a_phone() {
    let Some(mut browser) = browser() else { return };
    let site = Site::under_load("uploads", None, 0);
    let folder = std::env::var_os("CENOTE_SCREENSHOTS");
    for (name, width, height, dark, pool) in [
        ("light", 1280, 1560, false, "request"),
        ("dark", 1280, 1560, true, "cache"),
        ("phone", 390, 1500, true, "cache"),
    ] {
        browser.screen(width, height, dark);
        browser.open(&format!("http://{}/pools", site.address()));
        // Long enough for the lines to show something.
        browser.until(
            "document.querySelector('#tile-held path').getAttribute('d')?.split('L').length > 8",
        );
        browser.get("document.getElementById('fattest').click()");
        browser.get(&format!("[...document.querySelectorAll('#treemap .leaf')].find(e => /{pool} #/.test(e.getAttribute('aria-label'))).click()"));
        browser.until("document.querySelectorAll('#blocks-map svg').length > 0");
        browser.get("scrollTo(0, 0)");
        // Nothing sticks out at the side.
        let width_of = number(&mut browser, "document.documentElement.scrollWidth");
        assert!(width_of <= f64::from(width), "{name}: {width_of}");
        if let Some(folder) = &folder {
            // All of the page.
            let whole = number(&mut browser, "document.documentElement.scrollHeight");
            browser.screen(width, whole as u32, dark);
            browser.get(
                "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))",
            );
            browser.save(&Path::new(folder).join(format!("pools-{name}.png")));
            browser.screen(width, height, dark);
        }
        // Text that can be told from what is behind it: at least 4.5 to 1, as WCAG asks.
        let faint = browser.get(CONTRAST);
        assert_eq!(faint, serde_json::json!([]), "{name}");
    }
    assert_eq!(complaints(&browser), [] as [&String; 0]);
}

/// Texts outside the treemap with a contrast to their ground of less than 4.5 to 1.
pub(crate) const CONTRAST: &str = "(() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgb = text => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
    const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map(c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4); return .2126 * x + .7152 * y + .0722 * z; };
    const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] > 200) return c; } return [255, 255, 255]; };
    const faint = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const e = texts.currentNode.parentElement, text = texts.currentNode.data.trim();
        if (!text || e.closest('#treemap, script, style, .skip, [hidden], noscript') || !e.getClientRects().length) continue;
        const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))];
        const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        if (contrast < 4.5) faint.push(text + ' ' + contrast.toFixed(2));
    }
    return faint;
})()";

/// What the browser complained of. That a thread had no time to tell its blocks, on a machine that
/// is busy with other things, is not the page's fault: it says so, and asks again.
fn complaints(browser: &Browser) -> Vec<&String> {
    let busy = |text: &String| text.contains("pools.json?pool=") && text.contains("status of 503");
    browser.complaints.iter().filter(|text| !busy(text)).collect()
}

fn open_row(browser: &mut Browser, name: &str) {
    let row = format!(
        "[...document.querySelectorAll('#pools td.name button')].find(e => e.textContent.includes('{name}'))"
    );
    browser.until(&format!("Boolean({row})"));
    browser.get(&format!("{row}.click()"));
}

fn bytes(text: &serde_json::Value) -> f64 {
    let text = text.as_str().expect("text");
    let (number, unit) = text.split_once(' ').expect("a unit");
    let scale = ["B", "KiB", "MiB", "GiB"].iter().position(|known| *known == unit).expect("known");
    number.parse::<f64>().expect("a number") * 1024_f64.powi(scale as i32)
}
