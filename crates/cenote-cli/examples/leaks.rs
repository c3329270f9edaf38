//! A small service with two leaks, to be found: see `docs/LEAKS.md`.
//!
//! - `/work` does what a request should: everything is gone at its end.
//! - `/keep` puts its pool into a map, as the session of a client, and nobody ever takes it out.
//! - `/match` asks the C library to compile a pattern and never gives it back: memory of a
//!   library's own, in no pool.
//!
//! `cargo run -p cenote-cli --example leaks`, then `cenote pools URL --leaks`, or the page at
//! `/pools`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cenote::{Account, Pool};
use cenote_web::view::{Local, View};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};

/// What the requests of the one worker share.
struct Service {
    account: Account,
    view: View,
    /// The note of this thread's pools, by which the view can look into them.
    pools: Local,
    /// The first leak: what goes in here never comes out.
    sessions: RefCell<HashMap<usize, Rc<Pool>>>,
}

impl Service {
    /// A request's pool, on an account of its own.
    #[track_caller]
    fn pool(&self) -> Rc<Pool> {
        let pool = Rc::new(Pool::on(&self.account.child("request")));
        self.pools.add(&pool);
        pool
    }

    fn work(&self) -> usize {
        let pool = self.pool();
        pool.alloc_fmt(format_args!("{} sessions", self.sessions.borrow().len())).len()
    }

    fn keep(&self) -> usize {
        let pool = self.pool(); // the first leak begins here
        pool.alloc_slice_copy(&[0_u8; 10_000]);
        let mut sessions = self.sessions.borrow_mut();
        let id = sessions.len();
        sessions.insert(id, pool);
        id
    }
}

/// The second leak: a pattern that is compiled for each request, and never given back.
fn compile() -> bool {
    let mut pattern = std::mem::MaybeUninit::<libc::regex_t>::uninit();
    let text = c"([a-z0-9._-]{1,30}@[a-z0-9-]{1,30}){1,4}";
    // SAFETY: room for a pattern, and a text that ends with a zero byte. `regfree` is missing.
    unsafe { libc::regcomp(pattern.as_mut_ptr(), text.as_ptr(), libc::REG_EXTENDED) == 0 }
}

async fn answer(
    service: Rc<Service>,
    peer: std::net::IpAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let view = service.view.answer(request.method(), request.uri(), request.headers(), Some(peer));
    if let Some(answer) = view {
        return Ok(answer.await.map(Full::new));
    }
    let text = match request.uri().path() {
        "/work" => format!("{} bytes of work\n", service.work()),
        "/keep" => format!("session {}\n", service.keep()),
        "/match" => format!("compiled: {}\n", compile()),
        _ => "ask for /work, /keep, /match or /pools\n".to_owned(),
    };
    Ok(Response::new(Full::from(text)))
}

/// Serves until it is killed.
pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let process = Account::root("process");
    // A request should be gone in a second; what is older is marked.
    let view = View::builder(&process).age_limit("request", Duration::from_secs(1)).build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let account = process.child("worker-0");
        let (pools, answering) = view.local(&account);
        spawn_local(answering.run());
        let sessions = RefCell::default();
        let service = Rc::new(Service { account, view, pools, sessions });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on http://{}/", listener.local_addr()?);
        loop {
            let (stream, peer) = listener.accept().await?;
            let service = service.clone();
            spawn_local(async move {
                let answer = service_fn(|request| answer(service.clone(), peer.ip(), request));
                // A client that leaves is no failure of the service.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    })
}
