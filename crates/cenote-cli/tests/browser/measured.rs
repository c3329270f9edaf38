//! The tables measured, as it is now and compared with a file, on each kind of screen.

use std::time::Duration;

use cenote::SharedPool;
use serde_json::json;

use crate::compared::{earlier, write};
use crate::past::{HIDDEN, opened};
use crate::site::Site;
use crate::{CONTRAST, browser, complaints};

/// Where each name begins, by how deep it is.
const INDENTS: &str = "(() => {
    const all = {};
    for (const head of document.querySelectorAll('#accounts th.path')) {
        const range = document.createRange();
        range.selectNodeContents(head);
        const left = range.getBoundingClientRect().left - head.parentNode.getBoundingClientRect().left;
        (all[head.style.getPropertyValue('--depth')] ??= new Set()).add(Math.round(left));
    }
    return Object.values(all).map(lefts => [...lefts]);
})()";

/// Texts, lines and buttons of a card that lie over each other, or stick out of their cells.
const OVERLAPS: &str = "(table => {
    const card = document.getElementById(table).closest('.card'), boxes = [], bad = [];
    const texts = document.createTreeWalker(card, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        if (!texts.currentNode.data.trim()) continue;
        const range = document.createRange(), cell = texts.currentNode.parentElement.closest('th, td');
        range.selectNodeContents(texts.currentNode);
        // What is cut off is not seen, at either end.
        let [begin, end] = [-Infinity, Infinity];
        for (let around = texts.currentNode.parentElement; cell?.contains(around); around = around.parentElement) {
            if (getComputedStyle(around).overflowX !== 'hidden') continue;
            const box = around.getBoundingClientRect();
            [begin, end] = [Math.max(begin, box.left), Math.min(end, box.right)];
        }
        for (const {left, right, top, bottom} of range.getClientRects()) boxes.push({box: {left: Math.max(left, begin), right: Math.min(right, end), top, bottom}, text: texts.currentNode.data, cell, node: texts.currentNode});
    }
    for (const line of card.querySelectorAll('svg')) {
        const box = line.getBoundingClientRect();
        if (box.width) boxes.push({box, text: 'a line', cell: line.closest('td')});
    }
    boxes.forEach(({box: a, text, cell, node}, i) => {
        const around = cell?.getBoundingClientRect();
        if (around && (a.left < around.left - 1 || a.right > around.right + 1 || a.top < around.top - 1 || a.bottom > around.bottom + 1)) bad.push(text + ' sticks out');
        for (const {box: b, text: other, node: another} of boxes.slice(i + 1)) {
            // One text that is cut off has two boxes.
            if (node && node === another) continue;
            const w = Math.min(a.right, b.right) - Math.max(a.left, b.left), h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (w > 1 && h > 1) bad.push(text + ' over ' + other);
        }
    });
    return boxes.length > 30 ? bad : ['there is hardly anything: ' + boxes.length];
})";

/// Rows of either table whose cells do not stand side by side, or of which a cell differs in its ground.
const RAGGED: &str = "[...document.querySelectorAll('#pools tbody tr, #accounts tbody tr')].filter(row => {
    const cells = [...row.children].filter(cell => cell.getClientRects().length);
    const boxes = cells.map(cell => cell.getBoundingClientRect());
    return boxes.some((box, i) => i > 0 && Math.abs(box.left - boxes[i - 1].right) > 1 || Math.abs(box.top - boxes[0].top) > 1)
        || new Set(cells.map(cell => getComputedStyle(cell).backgroundColor)).size !== 1;
}).map(row => row.textContent)";

/// Lines on whose a pool is that begin elsewhere than its name, of which the answer or the client is cut off, or the end of
/// what was asked for.
const CUT: &str = "(() => {
    const bad = [];
    for (const cell of document.querySelectorAll('#pools td.name')) {
        const whose = cell.querySelector('.whose:not([hidden])');
        if (!whose) continue;
        const box = cell.getBoundingClientRect(), edge = of => {
            const range = document.createRange();
            range.selectNodeContents(of);
            return range.getBoundingClientRect();
        };
        const [asked, peer] = whose.children, [request, status] = asked.children;
        for (const part of [status, peer]) {
            if (part.textContent && (edge(part).right > box.right + 1 || edge(part).left < box.left - 1)) bad.push(part.textContent + ' is cut off');
        }
        if (request.textContent && edge(request).right > box.right + 1) bad.push(request.textContent + ' has no end');
        const first = request.textContent ? request : peer;
        if (Math.abs(first.getBoundingClientRect().left - cell.querySelector('button').getBoundingClientRect().left) > 1) bad.push(whose.textContent + ' is indented');
        if (whose.getBoundingClientRect().top < cell.querySelector('button').getBoundingClientRect().bottom - 1) bad.push(whose.textContent + ' is beside its name');
    }
    return bad;
})()";

#[test]
fn accounts_can_be_read_on_every_screen_now_and_compared() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::under_load(
        "uploads-of-a-tenant-with-a-name-that-is-rather-long",
        Some(Duration::from_secs(1)),
        0,
    );
    opened(&mut browser, &site);
    let file = write(
        folder.path(),
        "before.json",
        &earlier(&mut browser, "uploads-of-a-tenant-with-a-name-that-is-rather-long").to_string(),
    );
    for (name, width, dark) in [
        ("wide", 1400, false),
        ("wide, dark", 1400, true),
        ("phone", 390, false),
        ("phone, dark", 390, true),
    ] {
        browser.screen(width, 900, dark);
        for compared in [false, true] {
            let name = format!("{name}{}", if compared { ", compared" } else { "" });
            if compared {
                browser.choose("#file", &file);
                browser.until(&format!("!{HIDDEN}"));
            }
            browser.until("document.querySelector('#accounts tr.old') !== null");
            let sticks_out =
                browser.get("Math.max(innerWidth, document.documentElement.scrollWidth)");
            assert!(sticks_out.as_f64() <= Some(width.into()), "{name}: {sticks_out}");
            let indents: Vec<Vec<i64>> =
                serde_json::from_value(browser.get(INDENTS)).expect("numbers");
            assert!(
                indents.len() >= 4 && indents.iter().all(|lefts| lefts.len() == 1),
                "{name}: {indents:?}"
            );
            assert!(indents.is_sorted_by(|a, b| a[0] + 8 <= b[0]), "{name}: {indents:?}");
            assert_eq!(browser.get(&format!("{OVERLAPS}('accounts')")), json!([]), "{name}");
            browser.until("document.querySelector('#pools tr.old') !== null");
            browser.until("document.querySelector('#pools tr.old .whose:not([hidden])') !== null");
            assert_eq!(browser.get(&format!("{OVERLAPS}('pools')")), json!([]), "{name}");
            assert_eq!(browser.get(CUT), json!([]), "{name}");
            assert_eq!(browser.get(RAGGED), json!([]), "{name}");
            // Also under the mouse: rows as others, over their age, and gone.
            for row in ["tr", "tr.old", "tr.gone"] {
                let row = format!("#accounts tbody {row}");
                if browser.get(&format!("document.querySelector('{row}') !== null")) == true {
                    browser.hover(&row);
                    browser.until("document.querySelector('#accounts tbody tr:hover') !== null");
                    assert_eq!(browser.get(CONTRAST), json!([]), "{name}: {row}");
                }
            }
        }
        browser.press("Escape");
        assert_eq!(browser.get(HIDDEN), true);
    }
    assert_eq!(complaints(&browser), [] as [&String; 0]);
}

/// Texts of the map with a contrast of less than 4.5 to 1 to what of their area is behind them: its ground, or its
/// fill where that reaches so high.
const FAINT: &str = "(() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgb = text => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
    const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map(c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4); return .2126 * x + .7152 * y + .0722 * z; };
    const faint = [];
    let seen = 0;
    for (const leaf of document.querySelectorAll('#treemap .leaf')) {
        const fill = leaf.querySelector('.fill');
        for (const text of leaf.querySelectorAll('.text span, .text small')) {
            if (!text.textContent) continue;
            seen += 1;
            // Stripes are of two colours.
            const style = getComputedStyle(leaf), grounds = style.backgroundImage === 'none' ? [style.backgroundColor] : style.backgroundImage.match(/(color|rgb|oklab|oklch)\\([^)]*\\)/g);
            if (fill.getBoundingClientRect().top < text.getBoundingClientRect().bottom) grounds.push(getComputedStyle(fill).backgroundColor);
            for (const ground of grounds) {
                const behind = rgb(ground), over = rgb(getComputedStyle(text).color), part = +getComputedStyle(text).opacity;
                const [a, b] = [light(over.map((c, i) => part * c + (1 - part) * behind[i])), light(behind)];
                const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
                if (contrast < 4.5) faint.push(text.textContent + ' ' + contrast.toFixed(2));
            }
        }
    }
    return seen > 5 ? faint : ['there is hardly anything'];
})()";

#[test]
fn the_words_in_the_map_can_be_read_in_every_colour() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let site = Site::under_load("uploads", None, 2);
    // So many kinds that each of the 24 colours is there.
    let pools: Vec<_> = ('a'..='z')
        .chain('A'..='Z')
        .map(|name| {
            SharedPool::try_on(&site.account().shared_child(name.to_string())).expect("memory")
        })
        .inspect(|pool| {
            pool.alloc_zeroed_bytes(60_000);
        })
        .collect();
    opened(&mut browser, &site);
    let file = write(folder.path(), "before.json", &earlier(&mut browser, "uploads").to_string());
    for dark in [false, true] {
        browser.screen(1400, 1000, dark);
        for kind in ["now", "past", "compared"] {
            match kind {
                "past" => browser.click("#history .u-over", 0.9, false),
                "compared" => browser.choose("#file", &file),
                _ => {}
            }
            browser.until(&format!("{HIDDEN} === {}", kind == "now"));
            assert_eq!(browser.get(FAINT), json!([]), "dark: {dark}, {kind}");
            browser.press("Escape");
        }
    }
    drop(pools);
}
