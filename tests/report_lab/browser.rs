//! A browser without a window, for one test: it sees nothing but the page, and ends with it.

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long anything is waited for, on a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// The driver, and the session with the browser that it started.
pub struct Browser {
    driver: Child,
    pub client: Client,
}

/// Runs a test with a browser of its own. Whatever becomes of it, nothing is left running.
pub fn browse<T: Future<Output = ()>>(test: impl FnOnce(Client) -> T) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime on this thread");
    runtime.block_on(async {
        let browser = Browser::start().await;
        test(browser.client.clone()).await;
        browser.end().await;
    });
}

impl Browser {
    async fn start() -> Self {
        let (driver, port) = driver();
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            // No name leads anywhere, so whatever asks the network would be seen as an error.
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--window-size=1280,900",
            // Ends with the driver, however that ends.
            "--remote-debugging-pipe",
        ];
        let wanted = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "script": PATIENCE.as_millis() as u64 },
        });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(wanted.as_object().expect("an object").clone());
        let client = builder.connect(&format!("http://127.0.0.1:{port}")).await;
        Self { driver, client: client.expect("chromium starts; `make setup-dev` installs it") }
    }

    async fn end(self) {
        self.client.clone().close().await.expect("the session ends");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser sees its pipe close.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The driver on a port that it chose itself. It is killed with the thread that started it, so
/// that it outlives no test, not even one that is killed.
fn driver() -> (Child, u16) {
    let mut driver = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "chromedriver", "--port=0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("setpriv of util-linux");
    let said = BufReader::new(driver.stdout.take().expect("it is piped"));
    let port = said.lines().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    let Some(port) = port else {
        let _ = driver.kill();
        let _ = driver.wait();
        panic!("there is no chromedriver that starts; `make setup-dev` installs it and chromium");
    };
    (driver, port)
}

/// Opens a page, and waits until its script has drawn it, or has said that it cannot.
pub async fn open(client: &Client, page: &Path) {
    client.goto(&format!("file://{}", page.display())).await.expect("the page opens");
    until(client, "document.documentElement.dataset.ready").await;
}

/// What a script's expression gives.
pub async fn ask(client: &Client, expression: &str) -> Value {
    let asked = client.execute(&format!("return {expression}"), vec![]).await;
    asked.unwrap_or_else(|error| panic!("{expression}: {error}"))
}

/// Waits until an expression is true, looking whenever the page may have drawn.
pub async fn until(client: &Client, expression: &str) {
    let look = format!(
        "const done = arguments[0]; \
         const look = () => ({expression}) ? done(true) : requestAnimationFrame(look); look();"
    );
    let seen = client.execute_async(&look, vec![]).await;
    seen.unwrap_or_else(|error| panic!("waited for: {expression}: {error}"));
}

/// Presses keys, one after the other.
pub async fn press(client: &Client, keys: &[char]) {
    let mut actions = KeyActions::new("keys".to_owned());
    for value in keys {
        actions = actions.then(KeyAction::Down { value: *value });
        actions = actions.then(KeyAction::Up { value: *value });
    }
    client.perform_actions(actions).await.expect("keys are pressed");
}

/// A command that only Chromium's driver knows.
#[derive(Debug)]
struct Special {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Special {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

/// A command of the browser's own protocol.
pub async fn devtools(client: &Client, command: &str, parameters: Value) -> Value {
    let body = json!({ "cmd": command, "params": parameters });
    let done = client.issue_cmd(Special { path: "goog/cdp/execute", body }).await;
    done.unwrap_or_else(|error| panic!("{command}: {error}"))
}

/// What the browser complained about since it was asked last: exceptions, refused resources.
pub async fn complaints(client: &Client) -> Vec<String> {
    let body = json!({ "type": "browser" });
    let log = client.issue_cmd(Special { path: "se/log", body }).await.expect("it keeps a log");
    let entries = log.as_array().expect("a list of entries");
    entries.iter().map(|entry| format!("{}: {}", entry["level"], entry["message"])).collect()
}
