//! Which model of an instrument and recipe is shown.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bus::codec::lines;
use market::forecast::{ModelLine, ModelRole};
use market::{Instrument, Recipe};

/// Coin, quote currency and recipe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PlotKey {
    pub(super) coin: String,
    pub(super) quote: String,
    pub(super) recipe: Recipe,
}

impl PlotKey {
    pub(super) fn new(instrument: &Instrument, recipe: Recipe) -> Self {
        Self { coin: instrument.coin().to_owned(), quote: instrument.quote().to_owned(), recipe }
    }
}

/// A model that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Its id.
    pub(super) model: String,
    /// Changes when another model is shown: the time at which this one became known, by the local clock in milliseconds.
    pub(super) version: u64,
    /// Where its files are.
    pub(super) place: Place,
}

/// Where the files of a model are, the weakest claim to be shown first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In the folder of a run.
    Folder,
    /// In ARTIFACTS, as the newest training of its instrument.
    Newest,
    /// In ARTIFACTS, as the model in use by the records of FORECAST.
    InUse,
}

/// The models of every instrument and recipe.
#[derive(Debug, Default)]
pub(super) struct Models(BTreeMap<PlotKey, BTreeMap<Place, Known>>);

impl Models {
    /// Returns the model that is shown: the one in use; without forecasts the newest training; else that of the folder.
    pub(super) fn current(&self, key: &PlotKey) -> Option<Known> {
        self.0.get(key)?.values().next_back().cloned()
    }

    /// Returns all models that are shown.
    pub(super) fn all(&self) -> impl Iterator<Item = (&PlotKey, &Known)> {
        self.0.iter().filter_map(|(key, places)| Some((key, places.values().next_back()?)))
    }

    /// Notes the model at a place.
    pub(super) fn set(&mut self, key: PlotKey, place: Place, model: &str) {
        let places = self.0.entry(key).or_default();
        if places.get(&place).is_none_or(|known| known.model != model) {
            places.insert(place, Known { model: model.to_owned(), version: now_ms(), place });
        }
    }

    /// Forgets the model of the folder.
    pub(super) fn forget_folder(&mut self) {
        for places in self.0.values_mut() {
            places.remove(&Place::Folder);
        }
        self.0.retain(|_, places| !places.is_empty());
    }

    /// Notes the decisions in a message of FORECAST. A rejected model is not used. Records of another version are ignored.
    pub(super) fn apply(&mut self, payload: &[u8]) {
        for (_, line) in lines(payload) {
            let Ok(line) = serde_json::from_slice::<ModelLine<'_>>(line) else { continue };
            if line.role != ModelRole::Rejected {
                let key = PlotKey { coin: line.coin.into_owned(), quote: line.quote.into_owned(), recipe: line.recipe };
                self.set(key, Place::InUse, &line.model);
            }
        }
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_in_use_precedes_the_newest_and_the_folders() {
        let key = PlotKey { coin: "bitcoin".to_owned(), quote: "usd".to_owned(), recipe: Recipe::Returns };
        let mut models = Models::default();
        let shown = |models: &Models| models.current(&key).map(|known| known.model);
        models.set(key.clone(), Place::Newest, "b");
        models.set(key.clone(), Place::Folder, "a");
        assert_eq!(shown(&models).as_deref(), Some("b"));
        let record = |model: &str, role: &str| {
            format!(
                r#"{{"coin":"bitcoin","quote":"usd","recipe":"returns","interval":"15m","min_coverage":0.5,"model":"{model}",
                "sha256":"","cause":"schedule","role":"{role}","valid_from_ms":1,"expires_ms":2,"trained_first_ms":0,
                "trained_last_ms":1,"trained_ticks":9,"scores":{{"rows":1,"rmse":1.0,"baseline_rmse":1.0}}}}"#
            )
            .replace('\n', "")
        };
        models.apply([record("c", "candidate"), record("d", "rejected")].join("\n").as_bytes());
        models.set(key.clone(), Place::Newest, "d");
        assert_eq!(shown(&models).as_deref(), Some("c"));
        models.forget_folder();
        assert_eq!(models.all().count(), 1);
    }
}
