//! A future that owns a pool, and keeps what it took from it across an await, is `Send`.
use cenote::{Account, Pool};

fn sendable<T: Send>(value: T) -> T {
    value
}

fn main() {
    let account = Account::root("request");
    let future = sendable(async move {
        let pool = Pool::on(&account);
        let number = pool.alloc(1);
        let text = pool.alloc_str("kept");
        let list = pool.alloc_slice_copy(&[1, 2, 3]);
        std::future::ready(()).await;
        *number += text.len() + list.len();
        std::future::ready(()).await;
        let more = pool.alloc(2);
        std::future::ready(()).await;
        *number + *more
    });
    drop(future);
}
