//! INFO tls: the certificates that new connections are shown, and until when they are good.

use crate::tls::CertificateFacts;

use super::Report;

pub(super) fn write(report: &mut Report<'_, '_>) {
    let context = report.server.tls.context();
    let context = context.as_deref();
    certificate(
        report,
        "server",
        context.and_then(|tls| tls.certificate.as_ref()),
    );
    // Kivi opens no connections of its own.
    certificate(report, "client", None);
    certificate(report, "ca", context.and_then(|tls| tls.authority.as_ref()));
}

fn certificate(report: &mut Report<'_, '_>, whose: &str, facts: Option<&CertificateFacts>) {
    let now_secs = i64::try_from(report.server.clock.unix_ms() / 1000).unwrap_or(i64::MAX);
    let serial = facts.map_or("none", |facts| &facts.serial);
    let left_secs = facts.map_or(0, |facts| {
        facts.expires_at_secs.saturating_sub(now_secs).max(0)
    });
    report.line(&format!("tls_{whose}_cert_serial"), serial);
    report.line(&format!("tls_{whose}_cert_expires_in_seconds"), left_secs);
}
