//! Tokens of service accounts: signed here, since there is no API server that would.
//!
//! A token is a JWT (RFC 7519) by ES256 whose claims are those of Kubernetes' bound tokens. The key is made once and
//! stays with what survives a reboot, so whoever is given its public half can check tokens. Source: `pkg/serviceaccount`
//! (claims.go, jwt.go), kubelet `token/token_manager.go`.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Place;
use crate::pod::TokenFile;
use crate::report;
use crate::store::{ObjectKind, make_parent};
use crate::uuid;

/// Who signs, and whom a token is for that names nobody: what kubeadm's clusters say.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// The account that every namespace has.
const DEFAULT: &str = "default";
/// What stands before the point of a P-256 public key in its DER form (RFC 5480).
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----\n";
const PEM_END: &str = "\n-----END PRIVATE KEY-----\n";
/// No token is used longer than this.
const OLDEST: u64 = 24 * 60 * 60;

/// The tokens that are in use, by volume and path: one is signed anew only when 80 % of its life are over.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<BTreeMap<(String, String), Signed>>);

#[derive(Debug)]
struct Signed {
    text: String,
    /// In seconds since 1970.
    renew: u64,
}

impl Tokens {
    /// The token for a file of a volume, as long as it is good still.
    pub(super) fn token(
        &self,
        place: &Place<'_>,
        volume: &str,
        wanted: &TokenFile,
    ) -> Result<String, String> {
        let now = seconds(Timestamp::now());
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let which = (volume.to_owned(), wanted.path.clone());
        if let Some(signed) = tokens.get(&which).filter(|signed| now < signed.renew) {
            return Ok(signed.text.clone());
        }
        let text = sign(place, wanted, now)?;
        let renew = now + (wanted.expiration_seconds / 5 * 4).min(OLDEST);
        tokens.insert(which, Signed { text: text.clone(), renew });
        Ok(text)
    }

    /// How long until the first of them has to be signed anew, if there is any.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = tokens.values().map(|signed| signed.renew).min()?;
        Some(Duration::from_secs(first.saturating_sub(seconds(Timestamp::now()))))
    }
}

fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_second()).unwrap_or_default()
}

fn sign(place: &Place<'_>, wanted: &TokenFile, now: u64) -> Result<String, String> {
    let account = account(place)?;
    let key = key(&place.store.token_key()).map_err(|error| format!("read the signing key: {error}"))?;
    let id = uuid::random().map_err(|error| format!("read /dev/urandom: {error}"))?;
    let pod = place.pod;
    let claims = json!({
        "aud": [wanted.audience.as_deref().unwrap_or(ISSUER)],
        "exp": now + wanted.expiration_seconds,
        "iat": now,
        "iss": ISSUER,
        "jti": id,
        "kubernetes.io": {
            "namespace": pod.namespace,
            "pod": {"name": pod.name, "uid": pod.uid},
            "serviceaccount": account,
        },
        "nbf": now,
        "sub": format!("system:serviceaccount:{}:{}", pod.namespace, pod.service_account),
    });
    jwt(&key, &claims).map_err(|_| "sign the token".to_owned())
}

/// The account's name and uid. One that was never stored has a uid of its name: of the accounts only `default` may be
/// missing.
fn account(place: &Place<'_>) -> Result<Value, String> {
    let (namespace, name) = (&place.pod.namespace, &place.pod.service_account);
    let found = place.store.object(ObjectKind::ServiceAccount, namespace, name);
    let uid = match found.map_err(|error| report::chain(&error))? {
        Some(object) => object["metadata"]["uid"].as_str().map(str::to_owned),
        None if name == DEFAULT => None,
        None => return Err(format!("serviceaccounts {name:?} not found")),
    };
    let uid = uid.unwrap_or_else(|| {
        let digest = Sha256::digest(format!("serviceaccount:{namespace}/{name}"));
        uuid::of(digest.first_chunk().copied().unwrap_or_default(), 8)
    });
    Ok(json!({"name": name, "uid": uid}))
}

fn jwt(key: &EcdsaKeyPair, claims: &Value) -> Result<String, ring::error::Unspecified> {
    let public = [&SPKI[..], key.public_key().as_ref()].concat();
    let id = URL_SAFE_NO_PAD.encode(Sha256::digest(public));
    let header = json!({"alg": "ES256", "kid": id});
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encoded(&header), encoded(claims));
    let signature = key.sign(&SystemRandom::new(), text.as_bytes())?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The key at that path, made if it is not there. Of several who make one at once, all take the first.
fn key(path: &Path) -> io::Result<EcdsaKeyPair> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_key(path)?;
            fs::read_to_string(path)?
        }
        text => text?,
    };
    let bad = || io::Error::new(ErrorKind::InvalidData, format!("{} is no key", path.display()));
    let inner = text.strip_prefix(PEM_BEGIN).and_then(|rest| rest.trim_end().strip_suffix(PEM_END.trim()));
    let der = STANDARD.decode(inner.ok_or_else(bad)?.replace('\n', "")).map_err(|_| bad())?;
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new()).map_err(|_| bad())
}

fn make_key(path: &Path) -> io::Result<()> {
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map_err(|_| io::Error::other("no random numbers"))?;
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    make_parent(path).map_err(|error| error.source)?;
    let own = path.with_extension(format!("key.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&own)?;
    let written = file.write_all(format!("{PEM_BEGIN}{}{PEM_END}", lines.join("\n")).as_bytes());
    let linked = written.and_then(|()| match fs::hard_link(&own, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let _ = fs::remove_file(&own);
    linked
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
