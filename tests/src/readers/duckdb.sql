select column_name, column_type from (describe select * from 'ticks-*.parquet');
select coin, quote, count(*) as rows, epoch_ms(min(event_ms)) as first, epoch_ms(max(event_ms)) as last,
    count(grain_ms) as grains, max(grain_ms) as grain, count(complete_ms) as completes, max(complete_ms) as complete,
    count(id) as ids, max(id) as id, count(open) as opens, max(high) as high, min(low) as low, sum(close) as close,
    avg(close) as mean, max(volume) as volume, sum(market_seq)::bigint as market_seq,
    max(quote_volume) as quote_volume, count(*) filter (filled) as filled
    from 'ticks-*.parquet' group by all order by coin;
select fold, count(*) as rows, epoch_ms(min(timestamp)) as first, epoch_ms(max(timestamp)) as last,
    sum(prediction) as prediction, avg(close) as mean, min(lower) as lower, count(lower_80) as bands_80
    from 'predictions.parquet' group by all order by fold;
