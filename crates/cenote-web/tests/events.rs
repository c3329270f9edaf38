//! What goes into the log by itself, as a subscriber of `tracing` gets it.

mod common;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::response::IntoResponse;

use bytes::Bytes;
use cenote::misuse::OnBadFree;
use cenote::{Account, ChunkPool, Pool};
use cenote_web::view::events::{self, Peaks};
use cenote_web::{PoolLayer, RequestPool, RequestPools};
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt};
use tracing::Level;

/// Collects the log as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.lock()).lines().map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `work` logs on this thread.
fn logged(most: Level, work: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(most)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    log.lines()
}

/// The hooks are the process's, so what uses them is one test.
#[test]
fn a_refused_charge_and_a_bad_free_are_told_and_a_flood_of_them_is_not() {
    events::install();
    let account = Account::root("process").child("request").with_limit(Some(10_000));
    let pool = Pool::on(&account);
    let lines = logged(Level::WARN, || {
        pool.alloc(1);
        assert!(pool.try_alloc_bytes(50_000).is_err());
    });
    let [line] = &lines[..] else { panic!("{lines:?}") };
    for part in
        ["WARN", "cenote: a charge was refused", "account=\"process/request\"", "limit_bytes=10000"]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    one_refused_request_is_one_refusal_and_one_line();
    let lines = logged(Level::WARN, || {
        for _ in 0..10_000 {
            assert!(pool.try_alloc_bytes(50_000).is_err());
        }
    });
    // Ten a second; and it does not take many.
    assert!((1..200).contains(&lines.len()), "{}", lines.len());

    let pool = ChunkPool::config().name("cache").on_bad_free(OnBadFree::Report).build();
    let pool = pool.expect("a pool");
    let mut other = 7_u64;
    let lines = logged(Level::WARN, || {
        // SAFETY: nothing is freed, since it is no object of the pool.
        let freed = unsafe { pool.free(std::ptr::NonNull::from(&mut other).cast()) };
        assert!(freed.is_err());
    });
    let [line] = &lines[..] else { panic!("{lines:?}") };
    for part in ["ERROR", "bad free", "pool=\"cache\""] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

/// However much its buffer, its vector and its scratch tried on the way. Part of the test above:
/// these are fewer than are told in a second.
fn one_refused_request_is_one_refusal_and_one_line() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let works: [fn(&RequestPool) -> cenote_web::Error; 4] = [
        |pool| {
            let mut buffer = cenote::SharedBuffer::new(pool.handle());
            loop {
                if let Err(error) = buffer.try_extend_from_slice(&[7; 100]) {
                    return error.into();
                }
            }
        },
        |pool| {
            let mut list = cenote_web::json::PoolVec::new_in(pool.handle());
            loop {
                if let Err(error) = list.try_push(7_u64) {
                    return error;
                }
            }
        },
        |pool| {
            let scratch = pool.scratch();
            loop {
                if let Err(error) = scratch.try_alloc_slice_fill_iter((0..900_u64).filter(|_| true))
                {
                    return error.into();
                }
            }
        },
        |pool| loop {
            pool.alloc_zeroed_bytes(500);
        },
    ];
    for work in works {
        let service = Account::root("service");
        let pools = RequestPools::new(&service).limit(40_000);
        let requests = cenote_web::requests_refused();
        let lines = logged(Level::WARN, || {
            runtime.block_on(async {
                let mut service =
                    PoolLayer::from(pools).layer(tower::service_fn(async |request: Request<()>| {
                        let pool = RequestPool::of(&request).expect("the layer's").clone();
                        let error = work(&pool);
                        Ok::<_, std::convert::Infallible>(error.into_response())
                    }));
                let call = service.ready().await.expect("ready").call(Request::new(()));
                assert_eq!(call.await.expect("an answer").status(), 503);
            });
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        let below = service.snapshot();
        let refused = below.children.iter().chain(&below.closed).map(|one| one.refused);
        assert_eq!(refused.sum::<u64>(), 1);
        assert_eq!(cenote_web::requests_refused(), requests + 1);
    }
}

#[test]
fn an_unusual_peak_is_told_with_its_account() {
    common::unwatched();
    let process = Account::root("process");
    let mut peaks = Peaks::new();
    let mut request = |bytes: usize| {
        let account = process.child("request");
        let pool = Pool::on(&account);
        pool.alloc_slice_copy(&vec![0_u8; bytes]);
        peaks.close(&account);
    };
    let lines = logged(Level::WARN, || (0..500).for_each(|_| request(3000)));
    assert_eq!(lines, [""; 0]);
    let lines = logged(Level::WARN, || request(5 << 20));
    let [line] = &lines[..] else { panic!("{lines:?}") };
    for part in ["an unusual peak", "account=\"process/request\"", "usual_bytes=4096"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

/// What a handler that logs something logs, as a layer's and as served without one.
#[test]
fn what_a_handler_logs_is_in_a_span_with_its_account() {
    async fn handler(
        request: Request<()>,
    ) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
        let pool = RequestPool::of(&request).expect("a pool");
        tokio::task::yield_now().await;
        tracing::info!(handles = pool.handles(), "hello");
        Ok(Response::new(Full::default()))
    }
    let process = Account::root("process");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let once = |most| {
        logged(most, || {
            runtime.block_on(async {
                let mut service = PoolLayer::new(&process).layer(tower::service_fn(handler));
                let service = service.ready().await.expect("ready");
                drop(service.call(Request::new(())).await);
                drop(RequestPools::new(&process).serve(Request::new(()), handler).await);
            });
        })
    };
    let lines = once(Level::DEBUG);
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, number) in lines.iter().zip([1, 2]) {
        let span = format!("request{{account=\"process/request\" number={number}}}: ");
        assert!(line.contains(&span), "{line}");
    }
    // Where spans of that level are not kept, none is made.
    let lines = once(Level::INFO);
    assert!(lines.len() == 2 && lines.iter().all(|line| !line.contains("request{")), "{lines:?}");
}

#[test]
fn a_request_that_needs_unusually_much_for_its_kind_is_told_as_it_ends() {
    common::unwatched();
    let service = Account::root("service");
    let layer = PoolLayer::new(&service).name_by(|asked| match asked.uri.path() {
        "/large" => Some("large".into()),
        _ => None,
    });
    let lines = logged(Level::WARN, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut service = layer.layer(tower::service_fn(async |request: Request<()>| {
                let pool = RequestPool::of(&request).expect("the layer's");
                let bytes =
                    request.uri().query().map_or(0, |bytes| bytes.parse().expect("a number"));
                pool.try_alloc_bytes(bytes).expect("memory");
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::new())))
            }));
            let mut ask = async |address: String| {
                let request = Request::get(address).body(()).expect("a request");
                let response = service.ready().await.expect("ready").call(request).await;
                drop(response.expect("an answer"));
            };
            for _ in 0..200 {
                ask("/small".to_owned()).await;
                ask("/large?400000".to_owned()).await;
            }
            ask("/small?300000".to_owned()).await;
        });
    });
    let [line] = &lines[..] else { panic!("{lines:?}") };
    for part in ["an unusual peak", "account=\"service/request\"", "usual_bytes=4096"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}
