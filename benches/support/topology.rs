//! A herd's topology, and its servers by name, in herd or a reference implementation.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::Result;
use super::ports::free_address;
use super::process::{SOLO, Server, on_core};

/// A command that starts a server of a herd, but for `serve NAME …`.
#[derive(Clone, Debug)]
pub struct Program {
    words: Vec<OsString>,
    /// What is added to `serve`.
    options: &'static [&'static str],
}

impl Program {
    /// The program that the package builds.
    pub fn herd() -> Program {
        Program::of(vec![env!("CARGO_BIN_EXE_herd").into()])
    }

    /// One that these words start.
    pub fn of(words: Vec<OsString>) -> Program {
        Program {
            words,
            options: &[],
        }
    }

    /// The same, whose servers are given these options.
    pub fn with(self, options: &'static [&'static str]) -> Program {
        Program { options, ..self }
    }

    /// A command that will run it on that core only.
    pub fn command(&self, core: Option<&str>) -> Command {
        let mut command = on_core(core, self.words[0].as_ref());
        command.args(&self.words[1..]);
        command
    }

    /// Starts a herd of one server without neighbours.
    pub fn solo(&self, core: Option<&str>) -> Result<Server> {
        Topology::new(&[(SOLO, "")])?.start(self, SOLO, core)
    }
}

/// A herd's topology file and the directory where all its servers keep their logs.
pub struct Topology {
    home: Arc<TempDir>,
    servers: Vec<(String, SocketAddr, SocketAddr)>,
    twitter_url: String,
}

impl Topology {
    /// Names servers, each with its neighbours; the addresses are chosen here. Nobody listens where
    /// they are to look for Twitter.
    pub fn new(servers: &[(&str, &str)]) -> Result<Topology> {
        let mut topology = Topology {
            home: Arc::new(TempDir::new()?),
            servers: Vec::new(),
            twitter_url: format!("http://{}/", free_address()),
        };
        let mut text = String::new();
        for (name, neighbours) in servers {
            let (clients, links) = (free_address(), free_address());
            text += &format!("{name} {clients} {links} {neighbours}\n");
            topology.servers.push((name.to_string(), clients, links));
        }
        fs::write(topology.home.path().join("topology.txt"), text)?;
        Ok(topology)
    }

    /// With the stand-in for Twitter at that address.
    pub fn with_twitter(self, address: SocketAddr) -> Topology {
        let twitter_url = format!("http://{address}/search.json");
        Topology {
            twitter_url,
            ..self
        }
    }

    /// Gives a key to each of these: their links are encrypted then. Others stay without.
    pub fn give_keys(&self, program: &Program, names: &[&str]) -> Result<()> {
        let path = self.home.path().join("topology.txt");
        let mut text = String::new();
        for line in fs::read_to_string(&path)?.lines() {
            text += line;
            let name = line.split(' ').next().unwrap_or_default();
            if names.contains(&name) {
                let mut command = program.command(None);
                let made = command
                    .args(["keygen", "--out"])
                    .arg(self.key(name))
                    .output()?;
                text += " ";
                text += String::from_utf8(made.stdout)?.trim_end();
            }
            text += "\n";
        }
        Ok(fs::write(path, text)?)
    }

    /// Where the key of one is that was given one.
    pub fn key(&self, name: &str) -> PathBuf {
        self.home.path().join(format!("{name}.key"))
    }

    /// Lets the clients of `name` come over HTTP too; says where.
    pub fn serve_http(&self, name: &str) -> Result<SocketAddr> {
        let path = self.home.path().join("topology.txt");
        let address = free_address();
        let mut text = String::new();
        for line in fs::read_to_string(&path)?.lines() {
            text += line;
            if line.split(' ').next() == Some(name) {
                text += &format!(" http={address}");
            }
            text += "\n";
        }
        fs::write(path, text)?;
        Ok(address)
    }

    /// Starts one of them.
    pub fn start(&self, program: &Program, name: &str, core: Option<&str>) -> Result<Server> {
        self.start_with(program, name, core, &[])
    }

    /// The same with further options.
    pub fn start_with(
        &self,
        program: &Program,
        name: &str,
        core: Option<&str>,
        options: &[&str],
    ) -> Result<Server> {
        let mut command = program.command(core);
        command.args(["serve", name, "--topology"]);
        command.arg(self.home.path().join("topology.txt"));
        command.arg("--log-dir").arg(self.log_dir(name));
        command.arg("--data-dir").arg(self.data_dir());
        command.args(["--twitter-url", &self.twitter_url]);
        command.args(program.options).args(options);
        Server::start(command, self.server(name)?.1, Arc::clone(&self.home))
    }

    /// Where its log is.
    pub fn log_dir(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Where the journals of all are, each in a folder of its server's name.
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Where the neighbours of `name` connect.
    pub fn link_address(&self, name: &str) -> Result<SocketAddr> {
        Ok(self.server(name)?.2)
    }

    fn server(&self, name: &str) -> Result<&(String, SocketAddr, SocketAddr)> {
        let found = self.servers.iter().find(|server| server.0 == name);
        Ok(found.ok_or_else(|| format!("no server {name}"))?)
    }
}
