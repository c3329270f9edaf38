//! Chromium without a window, driven by its own debugging protocol over a web socket.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::WebSocket;

/// Longer than anything takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// The protocol's number for it.
const SHIFT: u32 = 8;

/// Where a Chromium is, if there is one.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
}

/// A browser with one page. Ends with this value.
pub(crate) struct Browser {
    child: Child,
    socket: WebSocket<TcpStream>,
    session: String,
    next: u64,
    /// What the page complained about: errors, warnings, exceptions, refused loads.
    pub(crate) complaints: Vec<String>,
    _profile: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    pub(crate) fn start(chromium: &Path) -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(chromium)
            .args(["--headless", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .args(["--disable-sync", "--disable-extensions", "--disable-dev-shm-usage"])
            // As root, as in a container, its own sandbox cannot be set up. It opens one page of
            // this machine, and nothing else.
            .args(["--no-sandbox", "--hide-scrollbars", "--force-device-scale-factor=1"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("chromium starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("its output"));
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).expect("text"), 0, "chromium ended: {said}");
            if let Some((_, address)) = line.split_once("DevTools listening on ") {
                break address.trim().to_owned();
            }
            said.push_str(&line);
        };
        // It must not block on a full pipe; nobody needs the rest.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        let authority = address.trim_start_matches("ws://").split('/').next().expect("a host");
        let stream = TcpStream::connect(authority).expect("chromium listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let (socket, _) = tungstenite::client(address, stream).expect("a web socket");
        let mut browser = Self {
            child,
            socket,
            session: String::new(),
            next: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let target = target["targetId"].clone();
        let attached =
            browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.socket.send(message.to_string().into()).expect("chromium listens");
        loop {
            let answer = self.socket.read().expect("chromium answers");
            let Ok(text) = answer.to_text() else { continue };
            let Ok(answer) = serde_json::from_str::<Value>(text) else { continue };
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.note(&answer);
        }
    }

    fn note(&mut self, event: &Value) {
        let details = &event["params"];
        match event["method"].as_str().unwrap_or("") {
            "Runtime.exceptionThrown" => self.complaints.push(details.to_string()),
            "Runtime.consoleAPICalled"
                if matches!(details["type"].as_str(), Some("error" | "warning" | "assert")) =>
            {
                self.complaints.push(details.to_string());
            }
            "Log.entryAdded"
                if matches!(details["entry"]["level"].as_str(), Some("error" | "warning")) =>
            {
                self.complaints.push(details.to_string());
            }
            _ => {}
        }
    }

    /// Runs a script in each page before those of its own.
    pub(crate) fn before_all(&mut self, script: &str) {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }));
    }

    pub(crate) fn open(&mut self, address: &str) {
        self.call("Page.navigate", json!({ "url": address }));
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// The value of an expression in the page.
    pub(crate) fn get(&mut self, expression: &str) -> Value {
        let result = self.call(
            "Runtime.evaluate",
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true }),
        );
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {}",
            result["exceptionDetails"]
        );
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page.
    pub(crate) fn until(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.get(expression) != true {
            assert!(
                Instant::now() < deadline,
                "waited too long until {expression}; complaints: {:?}",
                self.complaints
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Presses a key, as a person would.
    pub(crate) fn press(&mut self, key: &str) {
        self.press_with(key, false);
    }

    /// The same, while Shift is held.
    pub(crate) fn press_with(&mut self, key: &str, shift: bool) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": key,
                "modifiers": if shift { SHIFT } else { 0 } });
            if key == "Enter" {
                event["windowsVirtualKeyCode"] = 13.into();
            }
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// A place in an element: the middle, at such a part of its width.
    fn place(&mut self, selector: &str, part: f64) -> Value {
        self.get(&format!(
            "(() => {{
                const element = document.querySelector('{selector}');
                element.scrollIntoView({{block: 'center'}});
                const box = element.getBoundingClientRect();
                return [box.left + box.width * {part}, box.top + box.height / 2];
            }})()"
        ))
    }

    fn mouse(&mut self, kind: &str, place: &Value, clicks: u32, shift: bool) {
        let button = if clicks > 0 { "left" } else { "none" };
        let event = json!({ "type": kind, "x": place[0], "y": place[1], "button": button,
            "clickCount": clicks, "modifiers": if shift { SHIFT } else { 0 } });
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Moves to the beginning of an element.
    pub(crate) fn hover(&mut self, selector: &str) {
        let place = self.place(selector, 0.1);
        self.mouse("mouseMoved", &place, 0, false);
    }

    /// Clicks in an element, at such a part of its width, as a person would.
    pub(crate) fn click(&mut self, selector: &str, part: f64, shift: bool) {
        let place = self.place(selector, part);
        self.mouse("mouseMoved", &place, 0, shift);
        self.mouse("mousePressed", &place, 1, shift);
        self.mouse("mouseReleased", &place, 1, shift);
    }

    pub(crate) fn double_click(&mut self, selector: &str, part: f64) {
        self.click(selector, part, false);
        let place = self.place(selector, part);
        self.mouse("mousePressed", &place, 2, false);
        self.mouse("mouseReleased", &place, 2, false);
    }

    /// Drags from one part of an element's width to another.
    pub(crate) fn drag(&mut self, selector: &str, from: f64, to: f64) {
        let (from, to) = (self.place(selector, from), self.place(selector, to));
        self.mouse("mouseMoved", &from, 0, false);
        self.mouse("mousePressed", &from, 1, false);
        self.mouse("mouseMoved", &to, 1, false);
        self.mouse("mouseReleased", &to, 1, false);
    }

    /// Chooses a file in a field for one, as its dialogue does.
    pub(crate) fn choose(&mut self, selector: &str, file: &Path) {
        let field = format!("document.querySelector('{selector}')");
        let field = self.call("Runtime.evaluate", json!({ "expression": field }));
        self.call(
            "DOM.setFileInputFiles",
            json!({ "files": [file], "objectId": field["result"]["objectId"] }),
        );
    }

    /// What a screen looks like: its size, and whether it is dark.
    pub(crate) fn screen(&mut self, width: u32, height: u32, dark: bool) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 }),
        );
        let scheme = if dark { "dark" } else { "light" };
        let features = [
            json!({ "name": "prefers-color-scheme", "value": scheme }),
            // So that a picture is not taken in the middle of a movement.
            json!({ "name": "prefers-reduced-motion", "value": "reduce" }),
        ];
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// A picture of the page as it stands, as PNG.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let data = picture["data"].as_str().expect("a picture");
        base64::engine::general_purpose::STANDARD.decode(data).expect("base64")
    }

    pub(crate) fn save(&mut self, file: &Path) {
        let picture = self.picture();
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, picture).expect("a picture");
    }
}
