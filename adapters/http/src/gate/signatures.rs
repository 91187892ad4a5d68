//! Signatures of tokens by *ring*, which TLS here is made of as well: RS256, ES256 and EdDSA, and only checking.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

static BY_RING: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| {
        let verifier = ByRing { algorithm: *algorithm, key: public(*algorithm, key)? };
        Ok(Box::new(verifier))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes the library check signatures so, in the whole process.
pub(super) fn install() {
    // The only failure is that it was done before.
    let _ = BY_RING.install_default();
}

enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    EllipticCurve(Vec<u8>),
    Edwards(Vec<u8>),
}

struct ByRing {
    algorithm: Algorithm,
    key: Public,
}

fn public(algorithm: Algorithm, key: &DecodingKey) -> Result<Public, Error> {
    match (algorithm, key.kind()) {
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            Ok(Public::Rsa { n: without_leading_zeros(n), e: without_leading_zeros(e) })
        }
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => Ok(Public::EllipticCurve(point.clone())),
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => Ok(Public::Edwards(point.clone())),
        _ => Err(ErrorKind::UnsupportedAlgorithm.into()),
    }
}

fn without_leading_zeros(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

impl Verifier<Vec<u8>> for ByRing {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match &self.key {
            Public::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            Public::EllipticCurve(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Public::Edwards(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for ByRing {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
