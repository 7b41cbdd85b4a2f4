//! OpenSSL's lists of ciphers (`tls-ciphers`) and names of cipher suites (`tls-ciphersuites`), as those who write
//! configurations know them, and what of them there is here.
//!
//! `ciphers.txt` names the ciphers up to TLS 1.2 that OpenSSL 3 knows, strongest first: name, version, key exchange,
//! authentication, encryption, integrity. A list is read over all of them, so that one which is empty for OpenSSL is
//! refused as it is by Valkey, and one of which nothing is left here with another reason. What is left keeps the
//! list's order; it decides if `tls-prefer-server-ciphers` says so.
//!
//! To know a new name: a line in the text, or an arm in [`Cipher::is`].

use rustls::{CipherSuite, SupportedCipherSuite};

use self::Rule::{Add, Delete, Kill, Order};

/// A cipher as OpenSSL describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cipher {
    name: &'static str,
    version: &'static str,
    exchange: &'static str,
    authentication: &'static str,
    encryption: &'static str,
    bits: u32,
    integrity: &'static str,
}

/// The ciphers of `ciphers.txt`.
fn all() -> Vec<Cipher> {
    let parse = |line: &'static str| {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap_or_default();
        let (name, version, exchange) = (next(), next(), next());
        let (authentication, encryption, integrity) = (next(), next(), next());
        let (encryption, bits) = encryption.split_once('(').unwrap_or((encryption, "0)"));
        Cipher {
            name,
            version,
            exchange,
            authentication,
            encryption,
            bits: bits.trim_end_matches(')').parse().unwrap_or(0),
            integrity,
        }
    };
    include_str!("ciphers.txt").lines().map(parse).collect()
}

impl Cipher {
    /// Whether a word of a list means it; `None`: OpenSSL does not know this word.
    fn is(&self, word: &str) -> Option<bool> {
        let psk = ["PSK", "RSAPSK", "DHEPSK", "ECDHEPSK"];
        let is_null = self.encryption == "None";
        Some(match word {
            "ALL" => !is_null,
            "COMPLEMENTOFALL" | "NULL" | "eNULL" => is_null,
            "COMPLEMENTOFDEFAULT" => !self.is_default() && !is_null,
            "HIGH" => !is_null && self.bits >= 128,
            "MEDIUM" | "LOW" | "3DES" | "RC4" | "RC2" | "IDEA" | "SEED" | "DES" | "GOST" => false,
            "kRSA" => self.exchange == "RSA",
            "aRSA" => self.authentication == "RSA",
            "RSA" => self.exchange == "RSA" && self.authentication == "RSA",
            "kDHE" | "kEDH" => self.exchange == "DH",
            "DH" => self.exchange == "DH",
            "DHE" | "EDH" => self.exchange == "DH" && self.authentication != "None",
            "kECDHE" | "kEECDH" | "ECDH" => self.exchange == "ECDH",
            "ECDHE" | "EECDH" => self.exchange == "ECDH" && self.authentication != "None",
            "aNULL" => self.authentication == "None",
            "ADH" => self.exchange == "DH" && self.authentication == "None",
            "AECDH" => self.exchange == "ECDH" && self.authentication == "None",
            "aECDSA" | "ECDSA" => self.authentication == "ECDSA",
            "aDSS" | "DSS" => self.authentication == "DSS",
            "PSK" => psk.contains(&self.exchange),
            "kPSK" => self.exchange == "PSK",
            "kRSAPSK" => self.exchange == "RSAPSK",
            "kDHEPSK" => self.exchange == "DHEPSK",
            "kECDHEPSK" => self.exchange == "ECDHEPSK",
            "aPSK" => self.authentication == "PSK",
            "SRP" | "kSRP" => self.exchange == "SRP",
            "aSRP" => self.authentication == "SRP",
            "AES" => self.encryption.starts_with("AES"),
            "AES128" => self.encryption.starts_with("AES") && self.bits == 128,
            "AES256" => self.encryption.starts_with("AES") && self.bits == 256,
            "AESGCM" => self.encryption == "AESGCM",
            "AESCCM" => self.encryption.starts_with("AESCCM"),
            "AESCCM8" => self.encryption == "AESCCM8",
            "ARIA" | "ARIAGCM" => self.encryption == "ARIAGCM",
            "ARIA128" => self.encryption == "ARIAGCM" && self.bits == 128,
            "ARIA256" => self.encryption == "ARIAGCM" && self.bits == 256,
            "CAMELLIA" => self.encryption == "Camellia",
            "CAMELLIA128" => self.encryption == "Camellia" && self.bits == 128,
            "CAMELLIA256" => self.encryption == "Camellia" && self.bits == 256,
            "CHACHA20" => self.encryption == "CHACHA20/POLY1305",
            "FIPS" => matches!(self.encryption, "AES" | "AESGCM") && self.exchange != "SRP",
            "CBC" => matches!(self.encryption, "AES" | "Camellia"),
            "MD5" => self.integrity == "MD5",
            "SHA" | "SHA1" => self.integrity == "SHA1",
            "SHA256" => self.integrity == "SHA256",
            "SHA384" => self.integrity == "SHA384",
            "SSLv3" | "TLSv1" | "TLSv1.0" => {
                let version = if word == "SSLv3" { "SSLv3" } else { "TLSv1" };
                self.version == version
            }
            "TLSv1.2" => self.version == "TLSv1.2",
            _ => return None,
        })
    }

    /// Among those that OpenSSL offers if nobody says otherwise.
    fn is_default(&self) -> bool {
        let is_rare = matches!(
            self.encryption,
            "AESCCM" | "AESCCM8" | "ARIAGCM" | "Camellia"
        );
        !is_rare && self.encryption != "None" && !matches!(self.authentication, "None" | "DSS")
    }
}

/// What an element does with the ciphers that it means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Add,
    Order,
    Delete,
    Kill,
}

/// All ciphers in the order that the rules read so far have given them, with whether each is chosen.
struct Selection(Vec<(Cipher, bool)>);

impl Selection {
    fn apply(&mut self, rule: Rule, means: impl Fn(&Cipher) -> bool) {
        let concerns = |(cipher, is_on): &(Cipher, bool)| {
            let has_effect = match rule {
                Add => !is_on,
                Order | Delete => *is_on,
                Kill => true,
            };
            has_effect && means(cipher)
        };
        let (moved, stay): (Vec<_>, Vec<_>) = self.0.drain(..).partition(concerns);
        let is_on = matches!(rule, Add | Order);
        let moved = moved.into_iter().map(|(cipher, _)| (cipher, is_on));
        self.0 = match rule {
            Add | Order => stay.into_iter().chain(moved).collect(),
            Delete => moved.chain(stay).collect(),
            Kill => stay,
        };
    }

    /// Strongest first, those of one strength in the order that they have.
    fn sort(&mut self) {
        self.0
            .sort_by_key(|(cipher, is_on)| std::cmp::Reverse(if *is_on { cipher.bits } else { 0 }));
    }
}

/// The ciphers that a list means, in its order; `None` if OpenSSL refuses the list.
fn evaluate(list: &str) -> Option<Vec<Cipher>> {
    let ciphers = all();
    let mut selection = Selection(ciphers.iter().map(|cipher| (*cipher, false)).collect());
    let mut rest = list;
    if let Some(more) = list.strip_prefix("DEFAULT") {
        selection.apply(Kill, |cipher| !cipher.is_default());
        selection.apply(Add, Cipher::is_default);
        rest = more.strip_prefix(':').unwrap_or(more);
    }
    for element in rest
        .split([':', ' ', ';', ','])
        .filter(|element| !element.is_empty())
    {
        if let Some(order) = element.strip_prefix('@') {
            match order
                .strip_prefix("SECLEVEL=")
                .map(|level| level.parse::<u8>())
            {
                // Whatever is here satisfies every level.
                Some(Ok(0..=5)) => {}
                Some(_) => return None,
                None if order == "STRENGTH" => selection.sort(),
                None => return None,
            }
            continue;
        }
        let (rule, words) = match element.as_bytes()[0] {
            b'!' => (Kill, &element[1..]),
            b'-' => (Delete, &element[1..]),
            b'+' => (Order, &element[1..]),
            _ => (Add, element),
        };
        let words: Vec<&str> = words.split('+').collect();
        let is_known = |word: &&str| {
            let is_name = ciphers.iter().any(|cipher| cipher.name == *word);
            is_name || ciphers[0].is(word).is_some()
        };
        // An element that OpenSSL does not understand is passed over.
        if words.iter().all(is_known) {
            let means_all = |cipher: &Cipher| {
                let means = |word: &&str| cipher.name == *word || cipher.is(word) == Some(true);
                words.iter().all(means)
            };
            selection.apply(rule, means_all);
        }
    }
    let chosen = selection.0.into_iter().filter(|(_, is_on)| *is_on);
    let chosen: Vec<Cipher> = chosen.map(|(cipher, _)| cipher).collect();
    (!chosen.is_empty()).then_some(chosen)
}

/// Names of the ciphers up to TLS 1.2 that there are here.
const HERE: &[(&str, CipherSuite)] = &[
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
];

/// Names of the suites of TLS 1.3; those without a number are not here.
const SUITES: &[(&str, Option<CipherSuite>)] = &[
    (
        "TLS_AES_256_GCM_SHA384",
        Some(CipherSuite::TLS13_AES_256_GCM_SHA384),
    ),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ),
    (
        "TLS_AES_128_GCM_SHA256",
        Some(CipherSuite::TLS13_AES_128_GCM_SHA256),
    ),
    ("TLS_AES_128_CCM_SHA256", None),
    ("TLS_AES_128_CCM_8_SHA256", None),
];

/// The suites that both directives leave (an empty one leaves all), or a line for the log.
pub(super) fn choose(
    ciphers: &str,
    ciphersuites: &str,
    available: &[SupportedCipherSuite],
) -> Result<Vec<SupportedCipherSuite>, String> {
    let find = |suite| available.iter().find(|here| here.suite() == suite).copied();
    let list = if ciphers.is_empty() {
        "DEFAULT"
    } else {
        ciphers
    };
    if list.starts_with("SUITEB") {
        return Err(format!(
            "Failed to configure ciphers: {ciphers}: Suite B is not here"
        ));
    }
    let chosen = evaluate(list).ok_or_else(|| format!("Failed to configure ciphers: {ciphers}"))?;
    let here = |cipher: &Cipher| {
        let found = HERE.iter().find(|(name, _)| *name == cipher.name);
        found.and_then(|(_, suite)| find(*suite))
    };
    let old: Vec<_> = chosen.iter().filter_map(here).collect();
    if old.is_empty() {
        return Err(format!(
            "Failed to configure ciphers: {ciphers}: none of them is here, only ECDHE with AES-GCM or \
             CHACHA20-POLY1305"
        ));
    }
    let mut suites = choose_suites(ciphersuites)?
        .into_iter()
        .filter_map(find)
        .collect::<Vec<_>>();
    suites.extend(old);
    Ok(suites)
}

/// `tls-ciphersuites`.
fn choose_suites(names: &str) -> Result<Vec<CipherSuite>, String> {
    let mut known = Vec::new();
    let default = SUITES[..3].iter().map(|(name, _)| *name);
    let names_given: Vec<&str> = match names.is_empty() {
        true => default.collect(),
        false => names.split(':').map(str::trim).collect(),
    };
    for given in names_given {
        if let Some((_, suite)) = SUITES.iter().find(|(name, _)| *name == given)
            && !known.contains(suite)
        {
            known.push(*suite);
        }
    }
    if known.is_empty() {
        return Err(format!("Failed to configure ciphersuites: {names}"));
    }
    let here: Vec<_> = known.into_iter().flatten().collect();
    match here.is_empty() {
        true => Err(format!(
            "Failed to configure ciphersuites: {names}: none of them is here"
        )),
        false => Ok(here),
    }
}

#[cfg(test)]
mod tests;
