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
        let is_phone = screen.width < PHONE_MAX;
        let size = json!({"width": screen.width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": is_phone});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        self.devtools("Emulation.setTouchEmulationEnabled", json!({"enabled": is_phone})).await;
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": screen.scheme.name()}]});
        self.devtools("Emulation.setEmulatedMedia", scheme).await;
        self.until_drawn().await;
    }

    /// Keeps a picture of the whole page as `NAME.png`.
    pub async fn screenshot(&self, name: &str) {
        let layout = self.devtools("Page.getLayoutMetrics", json!({})).await;
        let size = &layout["cssContentSize"];
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let wanted = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let picture = self.devtools("Page.captureScreenshot", wanted).await;
        let bytes = BASE64.decode(picture["data"].as_str().unwrap().as_bytes()).unwrap();
        std::fs::write(screenshots().join(format!("{name}.png")), bytes).unwrap();
    }

    /// Keeps a picture of the page on each of these screens.
    pub async fn screenshot_on(&self, screens: &[Screen], name: &str) {
        for &screen in screens {
            self.show_on(screen).await;
            self.screenshot(&format!("{name}-{}", screen.name())).await;
        }
    }
}
