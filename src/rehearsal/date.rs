//! INTERNALDATE.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// When a message came, as APPEND told it: an instant and the offset it was written in.
///
/// It displays as IMAP writes it, `" 1-Feb-2021 08:09:10 +0100"` without the quotes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InternalDate {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix_seconds: i64,
    /// Seconds east of UTC.
    pub offset_seconds: i32,
}

impl InternalDate {
    /// Reads a date-time without its quotes (RFC 9051 section 9); `None` where there is no such day.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 26)?;
        let bytes = text.as_bytes();
        let marks = [(2, b'-'), (6, b'-'), (11, b' '), (14, b':'), (17, b':'), (20, b' ')];
        if marks.iter().any(|(at, mark)| bytes[*at] != *mark) {
            return None;
        }
        let number = |range: std::ops::Range<usize>| {
            let digits = text.get(range)?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i16>().ok())?
        };
        let small = |range| i8::try_from(number(range)?).ok();
        let day = if bytes[0] == b' ' { small(1..2)? } else { small(0..2)? };
        let name = text.get(3..6)?;
        let month = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
        let date = Date::new(number(7..11)?, i8::try_from(month + 1).ok()?, day).ok()?;
        let (hour, minute, second) = (small(12..14)?, small(15..17)?, small(18..20)?);
        let time = jiff::civil::Time::new(hour, minute, second, 0).ok()?;
        let (hours, minutes) = (i32::from(small(22..24)?), i32::from(small(24..26)?));
        if minutes > 59 {
            return None;
        }
        let offset_seconds = match bytes[21] {
            b'+' => hours * 3600 + minutes * 60,
            b'-' => -(hours * 3600 + minutes * 60),
            _ => return None,
        };
        let offset = Offset::from_seconds(offset_seconds).ok()?;
        let instant = offset.to_timestamp(DateTime::from_parts(date, time)).ok()?;
        Some(Self { unix_seconds: instant.as_second(), offset_seconds })
    }
}

impl fmt::Display for InternalDate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = Offset::from_seconds(self.offset_seconds).unwrap_or(Offset::UTC);
        let instant = Timestamp::from_second(self.unix_seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        let local = offset.to_datetime(instant);
        let month = usize::try_from(local.month()).unwrap_or(1);
        let minutes = offset.seconds() / 60;
        write!(
            formatter,
            "{:2}-{}-{:04} {:02}:{:02}:{:02} {}{:02}{:02}",
            local.day(),
            MONTHS[month.clamp(1, 12) - 1],
            local.year().max(0),
            local.hour(),
            local.minute(),
            local.second(),
            if minutes < 0 { '-' } else { '+' },
            minutes.abs() / 60,
            minutes.abs() % 60,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_it_was_read() {
        for text in [
            " 1-Feb-2021 08:09:10 +0100",
            "17-Jul-1996 02:44:25 -0730",
            "31-Dec-1969 23:59:59 +0000",
            "29-Feb-2040 00:00:00 +1400",
        ] {
            assert_eq!(InternalDate::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        let date = InternalDate::parse(b" 1-jan-1970 01:00:00 +0100").unwrap();
        assert_eq!(date, InternalDate { unix_seconds: 0, offset_seconds: 3600 });
    }

    #[test]
    fn a_day_that_never_was_is_refused() {
        for text in [
            "29-Feb-2023 00:00:00 +0000",
            "00-Jan-2000 00:00:00 +0000",
            " 1-Foo-2000 00:00:00 +0000",
            " 1-Jan-2000 24:00:00 +0000",
            " 1-Jan-2000 00:00:00 +0060",
            " 1-Jan-2000 00:00:00",
            " 1-Jän-2000 00:00:00 +000",
        ] {
            assert_eq!(InternalDate::parse(text.as_bytes()), None, "{text}");
        }
    }
}
