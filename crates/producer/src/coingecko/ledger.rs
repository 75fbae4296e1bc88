//! The spending of an account in NATS: each call is recorded before it is made, so that a killed producer has counted
//! at most one call too many, and all producers of an account share one budget.
//!
//! While NATS is away, no credit is spent, because a kill would lose its count. Calls of an account without a limit of
//! credits go on: they are judged by the last known spending and recorded when NATS is back, and a minute later their
//! count no longer matters.

use std::future::Future;
use std::time::Duration;

use bus::budgets::{self, StoredBudget};
use bus::error::Disposition;
use bus::protocol::decode_version;
use bus::reminder::Reminder;
use bus::retry::Backoff;
use bus::{Connection, Error};
use bytes::Bytes;
use market::{EventTime, Span};

use super::budget::{Limits, Purpose, Spending, VERSION, Verdict};
use super::config::SOURCE;

/// Delays after another producer was faster.
const OVERTAKEN: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(100));

/// Time after which a call that NATS could not record is tried again.
pub(crate) const UNRECORDED_RETRY: Duration = Duration::from_secs(1);

/// The stored spending of one account; NATS, or memory in tests.
pub(crate) trait Store: Sync {
    /// Whether an answer can be expected soon.
    fn is_reachable(&self) -> bool;
    /// Reads the value.
    fn load(&self) -> impl Future<Output = Result<Option<StoredBudget>, Error>> + Send;
    /// Replaces the value of a revision; `None` if it has another one.
    fn store(&self, payload: Bytes, revision: u64) -> impl Future<Output = Result<Option<u64>, Error>> + Send;
}

/// The value of an account in the bucket of budgets.
#[derive(Debug)]
pub(crate) struct Account<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) name: String,
}

impl Store for Account<'_> {
    fn is_reachable(&self) -> bool {
        self.connection.is_connected()
    }

    async fn load(&self) -> Result<Option<StoredBudget>, Error> {
        budgets::load(self.connection, SOURCE, &self.name).await
    }

    async fn store(&self, payload: Bytes, revision: u64) -> Result<Option<u64>, Error> {
        budgets::store(self.connection, SOURCE, &self.name, payload, revision).await
    }
}

/// The budget of an account.
#[derive(Debug)]
pub(crate) struct Ledger<S> {
    store: S,
    limits: Limits,
    /// The last known spending, with this producer's calls.
    known: Spending,
    /// Calls that are not stored yet.
    owed: Spending,
    /// Time between two polls, once it is known.
    interval: Option<Span>,
    reminder: Reminder,
}

impl<S: Store> Ledger<S> {
    /// Reads the spending.
    ///
    /// # Errors
    /// NATS does not answer, or stores it in a form of another version.
    pub(crate) async fn open(store: S, limits: Limits, now: EventTime) -> Result<Self, Error> {
        let (known, _) = load(&store, now).await?;
        Ok(Self { store, limits, known, owed: Spending::new(now), interval: None, reminder: Reminder::default() })
    }

    /// Judges a call, and records it if it may be made. `None` while NATS cannot record its credit: it must not be made.
    ///
    /// # Errors
    /// Waiting does not help: a missing permission, or a form of another version.
    pub(crate) async fn spend(&mut self, purpose: Purpose, now: EventTime) -> Result<Option<Verdict>, Error> {
        let limits = self.limits;
        let act = |spending: &mut Spending| {
            let verdict = spending.judge(&limits, purpose, now);
            if verdict == Verdict::Go {
                spending.record(purpose, now);
            }
            verdict
        };
        match self.change(now, act).await {
            Ok(verdict) => {
                self.reminder.settle("calls to CoinGecko are recorded again");
                Ok(Some(verdict))
            }
            Err(error) if error.disposition() == Disposition::Stop => Err(error),
            Err(error) if limits.credits.is_some() => {
                self.reminder.warn(&format!("{error}; CoinGecko is not asked before the call can be recorded"));
                Ok(None)
            }
            Err(error) => {
                self.reminder.warn(&format!("{error}; calls to CoinGecko are recorded when it answers"));
                (self.known, self.owed) = (self.known.clone().at(now), self.owed.clone().at(now));
                let verdict = act(&mut self.known);
                if verdict == Verdict::Go {
                    self.owed.record(purpose, now);
                }
                Ok(Some(verdict))
            }
        }
    }

    /// Records a call that is made also beyond the limits: one that a person asked for, or the question for the limits.
    ///
    /// # Errors
    /// NATS does not answer, or as [`Self::spend`].
    pub(crate) async fn record(&mut self, now: EventTime) -> Result<(), Error> {
        self.change(now, |spending| spending.record(Purpose::Poll, now)).await
    }

    /// Takes over what the source tells of the account.
    ///
    /// # Errors
    /// As [`Self::spend`]; without an answer of NATS nothing is changed.
    pub(crate) async fn told(&mut self, limits: Limits, spent: Option<u64>, now: EventTime) -> Result<(), Error> {
        self.limits = limits;
        let Some(spent) = spent else { return Ok(()) };
        match self.change(now, |spending| spending.raise(spent)).await {
            Err(error) if error.disposition() == Disposition::Stop => Err(error),
            _ => Ok(()),
        }
    }

    /// Sets the number of calls of this month.
    ///
    /// # Errors
    /// NATS does not answer, or as [`Self::spend`].
    pub(crate) async fn set_spent(&mut self, spent: u64, now: EventTime) -> Result<(), Error> {
        self.change(now, |spending| spending.replace(spent)).await
    }

    /// Returns the limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the last known spending as of `now`.
    pub(crate) fn spending(&self, now: EventTime) -> Spending {
        self.known.clone().at(now)
    }

    /// Returns the time between two polls of `requests` calls, at least `least`. The next change stores it for readers.
    pub(crate) fn interval(&mut self, now: EventTime, requests: u64, least: Span) -> Span {
        let interval = self.spending(now).interval(&self.limits, now, requests, least);
        self.interval = Some(interval);
        interval
    }

    /// Changes the stored spending, together with the calls that it lacks.
    async fn change<T>(&mut self, now: EventTime, act: impl Fn(&mut Spending) -> T) -> Result<T, Error> {
        let mut delays = OVERTAKEN.delays();
        loop {
            if !self.store.is_reachable() {
                return Err(Error::Unanswered { what: "a budget".to_owned() });
            }
            let (stored, revision) = load(&self.store, now).await?;
            let mut changed = stored.clone();
            changed.absorb(&self.owed.clone().at(now));
            let done = act(&mut changed);
            changed.note(&self.limits, self.interval);
            // A refused call changes nothing, unless calls of an outage are to be added or limits are new.
            if changed == stored || self.store.store(encode(&changed), revision).await?.is_some() {
                (self.known, self.owed) = (changed, Spending::new(now));
                return Ok(done);
            }
            tokio::time::sleep(delays.next_delay()).await;
        }
    }
}

/// Reads the spending as of `now`, and its revision.
async fn load(store: &impl Store, now: EventTime) -> Result<(Spending, u64), Error> {
    let Some(StoredBudget { payload, revision }) = store.load().await? else { return Ok((Spending::new(now), 0)) };
    Ok((decode(&payload)?.at(now), revision))
}

fn encode(spending: &Spending) -> Bytes {
    serde_json::to_vec(spending).expect("a spending is plain data").into()
}

fn decode(payload: &[u8]) -> Result<Spending, Error> {
    let advice = "use that version, or delete stream KV_BUDGETS and run `topology apply`";
    decode_version(payload, VERSION, advice)
        .map_err(|detail| Error::Unreadable { what: "the budget of CoinGecko".to_owned(), detail })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const LIMITS: Limits = Limits { per_minute: 1_000, credits: Some(100) };
    const UNLIMITED: Limits = Limits { per_minute: 5, credits: None };
    const GO: Option<Verdict> = Some(Verdict::Go);
    const NOW: EventTime = EventTime(1_796_083_200_000);

    /// A bucket in memory, which may be away.
    #[derive(Debug, Default)]
    struct Memory {
        value: Mutex<Option<StoredBudget>>,
        is_away: AtomicBool,
        /// Whether writes are stored but not confirmed.
        is_silent: AtomicBool,
    }

    impl Store for &Memory {
        fn is_reachable(&self) -> bool {
            !self.is_away.load(Ordering::Relaxed)
        }

        async fn load(&self) -> Result<Option<StoredBudget>, Error> {
            // Others may come in between.
            let value = self.value.lock().unwrap().clone();
            tokio::task::yield_now().await;
            Ok(value)
        }

        async fn store(&self, payload: Bytes, revision: u64) -> Result<Option<u64>, Error> {
            let mut value = self.value.lock().unwrap();
            if value.as_ref().map_or(0, |value| value.revision) != revision {
                return Ok(None);
            }
            *value = Some(StoredBudget { payload, revision: revision + 1 });
            match self.is_silent.load(Ordering::Relaxed) {
                true => Err(Error::Unanswered { what: "a budget".to_owned() }),
                false => Ok(Some(revision + 1)),
            }
        }
    }

    async fn open(memory: &Memory) -> Ledger<&Memory> {
        Ledger::open(memory, LIMITS, NOW).await.unwrap()
    }

    async fn stored(memory: &Memory) -> u64 {
        load(&memory, NOW).await.unwrap().0.spent()
    }

    #[tokio::test]
    async fn producers_share_one_budget() {
        let memory = Memory::default();
        let (mut first, mut second) = (open(&memory).await, open(&memory).await);
        let spend = async |ledger: &mut Ledger<&Memory>| {
            let mut made = 0;
            while ledger.spend(Purpose::Backfill, NOW).await.unwrap() == GO {
                made += 1;
            }
            made
        };
        let (of_first, of_second) = tokio::join!(spend(&mut first), spend(&mut second));
        assert_eq!(of_first + of_second, 100);
        assert_eq!(stored(&memory).await, 100);
    }

    #[tokio::test]
    async fn an_outage_spends_no_credit() {
        let memory = Memory::default();
        let mut ledger = open(&memory).await;
        assert_eq!(ledger.spend(Purpose::Poll, NOW).await.unwrap(), GO);
        memory.is_away.store(true, Ordering::Relaxed);
        for purpose in [Purpose::Poll, Purpose::Fill, Purpose::Backfill] {
            assert_eq!(ledger.spend(purpose, NOW).await.unwrap(), None);
        }
        assert!(ledger.record(NOW).await.is_err());
        memory.is_away.store(false, Ordering::Relaxed);
        assert_eq!((stored(&memory).await, ledger.spending(NOW).spent()), (1, 1));
        assert_eq!(ledger.spend(Purpose::Poll, NOW).await.unwrap(), GO);
        assert_eq!((stored(&memory).await, ledger.spending(NOW).spent()), (2, 2));
    }

    /// The minute is kept by the last known calls.
    #[tokio::test]
    async fn calls_without_credits_go_on_in_an_outage() {
        let memory = Memory::default();
        let mut ledger = Ledger::open(&memory, UNLIMITED, NOW).await.unwrap();
        assert_eq!(ledger.spend(Purpose::Poll, NOW).await.unwrap(), GO);
        memory.is_away.store(true, Ordering::Relaxed);
        for _ in 1..5 {
            assert_eq!(ledger.spend(Purpose::Poll, NOW).await.unwrap(), GO);
        }
        assert!(matches!(ledger.spend(Purpose::Poll, NOW).await.unwrap(), Some(Verdict::Minute(_))));
        assert_eq!((stored(&memory).await, ledger.spending(NOW).spent()), (1, 5));
        memory.is_away.store(false, Ordering::Relaxed);
        let later = NOW + Span::minutes(2);
        assert_eq!(ledger.spend(Purpose::Poll, later).await.unwrap(), GO);
        assert_eq!((stored(&memory).await, ledger.spending(later).spent()), (6, 6));
    }

    #[tokio::test]
    async fn a_write_without_an_answer_counts_once_too_often_at_most() {
        let memory = Memory::default();
        let mut ledger = open(&memory).await;
        memory.is_silent.store(true, Ordering::Relaxed);
        assert_eq!(ledger.spend(Purpose::Poll, NOW).await.unwrap(), None);
        memory.is_silent.store(false, Ordering::Relaxed);
        assert_eq!(ledger.spend(Purpose::Poll, NOW).await.unwrap(), GO);
        assert_eq!(stored(&memory).await, 2);
    }

    #[tokio::test]
    async fn some_calls_are_recorded_beyond_the_limits() {
        let memory = Memory::default();
        let mut ledger = open(&memory).await;
        ledger.set_spent(100, NOW).await.unwrap();
        assert!(matches!(ledger.spend(Purpose::Poll, NOW).await.unwrap(), Some(Verdict::Month(_))));
        ledger.record(NOW).await.unwrap();
        assert_eq!(stored(&memory).await, 101);
    }

    #[tokio::test]
    async fn what_the_source_or_a_person_tells_is_stored() {
        let memory = Memory::default();
        let mut ledger = open(&memory).await;
        ledger.told(Limits { credits: Some(50), ..LIMITS }, Some(40), NOW).await.unwrap();
        assert_eq!((stored(&memory).await, ledger.limits().credits), (40, Some(50)));
        ledger.told(LIMITS, Some(7), NOW).await.unwrap();
        assert_eq!(stored(&memory).await, 40, "never lower");
        ledger.set_spent(3, NOW).await.unwrap();
        assert_eq!(stored(&memory).await, 3);
    }

    #[tokio::test]
    async fn limit_and_interval_are_stored_for_readers() {
        let memory = Memory::default();
        let mut ledger = open(&memory).await;
        let interval = ledger.interval(NOW, 1, Span::MINUTE);
        ledger.spend(Purpose::Poll, NOW).await.unwrap();
        let stored = memory.value.lock().unwrap().clone().unwrap();
        let known: budgets::KnownBudget = serde_json::from_slice(&stored.payload).unwrap();
        let expected = budgets::KnownBudget {
            month: "2026-12".to_owned(),
            spent: 1,
            credits: LIMITS.credits,
            interval_ms: Some(interval.ms()),
        };
        assert_eq!(known, expected);
    }

    #[tokio::test]
    async fn a_value_of_another_version_is_refused_with_advice() {
        let memory = Memory::default();
        let spend = async |json: &'static str| {
            *memory.value.lock().unwrap() = Some(StoredBudget { payload: json.into(), revision: 1 });
            Ledger::open(&memory, LIMITS, NOW).await.unwrap_err().to_string()
        };
        let said = spend(r#"{"version":7}"#).await;
        assert!(said.contains("another version of candlewire") && said.contains("topology apply"), "{said}");
        assert!(spend("nonsense").await.contains("cannot read the budget of CoinGecko"));
    }
}
