//! Location of an archive as a user types it: a folder, or `s3://BUCKET/PREFIX`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use tokio::runtime::Handle;

use super::Archive;
use super::storage::{BucketStorage, SCHEME};
use crate::bucket::{Access, AccessError, Bucket};

/// Location of an archive, as a user types it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveLocation {
    /// A folder.
    Folder(PathBuf),
    /// Objects of a bucket.
    Bucket {
        /// Name of the bucket.
        bucket: String,
        /// Common prefix of the keys: empty, or with a slash at the end.
        prefix: String,
    },
}

/// The error of parsing a text that is not the location of an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a location of an archive: write a folder, or s3://BUCKET/PREFIX")]
pub struct BadLocation(String);

impl FromStr for ArchiveLocation {
    type Err = BadLocation;

    fn from_str(text: &str) -> Result<Self, BadLocation> {
        let Some(path) = text.strip_prefix(SCHEME) else {
            let is_foreign = text.is_empty() || text.contains("://");
            return if is_foreign { Err(BadLocation(text.to_owned())) } else { Ok(Self::Folder(PathBuf::from(text))) };
        };
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        let prefix = prefix.trim_end_matches('/');
        let is_good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
        let is_bucket = (3..=63).contains(&bucket.len()) && bucket.chars().all(is_good);
        let is_prefix = prefix.is_empty() || !prefix.split('/').any(str::is_empty);
        if !is_bucket || !is_prefix {
            return Err(BadLocation(text.to_owned()));
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self::Bucket { bucket: bucket.to_owned(), prefix })
    }
}

impl fmt::Display for ArchiveLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Bucket { bucket, prefix } => write!(f, "{SCHEME}{bucket}/{prefix}"),
        }
    }
}

impl ArchiveLocation {
    /// Returns the archive at this location, which need not exist yet.
    ///
    /// # Errors
    /// The location is in a bucket and the environment has no key for S3.
    ///
    /// # Panics
    /// The location is in a bucket and there is no tokio runtime.
    pub fn archive(&self) -> Result<Archive, AccessError> {
        match self {
            Self::Folder(path) => Ok(Archive::new(path)),
            Self::Bucket { bucket, prefix } => {
                let bucket = Bucket::new(bucket, &Access::from_environment()?);
                Ok(Archive::at(BucketStorage::new(bucket, prefix, Handle::current())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_folder_or_a_prefix_of_a_bucket() {
        let folder = |path: &str| Ok(ArchiveLocation::Folder(PathBuf::from(path)));
        let in_bucket =
            |prefix: &str| Ok(ArchiveLocation::Bucket { bucket: "prices".to_owned(), prefix: prefix.to_owned() });
        let bad = |text: &str| Err(BadLocation(text.to_owned()));
        for (text, expected) in [
            ("out/archive", folder("out/archive")),
            ("/srv/s3:/x", folder("/srv/s3:/x")),
            ("s3://prices", in_bucket("")),
            ("s3://prices/", in_bucket("")),
            ("s3://prices/archive", in_bucket("archive/")),
            ("s3://prices/a/b/", in_bucket("a/b/")),
            ("", bad("")),
            ("s3://", bad("s3://")),
            ("s3:///archive", bad("s3:///archive")),
            ("s3://Prices/archive", bad("s3://Prices/archive")),
            ("s3://prices//archive", bad("s3://prices//archive")),
            ("s3://prices/a//b", bad("s3://prices/a//b")),
            ("https://prices/archive", bad("https://prices/archive")),
        ] {
            assert_eq!(text.parse::<ArchiveLocation>(), expected, "{text}");
        }
        let place: ArchiveLocation = "s3://prices/archive".parse().expect("a place");
        assert_eq!(place.to_string(), "s3://prices/archive/");
    }
}
