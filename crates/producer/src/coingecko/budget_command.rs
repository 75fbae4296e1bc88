//! The command `budget`: credits that are spent and left.

use std::time::SystemTime;

use bus::stream::BUDGETS_STREAM;
use bus::topology::stream_info;
use bus::{Connection, NatsArgs};
use market::EventTime;
use service::{Code, WithCode};

use super::args::BudgetArgs;
use super::budget::{Limits, Purpose, Spending};
use super::client::Client;
use super::config::{Api, requests};
use super::ledger::{Account, Ledger};
use super::plan::ApiPlan;
use super::{limits_of_key, words};
use crate::clock::now_ms;

/// Prints the credits of the account that are spent and left, and how long they last.
///
/// # Errors
/// Bad flags, or NATS does not answer.
pub async fn budget(args: &BudgetArgs, nats: &NatsArgs) -> anyhow::Result<()> {
    let api = args.api.to_api(&args.limits).exit_code(Code::BadConfig)?;
    let connection = Connection::open(nats, Some("producer")).await?;
    let now = EventTime(now_ms(SystemTime::now()));
    let mut ledger = open(&connection, &api, now).await?;
    if let Some(spent) = args.spent {
        ledger.set_spent(spent, now).await?;
    }
    let text = describe(&api, &ledger.spending(now), ledger.limits(), args.coins.len(), now);
    Ok(service::output::print_line(text)?)
}

/// Opens the budget of an account, with the limits that CoinGecko tells of a paid key.
///
/// # Errors
/// Bad flags, NATS does not answer, or its streams lack the bucket of budgets.
pub(super) async fn open<'a>(
    connection: &'a Connection,
    api: &Api,
    now: EventTime,
) -> anyhow::Result<Ledger<Account<'a>>> {
    stream_info(connection, BUDGETS_STREAM).await?;
    let client = Client::new(api).exit_code(Code::BadConfig)?;
    let account = Account { connection, name: api.account() };
    let mut ledger = Ledger::open(account, api.limits(), now).await?;
    if api.plan == ApiPlan::Pro {
        limits_of_key::ask(&mut ledger, &client, api, now).await?;
    }
    Ok(ledger)
}

fn describe(api: &Api, spending: &Spending, limits: &Limits, coins: usize, now: EventTime) -> String {
    let (month, spent, filled) = (spending.month(), words::count(spending.spent()), words::count(spending.filled()));
    let least = api.plan.update();
    let interval = spending.interval(limits, now, requests(coins), least);
    let of_coins = if coins > 1 { format!(" of {coins} coins") } else { String::new() };
    let until = spending.month().end();
    let credits = match (limits.credits, spending.left(limits)) {
        (Some(credits), Some(left)) => format!(
            "{spent} of {} credits spent in {month}, {filled} of them to fill; {} left until {until}",
            words::count(credits),
            words::count(left)
        ),
        _ => format!("{spent} calls in {month}, {filled} of them to fill; no limit a month"),
    };
    let pace = match spending.left_for(limits, Purpose::Poll) {
        Some(0) => format!("the credits for prices are spent: no poll until {until}"),
        None => format!("a poll{of_coins} every {}", words::duration(interval)),
        Some(_) if interval >= until - now => {
            format!("the credits for prices are too few for a poll{of_coins} before {until}")
        }
        Some(_) => format!(
            "a poll{of_coins} every {}, so that they last until the end of the month; {} are kept to fill",
            words::duration(interval),
            words::count(limits.reserve().saturating_sub(spending.filled()))
        ),
    };
    let minute = match limits.per_minute {
        u32::MAX => format!("{} calls in the last minute", spending.last_minute()),
        most => format!("{} calls in the last minute, {most} at most", spending.last_minute()),
    };
    format!("account {}\n{credits}\n{pace}\n{minute}", api.account())
}

#[cfg(test)]
mod tests {
    use market::Span;

    use super::*;

    fn said(plan: ApiPlan, spent: u64, coins: usize) -> Vec<String> {
        let key = (plan != ApiPlan::Keyless).then(|| "CG-SuperSecretKey".parse().unwrap());
        let base_url = plan.url().to_owned();
        let api = Api { base_url, plan, key, credits: None, calls_per_minute: None };
        let now = EventTime(1_796_083_200_000 + 15 * Span::DAY.ms());
        let mut spending = Spending::new(now);
        spending.replace(spent);
        spending.record(Purpose::Fill, now);
        describe(&api, &spending, &api.limits(), coins, now).lines().map(str::to_owned).collect()
    }

    #[test]
    fn it_says_how_long_the_credits_last() {
        let lines = said(ApiPlan::Demo, 811, 3);
        assert!(lines[0].starts_with("account demo-") && !lines[0].contains("Secret"), "{lines:?}");
        let expected = [
            "812 of 10,000 credits spent in 2026-12, 1 of them to fill; 9,188 left until 2027-01-01T00:00:00Z",
            "a poll of 3 coins every 2m 48s, so that they last until the end of the month; 999 are kept to fill",
            "1 calls in the last minute, 30 at most",
        ];
        assert_eq!(lines[1..], expected);
    }

    #[test]
    fn it_says_when_they_are_spent_or_not_limited() {
        assert_eq!(
            said(ApiPlan::Demo, 9_500, 1)[2],
            "the credits for prices are spent: no poll until 2027-01-01T00:00:00Z"
        );
        let keyless = said(ApiPlan::Keyless, 3, 1);
        assert_eq!(
            keyless[..3],
            ["account keyless", "4 calls in 2026-12, 1 of them to fill; no limit a month", "a poll every 1m"]
        );
    }
}
