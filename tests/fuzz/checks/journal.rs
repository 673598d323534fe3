//! A file of the journal: whatever it holds, a start makes something of it, the next start the same, and
//! one that is in doubt claims nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crc32c::crc32c;
use herd::journal::{Journal, Options};
use herd::node::Node;
use herd::node::protocol::{Incarnation, Mark};

use super::disk::Folder;
use super::model::{bryant, start};

const NAME: &str = "journal-0000000000000001";

/// What a batch of [`sealed`] begins with: the length of its body in two bytes, the first number and the
/// seconds of its time in eight each.
const BATCH_HEAD: usize = 18;

/// Reads `bytes` as a file: as they are, or if the first is odd as batches whose checksums are right.
pub fn check(bytes: &[u8]) {
    let Some((&how, bytes)) = bytes.split_first() else {
        return;
    };
    let file = match how % 2 {
        0 => bytes.to_vec(),
        _ => sealed(bytes),
    };
    let forgets_after = (how & 2 > 0).then_some(Duration::from_secs(60));
    let length = file.len();
    let mut contents = BTreeMap::from([(NAME.to_owned(), file)]);
    let mut before = None;
    for incarnation in 0x10..0x13 {
        let now = start();
        let folder = Folder::with(&contents);
        let mut node = bryant(incarnation, now);
        if let Some(after) = forgets_after {
            node.forget_after(after, now);
        }
        let options = Options::default();
        let opened = Journal::open(folder.clone(), options, &mut node, now, |_, _| {});
        let Ok((mut journal, recovered)) = opened else {
            assert_eq!(before, None, "what was written by us is refused");
            return;
        };
        node.check_invariants();
        assert!(recovered.locations <= length, "locations from nowhere");
        let mut claims = Claims::of(&node);
        let own = claims.incarnations.pop().expect("the present one");
        assert_eq!(own, (Incarnation(incarnation), claims.end));
        if !recovered.is_sure {
            let nothing = Claims {
                lines: claims.lines.clone(),
                end: claims.end,
                ..Claims::default()
            };
            let nobody = |neighbours: Vec<_>| neighbours.into_iter().map(|_| (None, 0)).collect();
            let neighbours = nobody(claims.neighbours.clone());
            assert_eq!(
                claims,
                Claims {
                    neighbours,
                    ..nothing
                }
            );
        }
        if let Some(before) = before {
            assert!(recovered.is_sure, "{:?}", journal.poll_notice());
            assert_eq!(claims, before);
        }
        journal.commit();
        before = Some(Claims::of(&node));
        while let Some((ticket, outcome)) = folder.finish_a_job() {
            journal.handle_done(ticket, outcome);
        }
        contents = folder.contents();
    }
}

/// What a start knows, and claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Claims {
    lines: Vec<(u64, Vec<u8>)>,
    end: u64,
    incarnations: Vec<(Incarnation, u64)>,
    neighbours: Vec<(Option<Mark>, u64)>,
}

impl Claims {
    fn of(node: &Node) -> Claims {
        let changes = node.table().changes_after(0);
        let neighbours = node.neighbours_known();
        Claims {
            lines: changes
                .map(|change| (change.number, change.line.to_vec()))
                .collect(),
            end: node.table().end(),
            incarnations: node.incarnations().collect(),
            neighbours: neighbours
                .map(|(_, known, marked)| (known, marked))
                .collect(),
        }
    }
}

/// A file of batches, each of which follows the one before.
fn sealed(mut bytes: &[u8]) -> Vec<u8> {
    let mut file = b"herd-jnl\x01\0\0\0".to_vec();
    file.extend(crc32c(&file).to_le_bytes());
    let mut chain = 0;
    while let Some(head) = bytes.split_off(..BATCH_HEAD) {
        let length = usize::from(u16::from_le_bytes([head[0], head[1]]));
        let body = bytes
            .split_off(..length.min(bytes.len()))
            .unwrap_or_default();
        let mut header = (body.len() as u32).to_le_bytes().to_vec();
        header.extend(crc32c(body).to_le_bytes());
        header.extend(u32::to_le_bytes(chain));
        header.extend(&head[2..]);
        header.extend([0; 4]);
        chain = crc32c(&header);
        file.extend(chain.to_le_bytes());
        file.extend(header);
        file.extend(body);
    }
    file
}
