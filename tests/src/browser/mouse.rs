//! A page by mouse.

use thirtyfour::{By, WebElement};

use super::Browser;

impl Browser {
    /// Clicks on the center of the first element that a selector matches. Another element over it is a failure.
    pub async fn click(&self, selector: &str) {
        self.find(selector).await.click().await.unwrap_or_else(|error| panic!("cannot click on {selector}: {error}"));
    }

    /// Takes an element at its center and drags it so many pixels to the right.
    pub async fn drag(&self, selector: &str, pixels: i64) {
        let element = self.find(selector).await;
        let chain = self.session.action_chain().click_and_hold_element(&element);
        chain.move_by_offset(pixels, 0).release().perform().await.unwrap();
    }

    async fn find(&self, selector: &str) -> WebElement {
        let found = self.session.find(By::Css(selector)).await;
        found.unwrap_or_else(|error| panic!("there is no {selector}: {error}"))
    }
}
