//! An issuer of tokens: keys of each kind, a server with the public ones, and tokens as they should and should not be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A key that was made for these tests; *ring* makes none of this kind.
const RSA_KEY: &str = include_str!("rsa_test_key.b64");

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "payments";

/// A key that signs tokens.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    EllipticCurve(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl SigningKey {
    pub(crate) fn rsa(kid: &str) -> Self {
        let der = STANDARD.decode(RSA_KEY.split_whitespace().collect::<String>()).unwrap();
        let pair = Pair::Rsa(Box::new(RsaKeyPair::from_pkcs8(&der).unwrap()));
        Self { kid: kid.to_owned(), pair }
    }

    pub(crate) fn elliptic_curve(kid: &str) -> Self {
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let der = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let pair = Pair::EllipticCurve(EcdsaKeyPair::from_pkcs8(kind, der.as_ref(), &random).unwrap());
        Self { kid: kid.to_owned(), pair }
    }

    pub(crate) fn edwards(kid: &str) -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { kid: kid.to_owned(), pair: Pair::Edwards(Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap()) }
    }

    fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::EllipticCurve(_) => "ES256",
            Pair::Edwards(_) => "EdDSA",
        }
    }

    /// The public key.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "n": encoded(n), "e": encoded(e) })
            }
            Pair::EllipticCurve(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": encoded(x), "y": encoded(y) })
            }
            Pair::Edwards(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(pair.public_key()) })
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm());
        jwk
    }

    /// A token under the usual header.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_under(&json!({ "alg": self.algorithm(), "kid": self.kid, "typ": "JWT" }), claims)
    }

    /// A token that this key has signed, whatever its header says.
    pub(crate) fn token_under(&self, header: &Value, claims: &Value) -> String {
        signed(header, claims, |message| match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            Pair::EllipticCurve(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Pair::Edwards(pair) => pair.sign(message).as_ref().to_vec(),
        })
    }
}

/// A token with a signature of any kind.
pub(crate) fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
    let signature = encoded(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// Seconds since 1970.
pub(crate) fn seconds() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap()
}

/// Good claims of a caller for ten minutes.
pub(crate) fn claims(sub: &str, scope: &str) -> Value {
    let now = seconds();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": sub, "scope": scope,
        "iat": now, "nbf": now - 5, "exp": now + 600,
    })
}

/// A server with the public keys.
pub(crate) struct Issuer {
    pub(crate) url: String,
    shown: Arc<Shown>,
}

#[derive(Default)]
struct Shown {
    /// `None` is an error.
    keys: Mutex<Option<Value>>,
    asked: AtomicUsize,
}

impl Issuer {
    #[expect(clippy::disallowed_methods, reason = "the server lives as long as the test")]
    pub(crate) async fn start() -> Self {
        let shown = Arc::new(Shown::default());
        let router = Router::new().route("/keys", get(show)).with_state(Arc::clone(&shown));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shown }
    }

    /// From now on these keys are shown.
    pub(crate) fn shows(&self, keys: &[&SigningKey]) {
        // Keys of kinds that nobody here knows do no harm.
        let mut jwks =
            vec![json!({ "kty": "oct", "kid": "shared", "k": "c2VjcmV0" }), json!({ "kty": "new" })];
        jwks.extend(keys.iter().map(|key| key.jwk()));
        *self.shown.keys.lock().unwrap() = Some(json!({ "keys": jwks }));
    }

    /// How often the keys were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.shown.asked.load(Ordering::SeqCst)
    }
}

async fn show(State(shown): State<Arc<Shown>>) -> (StatusCode, String) {
    shown.asked.fetch_add(1, Ordering::SeqCst);
    match &*shown.keys.lock().unwrap() {
        Some(keys) => (StatusCode::OK, keys.to_string()),
        None => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    }
}
