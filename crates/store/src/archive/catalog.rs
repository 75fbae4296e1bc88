//! Which archive files count: their ranges must join.

use crate::digest::Digest;
use crate::paths;

/// The MARKET sequences that were looked at to make an archive file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeqRange {
    /// First sequence, above 0.
    pub first: u64,
    /// Last sequence, included; not below `first`.
    pub last: u64,
}

impl SeqRange {
    /// Whether all of another range is in this one.
    pub fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// An archive file, as its name tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickFile {
    /// What it looked at.
    pub range: SeqRange,
    /// What its bytes were when it was written.
    pub digest: Digest,
}

impl TickFile {
    /// Its name.
    pub fn name(self) -> String {
        paths::ticks_file(self.range.first, self.range.last, self.digest)
    }

    fn parse(name: &str) -> Option<Self> {
        let (first, last, digest) = paths::parse_ticks_file(name)?;
        Some(Self { range: SeqRange { first, last }, digest })
    }
}

/// What a folder of archive files comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Ascending; each begins where the one before it ended.
    pub files: Vec<TickFile>,
    /// Parts of joined files among `files`, whose removal was interrupted: to be ignored, and removed by the writer.
    pub superseded: Vec<TickFile>,
}

/// Why a folder of archive files cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    /// Sequences that no file has looked at, between two that some have.
    #[error(
        "the archive has a hole: {before} ends at sequence {end} and the next file is {after}; \
         put the missing file back, or move all files away and archive anew",
        before = before.name(), end = before.range.last, after = after.name()
    )]
    Hole {
        /// The file before the hole.
        before: TickFile,
        /// The file after it.
        after: TickFile,
    },
    /// Two files have looked at the same sequences, and neither is a part of the other.
    #[error(
        "the archive files {a} and {b} overlap; one of them is from another archive: move it away",
        a = a.name(), b = b.name()
    )]
    Overlap {
        /// The file that begins first.
        a: TickFile,
        /// The other.
        b: TickFile,
    },
    /// A file that calls itself an archive file but tells no range.
    #[error(
        "{0:?} is not the name of an archive file (ticks-<first>-<last>-<digest>.parquet): rename it or move it away"
    )]
    Name(String),
    /// A file of a version that wrote no digests.
    #[error(
        "the archive file {0} is of an earlier version, which wrote no digest into names: put the first 16 digits of its \
         SHA-256 there, as `sha256sum` prints them (ticks-<first>-<last>-<digest>.parquet), also into the other names; or \
         archive into another place with --archive"
    )]
    NoDigest(String),
}

impl Catalog {
    /// Sorts out the files of a folder by their names. Foreign names are ignored; of a joined file and its parts the widest
    /// counts.
    ///
    /// # Errors
    /// When ranges leave a hole or overlap, or a name is garbled.
    pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Catalog, ListingError> {
        let names = names.into_iter().filter(|name| paths::is_ticks_file(name));
        let mut files = names.map(parse).collect::<Result<Vec<_>, _>>()?;
        // Of two that begin together the widest comes first, and what it contains follows it.
        files.sort_by_key(|file| (file.range.first, std::cmp::Reverse(file.range.last)));
        let mut catalog = Self::default();
        for file in files {
            let Some(before) = catalog.files.last().copied() else {
                catalog.files.push(file);
                continue;
            };
            let (range, end) = (file.range, before.range.last);
            // Other bytes of the same sequences are no part of a joined file.
            if range.last <= end && range != before.range {
                catalog.superseded.push(file);
            } else if range.first <= end {
                return Err(ListingError::Overlap { a: before, b: file });
            } else if range.first > end + 1 {
                return Err(ListingError::Hole { before, after: file });
            } else {
                catalog.files.push(file);
            }
        }
        Ok(catalog)
    }
}

fn parse(name: &str) -> Result<TickFile, ListingError> {
    TickFile::parse(name).ok_or_else(|| {
        let error = if paths::is_ticks_file_without_digest(name) { ListingError::NoDigest } else { ListingError::Name };
        error(name.to_owned())
    })
}

/// Chooses neighbours to join: from the newest file backwards, as long as a file is not larger than all after it together
/// (so that a row is rewritten at most once for each doubling) and the whole stays within `bytes_max`. `sizes` are in
/// bytes, oldest first. Returns how many of the newest files to join; none or at least 2.
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
        let hole = |before, after| Err(ListingError::Hole { before, after });
        type Case = (&'static str, &'static [(u64, u64)], Result<(Vec<TickFile>, usize), ListingError>);
        let cases: [Case; 8] = [
            ("nothing", &[], Ok((vec![], 0))),
            ("a first file that begins late", &[(7, 9)], Ok((vec![file(7, 9)], 0))),
            ("in any order", &[(10, 11), (1, 9)], Ok((vec![file(1, 9), file(10, 11)], 0))),
            ("a hole", &[(1, 9), (11, 12)], hole(file(1, 9), file(11, 12))),
            ("an overlap", &[(1, 9), (9, 12)], Err(ListingError::Overlap { a: file(1, 9), b: file(9, 12) })),
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
    fn a_garbled_name_is_an_error_that_says_what_to_do() {
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
        assert_eq!(error, ListingError::Overlap { a: one, b: other });
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
