//! How the load generator's connections reach a server: plain, or through TLS; and as whom.
//!
//! TLS is rustls, driven by hand: what is sent is encrypted into one buffer and written at once, what comes
//! is decrypted where it was read. So the client's part costs little and is the same for all servers. A
//! client trusts whoever answers: it measures, and the certificate is one of the benchmark's own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const RECEIVE_BYTES: usize = 64 * 1024;

/// How connections are made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    /// Another port than the server's plain one.
    pub(crate) port: Option<u16>,
    /// Through TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// What is sent first, to be answered with OK: a login, for instance.
    pub(crate) greeting: Vec<u8>,
}

/// A client's part of TLS, in one version, without sessions that could be resumed.
pub(crate) fn client_config(
    version: &'static SupportedProtocolVersion,
) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let trust = Arc::new(Anyone(provider.clone()));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])?
        .dangerous()
        .with_custom_certificate_verifier(trust)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Trusts every certificate, and believes that it was signed rightly.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection that stands: the server has accepted it, shaken hands and answered.
pub(crate) struct Wire {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Wire {
    /// Connects to a server whose plain port is `port`, and has a PING answered.
    pub(crate) fn connect(port: u16, way: &Way) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, way.port.unwrap_or(port)));
        let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CONNECT_LIMIT))?;
        let mut wire = Self { stream, tls: None };
        if let Some(config) = &way.tls {
            let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
            let mut tls = ClientConnection::new(config.clone(), name)?;
            tls.set_buffer_limit(None);
            wire.tls = Some(Box::new(tls));
        }
        if !way.greeting.is_empty() {
            wire.exchange(&way.greeting, b"+OK\r\n")
                .context("greeting")?;
        }
        wire.exchange(b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n")?;
        Ok(wire)
    }

    /// Sends something and awaits an answer.
    fn exchange(&mut self, request: &[u8], expected: &[u8]) -> Result<()> {
        let mut answer = vec![0; expected.len()];
        match &mut self.tls {
            Some(tls) => {
                let mut stream = rustls::Stream::new(&mut **tls, &mut self.stream);
                stream.write_all(request)?;
                stream.read_exact(&mut answer)?;
            }
            None => {
                self.stream.write_all(request)?;
                self.stream.read_exact(&mut answer)?;
            }
        }
        ensure!(
            answer == expected,
            "the answer is {}",
            answer.escape_ascii()
        );
        Ok(())
    }

    /// A plain one's socket, which does not block any more.
    pub(crate) fn into_stream(self) -> Result<TcpStream> {
        ensure!(self.tls.is_none(), "it is encrypted");
        self.stream.set_nonblocking(true)?;
        Ok(self.stream)
    }

    /// For an event loop.
    pub(crate) fn into_link(self) -> Result<Link> {
        self.stream.set_nonblocking(true)?;
        Ok(Link {
            stream: tokio::net::TcpStream::from_std(self.stream)?,
            tls: self.tls,
            sealed: Vec::new(),
            raw: vec![0; RECEIVE_BYTES],
            raw_at: 0,
            raw_end: 0,
        })
    }
}

/// The same on an event loop.
pub(crate) struct Link {
    stream: tokio::net::TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// What is on its way out, encrypted.
    sealed: Vec<u8>,
    /// What has come in and is not decrypted: `raw_at .. raw_end`.
    raw: Vec<u8>,
    raw_at: usize,
    raw_end: usize,
}

impl Link {
    /// Sends all of it.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(tls) = &mut self.tls else {
            return Ok(self.stream.write_all(bytes).await?);
        };
        tls.writer().write_all(bytes)?;
        self.sealed.clear();
        while tls.wants_write() {
            tls.write_tls(&mut self.sealed)?;
        }
        Ok(self.stream.write_all(&self.sealed).await?)
    }

    /// Waits for bytes; how many came.
    pub(crate) async fn receive(&mut self, into: &mut [u8]) -> Result<usize> {
        let Some(tls) = &mut self.tls else {
            return Ok(self.stream.read(into).await?);
        };
        loop {
            match tls.reader().read(into) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if self.raw_at == self.raw_end {
                self.raw_at = 0;
                self.raw_end = self.stream.read(&mut self.raw).await?;
                ensure!(self.raw_end > 0, "the server closed the connection");
            }
            let mut rest = &self.raw[self.raw_at..self.raw_end];
            tls.read_tls(&mut rest)?;
            self.raw_at = self.raw_end - rest.len();
            tls.process_new_packets()?;
        }
    }
}
