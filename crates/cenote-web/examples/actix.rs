//! A pool for each request on actix-web, which is no tower service: by a middleware of a few lines, and the
//! library alone.
//!
//! ```sh
//! cargo run --release -p cenote-web --example actix
//! curl -d 'to be or not to be' localhost:3000/words
//! ```
//!
//! docs/RECIPES.md has more words.

use actix_web::body::MessageBody;
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::error::ErrorServiceUnavailable;
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpMessage, HttpResponse, HttpServer, web};
use cenote::{Account, SharedPool};
use cenote_web::json::PoolVec;
use std::net::TcpListener;

/// What one request may hold.
const REQUEST: usize = 64 << 10;

/// Gives each request an account and a pool.
async fn pooled(
    service: web::Data<Account>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let account = service.child("request").with_limit(Some(REQUEST));
    let pool = SharedPool::try_on(&account).map_err(ErrorServiceUnavailable)?;
    request.extensions_mut().insert(pool);
    next.call(request).await
}

async fn words(
    text: String,
    pool: web::ReqData<SharedPool>,
) -> Result<HttpResponse, actix_web::Error> {
    let pool = pool.into_inner();
    let mut words = PoolVec::new_in(pool.clone());
    for word in text.split_whitespace() {
        words.try_push(word).map_err(ErrorServiceUnavailable)?;
    }
    // These bytes are not copied, and keep the pool until they have been sent.
    let answer = pool.try_freeze_fmt(format_args!("{} words\n", words.len()));
    Ok(HttpResponse::Ok().body(answer.map_err(ErrorServiceUnavailable)?))
}

/// The service, on two threads.
pub fn serve(listener: TcpListener, account: &Account) -> std::io::Result<Server> {
    let account = web::Data::new(account.clone());
    let app = move || {
        let words = web::resource("/words").route(web::post().to(words));
        App::new().app_data(account.clone()).wrap(from_fn(pooled)).service(words)
    };
    Ok(HttpServer::new(app).workers(2).listen(listener)?.run())
}

fn main() -> std::io::Result<()> {
    let account = Account::root("actix").with_limit(Some(64 << 20));
    let listener = TcpListener::bind("127.0.0.1:3000")?;
    println!("http://{}", listener.local_addr()?);
    actix_web::rt::System::new().block_on(async { serve(listener, &account)?.await })
}
