//! A cleanup sees its pool while it runs, not longer.
//! Refused: E0521
use std::sync::Mutex;

static KEPT: Mutex<Option<&'static str>> = Mutex::new(None);

fn main() {
    let pool = cenote::Pool::new();
    pool.defer_with(|pool| *KEPT.lock().unwrap() = Some(pool.alloc_str("gone")));
}
