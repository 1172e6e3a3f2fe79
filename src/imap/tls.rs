//! TLS 1.2 and later by rustls; the platform's roots, more of the user's, or one pinned certificate.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring as provider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError,
    OtherError, PeerIncompatible, RootCertStore, SignatureScheme,
};

use super::wire::BoxStream;
use crate::endpoint::{Endpoint, Fingerprint};
use crate::fault::{About, Fault, Remedy, Scope};

/// How servers are trusted; shared by all connections, so that TLS sessions are resumed.
#[derive(Clone)]
pub struct TlsSettings {
    provider: Arc<CryptoProvider>,
    extra: Vec<CertificateDer<'static>>,
    /// Made for the first connection that needs it: reading a platform's roots takes a while.
    by_roots: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl TlsSettings {
    /// Trusts the platform's roots (Mozilla's where the platform has none) and those in
    /// `extra_roots_pem`.
    ///
    /// # Errors
    ///
    /// Where the extra roots cannot be read.
    pub fn new(extra_roots_pem: Option<&[u8]>) -> Result<Self, Fault> {
        let extra: Vec<CertificateDer<'static>> = match extra_roots_pem {
            Some(pem) => CertificateDer::pem_slice_iter(pem)
                .collect::<Result<_, _>>()
                .map_err(|error| unusable(error.to_string().into()))?,
            None => Vec::new(),
        };
        if extra_roots_pem.is_some() && extra.is_empty() {
            return Err(unusable("there is no certificate in the file (PEM is expected)".into()));
        }
        Ok(Self {
            provider: Arc::new(provider::default_provider()),
            extra,
            by_roots: Arc::default(),
        })
    }

    fn by_roots(&self) -> Result<Arc<ClientConfig>, Fault> {
        if let Some(config) = self.by_roots.get() {
            return Ok(config.clone());
        }
        let config = roots_verifier(&self.provider, self.extra.clone())
            .and_then(|verifier| client_config(&self.provider, Arc::new(Telling { verifier })))
            .map_err(|error| unusable(error.into()))?;
        Ok(self.by_roots.get_or_init(|| Arc::new(config)).clone())
    }

    /// Begins TLS on a stream and checks who answers.
    ///
    /// # Errors
    ///
    /// An account fault where trust or the protocol version is missing, with the certificate's
    /// fingerprint and what to do; else a session fault.
    pub async fn begin(&self, endpoint: &Endpoint, stream: BoxStream) -> Result<BoxStream, Fault> {
        let action = format!("begin TLS with {}", endpoint.address());
        let config = match endpoint.pin {
            Some(pin) => {
                let verifier = Arc::new(Pinned { pin, provider: self.provider.clone() });
                let config = client_config(&self.provider, verifier)
                    .map_err(|error| Fault::session(&action, error))?;
                Arc::new(config)
            }
            None => self.by_roots()?,
        };
        let name = ServerName::try_from(endpoint.host.clone())
            .map_err(|error| Fault::new(Scope::Account, Remedy::Nothing, &action, error))?;
        match TlsConnector::from(config).connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(handshake_fault(action, error)),
        }
    }
}

fn unusable(cause: Box<dyn std::error::Error + Send + Sync>) -> Fault {
    let action = "read the trusted certificates";
    Fault::new(Scope::Batch, Remedy::Nothing, action, cause)
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, TlsError> {
    Ok(ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

fn roots_verifier(
    provider: &Arc<CryptoProvider>,
    extra: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    // Slim containers have no roots of their own, and fail here.
    if rustls_platform_verifier::Verifier::new(provider.clone()).is_ok() {
        return rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider.clone())
            .map(|verifier| Arc::new(verifier) as Arc<dyn ServerCertVerifier>);
    }
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(extra);
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
        .map_err(|error| TlsError::General(error.to_string()))
}

fn handshake_fault(action: String, error: io::Error) -> Fault {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    let too_old = matches!(
        tls,
        Some(
            TlsError::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                    | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            ) | TlsError::AlertReceived(AlertDescription::ProtocolVersion)
        )
    );
    if too_old {
        let cause = "the server speaks only TLS 1.0 or 1.1, which are broken (RFC 8996): update \
                     the server, or put a TLS 1.2 proxy such as stunnel before it";
        return Fault::new(Scope::Account, Remedy::Nothing, action, cause);
    }
    match tls {
        Some(TlsError::InvalidCertificate(CertificateError::Other(OtherError(untrusted)))) => {
            let cause = Untold(untrusted.to_string());
            Fault::new(Scope::Account, Remedy::Nothing, action, cause).about(About::Trust)
        }
        Some(TlsError::InvalidCertificate(_)) => {
            Fault::new(Scope::Account, Remedy::Nothing, action, error)
        }
        _ => Fault::session(action, error),
    }
}

/// The words of an error that cannot be moved out of its place.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Untold(String);

/// A certificate that is not trusted, with what it takes to trust it.
#[derive(Debug)]
struct Untrusted {
    fingerprint: Fingerprint,
    reason: String,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the server's certificate is not trusted: {}; its SHA-256 fingerprint is {}",
            self.reason, self.fingerprint
        )
    }
}

impl std::error::Error for Untrusted {}

fn untrusted(certificate: &CertificateDer<'_>, reason: String) -> TlsError {
    let untrusted = Untrusted { fingerprint: fingerprint(certificate), reason };
    TlsError::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(untrusted))))
}

fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    let mut octets = [0; 32];
    octets.copy_from_slice(digest.as_ref());
    Fingerprint(octets)
}

/// Checks chain and name, and tells the fingerprint of what it refuses.
#[derive(Debug)]
struct Telling {
    verifier: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for Telling {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        self.verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| untrusted(end_entity, error.to_string()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Trusts one certificate, whatever its chain, name and dates say: old servers show self-signed
/// certificates that cannot be a root.
#[derive(Debug)]
struct Pinned {
    pin: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if fingerprint(end_entity) == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        Err(untrusted(end_entity, format!("it is not the pinned one, {}", self.pin)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
