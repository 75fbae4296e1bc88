//! The producer against a replica of CoinGecko: what comes into FEED, and what happens when either side fails.
