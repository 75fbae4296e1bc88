//! Names of columns: which of them is the time, which the close, and so on.

use std::borrow::Cow;
use std::str::FromStr;

use super::slots::{SLOTS, Slot};

/// Names of columns by slot, the best first. Names are compared as [`normalized`].
const SYNONYMS: [(Slot, &[&str]); SLOTS] = [
    (
        Slot::Time,
        &[
            "timestampms",
            "eventms",
            "opentime",
            "timeopen",
            "opentimestamp",
            "unix",
            "unixtimestamp",
            "unixtime",
            "epoch",
            "timestamp",
            "time",
            "datetime",
            "date",
            "snappedat",
            "starttime",
            "start",
            "begin",
            "ts",
            "t",
            "closetime",
            "timeclose",
            "closetimestamp",
        ],
    ),
    (Slot::Open, &["open", "openprice", "priceopen", "o"]),
    (Slot::High, &["high", "highprice", "pricehigh", "h"]),
    (Slot::Low, &["low", "lowprice", "pricelow", "l"]),
    (Slot::Close, &["close", "closeprice", "priceclose", "price", "last", "lastprice", "c"]),
    (
        Slot::Volume,
        &["volume", "vol", "basevolume", "volumebase", "volumefrom", "quantity", "qty", "size", "amount", "v"],
    ),
    (Slot::Id, &["id", "tradeid", "tid", "aggtradeid"]),
    (
        Slot::QuoteVolume,
        &["quotevolume", "quoteassetvolume", "volumequote", "volumeto", "volumecurrency", "turnover", "quoteqty"],
    ),
];
/// Times at the end of a candle.
const CLOSE_TIMES: [&str; 3] = ["closetime", "timeclose", "closetimestamp"];
/// Currencies of quotes: `Volume USD` is a volume in quote currency, unless it is the first of two such columns.
const QUOTES: [&str; 17] = [
    "usd", "usdt", "usdc", "busd", "fdusd", "tusd", "dai", "eur", "gbp", "jpy", "krw", "try", "chf", "aud", "cad",
    "brl", "currency",
];
/// Words after `Volume` that name an average, a sum of another span, or an indicator.
const NO_CURRENCIES: [&str; 6] = ["ma", "sma", "ema", "wma", "avg", "osc"];
/// Letters of a currency, at most.
const CURRENCY_LETTERS_MAX: usize = 6;
/// Names of columns that an error quotes, at most.
const NAMED_MAX: usize = 12;
/// Characters of a name that an error quotes, at most.
const EXCERPT_CHARS_MAX: usize = 40;

/// A column that the user chose: `time=Date`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnChoice {
    pub(crate) slot: Slot,
    pub(crate) column: String,
}

impl FromStr for ColumnChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Slot::ALL.map(Slot::name).join(", ");
        let (slot, column) = text
            .split_once('=')
            .ok_or_else(|| format!("write WHAT=COLUMN, such as time=Date; WHAT is one of {}", names()))?;
        let slot = Slot::named(slot.trim()).ok_or_else(|| {
            format!("{} is not one of {}: write WHAT=COLUMN, such as time=Date", slot.trim(), names())
        })?;
        Ok(Self { slot, column: column.trim().to_owned() })
    }
}

/// Error of a line that is not a usable header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoHeader {
    pub(crate) text: String,
    /// Whether the line is a header, although not a usable one.
    pub(crate) is_header: bool,
}

/// Returns the form in which names are compared: lower-case letters and digits.
pub(crate) fn normalized(name: &str) -> String {
    name.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Assigns slots to columns: first as the user chose, then by name.
///
/// # Errors
/// A required column is missing, a chosen one is not there, or two columns have the same meaning.
pub(crate) fn assign(names: &[Cow<'_, str>], choices: &[ColumnChoice]) -> Result<Vec<Option<Slot>>, NoHeader> {
    let keys: Vec<String> = names.iter().map(|name| normalized(name)).collect();
    let mut slots = chosen(names, choices)?;
    for (slot, synonyms) in SYNONYMS {
        if !slots.contains(&Some(slot))
            && let Some(column) = named(names, &keys, &slots, synonyms)?
        {
            slots[column] = Some(slot);
        }
    }
    assign_volumes(names, &keys, &mut slots);
    let has = |slot: Slot| slots.contains(&Some(slot));
    let needed = Slot::CANDLE.into_iter().filter(|_| Slot::CANDLE.into_iter().any(has));
    match [Slot::Time, Slot::Close].into_iter().chain(needed).find(|slot| !has(*slot)) {
        None => Ok(slots),
        Some(missing) => Err(NoHeader { text: missing_text(names, missing), is_header: false }),
    }
}

/// Assigns the columns that the user chose.
fn chosen(names: &[Cow<'_, str>], choices: &[ColumnChoice]) -> Result<Vec<Option<Slot>>, NoHeader> {
    let mut slots = vec![None; names.len()];
    for ColumnChoice { slot, column } in choices {
        let exact = names.iter().position(|name| name == column);
        let found = exact.or_else(|| names.iter().position(|name| normalized(name) == normalized(column)));
        let Some(found) = found else {
            let text = format!("no column {column:?} (--columns) among the columns {}", listed(names));
            return Err(NoHeader { text, is_header: false });
        };
        slots[found] = Some(*slot);
    }
    Ok(slots)
}

/// Returns the column with the best of these names.
fn named(
    names: &[Cow<'_, str>],
    keys: &[String],
    slots: &[Option<Slot>],
    synonyms: &[&str],
) -> Result<Option<usize>, NoHeader> {
    for synonym in synonyms {
        let mut columns = (0..keys.len()).filter(|column| slots[*column].is_none() && keys[*column] == *synonym);
        if let Some(first) = columns.next() {
            return match columns.next() {
                None => Ok(Some(first)),
                Some(second) => {
                    let name = excerpt(names[second].as_bytes());
                    let text = format!("two columns are called {name}: give the one that is meant this name alone");
                    Err(NoHeader { text, is_header: true })
                }
            };
        }
    }
    Ok(None)
}

/// Assigns columns such as `Volume BTC` and `Volume USD`. Of two, the one in a currency of quotes is the volume in quote
/// currency; if both or none are, it is the second.
fn assign_volumes(names: &[Cow<'_, str>], keys: &[String], slots: &mut [Option<Slot>]) {
    let currency = |column: usize| {
        let currency = keys[column].strip_prefix("volume")?;
        // `Volume BTC` and `Volume_(BTC)`, but not `VolumeProfile`.
        let is_apart = names[column].chars().any(|char| !char.is_alphanumeric());
        let is_short =
            (1..=CURRENCY_LETTERS_MAX).contains(&currency.len()) && currency.chars().all(char::is_alphabetic);
        let is_word = is_short || QUOTES.contains(&currency);
        (slots[column].is_none() && is_apart && is_word && !NO_CURRENCIES.contains(&currency)).then_some(currency)
    };
    let volumes: Vec<(usize, bool)> =
        (0..keys.len()).filter_map(|column| Some((column, QUOTES.contains(&currency(column)?)))).collect();
    let (base, quote) = match volumes.as_slice() {
        [(only, true)] => (None, Some(*only)),
        [(only, false)] => (Some(*only), None),
        [(first, true), (second, false)] => (Some(*second), Some(*first)),
        [(first, _), (second, _)] => (Some(*first), Some(*second)),
        _ => (None, None),
    };
    for (slot, column) in [(Slot::Volume, base), (Slot::QuoteVolume, quote)] {
        if let Some(column) = column.filter(|_| !slots.contains(&Some(slot))) {
            slots[column] = Some(slot);
        }
    }
}

/// Whether a column with this name holds times at the end of a candle.
pub(crate) fn is_close_time(name: &str) -> bool {
    CLOSE_TIMES.contains(&normalized(name).as_str())
}

/// Whether the name of a time column says that it holds milliseconds.
pub(crate) fn is_in_ms(name: &str) -> bool {
    let key = normalized(name);
    ["timestampms", "eventms", "timems"].contains(&key.as_str())
}

fn missing_text(names: &[Cow<'_, str>], missing: Slot) -> String {
    format!(
        "no column {:?} among the columns {}; needed are the time and the close (or price); open, high and low together, \
         volume and id are read where there are any: name them with --columns, such as --columns time=Date,close=Last",
        missing.name(),
        listed(names)
    )
}

fn listed(names: &[Cow<'_, str>]) -> String {
    let more = if names.len() > NAMED_MAX { ", …" } else { "" };
    let found: Vec<_> = names.iter().take(NAMED_MAX).map(|name| excerpt(name.as_bytes())).collect();
    found.join(", ") + more
}

/// Returns the beginning of a field, for an error.
pub(crate) fn excerpt(field: &[u8]) -> String {
    String::from_utf8_lossy(field).chars().take(EXCERPT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the name of each assigned column, by slot.
    fn assigned(header: &str, choices: &[&str]) -> Result<String, String> {
        let names: Vec<Cow<'_, str>> = header.split(',').map(Cow::Borrowed).collect();
        let choices: Vec<ColumnChoice> = choices.iter().map(|choice| choice.parse().unwrap()).collect();
        let slots = assign(&names, &choices).map_err(|problem| problem.text)?;
        let column = |slot: Slot| names[slots.iter().position(|found| *found == Some(slot))?].as_ref().into();
        Ok(Slot::ALL.into_iter().filter_map(column).collect::<Vec<&str>>().join("|"))
    }

    #[test]
    fn columns_are_found_by_the_names_that_programs_give() {
        let check =
            |header: &str, expected: &str| assert_eq!(assigned(header, &[]).as_deref(), Ok(expected), "{header}");
        check("timestamp_ms,open,high,low,close,volume,id", "timestamp_ms|open|high|low|close|volume|id");
        check(
            "Open time,Open,High,Low,Close,Volume,Close time,Quote asset volume,Number of trades",
            "Open time|Open|High|Low|Close|Volume|Quote asset volume",
        );
        check(
            "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD",
            "unix|open|high|low|close|Volume BTC|Volume USD",
        );
        check("date,close,Volume USDT,Volume ETH", "date|close|Volume ETH|Volume USDT");
        check("date,close,Volume ETH,Volume BTC", "date|close|Volume ETH|Volume BTC");
        check("date,close,Volume USDT,Volume USD", "date|close|Volume USDT|Volume USD");
        check("date,close,Volume USD", "date|close|Volume USD");
        check(
            "Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price",
            "Timestamp|Open|High|Low|Close|Volume_(BTC)|Volume_(Currency)",
        );
        check("Date,Open,High,Low,Close,Adj Close,Volume", "Date|Open|High|Low|Close|Volume");
        check("snapped_at,price,market_cap,total_volume", "snapped_at|price");
        check("time,open,high,low,close,Volume,Volume MA,MA", "time|open|high|low|close|Volume");
        check("time,open,high,low,close,Volume MA", "time|open|high|low|close");
        check("id,price,qty,quoteQty,time,isBuyerMaker", "time|price|qty|id|quoteQty");
        check("Datetime,Close,price", "Datetime|Close");
        check("t,o,h,l,c,v", "t|o|h|l|c|v");
        check("close_time,close", "close_time|close");
    }

    #[test]
    fn the_user_chooses_columns_by_name() {
        let header = "Date,Clock,First,Max,Min,Last,Close";
        assert_eq!(assigned(header, &["time=Clock", "close=last"]).as_deref(), Ok("Clock|Last"));
        assert!(
            assigned(header, &["close=Lasd"])
                .is_err_and(|said| said.starts_with("no column \"Lasd\" (--columns) among"))
        );
        assert!("date".parse::<ColumnChoice>().is_err_and(|said| said.contains("such as time=Date")));
        assert!("date=x".parse::<ColumnChoice>().is_err_and(|said| said.starts_with("date is not one of time, open")));
    }

    #[test]
    fn an_unusable_header_is_refused_with_the_needed_columns() {
        let check = |header: &str, expected: &str| {
            let said = assigned(header, &[]).expect_err("no header");
            assert!(said.contains(expected), "{header}: {said}");
        };
        check(
            "timestamp_ms,open,high,low,volume",
            "no column \"close\" among the columns timestamp_ms, open, high, low, volume; needed",
        );
        check("timestamp_ms,open,high,close", "no column \"low\"");
        check("When,Open,High,Low,Last", "no column \"time\" among the columns When, Open");
        check("timestamp_ms,close,volume,Close", "two columns are called Close");
    }
}
