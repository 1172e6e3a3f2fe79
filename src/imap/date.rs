//! INTERNALDATE as IMAP writes it (`date-time`, RFC 9051 section 9): `17-Jul-1996 02:44:25 -0700`.

use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::mail::InternalDate;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads a date; none where it names no instant.
#[must_use]
pub fn parse(text: &str) -> Option<InternalDate> {
    let mut words = text.split_ascii_whitespace();
    let (date, time, zone) = (words.next()?, words.next()?, words.next()?);
    let mut date = date.split('-');
    let (day, month, year) = (date.next()?, date.next()?, date.next()?);
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? + 1;
    let mut time = time.split(':');
    let (hour, minute, second) = (time.next()?, time.next()?, time.next()?);
    let second: i8 = second.parse().ok()?;
    let civil = DateTime::new(
        year.parse().ok()?,
        i8::try_from(month).ok()?,
        day.parse().ok()?,
        hour.parse().ok()?,
        minute.parse().ok()?,
        // A leap second has no instant of its own here.
        second.min(59),
        0,
    )
    .ok()?;
    let offset_minutes = parse_zone(zone)?;
    let offset = Offset::from_seconds(i32::from(offset_minutes) * 60).ok()?;
    let seconds = offset.to_timestamp(civil).ok()?.as_second();
    Some(InternalDate::new(seconds + i64::from(second > 59), offset_minutes))
}

fn parse_zone(zone: &str) -> Option<i16> {
    let (sign, digits) = match zone.as_bytes() {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    if digits.len() != 4 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |pair: &[u8]| i16::from(pair[0] - b'0') * 10 + i16::from(pair[1] - b'0');
    Some(sign * (number(&digits[..2]) * 60 + number(&digits[2..])))
}

/// Writes a date in its own zone, for an APPEND; none where the format cannot hold it.
#[must_use]
pub fn format(date: InternalDate) -> Option<String> {
    let zone = date.offset_minutes();
    let offset = Offset::from_seconds(i32::from(zone) * 60).ok()?;
    let civil = offset.to_datetime(jiff::Timestamp::from_second(date.seconds()).ok()?);
    if !(0..=9999).contains(&civil.year()) {
        return None;
    }
    let month = MONTHS[usize::try_from(civil.month()).ok()? - 1];
    let sign = if zone < 0 { '-' } else { '+' };
    Some(format!(
        "{:2}-{month}-{:04} {:02}:{:02}:{:02} {sign}{:02}{:02}",
        civil.day(),
        civil.year(),
        civil.hour(),
        civil.minute(),
        civil.second(),
        zone.abs() / 60,
        zone.abs() % 60
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_survive_reading_and_writing() {
        for text in [
            "17-Jul-1996 02:44:25 -0700",
            " 1-Jan-1970 00:00:00 +0000",
            "31-Dec-1969 23:59:59 +0000",
            "29-Feb-2024 12:00:00 +1400",
            " 2-Mar-2015 12:00:00 -0330",
        ] {
            assert_eq!(parse(text).and_then(format).as_deref(), Some(text));
        }
    }

    #[test]
    fn dates_that_name_no_instant_are_not_dates() {
        for text in [
            "00-Jan-0000 00:00:00 +0000",
            "29-Feb-2023 00:00:00 +0000",
            "1-Foo-2020 00:00:00 +0000",
            "1-Jan-2020 24:00:00 +0000",
            "1-Jan-2020 00:00:00 GMT",
            "NIL",
            "",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_leap_second_is_the_instant_after() {
        let leap = parse("31-Dec-2016 23:59:60 +0000").expect("a date");
        assert_eq!(leap.to_string(), "2017-01-01T00:00:00Z");
    }
}
