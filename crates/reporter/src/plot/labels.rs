//! Labels that depend on the predicted quantity.

use store::model_card::ModelCard;

/// Describes the prediction, such as `next 15m close` or `range of the next 1h`.
pub(super) fn predicted(card: &ModelCard) -> String {
    match (card.recipe.predicts_prices(), card.interval.as_str(), card.horizon) {
        (_, "tick", _) => "close of each tick".to_owned(),
        (true, interval, 0 | 1) => format!("next {interval} close"),
        (true, interval, horizon) => format!("{interval} close, {horizon} candles ahead"),
        (false, interval, 0 | 1) => format!("range of the next {interval}"),
        (false, interval, horizon) => format!("range of the next {horizon} candles of {interval}"),
    }
}

/// Describes the value axis with its unit: `price (usdt)` or `range, log(high/low)`.
pub(super) fn axis(card: &ModelCard) -> String {
    if card.recipe.predicts_prices() { format!("price ({})", card.quote) } else { "range, log(high/low)".to_owned() }
}

/// Returns the unit of a figure after a space: ` usdt`, or nothing for logs.
pub(super) fn unit(card: &ModelCard) -> String {
    if card.recipe.predicts_prices() { format!(" {}", card.quote) } else { String::new() }
}

/// Describes the naive baseline.
pub(super) fn baseline(card: &ModelCard) -> String {
    card.baseline.words(card.recipe)
}

/// Describes the naive baseline where there is little room.
pub(super) fn short_baseline(card: &ModelCard) -> &'static str {
    card.baseline.short_words(card.recipe)
}

/// Capitalizes the first letter.
pub(super) fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Names the instrument: `bitcoin/usdt`.
pub(super) fn instrument(card: &ModelCard) -> String {
    instrument_of(&card.coin, &card.quote)
}

/// Names an instrument by coin and quote currency.
pub(super) fn instrument_of(coin: &str, quote: &str) -> String {
    format!("{coin}/{quote}")
}

/// Describes the prediction with its recipe: `next 15m close · recipe returns`.
pub(super) fn subject(card: &ModelCard) -> String {
    format!("{} · recipe {}", predicted(card), card.recipe)
}

/// Whether the rows were held out at random, so that scores say nothing about the future.
pub(super) fn is_random(card: &ModelCard) -> bool {
    card.split.starts_with("random")
}
