//! Whose a pool is: which request, what it was answered with, and where its client is.
//!
//! What a client sent is cut short and made harmless here, once for all who show it: the page, the JSON and
//! the terminal.

use std::fmt::Write;
use std::net::SocketAddr;

use http::{Method, StatusCode, Uri};

use super::Noted;

/// Bytes of what is shown of a request, its method included.
const LONGEST: usize = 100;
/// Bytes of an identifier of hex digits and dashes, and of one of any letters and digits: at least.
const HEX: usize = 16;
const MIXED: usize = 20;

/// What can tell whose a pool is, when somebody looks: a request, a connection, a job.
///
/// It is given with the pool: [`Local::add_for`](super::Local::add_for),
/// [`View::watch_for`](super::View::watch_for). The layer and the listener do so by themselves.
///
/// ```
/// use cenote_web::view::{Purpose, Who};
/// struct Import { number: u32 }
/// impl Purpose for Import {
///     fn who(&self) -> Who {
///         Who::of(format!("import {}", self.number))
///     }
/// }
/// ```
pub trait Purpose {
    /// Whose it is now. Called as the view looks, for a hundred of the fattest and a hundred of the oldest
    /// pools at most: on the thread that owns the pool, or on the view's own. It should neither wait nor panic.
    fn who(&self) -> Who;

    /// Whose this one is, where one of these was given with several pools of a [`Local`](super::Local): for
    /// connections, whose requests come and go. Provided, as [`who`](Purpose::who).
    fn who_of(&self, noted: Noted) -> Who {
        let _ = noted;
        self.who()
    }
}

/// Whose a pool is; what is not known is `None`.
///
/// ```
/// use cenote_web::view::Who;
/// use http::{Method, StatusCode};
/// let who = Who::asking(&Method::GET, &"/notes/27?key=secret".parse()?)
///     .with_status(StatusCode::OK)
///     .with_peer(([10, 0, 0, 7], 41_000).into());
/// assert_eq!(who.request.as_deref(), Some("GET /notes/N"));
/// # Ok::<(), http::uri::InvalidUri>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Who {
    /// What it is for, such as `GET /notes/N`. At most 100 bytes of it are shown.
    pub request: Option<String>,
    /// What it was answered with, once it was.
    pub status: Option<u16>,
    /// The client's address. Shown unless [`ViewBuilder::hide_peers`](super::ViewBuilder::hide_peers) says otherwise.
    pub peer: Option<SocketAddr>,
}

impl Who {
    /// Of what is no HTTP request: a job, a call, a session.
    #[must_use]
    pub fn of(what: impl Into<String>) -> Self {
        Self { request: Some(what.into()), ..Self::default() }
    }

    /// Of a request, by its method and the shape of its path, which is few texts where paths are many:
    ///
    /// - What a query has is left out.
    /// - Of letters, digits and dashes that belong together, those that look like an identifier are
    ///   `{id}`: 16 bytes and more of hex digits and dashes, or 20 of letters and digits, with a
    ///   digit among them. In others each run of digits is `N`.
    /// - What is percent-encoded stays so. What controls a terminal, or cannot be seen, is escaped.
    /// - It ends with `...` where it would take more than 100 bytes with its method.
    ///
    /// A method that HTTP does not know is `(other)`. Shapes are no secrets kept: a name in a path is shown.
    #[must_use]
    pub fn asking(method: &Method, uri: &Uri) -> Self {
        Self::asking_path(method, uri.path())
    }

    pub(crate) fn asking_path(method: &Method, path: &str) -> Self {
        Self::of(shape(crate::naming::known_and_space(method), path))
    }

    /// Of a request, by its method and the route that a router chose for it, such as `/notes/{id}`.
    #[must_use]
    pub fn routed(method: &Method, route: &str) -> Self {
        Self::of(format!("{}{route}", crate::naming::known_and_space(method)))
    }

    /// With what it was answered with.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status.as_u16());
        self
    }

    /// With its client's address.
    #[must_use]
    pub fn with_peer(mut self, peer: SocketAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// As it may be shown: bounded, and nothing in it that controls.
    pub(super) fn shown(self, hide_peers: bool) -> (Option<String>, Option<u16>, Option<String>) {
        let plain = |text: String| {
            let harmless = |c: char| c == ' ' || c.is_ascii_graphic();
            if text.len() <= LONGEST && text.chars().all(harmless) {
                return text;
            }
            let mut shown = Short::new("");
            let _ = text.chars().all(|c| shown.escape(c));
            shown.done()
        };
        // An IPv4 address by which a listener for both kinds knows its client is shown as one.
        let address = |peer: SocketAddr| SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let peer = self.peer.filter(|_| !hide_peers).map(|peer| address(peer).to_string());
        (self.request.map(plain), self.status, peer)
    }
}

/// A method, and the shape of a path; see [`Who::asking`].
fn shape(method: &str, path: &str) -> String {
    let mut shown = Short::new(method);
    let mut rest = path;
    while !rest.is_empty() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let encoded = matches!(rest.as_bytes(), [b'%', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
        let length = if encoded { 3 } else { rest.find(|c| !word(c)).unwrap_or(rest.len()) };
        let fits = if encoded {
            shown.push(&rest[..3])
        } else if is_id(&rest[..length]) {
            shown.push("{id}")
        } else if length > 0 {
            digits(&mut shown, &rest[..length])
        } else {
            rest.chars().next().is_none_or(|c| shown.escape(c))
        };
        if !fits {
            break;
        }
        let next = if length > 0 { length } else { rest.chars().next().map_or(0, char::len_utf8) };
        rest = &rest[next..];
    }
    shown.done()
}

fn is_id(word: &str) -> bool {
    let bytes = word.as_bytes();
    let all = |of: fn(&u8) -> bool| bytes.iter().all(of);
    let long = bytes.len() >= HEX && all(|b| b.is_ascii_hexdigit() || *b == b'-')
        || bytes.len() >= MIXED && all(u8::is_ascii_alphanumeric);
    long && bytes.iter().any(u8::is_ascii_digit)
}

/// A word with each run of digits as `N`; whether it fitted.
fn digits(shown: &mut Short, word: &str) -> bool {
    let mut in_run = false;
    word.chars().all(|c| {
        let (before, now) = (in_run, c.is_ascii_digit());
        in_run = now;
        match (before, now) {
            (true, true) => true,
            (false, true) => shown.push("N"),
            _ => shown.push(c.encode_utf8(&mut [0; 4])),
        }
    })
}

/// A text of at most [`LONGEST`] bytes, which says so where something is missing.
struct Short {
    text: String,
    /// Up to where there is still room to say that something is missing.
    whole: usize,
    cut: bool,
}

impl Short {
    const CUT: &'static str = "...";

    fn new(begin: &str) -> Self {
        Self { text: begin.to_owned(), whole: begin.len(), cut: false }
    }

    fn push(&mut self, piece: &str) -> bool {
        if self.text.len() + piece.len() > LONGEST {
            self.cut = true;
            return false;
        }
        self.text.push_str(piece);
        if self.text.len() + Self::CUT.len() <= LONGEST {
            self.whole = self.text.len();
        }
        true
    }

    /// A character as it is, if it can be seen. A backslash is left alone, so that escaping again changes nothing.
    fn escape(&mut self, c: char) -> bool {
        if matches!(c, '\'' | '"' | '\\') {
            return self.push(c.encode_utf8(&mut [0; 4]));
        }
        let mut escaped = String::new();
        let _ = write!(escaped, "{}", c.escape_debug());
        self.push(&escaped)
    }

    fn done(mut self) -> String {
        if self.cut {
            self.text.truncate(self.whole);
            self.text.push_str(Self::CUT);
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> String {
        Who::asking_path(&Method::GET, path).request.expect("a request")
    }

    #[test]
    fn paths_of_one_shape_are_one_text() {
        for (path, wanted) in [
            ("/", "GET /"),
            ("/notes", "GET /notes"),
            ("/notes/27", "GET /notes/N"),
            ("/v2/report-2024-01/part7.csv", "GET /vN/report-N-N/partN.csv"),
            ("/a/3f2504e0-4f89-41d3-9a0c-0305e82c3301/b", "GET /a/{id}/b"),
            ("/img/d41d8cd98f00b204e9800998ecf8427e.png", "GET /img/{id}.png"),
            ("/reset/dGhlIHNhbXBsZSBub25jZQ", "GET /reset/{id}"),
            ("/reset/dGhlIHNhbXBsZSBub252", "GET /reset/{id}"),
            ("/reset/dGhlIHNhbXBsZSB2", "GET /reset/dGhlIHNhbXBsZSBN"),
            // Words, though of hex digits; and digits, though few.
            ("/facade-decade-added", "GET /facade-decade-added"),
            ("/0123456789", "GET /N"),
            ("/01234567890123456", "GET /{id}"),
            ("/a%20b%3C1%3e", "GET /a%20b%3CN%3e"),
            ("/100%", "GET /N%"),
            ("/%4", "GET /%N"),
        ] {
            assert_eq!(of(path), wanted, "{path}");
        }
    }

    #[test]
    fn methods_that_clients_make_up_are_one() {
        let made_up = Method::from_bytes(b"BREW").expect("a token");
        let who = Who::asking_path(&made_up, "/pot");
        assert_eq!(who.request.as_deref(), Some("(other) /pot"));
        assert_eq!(Who::routed(&Method::PUT, "/{*rest}").request.as_deref(), Some("PUT /{*rest}"));
    }

    #[test]
    fn no_query_is_shown() {
        let uri = "http://host:1/a/b?token=secret#x".parse().expect("an address");
        assert_eq!(Who::asking(&Method::GET, &uri).request.as_deref(), Some("GET /a/b"));
    }

    #[test]
    fn it_is_short_and_cut_between_characters() {
        for piece in ["a", "ä", "\u{1f680}", "%C3", "1a.", "/", "\u{1b}", "e\u{301}"] {
            for before in 0..8 {
                let path = format!("/{}{}", "x".repeat(before), piece.repeat(20_000));
                let shown = of(&path);
                assert!((90..=LONGEST).contains(&shown.len()), "{shown}");
                assert!(shown.ends_with("..."), "{shown}");
            }
        }
        let whole = format!("/{}", "x".repeat(LONGEST - 5));
        assert_eq!(of(&whole), format!("GET {whole}"));
        assert!(of(&format!("{whole}y")).ends_with("x..."));
    }

    #[test]
    fn nothing_controls_or_hides() {
        let hostile =
            "/\u{1b}[2J\r\n\0\u{7f}\u{85}\u{202e}\u{2066}\u{200b}\u{feff}\u{ad}\\<img src=x>'\"";
        let shown = of(hostile);
        let plain = |text: &str| text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
        assert!(plain(&shown), "{shown:?}");
        assert!(shown.starts_with("GET /\\u{1b}[NJ\\r\\n\\0\\u{7f}\\u{85}\\u{202e}"), "{shown}");
        assert!(of("/\\<img src=x>'\"").ends_with("/\\<img src=x>'\""));
        assert_eq!(of("/grün/終わり"), "GET /grün/終わり");
        // What a service says by itself, too; and an escape is not cut.
        let (request, ..) = Who::of(hostile.repeat(9)).shown(false);
        let request = request.expect("a request");
        assert!(
            plain(&request) && request.len() <= LONGEST && request.ends_with("..."),
            "{request}"
        );
        // Once more is not twice.
        let (again, ..) = Who::of("GET /grün/終わり").shown(false);
        assert_eq!(again.as_deref(), Some("GET /grün/終わり"));
        let (again, ..) = Who::of(of("/\u{1b}ü")).shown(false);
        assert_eq!(again.as_deref(), Some("GET /\\u{1b}ü"));
    }

    #[test]
    fn addresses_are_plain_or_hidden() {
        let who = Who::default().with_peer("[::ffff:10.0.0.7]:80".parse().expect("an address"));
        assert_eq!(who.clone().shown(false).2.as_deref(), Some("10.0.0.7:80"));
        assert_eq!(who.shown(true).2, None);
    }
}
