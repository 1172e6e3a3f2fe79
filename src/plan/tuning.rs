//! What measured rates say: whether more connections are worth trying, and which settings to take.

use std::time::Duration;

use serde::Serialize;

use crate::config::Compress;
use crate::fault::Side;

/// More connections that bring less than this many per cent are not worth having.
const GAIN_PERCENT_MIN: u128 = 10;

/// How fast one end was with so many connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// The end.
    pub side: Side,
    /// Connections at once.
    pub connections: usize,
    /// Messages in one window.
    pub window_messages: usize,
    /// Messages that were moved.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long that took, in microseconds.
    pub micros: u64,
    /// Whether the connections were compressed.
    pub compressed: bool,
}

impl Rate {
    /// Messages a second.
    #[must_use]
    pub fn messages_a_second(&self) -> u64 {
        a_second(self.messages, self.micros)
    }

    /// Bytes a second.
    #[must_use]
    pub fn bytes_a_second(&self) -> u64 {
        a_second(self.bytes, self.micros)
    }
}

fn a_second(count: u64, micros: u64) -> u64 {
    let rate = u128::from(count) * 1_000_000 / u128::from(micros.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// So many connections are tried one after the other.
pub fn connections(most: usize) -> impl Iterator<Item = usize> {
    let doubled = std::iter::successors(Some(1), |last: &usize| last.checked_mul(2));
    let below = doubled.take_while(move |count| *count < most);
    below.chain(std::iter::once(most.max(1)))
}

/// Whether more connections than those of the last rate are not worth trying.
#[must_use]
pub fn is_enough(rates: &[Rate]) -> bool {
    let Some((last, before)) = rates.split_last() else {
        return false;
    };
    let best = before.iter().map(Rate::messages_a_second).max();
    best.is_some_and(|best| !is_gain(best, last.messages_a_second()))
}

fn is_gain(before: u64, after: u64) -> bool {
    u128::from(after) * 100 > u128::from(before) * (100 + GAIN_PERCENT_MIN)
}

/// How much there is to copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Accounts.
    pub accounts: usize,
    /// Messages.
    pub messages: u64,
    /// Their bytes, where the sources told.
    pub bytes: Option<u64>,
    /// Whether both ends are on one host.
    pub one_host: bool,
}

/// Settings, and what they should bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// Accounts at once.
    pub accounts: usize,
    /// Connections of one account to one side.
    pub connections: usize,
    /// Connections to one host from all accounts.
    pub connections_per_host: usize,
    /// Which connections are compressed.
    pub compress: Compress,
    /// The end that is slower.
    pub slower: Side,
    /// How long copying everything should take, in seconds.
    pub seconds: u64,
}

/// Decides the settings by rates that were measured with windows of one size; none where there are
/// none. Where one end alone was measured, that one decides. No end gets more connections than `walls`
/// has for it.
#[must_use]
pub fn advice(rates: &[Rate], walls: &[(Side, usize)], load: &Load) -> Option<Advice> {
    let sides = [Side::Source, Side::Target].map(|side| best_by_count(rates, side));
    let measured = || sides.iter().filter(|side| !side.is_empty());
    let tried_most = measured().flatten().map(|rate| rate.connections).max()?;
    let most = walls.iter().map(|(_, wall)| *wall).fold(tried_most, usize::min);
    let slowest = |count: usize| {
        // At an end that was not tried with more, since these brought nothing, fewer serve as well.
        let at = |side: &Vec<Rate>| side.iter().rev().find(|r| r.connections <= count).copied();
        measured().filter_map(at).min_by_key(Rate::messages_a_second)
    };
    let best = slowest(most)?.messages_a_second();
    let mut tried: Vec<usize> = measured().flatten().map(|rate| rate.connections).collect();
    tried.sort_unstable();
    let enough = |count: &usize| {
        slowest(*count).is_some_and(|rate| !is_gain(rate.messages_a_second(), best))
    };
    let count = tried.into_iter().filter(|count| *count <= most).find(enough)?;
    let rate = slowest(count)?;
    let by_messages = seconds(load.messages, rate.messages_a_second());
    let by_bytes = load.bytes.map_or(0, |bytes| {
        let slowest = measured().filter_map(|side| {
            side.iter().rev().find(|r| r.connections <= count).map(Rate::bytes_a_second)
        });
        seconds(bytes, slowest.min().unwrap_or(0))
    });
    let compress = [Side::Source, Side::Target].map(|side| is_compression_gain(rates, side));
    Some(Advice {
        compress: Compress::of(compress),
        accounts: load.accounts.clamp(1, count),
        connections: count,
        connections_per_host: if load.one_host { count * 2 } else { count },
        slower: rate.side,
        seconds: by_messages.max(by_bytes),
    })
}

/// Whether one connection is faster when it is compressed.
fn is_compression_gain(rates: &[Rate], side: Side) -> bool {
    let best = |compressed: bool| {
        let alike = rates.iter().filter(|rate| {
            rate.side == side && rate.connections == 1 && rate.compressed == compressed
        });
        alike.map(Rate::messages_a_second).max()
    };
    best(false).zip(best(true)).is_some_and(|(without, with)| is_gain(without, with))
}

/// The rates of one end by rising connections, each no lower than with fewer ones.
fn best_by_count(rates: &[Rate], side: Side) -> Vec<Rate> {
    let mut of_side: Vec<Rate> =
        rates.iter().filter(|rate| rate.side == side && !rate.compressed).copied().collect();
    of_side.sort_by_key(|rate| rate.connections);
    let mut best: Vec<Rate> = Vec::with_capacity(of_side.len());
    for rate in of_side {
        match best.last() {
            Some(last) if last.messages_a_second() > rate.messages_a_second() => {
                best.push(Rate { connections: rate.connections, ..*last });
            }
            _ => best.push(rate),
        }
    }
    best
}

fn seconds(count: u64, rate: u64) -> u64 {
    Duration::from_secs(count.div_ceil(rate.max(1))).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(side: Side, by_count: &[(usize, u64)]) -> Vec<Rate> {
        let rate = |(connections, messages): &(usize, u64)| Rate {
            side,
            connections: *connections,
            window_messages: 50,
            messages: *messages,
            bytes: messages * 1_000,
            micros: 1_000_000,
            compressed: false,
        };
        by_count.iter().map(rate).collect()
    }

    #[test]
    fn connections_double_up_to_the_users_limit() {
        assert_eq!(connections(16).collect::<Vec<_>>(), [1, 2, 4, 8, 16]);
        assert_eq!(connections(10).collect::<Vec<_>>(), [1, 2, 4, 8, 10]);
        assert_eq!(connections(1).collect::<Vec<_>>(), [1]);
        assert_eq!(connections(0).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn more_are_tried_as_long_as_they_bring_something() {
        assert!(!is_enough(&[]));
        assert!(!is_enough(&rates(Side::Source, &[(1, 100)])));
        assert!(!is_enough(&rates(Side::Source, &[(1, 100), (2, 180)])));
        assert!(is_enough(&rates(Side::Source, &[(1, 100), (2, 105)])));
        assert!(is_enough(&rates(Side::Source, &[(1, 100), (2, 60)])));
    }

    #[test]
    fn the_slower_end_decides_and_no_more_connections_are_taken_than_it_needs() {
        let mut all = rates(Side::Source, &[(1, 1_000), (2, 1_900), (4, 1_950)]);
        all.extend(rates(Side::Target, &[(1, 100), (2, 200), (4, 390), (8, 400)]));
        let load = Load { accounts: 50, messages: 39_000, bytes: Some(1), one_host: false };
        let advice = advice(&all, &[], &load).expect("measured");
        assert_eq!((advice.connections, advice.connections_per_host, advice.accounts), (4, 4, 4));
        assert_eq!((advice.slower, advice.seconds), (Side::Target, 100));
    }

    #[test]
    fn no_end_gets_more_connections_than_it_took() {
        let mut all = rates(Side::Source, &[(1, 5)]);
        all.extend(rates(Side::Target, &[(1, 4), (2, 8), (4, 16)]));
        let load = Load { accounts: 1, messages: 10, bytes: None, one_host: true };
        let advice = advice(&all, &[(Side::Source, 1)], &load).expect("measured");
        assert_eq!((advice.connections, advice.connections_per_host, advice.accounts), (1, 2, 1));
    }

    #[test]
    fn an_end_that_is_fast_with_few_connections_does_not_keep_them_from_the_other() {
        let mut all = rates(Side::Source, &[(1, 1_000), (2, 1_010)]);
        all.extend(rates(Side::Target, &[(1, 100), (2, 200), (4, 400), (8, 800)]));
        let load = Load { accounts: 1, messages: 10, bytes: None, one_host: false };
        assert_eq!(advice(&all, &[], &load).map(|advice| advice.connections), Some(8));
    }

    #[test]
    fn large_messages_take_the_time_that_their_bytes_take() {
        let all = rates(Side::Source, &[(1, 100)]);
        let load = Load { accounts: 1, messages: 1, bytes: Some(100_000_000), one_host: false };
        assert_eq!(advice(&all, &[], &load).map(|advice| advice.seconds), Some(1_000));
        assert_eq!(advice(&[], &[], &load), None);
    }

    #[test]
    fn an_end_is_compressed_where_one_connection_is_faster_then() {
        let load = Load { accounts: 1, messages: 10, bytes: None, one_host: false };
        let all = |source: u64, target: u64| {
            let mut all = rates(Side::Source, &[(1, 100), (2, 300)]);
            all.extend(rates(Side::Target, &[(1, 100)]));
            for (side, messages) in [(Side::Source, source), (Side::Target, target)] {
                let compressed = rates(side, &[(1, messages)]).into_iter();
                all.extend(compressed.map(|rate| Rate { compressed: true, ..rate }));
            }
            advice(&all, &[], &load).expect("measured")
        };
        assert_eq!(all(105, 60).compress, Compress::Never);
        assert_eq!(all(150, 105).compress, Compress::Source);
        assert_eq!(all(90, 400).compress, Compress::Target);
        assert_eq!(all(500, 500).compress, Compress::Both);
        // It does not count as what so many connections bring without.
        assert_eq!(all(500, 500).seconds, all(0, 0).seconds);
    }

    #[test]
    fn fewer_connections_are_taken_where_more_are_slower() {
        let all = rates(Side::Target, &[(1, 100), (2, 50)]);
        let load = Load { accounts: 9, messages: 100, bytes: None, one_host: false };
        let advice = advice(&all, &[], &load).expect("measured");
        assert_eq!((advice.connections, advice.seconds), (1, 1));
    }
}
