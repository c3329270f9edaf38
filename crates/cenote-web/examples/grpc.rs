//! gRPC by tonic, with a pool for each call: the standard service of health checks, which knows a few names.
//!
//! ```sh
//! cargo run --release -p cenote-web --example grpc
//! grpcurl -plaintext -d '{"service": "notes,tags"}' localhost:3000 grpc.health.v1.Health/Check
//! ```
//!
//! docs/RECIPES.md has more words.

use axum::Router;
use cenote::Account;
use cenote_web::json::PoolVec;
use cenote_web::{PoolLayer, RequestPool};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::fmt::Display;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// What one call may hold.
const CALL: usize = 64 << 10;
const SERVING: HealthCheckResponse = HealthCheckResponse { status: 1 };

/// Services that are healthy.
struct Checks(&'static [&'static str]);

#[tonic::async_trait]
impl Health for Checks {
    async fn check(
        &self,
        call: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let pool = pool_of(&call)?;
        let mut unknown = PoolVec::new_in((*pool).clone());
        for name in call.get_ref().service.split(',') {
            if !self.0.contains(&name) {
                unknown.try_push(name).map_err(refused)?;
            }
        }
        match unknown.first() {
            None => Ok(Response::new(SERVING)),
            Some(first) => {
                Err(Status::not_found(format!("{first}, and {} more", unknown.len() - 1)))
            }
        }
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        _call: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        // They never change. What has more to say has a pool for each message, as an event has.
        Ok(Response::new(stream::iter([Ok(SERVING)]).chain(stream::pending()).boxed()))
    }
}

/// The call's own pool. The layer has put it there, and keeps it until the answer has been sent.
fn pool_of<T>(call: &Request<T>) -> Result<RequestPool, Status> {
    let missing = || Status::internal("the service is not under a PoolLayer");
    call.extensions().get::<RequestPool>().cloned().ok_or_else(missing)
}

/// What the client is told of a refusal: that it may try again, and whose limit it was.
fn refused(error: impl Display) -> Status {
    Status::resource_exhausted(error.to_string())
}

/// The service, a pool for each call.
pub fn app(account: &Account) -> Router {
    let checks = HealthServer::new(Checks(&["notes", "tags"]));
    let calls = PoolLayer::new(account).limit(CALL);
    let calls = calls.on_refusal(|error| refused(error).into_http());
    Routes::new(checks).prepare().into_axum_router().layer(calls)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let account = Account::root("grpc").with_limit(Some(64 << 20));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("gRPC on {}", listener.local_addr()?);
    axum::serve(listener, app(&account)).await
}
