//! The page for people who write clients, docs/CLIENTS.md, tells the truth: its examples are run against
//! a herd.

#[path = "support/stand_in.rs"]
mod stand_in;
mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use stand_in::StandIn;
use support::reference::{WORD_OF_MISTAKES, promised};
use support::{FIVE, Herd, NO_TWITTER, PATIENCE, wait_until};

const PAGE: &str = include_str!("../docs/CLIENTS.md");

/// What the ports of Blake, Bryant, Gasol, Howard and Metta begin with on the page; a digit follows.
const PORT: &str = "1259";

/// A program that hangs is ended after so many seconds.
const PROGRAM_SECONDS_MAX: &str = "60";

fn herd_asking(twitter_url: &str) -> Herd {
    let mut herd = Herd::new(FIVE);
    herd.twitter_url = twitter_url.to_owned();
    herd.start_all();
    herd
}

fn stand_in_url(stand_in: &StandIn) -> String {
    format!("http://{}/search.json", stand_in.address)
}

/// What the page has between three backticks with `language` and three backticks.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    let blocks = PAGE.split(&begin).skip(1);
    let blocks: Vec<_> = blocks
        .map(|rest| rest.split("```").next().expect("there is always a first"))
        .collect();
    assert!(!blocks.is_empty(), "the page has no {language}");
    blocks
}

/// Both columns of the page's table under `header`, the first without its backticks.
fn rows(header: &str) -> Vec<(&'static str, &'static str)> {
    let (_, rest) = PAGE.split_once(header).expect(header);
    let lines = rest
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let row = |line: &'static str| {
        let cells = line.strip_prefix("| `")?.strip_suffix('|')?;
        let (example, text) = cells.split_once("` |")?;
        Some((example, text.trim()))
    };
    let rows: Vec<_> = lines.map(|line| row(line).expect(line)).collect();
    assert!(!rows.is_empty(), "nothing stands under {header}");
    rows
}

/// `text` with the ports of the page replaced by those of `herd`.
fn at_our_ports(text: &str, herd: &Herd) -> String {
    let mut pieces = text.split(PORT);
    let mut ours = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (server, rest) = piece.split_at(1);
        let server: usize = server.parse().expect("the number of a server");
        ours += &herd.members[server].clients.port().to_string();
        ours += rest;
    }
    ours
}

/// What a program says on standard output.
fn output(program: &str, argument: &str, more: &str) -> String {
    let mut command = Command::new("timeout");
    command.args([PROGRAM_SECONDS_MAX, program, argument, more]);
    let output = command.stdin(Stdio::null()).output().expect("coreutils");
    assert!(output.status.success(), "{program} {more}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Fails unless the shell command `ask` says `word`; `package` is who brings it.
fn need(package: &str, ask: &str, word: &str) {
    let said = output("sh", "-c", &format!("{ask} 2>&1 | cat"));
    assert!(
        said.contains(word),
        "this test needs {package} (apt-get install {package})"
    );
}

/// Whether `line` is `pattern`, in which `…` stands for anything.
fn fits(line: &str, pattern: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('…') else {
        return line == pattern;
    };
    let Some(mut line) = line.strip_prefix(begin) else {
        return false;
    };
    let mut pieces: Vec<_> = rest.split('…').collect();
    let end = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match line.split_once(piece) {
            Some((_, rest)) => line = rest,
            None => return false,
        }
    }
    line.ends_with(end)
}

#[test]
#[ignore = "needs nc with -N (apt-get install netcat-openbsd)"]
fn what_is_typed_is_answered_as_the_page_shows() {
    need("netcat-openbsd", "nc -h", "-N");
    let stand_in = StandIn::started();
    let herd = herd_asking(&stand_in_url(&stand_in));
    for block in blocks("console") {
        for example in block.split("$ ").skip(1) {
            let (typed, want) = example.split_once('\n').expect(example);
            let want: Vec<_> = want.lines().collect();
            let typed = at_our_ports(typed, &herd);
            let until = Instant::now() + PATIENCE;
            loop {
                let said = output("sh", "-c", &typed);
                let lines: Vec<_> = said.lines().collect();
                let mut pairs = lines.iter().zip(&want);
                if lines.len() == want.len() && pairs.all(|(line, want)| fits(line, want)) {
                    break;
                }
                // A server that has not heard of a client yet is asked again.
                assert!(
                    Instant::now() < until,
                    "{typed}\n got: {said:?}\nwant: {want:?}"
                );
            }
        }
    }
}

#[test]
#[ignore = "needs python3 (apt-get install python3)"]
fn the_client_in_python_prints_its_location_and_tweets() {
    need("python3", "command -v python3", "python3");
    let stand_in = StandIn::started();
    for (twitter_url, tweets) in [(&*stand_in_url(&stand_in), true), (NO_TWITTER, false)] {
        let herd = herd_asking(twitter_url);
        let [program] = blocks("python")[..] else {
            panic!("the page has one client in Python");
        };
        let path = herd.directory.path().join("client.py");
        fs::write(&path, at_our_ports(program, &herd)).expect("the directory is ours");
        let said = output("python3", "-I", &path.display().to_string());
        let lines: Vec<_> = said.lines().collect();
        let at = "AT Blake +0.… kiwi +34.068900-118.445100 …";
        assert!(fits(lines[0], at), "{said}");
        let is_tweet = |line: &&str| !line.starts_with('{') && line.len() > 5;
        match tweets {
            true => assert!(
                lines.len() == 6 && lines[1..].iter().all(is_tweet),
                "{said}"
            ),
            false => assert!(
                lines.len() == 2 && lines[1].starts_with("{'error': "),
                "{said}"
            ),
        }
    }
}

#[test]
fn what_the_page_calls_valid_is_answered() {
    let stand_in = StandIn::started();
    let herd = herd_asking(&stand_in_url(&stand_in));
    let mut client = herd.client("Blake");
    let mut at = String::new();
    for (line, why) in rows("| Valid | |\n") {
        client.say(line);
        let reply = client.line();
        if let Some(report) = line.strip_prefix("IAMAT") {
            assert!(
                reply.starts_with("AT Blake ") && reply.ends_with(report),
                "{line}: {reply}"
            );
            let difference = reply.split(' ').nth(2).expect("an AT line");
            let is_ahead = why.contains("mistake");
            assert_eq!(difference.starts_with('-'), is_ahead, "{line}: {reply}");
            if at.is_empty() {
                at = reply; // the others are older
            }
        } else {
            assert_eq!(reply, at, "{line}");
            let json = client.line();
            assert!(json.starts_with("{\"results\":["), "{line}: {json}");
        }
    }
}

#[test]
fn what_the_page_calls_invalid_is_and_the_log_says_why() {
    let herd = herd_asking(NO_TWITTER);
    let mut client = herd.client("Blake");
    client.say("IAMAT kiwi +34.0689-118.4451 1479413884");
    let at = client.line();
    let rows = rows("| Invalid | The log says |\n");
    for (line, _) in &rows {
        client.say(line);
        assert_eq!(client.line(), format!("? {line}"));
    }
    client.say("WHATSAT kiwi 1 1");
    assert_eq!(client.line(), at, "none of these has changed anything");
    if !promised(&WORD_OF_MISTAKES) {
        return;
    }
    let mut reasons = Vec::new();
    wait_until("the log has them all", || {
        let log = herd.log("Blake");
        let notes = log.lines().filter_map(|line| line.split_once(" invalid: "));
        reasons = notes.map(|(_, reason)| reason.to_owned()).collect();
        reasons.len() >= rows.len()
    });
    for ((line, want), reason) in rows.iter().zip(&reasons) {
        assert_eq!(reason, want, "{line}");
    }
}

#[test]
fn three_dots_stand_for_anything() {
    for (line, pattern, want) in [
        ("ab", "ab", true),
        ("ab", "abc", false),
        ("a1b2c", "a…b…c", true),
        ("abc", "a…b…c", true),
        ("acb", "a…b…c", false),
        ("a1bc2", "a…b…c", false),
        ("xa", "a…", false),
        ("a", "a…a", false),
    ] {
        assert_eq!(fits(line, pattern), want, "{line} {pattern}");
    }
}
