//! Numbers as people write them: with a decimal point or a decimal comma, with or without thousands separators.

use std::str::FromStr;

use market::validate::Reason;

use super::row::RowRefusal;

/// Fields that mean "no value", in lower case. NaN, which parses as a number, means it too.
const NOTHING: [&str; 9] = ["", "null", "none", "nil", "na", "n/a", "#n/a", "-", "--"];
/// Digits of a group between thousands separators.
const GROUP_DIGITS: usize = 3;
/// Bytes of a grouped number, at most.
const GROUPED_BYTES_MAX: usize = 64;

/// Decimal mark of a file's numbers. The other mark separates thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decimal {
    /// `8,523.50`.
    #[default]
    Point,
    /// `8.523,50`.
    Comma,
}

impl FromStr for Decimal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "point" => Ok(Self::Point),
            "comma" => Ok(Self::Comma),
            _ => Err("write point or comma".to_owned()),
        }
    }
}

impl Decimal {
    fn mark(self) -> u8 {
        match self {
            Self::Point => b'.',
            Self::Comma => b',',
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Point => Self::Comma,
            Self::Comma => Self::Point,
        }
    }
}

/// Parses a finite number; `None` for a field that means "no value".
pub(crate) fn parse(field: &[u8], decimal: Decimal) -> Result<Option<f64>, RowRefusal> {
    let text = str::from_utf8(field).map_err(|_| RowRefusal::Unparsable)?;
    if decimal == Decimal::Comma && field.iter().any(|byte| b".,".contains(byte)) {
        return grouped(field, decimal).map(Some);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Some(number)),
        Ok(number) if number.is_nan() => Ok(None),
        Ok(_) => Err(Reason::NonFinite.into()),
        Err(_) if NOTHING.iter().any(|nothing| text.eq_ignore_ascii_case(nothing)) => Ok(None),
        Err(_) => grouped(field, decimal).map(Some),
    }
}

/// Parses a number with thousands separators, or with a decimal comma.
fn grouped(field: &[u8], decimal: Decimal) -> Result<f64, RowRefusal> {
    let plain = plain(field, decimal).ok_or(RowRefusal::Unparsable)?;
    match plain.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err(Reason::NonFinite.into()),
        Err(_) => Err(RowRefusal::Unparsable),
    }
}

/// Returns a number without thousands separators and with a decimal point; `None` when it is not a number, or when its
/// groups are not of three digits.
fn plain(field: &[u8], decimal: Decimal) -> Option<String> {
    if field.len() > GROUPED_BYTES_MAX {
        return None;
    }
    let text = str::from_utf8(field).ok()?;
    let digits_at = text.find(|char: char| !matches!(char, '+' | '-'))?;
    let (sign, number) = text.split_at(digits_at);
    let (mantissa, exponent) = number.find(['e', 'E']).map_or((number, ""), |at| number.split_at(at));
    let (whole, fraction) = match mantissa.split_once(char::from(decimal.mark())) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let separator = char::from(decimal.other().mark());
    let is_separator = |char: char| char == separator || is_blank(char) || char == '\'';
    let mut groups = whole.split(is_separator);
    let first = groups.next()?;
    let mut plain = format!("{sign}{first}");
    for (idx, group) in groups.enumerate() {
        let is_group = group.len() == GROUP_DIGITS && (idx > 0 || (1..=GROUP_DIGITS).contains(&first.len()));
        if !is_group {
            return None;
        }
        plain.push_str(group);
    }
    if let Some(fraction) = fraction {
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        plain.push('.');
        plain.push_str(fraction);
    }
    plain.push_str(exponent);
    let is_number = plain.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    is_number.then_some(plain)
}

/// Whether a character is a blank that separates thousands: plain, no-break, or narrow no-break.
fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\u{a0}' | '\u{202f}')
}

/// Whether a field consists of the characters of a number.
pub(crate) fn is_numeric(field: &[u8]) -> bool {
    field.iter().any(u8::is_ascii_digit) && field.iter().all(|byte| byte.is_ascii_digit() || b"+-.,eE' ".contains(byte))
}

/// Parses a field as a number with a decimal point, which may be NaN or infinite.
pub(crate) fn plain_of(field: &[u8]) -> Option<f64> {
    str::from_utf8(field).ok()?.parse().ok()
}

/// How the marks of one number can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    /// There are none, or it is not a number.
    None,
    /// In one way only.
    Only(Decimal),
    /// The single mark may be this one as a decimal mark, or a thousands separator: `8,523`.
    Either(Decimal),
}

fn marks(field: &[u8]) -> Marks {
    if !is_numeric(field) {
        return Marks::None;
    }
    let count = |mark: u8| field.iter().filter(|byte| **byte == mark).count();
    let has_exponent = field.iter().any(|byte| b"eE".contains(byte));
    match (count(b'.'), count(b',')) {
        (0, 0) => Marks::None,
        (1, 0) if has_exponent || !is_one_group(field, b'.') => Marks::Only(Decimal::Point),
        (0, 1) if has_exponent || !is_one_group(field, b',') => Marks::Only(Decimal::Comma),
        (1, 0) => Marks::Either(Decimal::Point),
        (0, 1) => Marks::Either(Decimal::Comma),
        _ => match (plain(field, Decimal::Point), plain(field, Decimal::Comma)) {
            (Some(_), None) => Marks::Only(Decimal::Point),
            (None, Some(_)) => Marks::Only(Decimal::Comma),
            _ => Marks::None,
        },
    }
}

/// Whether the mark may separate thousands: one to three digits before it that do not begin with zero, and three after it.
fn is_one_group(field: &[u8], mark: u8) -> bool {
    let Some(at) = field.iter().position(|byte| *byte == mark) else { return false };
    let whole = field[..at].strip_prefix(b"-").unwrap_or(&field[..at]);
    let begins = whole.first().is_some_and(|byte| (b'1'..=b'9').contains(byte));
    begins && whole.len() <= GROUP_DIGITS && field.len() - at - 1 == GROUP_DIGITS
}

/// A number that shows a decimal mark, with its line.
#[derive(Debug, Clone)]
struct Shown {
    line: u32,
    text: String,
}

/// Evidence for the decimal mark of a file.
#[derive(Debug, Clone, Default)]
pub(crate) struct DecimalEvidence {
    point: Option<Shown>,
    comma: Option<Shown>,
    either_point: Option<Shown>,
    either_comma: Option<Shown>,
}

impl DecimalEvidence {
    /// Adds a field with a price or a volume.
    pub(crate) fn note(&mut self, field: &[u8], line: u32) {
        let place = match marks(field) {
            Marks::None => return,
            Marks::Only(Decimal::Point) => &mut self.point,
            Marks::Only(Decimal::Comma) => &mut self.comma,
            Marks::Either(Decimal::Point) => &mut self.either_point,
            Marks::Either(Decimal::Comma) => &mut self.either_comma,
        };
        place.get_or_insert_with(|| Shown { line, text: String::from_utf8_lossy(field).into_owned() });
    }

    /// Returns the decimal mark. `is_point_usual` tells whether a single point is a decimal mark where nothing else shows
    /// it, as in files with commas between the fields.
    ///
    /// # Errors
    /// The line of a number that contradicts another one, or that can be read in two ways; and advice.
    pub(crate) fn judge(&self, is_point_usual: bool) -> Result<Decimal, (u32, String)> {
        match (&self.point, &self.comma) {
            (Some(point), Some(comma)) => {
                let (first, second) = if point.line <= comma.line { (point, comma) } else { (comma, point) };
                return Err((second.line, contradiction(first, second)));
            }
            (Some(_), None) => return Ok(Decimal::Point),
            (None, Some(_)) => return Ok(Decimal::Comma),
            (None, None) => {}
        }
        match (&self.either_comma, &self.either_point) {
            (None, Some(point)) if !is_point_usual => Err((point.line, doubt(point))),
            (None, _) => Ok(Decimal::Point),
            (Some(comma), _) => Err((comma.line, doubt(comma))),
        }
    }
}

fn contradiction(first: &Shown, second: &Shown) -> String {
    format!(
        "{} has another decimal mark than {} of line {}: write all numbers of the file in one way, or pass --decimal point or \
         --decimal comma, which refuses the other rows",
        second.text, first.text, first.line
    )
}

fn doubt(Shown { text, .. }: &Shown) -> String {
    let digits = text.replace([',', '.'], "");
    let fraction = text.replace(',', ".");
    format!(
        "{text} can be {digits} or {fraction}, and no number of the file decides: pass --decimal point or --decimal comma"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_by_its_decimal_mark() {
        let check = |text: &str, point: Option<f64>, comma: Option<f64>| {
            assert_eq!(parse(text.as_bytes(), Decimal::Point).ok().flatten(), point, "{text}");
            assert_eq!(parse(text.as_bytes(), Decimal::Comma).ok().flatten(), comma, "{text}");
        };
        check("8523.5", Some(8523.5), None);
        check("8523,5", None, Some(8523.5));
        check("8,523.50", Some(8523.5), None);
        check("8.523,50", None, Some(8523.5));
        check("8,523", Some(8523.0), Some(8.523));
        check("8.523", Some(8.523), Some(8523.0));
        check("1,234,567.8", Some(1_234_567.8), None);
        check("1.234.567,8", None, Some(1_234_567.8));
        check("8 523,50", None, Some(8523.5));
        check("8'523.50", Some(8523.5), None);
        check("8\u{202f}523", Some(8523.0), Some(8523.0));
        check("-8,523.5", Some(-8523.5), None);
        check("1,5e3", None, Some(1500.0));
        check("1.5e3", Some(1500.0), None);
        check("8523", Some(8523.0), Some(8523.0));
        check("NaN", None, None);
        for bad in ["8,52,3.5", "12345,678.5", ",523", "8,523,", "1.2.3", "1,2,3", "8..5", "x", "1 2"] {
            assert_eq!(parse(bad.as_bytes(), Decimal::Point), Err(RowRefusal::Unparsable), "{bad}");
        }
    }

    fn judge(numbers: &[&str], is_point_usual: bool) -> Result<Decimal, String> {
        let mut evidence = DecimalEvidence::default();
        (2..).zip(numbers).for_each(|(line, number)| evidence.note(number.as_bytes(), line));
        evidence.judge(is_point_usual).map_err(|(line, problem)| format!("{line}: {problem}"))
    }

    #[test]
    fn the_numbers_of_a_file_show_its_decimal_mark() {
        let check = |numbers: &[&str], expected: Decimal| {
            for is_point_usual in [false, true] {
                assert_eq!(judge(numbers, is_point_usual), Ok(expected), "{numbers:?}");
            }
        };
        check(&["8523", "12"], Decimal::Point);
        check(&["8,523", "8,523.50"], Decimal::Point);
        check(&["8,523", "8523,6"], Decimal::Comma);
        check(&["8.523", "1.234.567"], Decimal::Comma);
        check(&["8.523", "0.523"], Decimal::Point);
        check(&["0,523"], Decimal::Comma);
        check(&["1,234,567"], Decimal::Point);
        check(&["NaN", "null", "8,5x", "1.5e3"], Decimal::Point);
        assert_eq!(judge(&["8.523"], true), Ok(Decimal::Point));
    }

    #[test]
    fn numbers_with_two_readings_are_refused_with_the_flag() {
        let doubt =
            "2: 8,523 can be 8523 or 8.523, and no number of the file decides: pass --decimal point or --decimal comma";
        assert_eq!(judge(&["8,523", "9,101", "12"], true), Err(doubt.to_owned()));
        assert!(judge(&["8.523"], false).is_err_and(|said| said.starts_with("2: 8.523 can be 8523 or 8.523")));
        assert!(judge(&["8.523", "8,523"], true).is_err_and(|said| said.starts_with("3: 8,523 can be")));
    }

    #[test]
    fn numbers_that_contradict_each_other_are_named() {
        let said = judge(&["8,523.50", "8523,6"], true).unwrap_err();
        assert!(said.starts_with("3: 8523,6 has another decimal mark than 8,523.50 of line 2: "), "{said}");
    }
}
