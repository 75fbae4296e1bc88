//! Which archive files count: their ranges must join.

use crate::layout;

/// An archive file, by the MARKET sequences that were looked at to make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeqRange {
    /// First sequence, above 0.
    pub first: u64,
    /// Last sequence, included; not below `first`.
    pub last: u64,
}

impl SeqRange {
    /// The file's name.
    pub fn file_name(self) -> String {
        layout::ticks_file(self.first, self.last)
    }
}

/// What a folder of archive files comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Ascending; each begins where the one before it ended.
    pub files: Vec<SeqRange>,
    /// Parts of joined files among `files`, whose removal was interrupted: to be ignored, and removed by the writer.
    pub superseded: Vec<SeqRange>,
}

/// Why a folder of archive files cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    /// Sequences that no file has looked at, between two that some have.
    #[error(
        "the archive has a hole: {before} ends at sequence {end} and the next file is {after}; \
         put the missing file back, or move all files away and archive anew",
        before = before.file_name(), end = before.last, after = after.file_name()
    )]
    Hole {
        /// The file before the hole.
        before: SeqRange,
        /// The file after it.
        after: SeqRange,
    },
    /// Two files of which neither contains the other have looked at the same sequences.
    #[error(
        "the archive files {a} and {b} overlap; one of them is from another archive: move it away",
        a = a.file_name(), b = b.file_name()
    )]
    Overlap {
        /// The file that begins first.
        a: SeqRange,
        /// The other.
        b: SeqRange,
    },
    /// A file that calls itself an archive file but tells no range.
    #[error("{0:?} is not the name of an archive file (ticks-<first>-<last>.parquet): rename it or move it away")]
    Name(String),
}

/// Sorts out the files of a folder by their names. Foreign names are ignored; of a joined file and its parts the widest
/// counts.
///
/// # Errors
/// When ranges leave a hole or overlap, or a name is garbled.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Listing, ListingError> {
    let mut ranges = Vec::new();
    for name in names.into_iter().filter(|name| layout::is_ticks_file(name)) {
        let (first, last) = layout::parse_ticks_file(name).ok_or_else(|| ListingError::Name(name.to_owned()))?;
        ranges.push(SeqRange { first, last });
    }
    // Of two that begin together the widest comes first, and what it contains follows it.
    ranges.sort_by_key(|range| (range.first, std::cmp::Reverse(range.last)));
    let mut listing = Listing::default();
    for range in ranges {
        match listing.files.last().copied() {
            Some(before) if range.last <= before.last => listing.superseded.push(range),
            Some(before) if range.first <= before.last => return Err(ListingError::Overlap { a: before, b: range }),
            Some(before) if range.first != before.last + 1 => {
                return Err(ListingError::Hole { before, after: range });
            }
            _ => listing.files.push(range),
        }
    }
    Ok(listing)
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

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange { first, last }
    }

    #[test]
    fn ranges_must_join_and_the_widest_counts() {
        let hole = |before, after| Err(ListingError::Hole { before, after });
        type Case = (&'static str, &'static [(u64, u64)], Result<(Vec<SeqRange>, usize), ListingError>);
        let cases: [Case; 8] = [
            ("nothing", &[], Ok((vec![], 0))),
            ("a first file that begins late", &[(7, 9)], Ok((vec![range(7, 9)], 0))),
            ("in any order", &[(10, 11), (1, 9)], Ok((vec![range(1, 9), range(10, 11)], 0))),
            ("a hole", &[(1, 9), (11, 12)], hole(range(1, 9), range(11, 12))),
            ("an overlap", &[(1, 9), (9, 12)], Err(ListingError::Overlap { a: range(1, 9), b: range(9, 12) })),
            ("joined, parts not gone", &[(1, 4), (5, 9), (1, 9)], Ok((vec![range(1, 9)], 2))),
            ("joined, first part gone", &[(5, 9), (1, 9), (10, 12)], Ok((vec![range(1, 9), range(10, 12)], 1))),
            ("joined in the middle", &[(1, 2), (3, 9), (3, 4), (5, 9)], Ok((vec![range(1, 2), range(3, 9)], 2))),
        ];
        for (name, ranges, expected) in cases {
            let names: Vec<_> = ranges.iter().map(|&(first, last)| layout::ticks_file(first, last)).collect();
            let listing = list(names.iter().map(String::as_str).chain(["README.txt", ".lock"]));
            assert_eq!(listing.map(|listing| (listing.files, listing.superseded.len())), expected, "{name}");
        }
    }

    #[test]
    fn a_garbled_name_is_an_error_that_says_what_to_do() {
        let error = list(["ticks-1-x.parquet"]).expect_err("garbled");
        assert!(error.to_string().contains("move it away"), "{error}");
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
