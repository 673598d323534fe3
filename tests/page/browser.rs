//! A real browser, headless, driven over `browser.mjs`.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::support::wait_until;

/// Where playwright-core is installed, unless `HERD_PLAYWRIGHT` says otherwise.
const PLAYWRIGHT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/reference/browser");

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/browser.mjs");

/// One browser at a time: each has many processes, and what is measured wants the machine for itself.
static ONE: Mutex<()> = Mutex::new(());

/// A browser, closed with its owner.
pub struct Browser {
    _only: MutexGuard<'static, ()>,
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// Whether a program can be started.
fn is_installed(program: &str) -> bool {
    let mut ask = Command::new(program);
    ask.arg("--version").stdout(Stdio::null());
    let status = ask.stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

impl Browser {
    /// A browser.
    ///
    /// # Panics
    /// If what it needs is not installed; the message says how to install it.
    pub fn start() -> Browser {
        let chromium = env::var("HERD_CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
        let playwright = env::var("HERD_PLAYWRIGHT").unwrap_or_else(|_| PLAYWRIGHT.to_owned());
        assert!(
            is_installed("node"),
            "this test needs node (apt-get install nodejs)"
        );
        assert!(
            is_installed(&chromium),
            "this test needs {chromium} (apt-get install chromium, or HERD_CHROMIUM=PROGRAM)"
        );
        assert!(
            Path::new(&playwright)
                .join("node_modules/playwright-core")
                .exists(),
            "this test needs playwright-core (npm install --prefix {playwright} playwright-core)"
        );
        let path = Command::new("sh")
            .args(["-c", &format!("command -v {chromium}")])
            .output();
        let path = String::from_utf8(path.expect("a shell").stdout).expect("text");
        let mut command = Command::new("node");
        command
            .arg(SCRIPT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command
            .env("HERD_PLAYWRIGHT", playwright)
            .env("HERD_CHROMIUM", path.trim());
        let only = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut process = command.spawn().expect("node is there");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        Browser {
            _only: only,
            process,
            input,
            output,
        }
    }

    fn try_call(&mut self, call: &str, args: &Value) -> Result<Value, String> {
        let line = format!("{}\n", json!({"call": call, "args": args}));
        let input = self.input.as_mut().expect("it is open");
        input.write_all(line.as_bytes()).expect("the script reads");
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("the script answers");
        let mut answer: Value = serde_json::from_str(&line).expect("the script answers with JSON");
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer["value"].take()),
        }
    }

    /// Calls a method of the page, as playwright-core names it.
    pub fn call(&mut self, call: &str, args: Value) -> Value {
        let answer = self.try_call(call, &args);
        answer.unwrap_or_else(|error| panic!("{call}{args}: {error}"))
    }

    /// Opens a page in a window with these options.
    pub fn open(&mut self, url: &str, options: Value) {
        self.call("reset", json!([options]));
        self.call("goto", json!([url]));
    }

    /// What an expression is on the page.
    pub fn eval(&mut self, expression: &str) -> Value {
        self.call("evaluate", json!([expression]))
    }

    /// Waits until an expression is true on the page.
    pub fn wait_for(&mut self, expression: &str) {
        wait_until(expression, || {
            // While a page is loaded anew there is nothing to ask.
            let value = self.try_call("evaluate", &json!([expression]));
            value.is_ok_and(|value| value == json!(true))
        });
    }

    /// The text of an element, as it is shown.
    pub fn text(&mut self, selector: &str) -> String {
        let text = self.call("innerText", json!([selector]));
        text.as_str().expect("a text").to_owned()
    }

    /// For how many seconds the page's main thread has computed, whatever else the machine does.
    pub fn cpu(&mut self) -> f64 {
        let answer = self.call("devtools", json!(["Performance.getMetrics", {}]));
        let metrics = answer["metrics"].as_array().expect("a list");
        let tasks = metrics
            .iter()
            .find(|metric| metric["name"] == "TaskDuration");
        let seconds = tasks.and_then(|metric| metric["value"].as_f64());
        seconds.expect("it is measured")
    }

    /// Moves fingers over the screen: each from one point to another.
    pub fn touch(&mut self, fingers: &[[(f64, f64); 2]]) {
        const STEPS: usize = 8;
        for step in 0..=STEPS {
            let part = step as f64 / STEPS as f64;
            let points = fingers.iter().enumerate().map(|(id, [from, to])| {
                let along = |from: f64, to: f64| from + (to - from) * part;
                json!({"x": along(from.0, to.0), "y": along(from.1, to.1), "id": id})
            });
            let points: Vec<_> = points.collect();
            let kind = if step == 0 { "touchStart" } else { "touchMove" };
            let event = json!({"type": kind, "touchPoints": points});
            self.call("devtools", json!(["Input.dispatchTouchEvent", event]));
        }
        let end = json!({"type": "touchEnd", "touchPoints": []});
        self.call("devtools", json!(["Input.dispatchTouchEvent", end]));
    }

    /// The hosts that the page has asked so far, and what it has complained about.
    pub fn noted(&mut self) -> (Vec<String>, Vec<String>) {
        let noted = self.call("noted", json!([]));
        let list = |name: &str| serde_json::from_value(noted[name].clone()).expect("a list");
        (list("hosts"), list("errors"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.input.take()); // it ends, and closes the browser
        let _ = self.process.wait();
    }
}
