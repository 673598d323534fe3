//! What a neighbour shows: a certificate, of which only the key counts.
//!
//! Any certificate is accepted whose key the peer has: which key that is, is judged after the handshake, so that
//! the one who is refused can be told why. That the peer has the private key is verified in the handshake, with the
//! provider's own functions. A certificate's names, dates, issuer and its own signature say nothing here.

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
};
use webpki::EndEntityCert;

use crate::topology::Fingerprint;

/// The fingerprint of the key that a certificate carries.
///
/// # Errors
/// The certificate is none.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> Result<Fingerprint, webpki::Error> {
    let key = EndEntityCert::try_from(certificate)?.subject_public_key_info();
    let bytes = digest(&SHA256, &key);
    let bytes = bytes.as_ref().try_into().expect("SHA-256 has 32 bytes");
    Ok(Fingerprint::new(bytes))
}

/// Accepts any key that the peer has.
#[derive(Debug)]
pub struct AnyKey(WebPkiSupportedAlgorithms);

impl AnyKey {
    /// One that verifies with the provider's functions.
    pub fn new(provider: &CryptoProvider) -> AnyKey {
        AnyKey(provider.signature_verification_algorithms)
    }
}

/// How both ends verify that the peer has the private key: by the provider's own functions.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into()) // links speak 1.3 only
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &self.0)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.supported_schemes()
        }
    };
}

fn has_key(certificate: &CertificateDer<'_>) -> Result<(), Error> {
    let found = fingerprint(certificate);
    found.map_err(|_| CertificateError::BadEncoding)?;
    Ok(())
}

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        has_key(end_entity).map(|()| ServerCertVerified::assertion())
    }

    signatures!();
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        has_key(end_entity).map(|()| ClientCertVerified::assertion())
    }

    signatures!();
}
