//! Secrets: kept in files beside the settings that they belong to, and shown to nobody.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Largest secret, in bytes.
const MOST: usize = 64 * 1024;
/// Words in the names of settings whose values are not shown.
const WORDS: [&str; 8] =
    ["password", "secret", "token", "jaas", "oauthbearer_config", "key_pem", "private_key", "passphrase"];

/// Ends of names that tell something about a secret: where it is, how long it holds.
const ABOUT_ONE: [&str; 7] = ["_file", "_location", "_url", "_ms", "_seconds", "_hours", "_days"];

/// Whether the value of a setting is a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.replace('.', "_").to_lowercase();
    !ABOUT_ONE.iter().any(|end| name.ends_with(end)) && WORDS.iter().any(|word| name.contains(word))
}

/// Reads a secret from its file, without the end of its last line.
///
/// # Errors
/// The file cannot be read, has more than 64 KiB, or has nothing in it.
pub(crate) fn read(file: &Path) -> io::Result<String> {
    let most = u64::try_from(MOST).unwrap_or(u64::MAX);
    let mut text = String::new();
    File::open(file)?.take(most.saturating_add(1)).read_to_string(&mut text)?;
    if text.len() > MOST {
        return Err(io::Error::other(format!("it has more than {MOST} bytes")));
    }
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.is_empty() {
        return Err(io::Error::other("it is empty"));
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn what_is_a_secret_goes_by_its_name() {
        for name in
            ["kafka.client.sasl_password", "kafka.client.ssl.key.pem", "kafka.client.sasl.jaas.config"]
        {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "kafka.client.sasl_password_file",
            "kafka.client.ssl_key_location",
            "kafka.client.sasl_username",
            "webhooks.old_secret_hours",
            "kafka.brokers",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
