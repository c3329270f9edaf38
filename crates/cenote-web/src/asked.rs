//! Whose the layer's pools are, for the view that it was given: noted as a request begins, and as it is answered.

#[cfg(feature = "view")]
pub(crate) use with::AskedFor;
#[cfg(not(feature = "view"))]
pub(crate) use without::AskedFor;

#[cfg(feature = "view")]
mod with {
    use crate::view::{Purpose, Who, service};
    use http::{Method, Request, StatusCode};
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

    /// Bytes of a path that are kept: more than are shown, since identifiers and digits become short.
    const KEPT: usize = 256;

    /// A request that the view is told of; or nothing, where there is no view.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct AskedFor(Option<Arc<Asked>>);

    #[derive(Debug)]
    pub(crate) struct Asked {
        method: Method,
        place: Place,
        /// 0 until it is answered.
        status: AtomicU16,
        peer: Option<SocketAddr>,
    }

    /// What of the address is kept: nothing that would keep the buffer that it was read into.
    #[derive(Debug)]
    enum Place {
        #[cfg(feature = "axum")]
        Route(axum::extract::MatchedPath),
        Path(Box<str>),
    }

    impl Place {
        fn of<B>(request: &Request<B>) -> Self {
            #[cfg(feature = "axum")]
            if let Some(route) = request.extensions().get::<axum::extract::MatchedPath>() {
                return Self::Route(route.clone());
            }
            let path = request.uri().path();
            let whole = (0..=KEPT.min(path.len())).rev().find(|&at| path.is_char_boundary(at));
            Self::Path(path[..whole.unwrap_or(0)].into())
        }
    }

    impl AskedFor {
        /// One allocation; where axum told no route, another for the path.
        pub(crate) fn of<B>(request: &Request<B>) -> Self {
            Self(Some(Arc::new(Asked {
                method: request.method().clone(),
                place: Place::of(request),
                status: AtomicU16::new(0),
                peer: service::peer(request.extensions()),
            })))
        }

        pub(crate) fn purpose(&self) -> Option<Arc<dyn Purpose + Send + Sync>> {
            Some(self.0.clone()?)
        }

        pub(crate) fn answered(&self, status: StatusCode) {
            if let Some(asked) = &self.0 {
                asked.status.store(status.as_u16(), Relaxed);
            }
        }
    }

    impl Purpose for Asked {
        fn who(&self) -> Who {
            let mut who = match &self.place {
                #[cfg(feature = "axum")]
                Place::Route(route) => Who::routed(&self.method, route.as_str()),
                Place::Path(path) => Who::asking_path(&self.method, path),
            };
            let status = self.status.load(Relaxed);
            who.status = (status > 0).then_some(status);
            who.peer = self.peer;
            who
        }
    }

    /// A connection of which only the address is known.
    #[cfg(feature = "axum")]
    pub(crate) struct Caller(pub(crate) SocketAddr);

    #[cfg(feature = "axum")]
    impl Purpose for Caller {
        fn who(&self) -> Who {
            Who::default().with_peer(self.0)
        }
    }
}

#[cfg(feature = "view")]
#[cfg(feature = "axum")]
pub(crate) use with::Caller;

#[cfg(not(feature = "view"))]
mod without {
    /// Nothing, without the feature that shows it.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct AskedFor();

    impl AskedFor {
        pub(crate) fn answered(&self, _: http::StatusCode) {}
    }
}
