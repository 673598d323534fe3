//! With whom a server speaks, as far as keys say it: its own key, those of its neighbours, and the certificate that
//! it shows to clients.
//!
//! `start` reads it, `Driver` asks it when a neighbour is dialled or presents itself. TLS has proved by then that
//! the peer has the key it shows (`keys`); whether that is a key of the neighbour whose name the peer says, is
//! judged here. Without keys on either side links are plain, and anybody may say any name: that is for loopback
//! and private nets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;

use crate::keys::{self, ForClients, OwnKey};
use crate::net::transport::Offer;
use crate::private_file;
use crate::topology::{Fingerprint, Member};

/// What the operator says of keys.
#[derive(Clone, Debug, Default)]
pub struct KeyFiles {
    /// The file of the key that the server shows on its links.
    pub key: Option<PathBuf>,
    /// Links may be plain though one side has a key, or both.
    pub allow_plain_links: bool,
    /// The files of the certificate that it shows to clients, ...
    pub tls_cert: Option<PathBuf>,
    /// ... and of that one's private key.
    pub tls_key: Option<PathBuf>,
}

/// A server's keys.
#[derive(Clone, Debug, Default)]
pub struct Security {
    own: Option<OwnKey>,
    /// Links may be plain though there are keys: for the hour of changing over.
    allow_plain: bool,
    /// What is spoken with clients where TLS is.
    clients: Option<ForClients>,
}

/// How to dial a neighbour.
#[derive(Debug)]
pub enum Dial {
    /// With TLS, by this.
    Tls(Arc<ClientConfig>),
    /// Without.
    Plain,
    /// Not at all: one side has a key, and the other none.
    Never,
}

impl Security {
    /// Reads the files of keys and certificates for the server `member`.
    ///
    /// # Errors
    /// What is wrong with them, or does not go with the topology.
    pub fn read(files: &KeyFiles, member: &Member) -> Result<Security, String> {
        let name = &member.name;
        let allow_plain = files.allow_plain_links;
        let own = files.key.as_deref().map(own_key).transpose()?;
        if let Some((key, path)) = own.as_ref().zip(files.key.as_deref())
            && !member.keys.contains(&key.fingerprint)
        {
            let shown = key.fingerprint;
            return Err(format!(
                "{} is not a key of {name}: add key={shown} to its line of the topology, everywhere",
                private_file::shown(path)
            ));
        }
        if own.is_none() && !member.keys.is_empty() && !allow_plain {
            return Err(format!(
                "{name} has a key= in its line of the topology: say which file it is (--key FILE)"
            ));
        }
        let files = files.tls_cert.as_deref().zip(files.tls_key.as_deref());
        let clients = files.map(|(certificates, key)| keys::for_clients(certificates, key));
        let clients = clients.transpose()?;
        if clients.is_none() && member.tls_address.is_some() {
            return Err(format!(
                "{name} has a tls= in its line of the topology: give a certificate \
                 (--tls-cert FILE --tls-key FILE)"
            ));
        }
        Ok(Security {
            own,
            allow_plain,
            clients,
        })
    }

    /// What those who dial us are offered: with a key, TLS; who comes without is heard, so that he can be told
    /// why he is refused.
    pub fn for_servers(&self) -> Offer {
        Offer::Either(self.own.as_ref().map(|own| Arc::clone(&own.server)))
    }

    /// What clients are offered where they speak TLS: at `tls=`, and at `http=`; that is plain if there is no
    /// certificate.
    pub fn for_clients(&self) -> Offer {
        let config = self.clients.as_ref();
        config.map_or(Offer::Plain, |clients| {
            Offer::Tls(Arc::clone(&clients.config))
        })
    }

    /// Whether the links are encrypted.
    pub fn has_key(&self) -> bool {
        self.own.is_some()
    }

    /// What is new since `old`, in words.
    pub fn changes(&self, old: &Security) -> Vec<String> {
        let key = |security: &Security| security.own.as_ref().map(|own| own.fingerprint);
        let shown = |security: &Security| security.clients.clone().map(|clients| clients.shown);
        let own = key(self).filter(|_| key(self) != key(old));
        let own = own.map(|key| format!("its key is {key}"));
        let other = shown(self) != shown(old);
        let other = other.then(|| "another certificate".to_owned());
        own.into_iter().chain(other).collect()
    }

    /// How to dial a neighbour that has these keys, for the `tries`th time since it was last linked.
    pub fn dial(&self, keys: &[Fingerprint], tries: u32) -> Dial {
        match &self.own {
            Some(own) if !keys.is_empty() => {
                // Perhaps it has not changed over yet.
                match self.allow_plain && tries % 2 == 1 {
                    true => Dial::Plain,
                    false => Dial::Tls(Arc::clone(&own.client)),
                }
            }
            None if keys.is_empty() => Dial::Plain,
            Some(_) | None if self.allow_plain => Dial::Plain,
            Some(_) | None => Dial::Never,
        }
    }

    /// Whether a peer may be the neighbour that has these keys, where it has `shown` this one.
    ///
    /// # Errors
    /// Why not, with both fingerprints: the peer is told the same.
    pub fn judge(&self, keys: &[Fingerprint], shown: Option<Fingerprint>) -> Result<(), String> {
        let wanted = || match keys {
            [] => "none".to_owned(),
            [one] => one.to_string(),
            [one, others @ ..] => format!("{one} or {} more", others.len()),
        };
        match shown {
            Some(shown) if keys.contains(&shown) => Ok(()),
            Some(shown) => Err(format!(
                "the key shown is {shown}, the topology has {}",
                wanted()
            )),
            None if self.allow_plain => Ok(()),
            None if keys.is_empty() && self.own.is_none() => Ok(()),
            None if keys.is_empty() => Err("this server has a key, the other has none".to_owned()),
            None if self.own.is_none() => {
                Err("this server has no key (--key), the topology has one for the other".to_owned())
            }
            None => Err(format!("no key is shown, the topology has {}", wanted())),
        }
    }

    /// What the operator is to know of the links to `neighbours` at the start.
    pub fn warnings<'a>(&self, neighbours: impl Iterator<Item = &'a Member>) -> Vec<String> {
        let unlike = neighbours.filter(|other| other.keys.is_empty() == self.own.is_some());
        let warn = |other: &Member| {
            let name = &other.name;
            let why = match self.own.is_some() {
                true => format!("{name} has no key= in the topology, this server has one"),
                false => format!("{name} has a key= in the topology, this server has none (--key)"),
            };
            match self.allow_plain {
                true => format!("the link to {name} is not encrypted: {why} (--allow-plain-links)"),
                false => format!(
                    "no link to {name}: {why}. Give both a key, or neither; --allow-plain-links \
                     links them without encryption while you change over"
                ),
            }
        };
        unlike.map(warn).collect()
    }
}

fn own_key(path: &Path) -> Result<OwnKey, String> {
    OwnKey::read(path).map_err(|error| format!("the key {} {error}", private_file::shown(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_be_a_neighbour_by_its_key() {
        let (own, _) = OwnKey::generate().expect("a key");
        let [one, two] = [1, 2].map(|byte| Fingerprint::new([byte; 32]));
        let all = [(false, false), (false, true), (true, false), (true, true)];
        for (has_key, allow_plain) in all {
            let security = Security {
                own: has_key.then(|| own.clone()),
                allow_plain,
                clients: None,
            };
            for (keys, shown, want) in [
                (&[][..], None, !has_key || allow_plain),
                (&[], Some(one), false),
                (&[one], None, allow_plain),
                (&[one], Some(one), true),
                (&[one], Some(two), false),
                (&[two, one], Some(one), true),
            ] {
                let judged = security.judge(keys, shown);
                assert_eq!(
                    judged.is_ok(),
                    want,
                    "{has_key} {allow_plain} {keys:?} {shown:?}"
                );
                if let Err(reason) = judged {
                    assert!(reason.len() <= 200, "it is cut off at 200 bytes: {reason}");
                    let both = shown.into_iter().chain(keys.first().copied());
                    let mut both = both.filter(|_| has_key);
                    assert!(both.all(|key| reason.contains(&key.to_string())));
                }
            }
            for (keys, plain) in [(&[][..], !has_key || allow_plain), (&[one], allow_plain)] {
                let dials = [0, 1].map(|tries| security.dial(keys, tries));
                let is_plain = |dial: &Dial| matches!(dial, Dial::Plain);
                assert_eq!(dials.iter().any(is_plain), plain, "{dials:?}");
                let is_tls = |dial: &Dial| matches!(dial, Dial::Tls(_));
                assert_eq!(dials.iter().any(is_tls), has_key && !keys.is_empty());
            }
        }
    }
}
