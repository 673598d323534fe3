//! Answers that come late or never, and many questions at once.

use std::thread;
use std::time::{Duration, Instant};

use crate::stub_twitter::{Answer, Gate, StubTwitter};
use crate::support::reference::{WORD_OF_REFUSALS, promised};
use crate::support::{Client, FIVE, Herd, raise_descriptors, wait_until};
use crate::{answer, ask, blake_asking, error_text, located, radius};

/// The most questions that may wait for Twitter at the same time.
const QUESTIONS_MAX: usize = 1024;

/// The most of them that may be of one client.
const OF_ONE_CLIENT_MAX: usize = 16;

/// The most that Twitter is asked at the same time.
const REQUESTS_MAX: usize = 8;

/// More questions than any sensible server asks at once.
const MANY: usize = 64;

/// A Twitter that says which radius it was asked for, once the gate of that radius is open: those below
/// `count` have one.
fn gated_by_radius(count: usize) -> (StubTwitter, Vec<Gate>) {
    let gates = Vec::from_iter((0..count).map(|_| Gate::closed()));
    let held = gates.clone();
    let twitter = StubTwitter::start(move |request| {
        let radius = radius(request);
        let answer = Answer::ok(format!("{{\"radius\":{radius}}}"));
        match held.get(radius) {
            Some(gate) => answer.after(gate),
            None => answer,
        }
    });
    (twitter, gates)
}

/// Waits until Blake's log has an answer of [`gated_by_radius`], whether or not it has left.
fn wait_for_answer(herd: &Herd, radius: usize) {
    let record = format!(" {{\"radius\":{radius}}}\n");
    herd.wait_for_record("Blake", &record);
}

// ---- waiting

/// So many clients that wait for an answer, having asked at once: the radius of each is its number.
fn all_waiting(herd: &Herd, count: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| herd.client("Blake")).collect();
    for (radius_km, client) in clients.iter_mut().enumerate() {
        client.say(&format!("WHATSAT k {radius_km} 1"));
    }
    (0..count).for_each(|radius_km| wait_until_asked(herd, radius_km));
    clients
}

/// Waits until Blake has taken up a question of this radius.
fn wait_until_asked(herd: &Herd, radius_km: usize) {
    let record = format!(" WHATSAT k {radius_km} 1\n");
    herd.wait_for_record("Blake", &record);
}

#[test]
fn a_twitter_that_hangs_or_drips_is_given_up_after_ten_seconds_and_slows_nobody_else() {
    let gate = Gate::closed();
    let held = gate.clone();
    let twitter = StubTwitter::start(move |request| match radius(request) {
        1000 => Answer::ok("{\"well\":1}"),
        number => match number % 3 {
            0 => Answer::Never,
            1 => Answer::Drip(Duration::from_millis(50)),
            _ => Answer::ok("{\"too\":\"late\"}").after(&held),
        },
    });
    let herd = blake_asking(&twitter);
    let mut witness = located(&herd);
    let mut several = herd.client("Blake");
    let asked = Instant::now();
    // The time of each is its own: what waits behind another does not wait for longer.
    several.send(b"WHATSAT k 1002 1\nWHATSAT k 1005 1\n");
    let several = thread::spawn(move || {
        for _ in 0..2 {
            error_text(&answer(&mut several));
        }
        asked.elapsed()
    });
    // Most of these wait for others to be asked before them, which counts.
    let clients = all_waiting(&herd, MANY);
    let answers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            thread::spawn(move || {
                let line = answer(&mut client);
                (asked.elapsed(), line, client)
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    while answers.iter().any(|answer| !answer.is_finished()) {
        let began = Instant::now();
        witness.say("IAMAT witness +00+000 1");
        witness.line();
        assert!(herd.ask("Blake", "no command").starts_with("? "));
        slowest = slowest.max(began.elapsed());
        thread::sleep(Duration::from_millis(20)); // a client, not a flood
    }
    assert!(
        slowest < Duration::from_secs(2),
        "another client waited {slowest:?}"
    );
    let took = several.join().expect("its lines come in time");
    let range = Duration::from_secs(9)..Duration::from_secs(20);
    assert!(range.contains(&took), "two of one client took {took:?}");
    let mut late = Vec::new();
    for (number, answer) in answers.into_iter().enumerate() {
        let (took, line, client) = answer.join().expect("a line comes in time");
        error_text(&line);
        assert!(range.contains(&took), "question {number} took {took:?}");
        late.push(client);
    }
    // What comes too late goes nowhere, and Twitter can be asked again.
    gate.open();
    for client in late.iter_mut().take(12) {
        assert_eq!(ask(client, "1000", 1), "{\"well\":1}");
    }
}

#[test]
fn identical_questions_in_flight_share_one_request_and_different_ones_do_not() {
    let (twitter, gate) = StubTwitter::gated(|request| {
        let geocode = request.parameters("geocode").concat();
        let rpp = request.parameters("rpp").concat();
        Answer::ok(format!("{{\"asked\":\"{geocode} {rpp}\"}}"))
    });
    let herd = blake_asking(&twitter);
    let mut client = herd.client("Blake");
    for (name, location) in [
        ("k", "+00+000"),
        ("same", "-00.0+000.0/"),
        ("other", "+01+000"),
    ] {
        client.say(&format!("IAMAT {name} {location} 1"));
        client.line();
    }
    let questions = [
        ("WHATSAT k 1 1", "0,0,1km 1"),
        ("WHATSAT k 1 1", "0,0,1km 1"),
        ("WHATSAT k 1.0 01", "0,0,1km 1"),
        ("WHATSAT same 01 1", "0,0,1km 1"),
        ("WHATSAT other 1 1", "1,0,1km 1"),
        ("WHATSAT k 1 2", "0,0,1km 2"),
        ("WHATSAT k 1.5 1", "0,0,1.5km 1"),
    ];
    for (round, requests) in [(0, 4), (1, 8)] {
        let mut clients: Vec<_> = questions.iter().map(|_| herd.client("Blake")).collect();
        for ((question, _), client) in questions.iter().zip(&mut clients) {
            client.say(question);
        }
        if round == 0 {
            twitter.wait_for_requests(requests);
            wait_until("all have been taken up", || {
                herd.log("Blake").matches(" WHATSAT ").count() == questions.len()
            });
            gate.open();
        }
        for ((question, want), client) in questions.iter().zip(&mut clients) {
            let want = format!("{{\"asked\":\"{want}\"}}");
            assert_eq!(answer(client), want, "{question}");
        }
        let lines = twitter.requests();
        let lines: Vec<_> = lines.iter().map(|request| &request.line).collect();
        if round == 0 {
            assert_eq!(lines.len(), requests, "{lines:#?}");
        } else {
            // Now answers come at once, so that fewer are in flight together; none is an old one.
            assert!(lines.len() >= requests, "an old answer: {lines:#?}");
        }
    }
}

#[test]
fn with_1024_questions_waiting_the_surplus_is_answered_at_once_with_an_error() {
    raise_descriptors(4_000);
    let (twitter, gate) = StubTwitter::gated(|request| {
        let radius = radius(request);
        Answer::ok(format!("{{\"radius\":{radius}}}"))
    });
    let mut herd = blake_asking(&twitter);
    drop(located(&herd));
    let count = QUESTIONS_MAX + 10;
    let mut clients: Vec<_> = (0..count).map(|_| herd.client("Blake")).collect();
    for (number, client) in clients[..QUESTIONS_MAX].iter_mut().enumerate() {
        client.say(&format!("WHATSAT k {number} 1"));
    }
    wait_until("all have been taken up", || {
        herd.log("Blake").matches(" WHATSAT ").count() == QUESTIONS_MAX
    });
    for (surplus, client) in clients[QUESTIONS_MAX..].iter_mut().enumerate() {
        let number = QUESTIONS_MAX + surplus;
        let asked = Instant::now();
        let line = ask(client, &number.to_string(), 1);
        let took = asked.elapsed();
        error_text(&line);
        assert!(took < Duration::from_secs(3), "it took {took:?}: {line}");
        client.say("no command");
        assert_eq!(client.line(), "? no command", "the connection stays");
    }
    // Who waits has such an error too, and in its turn.
    let waiting = &mut clients[QUESTIONS_MAX - 1];
    waiting.say("WHATSAT k 3000 1");
    wait_until("the surplus question is refused", || {
        let log = herd.log("Blake");
        let asked = log.lines().find(|line| line.ends_with(" WHATSAT k 3000 1"));
        let label = asked.and_then(|line| line.split(' ').nth(2));
        label.is_some_and(|label| log.contains(&format!(" > {label} {{\"error\":")))
    });
    gate.open();
    for (number, client) in clients[..QUESTIONS_MAX].iter_mut().enumerate() {
        let line = answer(client);
        assert_eq!(line, format!("{{\"radius\":{number}}}"), "it did wait");
    }
    error_text(&answer(&mut clients[QUESTIONS_MAX - 1]));
    let client = &mut clients[count - 1];
    assert_eq!(
        ask(client, "2000", 1),
        "{\"radius\":2000}",
        "there is room again"
    );
    if promised(&WORD_OF_REFUSALS) {
        let said = herd.process("Blake").said();
        let text = "Blake: questions are refused: 1024 wait for Twitter, all that may. \
            --twitter-cache lets one answer serve many\n";
        assert_eq!(said.matches(text).count(), 1, "once is enough: {said}");
    }
}

// ---- several questions of one client

#[test]
fn a_report_behind_a_question_is_known_everywhere_before_the_answer() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{}"));
    let mut herd = Herd::new(FIVE);
    herd.twitter_url = twitter.url();
    herd.start_all();
    let mut client = located(&herd);
    client.send(b"WHATSAT k 1 1\nIAMAT late +01+001 1\nno command\n");
    twitter.wait_for_requests(1);
    // A question to Metta would wait for Twitter too.
    wait_until("Metta has heard of it", || {
        herd.log("Metta").contains(" late +01+001 1\n")
    });
    gate.open();
    assert_eq!(answer(&mut client), "{}");
    let late = client.line();
    herd.wait_for_record("Metta", &format!(" {late}\n"));
    assert_eq!(client.line(), "? no command");
}

#[test]
fn questions_of_one_client_are_asked_side_by_side_and_answered_in_order() {
    let (twitter, gates) = gated_by_radius(REQUESTS_MAX);
    let herd = blake_asking(&twitter);
    let mut client = located(&herd);
    let lines = (0..REQUESTS_MAX).map(|n| format!("WHATSAT k {n} 1\nbehind {n}\n"));
    client.send(lines.collect::<String>().as_bytes());
    twitter.wait_for_requests(REQUESTS_MAX);
    wait_until("all that is behind them is handled", || {
        let last = format!(" ? behind {}\n", REQUESTS_MAX - 1);
        herd.log("Blake").contains(&last)
    });
    for (radius, gate) in gates.iter().enumerate().rev() {
        gate.open();
        wait_for_answer(&herd, radius);
    }
    for number in 0..REQUESTS_MAX {
        assert_eq!(answer(&mut client), format!("{{\"radius\":{number}}}"));
        assert_eq!(client.line(), format!("? behind {number}"));
    }
}

#[test]
fn a_client_may_have_sixteen_questions_waiting() {
    for first_is_answered in [true, false] {
        let (twitter, gates) = gated_by_radius(OF_ONE_CLIENT_MAX);
        let mut herd = Herd::new(&[("Blake", &["Bryant"]), ("Bryant", &[])]);
        herd.twitter_url = twitter.url();
        herd.start_all();
        let mut client = located(&herd);
        let line = |radius| format!("WHATSAT k {radius} 1\n");
        let questions = (0..OF_ONE_CLIENT_MAX).map(line).collect::<String>();
        client.send((questions + "IAMAT next +01+001 1\n").as_bytes());
        twitter.wait_for_requests(REQUESTS_MAX);
        let last = format!(" WHATSAT k {} 1\n", OF_ONE_CLIENT_MAX - 1);
        wait_until("the sixteenth is taken up", || {
            herd.log("Blake").contains(&last)
        });
        // Bryant hears what Blake takes in, in its order.
        herd.ask("Blake", "IAMAT witness +00+000 1");
        let heard = |name: &str| herd.log("Bryant").contains(&format!(" {name} +0"));
        wait_until("Bryant hears of the witness", || heard("witness"));
        let heard_of = herd.settled_log("Bryant");
        assert!(
            !heard_of.contains(" next +0"),
            "the seventeenth line was taken up"
        );
        let mut asked = twitter
            .requests()
            .into_iter()
            .map(|request| radius(&request));
        let answered = asked.find(|&radius| (radius == 0) == first_is_answered);
        let answered = answered.expect("the first has been asked, and others");
        gates[answered].open();
        wait_for_answer(&herd, answered);
        wait_until("Bryant hears of the next", || heard("next"));
        gates.iter().for_each(Gate::open);
        for radius in 0..OF_ONE_CLIENT_MAX {
            assert_eq!(answer(&mut client), format!("{{\"radius\":{radius}}}"));
        }
        let at = client.line();
        assert!(at.ends_with(" next +01+001 1"), "{at}");
    }
}

#[test]
fn a_client_that_has_gone_takes_its_unstarted_question_with_it() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{}"));
    let mut herd = blake_asking(&twitter);
    let mut witness = located(&herd);
    let mut clients = all_waiting(&herd, MANY);
    {
        // A socket that is closed with a reply unread resets the connection.
        let mut gone = herd.client("Blake");
        gone.send(b"no command\nWHATSAT k 1000 1\n");
        gone.stream.peek(&mut [0]).expect("the copy comes");
        wait_until_asked(&herd, 1000);
    }
    wait_until("the log has it dropped", || {
        let log = herd.log("Blake");
        log.lines().any(|line| line.split(' ').nth(1) == Some("-"))
    });
    gate.open();
    for client in &mut clients {
        assert_eq!(answer(client), "{}");
    }
    assert_eq!(ask(&mut witness, "2000", 1), "{}");
    let asked: Vec<_> = twitter.requests().iter().map(radius).collect();
    assert_eq!(asked.len(), MANY + 1, "{asked:?}");
    assert!(!asked.contains(&1000), "{asked:?}");
    assert!(herd.process("Blake").is_running());
}
