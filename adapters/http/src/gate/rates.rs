//! How much each caller, and each address, may ask for.
//!
//! A token bucket each (GCRA): so many at once, and so many a second over time. Told by the headers
//! `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10.
//!
//! **Invariant:** so many buckets are remembered. One that gives way is one that was not asked for lately.

use std::convert::Infallible;
use std::fmt::Write;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use governor::clock::{Clock, MonotonicClock};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use quick_cache::sync::Cache;

use crate::problem::Problem;

/// Most buckets of callers, and of addresses.
const REMEMBERED: usize = 100_000;

/// A bound on requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Over time.
    pub per_second: NonZeroU32,
    /// At once, after a rest.
    pub burst: NonZeroU32,
}

/// The bounds of an API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// On the requests of one caller; `None` where there is none.
    pub per_caller: Option<Rate>,
    /// On the requests from one address.
    pub per_address: Option<Rate>,
}

/// The buckets of an API.
pub(crate) struct Rates {
    callers: Option<Buckets<Arc<str>>>,
    addresses: Option<Buckets<IpAddr>>,
    policy: Option<HeaderValue>,
}

/// Where a request stands, by each bound.
#[derive(Default)]
pub(crate) struct Standings {
    text: String,
}

impl Rates {
    pub(crate) fn new(limits: RateLimits) -> Self {
        let policies = [("caller", limits.per_caller), ("address", limits.per_address)];
        let policies = policies.into_iter().filter_map(|(name, rate)| Some(policy(name, rate?)));
        let policy = policies.collect::<Vec<_>>().join(", ");
        Self {
            callers: limits.per_caller.map(Buckets::new),
            addresses: limits.per_address.map(Buckets::new),
            policy: HeaderValue::try_from(policy).ok().filter(|policy| !policy.is_empty()),
        }
    }

    /// Takes from an address's bucket.
    pub(crate) fn take_for_address(&self, address: IpAddr, standings: &mut Standings) -> Result<(), Problem> {
        match &self.addresses {
            Some(buckets) => buckets.take(&network_of(address), "address", standings),
            None => Ok(()),
        }
    }

    /// Takes from a caller's bucket.
    pub(crate) fn take_for_caller(
        &self,
        caller: &Arc<str>,
        standings: &mut Standings,
    ) -> Result<(), Problem> {
        match &self.callers {
            Some(buckets) => buckets.take(caller, "caller", standings),
            None => Ok(()),
        }
    }

    /// Says in an answer what the bounds are and where its request stands.
    pub(crate) fn tell(&self, standings: Standings, headers: &mut HeaderMap) {
        let Some(policy) = &self.policy else { return };
        headers.insert("ratelimit-policy", policy.clone());
        if let Ok(value) = HeaderValue::try_from(standings.text)
            && !value.is_empty()
        {
            headers.insert("ratelimit", value);
        }
    }
}

/// So many of a window: the whole burst comes back within it.
fn policy(name: &str, rate: Rate) -> String {
    format!("\"{name}\";q={};w={}", rate.burst, rate.burst.get().div_ceil(rate.per_second.get()))
}

/// One customer of a provider has many addresses of the sixth version: a /64 is the least that it gets.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// A bucket for each key.
struct Buckets<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, Remembered<K>, MonotonicClock, StateInformationMiddleware>,
    rate: Rate,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(rate: Rate) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        let state = Remembered(Cache::new(REMEMBERED));
        Self { limiter: RateLimiter::new(quota, state, MonotonicClock), rate }
    }

    fn take(&self, key: &K, name: &str, standings: &mut Standings) -> Result<(), Problem> {
        match self.limiter.check_key(key) {
            Ok(state) => {
                let left = state.remaining_burst_capacity();
                let back = self.rate.burst.get().saturating_sub(left).div_ceil(self.rate.per_second.get());
                standings.add(name, left, u64::from(back));
                Ok(())
            }
            Err(until) => {
                let wait = until.wait_time_from(self.limiter.clock().now());
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                let seconds = seconds.max(1);
                standings.add(name, 0, seconds);
                Err(limited(name, seconds))
            }
        }
    }
}

impl Standings {
    fn add(&mut self, name: &str, left: u32, seconds: u64) {
        let separator = if self.text.is_empty() { "" } else { ", " };
        // Writing to a text does not fail.
        let _ = write!(self.text, "{separator}\"{name}\";r={left};t={seconds}");
    }
}

fn limited(name: &str, seconds: u64) -> Problem {
    let detail =
        format!("Too many requests of this {name}; nothing was changed. The headers tell how many may come.");
    let seconds = u16::try_from(seconds).unwrap_or(u16::MAX);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(seconds)
}

/// The state of buckets, as many as are remembered.
struct Remembered<K>(Cache<K, Arc<InMemoryState>>);

impl<K: Hash + Eq + Clone> StateStore for Remembered<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let state = self.0.get_or_insert_with(key, || Ok::<_, Infallible>(Arc::default()));
        match state {
            Ok(state) => state.measure_and_replace(&NotKeyed::NonKey, f),
            Err(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst: u32) -> Option<Rate> {
        let [per_second, burst] = [per_second, burst].map(|number| NonZeroU32::new(number).unwrap());
        Some(Rate { per_second, burst })
    }

    #[test]
    fn a_caller_gets_its_burst_and_no_more_and_another_its_own() {
        let rates = Rates::new(RateLimits { per_caller: rate(1, 3), per_address: None });
        let (one, other) = (Arc::from("one"), Arc::from("other"));
        let mut told = vec![];
        for _ in 0..3 {
            let mut standings = Standings::default();
            rates.take_for_caller(&one, &mut standings).unwrap();
            told.push(standings.text);
        }
        assert_eq!(told, ["\"caller\";r=2;t=1", "\"caller\";r=1;t=2", "\"caller\";r=0;t=3"]);
        let mut standings = Standings::default();
        let refused = rates.take_for_caller(&one, &mut standings).unwrap_err();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(standings.text, "\"caller\";r=0;t=1");
        rates.take_for_caller(&other, &mut Standings::default()).unwrap();
    }

    #[test]
    fn the_policy_names_each_bound_and_its_window() {
        let rates = Rates::new(RateLimits { per_caller: rate(100, 250), per_address: rate(10, 5) });
        let mut headers = HeaderMap::new();
        rates.tell(Standings::default(), &mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"caller\";q=250;w=3, \"address\";q=5;w=1");
        let mut headers = HeaderMap::new();
        Rates::new(RateLimits::default()).tell(Standings::default(), &mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn one_customers_addresses_share_a_bucket() {
        let of = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn the_buckets_are_bounded() {
        let buckets = Buckets::new(rate(1, 1).unwrap());
        for number in 0..u32::try_from(REMEMBERED).unwrap() * 2 {
            buckets.take(&IpAddr::V4(number.into()), "address", &mut Standings::default()).unwrap();
        }
        assert!(buckets.limiter.into_state_store().0.len() <= REMEMBERED);
    }
}
