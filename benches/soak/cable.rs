//! A link's cable: a proxy through which two servers talk, and which can be cut, stalled or slow.
//!
//! Either side may dial, so a cable has an end for each, where it is dialled as if it were the
//! other. It counts what passes by the first byte of a line, as every kind of message has its own.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::support::Result;

/// How often bytes that are held back look whether they may go on.
const HELD: Duration = Duration::from_millis(20);

/// The link between two servers.
#[derive(Default)]
pub struct Cable {
    cut: AtomicBool,
    /// Whether what the first server says is held back, and what the second says.
    stalled: [AtomicBool; 2],
    /// How long the bytes of one read, 16 KiB at most, are under way.
    delay_ms: AtomicU64,
    /// `HELLO` lines that have passed, both ways.
    pub hellos: AtomicU64,
    /// `AT` lines that have passed, both ways.
    pub locations: AtomicU64,
    sockets: Mutex<Vec<Arc<TcpStream>>>,
}

impl Cable {
    /// Lays a cable between the servers that listen at `servers`; gives its two ends: where the
    /// first server is to dial the second, and the second the first.
    pub fn lay(servers: [SocketAddr; 2], ends: [SocketAddr; 2]) -> Result<Arc<Cable>> {
        let cable = Arc::new(Cable::default());
        for dialling in 0..2 {
            let listener = TcpListener::bind(ends[dialling])?;
            let cable = Arc::clone(&cable);
            thread::spawn(move || cable.carry(&listener, servers[1 - dialling], dialling));
        }
        Ok(cable)
    }

    /// Breaks what passes, and whatever is dialled, until it is mended.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for socket in self.sockets().drain(..) {
            let _ = socket.shutdown(Shutdown::Both); // it may be closed already
        }
    }

    /// Holds back what the first server says, what the second says, or both; nothing is lost.
    pub fn stall(&self, first: bool, second: bool) {
        self.stalled[0].store(first, Ordering::SeqCst);
        self.stalled[1].store(second, Ordering::SeqCst);
    }

    /// Makes everything late.
    pub fn delay(&self, by: Duration) {
        self.delay_ms.store(by.as_millis() as u64, Ordering::SeqCst);
    }

    /// Makes it as good as new.
    pub fn mend(&self) {
        self.stall(false, false);
        self.delay(Duration::ZERO);
        self.cut.store(false, Ordering::SeqCst);
    }

    fn sockets(&self) -> std::sync::MutexGuard<'_, Vec<Arc<TcpStream>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry(self: Arc<Cable>, listener: &TcpListener, target: SocketAddr, dialling: usize) {
        for near in listener.incoming().flatten() {
            if self.cut.load(Ordering::SeqCst) {
                continue; // which closes it
            }
            let Ok(far) = TcpStream::connect(target) else {
                continue;
            };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let (near, far) = (Arc::new(near), Arc::new(far));
            let mut sockets = self.sockets();
            sockets.retain(|socket| Arc::strong_count(socket) > 1);
            sockets.extend([Arc::clone(&near), Arc::clone(&far)]);
            drop(sockets);
            if self.cut.load(Ordering::SeqCst) {
                self.cut(); // it was cut while we dialled
            }
            for (from, to, way) in [
                (Arc::clone(&near), Arc::clone(&far), dialling),
                (far, near, 1 - dialling),
            ] {
                let cable = Arc::clone(&self);
                thread::spawn(move || {
                    cable.pass(&from, &to, way);
                    let _ = to.shutdown(Shutdown::Write); // as its sender has done
                });
            }
        }
    }

    /// Passes on what the server of `way` says, until it says no more or the cable is cut.
    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream, way: usize) {
        let mut bytes = [0; 16 * 1024];
        let mut begins = true;
        loop {
            let read = from.read(&mut bytes).unwrap_or(0);
            thread::sleep(Duration::from_millis(self.delay_ms.load(Ordering::SeqCst)));
            while self.stalled[way].load(Ordering::SeqCst) && !self.cut.load(Ordering::SeqCst) {
                thread::sleep(HELD);
            }
            if read == 0 || to.write_all(&bytes[..read]).is_err() {
                return;
            }
            for &byte in &bytes[..read] {
                match byte {
                    b'H' if begins => _ = self.hellos.fetch_add(1, Ordering::Relaxed),
                    b'A' if begins => _ = self.locations.fetch_add(1, Ordering::Relaxed),
                    _ => {}
                }
                begins = byte == b'\n';
            }
        }
    }
}
