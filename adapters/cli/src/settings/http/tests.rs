//! What is said of each setting that is wrong.

use figment::Figment;
use figment::providers::Serialized;

use super::*;

/// What is said of a setting that is wrong.
fn said(change: impl FnOnce(&mut Http)) -> String {
    let mut http = Http::default();
    change(&mut http);
    http.check().unwrap_err().to_string()
}

#[test]
fn each_wrong_setting_is_named_with_its_reason() {
    assert_eq!(said(|http| http.key_cache_ms = 60_001), "key_cache_ms must be 0 to 60000");
    assert_eq!(said(|http| http.request_timeout_ms = 0), "request_timeout_ms must be 1 to 3600000");
    assert_eq!(said(|http| http.header_timeout_ms = 0), "header_timeout_ms must be 1 to 3600000");
    assert_eq!(said(|http| http.idle_timeout_ms = 0), "idle_timeout_ms must be 1 to 3600000");
    assert_eq!(said(|http| http.body_timeout_ms = 0), "body_timeout_ms must be 1 to 3600000");
    assert_eq!(
        said(|http| http.body_timeout_ms = 10_001),
        "body_timeout_ms must not be longer than request_timeout_ms, which it is a part of"
    );
    assert_eq!(said(|http| http.body_limit_bytes = 1), "body_limit_bytes must be 1024 to 16777216");
    assert_eq!(said(|http| http.header_limit_bytes = 1), "header_limit_bytes must be 1024 to 1048576");
    assert_eq!(said(|http| http.uri_limit_bytes = 1), "uri_limit_bytes must be 64 to 65534");
    assert_eq!(said(|http| http.max_headers = 1), "max_headers must be 8 to 10000");
    assert_eq!(said(|http| http.max_connections = 0), "max_connections must be 1 to 1000000");
    assert_eq!(said(|http| http.max_in_flight = 0), "max_in_flight must be 1 to 1000000");
    let name = "10.0.0.0/33".to_owned();
    assert_eq!(
        said(|http| http.trusted_proxies = vec![name]),
        "trusted_proxies: \"10.0.0.0/33\" is not a network such as 10.0.0.0/8"
    );
    for wrong in ["*", "shop.example", "https://", "https://shop.example/", "https://a,b", "https://Shop"] {
        assert_eq!(
            said(|http| http.cors_origins = vec![wrong.to_owned()]),
            format!("cors_origins: {wrong:?} is not an origin such as https://shop.example")
        );
    }
    assert_eq!(
        said(|http| http.rate_limit.per_address_burst = Some(1_000_001)),
        "rate_limit.per_address_burst must be at most 1000000"
    );
    assert_eq!(
        said(|http| http.tls.key_file = Some(PathBuf::from("key.pem"))),
        "tls.certificate_file and tls.key_file: one does not do without the other"
    );
}

#[test]
fn whether_callers_are_asked_is_one_of_two_words() {
    let read = |word: &str| {
        let settings = Figment::from(Serialized::defaults(Http::default()));
        let read = settings.merge(Serialized::default("authentication", word)).extract::<Http>();
        read.map_err(|error| error.to_string())
    };
    assert!(matches!(read("off").unwrap().authentication, Some(Authentication::Off)));
    let said = read("maybe").unwrap_err();
    assert!(said.contains("authentication") && said.contains("`required` or `off`"), "{said}");
}

#[test]
fn tokens_need_all_of_their_settings() {
    let tokens = |http: &mut Http| {
        http.jwt.jwks_url = Some("https://issuer.example/keys".to_owned());
        http.jwt.issuer = "https://issuer.example".to_owned();
        http.jwt.audience = "payments".to_owned();
    };
    let mut http = Http::default();
    tokens(&mut http);
    assert!(http.check().is_ok() && http.jwt.settings().unwrap().is_some());
    let said = |change: fn(&mut Jwt)| {
        said(|http| {
            tokens(http);
            change(&mut http.jwt);
        })
    };
    assert_eq!(said(|jwt| jwt.issuer.clear()), "jwt.issuer is needed for tokens");
    assert_eq!(said(|jwt| jwt.audience.clear()), "jwt.audience is needed for tokens");
    assert_eq!(
        said(|jwt| jwt.jwks_file = Some(PathBuf::from("keys.json"))),
        "jwt.jwks_url and jwt.jwks_file: give one of them, not both"
    );
    for wrong in [vec![], vec!["none".to_owned()], vec!["RS256".to_owned(), "HS256".to_owned()]] {
        let mut http = Http::default();
        tokens(&mut http);
        http.jwt.algorithms.clone_from(&wrong);
        let said = http.check().unwrap_err().to_string();
        assert_eq!(said, format!("jwt.algorithms must be of RS256, ES256 and EdDSA, and is {wrong:?}"));
    }
    assert_eq!(said(|jwt| jwt.refresh_ms = 1), "jwt.refresh_ms must be 100 to 86400000");
    assert_eq!(
        said(|jwt| jwt.refresh_at_most_every_ms = 1),
        "jwt.refresh_at_most_every_ms must be 100 to 3600000"
    );
    assert_eq!(said(|jwt| jwt.leeway_ms = 600_001), "jwt.leeway_ms must be 0 to 600000");
}

#[test]
fn production_is_guarded_and_a_developers_machine_is_not() {
    let mut http = Http::default();
    assert_eq!(http.rate_limit.limits(), RateLimits::default());
    http.for_production();
    assert!(matches!(http.authentication, Some(Authentication::Required)));
    let [per_second, burst] = [5_000, 10_000].map(|number| NonZeroU32::new(number).unwrap());
    let rate = Some(Rate { per_second, burst });
    assert_eq!(http.rate_limit.limits(), RateLimits { per_caller: rate, per_address: rate });
    let mut http = Http { authentication: Some(Authentication::Off), ..Http::default() };
    http.rate_limit.per_caller_per_second = Some(0);
    http.for_production();
    assert!(matches!(http.authentication, Some(Authentication::Off)));
    assert_eq!(http.rate_limit.limits().per_caller, None);
}
