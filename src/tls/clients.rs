//! Which certificates of clients are accepted: those that were signed by one of the authorities, are valid today and
//! may be used by clients.
//!
//! Chains are checked by webpki. Two kinds that it refuses and OpenSSL accepts are checked here, because they are what
//! small installations use: a certificate that is itself among the authorities (one that has signed itself), and one of
//! X.509 version 1, which has no extensions (Valkey's own script makes such ones), signed directly by an authority.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

/// See the module's text.
#[derive(Debug)]
pub(super) struct TrustedClients {
    /// None if there are no authorities: then nobody is accepted.
    chains: Option<Arc<dyn ClientCertVerifier>>,
    authorities: Vec<CertificateDer<'static>>,
    is_mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl TrustedClients {
    pub(super) fn new(
        authorities: Vec<CertificateDer<'static>>,
        is_mandatory: bool,
        provider: &Arc<CryptoProvider>,
    ) -> TrustedClients {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        TrustedClients {
            chains: builder.build().ok(),
            authorities,
            is_mandatory,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    /// The two kinds that webpki does not know; `None`: it is neither.
    fn is_simple_and_trusted(&self, der: &CertificateDer<'_>, now: UnixTime) -> Option<bool> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        if self
            .authorities
            .iter()
            .any(|authority| **authority == **der)
        {
            return Some(is_valid(&certificate, now) && is_for_clients(&certificate));
        }
        if certificate.version() != X509Version::V1 {
            return None;
        }
        let has_signed = |authority: &CertificateDer<'_>| {
            let Ok((_, authority)) = X509Certificate::from_der(authority) else {
                return false;
            };
            authority.subject().as_raw() == certificate.issuer().as_raw()
                && is_valid(&authority, now)
                && may_sign(&authority)
                && self.is_signed(&certificate, &authority)
        };
        Some(is_valid(&certificate, now) && self.authorities.iter().any(has_signed))
    }

    fn is_signed(&self, certificate: &X509Certificate<'_>, by: &X509Certificate<'_>) -> bool {
        let Some((key_algorithm, key)) = key_of(by) else {
            return false;
        };
        let Some(signature_algorithm) = signature_algorithm(certificate) else {
            return false;
        };
        let message = certificate.tbs_certificate.as_ref();
        let signature = &certificate.signature_value.data;
        self.algorithms.all.iter().any(|algorithm| {
            *algorithm.public_key_alg_id() == *key_algorithm
                && *algorithm.signature_alg_id() == *signature_algorithm
                && algorithm.verify_signature(key, message, signature).is_ok()
        })
    }
}

impl ClientCertVerifier for TrustedClients {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    /// None, as in Valkey: who serves strangers need not tell them whom it trusts.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let Some(chains) = &self.chains else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let result = chains.verify_client_cert(end_entity, intermediates, now);
        match &result {
            Err(_) if self.is_simple_and_trusted(end_entity, now) == Some(true) => {
                Ok(ClientCertVerified::assertion())
            }
            _ => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether who shows a certificate has its key, in TLS 1.2; also one of version 1.
pub(super) fn verify_tls12(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let Some(old) = version_1(cert) else {
        return verify_tls12_signature(message, cert, dss, algorithms);
    };
    let mut mapping = algorithms.mapping.iter();
    let of_scheme = mapping.find(|(scheme, _)| *scheme == dss.scheme);
    let of_scheme = of_scheme.map_or(&[][..], |(_, algorithms)| algorithms);
    let is_valid = key_of(&old).is_some_and(|(key_algorithm, key)| {
        of_scheme.iter().any(|algorithm| {
            *algorithm.public_key_alg_id() == *key_algorithm
                && algorithm
                    .verify_signature(key, message, dss.signature())
                    .is_ok()
        })
    });
    match is_valid {
        true => Ok(HandshakeSignatureValid::assertion()),
        false => Err(CertificateError::BadSignature.into()),
    }
}

/// The same in TLS 1.3.
pub(super) fn verify_tls13(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    match version_1(cert) {
        None => verify_tls13_signature(message, cert, dss, algorithms),
        Some(old) => {
            let key = SubjectPublicKeyInfoDer::from(old.public_key().raw);
            verify_tls13_signature_with_raw_key(message, &key, dss, algorithms)
        }
    }
}

fn version_1<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    (certificate.version() == X509Version::V1).then_some(certificate)
}

fn is_valid(certificate: &X509Certificate<'_>, now: UnixTime) -> bool {
    let validity = certificate.validity();
    let Ok(now_secs) = i64::try_from(now.as_secs()) else {
        return false;
    };
    (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now_secs)
}

/// Without a list of purposes a certificate is good for all.
fn is_for_clients(certificate: &X509Certificate<'_>) -> bool {
    match certificate.extended_key_usage() {
        Ok(None) => true,
        Ok(Some(usage)) => usage.value.any || usage.value.client_auth,
        Err(_) => false,
    }
}

/// An authority: says so, and does not forbid itself to sign; one of version 1 cannot say anything.
fn may_sign(authority: &X509Certificate<'_>) -> bool {
    if authority.version() == X509Version::V1 {
        return true;
    }
    let signs = match authority.key_usage() {
        Ok(None) => true,
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Err(_) => false,
    };
    let is_authority = authority.basic_constraints();
    signs && matches!(is_authority, Ok(Some(constraints)) if constraints.value.ca)
}

/// The algorithm and the bits of a certificate's key.
fn key_of<'a>(certificate: &'a X509Certificate<'_>) -> Option<(&'a [u8], &'a [u8])> {
    let key = certificate.public_key();
    // The key's DER is a sequence of the algorithm and the bits.
    let algorithm = content(content(key.raw)?)?;
    Some((algorithm, &key.subject_public_key.data))
}

/// The algorithm that a certificate was signed with: a certificate is a sequence of what was signed, this, and the
/// signature.
fn signature_algorithm<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    let parts = content(certificate.as_raw())?;
    content(parts.get(certificate.tbs_certificate.as_ref().len()..)?)
}

/// The content of a DER sequence, which may have something behind it.
fn content(der: &[u8]) -> Option<&[u8]> {
    use x509_parser::asn1_rs::{Any, Tag};
    let (_, any) = Any::from_der(der).ok()?;
    (any.tag() == Tag::Sequence).then_some(any.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_of_a_sequence() {
        assert_eq!(content(&[0x30, 2, 5, 0, 9]), Some(&[5, 0][..]));
        assert_eq!(content(&[0x30, 3, 5, 0]), None);
        assert_eq!(content(&[0x31, 0]), None);
        assert_eq!(content(&[]), None);
    }
}
