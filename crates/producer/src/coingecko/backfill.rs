//! The command `backfill`: past prices into FEED, before the first price of a coin or since its last one.
//!
//! FEED grows forward only, so prices between those that it has are not fetched.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use bus::batch::MESSAGES_MAX;
use bus::publish::FeedMessage;
use bus::stream::{BUDGETS_STREAM, Stream};
use bus::topology::{require, stream_info};
use bus::{Connection, NatsArgs, codec, lease};
use market::heartbeat::HeartbeatLine;
use market::{EventTime, Instrument, Span};
use rand::RngExt;
use service::output::print_line;
use service::{Code, Shutdown, WithCode};

use super::args::BackfillArgs;
use super::budget::{Purpose, Verdict};
use super::buffer::{BoundedBuffer, BufferedRecord};
use super::chart::{Chart, join};
use super::chart_request::{self, ChartRequest};
use super::client::Client;
use super::config::SOURCE;
use super::fetch::coded;
use super::hole::Hole;
use super::ledger::{Account, Ledger, UNRECORDED_RETRY};
use super::poll::group;
use super::{backoff, budget_command, words};
use crate::clock::now_ms;
use crate::feed::Feed;
use crate::message::Origin;

/// Age of the last price from which there is something to fetch: charts have a point every 5 minutes, of which the last
/// one is left out.
const AGE_MIN: Span = Span::minutes(10);
/// Cause of the gap before prices that CoinGecko does not have.
const STOPPED: &str = "producer-stopped";
/// Refusals of one request after which the command ends.
const REFUSALS_MAX: u32 = 3;

/// Work for one instrument.
struct Plan {
    instrument: Instrument,
    hole: Hole,
    earliest: EventTime,
    requests: Vec<ChartRequest>,
}

/// Fetches past prices into FEED. With `--dry-run` it prints requests and credits only.
///
/// # Errors
/// Bad flags, too few credits, a producer that runs, or a failure of NATS or CoinGecko.
pub async fn backfill(args: &BackfillArgs, nats: &NatsArgs, shutdown: &Shutdown) -> anyhow::Result<()> {
    let (api, instruments) = args.to_request().exit_code(Code::BadConfig)?;
    let client = Client::new(&api).exit_code(Code::BadConfig)?;
    let connection = Connection::open(nats, Some("producer")).await?;
    require(&connection, Stream::Feed).await?;
    stream_info(&connection, BUDGETS_STREAM).await?;
    let now = wall_time();
    let mut plans = Vec::new();
    for instrument in instruments {
        plans.extend(plan(&connection, instrument, args.days, now).await?);
    }
    let calls: usize = plans.iter().map(|plan| plan.requests.len()).sum();
    let mut ledger = budget_command::open(&connection, &api, now).await?;
    let left = ledger.spending(now).left_for(ledger.limits(), Purpose::Backfill);
    print_line(format_args!("{calls} requests; {}", credits(calls as u64, left)))?;
    if args.dry_run || calls == 0 {
        return Ok(());
    }
    if left.is_some_and(|left| left < calls as u64) {
        bail!(
            "the credits of the month are too few: ask for fewer coins or days, or set COINGECKO_CREDITS if the plan has more"
        );
    }
    refuse_beside_a_producer(&connection).await?;
    let work = async {
        for plan in plans {
            fetch(&connection, &client, &mut ledger, plan).await?;
        }
        Ok(())
    };
    tokio::select! {
        done = work => done,
        () = shutdown.requested() => bail!("stopped: run it again to go on"),
    }
}

fn credits(calls: u64, left: Option<u64>) -> String {
    match left {
        Some(left) => format!("{} of the {} credits that are left this month", words::count(calls), words::count(left)),
        None => "the plan has no limit of credits".to_owned(),
    }
}

/// Plans the requests for one instrument, and prints them.
async fn plan(
    connection: &Connection,
    instrument: Instrument,
    days: u32,
    now: EventTime,
) -> anyhow::Result<Option<Plan>> {
    let earliest = now.saturating_sub(Span(i64::from(days) * Span::DAY.ms()));
    let last = connection.last_tick(&instrument).await?;
    let Some(last) = last else {
        let requests = chart_request::history(i64::from(days), now);
        print_line(format_args!("{instrument}: {days} days up to now, {} requests", requests.len()))?;
        let hole = Hole { since: None, from: None, to: now, cause: None };
        return Ok(Some(Plan { instrument, hole, earliest, requests }));
    };
    let end = last.grain.map_or(last.event, |grain| last.event + grain);
    if now - end < AGE_MIN {
        print_line(format_args!("{instrument}: FEED has prices up to {end}, nothing to fetch"))?;
        return Ok(None);
    }
    let requests = chart_request::since(end.max(earliest), now, Span(i64::from(days) * Span::DAY.ms()));
    print_line(format_args!("{instrument}: from {end} up to now, {} requests", requests.len()))?;
    let hole = Hole { since: Some(last.event), from: Some(end), to: now, cause: Some(STOPPED) };
    Ok(Some(Plan { instrument, hole, earliest, requests }))
}

/// A running producer publishes newer prices at the same time, after which older ones are late.
async fn refuse_beside_a_producer(connection: &Connection) -> anyhow::Result<()> {
    if let Some(producer) = lease::living(connection, &group()).await?.first() {
        bail!("a producer runs at {}, and fetches history and holes itself: stop it first", producer.place);
    }
    Ok(())
}

/// Fetches and publishes the prices of one instrument.
async fn fetch(
    connection: &Connection,
    client: &Client,
    ledger: &mut Ledger<Account<'_>>,
    plan: Plan,
) -> anyhow::Result<()> {
    let Plan { instrument, hole, earliest, requests } = plan;
    let mut charts = Vec::new();
    for request in requests {
        charts.push(ask(client, ledger, &instrument, request).await?);
    }
    let chart = join(&charts);
    // There is no live price behind the chart: it ends with its last point.
    let to = chart.current.map_or(hole.to, |current| current.min(hole.to));
    let mut filled = Hole { to, ..hole }.fill(&instrument, &chart, earliest, now_ms(SystemTime::now()));
    if matches!(filled.records.last(), Some(BufferedRecord::Gap(_))) {
        filled.records.pop();
        filled.gaps -= 1;
    }
    let (ticks, gaps) = (filled.ticks, filled.gaps);
    for messages in messages(&instrument, filled.records).chunks(MESSAGES_MAX) {
        connection.publish(messages).await?;
    }
    let left_out = chart.left_out.total() + filled.refused.values().sum::<u64>();
    let left_out = if left_out > 0 { format!(", {} left out", words::count(left_out)) } else { String::new() };
    Ok(print_line(format_args!("{instrument}: {} prices and {gaps} gaps published{left_out}", words::count(ticks)))?)
}

/// Packs records, and ends with a flush, so that tables show the last ones too.
fn messages(instrument: &Instrument, records: Vec<BufferedRecord>) -> Vec<FeedMessage> {
    let last = records.iter().rev().find_map(|record| match record {
        BufferedRecord::Tick(tick) => Some(tick.event_ms),
        BufferedRecord::Gap(_) | BufferedRecord::Heartbeat(_) => None,
    });
    let mut buffer = BoundedBuffer::new(std::slice::from_ref(instrument), usize::MAX);
    records.into_iter().for_each(|record| buffer.push(0, record));
    let mut messages: Vec<FeedMessage> = std::iter::from_fn(|| buffer.take(0)).collect();
    if let (Some(event_ms), Some(after)) = (last, messages.last()) {
        let line = HeartbeatLine {
            coin: instrument.coin().into(),
            quote: instrument.quote().into(),
            event_ms,
            complete_ms: None,
            ingest_ms: now_ms(SystemTime::now()),
            flush: true,
        };
        let origin = Origin { source: SOURCE, instrument };
        let flush = origin.flush(EventTime(event_ms), &after.id, codec::single(&line));
        messages.push(flush);
    }
    messages
}

/// Sends one request, when minute and month allow it.
async fn ask(
    client: &Client,
    ledger: &mut Ledger<Account<'_>>,
    instrument: &Instrument,
    request: ChartRequest,
) -> anyhow::Result<Chart> {
    let mut refusals = 0;
    loop {
        match ledger.spend(Purpose::Backfill, wall_time()).await? {
            Some(Verdict::Go) => {}
            Some(Verdict::Minute(wait)) => {
                tokio::time::sleep(Duration::from_millis(wait.ms().max(0).unsigned_abs())).await;
                continue;
            }
            None => {
                tokio::time::sleep(UNRECORDED_RETRY).await;
                continue;
            }
            Some(Verdict::Month(until)) => bail!("the credits of the month are spent until {until}"),
        }
        let refusal = match client.chart(instrument, request).await {
            Ok(chart) => return Ok(chart),
            Err(refusal) => refusal,
        };
        refusals += 1;
        let pause = backoff::pause(&refusal, refusals, rand::rng().random());
        match pause.filter(|_| refusals < REFUSALS_MAX && refusal.class.is_passing()) {
            Some(pause) => {
                tracing::warn!(%instrument, pause_s = pause.as_secs(), "{refusal}");
                tokio::time::sleep(pause).await;
            }
            None => return Err(coded(refusal)).with_context(|| format!("past prices of {instrument}")),
        }
    }
}

fn wall_time() -> EventTime {
    EventTime(now_ms(SystemTime::now()))
}
