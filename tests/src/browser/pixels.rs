//! Colors in the canvases of a chart.

use serde_json::json;

use super::Browser;

impl Browser {
    /// Waits until the canvases inside an element have at least so many pixels of each of these colors of CSS, such as
    /// `var(--up)`.
    pub async fn until_painted(&self, selector: &str, colors: &[&str], least: u64) {
        let pixels = format!("({})({}, {})", include_str!("pixels.js"), json!(selector), json!(colors));
        let what = format!("{selector} has {least} pixels of each of {colors:?}");
        self.until(&what, &format!("{pixels}.every((count) => count >= {least})")).await;
    }
}
