//! Chromium without a screen, driven through chromedriver (WebDriver, by HTTP).

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder in its profile for files that pages save.
const DOWNLOADS: &str = "saved";

/// What lets it run as root and without a screen, and keeps it from talking to anyone but the page.
const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

pub struct Browser {
    driver: Child,
    /// Its address at the driver.
    session: String,
    /// Its profile, and what it saves: new, and gone with it.
    profile: tempfile::TempDir,
}

/// Whether there is no browser, which is told.
pub fn no_browser() -> bool {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let lacks = !["chromium", "chromedriver"].iter().all(|program| has(program));
    if lacks {
        println!("skipped: apt-get install chromium chromium-driver");
    }
    lacks
}

impl Browser {
    /// At a page, with these flags, too.
    pub fn open(page: &str, flags: &[&str]) -> Self {
        let mut driver =
            Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let started = "started successfully on port ";
        let port = lines
            .map(Result::unwrap)
            .find_map(|line| Some(line.split_once(started)?.1.trim_end_matches('.').to_owned()));
        let driver_address = format!("http://127.0.0.1:{}/session", port.expect("chromedriver has not started"));
        let profile = tempfile::tempdir().unwrap();
        let own = format!("--user-data-dir={}", profile.path().display());
        let flags: Vec<&str> = FLAGS.into_iter().chain(flags.iter().copied()).chain([own.as_str()]).collect();
        let downloads = json!({ "download.default_directory": profile.path().join(DOWNLOADS) });
        let options = json!({ "args": flags, "prefs": downloads });
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let mut browser = Self { driver, session: driver_address, profile };
        let session = ask(&browser.session, &wanted);
        browser.session = format!("{}/{}", browser.session, session["sessionId"].as_str().unwrap());
        browser.go(page);
        browser
    }

    /// Goes to a page, or to the same one once more.
    pub fn go(&self, page: &str) {
        ask(&format!("{}/url", self.session), &json!({ "url": page }));
    }

    /// Presses keys, as a person does.
    pub fn press(&self, keys: &str) {
        let keys: Vec<Value> = keys
            .chars()
            .flat_map(|key| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })])
            .collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] });
        ask(&format!("{}/actions", self.session), &actions);
    }

    /// Waits until a script's `return` gives something true.
    pub fn wait(&self, script: &str) {
        let end = Instant::now() + PATIENCE;
        while self.run(script) != true {
            assert!(Instant::now() < end, "{script} has not come true");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for a file that the page has saved, and takes it.
    pub fn download(&self, name: &str) -> String {
        let path = self.profile.path().join(DOWNLOADS).join(name);
        let end = Instant::now() + PATIENCE;
        // It gets its name when it is whole.
        while !path.exists() {
            assert!(Instant::now() < end, "{name} was not saved");
            std::thread::sleep(Duration::from_millis(50));
        }
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        text
    }

    /// What a script's `return` gives; of a promise, what it comes to.
    pub fn run(&self, script: &str) -> Value {
        ask(&format!("{}/execute/sync", self.session), &json!({ "script": script, "args": [] }))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser, and waits for it.
        let _ = agent().delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
    config.build().new_agent()
}

fn ask(address: &str, request: &Value) -> Value {
    let answer = agent().post(address).content_type("application/json").send(request.to_string());
    let text = answer.unwrap().body_mut().read_to_string().unwrap();
    let value = serde_json::from_str::<Value>(&text).unwrap()["value"].take();
    assert!(value.get("error").is_none(), "{address}: {value}");
    value
}
