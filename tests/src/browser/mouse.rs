//! A page by mouse.

use std::time::Duration;

use thirtyfour::{By, WebElement};

use super::Browser;

/// Movements of a drag: the first one only begins it.
const STEPS: i64 = 10;
/// Time of a drag.
const MOVE: Duration = Duration::from_millis(200);

impl Browser {
    /// Clicks on the center of the first element that a selector matches. Another element over it is a failure.
    pub async fn click(&self, selector: &str) {
        self.find(selector).await.click().await.unwrap_or_else(|error| panic!("cannot click on {selector}: {error}"));
    }

    /// Takes an element at its center and drags it so many pixels to the right.
    pub async fn drag(&self, selector: &str, pixels: i64) {
        let element = self.find(selector).await;
        let step_time = Some(MOVE / STEPS as u32);
        let held = self.session.action_chain_with_delay(None, step_time).click_and_hold_element(&element);
        let moved = (0..STEPS).fold(held, |chain, _| chain.move_by_offset(pixels / STEPS, 0));
        moved.release().perform().await.unwrap();
    }

    async fn find(&self, selector: &str) -> WebElement {
        let found = self.session.find(By::Css(selector)).await;
        found.unwrap_or_else(|error| panic!("there is no {selector}: {error}"))
    }
}
