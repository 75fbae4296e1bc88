//! The files of one training, and their copies in a folder, in the object store and in a bucket.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use bus::Connection;
use learn::training::Learned;
use market::Instrument;
use service::{Code, WithCode};
use store::atomic_file::atomic_write_all;
use store::bucket::{Bucket, BucketError};
use store::model_card::{FileDigest, ModelCard};
use store::paths::{self, MODEL, MODEL_CARD, MODEL_FILES, PREDICTIONS, PREDICTIONS_ZIP};
use store::schema::LOG_RANGE;
use store::{predictions, zip};

/// The files of one training, in the order of [`MODEL_FILES`].
pub struct Artifacts {
    contents: [Vec<u8>; MODEL_FILES.len()],
}

impl Artifacts {
    /// Creates the files of a training.
    ///
    /// # Errors
    /// Parquet or zip fails.
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
        zip::write_zip(&mut zip, PREDICTIONS, &parquet)?;
        let zip = zip.into_inner();
        let content_of = |file| match file {
            PREDICTIONS => parquet.clone(),
            PREDICTIONS_ZIP => zip.clone(),
            MODEL => learned.model.clone(),
            MODEL_CARD => Vec::new(),
            other => unreachable!("{other} is no file of a model"),
        };
        let mut contents = MODEL_FILES.map(content_of);
        // The card comes last, because it holds the digests of the others.
        let [others @ .., of_card] = &mut contents;
        let digest = |(file, content): (&&str, &Vec<u8>)| ((*file).to_owned(), FileDigest::of(content));
        let files = MODEL_FILES.iter().zip(others.iter()).map(digest).collect();
        *of_card = ModelCard { files, ..card.clone() }.to_json();
        Ok(Self { contents })
    }

    /// Creates the files from the contents that [`Self::into_contents`] returned.
    pub(crate) fn from_contents(contents: [Vec<u8>; MODEL_FILES.len()]) -> Self {
        Self { contents }
    }

    /// Returns the contents of the files, in the order of [`MODEL_FILES`].
    pub(crate) fn into_contents(self) -> [Vec<u8>; MODEL_FILES.len()] {
        self.contents
    }

    /// Returns the content of a file; empty, when a model has no such file.
    pub(crate) fn content(&self, file: &str) -> &[u8] {
        let found = MODEL_FILES.iter().position(|name| *name == file);
        found.map(|idx| self.contents[idx].as_slice()).unwrap_or_default()
    }

    /// Writes the files to a folder: all of them or none, the card with the digests of the others last.
    ///
    /// # Errors
    /// The folder cannot be written to; the exit code is that of a bad configuration. The files of an earlier model
    /// stay unchanged.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let files: Vec<_> = MODEL_FILES.into_iter().zip(self.contents.iter().map(Vec::as_slice)).collect();
        atomic_write_all(folder, &files)
            .map_err(|(path, error)| {
                anyhow!("cannot write {}: {error}; the files of the earlier model are unchanged", path.display())
            })
            .exit_code(Code::BadConfig)
    }

    /// Puts the files into the object store, and then the id of the instrument's newest model.
    ///
    /// # Errors
    /// The object store does not exist or does not answer. The call can be repeated.
    pub async fn publish(
        &self,
        connection: &Connection,
        instrument: &Instrument,
        card: &ModelCard,
    ) -> Result<(), bus::Error> {
        for (key, content) in self.objects(instrument, card) {
            bus::objects::put(connection, &key, content).await?;
        }
        Ok(())
    }

    /// Puts the files into a bucket, and then the id of the instrument's newest model.
    ///
    /// # Errors
    /// The bucket refuses them. The call can be repeated.
    pub async fn upload(&self, bucket: &Bucket, instrument: &Instrument, card: &ModelCard) -> Result<(), BucketError> {
        for (key, content) in self.objects(instrument, card) {
            bucket.put(&key, content).await?;
        }
        Ok(())
    }

    /// Returns keys and contents in the order in which they are put: the files before their card, and the card before
    /// the id of the newest model.
    fn objects<'a>(
        &'a self,
        instrument: &Instrument,
        card: &'a ModelCard,
    ) -> impl Iterator<Item = (String, &'a [u8])> + use<'a> {
        let key_of = |file: &&str| paths::model_key(instrument, card.recipe, &card.model, file);
        let keys = MODEL_FILES.each_ref().map(key_of);
        let files = keys.into_iter().zip(self.contents.iter().map(Vec::as_slice));
        files.chain([(paths::latest_key(instrument, card.recipe), card.model.as_bytes())])
    }
}

/// Creates a folder for results and checks that it can be written to, before a long training begins.
///
/// # Errors
/// The folder cannot be created or written to; the exit code is that of a bad configuration.
pub fn prepare_folder(folder: &Path) -> anyhow::Result<()> {
    let probe: PathBuf = folder.join(".writable");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&probe, b""))
        .and_then(|()| std::fs::remove_file(&probe))
        .with_context(|| format!("cannot write to {}: choose another folder with --out", folder.display()))
        .exit_code(Code::BadConfig)
}
