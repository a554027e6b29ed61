//! Dates as `valid-after` and `valid-before` give them: `YYYYMMDD[Z]` or `YYYYMMDDHHMM[SS][Z]`.

/// A day and a time of day, in a zone that is not said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Civil {
    pub year: u32,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
}

/// What the clocks of this machine's time zone show, as seconds since 1970 in UTC; `None` for a time they leave out.
pub type Zone<'a> = &'a dyn Fn(Civil) -> Option<u64>;

const SECONDS_PER_DAY: u64 = 86_400;

/// Seconds since 1970 in UTC.
pub fn parse(text: &str, zone: Zone<'_>) -> Result<u64, String> {
    let bare = text.strip_suffix('Z').or_else(|| text.strip_suffix("UTC"));
    let civil = civil(bare.unwrap_or(text))
        .ok_or_else(|| format!("`{text}` is no time; write YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z]"))?;
    match bare {
        Some(_) => Ok(utc(civil)),
        None => zone(civil).ok_or_else(|| {
            format!("`{text}` is no time in the time zone of this machine; a Z behind it makes it UTC")
        }),
    }
}

fn civil(digits: &str) -> Option<Civil> {
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, length: usize| match digits.get(from..from + length) {
        Some(part) => part.parse::<u32>().ok(),
        None => Some(0),
    };
    let civil = Civil {
        year: number(0, 4)?,
        month: number(4, 2)?,
        day: number(6, 2)?,
        hour: number(8, 2)?,
        minute: number(10, 2)?,
        second: number(12, 2)?,
    };
    let is_there = civil.year >= 1970
        && (1..=12).contains(&civil.month)
        && (1..=days(civil.year, civil.month)).contains(&civil.day)
        && civil.hour < 24
        && civil.minute < 60
        && civil.second < 60;
    is_there.then_some(civil)
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days of a month.
fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// The time in UTC; years have four digits, so the sums are short and small.
pub fn utc(civil: Civil) -> u64 {
    let years: u64 = (1970..civil.year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let months: u64 = (1..civil.month).map(|month| u64::from(days(civil.year, month))).sum();
    let days = years + months + u64::from(civil.day) - 1;
    let minutes = u64::from(civil.hour) * 60 + u64::from(civil.minute);
    days * SECONDS_PER_DAY + minutes * 60 + u64::from(civil.second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn an_hour_ahead(civil: Civil) -> Option<u64> {
        utc(civil).checked_sub(3600)
    }

    #[test]
    fn times_are_those_of_date() {
        // `date -u -d '2024-02-29 12:34:56' +%s` and so on.
        for (text, seconds) in [
            ("19700101Z", 0),
            ("20240229123456Z", 1_709_210_096),
            ("20240301UTC", 1_709_251_200),
            ("202602030405Z", 1_770_091_500),
            ("21000301Z", 4_107_542_400),
            ("20240229123456", 1_709_206_496),
        ] {
            assert_eq!(parse(text, &an_hour_ahead), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_said() {
        for text in [
            "",
            "Z",
            "2024",
            "20240230Z",
            "21000229Z",
            "20241301Z",
            "20240100Z",
            "202401012460Z",
            "19691231Z",
            "20240101T0000Z",
            "2024-01-01",
            "20240101+1Z",
            "٢٠٢٤0101Z",
            "202401012400Z",
            "20240101235960Z",
        ] {
            assert!(parse(text, &an_hour_ahead).is_err_and(|why| why.contains("is no time;")), "{text}");
        }
        assert!(parse("20240101", &|_| None).is_err_and(|why| why.contains("time zone")));
    }
}
