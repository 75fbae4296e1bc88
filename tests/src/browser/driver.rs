//! chromedriver as a child process, and the session with the browser that it starts.

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::rustls::crypto::ring;
use tempfile::TempDir;
use thirtyfour::{ChromiumLikeCapabilities, DesiredCapabilities, LoggingPrefsLogLevel, WebDriver};

use crate::programs::{descendants, is_alive};

/// Said by chromedriver, followed by its port.
const STARTED: &str = "started successfully on port ";
/// Longest time to die after a kill.
const KILL_MAX: Duration = Duration::from_secs(5);
/// Interval of checks for that.
const LOOK: Duration = Duration::from_millis(5);
/// Without a window; drawn by the processor alone, in exact colors; and without the shared memory of /dev/shm, which is
/// small in a container.
const FLAGS: [&str; 5] =
    ["--headless=new", "--disable-gpu", "--force-color-profile=srgb", "--disable-dev-shm-usage", "--no-first-run"];

/// A running chromedriver. It is killed when dropped, with the browsers that it started.
#[derive(Debug)]
pub(super) struct ChromeDriver {
    child: Child,
    port: u16,
    /// Its output, which must stay open.
    _said: Lines<BufReader<ChildStdout>>,
    /// The browser's profile. Removed last.
    profile: TempDir,
}

impl ChromeDriver {
    /// Starts chromedriver on a free port.
    pub(super) fn start() -> Self {
        let mut command = Command::new(find("chromedriver", "chromium-driver"));
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = said.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once(STARTED)?;
            port.trim_end_matches('.').parse().ok()
        });
        let port = port.expect("chromedriver says its port");
        Self { child, port, _said: said, profile: tempfile::tempdir().unwrap() }
    }

    /// Starts a browser. The logs of its console and of its network are kept.
    pub(super) async fn session(&self) -> WebDriver {
        // The library's HTTP client has TLS without a provider, which it demands even for plain HTTP. An error means
        // that another test was faster.
        drop(ring::default_provider().install_default());
        let mut chrome = DesiredCapabilities::chrome();
        chrome.set_binary(&find("chromium", "chromium").to_string_lossy()).unwrap();
        for flag in FLAGS {
            chrome.add_arg(flag).unwrap();
        }
        chrome.add_arg(&format!("--user-data-dir={}", self.profile.path().display())).unwrap();
        if is_root() {
            // Chromium's sandbox refuses to work for root.
            chrome.add_arg("--no-sandbox").unwrap();
        }
        for log in ["browser", "performance"] {
            chrome.set_logging_prefs(log, LoggingPrefsLogLevel::All).unwrap();
        }
        let url = format!("http://127.0.0.1:{}", self.port);
        WebDriver::new(url, chrome).await.expect("Chromium starts")
    }
}

impl Drop for ChromeDriver {
    fn drop(&mut self) {
        let started = descendants(self.child.id());
        drop(self.child.kill());
        drop(self.child.wait());
        let ids = started.iter().map(u32::to_string);
        drop(Command::new("kill").args(["-s", "KILL"]).args(ids).stderr(Stdio::null()).status());
        // The profile is removed next: no process may write into it any more.
        let start = Instant::now();
        while started.iter().any(|id| is_alive(*id)) && start.elapsed() < KILL_MAX {
            std::thread::sleep(LOOK);
        }
    }
}

/// The path of a program of a Debian package.
fn find(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{program} is missing: run scripts/setup --test, or sudo apt-get install {package}"))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
