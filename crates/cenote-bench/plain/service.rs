//! A service of axum's, served by axum itself or by `cenote_web::serve`: the same service, on the
//! allocator that a program has unless it asks for another.

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (listen, by) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let app = Router::new()
        .route("/", get(|| async { "hello\n" }))
        .route("/upload", post(|body: Bytes| async move { format!("{}\n", body.len()) }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(listen.parse().map_err(std::io::Error::other)?)?;
        let listener = socket.listen(4096)?;
        match by.as_str() {
            "cenote" => cenote_web::serve(listener, app.into_make_service()).await,
            _ => axum::serve(listener, app.into_make_service()).await,
        }
    })
}
