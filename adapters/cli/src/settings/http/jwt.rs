//! Tokens in place of keys.

use std::path::PathBuf;
use std::time::Duration;

use adapter_http::{JwtAlgorithm, JwtSettings};
use serde::{Deserialize, Serialize};

use super::HttpError;
use crate::settings::wrong::Wrong;

/// Tokens in place of keys; none where there is neither URL nor file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Jwt {
    pub(crate) jwks_url: Option<String>,
    pub(crate) jwks_file: Option<PathBuf>,
    pub(crate) issuer: String,
    pub(crate) audience: String,
    /// `RS256`, `ES256`, `EdDSA`.
    pub(crate) algorithms: Vec<String>,
    pub(crate) refresh_ms: u64,
    /// For a key that is not known the set is read again, at most so often.
    pub(crate) refresh_at_most_every_ms: u64,
    pub(crate) leeway_ms: u64,
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            jwks_url: None,
            jwks_file: None,
            issuer: String::new(),
            audience: String::new(),
            algorithms: ["RS256", "ES256", "EdDSA"].map(str::to_owned).into(),
            refresh_ms: 300_000,
            refresh_at_most_every_ms: 10_000,
            leeway_ms: 30_000,
        }
    }
}

impl Jwt {
    pub(super) fn check(&self, wrong: &mut Wrong) {
        let hour = 3_600_000;
        wrong.unless_in("http.jwt.refresh_ms", self.refresh_ms, 100..=24 * hour);
        wrong.unless_in("http.jwt.refresh_at_most_every_ms", self.refresh_at_most_every_ms, 100..=hour);
        wrong.unless_in("http.jwt.leeway_ms", self.leeway_ms, 0..=600_000);
        let is_url = |url: &String| url.starts_with("https://") || url.starts_with("http://");
        let is_name = |file: &PathBuf| !file.as_os_str().is_empty();
        let names_keys =
            self.jwks_url.as_ref().is_some_and(is_url) || self.jwks_file.as_ref().is_some_and(is_name);
        if self.jwks_url.as_ref().is_some_and(|url| !is_url(url)) {
            wrong.add("http.jwt.jwks_url", "must be an http or https URL");
        }
        if self.jwks_file.as_ref().is_some_and(|file| !is_name(file)) {
            wrong.add("http.jwt.jwks_file", "must name a file");
        }
        if self.algorithms().is_err() {
            wrong.add("http.jwt.algorithms", "must be of RS256, ES256 and EdDSA");
        }
        let names = [("http.jwt.issuer", &self.issuer), ("http.jwt.audience", &self.audience)];
        for (name, text) in names {
            if text.contains(char::is_whitespace) {
                wrong.add(name, "must be without blanks");
            } else if !self.has_key_set() && !text.is_empty() {
                let reason = "is given without http.jwt.jwks_url or http.jwt.jwks_file, which have the keys";
                wrong.add(name, reason);
            } else if names_keys && text.is_empty() {
                wrong.add(name, "is needed for tokens");
            }
        }
        if self.jwks_url.as_ref().is_some_and(is_url) && self.jwks_file.is_some() {
            let reason = "is given beside http.jwt.jwks_file: give one of them";
            wrong.add_with("http.jwt.jwks_url", "http.jwt.jwks_file", reason);
        }
    }

    fn has_key_set(&self) -> bool {
        self.jwks_url.is_some() || self.jwks_file.is_some()
    }

    fn algorithms(&self) -> Result<Vec<JwtAlgorithm>, HttpError> {
        let read = |name: &String| match name.as_str() {
            "RS256" => Some(JwtAlgorithm::Rs256),
            "ES256" => Some(JwtAlgorithm::Es256),
            "EdDSA" => Some(JwtAlgorithm::EdDsa),
            _ => None,
        };
        let algorithms: Option<Vec<_>> = self.algorithms.iter().map(read).collect();
        let some = algorithms.filter(|algorithms| !algorithms.is_empty());
        some.ok_or_else(|| HttpError::of("jwt.algorithms", "must be of RS256, ES256 and EdDSA"))
    }

    /// What tokens are checked by; `None` where none are taken.
    pub(super) fn settings(&self) -> Result<Option<JwtSettings>, HttpError> {
        if !self.has_key_set() {
            return Ok(None);
        }
        Ok(Some(JwtSettings {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            algorithms: self.algorithms()?,
            refresh_every: Duration::from_millis(self.refresh_ms),
            refresh_at_most_every: Duration::from_millis(self.refresh_at_most_every_ms),
            leeway: Duration::from_millis(self.leeway_ms),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn said(jwt: &Jwt) -> Vec<String> {
        let sources = BTreeMap::new();
        let mut wrong = Wrong::new(&sources);
        jwt.check(&mut wrong);
        wrong.into_faults().into_iter().map(|fault| format!("{} {}", fault.name, fault.reason)).collect()
    }

    #[test]
    fn tokens_need_all_of_their_settings() {
        let given = Jwt {
            jwks_url: Some("https://issuer.example/keys".to_owned()),
            issuer: "https://issuer.example".to_owned(),
            audience: "payments".to_owned(),
            ..Jwt::default()
        };
        assert_eq!(said(&given), Vec::<String>::new());
        assert!(given.settings().unwrap().is_some() && Jwt::default().settings().unwrap().is_none());
        let said = |change: fn(&mut Jwt)| {
            let mut jwt = given.clone();
            change(&mut jwt);
            said(&jwt).join(", ")
        };
        assert_eq!(said(|jwt| jwt.issuer.clear()), "http.jwt.issuer is needed for tokens");
        assert_eq!(said(|jwt| jwt.audience.clear()), "http.jwt.audience is needed for tokens");
        let both = said(|jwt| jwt.jwks_file = Some(PathBuf::from("keys.json")));
        assert_eq!(both, "http.jwt.jwks_url is given beside http.jwt.jwks_file: give one of them");
        let wrong: [fn(&mut Jwt); 3] = [
            |jwt| jwt.algorithms.clear(),
            |jwt| jwt.algorithms = vec!["none".to_owned()],
            |jwt| jwt.algorithms = vec!["RS256".to_owned(), "HS256".to_owned()],
        ];
        for change in wrong {
            assert_eq!(said(change), "http.jwt.algorithms must be of RS256, ES256 and EdDSA");
        }
    }
}
