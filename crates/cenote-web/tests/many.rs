//! Proves that a look at fifty thousand pools is an answer of bounded size that says how many there are, and
//! prints what it takes: `cargo test --release -p cenote-web --features view --test many -- --nocapture`.

use cenote::{Account, SharedPool};
use cenote_web::view::{View, Who};
use std::sync::Arc;
use std::time::Instant;

const MANY: usize = 50_000;

struct Numbered(usize);

impl cenote_web::view::Purpose for Numbered {
    fn who(&self) -> Who {
        Who::of(format!("job {}", self.0))
    }
}

#[tokio::test]
async fn fifty_thousand_pools_each_on_an_account_of_its_own_are_an_answer_of_bounded_size() {
    let process = Account::root("process");
    let view = View::builder(&process).build();
    let pools: Vec<_> = (0..MANY)
        .map(|number| {
            let account = process.child(["one", "other", "third"][number % 3]);
            let pool = SharedPool::try_on(&account).expect("memory");
            view.watch_for(pool.downgrade(), Arc::new(Numbered(number)));
            pool
        })
        .collect();
    // The largest, and the first: both are among those that are told one by one.
    let large = pools[MANY / 2].try_alloc_zeroed_bytes(1 << 20).expect("memory").len();
    let mut sizes = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let look = view.look().await.expect("a look");
        let text = serde_json::to_string(&*look).expect("figures");
        println!(
            "{MANY} pools: {} rows, {} bytes, {:?}",
            look.pools.len(),
            text.len(),
            began.elapsed()
        );
        assert_eq!(look.pools_shown, MANY);
        assert!(look.pools.len() <= 200, "{}", look.pools.len());
        let told = |number: usize| {
            let request = Some(format!("job {number}"));
            look.pools.iter().find(|row| row.request == request)
        };
        assert!(told(0).is_some(), "the oldest");
        assert!(told(MANY / 2).is_some_and(|row| row.held_bytes > large), "the fattest");
        assert_eq!(look.accounts.iter().map(|row| row.live).sum::<usize>(), MANY);
        sizes.push(text.len());
    }
    assert!(sizes.iter().all(|&bytes| bytes < 200 << 10), "{sizes:?}");
}
