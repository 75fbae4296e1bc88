//! The one module that answers questions about the results of the pipeline, without HTTP.
//!
//! A question is one of [`questions`], and its answer one of [`answers`], with the rows of [`rows`]. Newest rows and the
//! state of the pipeline are in memory; history is read from the streams, a page at a time (`paging`).

pub mod answers;
pub mod error;
pub mod questions;
pub mod rows;

mod cursor;
mod forecasts;
mod history;
mod instruments;
mod paging;
pub(crate) mod pipeline;
mod quality;
mod source;

use std::fmt::Debug;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use answers::{Candles, Forecasts, Hours, Instruments, Models, Prices, Quality};
use bus::{Connection, Error};
use cursor::{Cursor, Key};
use error::{ErrorCode, QueryError};
use history::Part;
use market::Instrument;
use paging::Page;
use questions::{
    CandlesQuestion, ForecastsQuestion, InstrumentQuestion, InstrumentsQuestion, ModelsQuestion, PricesQuestion,
};
use rows::{HourRow, PipelineRow};
use tokio::sync::Semaphore;

use crate::summary::MarketCounts;
use crate::view::{InstrumentView, View};

/// Rows of a page unless the client says otherwise.
const ROWS_DEFAULT: usize = 500;
/// Rows of a page, at most.
const ROWS_MAX: usize = 5_000;
/// Instruments of a page, at most.
const INSTRUMENTS_MAX: usize = 1_000;
/// Answers that read streams at the same time; others wait. Each holds at most about 20 MB.
const READING_MAX: usize = 4;
/// Time for an answer that reads streams, waiting included.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What the process knows without reading a stream.
pub(crate) trait Newest: Debug + Send + Sync {
    /// The newest rows of every instrument.
    fn view(&self) -> MutexGuard<'_, View>;
    /// The state of the pipeline now.
    fn pipeline(&self) -> PipelineRow;
    /// Counts of the stream-processor.
    fn counts(&self) -> MarketCounts;
    /// The connection; `None` before the first one.
    fn connection(&self) -> Option<Connection>;
}

/// Answers questions.
#[derive(Debug)]
pub(crate) struct Query {
    newest: Arc<dyn Newest>,
    reading: Semaphore,
}

impl Query {
    /// Answers from this memory, and from the streams that it is connected to.
    pub(crate) fn new(newest: Arc<dyn Newest>) -> Self {
        Self { newest, reading: Semaphore::new(READING_MAX) }
    }

    /// Returns a page of instruments.
    pub(crate) fn instruments(&self, question: &InstrumentsQuestion) -> Result<Instruments, QueryError> {
        let limit = limit(question.limit, INSTRUMENTS_MAX)?;
        let after = question.cursor.as_deref().map(instruments::cursor).transpose().map_err(QueryError::bad_request)?;
        let search = question.search.as_deref().unwrap_or_default();
        Ok(instruments::page(&self.newest.view(), search, after.as_ref(), limit))
    }

    /// Returns a page of final candles.
    pub(crate) async fn candles(&self, question: &CandlesQuestion) -> Result<Candles, QueryError> {
        let CandlesQuestion { coin, quote, window, from_ms, to_ms, .. } = question;
        let instrument = instrument(coin, quote)?;
        let part = part((*from_ms, *to_ms), question.limit, cursor(&question.cursor, CANDLES)?)?;
        let read = async |connection: Connection| history::candles(&connection, &instrument, *window, part).await;
        let page = self.page(&instrument, self.read(read).await?)?;
        let next = page.next.map(|key| Cursor { of: CANDLES, key }.to_string());
        Ok(Candles { coin: coin.clone(), quote: quote.clone(), window: *window, candles: page.rows, next })
    }

    /// Returns a page of accepted prices.
    pub(crate) async fn prices(&self, question: &PricesQuestion) -> Result<Prices, QueryError> {
        let instrument = instrument(&question.coin, &question.quote)?;
        let range = (question.from_ms, question.to_ms);
        let part = part(range, question.limit, cursor(&question.cursor, PRICES)?)?;
        let read = async |connection: Connection| history::prices(&connection, &instrument, part).await;
        let page = self.page(&instrument, self.read(read).await?)?;
        Ok(Prices { prices: page.rows, next: page.next.map(|key| Cursor { of: PRICES, key }.to_string()) })
    }

    /// Returns the hour-of-day profile.
    pub(crate) fn hours(&self, question: &InstrumentQuestion) -> Result<Hours, QueryError> {
        let instrument = instrument(&question.coin, &question.quote)?;
        self.known(&instrument, |rows| Hours { hours: rows.hours().map(HourRow::from).collect() })
    }

    /// Returns the pending forecasts and a page of scored ones.
    pub(crate) async fn forecasts(&self, question: &ForecastsQuestion) -> Result<Forecasts, QueryError> {
        let instrument = instrument(&question.coin, &question.quote)?;
        self.known(&instrument, |_| ())?;
        let part = part((None, None), question.limit, cursor(&question.cursor, SCORES)?)?;
        let read = async |connection: Connection| {
            let of = forecasts::Forecasts { connection: &connection, instrument: &instrument, recipe: question.recipe };
            Ok((of.pending().await?, of.scored(part).await?))
        };
        let (pending, Page { rows: scored, next }) = self.read(read).await?;
        Ok(Forecasts { pending, scored, next: next.map(|key| Cursor { of: SCORES, key }.to_string()) })
    }

    /// Returns the models and what their scored forecasts tell about them.
    pub(crate) async fn models(&self, question: &ModelsQuestion) -> Result<Models, QueryError> {
        let instrument = instrument(&question.coin, &question.quote)?;
        self.known(&instrument, |_| ())?;
        let read = async |connection: Connection| {
            let of = forecasts::Forecasts { connection: &connection, instrument: &instrument, recipe: question.recipe };
            Ok(Models { models: of.models().await?, live: of.live().await? })
        };
        self.read(read).await
    }

    /// Returns the data quality.
    pub(crate) async fn quality(&self, question: &InstrumentQuestion) -> Result<Quality, QueryError> {
        let instrument = instrument(&question.coin, &question.quote)?;
        let coverage_24h = self.known(&instrument, quality::coverage_24h)?;
        let read = async |connection: Connection| quality::gaps(&connection, &instrument).await;
        let gaps = self.read(read).await?;
        Ok(quality::quality(&self.newest.counts(), coverage_24h, gaps))
    }

    /// Returns the state of the pipeline.
    pub(crate) fn pipeline(&self) -> PipelineRow {
        self.newest.pipeline()
    }

    /// Reads streams, within the limits of time and number.
    async fn read<T>(&self, read: impl AsyncFnOnce(Connection) -> Result<T, Error>) -> Result<T, QueryError> {
        let away = || QueryError::new(ErrorCode::Unavailable, "the NATS server is away: try again when it is back");
        let connection = self.newest.connection().filter(Connection::is_connected).ok_or_else(away)?;
        let reading = async {
            let _permit = self.reading.acquire().await.expect("the semaphore is never closed");
            read(connection).await
        };
        match tokio::time::timeout(ANSWER_MAX, reading).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(QueryError::new(
                ErrorCode::Unavailable,
                "the answer takes too long: ask for fewer rows, or try again in some seconds",
            )),
        }
    }

    /// Returns the page of an instrument, empty if only other rows of it are known.
    fn page<R>(&self, instrument: &Instrument, page: Option<Page<R>>) -> Result<Page<R>, QueryError> {
        match page {
            Some(page) => Ok(page),
            None => self.known(instrument, |_| Page::default()),
        }
    }

    /// Looks at the newest rows of an instrument.
    fn known<T>(&self, instrument: &Instrument, look: impl FnOnce(&InstrumentView) -> T) -> Result<T, QueryError> {
        let view = self.newest.view();
        let found = view
            .instruments()
            .find(|((coin, quote), _)| (&**coin, &**quote) == (instrument.coin(), instrument.quote()));
        found.map(|(_, rows)| look(rows)).ok_or_else(|| {
            let message = format!("there is no data of {instrument} yet: /api/v1/instruments lists what there is");
            QueryError::new(ErrorCode::NotFound, message)
        })
    }
}

/// What pages consist of, in their cursors.
const CANDLES: &str = "candles";
const PRICES: &str = "prices";
const SCORES: &str = "scores";

fn instrument(coin: &str, quote: &str) -> Result<Instrument, QueryError> {
    Instrument::new(coin, quote).map_err(|error| QueryError::bad_request(error.to_string()))
}

fn cursor(text: &Option<String>, of: &'static str) -> Result<Option<Key>, QueryError> {
    let parsed = text.as_deref().map(|text| Cursor::parse(text, of)).transpose();
    Ok(parsed.map_err(QueryError::bad_request)?.map(|cursor| cursor.key))
}

fn limit(asked: Option<usize>, max: usize) -> Result<usize, QueryError> {
    match asked.unwrap_or(ROWS_DEFAULT) {
        0 => Err(QueryError::bad_request(format!("limit is 0: pass 1 to {max}"))),
        asked if asked > max => Err(QueryError::new(
            ErrorCode::TooLarge,
            format!("limit is {asked}, and a page has at most {max} rows: pass a smaller one and follow `next`"),
        )),
        asked => Ok(asked),
    }
}

/// Returns the part of a history between two times and before a cursor.
fn part(
    (from_ms, to_ms): (Option<i64>, Option<i64>),
    asked: Option<usize>,
    cursor: Option<Key>,
) -> Result<Part, QueryError> {
    if let (Some(from_ms), Some(to_ms)) = (from_ms, to_ms)
        && from_ms > to_ms
    {
        return Err(QueryError::bad_request(format!("from_ms {from_ms} is after to_ms {to_ms}: exchange the two")));
    }
    let end = to_ms.map_or(Key::END, Key::at);
    Ok(Part {
        from: from_ms.unwrap_or(i64::MIN),
        before: cursor.map_or(end, |cursor| cursor.min(end)),
        limit: limit(asked, ROWS_MAX)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_a_question_is_told_with_advice() {
        let check = |result: Result<Part, QueryError>, code: ErrorCode, said: &str| {
            let error = result.expect_err("a mistake");
            assert!(error.code == code && error.message.contains(said), "{error:?}");
        };
        check(part((None, None), Some(0), None), ErrorCode::BadRequest, "pass 1 to 5000");
        check(part((None, None), Some(5_001), None), ErrorCode::TooLarge, "follow `next`");
        check(part((Some(2), Some(1)), None, None), ErrorCode::BadRequest, "from_ms 2 is after to_ms 1");
        assert!(instrument("bitcoin", "US D").expect_err("no name").message.contains("quote \"US D\""));
        assert!(cursor(&Some("x".to_owned()), CANDLES).is_err());
    }

    #[test]
    fn a_page_ends_at_the_earlier_of_cursor_and_time() {
        let before = |to_ms, cursor| part((None, to_ms), None, cursor).expect("a part").before;
        assert_eq!(before(None, None), Key::END);
        assert_eq!(before(Some(7), None), Key::at(7));
        assert_eq!(before(Some(7), Some(Key::at(5))), Key::at(5));
        assert_eq!(before(Some(5), Some(Key::at(7))), Key::at(5));
    }
}
