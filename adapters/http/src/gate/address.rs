//! Where a request comes from: the other end of its connection, or what a proxy of ours says of it.

use std::net::{IpAddr, SocketAddr};

use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;

/// The other end of a connection. The server puts it into each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Proxies are believed only where they are ours: from the last one backwards, up to the first address that
/// is not. What is before that, the client may have made up.
pub(super) fn of(headers: &HeaderMap, extensions: &Extensions, trusted: &[IpNet]) -> Option<IpAddr> {
    let Peer(peer) = extensions.get()?;
    let is_ours = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut address = peer.ip().to_canonical();
    if !is_ours(&address) {
        return Some(address);
    }
    for value in headers.get_all("x-forwarded-for").iter().rev() {
        for text in value.to_str().unwrap_or_default().rsplit(',') {
            let Ok(before) = text.trim().parse::<IpAddr>() else { return Some(address) };
            address = before.to_canonical();
            if !is_ours(&address) {
                return Some(address);
            }
        }
    }
    Some(address)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn found(peer: &str, forwarded: &[&'static str]) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(Peer(SocketAddr::new(peer.parse().unwrap(), 1)));
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        of(&headers, &extensions, &trusted).unwrap().to_string()
    }

    #[test]
    fn a_client_cannot_choose_its_address() {
        assert_eq!(found("192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(found("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(found("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(found("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(found("10.0.0.1", &["1.2.3.4, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(found("10.0.0.1", &["1.2.3.4", "198.51.100.1,10.0.0.2"]), "198.51.100.1");
        assert_eq!(found("::ffff:10.0.0.1", &["1.2.3.4, unknown"]), "10.0.0.1");
    }
}
