//! What clients say.

use std::collections::VecDeque;

use herd::random::SplitMix64;

use crate::clients::Owed;

/// What clients say: few names and few moments, so that reports meet.
#[derive(Debug)]
pub struct Script {
    pub names: Vec<Vec<u8>>,
    /// The latest reports: client, location, digits of the time.
    recent: VecDeque<(Vec<u8>, String, String)>,
    /// Clients that report only once.
    pub fresh: u64,
    /// Reports made in haste.
    hasty: u64,
    /// Clients report what is up to so many seconds old, if reports are forgotten.
    pub age_max: Option<u64>,
}

impl Script {
    /// Up to a dozen clients, some of them with names that no host has.
    pub fn new(dice: &mut SplitMix64) -> Script {
        let mut names = vec![b"AT".to_vec(), b"a\\x00\xff\x80".to_vec(), vec![b'n'; 200]];
        names.truncate(dice.below(4) as usize);
        let common = 1 + dice.below(9);
        names.extend((0..common).map(|client| format!("c{client}").into_bytes()));
        Script {
            names,
            recent: VecDeque::new(),
            fresh: 0,
            hasty: 0,
            age_max: None,
        }
    }

    /// A line, and what it is owed. `wall` is the true time in seconds.
    pub fn compose(&mut self, wall: i128, dice: &mut SplitMix64) -> (Vec<u8>, Owed) {
        match dice.below(100) {
            0..65 => self.report(wall, dice),
            65..88 => self.question(dice),
            _ => {
                let line = match dice.below(6) {
                    0 => format!("AT Blake +0.000000000 c1 +10-010 {wall}").into_bytes(),
                    1 => format!("IAMAT c1 +10-010 -{wall}").into_bytes(),
                    2 => b"WHATSAT c1 1 101".to_vec(),
                    3 => b"HELLO herd/1 Blake Bryant 00000000000000ff 9 - 0".to_vec(),
                    4 => b"\x00 \xff\t ".to_vec(),
                    _ => Vec::new(),
                };
                (line.clone(), Owed::Copy(line))
            }
        }
    }

    /// A question about somebody, heard of or not.
    pub fn question(&self, dice: &mut SplitMix64) -> (Vec<u8>, Owed) {
        let client = self.names[dice.below(self.names.len() as u64) as usize].clone();
        let radius = ["1", "01.0", "0.5", "100"][dice.below(4) as usize].to_owned();
        let bound = [0, 5, 100][dice.below(3) as usize];
        let tail = format!(" {radius}\t{bound}\r");
        let line = [b"WHATSAT ", &client[..], tail.as_bytes()].concat();
        let owed = Owed::Question {
            client,
            radius,
            bound,
            line: line.clone(),
        };
        (line, owed)
    }

    /// One of many reports in a row, each more recent than the one before.
    pub fn hasty_report(&mut self, wall: i64) -> (Vec<u8>, Owed) {
        self.hasty += 1;
        let client = format!("hasty{}", self.hasty % 3).into_bytes();
        let location = "+10-010".to_owned();
        let digits = format!("{wall}.{:09}", self.hasty);
        iamat(" ", client, location, digits)
    }

    /// A report: often one that ties with another, loses, comes from the future, or comes again.
    fn report(&mut self, wall: i128, dice: &mut SplitMix64) -> (Vec<u8>, Owed) {
        let place = |dice: &mut SplitMix64| {
            let (latitude, longitude) = (dice.below(90), dice.below(180));
            let slash = ["", "/"][dice.below(2) as usize];
            format!("+{latitude:02}.{}-{longitude:03}{slash}", dice.below(10))
        };
        let (mut client, mut location, mut digits) = match self.recent.len() as u64 {
            held @ 1.. if dice.below(2) == 0 => self.recent[dice.below(held) as usize].clone(),
            _ => (Vec::new(), String::new(), String::new()),
        };
        if client.is_empty() {
            client = self.names[dice.below(self.names.len() as u64) as usize].clone();
            location = place(dice);
            let seconds = match self.age_max {
                Some(age_max) if dice.below(3) == 0 => wall - i128::from(dice.below(age_max)),
                _ => wall - 3 + i128::from(dice.below(6)),
            };
            digits = match dice.below(20) {
                0 => format!("{}", seconds + 1_000_000),
                1 => "999999999999999999.999999999".to_owned(),
                2 => format!("{}", dice.below(100)),
                _ => format!("{seconds}"),
            };
        } else {
            // The same once more, or the same moment in other digits, or from somewhere else.
            match dice.below(4) {
                0 => {}
                1 => digits = digits.split('.').next().unwrap_or_default().to_owned() + ".0",
                2 => digits = "0".to_owned() + digits.trim_start_matches('0'),
                _ => location = place(dice),
            }
        }
        if digits.is_empty() || digits.split('.').next().is_none_or(|d| d.len() > 18) {
            digits = "1".to_owned();
        }
        if self.recent.len() == 12 {
            self.recent.pop_front();
        }
        let report = (client.clone(), location.clone(), digits.clone());
        self.recent.push_back(report);
        let gap = ["  ", "\t"][dice.below(2) as usize];
        iamat(gap, client, location, digits)
    }
}

/// An `IAMAT`, and what it is owed.
pub fn iamat(gap: &str, client: Vec<u8>, location: String, digits: String) -> (Vec<u8>, Owed) {
    let line = [
        b"IAMAT ",
        &client[..],
        gap.as_bytes(),
        location.as_bytes(),
        b" ",
        digits.as_bytes(),
    ]
    .concat();
    let owed = Owed::Report {
        client,
        location,
        digits,
    };
    (line, owed)
}
