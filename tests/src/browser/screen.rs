//! Screens of different sizes, light and dark, and pictures of them.

use std::path::PathBuf;

use data_encoding::BASE64;
use serde_json::json;

use super::Browser;
use crate::programs::programs;

/// Widths below this are phones: they have a touch screen, and the page's own width.
const PHONE_MAX: u32 = 500;
/// Height of every screen in pixels.
const HEIGHT: u32 = 900;

/// The height of the chart depends on that of the screen. For a picture on a screen that holds all, it stays.
const KEEP_HEIGHTS: &str =
    "document.querySelectorAll('#chart').forEach((chart) => { chart.style.height = `${chart.offsetHeight}px`; })";
const GIVE_HEIGHTS_BACK: &str =
    "document.querySelectorAll('#chart').forEach((chart) => { chart.style.removeProperty('height'); })";

/// A screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Width in pixels.
    pub width: u32,
    /// Preferred colors.
    pub scheme: Scheme,
}

/// Preferred colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark letters on a light page.
    Light,
    /// Light letters on a dark page.
    Dark,
}

impl Screen {
    /// A desktop, a tablet and a phone, each light and dark.
    pub const ALL: [Self; 6] = [
        Self { width: 1400, scheme: Scheme::Light },
        Self { width: 1400, scheme: Scheme::Dark },
        Self { width: 1000, scheme: Scheme::Light },
        Self { width: 1000, scheme: Scheme::Dark },
        Self { width: 390, scheme: Scheme::Light },
        Self { width: 390, scheme: Scheme::Dark },
    ];

    /// Name in file names.
    fn name(self) -> String {
        format!("{}-{}", self.width, self.scheme.name())
    }
}

impl Scheme {
    /// As CSS names it.
    fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// The folder of screenshots, below the build folder.
fn screenshots() -> PathBuf {
    let folder = programs().parent().unwrap().join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

impl Browser {
    /// Shows the page on a screen.
    pub async fn show_on(&self, screen: Screen) {
        self.resize(screen.width, HEIGHT).await;
        let is_phone = screen.width < PHONE_MAX;
        self.devtools("Emulation.setTouchEmulationEnabled", json!({"enabled": is_phone})).await;
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": screen.scheme.name()}]});
        self.devtools("Emulation.setEmulatedMedia", scheme).await;
        self.until_drawn().await;
    }

    /// Keeps a picture of the whole page on each of these screens, as `NAME-WIDTH-SCHEME.png`.
    pub async fn screenshot_on(&self, screens: &[Screen], name: &str) {
        for &screen in screens {
            self.show_on(screen).await;
            let layout = self.devtools("Page.getLayoutMetrics", json!({})).await;
            self.value::<()>(KEEP_HEIGHTS).await;
            // A screen that holds all of the page, so that all of it is drawn.
            self.resize(screen.width, layout["cssContentSize"]["height"].as_f64().unwrap() as u32).await;
            self.until_drawn().await;
            self.screenshot(&format!("{name}-{}", screen.name())).await;
            self.value::<()>(GIVE_HEIGHTS_BACK).await;
        }
    }

    /// Keeps a picture of the screen as `NAME.png`.
    pub async fn screenshot(&self, name: &str) {
        let picture = self.devtools("Page.captureScreenshot", json!({"format": "png"})).await;
        let bytes = BASE64.decode(picture["data"].as_str().unwrap().as_bytes()).unwrap();
        std::fs::write(screenshots().join(format!("{name}.png")), bytes).unwrap();
    }

    async fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < PHONE_MAX});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }
}
