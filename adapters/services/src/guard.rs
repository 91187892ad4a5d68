//! Where webhooks may be sent to: public addresses, and networks that the operator names.
//!
//! A client that registers an endpoint has this engine send requests for it. Without a guard it could
//! reach what only the engine reaches: databases, admin pages, the cloud's metadata.
//!
//! Start at `Guard::allows`. The check is made three times:
//!
//! - at registration ([`Guard::check`]), so that a mistake is told at once;
//! - on the addresses that a name resolves to when a connection is made (`GuardedResolver`): a name may
//!   resolve to something else each time, and what is checked there is what is connected to;
//! - on addresses in the URL itself, which no resolver sees.
//!
//! **Invariant:** without TLS only named networks are reached; by any way only public addresses beside them.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use commands::webhooks::ports::{UrlGuard, UrlRefused};
use hyper::Uri;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use ipnet::IpNet;
use tower::Service;

/// Whether a connection is made with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        match uri.scheme_str() {
            Some("http") => Some(Self::Http),
            Some("https") => Some(Self::Https),
            _ => None,
        }
    }
}

/// Decides where webhooks may be sent to.
#[derive(Debug, Clone)]
pub struct Guard {
    allowed: Arc<[IpNet]>,
}

/// What was to be a network and is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network such as 10.1.0.0/16 or fd00::/8")]
pub struct NotANetwork(pub String);

impl Guard {
    /// Public addresses, and these networks.
    ///
    /// # Errors
    /// [`NotANetwork`] names the first that is none.
    pub fn allowing<Text: AsRef<str>>(networks: &[Text]) -> Result<Self, NotANetwork> {
        let network = |text: &Text| text.as_ref().parse().map_err(|_| NotANetwork(text.as_ref().to_owned()));
        let allowed: Result<Vec<IpNet>, _> = networks.iter().map(network).collect();
        Ok(Self { allowed: allowed?.into() })
    }

    /// Whether an address may be connected to.
    pub(crate) fn allows(&self, address: IpAddr, scheme: Scheme) -> bool {
        let canonical = address.to_canonical();
        let is_named =
            self.allowed.iter().any(|network| network.contains(&address) || network.contains(&canonical));
        is_named || (scheme == Scheme::Https && is_public(canonical))
    }
}

/// The address that a URI has for a host, where it has one.
pub(crate) fn literal(uri: &Uri) -> Option<IpAddr> {
    uri.host()?.trim_matches(['[', ']']).parse().ok()
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// What IANA's registry of special-purpose addresses does not have.
fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        // this network, private, loopback
        [0 | 10 | 127, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            // carrier-grade NAT, link-local
            | [100, 64..=127, ..]
            | [169, 254, ..]
            // protocol assignments, documentation, 6to4 relays, benchmarks
            | [192, 0, 0 | 2, _]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
            | [192, 88, 99, _]
            | [198, 18 | 19, ..]
            // multicast, reserved, broadcast
            | [224..=255, ..]
    )
}

/// Global unicast, without what is set aside in it; what carries an IPv4 address is as public as that.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let carried = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // NAT64, 6to4
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => carried(high, low),
        // Teredo and all else that IETF protocols were given, documentation
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

/// No address of a name may be connected to.
#[derive(Debug, thiserror::Error)]
#[error("the address is not allowed")]
pub(crate) struct NotAllowed;

/// A name has no address.
#[derive(Debug, thiserror::Error)]
#[error("the host cannot be resolved")]
pub(crate) struct NotResolved;

/// Resolves names and keeps only what may be connected to.
#[derive(Debug, Clone)]
pub(crate) struct GuardedResolver {
    pub(crate) guard: Guard,
    pub(crate) scheme: Scheme,
    pub(crate) system: GaiResolver,
}

type Resolved = Result<std::vec::IntoIter<SocketAddr>, Box<dyn Error + Send + Sync>>;

impl Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Resolved> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.system.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (resolving, guard, scheme) = (self.system.call(name), self.guard.clone(), self.scheme);
        Box::pin(async move {
            let resolved = resolving.await.map_err(|_| NotResolved)?;
            let allowed: Vec<_> = resolved.filter(|found| guard.allows(found.ip(), scheme)).collect();
            if allowed.is_empty() { Err(NotAllowed.into()) } else { Ok(allowed.into_iter()) }
        })
    }
}

#[async_trait]
impl UrlGuard for Guard {
    /// What an address is told of is not shown: which names resolve inside is nobody's business outside.
    async fn check(&self, url: &str) -> Result<(), UrlRefused> {
        let refused = |reason: &str| Err(UrlRefused(reason.to_owned()));
        let Ok(uri) = url.parse::<Uri>() else { return refused("must be a URL") };
        let (Some(scheme), Some(host)) = (Scheme::of(&uri), uri.host().filter(|host| !host.is_empty()))
        else {
            return refused("must begin with https:// and have a host");
        };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return refused("must not have a user name or a password in it");
        }
        if url.contains('#') {
            return refused("must not have a fragment");
        }
        let addresses = match literal(&uri) {
            Some(address) => vec![address],
            None => match tokio::net::lookup_host((host, 443)).await {
                Ok(found) => found.map(|found| found.ip()).collect(),
                Err(_) => vec![],
            },
        };
        if addresses.is_empty() {
            return refused("has a host that cannot be resolved");
        }
        if addresses.iter().all(|address| self.allows(*address, scheme)) {
            return Ok(());
        }
        refused(match scheme {
            Scheme::Http => {
                "must begin with https://; http:// is only for the networks that the operator has named in \
                 `webhooks.allowed_networks`"
            }
            Scheme::Https => {
                "has a host whose address is not public; the operator can name its network in \
                 `webhooks.allowed_networks`"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &str) -> impl Iterator<Item = (IpAddr, &str)> {
        texts.split_whitespace().map(|text| (text.parse().unwrap(), text))
    }

    #[test]
    fn what_is_not_public_is_refused_in_every_form() {
        let guard = Guard::allowing::<&str>(&[]).unwrap();
        let inside = "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.9.9.9 \
                      169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 \
                      192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 \
                      239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::7f00:1 ::ffff:127.0.0.1 \
                      ::ffff:10.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:7f00:1:: \
                      2002:a00:1::1 2001::1 2001:db8::1 2001:2::1 3fff::1 100::1 fc00::1 fd12:3456::1 \
                      fe80::1 fec0::1 ff02::1 5f00::1";
        for (address, text) in addresses(inside) {
            assert!(!guard.allows(address, Scheme::Https), "{text}");
        }
        let public = "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.0.1.1 \
                      192.167.1.1 198.17.0.1 198.20.0.1 223.255.255.255 2606:4700::1111 2a00:1450::1 \
                      ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::1 2001:4860:4860::8888";
        for (address, text) in addresses(public) {
            assert!(guard.allows(address, Scheme::Https), "{text}");
            assert!(!guard.allows(address, Scheme::Http), "without TLS: {text}");
        }
    }

    #[test]
    fn networks_that_are_named_are_reached_even_without_tls() {
        let guard = Guard::allowing(&["127.0.0.0/8", "fd00::/8"]).unwrap();
        for (address, text) in addresses("127.0.0.1 ::ffff:127.0.0.1 fd12::1") {
            assert!(guard.allows(address, Scheme::Http) && guard.allows(address, Scheme::Https), "{text}");
        }
        for (address, text) in addresses("10.0.0.1 ::1 169.254.169.254") {
            assert!(!guard.allows(address, Scheme::Https), "{text}");
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        let wrong = ["10.0.0.0/8", "10.0.0.0/33"];
        assert_eq!(Guard::allowing(&wrong).unwrap_err(), NotANetwork("10.0.0.0/33".to_owned()));
    }

    #[tokio::test]
    async fn a_url_is_refused_with_what_to_change() {
        let guard = Guard::allowing::<&str>(&[]).unwrap();
        for (url, said) in [
            ("", "must be a URL"),
            ("example.com/hook", "must be a URL"),
            ("/hook", "must begin with https://"),
            ("ftp://example.com/", "must begin with https://"),
            ("https://user:pw@8.8.8.8/", "must not have a user name"),
            ("https://8.8.8.8/#part", "must not have a fragment"),
            ("https://no-such-host.invalid/", "cannot be resolved"),
            ("http://8.8.8.8/", "http:// is only for the networks"),
            (
                "https://127.0.0.1/",
                "not public; the operator can name its network in `webhooks.allowed_networks`",
            ),
            ("https://[::1]:8443/", "not public"),
            ("https://[::ffff:10.0.0.1]/", "not public"),
            ("https://localhost/", "not public"),
            ("https://2130706433/", "not public"),
            ("https://0x7f.1/", "not public"),
        ] {
            let refused = guard.check(url).await.unwrap_err();
            assert!(refused.0.contains(said), "{url}: {refused}");
        }
        assert_eq!(guard.check("https://8.8.8.8:8443/hook?a=b").await, Ok(()));
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_inside_has_no_address() {
        let resolver = |networks: &[&str], scheme| GuardedResolver {
            guard: Guard::allowing(networks).unwrap(),
            scheme,
            system: GaiResolver::new(),
        };
        let name = || "localhost".parse::<Name>().unwrap();
        let refused = resolver(&[], Scheme::Https).call(name()).await.unwrap_err();
        assert!(refused.is::<NotAllowed>(), "{refused}");
        let found: Vec<_> = resolver(&["127.0.0.0/8"], Scheme::Http).call(name()).await.unwrap().collect();
        assert!(
            !found.is_empty() && found.iter().all(|found| found.ip() == Ipv4Addr::LOCALHOST),
            "{found:?}"
        );
    }
}
