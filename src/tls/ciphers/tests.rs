//! Lists, as OpenSSL 3.0 understood them: `lists.txt` holds each with the number of ciphers that it meant, 0 if it was
//! refused, and the places in `HERE` of those that are here, in its order.

use rustls::crypto::aws_lc_rs::default_provider;

use super::*;

#[test]
fn lists_mean_what_they_mean_to_openssl() {
    let lines = include_str!("lists.txt").lines();
    let mut wrong = Vec::new();
    for line in lines.clone() {
        let mut parts = line.split('|');
        let mut next = || parts.next().unwrap();
        let (list, count, here) = (next(), next(), next());
        let chosen = evaluate(list).unwrap_or_default();
        let place = |cipher: &Cipher| HERE.iter().position(|(name, _)| *name == cipher.name);
        let places = chosen.iter().filter_map(place);
        let places = places.map(|place| place.to_string()).collect::<Vec<_>>();
        let found = format!("{list}|{}|{}", chosen.len(), places.join(","));
        if found != format!("{list}|{count}|{here}") {
            wrong.push(format!("{line} but found {found}"));
        }
    }
    assert!(lines.count() > 150);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn names(suites: &[SupportedCipherSuite]) -> Vec<String> {
    let name = |suite: &SupportedCipherSuite| format!("{:?}", suite.suite());
    suites.iter().map(name).collect()
}

#[test]
fn what_is_left_keeps_its_order() {
    let available = default_provider().cipher_suites;
    let all = choose("", "", &available).unwrap();
    assert_eq!(all.len(), 9);
    let some = choose(
        "ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-SHA:ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_AES_128_GCM_SHA256:FOO:TLS_AES_128_CCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256",
        &available,
    );
    assert_eq!(
        names(&some.unwrap()),
        [
            "TLS13_AES_128_GCM_SHA256",
            "TLS13_AES_256_GCM_SHA384",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        ]
    );
}

#[test]
fn what_is_not_here_is_told_from_what_is_not_known() {
    let available = default_provider().cipher_suites;
    let refused = |ciphers, suites| choose(ciphers, suites, &available).unwrap_err();
    assert_eq!(refused("FOO", ""), "Failed to configure ciphers: FOO");
    assert_eq!(
        refused("DHE-RSA-AES256-SHA", ""),
        "Failed to configure ciphers: DHE-RSA-AES256-SHA: none of them is here, only ECDHE with AES-GCM or \
         CHACHA20-POLY1305"
    );
    assert_eq!(
        refused("SUITEB128", ""),
        "Failed to configure ciphers: SUITEB128: Suite B is not here"
    );
    assert_eq!(refused("", "FOO"), "Failed to configure ciphersuites: FOO");
    assert_eq!(
        refused("", "TLS_AES_128_CCM_SHA256"),
        "Failed to configure ciphersuites: TLS_AES_128_CCM_SHA256: none of them is here"
    );
}

#[test]
fn no_list_is_too_odd() {
    for list in [
        "+",
        "!",
        "-",
        "@",
        "@SECLEVEL=",
        "++",
        "!+",
        "ALL+",
        "é:ALL",
        "DEFAULTé",
        "\u{1F600}",
    ] {
        evaluate(list);
    }
}
