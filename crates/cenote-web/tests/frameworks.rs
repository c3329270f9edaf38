//! Proves that the recipes for gRPC and actix-web do what they say: a pool for each call, refusals that a
//! client is told of, and nothing left.

#[allow(dead_code, unreachable_pub, reason = "the example's `main` is not run here")]
#[path = "../examples/actix.rs"]
mod actix;
#[allow(dead_code, unreachable_pub, reason = "the example's `main` is not run here")]
#[path = "../examples/grpc.rs"]
mod grpc;

mod common;

use cenote::Account;
use common::until;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Pools on accounts under this one.
fn live(account: &Account) -> usize {
    account.snapshot().children.iter().map(|request| request.live).sum()
}

/// A client of the service, with an account to look at.
async fn grpc_service(limit: usize) -> (HealthClient<Channel>, Account) {
    let account = Account::root("grpc").with_limit(Some(limit));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = grpc::app(&account);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await;
    (HealthClient::new(channel.unwrap()), account)
}

fn asked(service: impl Into<String>) -> HealthCheckRequest {
    HealthCheckRequest { service: service.into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_call_has_a_pool_until_it_is_answered() {
    let (mut client, account) = grpc_service(64 << 20).await;
    let answer = client.check(asked("notes,tags")).await.expect("both are known");
    assert_eq!(answer.into_inner().status, 1);
    let error = client.check(asked("notes,nobody,none")).await.expect_err("two are not");
    assert_eq!((error.code(), error.message()), (Code::NotFound, "nobody, and 1 more"));
    // A stream has its pool as long as it goes on.
    let mut watched = client.watch(asked("notes")).await.expect("it is known").into_inner();
    assert_eq!(watched.message().await.expect("an answer").expect("one").status, 1);
    until("the stream alone", || live(&account) == 1).await;
    drop(watched);
    until("the end of all", || live(&account) == 0 && account.held() == 0).await;
    assert_eq!(account.snapshot().closed.iter().map(|closed| closed.created).sum::<u64>(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_call_that_needs_more_than_it_may_is_told_so_and_others_are_not() {
    let (mut client, account) = grpc_service(64 << 20).await;
    let error = client.check(asked("x,".repeat(10_000))).await.expect_err("it is refused");
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.message().contains("account grpc/request"), "{}", error.message());
    client.check(asked("notes")).await.expect("it needs little");
    until("the end of all", || account.held() == 0).await;
    // Nor is it where there is no room for a pool at all.
    let (mut client, _account) = grpc_service(100).await;
    let error = client.check(asked("notes")).await.expect_err("it is refused");
    assert_eq!(error.code(), Code::ResourceExhausted, "{error:?}");
    assert!(error.message().contains("account grpc is at its limit"), "{}", error.message());
}

/// Posts a text; the answer, to the connection's end.
fn post(port: u16, text: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = "POST /words HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: ";
    write!(stream, "{head}{}\r\n\r\n{text}", text.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_request_of_actix_has_a_pool_and_refusals_are_503() {
    let account = Account::root("actix").with_limit(Some(64 << 20));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (started, starts) = mpsc::channel();
    let service = account.clone();
    let thread = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async {
            let server = actix::serve(listener, &service).unwrap();
            started.send(server.handle()).unwrap();
            server.await.unwrap();
        });
    });
    let server = starts.recv().unwrap();
    let answer = post(port, "to be or not to be");
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n6 words\n"),
        "{answer}"
    );
    let answer = post(port, &"word ".repeat(20_000));
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("account actix/request"),
        "{answer}"
    );
    assert!(post(port, "one").ends_with("1 words\n"));
    drop(server.stop(true));
    thread.join().unwrap();
    Account::settle();
    assert_eq!((account.held(), live(&account)), (0, 0));
    assert_eq!(account.snapshot().closed[0].created, 3);
}
