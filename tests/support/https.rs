//! TLS in front of a server that speaks plain HTTP, with a certificate made for the occasion.

#![allow(dead_code)] // each test binary uses its own part

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// HTTPS for `localhost`, on 127.0.0.1.
pub struct Https {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate to trust, as PEM.
    pub certificate: String,
}

impl Https {
    /// Passes on what is asked to the server at `plain`, and back what it answers.
    pub fn before(plain: SocketAddr) -> Https {
        let names = vec!["localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("the name is valid");
        let chain: Vec<CertificateDer> = vec![made.cert.der().clone()];
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they belong together");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                // Whoever goes away in the middle is nobody's trouble.
                thread::spawn(move || serve(stream, config, plain));
            }
        });
        Https {
            address,
            certificate: made.cert.pem(),
        }
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, plain: SocketAddr) -> io::Result<()> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(connection, stream);
    loop {
        let mut request = Vec::new();
        while end(&request, Some(0)).is_none_or(|end| end > request.len()) {
            let mut bytes = [0; 4096];
            match tls.read(&mut bytes)? {
                0 => return Ok(()),
                n => request.extend_from_slice(&bytes[..n]),
            }
        }
        let mut plain = TcpStream::connect(plain)?;
        plain.write_all(&request)?;
        if !pass_back(&mut plain, &mut tls)? {
            tls.conn.send_close_notify();
            return tls.flush();
        }
    }
}

/// Passes a response on as it comes; `false` if it ended with the connection only.
fn pass_back(plain: &mut TcpStream, tls: &mut impl Write) -> io::Result<bool> {
    let mut response = Vec::new();
    loop {
        let mut bytes = vec![0; 64 * 1024];
        let n = plain.read(&mut bytes)?;
        if n == 0 {
            return Ok(false);
        }
        tls.write_all(&bytes[..n])?;
        tls.flush()?;
        response.extend_from_slice(&bytes[..n]);
        if end(&response, None).is_some_and(|end| end <= response.len()) {
            return Ok(true);
        }
    }
}

/// Where a message ends whose head is complete; `otherwise` is the length of a body of unknown
/// length.
fn end(message: &[u8], otherwise: Option<usize>) -> Option<usize> {
    let head = message.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&message[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| {
        let value = line.strip_prefix("content-length:")?;
        value.trim().parse().ok()
    });
    Some(head + 4 + length.or(otherwise)?)
}
