//! Which user a client's certificate names (`tls-auth-clients-user`): its common name, or the URIs among its other
//! names.
//!
//! A name is taken as the bytes that it has, all of them, so that nobody's name can be the beginning of another one's;
//! one with a NUL in it is nobody's.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::TlsAuthClientsUser;

/// The names of users that a certificate has where the directive says to look, in order.
pub fn identities(der: &[u8], field: TlsAuthClientsUser) -> Vec<Vec<u8>> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Vec::new();
    };
    match field {
        TlsAuthClientsUser::Off => Vec::new(),
        TlsAuthClientsUser::CommonName => common_name(&certificate),
        TlsAuthClientsUser::Uri => uris(&certificate),
    }
}

/// Whether a name can be a user's.
pub fn may_be_user(name: &[u8]) -> bool {
    !name.is_empty() && !name.contains(&0)
}

fn common_name(certificate: &X509Certificate<'_>) -> Vec<Vec<u8>> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next().map(|name| name.as_slice().to_vec());
    name.into_iter().collect()
}

fn uris(certificate: &X509Certificate<'_>) -> Vec<Vec<u8>> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some(uri.as_bytes().to_vec()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(uri).collect()
}
