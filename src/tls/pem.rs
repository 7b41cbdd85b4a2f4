//! Certificates and private keys from PEM, also keys under a password: PKCS #8's way, and OpenSSL's old one
//! (`Proc-Type: 4,ENCRYPTED`).
//!
//! A file is split into sections here, because of the headers of old keys; what is inside of a section is decoded by
//! `pki-types`, in a time that does not tell a key.

use std::borrow::Cow;

use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit, block_padding::Pkcs7};
use des::TdesEde3;
use md5::{Digest, Md5};
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

/// What a password opens is asked for with this text if it is not right.
const WRONG_PASSWORD: &str = "it is locked, and tls-key-file-pass does not open it";

/// A section: `-----BEGIN label-----`, headers, content.
struct Section<'p> {
    label: &'p str,
    headers: Vec<&'p str>,
    base64: Vec<&'p str>,
}

/// The sections of a file; what stands between them is passed over.
fn sections(pem: &str) -> Result<Vec<Section<'_>>, String> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut is_open = false;
    for line in pem.lines().map(str::trim) {
        let marker = |name: &str| line.strip_prefix(name)?.strip_suffix("-----");
        if let Some(label) = marker("-----BEGIN ") {
            is_open = true;
            sections.push(Section {
                label,
                headers: Vec::new(),
                base64: Vec::new(),
            });
        } else if let Some(section) = sections.last_mut().filter(|_| is_open) {
            match marker("-----END ") {
                Some(label) if label == section.label => is_open = false,
                Some(_) => return Err("a section ends that has not begun".into()),
                None if line.contains(':') => section.headers.push(line),
                None => section.base64.push(line),
            }
        }
    }
    match is_open {
        true => Err("the last section has no end".into()),
        false => Ok(sections),
    }
}

impl Section<'_> {
    fn decode(&self) -> Result<Vec<u8>, String> {
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        self.base64.iter().for_each(|line| {
            pem.push_str(line);
            pem.push('\n');
        });
        pem.push_str("-----END PRIVATE KEY-----\n");
        let decoded = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes());
        let decoded = decoded.map_err(|_| format!("the {} is not valid base64", self.label))?;
        Ok(decoded.secret_pkcs8_der().to_vec())
    }
}

fn text(pem: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(pem)
}

/// All certificates of a file, in order; what else it holds is passed over.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = text(pem);
    let is_certificate =
        |section: &Section<'_>| matches!(section.label, "CERTIFICATE" | "X509 CERTIFICATE");
    let sections = sections(&pem)?.into_iter().filter(is_certificate);
    sections
        .map(|section| section.decode().map(CertificateDer::from))
        .collect()
}

/// The first private key of a file; `password` opens one that is locked.
pub fn private_key(pem: &[u8], password: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let pem = text(pem);
    for section in sections(&pem)? {
        let plain = || match is_locked(&section) {
            true => unlock_old(&section, password),
            false => section.decode(),
        };
        return Ok(match section.label {
            "PRIVATE KEY" => PrivatePkcs8KeyDer::from(section.decode()?).into(),
            "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(plain()?).into(),
            "EC PRIVATE KEY" => PrivateSec1KeyDer::from(plain()?).into(),
            "ENCRYPTED PRIVATE KEY" => unlock(&section.decode()?, password)?.into(),
            _ => continue,
        });
    }
    Err("no private key found".into())
}

/// PKCS #8.
fn unlock(der: &[u8], password: &[u8]) -> Result<PrivatePkcs8KeyDer<'static>, String> {
    let locked = EncryptedPrivateKeyInfoRef::try_from(der)
        .map_err(|_| "it is locked in a way that Kivi does not know".to_owned())?;
    let key = locked.decrypt(password).map_err(|_| WRONG_PASSWORD)?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()))
}

fn is_locked(section: &Section<'_>) -> bool {
    let mut headers = section.headers.iter();
    headers.any(|header| header.starts_with("Proc-Type:") && header.ends_with("ENCRYPTED"))
}

/// OpenSSL's old way: the key of the cipher is made of password and salt by MD5, without effort.
fn unlock_old(section: &Section<'_>, password: &[u8]) -> Result<Vec<u8>, String> {
    let mut headers = section.headers.iter();
    let info = headers.find_map(|header| header.strip_prefix("DEK-Info:"));
    let (cipher, iv) = info
        .and_then(|info| info.trim().split_once(','))
        .ok_or("it is locked, but does not say how")?;
    let iv = from_hex(iv.trim()).ok_or("the DEK-Info is not valid")?;
    let content = section.decode()?;
    let opened = match cipher {
        "AES-128-CBC" => decrypt::<Decryptor<Aes128>>(16, &iv, password, &content),
        "AES-192-CBC" => decrypt::<Decryptor<Aes192>>(24, &iv, password, &content),
        "AES-256-CBC" => decrypt::<Decryptor<Aes256>>(32, &iv, password, &content),
        "DES-EDE3-CBC" => decrypt::<Decryptor<TdesEde3>>(24, &iv, password, &content),
        other => {
            return Err(format!(
                "it is locked with {other}, which Kivi does not know"
            ));
        }
    };
    // A wrong password can look right by chance; then there is no key inside.
    let is_sequence = |opened: &Vec<u8>| opened.first() == Some(&0x30);
    opened.filter(is_sequence).ok_or(WRONG_PASSWORD.to_owned())
}

fn decrypt<C: KeyIvInit + BlockModeDecrypt>(
    key_bytes: usize,
    iv: &[u8],
    password: &[u8],
    content: &[u8],
) -> Option<Vec<u8>> {
    let salt = iv.get(..8)?;
    let mut key: Vec<u8> = Vec::new();
    let mut last: Vec<u8> = Vec::new();
    while key.len() < key_bytes {
        let mut digest = Md5::new();
        digest.update(&last);
        digest.update(password);
        digest.update(salt);
        last = digest.finalize().to_vec();
        key.extend_from_slice(&last);
    }
    let cipher = C::new_from_slices(&key[..key_bytes], iv).ok()?;
    let mut content = content.to_vec();
    let opened = cipher.decrypt_padded::<Pkcs7>(&mut content).ok()?;
    Some(opened.to_vec())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests;
