//! Which program the black-box tests are of: herd, or a reference implementation
//! (`tests/reference`), which speaks the same lines in another language; and what herd promises and
//! they do not.
//!
//! `HERD_SERVER` is the command that starts a reference implementation, split at white space:
//! `HERD_SERVER="venv/bin/python tests/reference/twisted/herd.py"`. The words that follow, `serve NAME
//! --topology …`, are those of herd.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::thread;

/// The program that the package builds.
pub const HERD: &str = env!("CARGO_BIN_EXE_herd");

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The program of this package, or one that nothing is known of: no promise is let off.
    Herd,
    /// `tests/reference/twisted/herd.py`
    Twisted,
    /// `tests/reference/node/herd.js`
    Node,
    /// `tests/reference/java/Herd.java`
    Java,
}

/// A command that starts a server, but for its arguments.
#[derive(Clone, Debug)]
pub struct ServerCommand {
    words: Vec<String>,
    /// It knows `--data-dir`.
    pub has_data_dir: bool,
}

impl ServerCommand {
    /// herd itself.
    pub fn herd() -> ServerCommand {
        ServerCommand::of(vec![HERD.to_owned()])
    }

    fn of(words: Vec<String>) -> ServerCommand {
        ServerCommand {
            words,
            has_data_dir: true,
        }
    }

    /// What `HERD_SERVER` names, or herd.
    pub fn under_test() -> ServerCommand {
        match env::var("HERD_SERVER") {
            Ok(words) if !words.trim().is_empty() => ServerCommand::parse(&words),
            _ => ServerCommand::herd(),
        }
    }

    /// Splits a command at white space. A word that is a path from the root of the package is made
    /// absolute: some tests start servers elsewhere.
    pub fn parse(words: &str) -> ServerCommand {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let absolute = |word: &str| match root.join(word) {
            path if path.exists() => path.display().to_string(),
            _ => word.to_owned(),
        };
        ServerCommand::of(words.split_whitespace().map(absolute).collect())
    }

    /// The command, to which `serve NAME …` is to be added.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }

    /// Whose it is.
    pub fn program(&self) -> Program {
        let names = |name: &str| {
            let mut words = self.words.iter();
            words.any(|word| Path::new(word).file_name().is_some_and(|file| file == name))
        };
        match () {
            () if names("herd.py") => Program::Twisted,
            () if names("herd.js") => Program::Node,
            () if names("java") => Program::Java,
            () => Program::Herd,
        }
    }
}

/// A promise of herd's that some reference implementations do not make.
pub struct Promise {
    what: &'static str,
    not_by: &'static [Program],
    /// Why not.
    why: &'static str,
}

/// What was acknowledged is known after a restart, and a mark that was given before it still holds.
pub const MEMORY: Promise = Promise {
    what: "a restart knows what was acknowledged",
    not_by: &[Program::Twisted, Program::Node, Program::Java],
    why: "they write no journal: a restarted one learns from its neighbours",
};

/// Two servers never write the same files.
pub const ONE_PROCESS: Promise = Promise {
    what: "a second server on the same files is refused",
    not_by: &[Program::Twisted, Program::Node, Program::Java],
    why: "they have no memory that it could harm",
};

/// Clients that come when the descriptors have run out wait until others leave.
pub const PLACE_IN_THE_BACKLOG: Promise = Promise {
    what: "who comes when descriptors have run out waits, and is served when others leave",
    not_by: &[Program::Node],
    why: "a net.Server accepts whoever comes, and can only close what is too many",
};

/// The operators hear of a link that only one of them has named, and of questions without room.
pub const WORD_OF_REFUSALS: Promise = Promise {
    what: "links and questions that are refused are told on standard error",
    not_by: &[Program::Twisted, Program::Node, Program::Java],
    why: "they tell of dials that fail, and of no more",
};

/// What a client has said after its last LF is discarded when the client resets the connection.
pub const WORD_OF_RESETS: Promise = Promise {
    what: "a reset discards a client's unfinished line",
    not_by: &[Program::Node],
    why: "a socket of Node.js may tell of an end where there was a reset",
};

/// A session that is heard from is not displaced.
pub const LIVE_SESSION: Promise = Promise {
    what: "a newcomer with a neighbour's name does not end its session",
    not_by: &[Program::Twisted, Program::Node, Program::Java],
    why: "in them a later hello always takes the place of an earlier one",
};

/// The log says of each line that is no valid command what is wrong with it.
pub const WORD_OF_MISTAKES: Promise = Promise {
    what: "the log says why a line is invalid",
    not_by: &[Program::Twisted, Program::Node, Program::Java],
    why: "they log the line and its copy, and no reason",
};

/// Says whether the server under test makes `promise`, and if not, who is let off what.
///
/// A test of nothing else returns at once; one of other things too leaves out a part.
pub fn promised(promise: &Promise) -> bool {
    let program = ServerCommand::under_test().program();
    let made = !promise.not_by.contains(&program);
    if !made {
        let Promise { what, why, .. } = promise;
        let thread = thread::current();
        let test = thread.name().unwrap_or("a test");
        say(&format!(
            "{test}: not promised by {program:?}: {what} ({why})"
        ));
    }
    made
}

/// Says something that is seen though the test passes: unlike `println!`, this is not captured.
pub fn say(words: &str) {
    let _ = writeln!(io::stderr().lock(), "{words}"); // a closed stderr is no failure
}
