//! Forms of text: what is shown of a name, times.

const NANOSECONDS: u64 = 1_000_000_000;
/// Of a fraction of a second.
const DIGITS: usize = 9;

/// A text as one word of a line: quoted and escaped unless plain, and of a long one its beginning and its end, `chars` of each.
pub(super) fn shown(text: &str, chars: usize) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,=%~".contains(c);
    let length = text.chars().count();
    if length > 2 * chars {
        let begin: String = text.chars().take(chars).collect();
        let end: String = text.chars().skip(length - chars).collect();
        return format!("{begin:?}...{end:?}");
    }
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("{text:?}") }
}

/// Seconds since 1970 with nine decimals. A JSON number would lose nanoseconds, and RFC 3339 needs a calendar in each guest.
pub(super) fn time(seconds: i64, nanoseconds: u64) -> String {
    // The kernel counts the fraction upwards from the second before.
    let (sign, whole, part) = match seconds {
        ..0 if nanoseconds > 0 => {
            ("-", (seconds + 1).unsigned_abs(), NANOSECONDS.saturating_sub(nanoseconds))
        }
        ..0 => ("-", seconds.unsigned_abs(), 0),
        _ => ("", seconds.unsigned_abs(), nanoseconds),
    };
    format!("{sign}{whole}.{part:09}")
}

/// The other way: seconds and nanoseconds as the kernel has them. The fraction may be shorter, or missing.
pub(super) fn parse_time(text: &str) -> Option<(i64, u64)> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let number =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
    if part.len() > DIGITS || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanoseconds = u64::from(number(part)?) * 10_u64.pow(u32::try_from(DIGITS - part.len()).ok()?);
    let seconds = sign * whole.parse::<i64>().ok()?;
    match sign {
        -1 if nanoseconds > 0 => Some((seconds.checked_sub(1)?, NANOSECONDS - nanoseconds)),
        _ => Some((seconds, nanoseconds)),
    }
}

/// A mode in octal digits, of at most twelve bits.
pub(super) fn octal(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o7777)
}
