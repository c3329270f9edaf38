//! Where a process began, and where nothing was kept, on the chart.

use std::net::SocketAddr;

use cenote_cli::serve::{Config, Server};

use crate::past::{BANNER, MOMENTS};
use crate::{browser, complaints, number};

fn serve(folder: &std::path::Path, address: Option<SocketAddr>) -> Server {
    let mut config = Config::new(folder);
    config.history = Some(1 << 20);
    if let Some(address) = address {
        config.listen = address.to_string();
    }
    Server::start(config).expect("the server starts")
}

/// The times that the chart's marks of beginnings tell.
const STARTS: &str =
    "[...document.querySelectorAll('#history .mark.start')].map(e => e.textContent)";

#[test]
fn a_page_that_is_open_over_a_deploy_shows_where_the_new_process_began_and_what_was_before() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let first = serve(folder.path(), None);
    let address = first.address();
    browser.screen(1280, 900, false);
    browser.open(&format!("http://{address}/pools"));
    browser.until(&format!("{MOMENTS} > 4"));
    // The chart begins where the process does.
    let starts = browser.get(STARTS);
    assert_eq!(starts.as_array().map(Vec::len), Some(1), "{starts}");
    assert!(
        starts[0]
            .as_str()
            .is_some_and(|text| text.starts_with("version ") && text.contains(" began ")),
        "{starts}"
    );
    let label = "document.getElementById('history').getAttribute('aria-label')";
    browser.until(&format!(
        "{label}.includes({})",
        serde_json::json!(format!("; {}", starts[0].as_str().expect("text")))
    ));
    let before = number(&mut browser, MOMENTS);
    first.stop();
    browser.until("document.body.className === 'lost'");
    let second = serve(folder.path(), Some(address));
    browser.until("document.body.className === 'live'");
    browser.until(&format!("{STARTS}.length === 2"));
    // And what the first held is still there when the second has told its own.
    browser.until("performance.getEntriesByType('resource').filter(e => e.name.endsWith('?history')).length >= 2");
    browser.until(&format!("{MOMENTS} > {before} + 2 && {STARTS}.length === 2"));
    let (one, two) = (browser.get(STARTS)[0].clone(), browser.get(STARTS)[1].clone());
    assert_ne!(one, two);
    browser.get("document.getElementById('history').focus()");
    browser.press("Home");
    browser.get("document.getElementById('moment-compare').click()");
    browser.until(&format!("{BANNER}.includes(', of another process: ')"));
    let failed = |text: &&&String| {
        !text.contains("net::ERR_CONNECTION_REFUSED") && !text.contains("ERR_CONNECTION_RESET")
    };
    assert_eq!(complaints(&browser).iter().filter(failed).count(), 0, "{:?}", browser.complaints);
    second.stop();
}

#[test]
fn where_nothing_was_kept_no_line_is_drawn() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve(folder.path(), None);
    browser.screen(1280, 900, false);
    // A server that slept for half a minute after its first moment.
    browser.before_all(
        "const fetched = window.fetch;
        window.fetch = async (address, ...rest) => {
            const answer = await fetched(address, ...rest);
            if (!String(address).endsWith('?history')) return answer;
            const history = await answer.json();
            history.process.started -= 30;
            history.steps[0].now[0] -= 30;
            return new Response(JSON.stringify(history));
        };",
    );
    browser.open(&format!("http://{}/pools", server.address()));
    browser.until(&format!("{MOMENTS} > 2"));
    browser.until("document.querySelectorAll('#history .mark.gap').length === 1");
    assert_eq!(
        browser.get("document.querySelector('#history .mark.gap').textContent"),
        "nothing kept"
    );
    let label = browser.get("document.getElementById('history').getAttribute('aria-label')");
    assert!(
        label.as_str().is_some_and(|label| label.ends_with("; 1 time of which nothing is kept")),
        "{label}"
    );
    // No colour of what pools hold in the middle of it.
    let drawn = "(() => {
        const canvas = document.querySelector('#history canvas'), box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
        const gap = document.querySelector('#history .mark.gap').getBoundingClientRect();
        const {data} = canvas.getContext('2d').getImageData(scale * (gap.left + gap.width / 2 - box.left), 0, 2, canvas.height);
        let drawn = 0;
        for (let i = 0; i < data.length; i += 4) drawn += data[i] === 0x12 && data[i + 1] === 0x8a && data[i + 2] === 0x7e && data[i + 3] > 20;
        return drawn;
    })()";
    assert_eq!(browser.get(drawn), 0);
    server.stop();
}
