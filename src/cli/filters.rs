//! Flags that say which messages are copied in this pass, and in which order.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use mailhaul::config::Order;
use mailhaul::plan::filter::Filter;

use super::Failure;
use super::flags::size;

#[derive(Debug, Args)]
#[command(
    next_help_heading = "Messages of this pass; a later one without these flags copies the rest"
)]
pub(super) struct FilterFlags {
    /// Only messages that arrived on that day (UTC) or later: 2024-01-31, or 2024-01-31T12:00:00Z
    #[arg(long, value_name = "DATE", value_parser = instant)]
    since: Option<i64>,
    /// Only messages that arrived before that day
    #[arg(long, value_name = "DATE", value_parser = instant)]
    before: Option<i64>,
    /// Only messages of more bytes: 5MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    larger: Option<u64>,
    /// Only messages of fewer bytes
    #[arg(long, value_name = "SIZE", value_parser = size)]
    smaller: Option<u64>,
    /// Only messages that were read
    #[arg(long, conflicts_with = "unseen")]
    seen: bool,
    /// Only messages that were not read
    #[arg(long)]
    unseen: bool,
    /// Only messages that are flagged
    #[arg(long, conflicts_with = "unflagged")]
    flagged: bool,
    /// Only messages that are not flagged
    #[arg(long)]
    unflagged: bool,
    /// What to do about messages that are marked as deleted and not expunged yet
    #[arg(long, value_name = "WHAT", default_value = "copy")]
    deleted: DeletedFlag,
    /// Which messages of a mailbox come first
    #[arg(long, value_name = "WHICH", default_value = "oldest")]
    order: OrderFlag,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum DeletedFlag {
    /// They are copied as they are, with the mark
    Copy,
    /// They are left out, and counted as filtered
    Skip,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OrderFlag {
    Oldest,
    Newest,
}

impl FilterFlags {
    pub(super) fn filter(&self) -> Result<Filter, Failure> {
        let is_empty = |low: bool, flags: &str, hint: &str| {
            let text = format!("{flags} together leave nothing to copy");
            if low { Err(Failure::usage(text, hint)) } else { Ok(()) }
        };
        let dates = self.since.zip(self.before).is_some_and(|(since, before)| since >= before);
        is_empty(dates, "--since and --before", "--since must be the earlier one")?;
        let sizes = self.larger.zip(self.smaller).is_some_and(|(larger, smaller)| {
            smaller.saturating_sub(larger) < 2 // Both bounds are left out.
        });
        is_empty(sizes, "--larger and --smaller", "--larger must be the smaller size")?;
        let either = |yes: bool, no: bool| (yes || no).then_some(yes);
        Ok(Filter {
            since: self.since,
            before: self.before,
            larger: self.larger,
            smaller: self.smaller,
            seen: either(self.seen, self.unseen),
            flagged: either(self.flagged, self.unflagged),
            deleted: (self.deleted == DeletedFlag::Skip).then_some(false),
        })
    }

    pub(super) fn order(&self) -> Order {
        match self.order {
            OrderFlag::Oldest => Order::Oldest,
            OrderFlag::Newest => Order::Newest,
        }
    }
}

fn instant(text: &str) -> Result<i64, String> {
    let help = "give a day such as 2024-01-31, or an instant such as 2024-01-31T12:00:00Z";
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant.as_second());
    }
    let day: Date = text.parse().map_err(|_| help.to_owned())?;
    let begins = day.to_zoned(TimeZone::UTC).map_err(|_| help.to_owned())?;
    Ok(begins.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_in_utc() {
        assert_eq!(instant("1970-01-02"), Ok(86_400));
        assert_eq!(instant("1970-01-01T01:00:00+01:00"), Ok(0));
        for bad in ["", "yesterday", "1970-02-30", "31.01.2024"] {
            instant(bad).expect_err(bad);
        }
    }
}
