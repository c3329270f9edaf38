//! A future that keeps `&Pool` across an await could be moved while another has the pool.
//! Refused: future cannot be sent between threads safely
fn sendable(_: impl Send) {}

fn main() {
    sendable(async {
        let pool = cenote::Pool::new();
        let shared = &pool;
        std::future::ready(()).await;
        shared.alloc(1);
    });
}
