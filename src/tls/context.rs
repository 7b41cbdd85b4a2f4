//! A context: what one handshake needs, from the directives and the files that they name.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SupportedProtocolVersion, version};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::clients::TrustedClients;
use super::sessions::SessionCache;
use super::{ciphers, pem};
use crate::config::{Config, TlsAuthClients};

/// Tickets given to a client of TLS 1.3, as OpenSSL does: each is good for one resumption.
const TICKETS: usize = 2;
/// Files in `tls-ca-cert-dir` that are looked at.
const DIR_FILES_MAX: usize = 10_000;
/// A file that is longer holds no certificates.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Why there is no context: a line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotConfigured(pub String);

impl fmt::Display for NotConfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotConfigured {}

fn not_configured(text: impl Into<String>) -> NotConfigured {
    NotConfigured(text.into())
}

/// What INFO tells of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// When it ends, Unix seconds.
    pub expires_at_secs: i64,
}

impl CertificateFacts {
    fn of(der: &[u8]) -> Option<CertificateFacts> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let serial = certificate.raw_serial();
        // DER puts a zero in front of what would be negative without.
        let start = serial.iter().position(|&byte| byte != 0);
        let digits = &serial[start.unwrap_or(serial.len().saturating_sub(1))..];
        Some(CertificateFacts {
            serial: digits.iter().map(|byte| format!("{byte:02X}")).collect(),
            expires_at_secs: certificate.validity().not_after.timestamp(),
        })
    }
}

/// The files, as they were read.
pub(super) struct Materials {
    chain: Vec<u8>,
    key: Vec<u8>,
    authorities: Vec<Vec<u8>>,
    digest: [u8; 32],
}

impl Materials {
    /// Reads what the directives name.
    pub(super) fn read(config: &Config) -> Result<Materials, NotConfigured> {
        let path = |path: &Option<PathBuf>, name| {
            path.clone()
                .ok_or_else(|| not_configured(format!("No {name} configured!")))
        };
        let cert_file = path(&config.tls_cert_file, "tls-cert-file")?;
        let key_file = path(&config.tls_key_file, "tls-key-file")?;
        if config.tls_auth_clients != TlsAuthClients::No
            && config.tls_ca_cert_file.is_none()
            && config.tls_ca_cert_dir.is_none()
        {
            return Err(not_configured(
                "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, tls-replication or \
                 tls-auth-clients are enabled!",
            ));
        }
        let chain = read_file(&cert_file).map_err(|error| certificate_error(&cert_file, error))?;
        let key = read_file(&key_file).map_err(|error| key_error(&key_file, error))?;
        let mut authorities = Vec::new();
        if let Some(file) = &config.tls_ca_cert_file {
            authorities.push(read_file(file).map_err(|error| authority_error(file, error))?);
        }
        if let Some(dir) = &config.tls_ca_cert_dir {
            read_dir(dir, &mut authorities).map_err(|error| authority_error(dir, error))?;
        }
        let mut digest = Sha256::new();
        for part in [&chain, &key].into_iter().chain(&authorities) {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        Ok(Materials {
            chain,
            key,
            authorities,
            digest: digest.finalize().into(),
        })
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !size.is_file() {
        return Err("not a regular file".into());
    }
    if size.len() > FILE_BYTES_MAX {
        return Err("too large".into());
    }
    std::fs::read(path).map_err(|error| error.to_string())
}

/// Reads the files that OpenSSL would look at: named by a hash of the subject and a number (`c_rehash`).
fn read_dir(dir: &Path, into: &mut Vec<Vec<u8>>) -> Result<(), String> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        let name = entry.file_name();
        if name.to_str().is_some_and(is_hash_name) {
            paths.push(entry.path());
        }
        if paths.len() > DIR_FILES_MAX {
            return Err("too many files".into());
        }
    }
    paths.sort();
    for path in paths {
        let named = |error| format!("{}: {error}", path.display());
        into.push(read_file(&path).map_err(named)?);
    }
    Ok(())
}

fn is_hash_name(name: &str) -> bool {
    let is_hash = |hash: &str| hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    let is_number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    name.split_once('.')
        .is_some_and(|(hash, number)| is_hash(hash) && is_number(number))
}

fn certificate_error(path: &Path, error: impl fmt::Display) -> NotConfigured {
    let path = path.display();
    not_configured(format!("Failed to load certificate: {path}: {error}"))
}

fn key_error(path: &Path, error: impl fmt::Display) -> NotConfigured {
    let path = path.display();
    not_configured(format!("Failed to load private key: {path}: {error}"))
}

fn authority_error(path: &Path, error: impl fmt::Display) -> NotConfigured {
    let path = path.display();
    not_configured(format!(
        "Failed to configure CA certificate(s) file/directory: {path}: {error}"
    ))
}

/// See the module's text.
pub struct Context {
    /// What handshakes are made with.
    pub handshakes: Arc<ServerConfig>,
    /// Clients are asked for certificates, which may be long.
    pub asks_for_certificates: bool,
    /// The server's certificate.
    pub certificate: Option<CertificateFacts>,
    /// Of those who sign the peers the certificate that ends first.
    pub authority: Option<CertificateFacts>,
    digest: [u8; 32],
}

impl Context {
    /// Checks everything and puts it together.
    pub(super) fn new(config: &Config, materials: Materials) -> Result<Context, NotConfigured> {
        let versions = protocol_versions(&config.tls_protocols)?;
        let provider = Arc::new(provider(config, &versions)?);
        let key = certified_key(config, &materials, &provider)?;
        let authorities = authorities(config, &materials)?;
        let facts_of = |der: &CertificateDer<'_>| CertificateFacts::of(der);
        let certificate = key.cert.first().and_then(facts_of);
        let authority = authorities
            .iter()
            .filter_map(facts_of)
            .min_by_key(|facts| facts.expires_at_secs);
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .map_err(|error| not_configured(format!("Failed to configure ciphers: {error}")))?;
        let builder = match config.tls_auth_clients {
            TlsAuthClients::No => builder.with_no_client_auth(),
            auth => {
                let is_mandatory = auth == TlsAuthClients::Yes;
                let clients = TrustedClients::new(authorities, is_mandatory, &provider);
                builder.with_client_cert_verifier(Arc::new(clients))
            }
        };
        let mut handshakes = builder.with_cert_resolver(Arc::new(OneKey(Arc::new(key))));
        handshakes.ignore_client_order = config.tls_prefer_server_ciphers;
        match config.tls_session_caching {
            true => {
                handshakes.session_storage = Arc::new(SessionCache::new(
                    config.tls_session_cache_size,
                    config.tls_session_cache_timeout_secs,
                ));
                handshakes.send_tls13_tickets = TICKETS;
            }
            false => {
                handshakes.session_storage = Arc::new(NoServerSessionStorage {});
                handshakes.send_tls13_tickets = 0;
            }
        }
        Ok(Context {
            handshakes: Arc::new(handshakes),
            asks_for_certificates: config.tls_auth_clients != TlsAuthClients::No,
            certificate,
            authority,
            digest: materials.digest,
        })
    }

    /// Whether it was made from files with this content.
    pub(super) fn is_of(&self, materials: &Materials) -> bool {
        self.digest == materials.digest
    }
}

/// One certificate for all, whatever name they ask for.
#[derive(Debug)]
struct OneKey(Arc<CertifiedKey>);

impl ResolvesServerCert for OneKey {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// `tls-protocols`.
fn protocol_versions(words: &str) -> Result<Vec<&'static SupportedProtocolVersion>, NotConfigured> {
    let (mut tls12, mut tls13) = (false, false);
    let mut old = None;
    if words.is_empty() {
        return Ok(vec![&version::TLS13, &version::TLS12]);
    }
    for word in words.split(' ') {
        match word.to_ascii_lowercase().as_str() {
            "tlsv1.2" => tls12 = true,
            "tlsv1.3" => tls13 = true,
            "tlsv1" | "tlsv1.1" => old = Some(word),
            _ => {
                return Err(not_configured(
                    "Invalid tls-protocols specified. Use a combination of 'TLSv1', 'TLSv1.1', 'TLSv1.2' and \
                     'TLSv1.3'.",
                ));
            }
        }
    }
    if let Some(word) = old {
        let text = format!("tls-protocols names {word}, which is broken and not spoken by Kivi");
        if !tls12 && !tls13 {
            return Err(not_configured(text));
        }
        tracing::warn!("{text}; the other versions are.");
    }
    let wanted = [(tls13, &version::TLS13), (tls12, &version::TLS12)];
    Ok(wanted
        .into_iter()
        .filter_map(|(is_wanted, version)| is_wanted.then_some(version))
        .collect())
}

/// The algorithms, without the ciphers that the directives do not name.
fn provider(
    config: &Config,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<CryptoProvider, NotConfigured> {
    let mut provider = aws_lc_rs::default_provider();
    let suites = ciphers::choose(
        &config.tls_ciphers,
        &config.tls_ciphersuites,
        &provider.cipher_suites,
    )
    .map_err(NotConfigured)?;
    provider.cipher_suites = suites;
    let is_spoken = |version: &&SupportedProtocolVersion| {
        let suites = &provider.cipher_suites;
        suites.iter().any(|suite| suite.version() == *version)
    };
    match versions.iter().find(|version| !is_spoken(version)) {
        Some(version) => Err(not_configured(format!(
            "Failed to configure ciphers: none is left for {:?}",
            version.version
        ))),
        None => Ok(provider),
    }
}

/// Certificate and key, which must belong together.
pub(super) fn certified_key(
    config: &Config,
    materials: &Materials,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, NotConfigured> {
    let cert_file = config.tls_cert_file.clone().unwrap_or_default();
    let key_file = config.tls_key_file.clone().unwrap_or_default();
    let chain = pem::certificates(&materials.chain)
        .map_err(|error| certificate_error(&cert_file, error))?;
    let Some(first) = chain.first() else {
        return Err(certificate_error(&cert_file, "no certificate found"));
    };
    let public_key = match X509Certificate::from_der(first) {
        Ok((_, certificate)) => certificate.public_key().raw.to_vec(),
        Err(_) => return Err(certificate_error(&cert_file, "not a valid certificate")),
    };
    let key = pem::private_key(&materials.key, &config.tls_key_file_pass)
        .map_err(|error| key_error(&key_file, error))?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| key_error(&key_file, "not a usable RSA, ECDSA or Ed25519 key"))?;
    if key.public_key().is_some_and(|own| *own != *public_key) {
        let text = format!(
            "does not belong to the certificate in {}",
            cert_file.display()
        );
        return Err(key_error(&key_file, text));
    }
    Ok(CertifiedKey::new(chain, key))
}

/// Those who sign the peers.
fn authorities(
    config: &Config,
    materials: &Materials,
) -> Result<Vec<CertificateDer<'static>>, NotConfigured> {
    let path = config.tls_ca_cert_file.as_ref();
    let path = path.or(config.tls_ca_cert_dir.as_ref()).cloned();
    let path = path.unwrap_or_default();
    let mut authorities = Vec::new();
    for file in &materials.authorities {
        authorities.extend(pem::certificates(file).map_err(|error| authority_error(&path, error))?);
    }
    if authorities.is_empty() && config.tls_ca_cert_file.is_some() {
        return Err(authority_error(&path, "no certificate found"));
    }
    Ok(authorities)
}
