//! A certificate made on the spot, for `localhost` and `127.0.0.1`.

use std::fmt::Write;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ConfigBuilder, ServerConfig, WantsVerifier};

/// A self-signed certificate and its key (Ed25519, whose signatures are all of one length).
#[derive(Clone)]
pub struct Certificate {
    pem: String,
    der: CertificateDer<'static>,
    acceptor: TlsAcceptor,
}

impl Certificate {
    /// Makes one for `localhost`, `127.0.0.1` and `::1`.
    ///
    /// # Panics
    ///
    /// When the system has no random numbers.
    #[must_use]
    pub fn generate() -> Self {
        Self::for_names(&["localhost", "127.0.0.1", "::1"])
    }

    /// Makes one for these host names and addresses.
    ///
    /// # Panics
    ///
    /// When a name cannot be a host's, or the system has no random numbers.
    #[must_use]
    pub fn for_names(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("the system has random numbers");
        let certificate = CertificateParams::new(names)
            .and_then(|parameters| parameters.self_signed(&key))
            .expect("host names can be certified");
        let der = certificate.der().clone();
        let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = versions()
            .with_no_client_auth()
            .with_single_cert(vec![der.clone()], secret)
            .expect("the key fits the certificate");
        // Tickets would make one connection depend on another.
        config.send_tls13_tickets = 0;
        Self { pem: certificate.pem(), der, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    /// The certificate, which is its own authority, as PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificate as DER.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The server's side of TLS with it.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// The SHA-256 of the DER, in lower-case hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
        let suite = suite.tls13().expect("a suite of TLS 1.3");
        let digest = suite.common.hash_provider.hash(&self.der);
        digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
            // Writing to memory does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

fn versions() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_certificate_is_its_own() {
        let (one, other) = (Certificate::generate(), Certificate::generate());
        assert_eq!(one.fingerprint().len(), 64);
        assert_ne!(one.fingerprint(), other.fingerprint());
        assert!(one.pem().starts_with("-----BEGIN CERTIFICATE-----"));
    }
}
