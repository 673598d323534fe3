//! The documents agree with the program and with each other: every option is in docs/CONFIGURATION.md
//! with its default, and every link leads to a file, or to a heading of it. The manual pages (docs/man) and completions
//! (docs/completions) are what clap makes of the command line. `HERD_WRITE=1 cargo test --test documents` writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use herd::arguments::Arguments;
use herd::topology::Topology;

#[path = "support/messages.rs"]
mod messages;

const PAGE: &str = include_str!("../docs/CONFIGURATION.md");

fn help(command: &str) -> String {
    let mut herd = Command::new(env!("CARGO_BIN_EXE_herd"));
    let said = herd.args([command, "--help"]).output();
    let said = said.expect("the program starts");
    String::from_utf8(said.stdout).expect("help is text")
}

/// The options of a command by name, each with its default, as its help has them.
fn options_of_help(command: &str) -> BTreeMap<String, Option<String>> {
    let mut options = BTreeMap::new();
    let mut last = None;
    for line in help(command).lines().map(str::trim) {
        let option = line.trim_start_matches("-h, ");
        if option.starts_with("--") {
            let name = option.split([' ', '=']).next().unwrap_or_default();
            options.insert(name.to_owned(), None);
            last = Some(name.to_owned());
        } else if let Some(default) = line.strip_prefix("[default: ")
            && let Some(name) = &last
        {
            let default = default.trim_end_matches(']').to_owned();
            options.insert(name.clone(), Some(default));
        }
    }
    options.remove("--help");
    options
}

/// The same, as the rows of the page have them.
fn options_of_page(command: &str) -> BTreeMap<String, String> {
    let heading = format!("## `herd {command}");
    let start = PAGE
        .find(&heading)
        .unwrap_or_else(|| panic!("docs/CONFIGURATION.md has no {heading}"));
    let section = &PAGE[start + heading.len()..];
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `--"));
    rows.map(|row| {
        let cells: Vec<_> = row.split(" | ").collect();
        let option = cells[0].trim_start_matches("| `");
        let name = option.split([' ', '`']).next().unwrap_or_default();
        (
            name.to_owned(),
            cells[1].trim_matches([' ', '`', '|']).to_owned(),
        )
    })
    .collect()
}

fn commands() -> Vec<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_herd"))
        .arg("--help")
        .output()
        .expect("the program starts");
    let help = String::from_utf8(help.stdout).expect("help is text");
    let rows = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let rows = rows.take_while(|line| line.starts_with("  "));
    let names = rows.filter_map(|row| row.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_option_is_in_the_page_with_its_default() {
    let commands = commands();
    assert!(commands.contains(&"serve".to_owned()), "{commands:?}");
    for command in commands {
        let (help, page) = (options_of_help(&command), options_of_page(&command));
        let names = |options: BTreeSet<&String>| options.into_iter().cloned().collect::<Vec<_>>();
        assert_eq!(
            names(page.keys().collect()),
            names(help.keys().collect()),
            "options of herd {command}: left docs/CONFIGURATION.md, right --help"
        );
        for (name, default) in help {
            if let Some(default) = default {
                assert_eq!(page[&name], default, "default of {name} of herd {command}");
            }
        }
    }
}

fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder is there").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            documents(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The targets of a document's links, code left out.
fn links(text: &str) -> Vec<String> {
    let outside_fences = text.split("```").step_by(2);
    let mut links = Vec::new();
    for part in outside_fences {
        for piece in part.split("](").skip(1) {
            links.extend(piece.split(')').next().map(str::to_owned));
        }
    }
    links
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let letters = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = letters
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["docs", "tests", "benches", "src"] {
        documents(&root.join(folder), &mut found);
    }
    found.extend(["README.md", "CHANGELOG.md"].map(|name| root.join(name)));
    let mut links_seen = 0;
    for document in found {
        let text = fs::read_to_string(&document).expect("a document is text");
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let folder = document.parent().unwrap_or(root);
            let target = match path {
                "" => document.clone(),
                path => folder.join(path),
            };
            assert!(target.exists(), "{}: {link}", document.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).expect("a document is text");
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let is_there = headings.any(|line| anchor(line) == heading);
                assert!(is_there, "{}: {link}", document.display());
            }
            links_seen += 1;
        }
    }
    assert!(links_seen > 20, "only {links_seen} links were found");
}

/// The newest version of the changelog, and its day.
fn released() -> (&'static str, &'static str) {
    let mut lines = include_str!("../CHANGELOG.md").lines();
    let heading = lines.find_map(|line| line.strip_prefix("## "));
    let heading = heading.expect("a version is a heading");
    heading.split_once(" - ").expect("a version has a day")
}

#[test]
fn the_changelog_begins_with_this_version() {
    assert_eq!(released().0, env!("CARGO_PKG_VERSION"));
}

#[test]
fn packages_are_of_this_version_and_their_topology_is_one() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = include_str!("../docs/packaging/debian/changelog");
    assert!(changelog.starts_with(&format!("herd ({version}-")));
    let kubernetes = include_str!("../docs/packaging/kubernetes.yaml");
    assert!(kubernetes.contains(&format!("image: herd:{version}\n")));
    let block = kubernetes.split("  topology.txt: |\n").nth(1);
    let lines = block.expect("a topology").lines();
    let text: Vec<_> = lines.map_while(|line| line.strip_prefix("    ")).collect();
    let topology = Topology::parse(text.join("\n").as_bytes()).expect("it is read by a server");
    let replicas = format!("replicas: {}\n", topology.members().len());
    assert!(kubernetes.contains(&replicas), "want {replicas}");
}

/// The files of a folder, by name. None if there is no folder.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("a folder can be read").path());
    paths
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a page is text");
            let name = path.file_name().unwrap_or_default();
            (name.to_string_lossy().into_owned(), text)
        })
        .collect()
}

#[test]
fn manual_pages_and_completions_are_those_of_the_command_line() {
    let made = tempfile::tempdir().expect("a folder for what is made");
    let folder = |name: &str| {
        let folder = made.path().join(name);
        fs::create_dir(&folder).expect("the folder is ours");
        folder
    };
    let pages = folder("man");
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    for command in std::iter::once(&command).chain(command.get_subcommands()) {
        let name = command
            .get_display_name()
            .unwrap_or_else(|| command.get_name());
        let page = Man::new(command.clone()).title(name).manual("herd");
        let page = page.source(concat!("herd ", env!("CARGO_PKG_VERSION")));
        let page = page.date(released().1);
        page.generate_to(&pages).expect("a page is written");
    }
    let completions = folder("completions");
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut Arguments::command(), "herd", &completions)
            .expect("completions are written");
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for (name, least) in [("man", 1 + commands().len()), ("completions", 3)] {
        let (wanted, ours) = (files(&made.path().join(name)), docs.join(name));
        assert_eq!(wanted.len(), least, "{:?}", wanted.keys());
        if std::env::var_os("HERD_WRITE").is_some() {
            let _ = fs::remove_dir_all(&ours);
            fs::create_dir(&ours).expect("docs can be written");
            for (file, text) in &wanted {
                fs::write(ours.join(file), text).expect("docs can be written");
            }
        }
        let found = files(&ours);
        let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&wanted), "docs/{name}");
        for (file, text) in wanted {
            let is_same = found[&file] == text;
            assert!(
                is_same,
                "docs/{name}/{file} is old: HERD_WRITE=1 cargo test --test documents"
            );
        }
    }
}

/// All sources in one text, strings that go on in the next line put together.
fn sources(directory: &Path, into: &mut String) {
    for entry in fs::read_dir(directory).expect("the sources are there") {
        let path = entry.expect("the sources are there").path();
        match path.is_dir() {
            true => sources(&path, into),
            false => into.push_str(&fs::read_to_string(path).unwrap_or_default()),
        }
    }
}

#[test]
fn every_message_that_is_explained_is_one_that_a_server_says() {
    let mut text = String::new();
    sources(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")),
        &mut text,
    );
    let pieces: Vec<_> = text.split("\\\n").map(str::trim_start).collect();
    let text = pieces.concat();
    let messages = messages::messages();
    assert!(messages.len() > 30, "{} messages", messages.len());
    for parts in messages {
        for part in parts
            .iter()
            .map(|part| part.trim())
            .filter(|part| part.len() > 3)
        {
            assert!(text.contains(part), "no server says '{part}' of {parts:?}");
        }
    }
}

#[test]
fn what_is_no_message_is_not_taken_for_one() {
    for line in [
        "link to Bob is down: the neighbour closed the connection",
        "link to Bob is up",
        "clients on 127.0.0.1:1, servers on 127.0.0.1:2",
        "stopped",
        "Bob was refused at the server port: no HELLO within 5 s",
    ] {
        assert!(messages::is_explained(line), "{line}");
    }
    for line in [
        "",
        "anything else",
        "link to Bob is sideways",
        "stopped?",
        "not ready",
    ] {
        assert!(!messages::is_explained(line), "{line}");
    }
}

/// What a text of the shell has beside its variables, the first of some length.
fn fixed_words(text: &str) -> Option<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_*-/.$(){}'\"#:%".contains(c);
    let parts = text.split('$').enumerate().map(|(at, part)| match at {
        0 => part,
        _ => part.trim_start_matches(is_name),
    });
    let parts = parts.flat_map(|part| part.split([':', ';', ',', '(']));
    let mut parts = parts.map(|part| part.trim_matches(|c: char| !c.is_alphanumeric()));
    parts.find(|part| part.len() >= 5)
}

#[test]
fn what_the_script_complains_of_is_explained() {
    let script = include_str!("../run_herd.sh");
    let page = include_str!("../docs/MESSAGES.md");
    let (_, section) = page.split_once("\n## run_herd.sh\n").expect("it has one");
    let mut complaints = 0;
    for word in ["die \"", "complain \"", "say \"Waiting for another"] {
        for text in script.split(word).skip(1) {
            let text = text.split(['"', '\n']).next().unwrap_or_default();
            let Some(words) = fixed_words(text) else {
                continue; // another program's words
            };
            assert!(
                section.contains(words),
                "docs/MESSAGES.md does not explain '{words}' of run_herd.sh"
            );
            complaints += 1;
        }
    }
    assert!(complaints > 12, "{complaints}");
}
