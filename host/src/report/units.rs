//! Numbers for people: sizes in powers of 1,000 as networks count, times with one digit that matters.

/// `812 B`, `12.3 kB`, `1.0 MB`.
pub fn size(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "";
    for next in ["kB", "MB", "GB", "TB"] {
        value /= 1000.0;
        unit = next;
        // 999.95 would be printed as 1000.0.
        if value < 999.95 {
            break;
        }
    }
    format!("{value:.1} {unit}")
}

/// `320 ms`, `1.2 s`, `2 min 5 s`, `1 h 2 min`.
pub fn time(ms: u64) -> String {
    let seconds = ms / 1000;
    match ms {
        0..1000 => format!("{ms} ms"),
        // In integers: 59,999 ms are 59.9 s and not a minute.
        1000..60_000 => format!("{seconds}.{} s", ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `0.3 s`, when every value is the same, else `0.3 s to 1.2 s`.
pub fn times(ms_min: u64, ms_max: u64) -> String {
    let (from, to) = (time(ms_min), time(ms_max));
    match (from == to, from.rsplit_once(' '), to.rsplit_once(' ')) {
        (true, ..) => to,
        (_, Some((low, from_unit)), Some((_, to_unit))) if from_unit == to_unit && !low.contains(' ') => {
            format!("{low}-{to}")
        }
        _ => format!("{from}-{to}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let shown = [0, 999, 1000, 12_345, 999_949, 999_950, 8_100_000, 5_000_000_000].map(size);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "12.3 kB", "999.9 kB", "1.0 MB", "8.1 MB", "5.0 GB"]);
        assert_eq!(size(u64::MAX), "18446744.1 TB");
    }

    #[test]
    fn times_of_all_lengths() {
        let shown = [0, 999, 1000, 1234, 59_999, 60_000, 125_000, 3_725_000].map(time);
        assert_eq!(
            shown,
            ["0 ms", "999 ms", "1.0 s", "1.2 s", "59.9 s", "1 min 0 s", "2 min 5 s", "1 h 2 min"]
        );
        assert_eq!(times(300, 300), "300 ms");
        assert_eq!(times(300, 1200), "300 ms-1.2 s");
        assert_eq!(times(1000, 2500), "1.0-2.5 s");
        assert_eq!(times(61_000, 125_000), "1 min 1 s-2 min 5 s");
    }
}
