//! Which user a client's certificate names (`tls-auth-clients-user`): its common name, or the URIs among its other
//! names.
//!
//! A name is taken as the bytes that it has, all of them: one with a NUL in it names nobody, so that nobody's name can
//! be the beginning of another one's.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::TlsAuthClientsUser;

/// Why a certificate names no user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoIdentity {
    /// It has no such name.
    Missing,
    /// The name cannot be one: it has a NUL, or is no text.
    Malformed,
}

/// The names of users that a certificate has where the directive says to look, in order.
pub fn identity(der: &[u8], field: TlsAuthClientsUser) -> Result<Vec<Vec<u8>>, NoIdentity> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| NoIdentity::Malformed)?;
    let names = match field {
        TlsAuthClientsUser::Off => Vec::new(),
        TlsAuthClientsUser::CommonName => common_name(&certificate)?,
        TlsAuthClientsUser::Uri => uris(&certificate)?,
    };
    let is_sound = |name: &Vec<u8>| !name.is_empty() && !name.contains(&0);
    match names.iter().all(is_sound) {
        true if names.is_empty() => Err(NoIdentity::Missing),
        true => Ok(names),
        false => Err(NoIdentity::Malformed),
    }
}

fn common_name(certificate: &X509Certificate<'_>) -> Result<Vec<Vec<u8>>, NoIdentity> {
    let mut names = certificate.subject().iter_common_name();
    let Some(name) = names.next() else {
        return Ok(Vec::new());
    };
    let text = name.as_str().map_err(|_| NoIdentity::Malformed)?;
    Ok(vec![text.as_bytes().to_vec()])
}

fn uris(certificate: &X509Certificate<'_>) -> Result<Vec<Vec<u8>>, NoIdentity> {
    let names = certificate.subject_alternative_name();
    let Some(names) = names.map_err(|_| NoIdentity::Malformed)? else {
        return Ok(Vec::new());
    };
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some(Ok(uri.as_bytes().to_vec())),
        GeneralName::Invalid(..) => Some(Err(NoIdentity::Malformed)),
        _ => None,
    };
    names.value.general_names.iter().filter_map(uri).collect()
}
