//! Three servers in a line, A - B - C, that tell each other what they hear.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use tempfile::TempDir;

use crate::support::dialect::{self, Dialect, NATS_CONNECT};
use crate::support::ports::free_address;
use crate::support::process::{Server, on_core};
use crate::support::topology::{Program, Topology};
use crate::support::watcher::Watcher;
use crate::support::{PATIENCE, Result};
use crate::systems::{Kind, System, WITH_KEYS};

const NAMES: [&str; 3] = ["A", "B", "C"];
/// Who watches A, B or C as a neighbour of it.
const WATCHERS: [&str; 3] = ["WA", "WB", "WC"];

pub struct Line {
    servers: Vec<Server>,
    /// Of herd and the reference implementations.
    topology: Option<Topology>,
    /// How A is told of an update.
    pub dialect: Dialect,
}

impl Line {
    pub fn start(system: &System, core: Option<&str>) -> Result<Line> {
        match &system.kind {
            Kind::Herd(program) => Line::herd(program, core, system.name == WITH_KEYS),
            Kind::Nats(program) => Line::nats(program, core),
            _ => Err(format!("{} has no servers that talk to each other", system.name).into()),
        }
    }

    /// With keys the links between the three are encrypted; that to a watcher is plain in any case.
    fn herd(program: &Program, core: Option<&str>, with_keys: bool) -> Result<Line> {
        let topology = Topology::new(&[
            ("A", "B WA"),
            ("B", "C WB"),
            ("C", "WC"),
            ("WA", ""),
            ("WB", ""),
            ("WC", ""),
        ])?;
        if with_keys {
            topology.give_keys(program, &NAMES)?;
        }
        let start = |name| {
            let key = topology.key(name);
            let key = key.to_str().ok_or("a temporary directory is no text")?;
            let options = ["--allow-plain-links", "--key", key];
            let options = if with_keys { &options[..] } else { &[] };
            topology.start_with(program, name, core, options)
        };
        Ok(Line {
            servers: NAMES.into_iter().map(start).collect::<Result<_>>()?,
            topology: Some(topology),
            dialect: dialect::HERD_A,
        })
    }

    /// B is the hub, A and C are leaf nodes of it. Servers of a NATS cluster would all be neighbours.
    fn nats(program: &Path, core: Option<&str>) -> Result<Line> {
        let home = Arc::new(TempDir::new()?);
        let hub = free_address();
        let mut servers = Vec::new();
        for name in ["B", "A", "C"] {
            let address = free_address();
            let leaf = match name {
                "B" => format!("listen: \"{hub}\""),
                _ => format!("remotes: [ {{ url: \"nats-leaf://{hub}\" }} ]"),
            };
            let text =
                format!("listen: \"{address}\"\nserver_name: {name}\nleafnodes {{ {leaf} }}\n");
            let path = home.path().join(name);
            fs::write(&path, text)?;
            let mut command = on_core(core, program);
            command.arg("-c").arg(path);
            servers.push(Server::start(command, address, Arc::clone(&home))?);
        }
        servers.swap(0, 1);
        let line = Line {
            servers,
            topology: None,
            dialect: dialect::NATS_PUB,
        };
        line.await_interest()?;
        Ok(line)
    }

    /// NATS forwards only what somebody is known to want, and keeps nothing for later: until the
    /// word of a subscriber at the last has reached A, what A is told is lost.
    fn await_interest(&self) -> Result<()> {
        let connect = |server: &Server| -> Result<TcpStream> {
            let mut stream = TcpStream::connect(server.address)?;
            stream.set_read_timeout(Some(Duration::from_millis(20)))?;
            stream.write_all(NATS_CONNECT)?;
            Ok(stream)
        };
        let last = &self.servers[self.servers.len() - 1];
        let (mut publisher, mut subscriber) = (connect(&self.servers[0])?, connect(last)?);
        subscriber.write_all(b"SUB ready 1\r\n")?;
        let mut heard = BufReader::new(subscriber);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            publisher.write_all(b"PUB ready 0\r\n\r\n")?;
            let mut line = String::new();
            match heard.read_line(&mut line) {
                Ok(_) if line.starts_with("MSG ready") => return Ok(()),
                Ok(0) => return Err("NATS has closed a connection".into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        let said: Vec<String> = self.servers.iter().map(Server::said).collect();
        Err(format!(
            "what A is told does not reach the last:\n{}",
            said.join("\n")
        )
        .into())
    }

    /// Where A is told.
    pub fn address(&self) -> SocketAddr {
        self.servers[0].address
    }

    /// Somebody who sees what passes behind the last of them.
    pub fn watcher(&self) -> Result<Watcher> {
        let last = self.servers.len() - 1;
        match &self.topology {
            Some(topology) => {
                let address = topology.link_address(NAMES[last])?;
                Watcher::neighbour(WATCHERS[last], NAMES[last], address)
            }
            None => {
                let watcher = Watcher::subscriber(self.servers[last].address)?;
                self.await_interest()?; // of a later subscriber: so this one's is known, too
                Ok(watcher)
            }
        }
    }

    /// Ends the last of them.
    pub fn shorten(&mut self) {
        self.servers.pop();
    }

    /// The CPU time of all of them.
    pub fn cpu(&self) -> Result<Duration> {
        self.servers.iter().map(Server::cpu).sum()
    }
}
