//! Quality of the data: how much of a span of time the candles know, and where there is none.

use market::{Candle, EventTime, Span};
use store::model_card::ModelCard;

/// Quality of the data that a model learned from, as its candles of one window tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quality {
    /// Length of the candles.
    pub(super) window: Span,
    /// Number of candles.
    pub(super) candles: usize,
    /// Share of the time from the first candle to the end of the last that is known, 0 to 1.
    pub(super) coverage: f64,
    /// Spans without a candle, oldest first.
    pub(super) holes: Vec<Hole>,
}

/// A span without a candle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(super) from: EventTime,
    pub(super) to: EventTime,
}

impl Hole {
    pub(super) fn length(&self) -> Span {
        self.to - self.from
    }
}

impl Quality {
    /// Returns the quality of tumbling candles, ordered by time, within the data of a card; `None` without a candle there.
    pub(crate) fn of(candles: &[Candle], card: &ModelCard) -> Option<Self> {
        let is_of_model = |candle: &&Candle| {
            *candle.coin == *card.coin
                && *candle.quote == *card.quote
                && candle.end.ms() > card.time.first_ms
                && candle.start.ms() <= card.time.last_ms
        };
        let candles: Vec<&Candle> = candles.iter().filter(is_of_model).collect();
        let (first, last) = (candles.first()?, candles.last()?);
        let known: f64 = candles.iter().map(|candle| candle.coverage * candle.window.size().ms() as f64).sum();
        let hole = |pair: &[&Candle]| Hole { from: pair[0].end, to: pair[1].start };
        let holes = candles.windows(2).map(hole).filter(|hole| hole.from < hole.to).collect();
        Some(Self {
            window: first.window.size(),
            candles: candles.len(),
            coverage: known / (last.end - first.start).ms() as f64,
            holes,
        })
    }

    /// Returns the sum of all spans without a candle.
    pub(super) fn missing(&self) -> Span {
        Span(self.holes.iter().map(|hole| hole.length().ms()).sum())
    }

    /// Returns the longest spans without a candle, oldest first.
    pub(super) fn longest(&self, count: usize) -> Vec<Hole> {
        let mut holes = self.holes.clone();
        holes.sort_by_key(|hole| std::cmp::Reverse(hole.length()));
        holes.truncate(count);
        holes.sort_by_key(|hole| hole.from);
        holes
    }
}

#[cfg(test)]
mod tests {
    use market::Window;

    use super::*;
    use crate::plot::samples::{candle, card};

    #[test]
    fn holes_and_coverage_are_those_of_the_models_data() {
        let mut card = card("time", 1);
        let hour = Span::HOUR.ms();
        (card.time.first_ms, card.time.last_ms) = (10 * hour, 20 * hour - 1);
        // Hours 9 to 20 but 13, 14 and 17; hour 12 is known to a half.
        let hours = (9..21).filter(|hour| ![13, 14, 17].contains(hour));
        let mut candles: Vec<Candle> = hours.map(|start| candle(Window::Hour, start * hour, 5.0)).collect();
        candles[3].coverage = 0.5;
        let other = Candle { coin: "dogecoin".into(), ..candle(Window::Hour, 13 * hour, 5.0) };
        candles.push(other);
        let quality = Quality::of(&candles, &card).expect("candles");
        assert_eq!((quality.candles, quality.coverage), (7, 0.65));
        let holes: Vec<_> = quality.holes.iter().map(|hole| (hole.from.ms() / hour, hole.to.ms() / hour)).collect();
        assert_eq!(holes, [(13, 15), (17, 18)]);
        assert_eq!(quality.missing(), Span(3 * hour));
        assert_eq!(quality.longest(1)[0].from.ms(), 13 * hour);
        card.coin = "tron".to_owned();
        assert_eq!(Quality::of(&candles, &card), None);
    }
}
