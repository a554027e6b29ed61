//! `web[01-20]` and `db[a,b]` written out. Not classes as in a shell: `[ab]` would be two machines there and
//! is one mistake here. Zeros in front are kept: `[01-20]` begins with `01`.

use waft_proto::run::Problem;

/// Names that one text may stand for.
pub const EXPANSION_MAX: usize = 65_536;

enum Part<'a> {
    Text(&'a str),
    Names(Vec<String>),
}

/// All names in their order, the last range turning fastest. An address in brackets is no range.
pub fn expand(text: &str) -> Result<Vec<String>, Problem> {
    let problem = |expected: &str, hint: &str| {
        let shown = text.escape_debug();
        Problem::new("select.range", format!("`{shown}` cannot be read: expected {expected}")).hint(hint)
    };
    let many = || {
        problem(
            &format!("ranges for at most {EXPANSION_MAX} names"),
            "look for a digit too many, or use groups of an inventory",
        )
    };
    let mut parts = Vec::new();
    let mut count = 1_usize;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let Some((inside, after)) = after.split_once(']') else {
            return Err(problem("a `]` for each `[`", "write a range as `web[01-20]` or `web[a,b]`"));
        };
        if inside.contains(':') {
            let end = before.len() + inside.len() + 2;
            parts.push(Part::Text(rest.get(..end).unwrap_or(rest)));
        } else {
            let left = EXPANSION_MAX / count;
            let names = read(inside, left).map_err(|why| match why {
                Wrong::Many => many(),
                Wrong::Text(expected) => problem(expected, "write a range as `web[01-20]` or `web[a,b]`"),
            })?;
            count *= names.len();
            parts.extend([Part::Text(before), Part::Names(names)]);
        }
        rest = after;
    }
    parts.push(Part::Text(rest));

    let mut all = vec![String::new()];
    for part in parts {
        match part {
            Part::Text(text) => all.iter_mut().for_each(|name| name.push_str(text)),
            Part::Names(names) => {
                all = all
                    .iter()
                    .flat_map(|name| names.iter().map(move |part| format!("{name}{part}")))
                    .collect();
            }
        }
    }
    Ok(all)
}

enum Wrong {
    Many,
    Text(&'static str),
}

/// What is between the brackets, as at most `most` names.
fn read(inside: &str, most: usize) -> Result<Vec<String>, Wrong> {
    let list = inside.contains(',');
    let mut names = Vec::new();
    for item in inside.split(',').map(str::trim) {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match item.split_once('-') {
            Some((first, last)) if digits(first) && digits(last) => {
                let padded = [first, last].iter().any(|text| text.len() > 1 && text.starts_with('0'));
                if padded && first.len() != last.len() {
                    return Err(Wrong::Text("numbers of one width, as in `[01-20]`"));
                }
                let width = if padded { first.len() } else { 0 };
                let (Ok(from), Ok(to)) = (first.parse::<u64>(), last.parse::<u64>()) else {
                    return Err(Wrong::Many);
                };
                if from > to {
                    return Err(Wrong::Text("the smaller number first"));
                }
                if to - from >= (most - names.len().min(most)) as u64 {
                    return Err(Wrong::Many);
                }
                names.extend((from..=to).map(|number| format!("{number:0width$}")));
            }
            _ if item.is_empty() || item.contains('[') => {
                return Err(Wrong::Text("names between the commas"));
            }
            _ if !list => return Err(Wrong::Text("two numbers (`[01-20]`) or names with commas (`[a,b]`)")),
            _ if names.len() >= most => return Err(Wrong::Many),
            _ => names.push(item.to_owned()),
        }
    }
    Ok(names)
}
