//! The live page in a real browser, before a herd of real processes (contract, section 7).
//!
//! What needs node, chromium or playwright-core is `#[ignore]`d. `.ci/run` says how to install them.

mod browser;
#[path = "../support/http.rs"]
mod http;
#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use browser::Browser;
use http::Http;
use serde_json::json;
use support::reference::say;
use support::{Client, FIVE, Herd, wait_until};

/// A killed neighbour is shown within this time.
const SHOWN_WITHIN: Duration = Duration::from_secs(3);

/// So often a figure is measured before it is given up: others may disturb the machine.
const TRIES: usize = 4;

/// How many clients a page must bear, and how many of them move a second.
const CLIENTS: usize = 100_000;
const MOVES: usize = 1_000;

/// Frames a second, and so milliseconds for each.
const FRAMES: f64 = 30.0;

fn desk() -> serde_json::Value {
    json!({"viewport": {"width": 1280, "height": 800}})
}

fn herd() -> Herd {
    let mut herd = Herd::with_http(FIVE);
    herd.start_all();
    herd
}

fn url(herd: &Herd, name: &str) -> String {
    format!("http://{}/", herd.http(name))
}

/// All is there, and what changes is followed.
const IS_LIVE: &str = "globalThis.herd?.stream === 'live' && herd.map.world !== null";

fn open(browser: &mut Browser, herd: &Herd, name: &str, options: serde_json::Value) {
    browser.open(&url(herd, name), options);
    browser.wait_for(IS_LIVE);
}

/// No other host was asked, and nothing was wrong.
fn assert_calm(browser: &mut Browser, herd: &Herd, name: &str) {
    let (hosts, errors) = browser.noted();
    assert_eq!(hosts, [herd.http(name).to_string()]);
    assert!(errors.is_empty(), "{errors:?}");
}

/// Seconds since 1970 that grow with each report of a test.
fn time(report: usize) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    format!("{}.{report:09}", now - 60)
}

fn report(herd: &Herd, name: &str, client: &str, position: &str, number: usize) {
    let line = format!("IAMAT {client} {position} {}", time(number));
    let at = herd.ask(name, &line);
    assert!(at.starts_with(&format!("AT {name} ")), "{at}");
}

/// The position of a client on the page, as JSON of `[x, y]` in its window.
fn point(browser: &mut Browser, client: &str) -> (f64, f64) {
    let script = format!(
        "(() => {{ const row = herd.clients.rowOf({client:?}); const box = herd.map.element.getBoundingClientRect(); \
         return [herd.map.dots.screenX[row] + box.left, herd.map.dots.screenY[row] + box.top]; }})()"
    );
    let point = browser.eval(&script);
    let part = |i: usize| point[i].as_f64().expect("a number");
    (part(0), part(1))
}

/// Whether there is a dot where a client is.
fn is_drawn(client: &str) -> String {
    format!(
        "(() => {{ const {{ dots, clients }} = {{ ...herd.map, clients: herd.clients }}; \
         const row = clients.rowOf({client:?}); if (row < 0 || dots.moving || dots.screenX[row] < 0) return false; \
         const ratio = dots.canvas.width / dots.width; \
         const [x, y] = [Math.round(dots.screenX[row] * ratio), Math.round(dots.screenY[row] * ratio)]; \
         return dots.image.data[4 * (y * dots.image.width + x) + 3] === 255; }})()"
    )
}

fn position_is(client: &str, position: &str) -> String {
    format!("herd.clients.locations[herd.clients.rowOf({client:?})]?.position === {position:?}")
}

#[test]
#[ignore = "needs node, chromium and playwright-core (.ci/run installs them)"]
fn the_page_is_the_same_over_https() {
    let mut browser = Browser::start();
    let mut herd = Herd::with_http(&[("Blake", &[])]);
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
    let made = made.expect("the name is valid");
    for (option, file, pem) in [
        ("--tls-cert", "tls.crt", made.cert.pem()),
        ("--tls-key", "tls.key", made.signing_key.serialize_pem()),
    ] {
        let path = herd.directory.path().join(file);
        fs::write(&path, pem).expect("the directory is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        herd.arguments.push(option.to_owned());
        herd.arguments.push(path.display().to_string());
    }
    herd.start_all();
    let mut options = desk();
    options["ignoreHTTPSErrors"] = json!(true); // the certificate is its own
    browser.open(&format!("https://{}/", herd.http("Blake")), options);
    browser.wait_for(IS_LIVE);
    report(&herd, "Blake", "kiwi", "+34.0689-118.4451", 1);
    browser.wait_for(&is_drawn("kiwi"));
    browser.wait_for("document.getElementById('summary-text').textContent === 'All well'");
    assert_calm(&mut browser, &herd, "Blake");
}

#[test]
#[ignore = "needs node, chromium and playwright-core (.ci/run installs them)"]
fn a_client_that_is_erased_disappears_until_it_reports_anew() {
    let mut browser = Browser::start();
    let herd = herd();
    open(&mut browser, &herd, "Blake", desk());
    report(&herd, "Metta", "kiwi", "+34.0689-118.4451", 1);
    report(&herd, "Metta", "emu", "-34.0689+118.4451", 2);
    browser.wait_for(&is_drawn("kiwi"));
    browser.wait_for(&is_drawn("emu"));
    let mut http = Http::connect(herd.http("Metta"));
    assert_eq!(http.ask("DELETE", "/v1/clients/kiwi", "", b"").status, 200);
    browser.wait_for("herd.clients.rowOf('kiwi') < 0 && herd.clients.rowOf('emu') >= 0");
    // Also for a page that is opened now.
    open(&mut browser, &herd, "Bryant", desk());
    browser.wait_for(&is_drawn("emu"));
    browser.wait_for("herd.clients.rowOf('kiwi') < 0");
    let reply = http.post("/v1/clients/kiwi", r#"{"latitude":1,"longitude":1}"#);
    assert_eq!(reply.json()["accepted"], true);
    browser.wait_for(&is_drawn("kiwi"));
    assert!(browser.noted().1.is_empty());
}

#[test]
#[ignore = "needs node, chromium and playwright-core (.ci/run installs them)"]
fn a_client_is_shown_moves_and_is_found() {
    let mut browser = Browser::start();
    let herd = herd();
    open(&mut browser, &herd, "Blake", desk());
    report(&herd, "Metta", "kiwi.cs.ucla.edu", "+34.0689-118.4451", 1);
    browser.wait_for(&is_drawn("kiwi.cs.ucla.edu"));
    let before = point(&mut browser, "kiwi.cs.ucla.edu");

    // Its name is shown on demand: under the pointer.
    browser.call("mouse.move", json!([before.0 + 2.0, before.1 - 2.0]));
    browser.wait_for("!document.getElementById('tip').hidden");
    let tip = browser.text("#tip");
    assert!(
        tip.starts_with("kiwi.cs.ucla.edu") && tip.contains("Metta"),
        "{tip}"
    );
    browser.call("mouse.move", json!([before.0 + 80.0, before.1 + 80.0]));
    browser.wait_for("document.getElementById('tip').hidden");

    // It moves, and leaves a track.
    report(&herd, "Howard", "kiwi.cs.ucla.edu", "+40.7128-074.0060", 2);
    browser.wait_for(&position_is("kiwi.cs.ucla.edu", "+40.7128-074.0060"));
    // Until the next frame there is a dot at the old place.
    wait_until("it is drawn where it is now", || {
        point(&mut browser, "kiwi.cs.ucla.edu").0 > before.0 + 30.0
    });
    browser.wait_for(&is_drawn("kiwi.cs.ucla.edu"));
    let length = browser.eval("herd.clients.trackLength[herd.clients.rowOf('kiwi.cs.ucla.edu')]");
    assert_eq!(length, json!(1));

    // It is found by its name, with the keyboard alone, and what a client calls itself becomes no HTML.
    let hostile = "<img/src=x/onerror=globalThis.hurt=1>kiwi";
    report(&herd, "Blake", hostile, "-33.8688+151.2093", 3);
    browser.wait_for(&format!("herd.clients.rowOf({hostile:?}) >= 0"));
    browser.call("keyboard.press", json!(["/"]));
    browser.call("keyboard.type", json!(["KIWI"]));
    browser.wait_for("document.querySelectorAll('#found li').length === 2");
    assert!(browser.text("#found").contains(hostile));
    browser.call("keyboard.press", json!(["Enter"]));
    browser.wait_for("!document.getElementById('card').hidden");
    let card = browser.text("#card");
    assert!(
        card.contains("kiwi.cs.ucla.edu") && card.contains("Howard"),
        "{card}"
    );
    browser.wait_for("Math.abs(herd.map.middle[0] - 40.7128) < 0.01 && Math.abs(herd.map.middle[1] + 74.006) < 0.01");
    browser.call("keyboard.press", json!(["0"]));
    browser.wait_for("herd.map.view.scale <= 1300 && herd.map.dots.visible === 2");
    browser.call("keyboard.press", json!(["Escape"]));
    browser.wait_for("document.getElementById('card').hidden");
    browser.call("keyboard.press", json!(["n"]));
    browser.wait_for("!document.getElementById('card').hidden");
    assert!(browser.text("#card h2").starts_with("<img"));
    assert_eq!(browser.eval("globalThis.hurt ?? 0"), json!(0));

    // The map moves and zooms by mouse and by key.
    browser.eval("globalThis.scale = herd.map.view.scale; 0");
    browser.call("mouse.move", json!([400, 400]));
    browser.call("mouse.wheel", json!([0, -300]));
    browser.wait_for("herd.map.view.scale > globalThis.scale * 1.3");
    browser.eval("globalThis.x = herd.map.view.x; 0");
    browser.call("mouse.down", json!([]));
    browser.call("mouse.move", json!([300, 400, {"steps": 4}]));
    browser.call("mouse.up", json!([]));
    browser.wait_for("herd.map.view.x > globalThis.x");
    browser.eval("globalThis.scale = herd.map.view.scale; 0");
    browser.call("keyboard.press", json!(["+"]));
    browser.wait_for("herd.map.view.scale > globalThis.scale * 1.4");
    browser.eval("globalThis.x = herd.map.view.x; 0");
    browser.call("keyboard.press", json!(["ArrowRight"]));
    browser.wait_for("herd.map.view.x > globalThis.x");

    // The graph counts whom each server heard, and shows them.
    browser.wait_for(
        "document.querySelector('#graph [aria-label=\"Howard: ready, 1 clients\"]') !== null",
    );
    browser.call("click", json!(["#graph [aria-label^=Howard]"]));
    browser.wait_for("herd.map.marked === herd.clients.numberOf('Howard')");
    assert_calm(&mut browser, &herd, "Blake");
}

#[test]
#[ignore = "needs node, chromium and playwright-core (.ci/run installs them)"]
fn a_killed_neighbour_is_shown_at_once_and_its_return_too() {
    let mut browser = Browser::start();
    let mut herd = herd();
    open(&mut browser, &herd, "Blake", desk());
    let all_is_well = "document.getElementById('summary-text').textContent === 'All well' \
         && document.title === 'Herd – Blake' && document.querySelectorAll('#problems li').length === 0 \
         && document.querySelectorAll('#graph line[data-state=good]').length === 10";
    let mut times = Vec::new();
    for _ in 0..TRIES {
        browser.wait_for(all_is_well);
        let since = Instant::now();
        herd.kill("Bryant");
        browser.wait_for("document.title.startsWith('⚠ Bryant is down')");
        times.push(since.elapsed());
        let problems = browser.text("#problems");
        assert!(problems.contains("Bryant is down."), "{problems}");
        assert!(problems.contains("cannot reach it"), "{problems}");
        let level = browser.eval("document.getElementById('summary').dataset.level");
        assert_eq!(level, json!("bad"));
        let halves = "document.querySelectorAll('#graph line[data-state=bad]').length";
        assert_eq!(browser.eval(halves), json!(3));
        herd.start_all();
        if times.last().is_some_and(|time| *time <= SHOWN_WITHIN) {
            browser.wait_for(all_is_well);
            assert_calm(&mut browser, &herd, "Blake");
            return;
        }
    }
    panic!("shown only after {times:?}");
}

#[test]
#[ignore = "needs node, chromium and playwright-core (.ci/run installs them)"]
fn a_name_that_looks_like_the_bytes_of_another_is_another_client() {
    let mut browser = Browser::start();
    let herd = herd();
    let mut client = herd.client("Blake");
    for name in [&b"a\xff"[..], b"\0a%FF", b"%a%FF", b"a%FF"] {
        let report = format!(" +01+001 {}\n", time(1));
        client.send(&[b"IAMAT ", name, report.as_bytes()].concat());
        let at = client.line_bytes().expect("a reply");
        assert!(at.starts_with(b"AT Blake "), "{}", at.escape_ascii());
    }
    open(&mut browser, &herd, "Blake", desk());
    assert_eq!(browser.eval("herd.clients.count"), json!(4));
}

#[test]
#[ignore = "needs node, chromium and playwright-core (.ci/run installs them)"]
fn the_page_survives_a_restart_of_its_server() {
    let mut browser = Browser::start();
    let mut herd = herd();
    report(&herd, "Blake", "kiwi", "+34.0689-118.4451", 1);
    open(&mut browser, &herd, "Blake", desk());
    browser.wait_for(&is_drawn("kiwi"));
    browser.eval("globalThis.same = true; 0");
    herd.kill("Blake");
    browser.wait_for("document.getElementById('summary-text').textContent === 'Blake is away'");
    browser.wait_for("document.title.startsWith('⚠ Blake is away')");
    assert!(browser.text("#problems").contains("It keeps trying."));
    report(&herd, "Gasol", "kiwi", "+51.5074-000.1278", 2);
    report(&herd, "Gasol", "emu", "-25.2744+133.7751", 3);
    herd.start_all();
    browser.wait_for("document.getElementById('summary-text').textContent === 'All well'");
    browser.wait_for(&position_is("kiwi", "+51.5074-000.1278"));
    browser.wait_for(&is_drawn("emu"));
    report(&herd, "Blake", "emu", "-25.2744+130.7751", 4);
    browser.wait_for(&position_is("emu", "-25.2744+130.7751"));
    assert_eq!(
        browser.eval("globalThis.same"),
        json!(true),
        "it was not loaded anew"
    );
    assert_eq!(browser.eval("herd.clients.count"), json!(2));
    let (hosts, errors) = browser.noted();
    assert_eq!(hosts, [herd.http("Blake").to_string()]);
    // That the server was away is the browser's own complaint.
    let others: Vec<_> = errors
        .iter()
        .filter(|error| !error.contains("net::ERR_"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
#[ignore = "needs node, chromium and playwright-core (.ci/run installs them)"]
fn what_the_server_has_lost_is_taken_from_the_map() {
    let mut browser = Browser::start();
    let mut herd = Herd::with_http(&[("Blake", &[])]);
    herd.start_all();
    report(&herd, "Blake", "kiwi", "+34.0689-118.4451", 1);
    open(&mut browser, &herd, "Blake", desk());
    browser.wait_for(&is_drawn("kiwi"));
    herd.kill("Blake");
    fs::remove_dir_all(&herd.data_dir).expect("the directory is ours");
    herd.start_all();
    report(&herd, "Blake", "emu", "-25.2744+133.7751", 2);
    browser.wait_for(&is_drawn("emu"));
    browser.wait_for("herd.clients.count === 1 && herd.stream === 'live'");
}

/// Reports of clients, spread over the world, in one write.
fn reports(first: usize, count: usize, step: usize) -> String {
    let mut lines = String::new();
    let now = time(step);
    for client in (first..first + count).map(|client| client % CLIENTS) {
        // The golden ratio's multiples are spread evenly.
        let along = (client as f64 * 0.618_033_988_75).fract() * 356.0 - 178.0 + 0.01 * step as f64;
        let up = (client as f64 / CLIENTS as f64 - 0.5) * 140.0;
        writeln!(lines, "IAMAT van-{client} {up:+08.4}{along:+09.4} {now}")
            .expect("a string has room");
    }
    lines
}

fn say_all(client: &mut Client, lines: &str) {
    const AT_ONCE: usize = 1_000;
    let lines: Vec<_> = lines.lines().collect();
    for some in lines.chunks(AT_ONCE) {
        client.send(format!("{}\n", some.join("\n")).as_bytes());
        for line in some {
            let reply = client.line();
            assert!(reply.starts_with("AT "), "{line}: {reply}");
        }
    }
}

#[test]
#[ignore = "needs node, chromium and playwright-core (.ci/run installs them)"]
fn a_hundred_thousand_clients_are_smooth() {
    let mut browser = Browser::start();
    let mut herd = Herd::with_http(&[("Blake", &[])]);
    herd.arguments = ["--log", "off"].map(str::to_owned).to_vec();
    herd.start_all();
    let mut client = herd.client("Blake");
    say_all(&mut client, &reports(0, CLIENTS, 0));
    let since = Instant::now();
    browser.open(&url(&herd, "Blake"), desk());
    // As long as more come, however slowly on a busy machine.
    for thousands in 1..=CLIENTS / 1_000 {
        browser.wait_for(&format!(
            "globalThis.herd?.clients.count >= {}",
            1_000 * thousands
        ));
    }
    browser.wait_for(IS_LIVE);
    let (loaded, cpu) = (since.elapsed(), browser.cpu());
    assert_eq!(browser.eval("herd.clients.count"), json!(CLIENTS));
    browser.wait_for("herd.map.dots.gathered && herd.map.dots.pills > 5");
    let mut figures = Vec::new();
    for attempt in 1..=TRIES {
        browser.eval("globalThis.first = [herd.map.frames, performance.now()]; 0");
        let cpu = browser.cpu();
        let since = Instant::now();
        for step in 0..30 {
            let first = (attempt * 30 + step) * MOVES / 10;
            say_all(
                &mut client,
                &reports(first, MOVES / 10, attempt * 30 + step),
            );
            let next = since + Duration::from_millis(100) * (step as u32 + 1);
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let cpu = browser.cpu() - cpu;
        let measured = browser.eval(
            "[herd.map.frames - globalThis.first[0], performance.now() - globalThis.first[1]]",
        );
        let part = |i: usize| measured[i].as_f64().expect("a number");
        let frames_a_second = part(0) / part(1) * 1000.0;
        figures.push((frames_a_second, cpu / part(0) * 1000.0));
        if frames_a_second >= FRAMES {
            break;
        }
    }
    say(&format!(
        "{CLIENTS} clients: shown after {loaded:.1?}, {cpu:.1} s of the processor; frames a second and milliseconds of the processor for one: {figures:.1?}"
    ));
    // How many frames there are depends also on what else the machine does; what one costs does not.
    let cost = figures.iter().map(|(_, cost)| *cost);
    assert!(
        cost.fold(f64::MAX, f64::min) < 1000.0 / FRAMES,
        "{figures:?}"
    );
    let last = browser.eval("herd.clients.trackLength.reduce((sum, length) => sum + length)");
    assert!(last.as_u64() >= Some(2_000), "{last} moves were seen");
    assert_calm(&mut browser, &herd, "Blake");
}

#[test]
#[ignore = "needs node, chromium and playwright-core (.ci/run installs them)"]
fn a_telephone_and_a_dark_room_are_served() {
    let mut browser = Browser::start();
    let herd = herd();
    report(&herd, "Blake", "kiwi", "+48.8566+002.3522", 1);
    let telephone = json!({
        "viewport": {"width": 390, "height": 844}, "deviceScaleFactor": 2, "isMobile": true, "hasTouch": true,
        "colorScheme": "dark", "reducedMotion": "reduce",
    });
    open(&mut browser, &herd, "Metta", telephone);
    browser.wait_for(&is_drawn("kiwi"));
    assert_eq!(
        browser.eval("document.documentElement.scrollWidth <= 390"),
        json!(true)
    );
    assert_eq!(browser.eval("herd.map.calm"), json!(true));
    assert_eq!(
        browser.eval("getComputedStyle(document.body).backgroundColor"),
        json!("rgb(18, 22, 26)")
    );
    let (x, y) = point(&mut browser, "kiwi");
    browser.call("touchscreen.tap", json!([x, y]));
    browser.wait_for("!document.getElementById('card').hidden");
    browser.call("click", json!(["#card-go"]));
    browser.wait_for("herd.map.view.scale > 60000"); // at once: there is no flight for those who want none
    // Two fingers zoom, one moves.
    browser.eval("globalThis.before = [herd.map.view.scale, herd.map.view.x]; 0");
    browser.touch(&[
        [(180.0, 300.0), (130.0, 300.0)],
        [(210.0, 300.0), (260.0, 300.0)],
    ]);
    browser.wait_for("herd.map.view.scale > 2 * globalThis.before[0]");
    browser.eval("globalThis.before = [herd.map.view.scale, herd.map.view.x]; 0");
    browser.touch(&[[(250.0, 300.0), (150.0, 300.0)]]);
    browser.wait_for(
        "herd.map.view.x > globalThis.before[1] && herd.map.view.scale === globalThis.before[0]",
    );
    // All that can be pressed has a name, and is large enough for a finger.
    let nameless = "[...document.querySelectorAll('button, [role=button], input')].filter((part) => \
         !(part.ariaLabel || part.textContent.trim())).length";
    assert_eq!(browser.eval(nameless), json!(0));
    let small = "[...document.querySelectorAll('#buttons button')].filter((part) => part.offsetHeight < 40).length";
    assert_eq!(browser.eval(small), json!(0));
    assert_calm(&mut browser, &herd, "Metta");
}

#[test]
fn its_files_come_with_a_policy_and_once() {
    let mut herd = Herd::with_http(&[("Blake", &[])]);
    herd.start_all();
    let mut http = Http::connect(herd.http("Blake"));
    let page = http.get("/");
    assert_eq!(page.status, 200);
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.field("content-security-policy").expect("a policy");
    for part in [
        "default-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.split("; ").any(|own| own == part), "{policy}");
    }
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
    let etag = page.field("etag").expect("an ETag");
    http.send("GET", "/", &format!("If-None-Match: {etag}\r\n"), b"");
    let known = http.head(); // a 304 has no body, nor a length
    assert_eq!((known.status, known.field("etag")), (304, Some(etag)));
    assert_eq!(
        http.get("/page/land.bin").field("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(http.get("/page/page.js").status, 200);
    assert_eq!(http.get("/page/mod.rs").status, 404);
    assert_eq!(http.post("/", "").status, 405);
}

#[test]
#[ignore = "needs node (apt-get install nodejs)"]
fn what_is_wrong_is_said_in_words() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/words.mjs");
    let output = Command::new("node")
        .arg(script)
        .output()
        .expect("this test needs node (apt-get install nodejs)");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
