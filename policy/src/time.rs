//! Instants as RFC 3339, and days and hours in UTC.

/// Milliseconds never matter here: all times are seconds since 1970 in UTC.
const DAY_SECONDS: u64 = 86_400;
const DAY_MINUTES: u16 = 24 * 60;
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// When a rule holds within a week: days, and hours that begin on them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// One bit for each of [`DAYS`].
    days: u8,
    /// Minutes of the day, the first that counts and the first that does not. The other way round they pass midnight.
    hours: Option<(u16, u16)>,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule { days: 0x7f, hours: None }
    }
}

impl Schedule {
    pub fn is_always(&self) -> bool {
        *self == Schedule::default()
    }

    /// Whether the rule holds. Hours that pass midnight belong to the day on which they begin.
    pub fn holds(&self, now_unix: u64) -> bool {
        let minute = ((now_unix / 60) % u64::from(DAY_MINUTES)) as u16;
        // 1 January 1970 was a Thursday.
        let today = ((now_unix / DAY_SECONDS + 3) % 7) as u8;
        let on = |day: u8| self.days & (1 << day) != 0;
        match self.hours {
            None => on(today),
            Some((from, to)) if from < to => (from..to).contains(&minute) && on(today),
            Some((from, to)) => (minute >= from && on(today)) || (minute < to && on((today + 6) % 7)),
        }
    }

    /// Whether it holds whenever the other does.
    pub(crate) fn covers(&self, other: &Schedule) -> bool {
        let minutes = (0..7 * u64::from(DAY_MINUTES)).map(|minute| minute * 60);
        self.is_always() || self == other || minutes.into_iter().all(|at| !other.holds(at) || self.holds(at))
    }

    pub(crate) fn set_days(&mut self, days: impl Iterator<Item = usize>) {
        self.days = days.fold(0, |all, day| all | 1 << (day % 7));
    }

    /// From `HH:MM-HH:MM`; `24:00` is an end.
    pub(crate) fn set_hours(&mut self, text: &str) -> bool {
        let minute = |text: &str| {
            let (hours, minutes) = text.split_once(':')?;
            let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
            (minutes < 60 && hours * 60 + minutes <= u64::from(DAY_MINUTES))
                .then_some((hours * 60 + minutes) as u16)
        };
        let both = text.split_once('-').and_then(|(from, to)| Some((minute(from)?, minute(to)?)));
        match both {
            Some((from, to)) if from != to && from < DAY_MINUTES && to > 0 => {
                self.hours = Some((from, to));
                true
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let days: Vec<&str> = DAYS
            .iter()
            .enumerate()
            .filter(|(day, _)| self.days & (1 << day) != 0)
            .map(|(_, day)| *day)
            .collect();
        f.write_str(&days.join(", "))?;
        match self.hours {
            Some((from, to)) => {
                write!(f, " {:02}:{:02}-{:02}:{:02} UTC", from / 60, from % 60, to / 60, to % 60)
            }
            None => f.write_str(" (UTC)"),
        }
    }
}

/// Digits only, exactly so many.
fn number(digits: &str, length: usize) -> Option<u64> {
    (digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())?
}

/// Seconds since 1970 from `2026-01-31T08:00:00Z` or with an offset; fractions of a second are cut off.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (number(date.next()?, 4)?, number(date.next()?, 2)?, number(date.next()?, 2)?);
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (clock, offset) = (time.get(..zone)?, time.get(zone..)?);
    let clock = match clock.split_once('.') {
        Some((clock, fraction)) => {
            number(fraction, fraction.len()).map(|_| clock).filter(|_| !fraction.is_empty())?
        }
        None => clock,
    };
    let mut clock = clock.splitn(3, ':');
    let (hour, minute, second) =
        (number(clock.next()?, 2)?, number(clock.next()?, 2)?, number(clock.next()?, 2)?);
    let is_there = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !is_there {
        return None;
    }
    let there = days_since_1970(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second;
    if offset.eq_ignore_ascii_case("z") {
        return Some(there);
    }
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    let seconds = (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)?;
    if offset.starts_with('+') { there.checked_sub(seconds) } else { there.checked_add(seconds) }
}

/// `2026-01-31T08:00:00Z`.
pub fn print_rfc3339(unix: u64) -> String {
    // Beyond the year 9999 nobody has a policy; the loop stays short.
    let unix = unix.min(253_402_300_799);
    let (mut days, second) = (unix / DAY_SECONDS, unix % DAY_SECONDS);
    let (mut year, mut month) = (1970, 1);
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{:02}Z", days + 1, second % 60)
}

fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let years: u64 = (1970..year).map(days_of_year).sum();
    let months: u64 = (1..month).map(|month| days_of_month(year, month)).sum();
    years + months + day - 1
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_those_of_date() {
        // `date -u -d TEXT +%s`.
        for (text, unix) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-02-29T12:34:56Z", 1_709_210_096),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("2026-11-21T09:00:00Z", 1_795_251_600),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(parse_rfc3339(text), Some(unix), "{text}");
            assert_eq!(print_rfc3339(unix), text);
        }
        for same in ["2026-11-21 10:30:00.999+01:30", "2026-11-21t09:00:00z", "2026-11-20T22:00:00-11:00"] {
            assert_eq!(parse_rfc3339(same), Some(1_795_251_600), "{same}");
        }
    }

    #[test]
    fn what_is_no_instant_is_none() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00é",
            "26-1-1T0:0:0Z",
            "2026-01-01T00:00:00Zx",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    fn schedule(days: &[usize], hours: &str) -> Schedule {
        let mut schedule = Schedule::default();
        schedule.set_days(days.iter().copied());
        assert!(hours.is_empty() || schedule.set_hours(hours), "{hours}");
        schedule
    }

    #[test]
    fn hours_that_pass_midnight_belong_to_the_day_on_which_they_begin() {
        let at = |text: &str| parse_rfc3339(text).expect("a time");
        let night = schedule(&[5], "22:00-06:00");
        for (text, holds) in [
            // 21 November 2026 is a Saturday.
            ("2026-11-21T05:59:00Z", false),
            ("2026-11-21T21:59:59Z", false),
            ("2026-11-21T22:00:00Z", true),
            ("2026-11-22T05:59:59Z", true),
            ("2026-11-22T06:00:00Z", false),
            ("2026-11-22T23:00:00Z", false),
        ] {
            assert_eq!(night.holds(at(text)), holds, "{text}");
        }
        let office = schedule(&[0, 1, 2, 3, 4], "08:00-24:00");
        assert!(office.holds(at("2026-11-20T23:59:59Z")) && !office.holds(at("2026-11-21T12:00:00Z")));
        assert!(!office.holds(at("2026-11-20T07:59:59Z")));
        assert_eq!(night.to_string(), "sat 22:00-06:00 UTC");
    }

    #[test]
    fn what_are_no_hours_is_refused() {
        for text in [
            "",
            "8:00-9:00",
            "08:00",
            "08:00-08:00",
            "24:00-01:00",
            "08:00-00:00",
            "08:60-09:00",
            "25:00-26:00",
        ] {
            assert!(!Schedule::default().set_hours(text), "{text}");
        }
    }

    #[test]
    fn a_schedule_covers_what_lies_in_it() {
        let saturday = schedule(&[5], "");
        let night = schedule(&[5], "22:00-06:00");
        assert!(saturday.covers(&schedule(&[5], "22:00-24:00")));
        // It reaches into Sunday.
        assert!(!saturday.covers(&night));
        assert!(schedule(&[5, 6], "").covers(&night) && !night.covers(&saturday));
        assert!(Schedule::default().covers(&saturday) && !saturday.covers(&Schedule::default()));
    }
}
