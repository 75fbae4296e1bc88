//! Notices new models: by the records of FORECAST, by the objects of ARTIFACTS, and in the folder of a run.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use bus::error::Disposition;
use bus::reader::{Reader, ReaderEvent, Selection};
use bus::{Connection, Error, RecordKind, Stream, objects, subject};
use store::model_card::ModelCard;
use store::paths;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::Plots;
use super::models::{Place, PlotKey};

/// Time between two looks at ARTIFACTS and at the folder.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Pause after NATS has refused a request: the page does without plots meanwhile.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// Notices new models in NATS, forever. The page does not depend on it, so an error is logged and not returned.
pub(in crate::web) async fn follow_server(plots: &Plots, connection: &Connection) {
    plots.connection.get_or_init(|| connection.clone());
    loop {
        let Err(error) = follow_models(plots, connection).await;
        if error.disposition() == Disposition::Stop {
            tracing::warn!("no plots of models in NATS: {error}");
            tokio::time::sleep(REFUSED_PAUSE).await;
        } else {
            tracing::debug!(%error, "cannot look for models");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

async fn follow_models(plots: &Plots, connection: &Connection) -> Result<std::convert::Infallible, Error> {
    let mut end = objects::end(connection).await?;
    for key in objects::keys(connection).await? {
        note(plots, connection, &key).await?;
    }
    let filters = vec![subject::of_kind(Stream::Forecast, RecordKind::Model, None)];
    let mut records = Reader::start(connection, Selection { stream: Stream::Forecast, filters, from: 1 });
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = records.next() => {
                if let ReaderEvent::Message(delivery) = event? {
                    plots.models().apply(&delivery.payload);
                }
            }
            _ = look.tick() => {
                while let Some((seq, key)) = objects::next_change(connection, end + 1).await? {
                    note(plots, connection, &key).await?;
                    end = seq;
                }
            }
        }
    }
}

/// Notes the newest training of an instrument, if a key names it.
async fn note(plots: &Plots, connection: &Connection, key: &str) -> Result<(), Error> {
    if let Some((instrument, recipe)) = paths::parse_latest_key(key)
        && let Some(content) = objects::get(connection, key).await?
    {
        let model = String::from_utf8_lossy(&content);
        plots.models().set(PlotKey::new(&instrument, recipe), Place::Newest, &model);
    }
    Ok(())
}

/// Version of the folder's model card: it tells a file from its replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CardVersion {
    inode: u64,
    bytes: u64,
    changed: Option<SystemTime>,
}

impl From<&Metadata> for CardVersion {
    fn from(file: &Metadata) -> Self {
        Self { inode: file.ino(), bytes: file.len(), changed: file.modified().ok() }
    }
}

/// Looks at the folder of a run, forever.
pub(in crate::web) async fn follow_folder(plots: &Plots) {
    let path = plots.folder.join(paths::MODEL_CARD);
    let mut seen = None;
    let mut look = interval(LOOK_EVERY);
    loop {
        look.tick().await;
        let version = tokio::fs::metadata(&path).await.ok().as_ref().map(CardVersion::from);
        if version == seen {
            continue;
        }
        seen = version;
        let path = path.clone();
        let card = spawn_blocking(move || ModelCard::read(&path).ok()).await.ok().flatten();
        let mut models = plots.models();
        models.forget_folder();
        if let Some(card) = card {
            let key = PlotKey { coin: card.coin, quote: card.quote, recipe: card.recipe };
            models.set(key, Place::Folder, &card.model);
        }
    }
}
