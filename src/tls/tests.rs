//! Contexts, with handshakes in memory: what is accepted, what is refused and in which words, what a reload changes.
//!
//! `testdata` holds certificates of one authority (`ca.crt`), good for a hundred years, and some that are wrong in one
//! way each.

use std::fs;
use std::path::{Path, PathBuf};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConnection,
};

use super::*;
use crate::config::{self, TlsAuthClientsUser};

fn testdata(name: &str) -> PathBuf {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tls/testdata");
    Path::new(dir).join(name)
}

fn configuration(directives: &[(&str, &str)]) -> Arc<Config> {
    let args = directives
        .iter()
        .flat_map(|(name, value)| [format!("--{name}").into(), (*value).into()]);
    let Ok(config::Invocation::Run(sources)) = config::parse(args, []) else {
        panic!("no run")
    };
    config::load(&sources).unwrap().0.config()
}

/// Directives of a server with this certificate and key, and others; names of files are those of `testdata`.
fn config_of(cert: &str, key: &str, others: &[(&str, &str)]) -> Arc<Config> {
    let path = |name: &str| testdata(name).to_str().unwrap().to_owned();
    let mut directives = vec![
        ("tls-port", "1".to_owned()),
        ("tls-cert-file", path(cert)),
        ("tls-key-file", path(key)),
        ("tls-auth-clients", "no".to_owned()),
    ];
    for (name, value) in others {
        let value = match name.ends_with("-file") {
            true => path(value),
            false => (*value).to_owned(),
        };
        directives.push((name, value));
    }
    let directives: Vec<_> = directives.iter().map(|(n, v)| (*n, v.as_str())).collect();
    configuration(&directives)
}

fn tls_of(config: &Config) -> Tls {
    let tls = Tls::default();
    tls.configure(config).unwrap();
    tls
}

fn refusal(config: &Config) -> String {
    let error = Tls::default().configure(config).unwrap_err().to_string();
    error.replace(testdata("").to_str().unwrap(), "")
}

/// A client that trusts `ca.crt`, and shows this certificate.
fn client_with(certificate: Option<&str>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(testdata("ca.crt")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_root_certificates(roots);
    let Some(name) = certificate else {
        return builder.with_no_client_auth();
    };
    let chain = CertificateDer::pem_file_iter(testdata(name)).unwrap();
    let key = PrivateKeyDer::from_pem_file(testdata("client.key")).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    // Not checked against the certificate: some of them are odd.
    let key = rustls::sign::CertifiedKey::new(chain.map(Result::unwrap).collect(), key);
    builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
}

/// Both ends of a handshake that has worked, or what the one that failed says.
fn shake_hands(
    tls: &Tls,
    client: &Arc<ClientConfig>,
) -> Result<(ServerConnection, ClientConnection), String> {
    let context = tls.context().unwrap();
    let mut server = ServerConnection::new(context.handshakes.clone()).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut wire = Vec::new();
    // Also what follows the handshake: tickets.
    for _ in 0..6 {
        wire.clear();
        client.write_tls(&mut wire).unwrap();
        let mut read = &wire[..];
        while !read.is_empty() {
            server.read_tls(&mut read).unwrap();
            let processed = server.process_new_packets();
            processed.map_err(|error| format!("server: {error}"))?;
        }
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        let mut read = &wire[..];
        while !read.is_empty() {
            client.read_tls(&mut read).unwrap();
            let processed = client.process_new_packets();
            processed.map_err(|error| format!("client: {error}"))?;
        }
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    Ok((server, client))
}

#[test]
fn every_kind_of_key_shakes_hands() {
    let client = Arc::new(client_with(None));
    for (cert, key, password) in [
        ("server.crt", "server.key", ""),
        ("server.crt", "sec1.key", ""),
        ("server.crt", "pkcs8-locked.key", "sesame"),
        ("server.crt", "old-aes256.key", "sesame"),
        ("rsa.crt", "rsa.key", ""),
        ("rsa.crt", "pkcs1.key", ""),
        ("rsa.crt", "old-rsa.key", "sesame"),
        ("ed25519.crt", "ed25519.key", ""),
    ] {
        for version in ["TLSv1.2", "tlsv1.3", "TLSv1.2 TLSv1.3"] {
            let more = [("tls-key-file-pass", password), ("tls-protocols", version)];
            let tls = tls_of(&config_of(cert, key, &more));
            let (server, _) = shake_hands(&tls, &client).unwrap();
            let expected = match version {
                "TLSv1.2" => ProtocolVersion::TLSv1_2,
                _ => ProtocolVersion::TLSv1_3,
            };
            assert_eq!(server.protocol_version(), Some(expected), "{cert} {key}");
        }
    }
}

#[test]
fn what_is_wrong_is_said() {
    let plain = |cert, key| refusal(&config_of(cert, key, &[]));
    let with = |name, value| refusal(&config_of("server.crt", "server.key", &[(name, value)]));
    assert_eq!(
        refusal(&configuration(&[("tls-port", "1")])),
        "No tls-cert-file configured!"
    );
    assert_eq!(
        refusal(&configuration(&[("tls-port", "1"), ("tls-cert-file", "x")])),
        "No tls-key-file configured!"
    );
    assert_eq!(
        with("tls-auth-clients", "optional"),
        "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, tls-replication or \
         tls-auth-clients are enabled!"
    );
    assert_eq!(
        plain("nope.crt", "server.key"),
        "Failed to load certificate: nope.crt: No such file or directory (os error 2)"
    );
    assert_eq!(
        plain("server.key", "server.key"),
        "Failed to load certificate: server.key: no certificate found"
    );
    assert_eq!(
        plain("server.crt", "nope.key"),
        "Failed to load private key: nope.key: No such file or directory (os error 2)"
    );
    assert_eq!(
        plain("server.crt", "server.crt"),
        "Failed to load private key: server.crt: no private key found"
    );
    assert_eq!(
        plain("server.crt", "rsa.key"),
        "Failed to load private key: rsa.key: does not belong to the certificate in server.crt"
    );
    assert_eq!(
        plain("server.crt", "server2.key"),
        "Failed to load private key: server2.key: does not belong to the certificate in server.crt"
    );
    assert_eq!(
        plain("server.crt", "pkcs8-locked.key"),
        "Failed to load private key: pkcs8-locked.key: it is locked, and tls-key-file-pass does not open it"
    );
    assert_eq!(
        with("tls-ca-cert-file", "server.key"),
        "Failed to configure CA certificate(s) file/directory: server.key: no certificate found"
    );
    assert_eq!(
        with("tls-ca-cert-dir", "/nowhere"),
        "Failed to configure CA certificate(s) file/directory: /nowhere: No such file or directory (os error 2)"
    );
    assert_eq!(
        with("tls-protocols", "TLSv1.4"),
        "Invalid tls-protocols specified. Use a combination of 'TLSv1', 'TLSv1.1', 'TLSv1.2' and 'TLSv1.3'."
    );
    assert_eq!(
        with("tls-protocols", "TLSv1 TLSv1.1"),
        "tls-protocols names TLSv1.1, which is broken and not spoken by Kivi"
    );
    assert_eq!(
        with("tls-ciphers", "FOO"),
        "Failed to configure ciphers: FOO"
    );
    assert_eq!(
        with("tls-ciphersuites", "FOO"),
        "Failed to configure ciphersuites: FOO"
    );
    // A folder is no file.
    assert_eq!(
        plain("", "server.key"),
        "Failed to load certificate: : not a regular file"
    );
    // Old versions beside new ones are left out, not refused.
    tls_of(&config_of(
        "server.crt",
        "server.key",
        &[("tls-protocols", "TLSv1.1 TLSv1.2")],
    ));
}

#[test]
fn ciphers_are_those_that_the_directives_name() {
    let client = Arc::new(client_with(None));
    let cipher = |directives: &[(&str, &str)]| {
        let tls = tls_of(&config_of("rsa.crt", "rsa.key", directives));
        let (server, _) = shake_hands(&tls, &client)?;
        let suite = server.negotiated_cipher_suite().unwrap().suite();
        Ok::<_, String>(format!("{suite:?}"))
    };
    let tls12 = ("tls-protocols", "TLSv1.2");
    assert_eq!(
        cipher(&[tls12, ("tls-ciphers", "ECDHE-RSA-CHACHA20-POLY1305")]).unwrap(),
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"
    );
    assert_eq!(
        cipher(&[("tls-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256")]).unwrap(),
        "TLS13_CHACHA20_POLY1305_SHA256"
    );
    // The client likes AES-256 best.
    let order = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
    let order = ("tls-ciphersuites", order);
    assert_eq!(cipher(&[order]).unwrap(), "TLS13_AES_256_GCM_SHA384");
    assert_eq!(
        cipher(&[order, ("tls-prefer-server-ciphers", "yes")]).unwrap(),
        "TLS13_CHACHA20_POLY1305_SHA256"
    );
    // For the other kind of key.
    let refused = cipher(&[tls12, ("tls-ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256")]);
    assert!(refused.is_err());
}

#[test]
fn clients_show_certificates_that_are_right() {
    let ca = ("tls-ca-cert-file", "ca.crt");
    let outcome = |auth: &str, certificate: Option<&str>, version: &str| {
        let more = [("tls-auth-clients", auth), ca, ("tls-protocols", version)];
        let tls = tls_of(&config_of("server.crt", "server.key", &more));
        match shake_hands(&tls, &Arc::new(client_with(certificate))) {
            Ok((server, _)) => Ok(server.peer_certificates().is_some()),
            Err(error) => Err(error),
        }
    };
    for version in ["TLSv1.2", "TLSv1.3"] {
        for good in ["client.crt", "client-chain.crt", "client-v1.crt"] {
            assert_eq!(outcome("yes", Some(good), version), Ok(true), "{good}");
            assert_eq!(outcome("optional", Some(good), version), Ok(true));
            assert_eq!(outcome("no", Some(good), version), Ok(false));
        }
        assert_eq!(outcome("optional", None, version), Ok(false));
        assert_eq!(
            outcome("yes", None, version),
            Err("server: peer sent no certificates".into())
        );
        for bad in [
            "client-expired.crt",
            "client-strange.crt",
            "client-v1-strange.crt",
            "client-server-only.crt",
            "client-self-signed.crt",
        ] {
            let refused = outcome("yes", Some(bad), version).unwrap_err();
            assert!(
                refused.starts_with("server: invalid peer certificate"),
                "{bad}: {refused}"
            );
            assert_eq!(outcome("optional", Some(bad), version), Err(refused));
        }
    }
}

#[test]
fn the_key_of_a_certificate_has_to_be_there_as_well() {
    let more = [("tls-auth-clients", "yes"), ("tls-ca-cert-file", "ca.crt")];
    for version in ["TLSv1.2", "TLSv1.3"] {
        let more = [more[0], more[1], ("tls-protocols", version)];
        let tls = tls_of(&config_of("server.crt", "server.key", &more));
        for name in ["client.crt", "client-v1.crt"] {
            let chain = CertificateDer::pem_file_iter(testdata(name)).unwrap();
            let key = PrivateKeyDer::from_pem_file(testdata("server2.key")).unwrap();
            let mut client = client_with(None);
            let key = client.crypto_provider().key_provider.load_private_key(key);
            let key =
                rustls::sign::CertifiedKey::new(chain.map(Result::unwrap).collect(), key.unwrap());
            client.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(key));
            let refused = shake_hands(&tls, &Arc::new(client)).unwrap_err();
            assert!(refused.contains("BadSignature"), "{name}: {refused}");
        }
    }
}

#[test]
fn a_certificate_that_has_signed_itself_is_trusted_if_it_is_named() {
    let more = [
        ("tls-auth-clients", "yes"),
        ("tls-ca-cert-file", "client-self-signed.crt"),
    ];
    let tls = tls_of(&config_of("server.crt", "server.key", &more));
    shake_hands(&tls, &Arc::new(client_with(Some("client-self-signed.crt")))).unwrap();
    assert!(shake_hands(&tls, &Arc::new(client_with(Some("client.crt")))).is_err());
}

#[test]
fn a_folder_of_authorities_holds_those_with_names_of_hashes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let more = [("tls-auth-clients", "yes"), ("tls-ca-cert-dir", path)];
    let config = config_of("server.crt", "server.key", &more);
    let client = Arc::new(client_with(Some("client.crt")));
    fs::copy(testdata("ca.crt"), dir.path().join("ca.pem")).unwrap();
    let tls = tls_of(&config);
    assert!(
        shake_hands(&tls, &client).is_err(),
        "OpenSSL would not see it"
    );
    assert_eq!(tls.reload(&config), Ok(Reloaded::Unchanged));
    fs::copy(testdata("ca.crt"), dir.path().join("0a1b2c3d.0")).unwrap();
    assert_eq!(tls.reload(&config), Ok(Reloaded::Changed));
    shake_hands(&tls, &client).unwrap();
}

#[test]
fn names_of_users() {
    use TlsAuthClientsUser::{CommonName, Off, Uri};
    let of = |name: &str, field| {
        let der = CertificateDer::from_pem_file(testdata(name)).unwrap();
        let names = identities(&der, field).into_iter();
        names
            .map(|name| String::from_utf8(name).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("client.crt", CommonName), ["bob"]);
    assert_eq!(of("client.crt", Uri), ["urn:kivi:nobody", "urn:kivi:bob"]);
    assert!(of("client.crt", Off).is_empty());
    assert_eq!(of("client-v1.crt", CommonName), ["bob"]);
    assert!(of("client-v1.crt", Uri).is_empty());
    assert!(of("client-no-name.crt", CommonName).is_empty());
    // It would be bob's for whoever stops at the NUL.
    assert_eq!(of("client-nul.crt", CommonName), ["bob\0evil"]);
    assert_eq!(of("client-nul-uri.crt", Uri), ["urn:kivi:bob\0.evil"]);
    assert!(!may_be_user(b"bob\0evil") && !may_be_user(b"\0") && !may_be_user(b""));
    assert!(may_be_user(b"bob"));
}

#[test]
fn damaged_certificates_break_nothing() {
    let der = CertificateDer::from_pem_file(testdata("client.crt")).unwrap();
    for at in 0..der.len() {
        for bit in [1, 0x80] {
            let mut damaged = der.to_vec();
            damaged[at] ^= bit;
            let _ = identities(&damaged, TlsAuthClientsUser::CommonName);
            let _ = identities(&damaged, TlsAuthClientsUser::Uri);
        }
        assert!(identities(&der[..at], TlsAuthClientsUser::Uri).is_empty());
    }
}

#[test]
fn a_probe_accepts_its_own_server_and_no_other() {
    let config = config_of("server.crt", "server.key", &[]);
    let tls = tls_of(&config);
    shake_hands(&tls, &probe(&config).unwrap()).unwrap();
    let other = config_of("server2.crt", "server2.key", &[]);
    assert!(shake_hands(&tls, &probe(&other).unwrap()).is_err());
    // Also where clients have to show a certificate.
    let more = [("tls-auth-clients", "yes"), ("tls-ca-cert-file", "ca.crt")];
    let config = config_of("elsewhere.crt", "server.key", &more);
    shake_hands(&tls_of(&config), &probe(&config).unwrap()).unwrap();
}

/// How a second handshake of the same client with the server went.
fn second_handshake(tls: &Tls, client: ClientConfig, between: impl FnOnce()) -> HandshakeKind {
    let mut client = client;
    client.resumption = Resumption::in_memory_sessions(8);
    let client = Arc::new(client);
    let (first, _) = shake_hands(tls, &client).unwrap();
    assert!(first.handshake_kind().unwrap() != HandshakeKind::Resumed);
    between();
    let (second, _) = shake_hands(tls, &client).unwrap();
    second.handshake_kind().unwrap()
}

#[test]
fn sessions_are_resumed_as_the_directives_say() {
    for version in ["TLSv1.2", "TLSv1.3"] {
        let version = ("tls-protocols", version);
        let tls_with = |more: &[(&str, &str)]| {
            let more: Vec<_> = more.iter().copied().chain([version]).collect();
            tls_of(&config_of("server.crt", "server.key", &more))
        };
        let kind = |tls: &Tls| second_handshake(tls, client_with(None), || {});
        assert_eq!(kind(&tls_with(&[])), HandshakeKind::Resumed);
        let without = tls_with(&[("tls-session-caching", "no")]);
        assert_ne!(kind(&without), HandshakeKind::Resumed);
        let at_once_too_old = tls_with(&[("tls-session-cache-timeout", "0")]);
        assert_ne!(kind(&at_once_too_old), HandshakeKind::Resumed);
    }
}

#[test]
fn no_session_outlasts_the_rules_that_it_was_made_under() {
    let more = [("tls-auth-clients", "yes"), ("tls-ca-cert-file", "ca.crt")];
    let config = config_of("server.crt", "server.key", &more);
    let tls = tls_of(&config);
    let client = client_with(Some("client.crt"));
    let kind = second_handshake(&tls, client, || tls.configure(&config).unwrap());
    assert_ne!(kind, HandshakeKind::Resumed);
}

#[test]
fn who_the_client_is_is_remembered_with_its_session() {
    let more = [("tls-auth-clients", "yes"), ("tls-ca-cert-file", "ca.crt")];
    let tls = tls_of(&config_of("server.crt", "server.key", &more));
    let client = Arc::new(client_with(Some("client.crt")));
    shake_hands(&tls, &client).unwrap();
    let (again, _) = shake_hands(&tls, &client).unwrap();
    assert_eq!(again.handshake_kind(), Some(HandshakeKind::Resumed));
    let expected = CertificateDer::from_pem_file(testdata("client.crt")).unwrap();
    assert_eq!(again.peer_certificates(), Some(&[expected][..]));
}

#[test]
fn a_reload_takes_what_is_whole_and_leaves_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("s.crt"), dir.path().join("s.key"));
    let put = |from: &str, to: &Path| {
        fs::copy(testdata(from), to).unwrap();
    };
    put("server.crt", &cert);
    put("server.key", &key);
    let config = configuration(&[
        ("tls-port", "1"),
        ("tls-cert-file", cert.to_str().unwrap()),
        ("tls-key-file", key.to_str().unwrap()),
        ("tls-auth-clients", "no"),
    ]);
    let tls = tls_of(&config);
    let serial = || tls.context().unwrap().certificate.clone().unwrap().serial;
    assert_eq!(serial(), "0A11CE");
    assert_eq!(tls.reload(&config), Ok(Reloaded::Unchanged));
    // In the middle of being replaced.
    put("server2.crt", &cert);
    let error = tls.reload(&config).unwrap_err().to_string();
    assert!(
        error.contains("does not belong to the certificate"),
        "{error}"
    );
    assert_eq!(serial(), "0A11CE");
    fs::remove_file(&key).unwrap();
    assert!(tls.reload(&config).is_err());
    put("server2.key", &key);
    assert_eq!(tls.reload(&config), Ok(Reloaded::Changed));
    assert_eq!(serial(), "0B0B");
}

#[test]
fn facts_for_info() {
    let config = config_of(
        "expired.crt",
        "server.key",
        &[("tls-ca-cert-file", "ca.crt")],
    );
    let context = tls_of(&config).context().unwrap();
    let certificate = context.certificate.as_ref().unwrap();
    assert_eq!(certificate.expires_at_secs, 1_609_459_200);
    // A serial number with a zero in front, as DER has it.
    let authority = context.authority.as_ref().unwrap();
    assert_eq!(authority.serial, "C0FFEE");
    assert_eq!(authority.expires_at_secs, 4_922_899_200);
}
