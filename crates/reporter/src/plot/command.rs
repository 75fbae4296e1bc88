//! The command `reporter plot`: reads the files of a training, writes a picture.

use std::io;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use service::{Code, WithCode};
use store::atomic_file::atomic_write;
use store::paths;

use super::layout::Format;
use super::picture::Picture;
use super::subject::{PlotKind, Subject};
use super::training_files::TrainingFiles;
use super::{candle_file, candlesticks, drawing};
use crate::output;

/// Draws a picture of a model, or of candles, into an SVG or PNG file.
#[derive(Debug, Clone, clap::Args)]
pub struct PlotArgs {
    /// Kind of the picture
    #[arg(long, value_enum, default_value = "overview", value_name = "KIND")]
    pub kind: PlotKind,

    /// Format of the picture (default: by the name of the file, else png)
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<ImageFormat>,

    /// Predictions, as `trainer train` writes them
    #[arg(long, env = "CANDLEWIRE_PREDICTIONS", default_value = "out/predictions.parquet", value_name = "FILE")]
    pub predictions: PathBuf,

    /// Model card of the same training
    #[arg(long, env = "CANDLEWIRE_MODEL_CARD", default_value = "out/model-card.json", value_name = "FILE")]
    pub model_card: PathBuf,

    /// Candles for --kind candles, as `aggregator show hourly --all --format csv` prints them
    #[arg(long, default_value = "out/hourly.csv", value_name = "FILE")]
    pub candles: PathBuf,

    /// File of the picture; an older one is replaced when the new one is complete (default: out/output_plot.png, and
    /// out/plot-KIND.png for other kinds)
    #[arg(long, env = "CANDLEWIRE_PLOT", value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Format of a picture's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ImageFormat {
    /// Pixels, for every program
    Png,
    /// Shapes and texts, sharp at any size; it holds its font and has a dark theme
    Svg,
}

impl ImageFormat {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::Png, Self::Svg];

    /// Returns the ending of file names and addresses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Svg => "svg",
        }
    }

    /// Returns the media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Svg => "image/svg+xml",
        }
    }
}

impl PlotArgs {
    /// Returns file and format of the picture.
    fn target(&self) -> (PathBuf, ImageFormat) {
        let named = self.out.as_deref().and_then(Path::extension).and_then(|ending| ending.to_str());
        let by_name = ImageFormat::ALL.into_iter().find(|format| named == Some(format.name()));
        let format = self.format.or(by_name).unwrap_or(ImageFormat::Png);
        let file = || match (self.kind, format) {
            (PlotKind::Overview, ImageFormat::Png) => paths::PLOT.to_owned(),
            (kind, format) => paths::plot_file(kind.name(), format.name()),
        };
        (self.out.clone().unwrap_or_else(|| Path::new("out").join(file())), format)
    }
}

/// Draws the picture.
///
/// # Errors
/// Exit code 2 if an input is unusable or the picture cannot be written; exit code 4 if there is no prediction, after a
/// picture that says so.
pub fn run(args: &PlotArgs) -> anyhow::Result<()> {
    let (out, format) = args.target();
    if args.kind == PlotKind::Candles {
        let candles = candle_file::read_candles(&args.candles).exit_code(Code::BadConfig)?;
        write(&out, format, &candlesticks::draw(&candles, Format::Wide))?;
        output::line(&format!("{}: the newest of {} candles", out.display(), candles.len()))?;
        return Ok(());
    }
    let files = TrainingFiles::read(&args.predictions, &args.model_card).exit_code(Code::BadConfig)?;
    let Some(card) = files.card else {
        write(&out, format, &drawing::no_data())?;
        let error = anyhow!("{} holds no row, so {} shows \"no data\"", args.predictions.display(), out.display());
        return Err(error).exit_code(Code::NotEnoughData);
    };
    let subject = Subject { card, predictions: files.predictions, candles: Vec::new(), scored: Vec::new() };
    write(&out, format, &subject.draw(args.kind, Format::Wide))?;
    let (rows, card) = (subject.predictions.len(), &subject.card);
    output::line(&format!("{}: {rows} predictions of {}/{}", out.display(), card.coin, card.quote))?;
    Ok(())
}

fn write(path: &Path, format: ImageFormat, picture: &Picture) -> anyhow::Result<()> {
    let bytes = match format {
        ImageFormat::Png => picture.to_png().context("cannot encode the plot")?,
        ImageFormat::Svg => picture.to_svg().into_bytes(),
    };
    atomic_write(path, |file| file.write_all(&bytes))
        .map_err(|error: io::Error| {
            anyhow!("cannot write {}: {error}; choose another place with --out", path.display())
        })
        .exit_code(Code::BadConfig)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        plot: PlotArgs,
    }

    #[test]
    fn the_format_follows_the_flag_then_the_file_name() {
        let target = |flags: &[&str]| Cli::parse_from([&["plot"], flags].concat()).plot.target();
        let check = |flags: &[&str], file: &str, format| assert_eq!(target(flags), (PathBuf::from(file), format));
        check(&[], "out/output_plot.png", ImageFormat::Png);
        check(&["--format", "svg"], "out/plot-overview.svg", ImageFormat::Svg);
        check(&["--kind", "skill"], "out/plot-skill.png", ImageFormat::Png);
        check(&["--out", "a/b.svg"], "a/b.svg", ImageFormat::Svg);
        check(&["--out", "a/b.svg", "--format", "png"], "a/b.svg", ImageFormat::Png);
        check(&["--out", "picture"], "picture", ImageFormat::Png);
    }
}
