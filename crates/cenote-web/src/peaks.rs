//! What requests needed at most, told as they end: unusual ones in the log, and all in the metrics of
//! the view that is given.

#[cfg(feature = "view")]
pub(crate) use with::{RequestPeaks, Route};
#[cfg(not(feature = "view"))]
pub(crate) use without::{RequestPeaks, Route};

use crate::RequestPool;
use crate::asked::AskedFor;

/// The pool of a request until that has ended: its response's body is gone, or it was refused, or nobody
/// wants it any more.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) pool: RequestPool,
    peaks: RequestPeaks,
    route: Route,
    /// What the view says of it, until it is answered.
    pub(crate) asked: AskedFor,
    /// Whether it was answered by who worked on it: others are not what is usual.
    pub(crate) answered: bool,
}

impl Ending {
    pub(crate) fn new(
        pool: RequestPool,
        peaks: RequestPeaks,
        route: Route,
        asked: AskedFor,
    ) -> Self {
        Self { pool, peaks, route, asked, answered: false }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(account) = self.pool.account() {
            self.peaks.note(account, self.route);
            if self.answered {
                self.peaks.close(account);
            }
        }
    }
}

#[cfg(feature = "view")]
mod with {
    use crate::view::View;
    use crate::view::events::Peaks;
    use crate::view::requests::{Place, Requests};
    use cenote::Account;
    use http::Request;
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex, TryLockError};

    #[derive(Clone, Debug, Default)]
    pub(crate) struct RequestPeaks(Arc<Inner>);

    #[derive(Debug, Default)]
    struct Inner {
        /// What is usual, by the names of accounts, which are few.
        usual: Mutex<HashMap<String, Peaks>>,
        requests: Option<Arc<Requests>>,
    }

    /// Where a request is counted, if it is.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Route(Option<Place>);

    impl RequestPeaks {
        /// Those that are told to a view as well.
        pub(crate) fn of(view: &View) -> Self {
            let requests = Some(view.requests().clone());
            Self(Arc::new(Inner { usual: Mutex::default(), requests }))
        }

        /// Where a request is counted: by axum's route, or else by the name that was chosen for its
        /// account.
        pub(crate) fn route<B>(&self, request: &Request<B>, named: Option<&str>) -> Route {
            let Some(requests) = &self.0.requests else { return Route(None) };
            #[cfg(feature = "axum")]
            if let Some(path) = request.extensions().get::<axum::extract::MatchedPath>() {
                let method = crate::naming::known_and_space(request.method());
                return Route(Some(requests.place([method, path.as_str()])));
            }
            let _ = request;
            Route(Some(named.map_or(Place::None, |name| requests.place(["", name]))))
        }

        /// Counts a request that ends. Waits for nobody.
        pub(crate) fn note(&self, account: &Account, route: Route) {
            if let (Some(requests), Some(place)) = (&self.0.requests, route.0) {
                requests.note(place, account.peak());
            }
        }

        /// Notes the peak of a request that was answered. Where another thread does so at this very
        /// moment, this one is not counted: nobody waits for it.
        pub(crate) fn close(&self, account: &Account) {
            let mut all = match self.0.usual.try_lock() {
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
    use cenote::Account;
    use http::Request;

    /// Nothing, without the feature that logs and counts.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct RequestPeaks();

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Route;

    impl RequestPeaks {
        pub(crate) fn route<B>(&self, _: &Request<B>, _: Option<&str>) -> Route {
            Route
        }

        pub(crate) fn note(&self, _: &Account, _: Route) {}

        pub(crate) fn close(&self, _: &Account) {}
    }
}
