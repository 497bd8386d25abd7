//! A headless browser, driven over WebDriver by `chromedriver`, where one is installed.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

/// A page in a browser; both are gone after the test.
pub struct Browser {
    driver: Child,
    session: String,
}

impl Browser {
    /// Opens a file; `None` if there is no browser on this machine.
    pub fn open(file: &Path, width: u32) -> Option<Self> {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let said = BufReader::new(driver.stdout.take().expect("its output")).lines();
        let port: u16 = said
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, port) = line.split_once("started successfully on port ")?;
                port.trim_end_matches('.').parse().ok()
            })
            .expect("a port");
        let base = format!("http://127.0.0.1:{port}/session");
        let options = json!({"args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", format!("--window-size={width},900")
        ]});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let started = post(&base, &wanted);
        let id = started["sessionId"].as_str().expect("a session");
        let browser = Self {
            driver,
            session: format!("{base}/{id}"),
        };
        browser.ask("url", &json!({"url": format!("file://{}", file.display())}));
        Some(browser)
    }

    /// The value of an expression in the page.
    pub fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        self.ask("execute/sync", &json!({"script": script, "args": []}))
    }

    /// Types into what has the focus.
    pub fn press(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key})))
            .collect();
        self.ask(
            "actions",
            &json!({"actions": [{"type": "key", "id": "keys", "actions": strokes}]}),
        );
    }

    fn ask(&self, what: &str, body: &Value) -> Value {
        post(&format!("{}/{what}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = ureq::delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn post(url: &str, body: &Value) -> Value {
    let mut answer = ureq::post(url).send_json(body).expect("an answer");
    let mut answer: Value = answer.body_mut().read_json().expect("JSON");
    answer["value"].take()
}
