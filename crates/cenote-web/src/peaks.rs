//! Requests that needed unusually much are told in the log as they end.

#[cfg(feature = "view")]
pub(crate) use with::RequestPeaks;
#[cfg(not(feature = "view"))]
pub(crate) use without::RequestPeaks;

#[cfg(feature = "view")]
mod with {
    use crate::view::events::Peaks;
    use cenote::Account;
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex, TryLockError};

    /// What is usual, by the names of accounts, which are few.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct RequestPeaks(Arc<Mutex<HashMap<String, Peaks>>>);

    impl RequestPeaks {
        /// Notes the peak of a request that ends. Where another thread does so at this very
        /// moment, this one is not counted: nobody waits for it.
        pub(crate) fn close(&self, account: &Account) {
            let mut all = match self.0.try_lock() {
                Ok(all) => all,
                Err(TryLockError::Poisoned(all)) => all.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            match all.get_mut(account.name()) {
                Some(peaks) => peaks.close(account),
                None => all.entry(account.name().to_owned()).or_default().close(account),
            }
        }
    }
}

#[cfg(not(feature = "view"))]
mod without {
    /// Nothing, without the feature that logs.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct RequestPeaks();

    impl RequestPeaks {
        pub(crate) fn close(&self, _: &cenote::Account) {}
    }
}
