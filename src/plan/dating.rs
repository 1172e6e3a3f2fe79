//! The date of a message whose source tells none that is one.

use mail_parser::DateTime;

use crate::history::Dated;
use crate::mail::InternalDate;

/// 1900-01-01 in seconds: no mail is older, and servers that lost a date give 30-Dec-1899 (Domino).
const EARLIEST_SECONDS: i64 = -2_208_988_800;
/// The years 1970 to 2037, which every server stores: a header's word is no better.
const BELIEVED_SECONDS: std::ops::Range<i64> = 0..2_145_916_800;

/// Whether the source's date is no date of a message.
#[must_use]
pub fn is_broken(date: Option<InternalDate>) -> bool {
    date.is_none_or(|date| date.seconds() < EARLIEST_SECONDS)
}

/// The date that a message tells itself: of the first `Received` that has one, which is the last
/// server's; else of `Date`. `octets` begin with its header.
#[must_use]
pub fn of_header(octets: &[u8]) -> Option<(InternalDate, Dated)> {
    let mut date = None;
    for field in unfolded_fields(octets) {
        let Some((name, value)) = field.split_once(':') else {
            continue;
        };
        let name = name.trim_end();
        if name.eq_ignore_ascii_case("received")
            && let Some(received) = value.rsplit_once(';').and_then(|(_, date)| parsed(date))
        {
            return Some((received, Dated::Received));
        }
        if name.eq_ignore_ascii_case("date") && date.is_none() {
            date = parsed(value);
        }
    }
    date.map(|date| (date, Dated::Date))
}

fn unfolded_fields(octets: &[u8]) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for line in octets.split(|octet| *octet == b'\n') {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            break;
        }
        let text = String::from_utf8_lossy(line);
        match fields.last_mut() {
            Some(field) if text.starts_with([' ', '\t']) => field.push_str(&text),
            _ => fields.push(text.into_owned()),
        }
    }
    fields
}

fn parsed(text: &str) -> Option<InternalDate> {
    let date = DateTime::parse_rfc822(text.trim()).filter(DateTime::is_valid)?;
    let minutes = i16::from(date.tz_hour) * 60 + i16::from(date.tz_minute);
    let offset = if date.tz_before_gmt { -minutes } else { minutes };
    let date = InternalDate::new(date.to_timestamp(), offset);
    BELIEVED_SECONDS.contains(&date.seconds()).then_some(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(header: &str) -> Option<(String, i16, Dated)> {
        let (date, dated) = of_header(header.as_bytes())?;
        Some((date.to_string(), date.offset_minutes(), dated))
    }

    #[test]
    fn what_the_last_server_wrote_is_believed_before_what_the_author_wrote() {
        let date = "Date: Tue, 1 Jul 2003 10:52:37 +0200\r\n";
        let received = "Received: from a by b; Tue, 1 Jul 2003\r\n 11:00:00 -0330 (NDT)\r\n";
        let earlier = "Received: from c by a; Tue, 1 Jul 2003 10:53:00 +0000\r\n";
        let expected = ("2003-07-01T14:30:00Z".to_owned(), -210, Dated::Received);
        assert_eq!(told(&[date, received, earlier].concat()), Some(expected));
        let without = ("2003-07-01T08:52:37Z".to_owned(), 120, Dated::Date);
        assert_eq!(told(date), Some(without.clone()));
        assert_eq!(told(&["Received: by b; soon\r\n", date].concat()), Some(without));
    }

    #[test]
    fn a_header_that_tells_no_date_gives_none() {
        for header in [
            "",
            "Date:\r\n",
            "Date: yesterday\r\n",
            "Date: Fri, 31 Dec 1899 00:00:00 +0000\r\n",
            "Date: Mon, 1 Jan 2900 00:00:00 +0000\r\n",
            "Subject: a\r\n\r\nDate: Tue, 1 Jul 2003 10:52:37 +0200\r\n",
        ] {
            assert_eq!(told(header), None, "{header}");
        }
    }

    #[test]
    fn a_date_before_there_was_mail_is_none() {
        let date = |seconds| Some(InternalDate::new(seconds, 0));
        assert!(is_broken(None) && is_broken(date(-2_209_161_600)), "30-Dec-1899");
        assert!(!is_broken(date(-1)) && !is_broken(date(0)) && !is_broken(date(1 << 40)));
    }
}
