//! A page by keyboard alone.

use std::time::Instant;

use thirtyfour::{Key, TypingData};

use super::{Browser, WAIT_MAX};

/// More elements than a page has.
const STEPS_MAX: usize = 400;

impl Browser {
    /// Presses keys, one after the other.
    pub async fn press(&self, keys: impl Into<TypingData>) {
        self.session.action_chain().send_keys(keys).perform().await.unwrap();
    }

    /// Presses keys again and again until a condition in the page holds.
    pub async fn press_until(&self, keys: impl Into<TypingData>, what: &str, condition: &str) {
        let keys: String = keys.into().as_vec().into_iter().collect();
        let start = Instant::now();
        while !self.value::<bool>(&format!("Boolean({condition})")).await {
            assert!(start.elapsed() < WAIT_MAX, "{what}: not within {} s", WAIT_MAX.as_secs());
            self.press(keys.as_str()).await;
            self.until_drawn().await;
        }
    }

    /// Gives the focus to the first element that a selector matches.
    pub async fn focus(&self, selector: &str) {
        self.value::<()>(&format!("document.querySelector({selector:?}).focus()")).await;
    }

    /// Takes the focus from the element that has it, so that keys are for the page.
    pub async fn leave_fields(&self) {
        self.value::<()>("document.activeElement.blur()").await;
    }

    /// Walks through the page with the keyboard. Returns the elements that a mouse can use and the keyboard does not
    /// reach, and those that do not show that they have the focus.
    pub async fn keyboard_faults(&self) -> Vec<String> {
        self.value::<()>(&format!("({})()", include_str!("keyboard.js"))).await;
        for _ in 0..STEPS_MAX {
            self.press(Key::Tab).await;
            let group: Option<usize> = self.value("keyboardWalk.tabbed()").await;
            let Some(others) = group else { return self.value("keyboardWalk.faults()").await };
            for _ in 0..others {
                self.press(Key::Right).await;
                self.value::<()>("keyboardWalk.note()").await;
            }
        }
        panic!("the walk through the page does not end")
    }
}
