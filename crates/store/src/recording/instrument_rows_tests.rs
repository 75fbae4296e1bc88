//! Recordings as users have them: the rows that count, and the counts of all others.

use market::{EventTime, Instrument, Span};
use proptest::prelude::*;

use super::*;

/// 2024-01-01T00:00Z.
const START: i64 = 1_704_067_200_000;
const HEADER: &str = "timestamp_ms,open,high,low,close,volume\n";

/// 2024-02-01.
fn rules() -> Rules {
    Rules { reorder_rows: 7, ..Rules::at(EventTime(START + 31 * Span::DAY.ms())) }
}

struct Read {
    rows: Vec<RecordingRow>,
    row_counts: RowCounts,
    shape: RowShape,
    cut: Option<String>,
}

fn read_files(files: &[(&str, String)], rules: Rules) -> Result<Read, String> {
    let instrument = Instrument::new("bitcoin", "usd").unwrap();
    let inputs = files
        .iter()
        .map(|(name, text)| RecordingFile::of_bytes(name, text.replace('T', &START.to_string()).into()))
        .collect();
    let mut track = InstrumentRows::open(inputs, &instrument, rules).map_err(|error| error.to_string())?;
    let (mut row_counts, mut rejects, mut rows) = (RowCounts::default(), Rejects::nowhere(), Vec::new());
    while let Some(row) = track.next(&mut row_counts, &mut rejects) {
        rows.push(row);
    }
    let accounted = rows.len() as u64
        + row_counts.duplicates
        + row_counts.rejected_count()
        + row_counts.unfinished
        + row_counts.without_price;
    assert_eq!(row_counts.rows, accounted + row_counts.foreign + row_counts.headers, "{row_counts:?}");
    Ok(Read { rows, row_counts, shape: track.shape(), cut: track.cut().map(ToString::to_string) })
}

fn read(text: &str, rules: Rules) -> Result<Read, String> {
    read_files(&[("a.csv", text.to_owned())], rules)
}

fn saying(grain: &str) -> Rules {
    Rules { grain: Some(grain.parse().unwrap()), ..rules() }
}

/// A candle at a minute.
fn candle(minute: i64) -> String {
    format!("{},2,3,1,2,5\n", START + minute * 60_000)
}

fn candles(minutes: impl IntoIterator<Item = i64>) -> String {
    minutes.into_iter().map(candle).collect()
}

/// Returns the close and the volume of each row.
fn values(read: &Read) -> Vec<(f64, Option<f64>)> {
    read.rows.iter().map(|row| (row.close, row.volume)).collect()
}

/// Checks that a file is refused with an error that contains each of these texts.
fn refused(text: &str, rules: Rules, expected: &[&str]) {
    let error = read(text, rules).err().expect("refused");
    assert!(expected.iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn all_trades_of_an_instant_count_in_the_order_of_the_file() {
    let rows = [(0, 10, 1), (0, 11, 2), (0, 12, 4), (500, 12, 1), (500, 9, 8), (30_000, 10, 1)];
    let row =
        |(ms, price, volume): &(i64, i64, i64)| format!("{},{price},{price},{price},{price},{volume}\n", START + ms);
    let expected = [(10.0, 0), (11.0, 1), (12.0, 2), (12.0, 0), (9.0, 1), (10.0, 0)];
    let check = |text: String, rules: Rules| {
        let read = read(&text, rules).unwrap();
        let found: Vec<_> = read.rows.iter().map(|row| (row.close, row.id.unwrap())).collect();
        assert_eq!((read.shape, found.as_slice()), (RowShape::Trades, expected.as_slice()));
        let complete: Vec<_> = read.rows.iter().map(|row| row.complete.map(Span::ms)).collect();
        assert_eq!(complete, [None, None, None, Some(500), None, Some(29_500)]);
        assert!(read.rows.iter().all(|row| row.is_point));
    };
    for grain in ["1ms", "trades"] {
        check(HEADER.to_owned() + &rows.iter().map(row).collect::<String>(), saying(grain));
        // With the newest row first, the last line of an instant is its first trade.
        check(HEADER.to_owned() + &rows.iter().rev().map(row).collect::<String>(), saying(grain));
    }
}

#[test]
fn numbered_trades_count_once_by_their_number() {
    let text = "timestamp_ms,price,volume,id\nT,10,1,7\nT,11,2,9\nT,10.5,2,8\nT,10,1,7\nT,12,1,x\n";
    let numbered = read(text, rules()).unwrap();
    let found: Vec<_> = numbered.rows.iter().map(|row| (row.close, row.id)).collect();
    assert_eq!(found, [(10.0, Some(7)), (10.5, Some(8)), (11.0, Some(9))]);
    assert_eq!((numbered.row_counts.duplicates, numbered.row_counts.rejected["unparsable"]), (1, 1));
    // The later line counts, also with the newest row first.
    for order in [[9, 8, 7], [7, 8, 9]] {
        let row = |(at, id): (usize, &u64)| format!("{},{},1,{id}\n", START + *id as i64, 10.0 + at as f64 / 4.0);
        let lines = order.iter().flat_map(|id| [id, id]).enumerate().map(row).collect::<String>();
        let read = read(&format!("timestamp_ms,price,volume,id\n{lines}"), rules()).unwrap();
        let of_8 = read.rows.iter().find(|row| row.id == Some(8)).unwrap();
        assert_eq!((of_8.close, read.row_counts.conflicts), (10.75, 3), "{order:?}");
    }
}

#[test]
fn trades_are_missing_where_their_numbers_jump() {
    let text = |ids: &[u64]| {
        let rows = ids.iter().enumerate().map(|(idx, id)| format!("{},10,1,{id}\n", START + idx as i64 * 90_000));
        format!("timestamp_ms,price,volume,id\n{}", rows.collect::<String>())
    };
    let check = |ids: &[u64], behind_jump: &[bool]| {
        let read = read(&text(ids), rules()).unwrap();
        assert_eq!(read.rows.iter().map(|row| row.is_behind_jump).collect::<Vec<_>>(), behind_jump, "{ids:?}");
        let is_certified = |row: &RecordingRow| row.complete == Some(Span(90_000));
        assert!(read.rows.iter().skip(1).all(|row| is_certified(row) != row.is_behind_jump), "{ids:?}");
    };
    check(&[5, 6, 7, 9, 10], &[false, false, false, true, false]);
    // Ids that are shared by all markets, for example, say nothing about gaps in this one.
    check(&[5, 16, 17, 29, 40], &[false; 5]);
}

#[test]
fn rows_that_look_like_trades_are_not_taken_for_conflicts() {
    let text = HEADER.to_owned()
        + "T,10,10,10,10,1\nT,11,11,11,11,2\nT,12,12,12,12,4\n1704067200500,12,12,12,12,1\n\
        1704067200500,9,9,9,9,8\n1704067230000,10,10,10,10,1\n";
    for rules in [rules(), saying("1m")] {
        refused(&text, rules, &["a.csv: 3 of 6 rows have the time of the row before", "--grain trades", "--conflict"]);
        assert_eq!(read(&text, Rules { conflict: Some(Conflict::Last), ..rules }).unwrap().row_counts.conflicts, 3);
    }
    // At whole seconds the rows of a busy market are as regular as candles.
    let row = |trade: i64| {
        format!("{},{price},{price},{price},{price},1\n", START + trade / 3 * 1_000, price = 10 + trade % 3)
    };
    let text = HEADER.to_owned() + &(0..90).map(row).collect::<String>();
    refused(&text, rules(), &["60 of 90 rows", "--grain trades"]);
    assert_eq!(read(&text, saying("trades")).unwrap().rows.len(), 90);
}

#[test]
fn a_file_of_two_instruments_is_refused() {
    let row = |(minute, name, price): (i64, &str, i64)| {
        format!("{},{name},{price},{price},{price},{price},1\n", START + minute * 30_000)
    };
    let named = |name| format!("timestamp_ms,{name},open,high,low,close,volume\n");
    let interleaved: String = (0..20).map(|at| row((at, ["ADA", "SOL"][at as usize % 2], 100))).collect();
    refused(
        &(named("Symbol") + &interleaved),
        rules(),
        &["a.csv line 3: its Symbol is SOL, and that of line 2 is ADA"],
    );
    // A number or an empty field in such a column does not name an instrument; nor does a column of another name.
    let numbers: String = (0..20).map(|at| row((at, ["1", "2", ""][at as usize % 3], 100))).collect();
    assert_eq!(read(&(named("base") + &numbers), rules()).unwrap().rows.len(), 20);
    assert_eq!(read(&(named("remark") + &interleaved), rules()).unwrap().rows.len(), 20);
    // Without a name, different prices at one time show several instruments.
    let unnamed: String =
        (0..40).map(|at| format!("{},{},{2},9,{2},1\n", START + at / 2 * 60_000, 7 + at % 2, 6 + at % 2)).collect();
    refused(&(HEADER.to_owned() + &unnamed), rules(), &["20 of 40 rows", "one file for each", "--conflict last"]);
    let half = |price: i64| {
        HEADER.to_owned() + &(0..20).map(|at| format!("{},{price},9,1,5,1\n", START + at * 60_000)).collect::<String>()
    };
    let files = [("a.csv", half(5)), ("b.csv", half(6))];
    let error = read_files(&files, rules()).err().unwrap();
    assert!(error.starts_with("a.csv, b.csv: 20 of 40 rows have the time of another row"), "{error}");
    let chosen = read_files(&files, Rules { conflict: Some(Conflict::Last), ..rules() }).unwrap();
    assert_eq!((chosen.rows[0].open, chosen.row_counts.conflicts), (6.0, 20));
}

#[test]
fn candles_of_several_lengths_are_refused() {
    let hours = |range: std::ops::Range<i64>| candles(range.map(|hour| hour * 60));
    let check = |text: String, rules: Rules, line: &str| {
        refused(
            &(HEADER.to_owned() + &text),
            rules,
            &[line, "write the candles of each length into a file of their own"],
        );
    };
    for rules in [rules(), saying("1m")] {
        check(hours(0..10) + &candles(600..700), rules, "a.csv line 3: from here on rows are 1h apart, and others 1m");
        check(candles(0..100) + &hours(2..10), rules, "a.csv line 103: from here on rows are 1h apart");
    }
    let fives = candles((0..100).map(|row| row * 5)) + &candles(500..550);
    refused(&(HEADER.to_owned() + &fives), rules(), &["mostly 5m apart, and 49 of 149 follow sooner, such as 1m"]);
    let files = [("m.csv", HEADER.to_owned() + &candles(0..400)), ("h.csv", HEADER.to_owned() + &hours(10..19))];
    assert!(read_files(&files, rules()).err().unwrap().starts_with("h.csv: its rows are 1h apart"));
    // Only one minute in 32 has a candle: the given grain counts, because the rows alone do not show it.
    let is_there = |minute: i64| {
        let mixed = minute.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 59 == 0
    };
    let sparse = candles((0..4_000).filter(|&minute| is_there(minute)));
    refused(&(HEADER.to_owned() + &sparse), rules(), &["follow sooner", "--grain"]);
    let said = read(&(HEADER.to_owned() + &sparse), saying("1m"));
    assert_eq!(said.map(|read| read.shape), Ok(RowShape::Candles(Span::MINUTE)));
}

#[test]
fn prices_contradict_a_length_of_candles() {
    let text = |apart: i64, rows: i64| {
        let row = |at: i64| format!("{},{}\n", START + at * apart * 60_000, 5 + at % 3);
        format!("timestamp_ms,price\n{}", (0..rows).map(row).collect::<String>())
    };
    refused(&text(60, 40), saying("1m"), &["prices about 1h apart, and --grain says 1m: leave --grain out"]);
    assert_eq!(read(&text(1, 40), saying("1m")).unwrap().shape, RowShape::Points(Span::MINUTE));
    // All rows are further apart than the bound for a mistyped time.
    let monthly = Rules::at(EventTime(START + 3_000 * Span::DAY.ms()));
    let read = read(&text(90 * 1_440, 30), monthly).unwrap();
    assert_eq!((read.rows.len(), read.row_counts.rejected_count()), (30, 0));
}

#[test]
fn of_two_rows_of_one_time_the_chosen_one_counts() {
    let text = |order: [&str; 3]| HEADER.to_owned() + &order.concat();
    let (before, unfinished, whole) =
        ("T,100,101,99,100,5\n", "1704067260000,100,100.2,100,100.1,0.3\n", "1704067260000,100,107,98,106,40\n");
    let check = |order: [&str; 3], conflict: Conflict, expected: f64| {
        let read = read(&text(order), Rules { conflict: Some(conflict), ..saying("1m") }).unwrap();
        assert_eq!(read.rows.last().unwrap().close, expected, "{order:?} {conflict:?}");
        assert_eq!((read.row_counts.duplicates, read.row_counts.conflicts), (1, 1));
    };
    check([before, unfinished, whole], Conflict::Last, 106.0);
    check([before, unfinished, whole], Conflict::First, 100.1);
    check([unfinished, whole, before], Conflict::Last, 106.0);
    check([whole, unfinished, before], Conflict::Last, 100.1);
    let error = read(&text([before, unfinished, whole]), Rules { conflict: Some(Conflict::Refuse), ..saying("1m") });
    let error = error.err().unwrap();
    assert!(error.starts_with("a.csv line 4: ") && error.contains("a.csv line 3"), "{error}");
    // Of two files, the row of the file that is named later counts.
    let files = [("b.csv", text([before, "", whole])), ("a.csv", text(["", "", unfinished]))];
    assert_eq!(values(&read_files(&files, saying("1m")).unwrap())[1], (100.1, Some(0.3)));
}

#[test]
fn a_bad_row_does_not_replace_a_good_one_of_its_time() {
    let read = read(&(HEADER.to_owned() + "T,100,101,99,100,5\nT,100,101,99,-1,5\n"), saying("1m")).unwrap();
    assert_eq!((values(&read), read.row_counts.rejected["negative-price"]), (vec![(100.0, Some(5.0))], 1));
}

#[test]
fn candles_are_as_long_as_their_rows_are_apart() {
    let check = |minutes: &[i64], grain: Span| {
        let text = HEADER.to_owned() + &candles(minutes.iter().copied());
        assert_eq!(read(&text, rules()).unwrap().shape, RowShape::Candles(grain), "{minutes:?}");
    };
    check(&[0, 60, 120, 180, 300], Span::HOUR);
    check(&[300, 180, 120, 60, 0], Span::HOUR);
    check(&[120, 0, 180, 60, 300], Span::HOUR);
    check(&[0, 1, 3], Span::MINUTE);
}

#[test]
fn a_grain_that_contradicts_the_rows_is_refused() {
    let hourly = HEADER.to_owned() + &candles((0..48).map(|hour| hour * 60));
    refused(&hourly, saying("1m"), &["a.csv: its rows are 1h apart, and --grain says 1m", "--grain 1h"]);
    let minutes = HEADER.to_owned() + &candles((0..20).chain(150..180));
    refused(&minutes, saying("1h"), &["a.csv: its rows are 1m apart, and --grain says 1h"]);
    let sparse = HEADER.to_owned() + &candles([0, 1, 3, 6, 10, 11, 15]);
    assert!(read(&sparse, saying("1m")).is_ok());
}

#[test]
fn rows_that_do_not_tell_their_length_ask_for_it() {
    let one = HEADER.to_owned() + &candle(0);
    refused(&one, rules(), &["a.csv: ", "pass it with --grain"]);
    assert_eq!(read(&one, saying("1d")).unwrap().shape, RowShape::Candles(Span::DAY));
    let unusable = read(&(HEADER.to_owned() + "junk\nT,,,,,\n"), rules()).unwrap();
    assert_eq!((unusable.rows.len(), unusable.row_counts.foreign, unusable.row_counts.without_price), (0, 1, 1));
}

#[test]
fn prices_alone_are_points_that_reach_back_to_the_one_before() {
    let minutes = [0, 1, 2, 4, 7, 8];
    let rows: String = minutes.iter().map(|minute| format!("{},{minute}.5\n", START + minute * 60_000)).collect();
    let read = read(&format!("timestamp_ms,price\n{rows}"), rules()).unwrap();
    let complete: Vec<_> = read.rows.iter().map(|row| row.complete.map(|span| span.ms() / 60_000)).collect();
    assert_eq!(complete, [None, Some(1), Some(1), Some(2), None, Some(1)], "two usual steps are no hole, three are");
    assert_eq!(read.shape, RowShape::Points(Span::MINUTE));
    assert!(read.rows.iter().all(|row| row.is_point && row.id.is_none()));
}

#[test]
fn open_and_close_outside_the_range_widen_it_or_are_refused() {
    let text = HEADER.to_owned()
        + &candle(0)
        + "1704067260000,99.5,103,100,102,7\n1704067320000,102,103,101,103.0000000001,6\n";
    let widened = read(&text, saying("1m")).unwrap();
    let ranges: Vec<_> = widened.rows.iter().map(|row| (row.low, row.high)).collect();
    assert_eq!(ranges, [(1.0, 3.0), (99.5, 103.0), (101.0, 103.0000000001)]);
    assert_eq!((widened.row_counts.widened, widened.row_counts.rejected_count()), (2, 0));
    let refused = read(&text, Rules { outside: Outside::Reject, ..saying("1m") }).unwrap();
    assert_eq!((refused.rows.len(), refused.row_counts.rejected["high-low-order"]), (1, 2));
}

#[test]
fn rows_without_a_price_are_told_from_refused_ones() {
    let text = HEADER.to_owned()
        + &candle(0)
        + "# a remark\n1704067260000,,,,,\n1704067320000,NaN,NaN,NaN,NaN,0\n"
        + "1704067380000,2,3,1,2,NaN\n1704067440000,2,3,1,2,-1\n0,2,3,1,2,5\n";
    let Read { rows, row_counts, .. } = read(&text, saying("1m")).unwrap();
    assert_eq!(rows.iter().map(|row| row.volume).collect::<Vec<_>>(), [Some(5.0), None]);
    assert_eq!(
        (row_counts.foreign, row_counts.without_price, row_counts.rejected_count(), row_counts.priced_count()),
        (1, 2, 2, 4)
    );
    let reasons: Vec<_> = row_counts.rejected.into_iter().collect();
    assert_eq!(reasons, [("before-2009", 1), ("negative-volume", 1)]);
}

#[test]
fn a_candle_that_has_not_ended_is_left_out() {
    let now = EventTime(START + 10 * 60_000 - 30_000);
    let rules = Rules { now, ..rules() };
    let read = read(&(HEADER.to_owned() + &candles(0..10)), rules).unwrap();
    assert_eq!((read.rows.len(), read.row_counts.unfinished, read.row_counts.rejected_count()), (9, 1, 0));
}

#[test]
fn times_that_cannot_be_true_refuse_the_file() {
    let text = |times: &[&str]| {
        HEADER.to_owned() + &times.iter().map(|time| format!("{time},2,3,1,2,5\n")).collect::<String>()
    };
    refused(
        &text(&["1704067200", "1704067260"]),
        rules(),
        &["a.csv line 2: 1704067200 reads as 1970-01-20", "seconds", "2024-01-01"],
    );
    refused(&text(&["1704067200", "T"]), rules(), &["a.csv line 2", "seconds", "line 3"]);
    refused(&text(&["T", "1704067260000000"]), rules(), &["a.csv line 3", "microseconds", "line 2"]);
    refused(&text(&["1.70407E+12", "1.70407E+12"]), rules(), &["a.csv line 2", "lost its last digits"]);
}

#[test]
fn an_unusable_second_header_ends_the_reading_with_its_line() {
    let second = "timestamp_ms,open,close\n";
    let read = read(&(HEADER.to_owned() + &candles(0..10) + second + &candles(10..20)), rules()).unwrap();
    assert_eq!((read.rows.len(), read.row_counts.headers), (10, 1));
    assert!(read.cut.unwrap().starts_with("a.csv line 12: the file has a second header here"));
}

#[test]
fn a_second_header_gives_the_columns_of_the_rows_after_it() {
    let second = "timestamp_ms,close,high,low,open,volume\n";
    let read = read(&(HEADER.to_owned() + &candles(0..10) + second + &candles(10..20)), rules()).unwrap();
    assert_eq!((read.rows.len(), read.row_counts.headers, read.cut), (20, 1, None));
}

#[test]
fn files_of_different_grain_are_read_one_after_the_other() {
    let files = [
        ("m.csv", HEADER.to_owned() + &candles(0..30)),
        ("h.csv", HEADER.to_owned() + &candles((1..20).map(|hour| hour * 60))),
    ];
    let error = read_files(&files, rules()).err().unwrap();
    assert!(error.starts_with("h.csv: its rows are 1h apart, and those of the other files 1m"), "{error}");
}

#[test]
fn two_files_that_overlap_give_each_trade_once() {
    let file = |range: std::ops::Range<i64>| {
        let row = |trade: i64| format!("{},{},1\n", START + trade / 3 * 1_000, 10 + trade % 2);
        format!("timestamp_ms,price,volume\n{}", range.map(row).collect::<String>())
    };
    let whole = read(&file(0..60), saying("trades")).unwrap();
    let halves = read_files(&[("a.csv", file(0..40)), ("b.csv", file(30..60))], saying("trades")).unwrap();
    let places = |read: &Read| read.rows.iter().map(|row| (row.event, row.id)).collect::<Vec<_>>();
    assert_eq!((places(&whole), 60, 10), (places(&halves), whole.rows.len(), halves.row_counts.duplicates));
}

proptest! {
    /// Every row counts or is a counted duplicate, for any number of rows in any order.
    #[test]
    fn any_order_of_a_file_gives_the_same_rows(
        steps in prop::collection::vec(prop_oneof![6 => Just(1_i64), 2 => Just(0), 1 => 2_i64..5], 2..120),
        order in any::<prop::sample::Index>(),
        reorder_rows in 1_usize..150,
    ) {
        let minutes = std::iter::once(0).chain(steps).scan(0, |minute, step| {
            *minute += step;
            Some(*minute)
        });
        let mut sorted: Vec<i64> = minutes.collect();
        let mut turned = sorted.clone();
        let at = order.index(turned.len());
        turned.rotate_left(at);
        let rules = Rules { reorder_rows, ..rules() };
        let text = |minutes: &[i64]| HEADER.to_owned() + &candles(minutes.iter().copied());
        let (ascending, shuffled) = (read(&text(&sorted), rules), read(&text(&turned), rules));
        prop_assert_eq!(ascending.as_ref().map(|_| ()).is_ok(), shuffled.is_ok());
        if let (Ok(ascending), Ok(shuffled)) = (ascending, shuffled) {
            sorted.dedup();
            let minutes = |read: &Read| read.rows.iter().map(|row| (row.event.ms() - START) / 60_000).collect::<Vec<_>>();
            prop_assert_eq!(minutes(&ascending), sorted);
            prop_assert_eq!(minutes(&shuffled), minutes(&ascending));
            prop_assert_eq!(shuffled.row_counts.duplicates, ascending.row_counts.duplicates);
            prop_assert_eq!(shuffled.shape, ascending.shape);
        }
    }
}
