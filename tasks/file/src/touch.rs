//! Times of files, as Ansible and `utime` have them.

use waft_sdk::Error;

/// The last second of the year 9999: what is beyond is a mistake, and not every file system keeps it.
const SECONDS_MAX: u64 = 253_402_300_799;
/// Digits of a fraction of a second that `utime` takes.
const DECIMALS_MAX: usize = 9;
const DAY_SECONDS: u64 = 86_400;

/// Seconds since 1970 as `utime` takes them, of these or of `YYYYMMDDhhmm.ss` in UTC.
pub(crate) fn seconds(name: &str, text: &str) -> Result<String, Error> {
    let wrong = |why: &str| {
        let text = format!("`{name}` is `{}`, {why}", text.escape_debug());
        Error {
            hint: Some("for example 202611211530.00, which is 2026-11-21 15:30:00 UTC, or 1795275000".into()),
            ..Error::new("params.time", text)
        }
    };
    let none = || wrong("expected preserve, now, YYYYMMDDhhmm.ss (UTC), or seconds since 1970");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > DECIMALS_MAX {
        return Err(none());
    }
    // As seconds that would be in the year 5138 or later.
    if whole.len() == 12 && fraction.len() == 2 {
        return calendar(whole, fraction)
            .map(|seconds| seconds.to_string())
            .ok_or_else(|| wrong("which no calendar since 1970 has, read as YYYYMMDDhhmm.ss"));
    }
    match whole.parse::<u64>() {
        Ok(seconds) if seconds <= SECONDS_MAX => Ok(text.trim_end_matches('.').to_owned()),
        _ => Err(wrong("which is beyond the year 9999")),
    }
}

fn calendar(minutes: &str, seconds: &str) -> Option<u64> {
    let part = |from: usize, to: usize| minutes.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, seconds.parse::<u64>().ok()?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Years that begin in March have their odd day at the end.
    let (of, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * of + of / 4 - of / 100 + of / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(days * DAY_SECONDS + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        for (text, read) in [
            ("0", "0"),
            ("86400.5", "86400.5"),
            ("253402300799", "253402300799"),
            ("197001010000.00", "0"),
            ("200002282359.59", "951782399"),
            ("200002290000.00", "951782400"),
            ("202403010000.00", "1709251200"),
            ("202611211530.00", "1795275000"),
            ("210003010000.00", "4107542400"),
            ("999912312359.59", "253402300799"),
        ] {
            assert_eq!(seconds("access_time", text).as_deref(), Ok(read), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for (text, words) in [
            ("", "expected"),
            ("soon", "expected"),
            ("-1", "expected"),
            ("1.2.3", "expected"),
            (".5", "expected"),
            ("1.0123456789", "expected"),
            ("253402300800", "9999"),
            ("99999999999999999999", "9999"),
            ("202613211530.00", "calendar"),
            ("202602291530.00", "calendar"),
            ("210002291530.00", "calendar"),
            ("202611212430.00", "calendar"),
            ("202611211530.60", "calendar"),
            ("196911211530.00", "calendar"),
        ] {
            let error = seconds("access_time", text).unwrap_err();
            assert!(error.code == "params.time" && error.message.contains(words), "{error}");
        }
    }
}
