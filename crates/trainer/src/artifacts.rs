//! The files of one training: in a folder, and in the object store.

use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bus::Connection;
use market::Instrument;
use service::{Code, WithCode};
use store::atomic::atomic_write;
use store::layout::{self, MODEL, MODEL_CARD, MODEL_FILES, PREDICTIONS, PREDICTIONS_ZIP};
use store::model_card::ModelCard;
use store::schema::LOG_RANGE;
use store::{package, predictions};

use crate::learn::Learned;

/// The files of one training, by the order of [`MODEL_FILES`].
pub struct Artifacts {
    contents: [Vec<u8>; MODEL_FILES.len()],
}

impl Artifacts {
    /// Makes the files.
    ///
    /// # Errors
    /// When Parquet or zip refuses.
    pub fn new(learned: &Learned) -> anyhow::Result<Self> {
        let card = &learned.card;
        let notes = [
            ("model", card.model.clone()),
            ("coin", card.coin.clone()),
            ("quote", card.quote.clone()),
            ("recipe", card.recipe.to_string()),
            ("interval", card.interval.clone()),
            ("horizon", card.horizon.to_string()),
            ("split", card.split.clone()),
            ("baseline", card.baseline.to_string()),
            ("unit", if card.recipe.predicts_prices() { card.quote.clone() } else { LOG_RANGE.to_owned() }),
        ];
        let mut parquet = Vec::new();
        predictions::write(&mut parquet, &learned.predictions, &notes)?;
        let mut zip = Cursor::new(Vec::new());
        package::write_zip(&mut zip, PREDICTIONS, &parquet)?;
        let zip = zip.into_inner();
        let content_of = |file| match file {
            PREDICTIONS => parquet.clone(),
            PREDICTIONS_ZIP => zip.clone(),
            MODEL => learned.model.clone(),
            MODEL_CARD => card.to_json(),
            other => unreachable!("{other} is no file of a model"),
        };
        Ok(Self { contents: MODEL_FILES.map(content_of) })
    }

    /// Writes the files to a folder, each whole or not at all, the card last.
    ///
    /// # Errors
    /// When the folder cannot be written to; the exit code is that of a bad configuration.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        for (file, content) in MODEL_FILES.iter().zip(&self.contents) {
            let path = folder.join(file);
            atomic_write(&path, |to| -> io::Result<()> { to.write_all(content) })
                .with_context(|| format!("cannot write {}", path.display()))
                .exit_code(Code::BadConfig)?;
        }
        Ok(())
    }

    /// Puts the files into the object store, and then the note which model is an instrument's newest.
    ///
    /// # Errors
    /// When the object store does not exist or does not answer. Doing it again is harmless.
    pub async fn publish(
        &self,
        connection: &Connection,
        instrument: &Instrument,
        card: &ModelCard,
    ) -> Result<(), bus::Error> {
        for (file, content) in MODEL_FILES.iter().zip(&self.contents) {
            let key = layout::model_key(instrument, card.recipe, &card.model, file);
            bus::objects::put(connection, &key, content).await?;
        }
        bus::objects::put(connection, &layout::latest_key(instrument, card.recipe), card.model.as_bytes()).await
    }
}

/// Makes a folder for results, so that a long training does not end with nowhere to put it.
///
/// # Errors
/// When it cannot be made or written to; the exit code is that of a bad configuration.
pub fn prepare_folder(folder: &Path) -> anyhow::Result<()> {
    let probe: PathBuf = folder.join(".writable");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&probe, b""))
        .and_then(|()| std::fs::remove_file(&probe))
        .with_context(|| format!("cannot write to {}: choose another folder with --out", folder.display()))
        .exit_code(Code::BadConfig)
}
