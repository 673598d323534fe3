//! Keys: a server's own, by which its neighbours know it, and the certificate that it shows to clients.
//!
//! `cli` makes keys, `Server` reads them and hands `net` what it speaks TLS with. A server is a key that the
//! topology pins: there is no authority, no expiry and no name in a certificate. A certificate only carries the key,
//! so one is made at each start, in memory, and of a neighbour's only the key counts.
//!
//! Sessions are never resumed: a key that has been taken out must not come back by a ticket.

pub mod roots;
mod shown;

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use self::shown::AnyKey;
pub use self::shown::fingerprint;
use crate::private_file;
use crate::topology::Fingerprint;

/// The longest record on a link, its header and seal not counted. Nothing of a record is heard before its end:
/// at the 1,100 bytes a second that a link is to carry at least, this one takes less than the 8 s after which a
/// silent link counts as dead.
const LINK_RECORD_BYTES: usize = 8 * 1024;

/// A server's key, and how it speaks TLS on its links with it.
#[derive(Clone, Debug)]
pub struct OwnKey {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// For neighbours that it dials.
    pub client: Arc<ClientConfig>,
    /// For those who dial it.
    pub server: Arc<ServerConfig>,
}

impl OwnKey {
    /// Makes a new one. Gives its text too, as PEM.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn generate() -> Result<(OwnKey, String), String> {
        let pair = KeyPair::generate().map_err(|error| error.to_string())?;
        let text = pair.serialize_pem();
        Ok((OwnKey::with(&pair)?, text))
    }

    /// Reads one from a file in PEM (PKCS#8) that its owner alone can read.
    ///
    /// # Errors
    /// What is wrong with the file, in words that follow its name.
    pub fn read(path: &Path) -> Result<OwnKey, String> {
        let text = private_file::text(path)?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|error| format!("holds no private key in PEM: {error}"))?;
        let pair = KeyPair::try_from(&key).map_err(|_| {
            "is no key that can be used: a PKCS#8 key of type P-256, P-384, Ed25519 or RSA is wanted \
             (herd keygen makes one; openssl pkcs8 -topk8 -nodes changes the form of one)"
        })?;
        OwnKey::with(&pair)
    }

    fn with(pair: &KeyPair) -> Result<OwnKey, String> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "herd");
        let certificate = params
            .self_signed(pair)
            .map_err(|error| error.to_string())?;
        let certificate = certificate.der().clone();
        let fingerprint = fingerprint(&certificate).map_err(|error| error.to_string())?;
        let chain = vec![certificate];
        let key = || PrivateKeyDer::try_from(pair.serialize_der());
        let words = |error: rustls::Error| format!("is no key that can be used: {error}");
        let any_key = Arc::new(AnyKey::new(&provider::default_provider()));

        let client = ClientConfig::builder_with_provider(new_provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(words)?
            .dangerous() // so rustls calls all that looks at something else than a certificate's names
            .with_custom_certificate_verifier(Arc::clone(&any_key) as _)
            .with_client_auth_cert(chain.clone(), key()?);
        let mut client = client.map_err(words)?;
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        client.max_fragment_size = Some(LINK_RECORD_BYTES);

        let server = ServerConfig::builder_with_provider(new_provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(words)?
            .with_client_cert_verifier(any_key)
            .with_single_cert(chain, key()?);
        let mut server = without_resumption(server.map_err(words)?);
        server.max_fragment_size = Some(LINK_RECORD_BYTES);
        Ok(OwnKey {
            fingerprint,
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }
}

/// How TLS is spoken with clients, who are asked for no certificate.
#[derive(Clone, Debug)]
pub struct ForClients {
    /// How.
    pub config: Arc<ServerConfig>,
    /// The certificate that they are shown.
    pub shown: CertificateDer<'static>,
}

/// Reads how TLS is spoken with clients: a certificate, or a chain of them, in one file and its private key in
/// another.
///
/// # Errors
/// What is wrong, with the name of the file.
pub fn for_clients(certificates: &Path, key: &Path) -> Result<ForClients, String> {
    let certificates_file = private_file::shown(certificates);
    let key_file = private_file::shown(key);
    let text = private_file::public_text(certificates)
        .map_err(|error| format!("{certificates_file} {error}"))?;
    let chain = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("{certificates_file} is no PEM: {error}"))?;
    let shown = chain.first().cloned();
    let shown = shown.ok_or_else(|| format!("{certificates_file} holds no certificate in PEM"))?;
    let text = private_file::text(key).map_err(|error| format!("{key_file} {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|error| format!("{key_file} holds no private key in PEM: {error}"))?;
    let config = ServerConfig::builder_with_provider(new_provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for them")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| {
            format!("{certificates_file} and {key_file} do not go together: {error}")
        })?;
    let config = Arc::new(without_resumption(config));
    Ok(ForClients { config, shown })
}

fn without_resumption(mut config: ServerConfig) -> ServerConfig {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config
}

fn new_provider() -> Arc<CryptoProvider> {
    Arc::new(provider::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_read_has_the_fingerprint_of_the_one_that_was_written() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("key");
        let (made, text) = OwnKey::generate().expect("a key");
        private_file::write_new(&path, &text).expect("it is new");
        let read = OwnKey::read(&path).expect("it can be read");
        assert_eq!(read.fingerprint, made.fingerprint);
        let (other, _) = OwnKey::generate().expect("a key");
        assert_ne!(other.fingerprint, made.fingerprint);
    }
}
