//! Features: columns of numbers, each from data up to one instant and never later.
//!
//! A row of features is made by a function that is *given* only the past, so it cannot look ahead;
//! [`crate::leakage::first_leak`] checks that for a whole table. For recipes that work on candles the past is a
//! [`crate::lookback::Lookback`], the same in training and live.

pub mod calendar;
pub mod observed;
pub mod returns;
pub mod volatility;

use market::Recipe;

/// Returns the columns of a recipe's features, in order.
pub const fn columns(recipe: Recipe) -> &'static [&'static str] {
    match recipe {
        Recipe::Calendar => &calendar::COLUMNS,
        Recipe::Returns => &returns::COLUMNS,
        Recipe::Volatility => &volatility::COLUMNS,
    }
}

/// Whether a column holds only the time. Such a column may leave the range of the training data: time always goes on.
pub fn is_of_time(column: &str) -> bool {
    let of_returns = ["hour_sin", "hour_cos", "weekday_sin", "weekday_cos"];
    let of_volatility = ["minute_of_day", "minute_of_hour", "day_of_week"];
    calendar::COLUMNS.contains(&column) || of_returns.contains(&column) || of_volatility.contains(&column)
}
