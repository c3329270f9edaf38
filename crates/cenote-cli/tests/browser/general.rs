//! A service that tells its view of its general allocator: what is in no pool is told apart, on the page and in
//! the terminal.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;

use cenote::Account;
use cenote_web::view::{General, View};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, body::Incoming};
use hyper_util::rt::TokioIo;

use crate::{browser, complaints};

const NAME: &str = "an <i>allocator</i>";
const FREE: usize = 32 << 10;
/// Far more than is resident.
const LIVE: usize = 4 << 30;

/// Serves nothing but the view, as long as the process runs.
fn serve() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    let view = View::builder(&Account::root("process"))
        .general(NAME, || General { live_bytes: LIVE, free_bytes: FREE });
    let view = view.build();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime"), async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            while let Ok((stream, peer)) = listener.accept().await {
                let view = view.clone();
                let answer = service_fn(move |request: Request<Incoming>| {
                    let (method, uri) = (request.method(), request.uri());
                    let answer = view.answer(method, uri, request.headers(), Some(peer.ip()));
                    async move {
                        let answer = answer.expect("nothing else is asked for").await;
                        Ok::<_, Infallible>(answer.map(Full::new))
                    }
                });
                let io = TokioIo::new(stream);
                tokio::task::spawn_local(http1::Builder::new().serve_connection(io, answer));
            }
        });
    });
    address
}

#[test]
fn what_is_in_no_pool_is_told_apart_where_the_general_allocator_is_known() {
    let address = serve();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cenote"));
    let out = command.args(["pools", &format!("http://{address}"), "--leaks"]).output();
    let out = String::from_utf8(out.expect("the command").stdout).expect("text");
    let line = |begin: &str| out.lines().find(|line| line.starts_with(begin)).map(str::to_owned);
    // Blocks that other tests' threads keep are taken off it.
    let is_live = |text: &str| text.contains(" GiB");
    assert!(line("  objects").is_some_and(|line| is_live(&line)), "{out}");
    let free = format!("  free             32 KiB   in {NAME}");
    assert_eq!(line("  free"), Some(free), "{out}");
    assert_eq!(line("  elsewhere").as_deref(), Some("  elsewhere           0 B"), "{out}");

    let Some(mut browser) = browser() else { return };
    browser.screen(1280, 900, false);
    browser.open(&format!("http://{address}/pools"));
    let legend =
        "[...document.querySelectorAll('#memory-legend li:not([hidden])')].map(li => li.innerText)";
    browser.until(&format!("{legend}.length >= 2"));
    let legend = browser.get(legend).to_string();
    assert!(legend.contains("objects in no pool"), "{legend}");
    assert!(legend.contains(&format!("free in {NAME}")), "{legend}");
    assert!(!legend.contains("from elsewhere"), "{legend}");
    let words = browser.get("document.getElementById('memory').getAttribute('aria-label')");
    let words = words.as_str().expect("text").to_owned();
    let objects = words.split("objects in no pool ").nth(1);
    assert!(objects.is_some_and(|text| is_live(&text[..8.min(text.len())])), "{words}");
    assert!(words.contains(&format!(", free in {NAME} 32 KiB, from elsewhere 0 B")), "{words}");
    assert_eq!(complaints(&browser), [] as [&String; 0]);
}
