//! Removes old models from the object store, which has a limit that a training a day would reach.

use std::collections::BTreeSet;

use bus::reader::{Selection, read_to_end};
use bus::{Connection, RecordKind, Stream, codec, subject};
use market::forecast::{ModelLine, ModelRole};
use market::{Instrument, Recipe};
use store::paths::{self, MODEL_FILES};

/// How many of the newest models of an instrument stay.
const NEWEST: usize = 10;
/// How many models before them are removed: older ones were removed earlier.
const REMOVED_MAX: usize = 20;

/// Removes the files of an instrument's old models: all but the newest and the one in use, as FORECAST has committed
/// them. So a model that the step needs after a crash stays, and so does a model without a record.
///
/// # Errors
/// A read or a removal fails. The next call removes the rest.
pub(super) async fn prune(connection: &Connection, instrument: &Instrument, recipe: Recipe) -> Result<(), bus::Error> {
    let filters = vec![subject::of_kind(Stream::Forecast, RecordKind::Model, Some(instrument))];
    let mut models: Vec<(String, ModelRole)> = Vec::new();
    read_to_end(connection, Selection { stream: Stream::Forecast, filters, from: 1 }, |delivery| {
        for (_, line) in codec::lines(&delivery.payload) {
            // Models of another version have other records and stay.
            if let Ok(line) = serde_json::from_slice::<ModelLine<'_>>(line)
                && line.recipe == recipe
            {
                models.push((line.model.into_owned(), line.role));
            }
        }
        Ok::<_, bus::Error>(())
    })
    .await?;
    for model in removable(&models) {
        for file in MODEL_FILES {
            bus::objects::delete(connection, &paths::model_key(instrument, recipe, model, file)).await?;
        }
    }
    Ok(())
}

/// Returns the models whose files can be removed. `models` are in order of their records, oldest first.
fn removable(models: &[(String, ModelRole)]) -> BTreeSet<&str> {
    let in_use = models.iter().rposition(|(_, role)| *role != ModelRole::Rejected);
    let newest = models.len().saturating_sub(NEWEST);
    let kept: BTreeSet<&str> =
        models[newest..].iter().chain(in_use.map(|idx| &models[idx])).map(|(model, _)| model.as_str()).collect();
    let candidates = models[newest.saturating_sub(REMOVED_MAX)..newest].iter().map(|(model, _)| model.as_str());
    candidates.filter(|model| !kept.contains(model)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_models_and_the_one_in_use_stay() {
        let model = |idx: usize, role| (format!("m{idx:02}"), role);
        let mut models: Vec<_> = (0..13).map(|idx| model(idx, ModelRole::Rejected)).collect();
        assert_eq!(removable(&models).into_iter().collect::<Vec<_>>(), ["m00", "m01", "m02"]);
        models[1].1 = ModelRole::Candidate;
        assert_eq!(removable(&models).into_iter().collect::<Vec<_>>(), ["m00", "m02"], "no model has replaced m01");
        models[5].1 = ModelRole::Champion;
        assert_eq!(removable(&models).into_iter().collect::<Vec<_>>(), ["m00", "m01", "m02"]);
        // The same ticks gave the same model again.
        models.push(model(2, ModelRole::Rejected));
        assert_eq!(removable(&models).into_iter().collect::<Vec<_>>(), ["m00", "m01", "m03"]);
        assert!(removable(&models[..10]).is_empty());
    }
}
