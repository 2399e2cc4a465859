//! A real browser.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use crate::house::{House, until};

/// Chromium without a window, told what to do through its debugging pipe (one JSON object, then NUL, each way).
pub(crate) struct Browser {
    child: Child,
    ask: ChildStdin,
    tell: BufReader<ChildStdout>,
    page: Option<String>,
    asked: u64,
}

impl Browser {
    /// None = there is none on this machine, which says so.
    pub(crate) fn start(house: &House) -> Option<Self> {
        let found = Command::new("chromium").arg("--version").output();
        if !found.is_ok_and(|found| found.status.success()) {
            assert!(
                std::env::var_os("CI").is_none(),
                "no chromium; CI is Debian: scripts/packages test"
            );
            println!("not tried: there is no chromium");
            return None;
        }
        let profile = format!("--user-data-dir={}", house.path("browser").display());
        let mut child = Command::new("/bin/sh")
            .args(["-c", r#"exec chromium "$@" 3<&0 4>&1 >/dev/null 2>&1"#, "sh"])
            // Without a sandbox of its own it runs as root too; it sees our own page alone.
            .args(["--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--disable-dev-shm-usage", &profile])
            .env("HOME", house.path("home"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (ask, tell) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut browser = Self { child, ask, tell: BufReader::new(tell), page: None, asked: 0 };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", &attach);
        browser.page = attached["sessionId"].as_str().map(str::to_owned);
        browser.call("Page.enable", &json!({}));
        Some(browser)
    }

    fn hear(&mut self) -> Value {
        let mut said = vec![];
        self.tell.read_until(0, &mut said).unwrap();
        assert_eq!(said.pop(), Some(0), "the browser is gone");
        serde_json::from_slice(&said).unwrap()
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.asks(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn asks(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        self.asked += 1;
        let mut call = json!({"id": self.asked, "method": method, "params": params});
        if let Some(page) = &self.page {
            call["sessionId"] = json!(page);
        }
        write!(self.ask, "{call}\0").unwrap();
        self.ask.flush().unwrap();
        loop {
            let heard = self.hear();
            if heard["id"] == self.asked {
                return match &heard["error"] {
                    Value::Null => Ok(heard["result"].clone()),
                    error => Err(error.clone()),
                };
            }
        }
    }

    /// Does what leads to another page, and waits for that.
    fn then_loads(&mut self, method: &str, params: &Value) {
        self.call(method, params);
        while self.hear()["method"] != "Page.loadEventFired" {}
    }

    /// As somebody who types an address, or a program that opens one.
    pub(crate) fn goes_to(&mut self, url: &str) {
        self.then_loads("Page.navigate", &json!({"url": url}));
    }

    /// Clicks on what leads to another page.
    pub(crate) fn presses(&mut self, what: &str) {
        let click = format!("document.querySelector({what:?}).click()");
        self.then_loads("Runtime.evaluate", &json!({"expression": click}));
    }

    /// Waits until this can be read, on whatever page the present one leads to.
    pub(crate) fn until_reads(&mut self, text: &str) -> String {
        let wanted = json!({"expression": "document.body.innerText", "returnByValue": true});
        until(text, || {
            // None while one page takes the place of another.
            let said = self.asks("Runtime.evaluate", &wanted).ok()?;
            let read = said["result"]["value"].as_str()?.to_owned();
            read.contains(text).then_some(read)
        })
    }

    /// Follows the address that lets it in.
    pub(crate) fn signs_in(&mut self, url: &str) {
        self.goes_to(url);
        // A page with scripts presses by itself.
        let press = "if (!document.scripts.length) document.querySelector('form[data-press] button')?.click()";
        let _ = self.asks("Runtime.evaluate", &json!({"expression": press}));
        self.until_reads("Attention");
    }

    /// What a script says, on the page that is open.
    pub(crate) fn evaluates(&mut self, script: &str) -> Value {
        let wanted = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        self.call("Runtime.evaluate", &wanted)["result"]["value"].clone()
    }

    /// What can be read on the page.
    pub(crate) fn reads(&mut self) -> String {
        self.evaluates("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
