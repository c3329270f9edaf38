//! What hyper lets pass of a request's head though it should not: whom it is for, and how its body
//! is framed (RFC 9112, sections 3.2 and 6.1).

use std::net::Ipv6Addr;

use hyper::header::{self, HeaderMap};
use hyper::{StatusCode, Version};

use super::errors::Fault;

/// Refuses a request whose host is missing, ambiguous or none, or whose body nobody can be sure
/// about.
pub(crate) fn check(version: Version, headers: &HeaderMap) -> Result<(), Fault> {
    let bad = |why| Err(Fault::new(StatusCode::BAD_REQUEST, why));
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return bad("a request must name its host once"),
        (Some(host), None) if !is_host(host.as_bytes()) => {
            return bad("the request's host is not a host");
        }
        (None, _) if version == Version::HTTP_11 => {
            return bad("a request must name its host");
        }
        _ => {}
    }
    let (mut chunked, mut others) = (0, false);
    for value in headers.get_all(header::TRANSFER_ENCODING) {
        for coding in value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if coding.eq_ignore_ascii_case(b"chunked") {
                chunked += 1;
            } else {
                others |= !coding.is_empty();
            }
        }
    }
    if others {
        let why = "the body is in a transfer coding other than `chunked`";
        return Err(Fault::new(StatusCode::NOT_IMPLEMENTED, why));
    }
    if chunked > 1 {
        return bad("the body is said to be chunked twice");
    }
    Ok(())
}

/// Whether it is `uri-host [\":\" port]` (RFC 3986, section 3.2), and not empty.
fn is_host(host: &[u8]) -> bool {
    let (valid, port) = match host {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
            let address = str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse().ok());
            (address.is_some_and(|_: Ipv6Addr| true), &rest[end + 1..])
        }
        _ => {
            let end = host.iter().position(|&byte| byte == b':').unwrap_or(host.len());
            (is_name(&host[..end]), &host[end..])
        }
    };
    let port = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    valid && port
}

fn is_name(mut name: &[u8]) -> bool {
    if name.is_empty() {
        return false;
    }
    while let [byte, rest @ ..] = name {
        name = match (byte, rest) {
            (b'%', [high, low, rest @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                rest
            }
            _ if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses_with_or_without_a_port() {
        for host in
            ["a", "localhost:8080", "a.b-c_d.", "127.0.0.1:", "[::1]", "[::1]:80", "a%20b", "x:"]
        {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "", ":80", "a b", "a/b", "a:b", "a:1:2", "[::1", "[::g]", "[::1]x", "user@a", "a%2",
            "a\"b", "a?b", "a#b", "a\\b", "\u{e9}", "[a]", "::1",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
