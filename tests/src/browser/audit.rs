//! An audit of a page's accessibility by axe-core.

use serde_json::Value;

use super::Browser;
use crate::server::checkout;

/// Lists the findings that matter most: its rule, what to do, and where.
const SERIOUS: &str = "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations
    .filter(({ impact }) => ['serious', 'critical'].includes(impact))
    .flatMap(({ id, help, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${help}: ${target}: ${failureSummary}`)))";

impl Browser {
    /// The serious and critical findings of an audit of the page.
    pub async fn audit(&self) -> Vec<String> {
        if !self.value::<bool>("'axe' in window").await {
            let path = checkout().join(".tools/axe/node_modules/axe-core/axe.min.js");
            let axe = std::fs::read_to_string(path).expect("axe-core is missing: run scripts/setup --test");
            self.session.execute(axe, Vec::<Value>::new()).await.unwrap();
        }
        self.value(SERIOUS).await
    }
}
