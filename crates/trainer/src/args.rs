//! Groups of flags that several commands share.

mod learning;
pub(crate) mod parse;

use market::Instrument;
use service::{Code, WithCode};
use store::archive::Archive;
use store::archive::location::ArchiveLocation;

pub use self::learning::LearnArgs;

/// Flags of `archive`, and of everything that reads the archive.
#[derive(Debug, Clone, clap::Args)]
pub struct ArchiveArgs {
    /// The archive: a folder, created if it does not exist, or s3://BUCKET/PREFIX with the key in AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY
    #[arg(long, env = "CANDLEWIRE_ARCHIVE", default_value = "out/archive", value_name = "PLACE")]
    pub archive: ArchiveLocation,
}

impl ArchiveArgs {
    /// Returns the archive, whether it exists yet or not.
    ///
    /// # Errors
    /// The archive is in a bucket for which there is no key; the exit code is that of a bad configuration.
    pub fn open(&self) -> anyhow::Result<Archive> {
        self.archive.archive().exit_code(Code::BadConfig)
    }
}

/// Output format of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// JSON, for machines
    Json,
}

/// Flags that name an instrument.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct InstrumentArgs {
    /// Coin, such as bitcoin; with --quote. By default the instruments of the archive: `train` needs exactly one, `run`
    /// forecasts each
    #[arg(long, requires = "quote")]
    pub coin: Option<String>,

    /// Quote currency, such as usdt
    #[arg(long, requires = "coin")]
    pub quote: Option<String>,
}

impl InstrumentArgs {
    /// Returns the instrument that the flags name, if they name one.
    ///
    /// # Errors
    /// The name is not valid.
    pub fn instrument(&self) -> anyhow::Result<Option<Instrument>> {
        let named = self.coin.as_deref().zip(self.quote.as_deref());
        Ok(named.map(|(coin, quote)| Instrument::new(coin, quote)).transpose()?)
    }
}
