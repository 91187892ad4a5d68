//! Tokens of an issuer in place of keys: what is good passes, whatever else there is does not.

use ring::hmac;
use serde_json::{Value, json};

use crate::support::issuer::{Issuer, SigningKey, claims, seconds, signed};
use crate::support::parts::Parts;
use crate::support::{Client, Payment, eventually};

const EVENTS: &str = "/api/v1/events";

async fn start(name: &str, issuer: &Issuer) -> Parts {
    let settings = [
        ("PAYMENTS_HTTP__JWT__JWKS_URL", issuer.url.as_str()),
        ("PAYMENTS_HTTP__JWT__ISSUER", "https://issuer.example"),
        ("PAYMENTS_HTTP__JWT__AUDIENCE", "payments"),
        ("PAYMENTS_HTTP__JWT__LEEWAY_MS", "0"),
        ("PAYMENTS_HTTP__JWT__REFRESH_AT_MOST_EVERY_MS", "1000"),
        ("PAYMENTS_HTTP__KEY_CACHE_MS", "100"),
    ];
    Parts::start_guarded(name, &settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_each_kind_says_who_calls_and_what_for() {
    let issuer = Issuer::start().await;
    let keys = [SigningKey::rsa("r"), SigningKey::elliptic_curve("e"), SigningKey::edwards("d")];
    issuer.shows(&keys.each_ref());
    let parts = start("jwt-good", &issuer).await;
    for key in &keys {
        let scopes = "openid write read other:operate";
        let client = Client::with_key(parts.api.url(), &key.token(&claims(&key.kid, scopes)));
        let (user, payment) = (format!("user-{}", key.kid), format!("p-{}", key.kid));
        client.funded(&user, "10.00").await;
        let paid = client.pay(&Payment::of(&user, &payment, "1.00")).await;
        assert_eq!(paid.status, 201, "{}", paid.text);
        let story = client.get(&format!("/api/v1/payments/{payment}/events")).await.body;
        let actor = json!(format!("jwt:{}", key.kid));
        assert!(story["data"].as_array().unwrap().iter().all(|event| event["actor"] == actor), "{story}");
        let refused = client.get(EVENTS).await;
        assert_eq!((refused.status, refused.code()), (403, "insufficient_scope"), "{}", refused.text);
    }
    // A caller by token is not the caller of that name by key.
    let same_name = parts.caller("r", "read");
    assert_eq!(same_name.payment("p-r").await.status, 404);
    let listed = claims("r", "operate").as_object().map(|claims| {
        let mut claims = claims.clone();
        claims.insert("aud".to_owned(), json!(["other", "payments"]));
        Value::from(claims)
    });
    let client = Client::with_key(parts.api.url(), &keys[0].token(&listed.unwrap()));
    assert_eq!(client.get(EVENTS).await.status, 200);
}

/// Good claims but for one.
fn but(name: &str, value: Value) -> Value {
    let mut claims = claims("shop", "operate");
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims("shop", "operate");
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_not_right_about_a_token_is_refused() {
    let issuer = Issuer::start().await;
    let (rsa, curve, stranger) =
        (SigningKey::rsa("r"), SigningKey::elliptic_curve("e"), SigningKey::elliptic_curve("e"));
    issuer.shows(&[&rsa, &curve]);
    let parts = start("jwt-bad", &issuer).await;
    let good = claims("shop", "operate");
    let header = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid, "typ": "JWT" });
    let hmac = |key: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        signed(&header("HS256", "r"), &good, |message| hmac::sign(&key, message).as_ref().to_vec())
    };
    let jwk = rsa.jwk();
    let token = curve.token(&good);
    let (start_of_token, signature) = token.rsplit_once('.').unwrap();
    let now = seconds();
    let wrong = [
        ("none", signed(&header("none", "r"), &good, |_| vec![])),
        ("None", signed(&header("None", "e"), &good, |_| vec![])),
        ("no signature", format!("{start_of_token}.")),
        ("the public key as a secret", hmac(jwk["n"].as_str().unwrap().as_bytes())),
        ("its JSON as a secret", hmac(jwk.to_string().as_bytes())),
        (
            "a shared secret from the set",
            signed(&header("HS256", "shared"), &good, |message| {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"secret"), message).as_ref().to_vec()
            }),
        ),
        ("another key's algorithm", curve.token_under(&header("ES256", "r"), &good)),
        ("the same hash by another scheme", rsa.token_under(&header("PS256", "r"), &good)),
        ("a stranger's signature", stranger.token(&good)),
        ("another payload", format!("{}.{signature}", rsa.token(&good).rsplit_once('.').unwrap().0)),
        ("a key that nobody knows", curve.token_under(&header("ES256", "x"), &good)),
        ("no key named", curve.token_under(&json!({ "alg": "ES256" }), &good)),
        (
            "what must be understood",
            curve.token_under(&json!({ "alg": "ES256", "kid": "e", "crit": ["b64"], "b64": false }), &good),
        ),
        ("another issuer", curve.token(&but("iss", json!("https://other.example")))),
        ("another audience", curve.token(&but("aud", json!("other")))),
        ("not yet", curve.token(&but("nbf", json!(now + 300)))),
        ("no end", curve.token(&without("exp"))),
        ("no issuer", curve.token(&without("iss"))),
        ("no audience", curve.token(&without("aud"))),
        ("no caller", curve.token(&without("sub"))),
        ("an empty caller", curve.token(&but("sub", json!("")))),
        ("an end that is none", curve.token(&but("exp", json!("tomorrow")))),
        ("more than fits", curve.token(&but("pad", json!("x".repeat(10_000))))),
    ];
    for (why, token) in &wrong {
        let answer = Client::with_key(parts.api.url(), token).get(EVENTS).await;
        assert_eq!((answer.status, answer.code()), (401, "unauthenticated"), "{why}: {}", answer.text);
        assert_eq!(answer.body["detail"], "These credentials are not valid.", "{why}");
    }
    let expired = curve.token(&but("exp", json!(now - 10)));
    let answer = Client::with_key(parts.api.url(), &expired).get(EVENTS).await;
    assert_eq!((answer.status, answer.code()), (401, "token_expired"), "{}", answer.text);
    assert_eq!(Client::with_key(parts.api.url(), &token).get(EVENTS).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_and_nobody_makes_them_be_asked_for_all_the_time() {
    let issuer = Issuer::start().await;
    let parts = start("jwt-rotation", &issuer).await;
    let url = parts.api.url();
    let [old, new] = ["old", "new"].map(SigningKey::elliptic_curve);
    let by = |key: &SigningKey| Client::with_key(url, &key.token(&claims("shop", "operate")));
    let (by_old, by_new) = (by(&old), by(&new));
    // Nobody can say yet whose token it is.
    let answer = by_old.get(EVENTS).await;
    assert_eq!((answer.status, answer.code()), (503, "key_set_unavailable"), "{}", answer.text);
    assert_eq!(answer.header("retry-after"), "1");
    issuer.shows(&[&old]);
    eventually("the keys are read", async || by_old.get(EVENTS).await.status == 200).await;
    issuer.shows(&[&new]);
    eventually("the new key is known", async || by_new.get(EVENTS).await.status == 200).await;
    eventually("the old key is gone", async || by_old.get(EVENTS).await.status == 401).await;

    let before = issuer.asked();
    let began = std::time::Instant::now();
    for number in 0..200 {
        let stranger = SigningKey::elliptic_curve(&format!("stranger-{number}"));
        assert_eq!(by(&stranger).get(EVENTS).await.status, 401);
    }
    let most = began.elapsed().as_secs() + 2;
    let asked = u64::try_from(issuer.asked() - before).unwrap();
    assert!(asked <= most, "asked {asked} times, {most} at most");
    assert_eq!(by_new.get(EVENTS).await.status, 200);
}
