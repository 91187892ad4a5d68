//! The text of a key, `pk_<id>_<secret>`: the id finds the key, the secret proves it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

const PREFIX: &str = "pk_";
/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 16;
/// Characters of a secret, 32 bytes in base64url.
const SECRET_CHARACTERS: usize = 43;

/// A text that has the form of a key.
#[derive(Clone, Copy)]
pub(crate) struct KeyText<'a> {
    pub(crate) id: &'a str,
    secret: &'a str,
}

impl<'a> KeyText<'a> {
    /// The parts of a key, `None` for what has not the form of one.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_at_checked(ID_DIGITS)?;
        let secret = secret.strip_prefix('_')?;
        let is_secret = secret.len() == SECRET_CHARACTERS
            && secret.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        (is_id(id) && is_secret).then_some(Self { id, secret })
    }

    pub(crate) fn secret_hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }
}

/// Whether a text may be the id of a key.
fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A key that has just been made. Its text is nowhere else.
pub struct NewKey {
    /// By this it is found.
    pub id: String,
    /// SHA-256 of its secret, to be kept.
    pub secret_hash: [u8; 32],
    text: String,
}

impl NewKey {
    /// Makes one of 64 random bits for the id and 256 for the secret.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut random = [0; 40];
        getrandom::fill(&mut random)?;
        let (id, secret) = random.split_at(8);
        let id = id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let secret_hash = Sha256::digest(&secret).into();
        Ok(Self { text: format!("{PREFIX}{id}_{secret}"), id, secret_hash })
    }

    /// The key itself: for its owner, once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_read_as_it_was_made() {
        let key = NewKey::draw().unwrap();
        let read = KeyText::read(key.expose()).unwrap();
        assert_eq!((read.id, read.secret_hash()), (key.id.as_str(), key.secret_hash));
        assert_ne!(key.expose(), NewKey::draw().unwrap().expose());
        assert!(!format!("{key:?}").contains(read.secret));
    }

    #[test]
    fn what_is_no_key_is_not_read_as_one() {
        let key = NewKey::draw().unwrap();
        let text = key.expose();
        for wrong in [
            "",
            "pk_",
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}A"),
            &text.to_uppercase(),
            &text.replacen("pk_", "sk_", 1),
            &format!("{}=", &text[..text.len() - 1]),
            "pk_ä0123456789abcde_",
        ] {
            assert!(KeyText::read(wrong).is_none(), "{wrong}");
        }
    }
}
