//! Keys in every wrapping that OpenSSL writes; those of `testdata` are one EC and one RSA key.

use super::*;

macro_rules! testdata {
    ($name:literal) => {
        include_bytes!(concat!("../testdata/", $name))
    };
}

const PASSWORD: &[u8] = b"sesame";

fn key(pem: &[u8], password: &[u8]) -> Vec<u8> {
    private_key(pem, password).unwrap().secret_der().to_vec()
}

#[test]
fn keys_under_a_password_open_with_it() {
    let open = key(testdata!("sec1.key"), b"");
    for locked in [
        &testdata!("old-aes128.key")[..],
        testdata!("old-aes192.key"),
        testdata!("old-aes256.key"),
        testdata!("old-des3.key"),
    ] {
        assert_eq!(key(locked, PASSWORD), open);
        for wrong in [&b""[..], b"Sesame", b"sesame "] {
            let refused = private_key(locked, wrong).unwrap_err();
            assert_eq!(
                refused,
                "it is locked, and tls-key-file-pass does not open it"
            );
        }
    }
    assert_eq!(
        key(testdata!("old-rsa.key"), PASSWORD),
        key(testdata!("pkcs1.key"), b"")
    );
    let pkcs8 = testdata!("pkcs8-locked.key");
    assert_eq!(key(pkcs8, PASSWORD), key(testdata!("server.key"), b""));
    assert!(
        private_key(pkcs8, b"no")
            .unwrap_err()
            .contains("does not open it")
    );
}

#[test]
fn what_kivi_cannot_open_it_says() {
    let refused = private_key(testdata!("old-camellia.key"), PASSWORD).unwrap_err();
    assert_eq!(
        refused,
        "it is locked with CAMELLIA-256-CBC, which Kivi does not know"
    );
    let refused = |pem: &str| private_key(pem.as_bytes(), PASSWORD).unwrap_err();
    assert_eq!(refused(""), "no private key found");
    assert_eq!(
        refused(std::str::from_utf8(testdata!("server.crt")).unwrap()),
        "no private key found"
    );
    let section = |headers: &str, body: &str| {
        format!("-----BEGIN RSA PRIVATE KEY-----\n{headers}{body}-----END RSA PRIVATE KEY-----\n")
    };
    let locked = "Proc-Type: 4,ENCRYPTED\n";
    assert_eq!(
        refused(&section(locked, "AAAA\n")),
        "it is locked, but does not say how"
    );
    for info in ["AES-128-CBC,0", "AES-128-CBC,zz", "AES-128-CBC,é"] {
        let headers = format!("{locked}DEK-Info: {info}\n");
        assert_eq!(
            refused(&section(&headers, "AAAA\n")),
            "the DEK-Info is not valid"
        );
    }
    for info in [
        "AES-128-CBC,",
        "AES-128-CBC,00",
        "DES-EDE3-CBC,00112233445566778899",
    ] {
        let headers = format!("{locked}DEK-Info: {info}\n");
        assert!(refused(&section(&headers, "AAAA\n")).contains("does not open it"));
    }
    assert_eq!(
        refused(&section("", "!!\n")),
        "the RSA PRIVATE KEY is not valid base64"
    );
    assert_eq!(
        refused("-----BEGIN PRIVATE KEY-----\nAAAA"),
        "the last section has no end"
    );
    assert_eq!(
        refused("-----BEGIN PRIVATE KEY-----\n-----END FOO-----\n"),
        "a section ends that has not begun"
    );
}

#[test]
fn certificates_come_in_order_whatever_stands_between() {
    let mut pem = b"Bag Attributes\n    friendlyName: x\n".to_vec();
    pem.extend_from_slice(testdata!("server.key"));
    pem.extend_from_slice(testdata!("client-chain.crt"));
    pem.extend_from_slice(testdata!("ca.crt"));
    let found = certificates(&pem).unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!(found[2..], certificates(testdata!("ca.crt")).unwrap()[..]);
    // With the ends of lines that others write.
    let windows = String::from_utf8_lossy(&pem).replace('\n', "\r\n");
    assert_eq!(certificates(windows.as_bytes()).unwrap(), found);
    assert!(certificates(b"").unwrap().is_empty());
}

#[test]
fn damaged_files_are_errors_and_no_more() {
    for good in [
        &testdata!("old-aes128.key")[..],
        testdata!("pkcs8-locked.key"),
        testdata!("client-chain.crt"),
    ] {
        for at in (0..good.len()).step_by(3) {
            let _ = private_key(&good[..at], PASSWORD);
            let mut changed = good.to_vec();
            changed[at] ^= 1 << (at % 8);
            let _ = private_key(&changed, PASSWORD);
            let _ = certificates(&changed);
        }
    }
}
