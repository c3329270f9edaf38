//! Who may see the view: by method, by the client's address, and by the host it asked for.

use std::net::{IpAddr, Ipv6Addr};

use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode, Uri, header};

/// Which clients may see the view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Those on this machine, by their address; a client whose address is not known is none.
    #[default]
    Loopback,
    /// Anyone. For a service whose address others cannot reach, or behind a check of its own.
    Anyone,
}

/// The rules of one view.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    pub(super) access: Access,
    /// In lower case.
    pub(super) hosts: Vec<String>,
}

/// A request that is not answered: why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

impl Policy {
    pub(super) fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        let refuse = |status, why| Err(Refusal { status, why });
        if method != Method::GET && method != Method::HEAD {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered");
        }
        if self.access == Access::Loopback {
            let why = match peer {
                Some(peer) if peer.to_canonical().is_loopback() => None,
                Some(_) => Some("shown to clients of this machine only"),
                None => Some(
                    "shown to clients of this machine only, and the service does not tell the \
                     view where this one is",
                ),
            };
            if let Some(why) = why {
                return refuse(StatusCode::FORBIDDEN, why);
            }
        }
        if !self.host_is_ours(uri, headers) {
            return refuse(
                StatusCode::FORBIDDEN,
                "asked for by a name that this service does not go by",
            );
        }
        Ok(())
    }

    /// Whether the request names a host that cannot be somebody else's: a page of another site
    /// can make its own name lead here (DNS rebinding), but must then send that name.
    fn host_is_ours(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(header::HOST).iter();
        let host = match (given.next(), given.next()) {
            (Some(host), None) => host.to_str().ok().and_then(|host| host.parse().ok()),
            // HTTP/2 has it in the address.
            (None, _) => uri.authority().cloned(),
            (Some(_), Some(_)) => None,
        };
        let Some(host) = host.as_ref().map(Authority::host) else { return false };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map_or_else(
            || host.parse().ok(),
            |host| host.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        );
        match address {
            // A client on this machine has no other way than these; from elsewhere any address
            // may be ours, and none is a name.
            Some(address) => self.access == Access::Anyone || address.to_canonical().is_loopback(),
            None => host == "localhost" || self.hosts.contains(&host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(policy: &Policy, method: &str, host: &str, peer: Option<[u8; 4]>) -> u16 {
        let mut headers = HeaderMap::new();
        for host in host.split_terminator('|') {
            headers.append(header::HOST, HeaderValue::from_str(host).expect("a header"));
        }
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let peer = peer.map(IpAddr::from);
        match policy.check(&method, &Uri::from_static("/pools"), &headers, peer) {
            Ok(()) => 200,
            Err(refusal) => refusal.status.as_u16(),
        }
    }

    #[test]
    fn only_this_machine_under_its_own_names_may_look() {
        let policy = Policy { hosts: vec!["pools.example".to_owned()], ..Policy::default() };
        let here = Some([127, 0, 0, 1]);
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
            "pools.example:8080",
            "Pools.Example",
        ] {
            assert_eq!(check(&policy, "GET", host, here), 200, "{host}");
            assert_eq!(check(&policy, "HEAD", host, here), 200, "{host}");
            assert_eq!(check(&policy, "POST", host, here), 405, "{host}");
            assert_eq!(check(&policy, "GET", host, Some([192, 0, 2, 1])), 403, "{host}");
            assert_eq!(check(&policy, "GET", host, None), 403, "{host}");
        }
        for host in [
            "",
            "attacker.example",
            "localhost.attacker.example",
            "127.0.0.1.attacker.example",
            "192.0.2.1",
            "0.0.0.0:8080",
            "[::2]",
            "localhost|localhost",
            "user@attacker.example",
            "\u{e9}",
        ] {
            assert_eq!(check(&policy, "GET", host, here), 403, "{host}");
        }
    }

    #[test]
    fn anyone_may_look_where_that_is_asked_for_but_not_under_any_name() {
        let policy = Policy { access: Access::Anyone, hosts: vec!["pools.example".to_owned()] };
        let far = Some([192, 0, 2, 1]);
        assert_eq!(check(&policy, "GET", "192.0.2.9:8080", far), 200);
        assert_eq!(check(&policy, "GET", "pools.example", None), 200);
        assert_eq!(check(&policy, "GET", "attacker.example", far), 403);
        assert_eq!(check(&policy, "DELETE", "192.0.2.9", far), 405);
    }
}
