//! The target's clock, UTC: the first thing to look at when certificates or logs disagree.

use serde_json::{Value, json};

const DAY_SECONDS: u64 = 24 * 60 * 60;

pub(super) fn date_time(epoch_seconds: u64) -> Value {
    json!({"epoch": epoch_seconds, "iso8601": iso8601(epoch_seconds)})
}

fn iso8601(epoch_seconds: u64) -> String {
    let (year, month, day) = civil(epoch_seconds / DAY_SECONDS);
    let second = epoch_seconds % DAY_SECONDS;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Years begin in March here, so that the leap day is the last of its year and each month's start is a linear formula.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA_YEARS: u64 = 400;
    const ERA_DAYS: u64 = 146_097;
    const FROM_0000_03_01_TO_1970_01_01: u64 = 719_468;
    let days = days + FROM_0000_03_01_TO_1970_01_01;
    let (era, day) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, later) =
        if month_from_march < 10 { (month_from_march + 3, 0) } else { (month_from_march - 9, 1) };
    (era * ERA_YEARS + year + later, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::iso8601;

    #[test]
    fn known_instants() {
        for (epoch, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_704_067_199, "2023-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(iso8601(epoch), text);
        }
    }
}
