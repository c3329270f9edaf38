//! What the accounts of requests are called: all alike, by their route, or as the service says;
//! never more names than can be looked through.

use http::{Extensions, HeaderMap, Method, Request, Uri};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::{PoisonError, RwLock};

/// Names besides that of all others. Fewer than an account remembers of those below it that
/// have closed, so that none of them is counted together with others.
const MOST_NAMES: usize = 48;
/// Bytes of a name.
const LONGEST: usize = 100;

/// What is known of a request before it is worked on: to name its account by.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Asked<'r> {
    /// Its method.
    pub method: &'r Method,
    /// Its address.
    pub uri: &'r Uri,
    /// Its headers.
    pub headers: &'r HeaderMap,
    /// What layers above left with it.
    pub extensions: &'r Extensions,
}

impl<'r> Asked<'r> {
    fn of<B>(request: &'r Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// Its method and the route that it took, such as `GET /notes/{id}`; `None` where it took
    /// none, or is not handled by axum.
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn route(&self) -> Option<String> {
        let path = self.extensions.get::<axum::extract::MatchedPath>()?.as_str();
        Some(format!("{}{path}", known_and_space(self.method)))
    }
}

/// A method by its name, with a space behind it. Clients may make up others, which are all one.
#[cfg(any(feature = "axum", feature = "view"))]
pub(crate) fn known_and_space(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET ",
        Method::HEAD => "HEAD ",
        Method::POST => "POST ",
        Method::PUT => "PUT ",
        Method::DELETE => "DELETE ",
        Method::OPTIONS => "OPTIONS ",
        Method::PATCH => "PATCH ",
        Method::TRACE => "TRACE ",
        Method::CONNECT => "CONNECT ",
        _ => "(other) ",
    }
}

type Choose = dyn Fn(&Asked<'_>) -> Option<Cow<'static, str>> + Send + Sync;

/// Names chosen by request, first come, first served.
pub(crate) struct Naming {
    choose: Box<Choose>,
    known: RwLock<HashSet<String>>,
}

impl Naming {
    pub(crate) fn new(
        choose: impl Fn(&Asked<'_>) -> Option<Cow<'static, str>> + Send + Sync + 'static,
    ) -> Self {
        Self { choose: Box::new(choose), known: RwLock::default() }
    }

    /// The name of this request's account; `None`: that of all others.
    pub(crate) fn name<B>(&self, request: &Request<B>) -> Option<Cow<'static, str>> {
        let mut name = (self.choose)(&Asked::of(request)).filter(|name| !name.is_empty())?;
        if name.len() > LONGEST {
            let whole = (0..=LONGEST).rev().find(|&at| name.is_char_boundary(at));
            name = Cow::Owned(name[..whole.unwrap_or(0)].to_owned());
        }
        self.admits(&name).then_some(name)
    }

    fn admits(&self, name: &str) -> bool {
        // A set is whole at every point where a panic could be.
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.contains(name) {
            return true;
        }
        if known.len() >= MOST_NAMES {
            return false;
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.contains(name) || known.len() < MOST_NAMES && known.insert(name.to_owned())
    }
}

impl fmt::Debug for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_tuple("Naming").field(&known.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_few_and_short_and_keep_their_place() {
        let naming = Naming::new(|asked| Some(Cow::Owned(asked.uri.path().to_owned())));
        let name = |path: &str| {
            let request = Request::get(path).body(()).expect("a request");
            naming.name(&request)
        };
        for number in 0..1000 {
            let path = format!("/{number}");
            let named = name(&path).is_some_and(|name| name == path);
            assert_eq!(named, number < MOST_NAMES, "{path}");
        }
        assert_eq!(name("/0").as_deref(), Some("/0"));
        let long = Naming::new(|_| Some(Cow::Owned("ä".repeat(1000))));
        let request = Request::get("/").body(()).expect("a request");
        assert_eq!(long.name(&request).map(|name| name.len()), Some(LONGEST));
        let none = Naming::new(|_| Some(Cow::Borrowed("")));
        assert_eq!(none.name(&request), None);
    }
}
