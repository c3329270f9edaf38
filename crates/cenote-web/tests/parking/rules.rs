//! Each condition of parking, in a conversation that tells if it is left out; and the bounds, in a
//! time of their own that passes when nothing else happens.

use crate::compare;
use crate::script::{Cut, SMUGGLED, Script, Step};
use crate::servers::{MANY_HEADERS, Servers, answer, http};
use cenote_web::park::{Bound, Connection, End, Left, Lot, Parking};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

const COUNT: &str = "GET /count HTTP/1.1\r\nhost: x\r\n\r\n";

/// Has each script said to a server that parks at once, and to hyper, some times with pauses of
/// other lengths in it.
fn same(http: http1::Builder, script: impl Fn(usize) -> Script) {
    same_times(40, http, script);
}

fn same_times(times: usize, http: http1::Builder, script: impl Fn(usize) -> Script) {
    let parking = Parking::new(http.clone()).after(Duration::ZERO);
    same_as(times, http, parking, script);
}

fn same_as(times: usize, http: http1::Builder, parking: Parking, script: impl Fn(usize) -> Script) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("there are threads").block_on(async {
        let servers = Servers::with(http, parking).await;
        for pause in 0..times {
            compare(&servers, script(pause), pause as u64).await;
        }
    });
}

fn head(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", SMUGGLED.len())
}

#[test]
fn a_body_that_was_dropped_after_a_look_is_not_taken_for_a_request_when_it_comes() {
    same(http(), |pause| {
        let script = Script::default().send(head("/glance")).step(Step::Answers(1));
        script.step(Step::Pause(pause)).send(SMUGGLED).step(Step::Shut)
    });
}

#[test]
fn a_body_that_is_held_beyond_its_answer_is_not_taken_for_a_request_when_it_comes() {
    same(http(), |pause| {
        let script = Script::default().send(head("/hold")).step(Step::Answers(1));
        let script = script.step(Step::Pause(pause)).send(SMUGGLED);
        script.send(COUNT).step(Step::Answers(1)).step(Step::Shut)
    });
}

#[test]
fn an_answer_that_the_socket_has_not_taken_yet_arrives_whole() {
    let big = |pause| {
        let script = Script::default().send("GET /big HTTP/1.1\r\nhost: x\r\n\r\n");
        script.step(Step::Pause(pause * 20)).step(Step::Answers(1)).step(Step::Shut)
    };
    same(http(), big);
    // Without half-closing, hyper reads while it still has a part of the answer.
    let mut http = http();
    http.half_close(false);
    same_times(3, http, big);
}

#[test]
fn an_answer_that_hyper_holds_back_for_the_next_one_arrives() {
    let mut http = http();
    http.pipeline_flush(true);
    let (begun, rest) = COUNT.split_at(COUNT.len() - 5);
    let parking = Parking::new(http).after(Duration::ZERO);
    let end = in_their_own_time(one(parking, async |mut stream| {
        stream.write_all(format!("{COUNT}{begun}").as_bytes()).await.expect("it listens");
        // Time passes when the server has come to rest.
        sleep(seconds(1)).await;
        stream.write_all(rest.as_bytes()).await.expect("it listens");
        let (mut text, mut bytes) = (String::new(), [0; 512]);
        while !text.contains("2 /count") {
            let length = stream.read(&mut bytes).await.expect("it answers");
            assert!(length > 0, "only {text}");
            text.push_str(str::from_utf8(&bytes[..length]).expect("text"));
        }
        assert!(text.contains("1 /count"), "{text}");
    }));
    assert_eq!(end.0, Fate::Closed);
}

#[test]
fn requests_that_hyper_leaves_for_its_next_turn_are_answered() {
    // hyper lets others have a turn after sixteen requests. It reads as much at once as the longest
    // head took, and then less, in which not all of that has room.
    const REQUESTS: usize = 250;
    same_times(3, http(), |pause| {
        let long = format!("GET /long HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(40_000));
        let count = format!("GET /count HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(100));
        let script = Script::default().send(long + &count.repeat(REQUESTS));
        let script = script.step(Step::Pause(pause)).step(Step::Answers(1 + REQUESTS));
        script.step(Step::Shut)
    });
}

#[test]
fn a_part_of_a_head_that_came_with_the_request_before_is_not_lost() {
    same(http(), |pause| {
        let (one, other) = COUNT.split_at(1 + pause % 20);
        let script = Script::default().send(format!("{COUNT}{one}")).step(Step::Answers(1));
        script.step(Step::Pause(pause)).send(other).step(Step::Answers(1)).step(Step::Shut)
    });
}

#[test]
fn an_upgrade_that_was_offered_is_open_as_long_as_the_connection_is() {
    same(http(), |pause| {
        let offer = "GET /offer HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
        let script = Script::default().send(offer).step(Step::Answers(1)).step(Step::Pause(pause));
        script.send(COUNT).step(Step::Answers(1)).step(Step::Shut)
    });
}

#[test]
fn a_bad_head_after_a_request_of_http_1_0_is_answered_in_its_version() {
    same(http(), |pause| {
        let old = "GET /old HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
        let script = Script::default().send(old).step(Step::Answers(1)).step(Step::Pause(pause));
        script.send("NONSENSE\r\n\r\n")
    });
}

#[test]
fn a_head_that_comes_byte_by_byte_over_a_parked_connection_is_one_head() {
    same(http(), |pause| {
        let script = Script::default().step(Step::Pause(pause));
        let script = script.step(Step::Send(COUNT.into(), Cut::EveryByte)).step(Step::Answers(1));
        let script = script.step(Step::Pause(pause));
        let script = script.step(Step::Send(COUNT.into(), Cut::EveryByte)).step(Step::Answers(1));
        script.step(Step::Shut)
    });
}

#[test]
fn a_refusal_of_the_services_own_is_not_taken_for_hypers() {
    let mut wide = http();
    wide.max_headers(MANY_HEADERS);
    let parking = || Parking::new(http()).max_headers(MANY_HEADERS).after(Duration::ZERO);
    let headers = "a: b\r\n".repeat(200);
    let many = format!("GET /count HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    let refused = "GET /refused HTTP/1.1\r\nhost: x\r\n\r\n";
    same_as(40, wide, parking(), |pause| {
        let script = Script::default().send(refused).step(Step::Answers(1));
        let script = script.step(Step::Pause(pause)).send(many.clone()).step(Step::Answers(1));
        let script = script.send(format!("{refused}{COUNT}")).step(Step::Answers(2));
        script.step(Step::Shut)
    });
}

/// hyper answers a bad head in the version of the last request, and the build that takes more headers
/// has not seen that one.
#[test]
fn a_head_that_is_refused_with_more_room_too_is_answered_in_the_last_requests_version() {
    let mut wide = http();
    wide.max_headers(MANY_HEADERS);
    let parking = || Parking::new(http()).max_headers(MANY_HEADERS).after(Duration::ZERO);
    let old = "GET /old HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    for before in [old, COUNT] {
        for (headers, end) in [(MANY_HEADERS + 10, "\r\n"), (200, "bad header\r\n\r\n")] {
            let headers = "a: b\r\n".repeat(headers);
            let head = format!("GET /count HTTP/1.1\r\nhost: x\r\n{headers}{end}");
            same_as(20, wide.clone(), parking(), |pause| {
                let script = Script::default().send(before).step(Step::Answers(1));
                script.step(Step::Pause(pause)).send(head.clone())
            });
        }
    }
}

/// Time passes when everybody waits for it, and then at once.
fn in_their_own_time<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build();
    runtime.expect("there are descriptors").block_on(test)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What became of one connection, when, and how often it was parked meanwhile.
async fn one(parking: Parking, client: impl AsyncFnOnce(TcpStream)) -> (Fate, u64, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it has one");
    let began = Instant::now();
    let server = async {
        let (stream, _) = listener.accept().await.expect("a connection");
        let count = Arc::default();
        let service = service_fn(move |request| answer(Arc::clone(&count), request));
        let mut lot = Lot::new().expect("there are descriptors");
        let mut connection = parking.serve(TokioIo::new(stream), service);
        let mut parks = 0;
        let fate = loop {
            match connection.await {
                End::Closed => break Fate::Closed,
                End::Late(bound) => break Fate::Late(bound, false),
                End::Idle(idle) => assert!(lot.park(idle).is_some()),
                other => panic!("it is neither closed nor idle nor late: {other:?}"),
            }
            parks += 1;
            assert_eq!(lot.len(), 1);
            match lot.next().await {
                Left::Heard(idle) => connection = parking.resume(idle),
                Left::Late { bound, .. } => break Fate::Late(bound, true),
            }
        };
        (fate, began.elapsed().as_secs(), parks)
    };
    let client = async {
        client(TcpStream::connect(address).await.expect("the server listens")).await;
    };
    tokio::join!(server, client).0
}

#[derive(Debug, Eq, PartialEq)]
enum Fate {
    Closed,
    /// Whether it was parked then.
    Late(Bound, bool),
}

async fn ask(stream: &mut TcpStream) -> usize {
    stream.write_all(COUNT.as_bytes()).await.expect("it listens");
    stream.read(&mut [0; 512]).await.expect("it answers")
}

async fn closed(stream: &mut TcpStream) {
    assert_eq!(stream.read(&mut [0; 512]).await.expect("it ends in order"), 0);
}

#[test]
fn a_connection_is_parked_when_it_was_idle_for_that_long_and_not_before() {
    let parking = Parking::new(http()).head_timeout(None);
    let end = in_their_own_time(one(parking, async |mut stream| {
        for wait in [1, 4, 6, 4, 9] {
            ask(&mut stream).await;
            sleep(seconds(wait)).await;
        }
    }));
    assert_eq!(end, (Fate::Closed, 24, 2));
}

#[test]
fn a_connection_is_parked_when_a_body_was_read_after_its_answer() {
    let parking = Parking::new(http());
    let end = one(parking, async |mut stream| {
        let whole = format!("{}{SMUGGLED}", head("/linger"));
        stream.write_all(whole.as_bytes()).await.expect("it listens");
        assert!(stream.read(&mut [0; 512]).await.expect("it answers") > 0);
        closed(&mut stream).await;
    });
    let end = in_their_own_time(async { timeout(seconds(100), end).await });
    // Nobody says that nothing is under way any more. It is looked for each second.
    let fate = (Fate::Late(Bound::Head, true), 34, 1);
    assert_eq!(end.expect("it is not under way for ever"), fate);
}

#[test]
fn a_connection_is_parked_when_a_body_that_came_in_pieces_was_read_to_its_end_after_its_answer() {
    const LENGTH: usize = 60_000;
    let parking = Parking::new(http());
    let end = one(parking, async |mut stream| {
        let head = format!("POST /swallow HTTP/1.1\r\nhost: x\r\ncontent-length: {LENGTH}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("it listens");
        stream.write_all(&[b'x'; LENGTH]).await.expect("it listens");
        assert!(stream.read(&mut [0; 512]).await.expect("it answers") > 0);
        closed(&mut stream).await;
    });
    let end = in_their_own_time(async { timeout(seconds(100), end).await });
    let (fate, _, parks) = end.expect("it is not under way for ever");
    assert_eq!((fate, parks), (Fate::Late(Bound::Head, true), 1));
}

#[test]
fn a_head_has_the_time_since_the_connection_became_idle_parked_or_not() {
    let parking = Parking::new(http());
    let end = in_their_own_time(one(parking.clone(), async |mut stream| {
        ask(&mut stream).await;
        closed(&mut stream).await;
    }));
    assert_eq!(end, (Fate::Late(Bound::Head, true), 30, 1));
    let end = in_their_own_time(one(parking.clone(), async |mut stream| {
        ask(&mut stream).await;
        sleep(seconds(20)).await;
        stream.write_all(b"GET /late").await.expect("it listens");
        closed(&mut stream).await;
    }));
    assert_eq!(end, (Fate::Late(Bound::Head, false), 30, 1));
    // From its first moment, if nothing came at all.
    let end = in_their_own_time(one(parking, async |mut stream| closed(&mut stream).await));
    assert_eq!(end, (Fate::Late(Bound::Head, true), 30, 1));
}

#[test]
fn where_idle_connections_have_a_bound_of_their_own_a_head_has_its_time_from_its_first_byte() {
    let parking = Parking::new(http()).idle_timeout(seconds(75));
    let end = in_their_own_time(one(parking.clone(), async |mut stream| {
        ask(&mut stream).await;
        closed(&mut stream).await;
    }));
    assert_eq!(end, (Fate::Late(Bound::Idle, true), 75, 1));
    let end = in_their_own_time(one(parking, async |mut stream| {
        ask(&mut stream).await;
        sleep(seconds(60)).await;
        stream.write_all(b"GET /late").await.expect("it listens");
        closed(&mut stream).await;
    }));
    assert_eq!(end, (Fate::Late(Bound::Head, false), 90, 1));
}

#[test]
fn a_connection_that_is_too_old_ends_parked_or_not() {
    let parking = Parking::new(http()).lifetime(seconds(40)).head_timeout(None);
    let end = in_their_own_time(one(parking.clone(), async |mut stream| {
        ask(&mut stream).await;
        closed(&mut stream).await;
    }));
    assert_eq!(end, (Fate::Late(Bound::Lifetime, true), 40, 1));
    // With requests all the time, after the one that is in flight then.
    let end = in_their_own_time(one(parking, async |mut stream| {
        for _ in 0..10 {
            ask(&mut stream).await;
            sleep(seconds(4)).await;
        }
        closed(&mut stream).await;
    }));
    assert_eq!(end, (Fate::Closed, 40, 0));
}

#[test]
fn one_that_spoke_before_it_is_told_to_stop_is_answered_and_one_that_did_not_is_closed() {
    let all = async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let parking = Parking::new(http()).after(Duration::ZERO);
        let mut lot = Lot::new().expect("there are descriptors");
        let mut streams = Vec::new();
        for _ in 0..10 {
            let mut stream = TcpStream::connect(address).await.expect("the server listens");
            let (accepted, _) = listener.accept().await.expect("a connection");
            let count = Arc::default();
            let service = service_fn(move |request| answer(Arc::clone(&count), request));
            let mut connection = parking.serve(TokioIo::new(accepted), service);
            // Parked, woken by its first request, and parked again.
            let End::Idle(idle) = connection.await else { panic!("it is idle") };
            lot.park(idle);
            stream.write_all(COUNT.as_bytes()).await.expect("it listens");
            let Left::Heard(idle) = lot.next().await else { panic!("it spoke") };
            connection = parking.resume(idle);
            let End::Idle(idle) = connection.await else { panic!("it is idle again") };
            lot.park(idle);
            assert!(stream.read(&mut [0; 512]).await.expect("it answers") > 0);
            streams.push(stream);
        }
        for stream in &mut streams[..5] {
            stream.write_all(COUNT.as_bytes()).await.expect("it listens");
        }
        let heard = lot.close();
        assert_eq!(heard.len(), 5);
        for idle in heard {
            let mut connection: Connection<_, _> = parking.resume(idle);
            connection.graceful_shutdown();
            assert!(matches!(connection.await, End::Closed));
        }
        for (index, stream) in streams.iter_mut().enumerate() {
            let mut text = String::new();
            stream.read_to_string(&mut text).await.expect("it ends in order");
            assert_eq!(text.contains("2 /count"), index < 5, "{index}: {text}");
        }
    };
    let end = in_their_own_time(async { timeout(seconds(100), all).await });
    end.expect("nobody waits for ever");
}

/// What one connection needed may be most of what the process has.
#[test]
fn the_allocator_is_trimmed_half_a_minute_after_one_was_parked_or_has_ended() {
    let all = async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let parking = Parking::new(http()).after(Duration::ZERO).head_timeout(None);
        let trims = Arc::new(AtomicUsize::new(0));
        let count = trims.clone();
        let lot = Lot::new().expect("there are descriptors");
        let mut lot = lot.trim_with(move || _ = count.fetch_add(1, Relaxed));
        let _client = TcpStream::connect(address).await.expect("the server listens");
        let (accepted, _) = listener.accept().await.expect("a connection");
        let service = service_fn(|request| answer(Arc::default(), request));
        let connection = parking.serve(TokioIo::new(accepted), service);
        let End::Idle(idle) = connection.await else { panic!("it is idle") };
        lot.park(idle);
        for (times, soon) in [(1, false), (2, false), (3, true)] {
            assert!(timeout(seconds(if soon { 2 } else { 31 }), lot.next()).await.is_err());
            assert_eq!(trims.load(Relaxed), times);
            // Nothing has changed since.
            assert!(timeout(seconds(100), lot.next()).await.is_err());
            assert_eq!(trims.load(Relaxed), times);
            lot.ended();
            assert!(timeout(seconds(29), lot.next()).await.is_err());
            assert_eq!(trims.load(Relaxed), times, "half a minute is not over");
            if times == 2 {
                lot.trim_soon();
            }
        }
    };
    in_their_own_time(all);
}

/// hyper has the connection, which is idle, and the runtime has not asked the system since its client
/// spoke.
#[test]
fn one_that_spoke_when_hyper_had_it_and_nobody_knew_is_answered_before_it_is_closed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("there are descriptors");
    for (requests, answers) in [(0, 1), (1, 2), (2, 3)] {
        let text = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("it has one");
            // Not the runtime's: what it does is nothing that the runtime sees.
            let mut client = std::net::TcpStream::connect(address).expect("it listens");
            let (accepted, _) = listener.accept().await.expect("a connection");
            let count = Arc::default();
            let service = service_fn(move |request| answer(Arc::clone(&count), request));
            let parking = Parking::new(http());
            let mut connection = parking.serve(TokioIo::new(accepted), service);
            std::io::Write::write_all(&mut client, COUNT.as_bytes()).expect("it is open");
            client.set_nonblocking(true).expect("a socket");
            tokio::select! {
                biased;
                _ = &mut connection => panic!("it stays open"),
                () = async { while client.peek(&mut [0]).is_err() { yield_now().await } } => {}
            }
            client.set_nonblocking(false).expect("a socket");
            let more = COUNT.repeat(requests);
            std::io::Write::write_all(&mut client, more.as_bytes()).expect("it is open");
            connection.graceful_shutdown();
            assert!(matches!(connection.await, End::Closed));
            let mut text = String::new();
            std::io::Read::read_to_string(&mut client, &mut text).expect("it is not reset");
            text
        });
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), answers, "{requests}: {text}");
    }
}
