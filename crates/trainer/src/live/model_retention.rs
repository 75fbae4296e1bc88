//! Which models stay in the object store: it has a limit, and a training a day would fill it.

use std::collections::BTreeSet;

use bus::reader::{Selection, read_to_end};
use bus::{Connection, RecordKind, Stream, codec, subject};
use market::forecast::{ModelLine, ModelRole};
use market::{Instrument, Recipe};
use store::paths::{self, MODEL_FILES};

/// The newest models of an instrument that stay.
const NEWEST: usize = 10;
/// Models before them that are looked after: those that went earlier need not be removed again.
const LOOKED_AT: usize = 20;

/// Removes the files of an instrument's old models: all but the newest and the one in use, by what FORECAST has committed.
/// So a model that the step would ask for after a crash stays, and so does one that it knows nothing of.
///
/// # Errors
/// Whatever reading and removing can meet. What is left goes the next time.
pub(super) async fn prune(connection: &Connection, instrument: &Instrument, recipe: Recipe) -> Result<(), bus::Error> {
    let filters = vec![subject::of_kind(Stream::Forecast, RecordKind::Model, Some(instrument))];
    let mut models: Vec<(String, ModelRole)> = Vec::new();
    read_to_end(connection, Selection { stream: Stream::Forecast, filters, from: 1 }, |delivery| {
        for (_, line) in codec::lines(&delivery.payload) {
            // What another version has written is not ours to remove.
            if let Ok(line) = serde_json::from_slice::<ModelLine<'_>>(line)
                && line.recipe == recipe
            {
                models.push((line.model.into_owned(), line.standing));
            }
        }
        Ok::<_, bus::Error>(())
    })
    .await?;
    for model in old(&models) {
        for file in MODEL_FILES {
            bus::objects::delete(connection, &paths::model_key(instrument, recipe, model, file)).await?;
        }
    }
    Ok(())
}

/// Those of the models, oldest first, whose files can go.
fn old(models: &[(String, ModelRole)]) -> BTreeSet<&str> {
    let in_use = models.iter().rposition(|(_, standing)| *standing != ModelRole::Lost);
    let newest = models.len().saturating_sub(NEWEST);
    let kept: BTreeSet<&str> =
        models[newest..].iter().chain(in_use.map(|idx| &models[idx])).map(|(model, _)| model.as_str()).collect();
    let candidates = models[newest.saturating_sub(LOOKED_AT)..newest].iter().map(|(model, _)| model.as_str());
    candidates.filter(|model| !kept.contains(model)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay_and_so_does_what_is_in_use() {
        let model = |idx: usize, standing| (format!("m{idx:02}"), standing);
        let mut models: Vec<_> = (0..13).map(|idx| model(idx, ModelRole::Lost)).collect();
        assert_eq!(old(&models).into_iter().collect::<Vec<_>>(), ["m00", "m01", "m02"]);
        models[1].1 = ModelRole::Candidate;
        assert_eq!(old(&models).into_iter().collect::<Vec<_>>(), ["m00", "m02"], "nothing has replaced m01");
        models[5].1 = ModelRole::Champion;
        assert_eq!(old(&models).into_iter().collect::<Vec<_>>(), ["m00", "m01", "m02"]);
        // The same ticks gave the same model again.
        models.push(model(2, ModelRole::Lost));
        assert_eq!(old(&models).into_iter().collect::<Vec<_>>(), ["m00", "m01", "m03"]);
        assert!(old(&models[..10]).is_empty());
    }
}
