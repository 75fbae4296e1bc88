//! Cases on which the model and nats-server agree: requests in order, each with its answer in one line.
//!
//! The table is written once. A test of this crate asks the model, and a test of `pipeline-tests` asks a real server.
//! If they differ, the server is right and the model is changed.

mod case;
mod commits;
mod feed;
mod keys;
mod limits;
mod random_requests;
mod reads;
mod refusals;
mod requests;

use crate::jetstream::{Answer, JetStream, Reply, Request, StreamConfig, Sync};

pub use case::{AMPLE, Case, FEED_AGE_US, PARTITIONS};
pub use random_requests::RandomRequests;

/// Every case.
pub fn all() -> Vec<Case> {
    [commits::cases(), refusals::cases(), limits::cases(), reads::cases(), feed::cases(), keys::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// A model with some streams.
pub fn model(streams: &[StreamConfig]) -> JetStream {
    let mut model = JetStream::single(Sync::Always);
    streams.iter().for_each(|config| model.create(config.clone()));
    model
}

/// The answer of a single server, which comes at once.
pub fn answer(model: &mut JetStream, request: Request) -> Answer {
    match model.ask(0, request) {
        Reply::Now(answer) => answer,
        Reply::Later(_) => Answer::Silence,
    }
}

/// The results that MARKET has republished, in lines.
pub fn live(model: &mut JetStream) -> Vec<String> {
    let line = |live: &crate::jetstream::Republished| {
        let text = String::from_utf8_lossy(&live.message.payload);
        format!("{} {} after {} {text:.20}", live.subject, live.seq, live.previous)
    };
    model.drain_live("MARKET").iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_answers_as_the_cases_require() {
        for case in all() {
            let mut model = model(&case.streams);
            for (idx, (request, expected)) in case.steps.into_iter().enumerate() {
                let found = answer(&mut model, request.clone()).to_string();
                assert_eq!(found, expected, "{}, step {}: {request:?}", case.name, idx + 1);
            }
            if !case.live.is_empty() {
                assert_eq!(live(&mut model), case.live, "{}", case.name);
            }
        }
    }
}
