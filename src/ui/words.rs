//! Numbers as people read them.

use std::time::Duration;

use bytesize::ByteSize;

/// `1 message`, `12,345 messages`, `2 mailboxes`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = match number {
        1 => "",
        _ if noun.ends_with('x') => "es",
        _ => "s",
    };
    format!("{} {noun}{plural}", grouped(number))
}

/// `12,345`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.9 GiB`.
pub(super) fn bytes(number: u64) -> String {
    ByteSize::b(number).display().iec().to_string()
}

/// `2d 3h`, `3h 20m`, `12m`, `40s`.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days}d {}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h {}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m")
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_easily() {
        assert_eq!(count(1, "message"), "1 message");
        assert_eq!(count(0, "message"), "0 messages");
        assert_eq!(count(1_234_567, "message"), "1,234,567 messages");
        assert_eq!(count(2, "mailbox"), "2 mailboxes");
        assert_eq!(grouped(123), "123");
        assert_eq!(bytes(20 << 20), "20.0 MiB");
        assert_eq!(time(Duration::from_secs(59)), "59s");
        assert_eq!(time(Duration::from_secs(3 * 3600 + 20 * 60)), "3h 20m");
        assert_eq!(time(Duration::from_secs(51 * 3600)), "2d 3h");
    }
}
