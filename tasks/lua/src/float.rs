//! Numbers as C prints them by `%e` and `%g`: luars leaves out their width and precision.

/// The longest that a script may ask for, as in PUC-Rio's Lua: two digits.
const DIGITS_MAX: usize = 99;

/// A specification from `%` to its letter, one of `eEgG`, and a number. `None` when it is another.
pub(crate) fn format(specification: &str, number: f64) -> Option<String> {
    let (letter, rest) = specification.strip_prefix('%').and_then(|rest| {
        let letter = rest.chars().last().filter(|letter| "eEgG".contains(*letter))?;
        Some((letter, &rest[..rest.len() - 1]))
    })?;
    let size = rest.trim_start_matches(['-', '+', ' ', '#', '0']);
    let flags = &rest[..rest.len() - size.len()];
    let (width, precision) = match size.split_once('.') {
        Some((width, precision)) => (digits(width)?, digits(precision)?),
        None => (digits(size)?, 6),
    };
    let has = |flag: char| flags.contains(flag);
    let sign = match number.is_sign_negative() && !number.is_nan() {
        true => "-",
        false if has('+') => "+",
        false if has(' ') => " ",
        false => "",
    };
    let bare = number.abs();
    let text = match letter.eq_ignore_ascii_case(&'e') {
        _ if !bare.is_finite() => bare.to_string().to_ascii_lowercase(),
        true => scientific(bare, precision, has('#')),
        false => general(bare, precision.max(1), has('#')),
    };
    let text = if letter.is_ascii_uppercase() { text.to_ascii_uppercase() } else { text };
    let room = width.saturating_sub(sign.len() + text.len());
    Some(match (has('-'), has('0') && bare.is_finite()) {
        (true, _) => format!("{sign}{text}{}", " ".repeat(room)),
        (false, true) => format!("{sign}{}{text}", "0".repeat(room)),
        (false, false) => format!("{}{sign}{text}", " ".repeat(room)),
    })
}

fn digits(text: &str) -> Option<usize> {
    if text.is_empty() {
        return Some(0);
    }
    text.parse().ok().filter(|number| *number <= DIGITS_MAX)
}

/// Mantissa and exponent, with so many digits behind the point.
fn parts(number: f64, precision: usize) -> (String, i32) {
    let text = format!("{number:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.to_owned(), exponent.parse().unwrap_or_default())
}

fn joined(mantissa: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

fn scientific(number: f64, precision: usize, point: bool) -> String {
    let (mut mantissa, exponent) = parts(number, precision);
    if point && precision == 0 {
        mantissa.push('.');
    }
    joined(&mantissa, exponent)
}

fn general(number: f64, precision: usize, zeros: bool) -> String {
    let (mantissa, exponent) = parts(number, precision - 1);
    let shortened = |text: String| match text.contains('.') && !zeros {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    match usize::try_from(exponent.saturating_add(4)) {
        // From 0.0001 to what has as many digits as are wanted.
        Ok(at) if at < precision.saturating_add(4) => {
            let behind = (precision + 3).saturating_sub(at);
            shortened(format!("{number:.behind$}"))
        }
        _ => joined(&shortened(mantissa), exponent),
    }
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn numbers_are_printed_as_by_c() {
        for (specification, number, expected) in [
            ("%e", 1e20, "1.000000e+20"),
            ("%.0e", 12345.0, "1e+04"),
            ("%#.0e", 12345.0, "1.e+04"),
            ("%E", -0.5, "-5.000000E-01"),
            ("%g", 1e20, "1e+20"),
            ("%g", 1e-7, "1e-07"),
            ("%g", 0.0001, "0.0001"),
            ("%g", 100_000.0, "100000"),
            ("%g", 1_000_000.0, "1e+06"),
            ("%g", 0.0, "0"),
            ("%#g", 1.5, "1.50000"),
            ("%.3g", 2.0_f64 / 3.0, "0.667"),
            ("%.3g", 999.9, "1e+03"),
            ("%.17g", 0.1, "0.10000000000000001"),
            ("%10.3g", 1e20, "     1e+20"),
            ("%-10g|", 1.0, ""),
            ("%-6g", 1.0, "1     "),
            ("%+06g", 1.5, "+001.5"),
            ("% g", 1.5, " 1.5"),
            ("%06g", f64::INFINITY, "   inf"),
            ("%G", f64::NAN, "NAN"),
            ("%g", -0.0, "-0"),
            ("%.100g", 1.0, ""),
            ("%d", 1.0, ""),
        ] {
            assert_eq!(
                format(specification, number).unwrap_or_default(),
                expected,
                "{specification} {number}"
            );
        }
    }
}
