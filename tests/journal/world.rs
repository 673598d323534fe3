//! Many incarnations of Blake beside Bryant, who never forgets, while somebody does things to Blake's
//! journal between them: in the end both hold the same. `HERD_SEED=7 cargo test --test journal` replays
//! one seed, `HERD_SEEDS=30000` runs so many; each failure prints its seed and all that happened.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use herd::connection_id::ConnectionId;
use herd::journal::Fsync;
use herd::node::Node;
use herd::node::effects::LinkId;
use herd::node::protocol::parse_at;
use herd::random::SplitMix64;
use herd::time::{Now, Timestamp};

use crate::disk::Folder;
use crate::effects::{Effect, Recorder};
use crate::life::{Life, ROOM, node};
use crate::seeds;

/// Run in every `cargo test`.
const SEEDS: u64 = 600;

/// After this time Blake forgets, if it does.
const SPAN: Duration = Duration::from_secs(30);

/// What Blake's clock may be off by, in seconds.
const SKEWS_S: [i64; 4] = [0, 0, -40, 40];

/// What is done to the folder between two incarnations.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Nothing,
    CutEnd,
    LosePower,
    PutBack,
    Delete,
    Zero,
}

const DEEDS: [Deed; 8] = [
    Deed::Nothing,
    Deed::Nothing,
    Deed::CutEnd,
    Deed::LosePower,
    Deed::PutBack,
    Deed::PutBack,
    Deed::Delete,
    Deed::Zero,
];

fn pick<T: Copy>(dice: &mut SplitMix64, of: &[T]) -> T {
    of[dice.below(of.len() as u64) as usize]
}

/// What a folder holds.
type Contents = BTreeMap<String, Vec<u8>>;

/// The link, while it is up: what was said and not heard.
struct Wire {
    id: ConnectionId,
    to_blake: VecDeque<Vec<u8>>,
    to_bryant: VecDeque<Vec<u8>>,
}

/// What outlives an incarnation of Blake, and the wire.
struct World {
    seed: u64,
    dice: SplitMix64,
    bryant: Node,
    bryants: Recorder,
    /// By a clock that is right, which is Bryant's.
    now: Now,
    wire: Option<Wire>,
    serial: u64,
    folder: Folder,
    /// The folder, as it was at some times.
    copies: Vec<Contents>,
    trace: String,
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            let World { seed, trace, .. } = self;
            eprintln!("{trace}replay with: HERD_SEED={seed} cargo test --test journal");
        }
    }
}

impl World {
    fn new(seed: u64) -> World {
        let now = Now {
            mono: Instant::now(),
            wall: Timestamp::new(1_353_118_103, 0),
        };
        World {
            seed,
            dice: SplitMix64(seed),
            bryant: node("Bryant", 0xb, now),
            bryants: Recorder::default(),
            now,
            wire: None,
            serial: 0,
            folder: Folder::default(),
            copies: vec![Contents::new()],
            trace: String::new(),
        }
    }

    fn note(&mut self, what: &str) {
        self.trace.push_str(what);
        self.trace.push('\n');
    }

    fn report(&mut self) -> String {
        let client = self.dice.below(4);
        let time = self.now.wall.seconds() + 5 - self.dice.below(40) as i64;
        format!("IAMAT k{client} +00+000 {time}")
    }

    /// The process has died. Does something to what it has left.
    fn do_a_deed(&mut self) {
        self.folder.kill();
        let deed = pick(&mut self.dice, &DEEDS);
        let mut contents = self.folder.contents();
        let copies = self.copies.len() as u64;
        match deed {
            Deed::Nothing => {}
            Deed::LosePower => {
                self.folder.lose_power(&mut self.dice);
                contents = self.folder.contents();
            }
            Deed::PutBack => contents = self.copies[self.dice.below(copies) as usize].clone(),
            Deed::Delete => contents.clear(),
            Deed::CutEnd | Deed::Zero => {
                for bytes in contents.values_mut() {
                    let at = self.dice.below(bytes.len() as u64 + 1) as usize;
                    match deed {
                        Deed::Zero => bytes[at..].iter_mut().take(64).for_each(|byte| *byte = 0),
                        _ => bytes.truncate(at),
                    }
                }
            }
        }
        self.folder = Folder::with(&contents);
        self.copies.push(contents);
        self.note(&format!("--- {deed:?}"));
    }

    // ---- the two, linked now and then

    /// Has Blake do something by its own clock, and carries out what both want done.
    fn act(&mut self, life: &mut Life, act: impl FnOnce(&mut Node, Now, &mut Recorder)) {
        life.act(act);
        let mut is_lost = false;
        for (effects, is_blake) in [
            (life.said.split_off(0), true),
            (self.bryants.take().into(), false),
        ] {
            for effect in effects {
                match (effect, &mut self.wire) {
                    (
                        Effect::Send {
                            link: Some(_),
                            line,
                            ..
                        },
                        Some(wire),
                    ) if is_blake => {
                        wire.to_bryant.push_back(line);
                    }
                    (
                        Effect::Send {
                            link: Some(_),
                            line,
                            ..
                        },
                        Some(wire),
                    ) => {
                        wire.to_blake.push_back(line);
                    }
                    (Effect::Lose(..) | Effect::Abort(..), _) => is_lost = true,
                    _ => {}
                }
            }
        }
        life.commit();
        if is_lost {
            self.cut(life);
        }
    }

    fn connect(&mut self, life: &mut Life) {
        self.cut(life);
        self.note("linked");
        self.serial += 1;
        let id = ConnectionId {
            serial: 100 + self.serial,
            slot: 1,
        };
        self.wire = Some(Wire {
            id,
            to_blake: VecDeque::new(),
            to_bryant: VecDeque::new(),
        });
        self.bryant
            .handle_connected(LinkId::nth(0), id, self.now, &mut self.bryants);
        self.act(life, |node, now, _| node.handle_accepted(id, now));
    }

    /// Cuts the link: what is under way is lost.
    fn cut(&mut self, life: &mut Life) {
        if let Some(Wire { id, .. }) = self.wire.take() {
            self.note("cut");
            self.bryant
                .handle_peer_lost(id, "cut", self.now, &mut self.bryants);
            self.act(life, |node, now, effects| {
                node.handle_peer_lost(id, "cut", now, effects)
            });
        }
    }

    /// Lets up to `most` lines pass each way, and says whether there was any.
    fn pass_lines(&mut self, life: &mut Life, most: u64) -> bool {
        let mut any = false;
        for _ in 0..most {
            let Some(Wire {
                id,
                to_blake,
                to_bryant,
            }) = &mut self.wire
            else {
                break;
            };
            let (id, to_blake, to_bryant) = (*id, to_blake.pop_front(), to_bryant.pop_front());
            any |= to_blake.is_some() || to_bryant.is_some();
            for (name, line) in [("Blake", &to_blake), ("Bryant", &to_bryant)] {
                if let Some(line) = line {
                    self.note(&format!("{name} < {}", line.escape_ascii()));
                }
            }
            if let Some(line) = to_bryant {
                let read = self.bryant.read_link_line(&line);
                self.bryant
                    .handle_link_line(id, read, self.now, &mut self.bryants);
            }
            self.act(life, |node, now, effects| {
                if let Some(line) = to_blake {
                    let read = node.read_link_line(&line);
                    node.handle_link_line(id, read, now, effects);
                }
            });
        }
        any
    }

    /// Lets time pass, and both say what they have to say.
    fn pass(&mut self, life: &mut Life, seconds: i64) {
        let skew = life.now.wall.seconds() - self.now.wall.seconds();
        self.now.mono += Duration::from_secs(seconds as u64);
        self.now.wall = Timestamp::new(self.now.wall.seconds() + seconds, 0);
        let wall = Timestamp::new(self.now.wall.seconds() + skew, 0);
        life.set_now(Now { wall, ..self.now });
        self.bryant.handle_timeout(self.now, &mut self.bryants);
        self.act(life, |node, now, effects| node.handle_timeout(now, effects));
        if let Some(Wire { id, .. }) = self.wire {
            self.bryant
                .handle_room(id, ROOM, self.now, &mut self.bryants);
            self.act(life, |node, now, effects| {
                node.handle_room(id, ROOM, now, effects)
            });
        }
    }

    /// Something happens.
    fn step(&mut self, life: &mut Life) {
        match self.dice.below(16) {
            0..4 => {
                let line = self.report();
                self.note(&format!("to Blake: {line}"));
                life.hear_client_line(&line);
                self.act(life, |_, _, _| {});
            }
            4..6 => {
                let line = self.report();
                self.note(&format!("to Bryant: {line}"));
                let read = self.bryant.read_client_line(line.as_bytes());
                let id = ConnectionId { serial: 0, slot: 0 };
                self.bryant
                    .handle_client_line(id, read, self.now, &mut self.bryants);
                self.act(life, |_, _, _| {});
            }
            6..9 if self.wire.is_none() => self.connect(life),
            6 => self.cut(life),
            7..10 => {
                let most = self.dice.below(6);
                self.pass(life, 0);
                self.pass_lines(life, most);
            }
            10 => life.journal.begin_anew(),
            11..13 => drop(life.work()),
            13 => self.copies.push(self.folder.contents()),
            _ => {
                self.pass(life, 2);
                self.pass_lines(life, 20);
            }
        }
    }
}

/// What a node holds of each client, but for what has an effective time before `oldest`.
fn known(node: &Node, oldest: Timestamp) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let changes = node.table().changes_after(0);
    let locations = changes.map(|change| parse_at(change.line).expect("it is one"));
    let alive = locations.filter(|location| location.effective() >= oldest);
    let known = alive.map(|location| (text(location.client), text(location.line)));
    known.collect()
}

/// Some incarnations of Blake, the last of which is left in peace. Says how many were in doubt.
fn run(seed: u64) -> u32 {
    let mut world = World::new(seed);
    let incarnations = 2 + world.dice.below(5);
    let mut doubts = 0;
    for number in 1..=incarnations {
        let skew = pick(&mut world.dice, &SKEWS_S);
        let after = (seed % 2 == 1 && world.dice.below(2) == 0).then_some(SPAN);
        let wall = Timestamp::new(world.now.wall.seconds() + skew, 0);
        let now = Now { wall, ..world.now };
        let life = Life::of("Blake", &world.folder, number, now, Fsync::Never, after);
        let mut life = life.expect("the folder can be used");
        doubts += u32::from(!life.recovered.is_sure);
        world.note(&format!(
            "incarnation {number}, forgets {after:?}, clock {skew}: {:?}, {:?}",
            life.recovered, life.notices
        ));
        for _ in 0..world.dice.below(30) {
            world.step(&mut life);
        }
        if number < incarnations {
            world.cut(&mut life);
            world.do_a_deed();
            continue;
        }
        for _ in 0..10 {
            if world.wire.is_none() {
                world.connect(&mut life);
            }
            world.pass(&mut life, 2);
            while world.pass_lines(&mut life, 50) {}
            life.rest();
        }
        life.node.check_invariants();
        let oldest = after.map_or(Timestamp::MIN, |after| life.now.wall.minus(after));
        let [own, others] = [&life.node, &world.bryant].map(|node| known(node, oldest));
        assert_eq!(own, others, "Blake's and Bryant's");
    }
    doubts
}

#[test]
fn whatever_is_done_to_a_journal_both_ends_hold_the_same_in_the_end() {
    if let Some(seed) = seeds::one() {
        run(seed);
        return;
    }
    let mut doubts = 0;
    let mut is_bad = |seed: &u64| match catch_unwind(AssertUnwindSafe(|| run(*seed))) {
        Ok(in_doubt) => {
            doubts += in_doubt;
            false
        }
        Err(_) => true,
    };
    let failed: Vec<_> = seeds::many(SEEDS).filter(|seed| is_bad(seed)).collect();
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
    assert!(doubts > SEEDS as u32 / 4, "{doubts} starts were in doubt");
}
