//! Catalog of an archive: the files that count. Their ranges must be contiguous.

use crate::digest::Digest;
use crate::paths;

/// MARKET sequences that an archive file covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeqRange {
    /// First sequence; at least 1.
    pub first: u64,
    /// Last sequence, included; not below `first`.
    pub last: u64,
}

impl SeqRange {
    /// Whether this range includes all of `other`.
    pub fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// An archive file, as its name describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickFile {
    /// Sequences that the file covers.
    pub range: SeqRange,
    /// Digest of the file's bytes when it was written.
    pub digest: Digest,
}

impl TickFile {
    /// Returns the file's name.
    pub fn name(self) -> String {
        paths::ticks_file(self.range.first, self.range.last, self.digest)
    }

    fn parse(name: &str) -> Option<Self> {
        let (first, last, digest) = paths::parse_ticks_file(name)?;
        Some(Self { range: SeqRange { first, last }, digest })
    }
}

/// The files of an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Files that count, ascending; each begins where the one before it ends.
    pub files: Vec<TickFile>,
    /// Parts of joined files whose removal was interrupted. Readers ignore them and the writer removes them.
    pub superseded: Vec<TickFile>,
}

/// Error of files that do not form one archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// Sequences that no file covers, between two files.
    #[error(
        "the archive has a hole: {before} ends at sequence {end} and the next file is {after}; \
         put the missing file back, or move all files away and build the archive again",
        before = before.name(), end = before.range.last, after = after.name()
    )]
    Hole {
        /// The file before the hole.
        before: TickFile,
        /// The file after it.
        after: TickFile,
    },
    /// Two files cover the same sequences, and neither is a part of the other.
    #[error(
        "the archive files {a} and {b} overlap; one of them belongs to another archive: move it away",
        a = a.name(), b = b.name()
    )]
    Overlap {
        /// The file that begins first.
        a: TickFile,
        /// The file that begins later.
        b: TickFile,
    },
    /// A file with the prefix and suffix of an archive file, but without a range.
    #[error(
        "{0:?} is not the name of an archive file (ticks-<first>-<last>-<digest>.parquet): rename it or move it away"
    )]
    Name(String),
    /// A file without a digest in its name, as early versions wrote it.
    #[error(
        "the archive file {0} is of an earlier version and has no digest in its name: add the first 16 digits of its \
         SHA-256, as `sha256sum` prints them (ticks-<first>-<last>-<digest>.parquet), to this and all other names; or \
         choose another location with --archive"
    )]
    NoDigest(String),
}

impl Catalog {
    /// Builds the catalog from the names in a storage. Other names are ignored. Of a joined file and its parts, the
    /// joined file counts.
    ///
    /// # Errors
    /// The ranges leave a hole or overlap, or an archive file has a name that cannot be parsed.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, CatalogError> {
        let names = names.into_iter().filter(|name| paths::is_ticks_file(name));
        let mut files = names.map(parse).collect::<Result<Vec<_>, _>>()?;
        // Of two files that begin together the widest comes first, and its parts follow it.
        files.sort_by_key(|file| (file.range.first, std::cmp::Reverse(file.range.last)));
        let mut catalog = Self::default();
        for file in files {
            let Some(before) = catalog.files.last().copied() else {
                catalog.files.push(file);
                continue;
            };
            let (range, end) = (file.range, before.range.last);
            // A file of exactly the same sequences but with other bytes is not a part of a joined file.
            if range.last <= end && range != before.range {
                catalog.superseded.push(file);
            } else if range.first <= end {
                return Err(CatalogError::Overlap { a: before, b: file });
            } else if range.first > end + 1 {
                return Err(CatalogError::Hole { before, after: file });
            } else {
                catalog.files.push(file);
            }
        }
        Ok(catalog)
    }
}

fn parse(name: &str) -> Result<TickFile, CatalogError> {
    TickFile::parse(name).ok_or_else(|| {
        let error = if paths::is_ticks_file_without_digest(name) { CatalogError::NoDigest } else { CatalogError::Name };
        error(name.to_owned())
    })
}

/// Returns how many of the newest files to join: 0, or at least 2. `sizes` are in bytes, oldest first.
///
/// It goes from the newest file backwards and stops at a file that is larger than all newer ones together, or that
/// would make the joined file larger than `bytes_max`. So a row is rewritten at most once per doubling.
pub fn to_join(sizes: &[u64], bytes_max: u64) -> usize {
    let mut total = 0_u64;
    let mut count = 0;
    for &size in sizes.iter().rev() {
        if count > 0 && (size > total || total.saturating_add(size) > bytes_max) {
            break;
        }
        total = total.saturating_add(size);
        count += 1;
    }
    if count < 2 { 0 } else { count }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(first: u64, last: u64) -> TickFile {
        let digest = Digest::of(&[first as u8, last as u8][..]).expect("memory can be read");
        TickFile { range: SeqRange { first, last }, digest }
    }

    #[test]
    fn ranges_must_join_and_the_widest_counts() {
        let hole = |before, after| Err(CatalogError::Hole { before, after });
        type Case = (&'static str, &'static [(u64, u64)], Result<(Vec<TickFile>, usize), CatalogError>);
        let cases: [Case; 8] = [
            ("nothing", &[], Ok((vec![], 0))),
            ("a first file that begins late", &[(7, 9)], Ok((vec![file(7, 9)], 0))),
            ("in any order", &[(10, 11), (1, 9)], Ok((vec![file(1, 9), file(10, 11)], 0))),
            ("a hole", &[(1, 9), (11, 12)], hole(file(1, 9), file(11, 12))),
            ("an overlap", &[(1, 9), (9, 12)], Err(CatalogError::Overlap { a: file(1, 9), b: file(9, 12) })),
            ("joined, parts not gone", &[(1, 4), (5, 9), (1, 9)], Ok((vec![file(1, 9)], 2))),
            ("joined, first part gone", &[(5, 9), (1, 9), (10, 12)], Ok((vec![file(1, 9), file(10, 12)], 1))),
            ("joined in the middle", &[(1, 2), (3, 9), (3, 4), (5, 9)], Ok((vec![file(1, 2), file(3, 9)], 2))),
        ];
        for (name, ranges, expected) in cases {
            let names: Vec<_> = ranges.iter().map(|&(first, last)| file(first, last).name()).collect();
            let catalog = Catalog::of(names.iter().map(String::as_str).chain(["README.txt", ".lock"]));
            assert_eq!(catalog.map(|catalog| (catalog.files, catalog.superseded.len())), expected, "{name}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_parsed_is_an_error_with_advice() {
        let error = Catalog::of(["ticks-1-x.parquet"]).expect_err("garbled");
        assert!(error.to_string().contains("move it away"), "{error}");
        let error = Catalog::of(["ticks-1-9.parquet"]).expect_err("no digest");
        assert!(error.to_string().contains("`sha256sum`"), "{error}");
    }

    #[test]
    fn two_files_of_the_same_sequences_are_refused() {
        let (one, digest) = (file(1, 9), file(1, 8).digest);
        let other = TickFile { digest, ..one };
        let error = Catalog::of([&*one.name(), &*other.name()]).expect_err("one of them is of another archive");
        assert_eq!(error, CatalogError::Overlap { a: one, b: other });
    }

    #[test]
    fn each_row_is_rewritten_once_a_doubling() {
        let mut sizes: Vec<u64> = Vec::new();
        let mut rewritten = 0;
        for _ in 0..1_024 {
            sizes.push(1);
            let joined = to_join(&sizes, 1 << 40);
            let parts = sizes.split_off(sizes.len() - joined);
            rewritten += parts.iter().sum::<u64>();
            sizes.extend((joined > 0).then(|| parts.iter().sum::<u64>()));
        }
        assert_eq!(sizes, [1_024]);
        assert!(rewritten <= 1_024 * 10 * 2, "{rewritten}");
    }

    #[test]
    fn a_full_file_is_left_alone() {
        assert_eq!(to_join(&[100, 40, 40], 128), 2);
        assert_eq!(to_join(&[100, 20], 128), 0);
        assert_eq!(to_join(&[20, 100], 128), 2);
        assert_eq!(to_join(&[20, 120], 128), 0);
        assert_eq!(to_join(&[5], 128), 0);
    }
}
