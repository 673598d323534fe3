//! A stop, with much under way.

use rustix::process::Signal;

use crate::stub_twitter::{Answer, StubTwitter};
use crate::support::{Herd, wait_until};
use crate::{PAIR, logged, narrow_client};

#[test]
fn at_a_stop_nobody_is_left_without_a_word() {
    const ANSWER_BYTES: usize = (4 << 20) - 2;
    let answer = format!("\"{}\"", "y".repeat(ANSWER_BYTES));
    let twitter = StubTwitter::start(move |request| {
        match request.parameters("geocode").concat().ends_with(",2km") {
            true => Answer::ok(answer.clone()),
            false => Answer::Never,
        }
    });
    let mut herd = Herd::new(PAIR);
    herd.twitter_url = twitter.url();
    herd.start("Ann");
    herd.start("Bob");
    herd.wait_for_link("Ann", "Bob");
    let mut waiting = herd.client("Ann");
    waiting.say("IAMAT kiwi +00+000 1");
    let at = waiting.line();
    waiting.say("WHATSAT kiwi 1 1");
    twitter.wait_for_requests(1);
    let mut slow = narrow_client(&herd);
    slow.say("WHATSAT kiwi 2 1");
    slow.stream.peek(&mut [0]).expect("it is answered");
    twitter.wait_for_requests(2);
    wait_until("the slow one is owed its answer", || {
        logged(&herd, "Ann", "yy\\... ") == 1
    });
    let mut ann = herd.member_mut("Ann").process.take().expect("it runs");
    ann.signal(Signal::TERM);
    assert_eq!(waiting.line(), at);
    assert_eq!(waiting.line(), "{\"error\":\"the server stops\"}");
    waiting.expect_end();
    assert!(ann.wait().success());
    for (words, times) in [
        ("Z + c", 2),
        ("Z - c", 2),
        ("the server stops, and it took nothing more", 1),
        (":Bob the server stops", 1),
    ] {
        assert_eq!(logged(&herd, "Ann", words), times, "{words}");
    }
    assert!(ann.said().contains("link to Bob is down: the server stops"));
    wait_until("Bob has seen it go in peace", || {
        logged(&herd, "Bob", ":Ann closed by the neighbour") == 1
    });
}
