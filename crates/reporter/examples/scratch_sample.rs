// TEMPORARY: makes realistic predictions for looking at pictures.
use std::io::Read as _;
use store::predictions::{Prediction, Fold, write};
use market::{EventTime, interval::Band};
use market::evaluation::{Outcome, evaluate};
use store::model_card::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (csv, every, kind, out) = (&a[1], a[2].parse::<usize>().unwrap(), a[3].as_str(), &a[4]);
    let text = std::fs::read_to_string(csv).unwrap();
    let rows: Vec<(i64, f64)> = text.lines().skip(1).map(|l| { let f: Vec<&str> = l.split(',').collect(); (f[0].parse().unwrap(), f[4].parse().unwrap()) }).collect();
    let step = rows[1].0 - rows[0].0;
    let c: Vec<(i64, f64)> = rows.chunks(every).map(|c| { let l = c.last().unwrap(); (l.0 + step, l.1) }).collect();
    let n = c.len();
    let mut seed = 42u64;
    let mut rnd = move || { seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17; (seed >> 11) as f64 / (1u64 << 53) as f64 - 0.5 };
    let mut v = 0.003f64;
    let first = n / 6; let hold = n * 8 / 10;
    let mut out_rows = vec![];
    for i in 1..n {
        let (last, actual) = (c[i - 1].1, c[i].1);
        let r = (actual / last).ln();
        let known_vol = v;
        v = (0.94 * v * v + 0.06 * r * r).sqrt();
        if i < first { continue; }
        let is_test = rnd() < -0.3;
        let (prediction, fold) = match kind {
            "returns" => (last * (0.06 * r + known_vol * 0.15 * rnd()).exp(), if i >= hold { Fold::Holdout } else { Fold::Validation(1 + (i - first) * 5 / (hold - first)) }),
            "calendar" => (if i >= hold { c[hold - 1].1 } else { c[first + ((i - first) * 5 / (hold - first)) * (hold - first) / 5].1 * (1.0 + 0.01 * rnd()) }, if i >= hold { Fold::Holdout } else { Fold::Validation(1 + (i - first) * 5 / (hold - first)) }),
            _ => { if !is_test { continue; } (actual * (known_vol * 3.0 * rnd()).exp(), Fold::Test) }
        };
        let w = if kind == "returns" { 1.7 * known_vol } else if kind == "random" { 4.0 * known_vol } else { 0.35 };
        let b = Some(Band { lower: prediction * (-w).exp(), upper: prediction * w.exp() });
        out_rows.push(Prediction { timestamp: EventTime(c[i].0), close: actual, prediction, baseline: last, bands: [b; 4], fold });
    }
    let unseen: Vec<_> = out_rows.iter().filter(|r| matches!(r.fold, Fold::Holdout | Fold::Test)).collect();
    let o: Vec<_> = unseen.iter().map(|r| Outcome { last: r.baseline, actual: r.close, predicted: r.prediction }).collect();
    let scores = evaluate(&o).unwrap();
    let cov = unseen.iter().filter(|r| r.bands[2].unwrap().contains(r.close)).count() as f64 / unseen.len() as f64;
    let interval = match (kind, step * every as i64 / 60000) { ("calendar" | "random", _) => "tick".to_owned(), (_, 60) => "1h".into(), (_, m) => format!("{m}m") };
    let part = PartScores { scores, coverage: [("90".to_owned(), cov)].into() };
    let card = ModelCard { model: "4be1c1f02b6f2a07".into(), coin: "bitcoin".into(), quote: "usdt".into(),
        recipe: if kind == "returns" { market::dataset::Recipe::Returns } else { market::dataset::Recipe::Calendar }, interval, horizon: 1,
        split: if kind == "random" { "random: leaks the future".into() } else { "time".into() }, threads: 2, seed: 42,
        parameters: Parameters { rounds: 80, rounds_max: 300, depth: 3, learning_rate: 0.05, leaf_rows_min: 20, objective: "x".into(), tree_method: "hist".into(), holdout: 0.2, origin_ms: None },
        features: vec![], sequence: None, time: TimeRange { first_ms: 0, last_ms: 0, holdout_from_ms: c[hold].0 },
        rows: Rows { ticks: rows.len(), candles: n, train: hold, holdout: unseen.len(), purged: 1, skipped: Default::default() },
        versions: Versions { candlewire: "0.1.0".into(), xgboost: "3.4.1".into(), card: 1 }, holdout: part, folds: vec![],
        verdict: "The model beats the last price on the holdout, by less than one would wish; it is a candidate.".into(), duration_ms: 1 };
    std::fs::create_dir_all(out).unwrap();
    write(std::fs::File::create(format!("{out}/predictions.parquet")).unwrap(), &out_rows, &[]).unwrap();
    std::fs::write(format!("{out}/model-card.json"), card.to_json()).unwrap();
    let _ = std::io::empty().read(&mut []);
    eprintln!("{} rows {}", out_rows.len(), unseen.len());
}
