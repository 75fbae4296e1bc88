//! Parts of a page that its screen cuts off.

use super::Browser;

impl Browser {
    /// The elements that are cut off: those that reach beyond the screen outside of a part that scrolls, and those that
    /// hide a part of their own text.
    pub async fn cut_off(&self) -> Vec<String> {
        self.value(&format!("({})()", include_str!("layout.js"))).await
    }
}
