//! Which models stay in the object store: it has a limit, and a training a day would fill it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bus::Connection;
use market::Instrument;
use market::dataset::Recipe;
use store::layout;

/// The newest models of an instrument and recipe that stay. The step may have committed less than it has trained, by one
/// commit, so a model that was replaced a moment ago may still be asked for.
const NEWEST: usize = 10;

/// Removes the files of old models of an instrument and recipe: all but the newest and those to keep.
///
/// # Errors
/// When the object store does not answer. What is left goes the next time.
pub(super) async fn prune(
    connection: &Connection,
    instrument: &Instrument,
    recipe: Recipe,
    keep: &[&str],
) -> Result<(), bus::Error> {
    let prefix = layout::models_prefix(instrument, recipe);
    let mut models: BTreeMap<String, (SystemTime, Vec<String>)> = BTreeMap::new();
    for object in bus::objects::list(connection, &prefix).await? {
        // `latest` is not a model's.
        let Some((model, _)) = object.key[prefix.len()..].split_once('/') else { continue };
        let entry = models.entry(model.to_owned()).or_insert((object.stored_at, Vec::new()));
        entry.0 = entry.0.max(object.stored_at);
        entry.1.push(object.key);
    }
    for key in old(models, keep) {
        bus::objects::delete(connection, &key).await?;
    }
    Ok(())
}

/// The files of models that can go.
fn old(mut models: BTreeMap<String, (SystemTime, Vec<String>)>, keep: &[&str]) -> Vec<String> {
    models.retain(|model, _| !keep.contains(&model.as_str()));
    let mut by_age: Vec<_> = models.into_values().collect();
    by_age.sort();
    by_age.truncate(by_age.len().saturating_sub(NEWEST));
    by_age.into_iter().flat_map(|(_, keys)| keys).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_newest_stay_and_so_does_what_is_in_use() {
        let at = |age: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(age);
        let model =
            |age: u64| (format!("m{age:02}"), (at(age), vec![format!("a/m{age:02}/card"), format!("a/m{age:02}/ubj")]));
        let models: BTreeMap<_, _> = (0..13).map(model).collect();
        assert_eq!(old(models.clone(), &["m00"]), ["a/m01/card", "a/m01/ubj", "a/m02/card", "a/m02/ubj"]);
        assert_eq!(old(models.into_iter().take(10).collect(), &[]), Vec::<String>::new());
    }
}
