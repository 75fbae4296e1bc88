//! Every number of every table, compared with a plain computation on the same rows.

use std::collections::BTreeMap;

use pipeline_tests::oracle::{self, Expected, Row, close_enough};
use pipeline_tests::programs::succeed;
use pipeline_tests::test_pipeline::{TestPipeline, sample};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// The tables of an undisturbed replay of a sample.
async fn replayed(file: &str, grain: &str) -> BTreeMap<&'static str, String> {
    let pipeline = TestPipeline::new().await;
    let _services = [pipeline.start("stream-processor"), pipeline.start("aggregator")];
    succeed(&mut pipeline.replay(&sample(file), grain));
    pipeline.wait();
    pipeline.tables()
}

fn check_candles(csv: &str, window: &str, grain_ms: i64, expected: &BTreeMap<i64, Expected>) {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let columns = "coin,quote,window,start,end,open,high,low,close,average,volume,volume_count,count,coverage,grain_ms,revision,final,quote_volume,vwap,filled";
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>().join(","), columns);
    let mut found = 0;
    for (record, (&start, expected)) in reader.records().zip(expected) {
        let record = record.unwrap();
        let number = |idx: usize| record[idx].parse::<f64>().unwrap();
        assert_eq!([&record[0], &record[1], &record[2]], ["bitcoin", "usdt", window]);
        assert_eq!(record[3], market::EventTime(start).to_rfc3339());
        let exact = [number(5), number(6), number(7), number(8)];
        assert_eq!(exact, [expected.open, expected.high, expected.low, expected.close], "{record:?}");
        assert_eq!(record[12], expected.count.to_string(), "{record:?}");
        let near = [(9, expected.average), (10, expected.volume), (13, expected.coverage)];
        for (column, expected) in near {
            assert!(close_enough(number(column), expected), "{expected} {record:?}");
        }
        assert_eq!(
            [&record[11], &record[14], &record[15], &record[16]],
            ["", grain_ms.to_string().as_str(), "1", "true"]
        );
        // The samples have no quote volumes, and are no later fetch.
        assert_eq!([&record[17], &record[18], &record[19]], [""; 3]);
        found += 1;
    }
    assert_eq!(found, expected.len(), "windows of {window}");
    assert_eq!(csv.lines().count() - 1, expected.len(), "windows of {window}");
}

fn check_hours(csv: &str, rows: &[Row]) {
    let expected = oracle::hours_of_day(rows);
    assert_eq!(csv.lines().next(), Some("coin,quote,hour,average,min,max,count"));
    assert_eq!(csv.lines().count() - 1, expected.len());
    for (line, (hour, (mean, min, max, count))) in csv.lines().skip(1).zip(expected) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!([cells[0], cells[1], cells[2]], ["bitcoin", "usdt", &hour.to_string()]);
        assert!(close_enough(cells[3].parse().unwrap(), mean), "{line}");
        assert_eq!([cells[4], cells[5], cells[6]], [min.to_string(), max.to_string(), count.to_string()]);
    }
}

async fn check(file: &str, grain: &str, grain_ms: i64) {
    let rows = oracle::rows(&sample(file));
    let tables = replayed(file, grain).await;
    let windows =
        [("candles-1m", "1m", MINUTE, MINUTE), ("hourly", "1h", HOUR, HOUR), ("daily", "1d", 24 * HOUR, 24 * HOUR)];
    for (table, window, size, hop) in windows.into_iter().chain([("moving-average", "1h-30m", HOUR, HOUR / 2)]) {
        check_candles(&tables[table], window, grain_ms, &oracle::windows(&rows, grain_ms, size, hop));
    }
    check_hours(&tables["hour-of-day"], &rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_month_of_minutes_equal_a_plain_computation() {
    check("btcusdt_1m_2020-03.csv.gz", "1m", MINUTE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_five_years_of_hours_equal_a_plain_computation() {
    check("btcusdt_1h_2019-2023.csv.gz", "1h", HOUR).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_recording_gives_the_same_bytes_again() {
    let first = replayed("btcusdt_1m_2020-03.csv.gz", "1m").await;
    assert_eq!(first, replayed("btcusdt_1m_2020-03.csv.gz", "1m").await);
}
