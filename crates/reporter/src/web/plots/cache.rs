//! Finished files, within a bound of bytes: the newest are kept.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use axum::http::HeaderValue;
use bytes::Bytes;

use super::super::entity_tag;
use super::models::PlotKey;
use crate::plot::{ImageFormat, PlotKind};

/// Bytes of all files, at most. The documents of a model take about 2 MB.
const BYTES_MAX: usize = 32 << 20;
/// Age at which a file is drawn anew: the scored forecasts of a model become more.
const AGE_MAX: Duration = Duration::from_secs(3_600);

/// Ending of the kind in the name of a picture for phones.
const NARROW: &str = "-narrow";

/// Name of a file of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileName {
    /// A picture.
    Plot(PlotKind, ImageFormat),
    /// A picture for phones, as SVG.
    Narrow(PlotKind),
    /// The report.
    Report,
}

impl FileName {
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Plot(_, format) => format.media_type(),
            Self::Narrow(_) => ImageFormat::Svg.media_type(),
            Self::Report => "text/html; charset=utf-8",
        }
    }

    /// Parses the file of a picture: `skill.png`, `skill-narrow.svg`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, format) = text.rsplit_once('.')?;
        let format = ImageFormat::ALL.into_iter().find(|known| known.name() == format)?;
        let of_name = |name: &str| PlotKind::ALL.into_iter().find(|known| known.name() == name);
        match kind.strip_suffix(NARROW) {
            Some(kind) if format == ImageFormat::Svg => of_name(kind).map(Self::Narrow),
            Some(_) => None,
            None => Some(Self::Plot(of_name(kind)?, format)),
        }
    }

    fn text(self) -> String {
        match self {
            Self::Plot(kind, format) => format!("{}.{}", kind.name(), format.name()),
            Self::Narrow(kind) => format!("{}{NARROW}.svg", kind.name()),
            Self::Report => "report".to_owned(),
        }
    }
}

/// A finished file.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// Its content; all answers share it.
    pub(super) bytes: Bytes,
    /// Its entity tag. It is weak, because the answer may be compressed.
    pub(super) tag: HeaderValue,
    made: Instant,
}

/// The files that are kept.
#[derive(Debug, Default)]
pub(super) struct Cache {
    files: HashMap<String, File>,
    /// Names in the order in which the files were made.
    order: VecDeque<String>,
    bytes: usize,
}

impl Cache {
    /// Returns a file that is kept and not too old.
    pub(super) fn get(&self, key: &PlotKey, model: &str, name: FileName, now: Instant) -> Option<File> {
        let is_new = |file: &&File| now.saturating_duration_since(file.made) < AGE_MAX;
        self.files.get(&full_name(key, model, name)).filter(is_new).cloned()
    }

    /// Keeps a file, and drops the oldest ones beyond the bound.
    pub(super) fn insert(&mut self, key: &PlotKey, model: &str, name: FileName, content: Vec<u8>, now: Instant) {
        let tag = entity_tag::of(&content);
        let (name, bytes) = (full_name(key, model, name), Bytes::from(content));
        self.remove(&name);
        self.bytes += bytes.len();
        self.order.push_back(name.clone());
        self.files.insert(name, File { bytes, tag, made: now });
        while self.bytes > BYTES_MAX && self.order.len() > 1 {
            if let Some(oldest) = self.order.pop_front() {
                self.bytes -= self.files.remove(&oldest).map_or(0, |file| file.bytes.len());
            }
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(file) = self.files.remove(name) {
            self.bytes -= file.bytes.len();
            self.order.retain(|other| other != name);
        }
    }
}

fn full_name(key: &PlotKey, model: &str, name: FileName) -> String {
    format!("{}/{}/{}/{model}/{}", key.coin, key.quote, key.recipe, name.text())
}

#[cfg(test)]
mod tests {
    use market::Recipe;

    use super::*;

    fn key(coin: &str) -> PlotKey {
        PlotKey { coin: coin.to_owned(), quote: "usd".to_owned(), recipe: Recipe::Returns }
    }

    #[test]
    fn the_newest_files_are_kept_within_the_bound() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for number in 0..40_u8 {
            cache.insert(&key(&number.to_string()), "m", FileName::Report, vec![0; 1 << 20], now);
            cache.insert(&key("0"), "m", FileName::Report, vec![number; 1 << 20], now);
        }
        assert_eq!((cache.bytes, cache.files.len(), cache.order.len()), (BYTES_MAX, 32, 32));
        let get = |coin: &str, model: &str| cache.get(&key(coin), model, FileName::Report, now);
        assert!(get("0", "m").is_some_and(|file| file.bytes[0] == 39));
        assert!(get("9", "m").is_some() && get("8", "m").is_none() && get("0", "other").is_none());
    }

    #[test]
    fn names_of_pictures_are_parsed_as_written() {
        let names = PlotKind::ALL.into_iter().flat_map(|kind| {
            [FileName::Narrow(kind), FileName::Plot(kind, ImageFormat::Svg), FileName::Plot(kind, ImageFormat::Png)]
        });
        for name in names {
            assert_eq!(FileName::parse(&name.text()), Some(name));
        }
        for bad in ["", "skill", "skill.gif", "skill-narrow.png", "skill-narrow", "other.svg", "report"] {
            assert_eq!(FileName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_old_file_is_drawn_anew() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.insert(&key("bitcoin"), "m", FileName::Report, vec![1], now);
        let get = |now| cache.get(&key("bitcoin"), "m", FileName::Report, now);
        assert!(get(now).is_some() && get(now + AGE_MAX).is_none());
    }
}
