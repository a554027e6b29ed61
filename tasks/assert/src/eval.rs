//! What an expression is worth. An undefined name is an error wherever its value counts.

use crate::parse::{Tree, float};
use crate::value::Value;
use std::cmp::Ordering;
use std::collections::BTreeMap;

const FILTERS: &str = "int, float, string, bool, length, lower, upper, trim, default, first, last";
const TESTS: &str =
    "defined, undefined, none, string, number, boolean, sequence, mapping, true, false, version";

type Vars = BTreeMap<String, Value>;
type Evaluated = Result<Value, String>;

pub fn eval(tree: &Tree, vars: &Vars) -> Evaluated {
    match any(tree, vars)? {
        Value::Undefined(name) => Err(undefined(&name)),
        value => Ok(value),
    }
}

fn undefined(name: &str) -> String {
    ["`", name, "` is not defined"].concat()
}

/// Also what is not defined.
fn any(tree: &Tree, vars: &Vars) -> Evaluated {
    Ok(match tree {
        Tree::Value(value) => value.clone(),
        Tree::Name(name) => vars.get(name).cloned().unwrap_or_else(|| Value::Undefined(name.clone())),
        Tree::List(list) => Value::List(list.iter().map(|tree| eval(tree, vars)).collect::<Result<_, _>>()?),
        Tree::Member(of, name) => member(eval(of, vars)?, name),
        Tree::Item(of, item) => match (eval(of, vars)?, eval(item, vars)?) {
            (Value::List(list), Value::Int(at)) => {
                let at = if at < 0 { at.saturating_add_unsigned(list.len() as u64) } else { at };
                let found = usize::try_from(at).ok().and_then(|at| list.get(at).cloned());
                found.unwrap_or_else(|| Value::Undefined(["[", &at.to_string(), "]"].concat()))
            }
            (of, Value::Text(name)) => member(of, &name),
            (of, item) => return Err([of.kind(), " has no item by ", item.kind()].concat()),
        },
        Tree::Not(tree) => Value::Bool(!eval(tree, vars)?.is_true()),
        Tree::Minus(tree) => match eval(tree, vars)? {
            Value::Int(value) => Value::Int(value.wrapping_neg()),
            Value::Float(value) => Value::Float(-value),
            other => return Err(["`-` of ", other.kind()].concat()),
        },
        Tree::Two("and", a, b) => {
            let a = eval(a, vars)?;
            if a.is_true() { eval(b, vars)? } else { a }
        }
        Tree::Two("or", a, b) => {
            let a = eval(a, vars)?;
            if a.is_true() { a } else { eval(b, vars)? }
        }
        Tree::Two(sign, a, b) => two(sign, &eval(a, vars)?, &eval(b, vars)?)?,
        Tree::Filter(tree, name, more) => {
            let more = more.iter().map(|tree| eval(tree, vars)).collect::<Result<Vec<_>, _>>()?;
            match (any(tree, vars)?, name.as_str(), more.into_iter().next()) {
                (Value::Undefined(_), "default" | "d", instead) => {
                    instead.unwrap_or(Value::Text(String::new()))
                }
                (value, "default" | "d", _) => value,
                (Value::Undefined(name), ..) => return Err(undefined(&name)),
                (value, name, instead) => filter(value, name, instead)?,
            }
        }
        Tree::Test(tree, name, more) => {
            let more = more.iter().map(|tree| eval(tree, vars)).collect::<Result<Vec<_>, _>>()?;
            Value::Bool(test(&any(tree, vars)?, name, &more)?)
        }
    })
}

fn member(of: Value, name: &str) -> Value {
    let found = if let Value::Map(mut map) = of { map.remove(name) } else { None };
    found.unwrap_or_else(|| Value::Undefined(name.to_owned()))
}

fn two(sign: &str, a: &Value, b: &Value) -> Evaluated {
    let refused = || [a.kind(), " and ", b.kind(), " do not go with `", sign, "`"].concat();
    let is = |wanted: fn(Ordering) -> bool| a.order(b).map(wanted).map(Value::Bool).ok_or_else(refused);
    match (sign, a, b) {
        ("==", ..) => Ok(Value::Bool(a.equals(b))),
        ("!=", ..) => Ok(Value::Bool(!a.equals(b))),
        ("<", ..) => is(Ordering::is_lt),
        ("<=", ..) => is(Ordering::is_le),
        (">", ..) => is(Ordering::is_gt),
        (">=", ..) => is(Ordering::is_ge),
        ("in", a, Value::List(list)) => Ok(Value::Bool(list.iter().any(|b| a.equals(b)))),
        ("in", Value::Text(a), Value::Text(b)) => Ok(Value::Bool(b.contains(a.as_str()))),
        ("in", Value::Text(a), Value::Map(map)) => Ok(Value::Bool(map.contains_key(a))),
        ("~", ..) => match (a.text(), b.text()) {
            (Some(a), Some(b)) => Ok(Value::Text(a + &b)),
            _ => Err(refused()),
        },
        ("+", Value::Text(a), Value::Text(b)) => Ok(Value::Text([a.as_str(), b].concat())),
        ("+", Value::List(a), Value::List(b)) => Ok(Value::List([a.as_slice(), b].concat())),
        (sign, Value::Int(a), Value::Int(b)) if sign != "/" => {
            let value = match sign {
                "+" => a.checked_add(*b),
                "-" => a.checked_sub(*b),
                "*" => a.checked_mul(*b),
                // As in Python: towards the smaller number, and the rest has the sign of the divisor.
                "//" => floor(*a, *b).map(|(quotient, _)| quotient),
                "%" => floor(*a, *b).map(|(_, rest)| rest),
                _ => return Err(refused()),
            };
            value.map(Value::Int).ok_or_else(|| "a number is too large, or divided by zero".to_owned())
        }
        _ => {
            let (Some(a), Some(b)) = (a.number(), b.number()) else { return Err(refused()) };
            match sign {
                "+" => Ok(Value::Float(a + b)),
                "-" => Ok(Value::Float(a - b)),
                "*" => Ok(Value::Float(a * b)),
                "/" if b != 0.0 => Ok(Value::Float(a / b)),
                "//" if b != 0.0 => Ok(Value::Float((a / b).floor())),
                "%" if b != 0.0 => Ok(Value::Float(a - b * (a / b).floor())),
                _ => Err("a number is divided by zero".to_owned()),
            }
        }
    }
}

fn floor(a: i64, b: i64) -> Option<(i64, i64)> {
    let (quotient, rest) = (a.checked_div(b)?, a.checked_rem(b)?);
    match rest != 0 && (rest < 0) != (b < 0) {
        true => Some((quotient - 1, rest + b)),
        false => Some((quotient, rest)),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "int() of a number cuts what is behind its point")]
fn filter(value: Value, name: &str, instead: Option<Value>) -> Evaluated {
    let refused = |value: &Value| [value.kind(), " does not go with `| ", name, "`"].concat();
    Ok(match (name, value) {
        ("int", Value::Bool(value)) => Value::Int(value.into()),
        ("int", Value::Float(value)) => Value::Int(value as i64),
        ("int", Value::Text(text)) => {
            let value = text.trim().parse().ok().or_else(|| float(text.trim()).map(|value| value as i64));
            value.map(Value::Int).or(instead).unwrap_or(Value::Int(0))
        }
        ("float", Value::Text(text)) => {
            float(text.trim()).map(Value::Float).or(instead).unwrap_or(Value::Float(0.0))
        }
        ("int" | "float", value @ (Value::Int(_) | Value::Float(_))) => value,
        ("bool", Value::Text(text)) => {
            Value::Bool(matches!(text.to_ascii_lowercase().as_str(), "yes" | "on" | "true" | "1"))
        }
        ("bool", value) => Value::Bool(value.is_true()),
        ("length" | "count", Value::Text(text)) => size(text.chars().count()),
        ("length" | "count", Value::List(list)) => size(list.len()),
        ("length" | "count", Value::Map(map)) => size(map.len()),
        ("lower", Value::Text(text)) => Value::Text(text.to_ascii_lowercase()),
        ("upper", Value::Text(text)) => Value::Text(text.to_ascii_uppercase()),
        ("trim", Value::Text(text)) => Value::Text(text.trim().to_owned()),
        ("first", Value::List(list)) => {
            list.into_iter().next().unwrap_or_else(|| Value::Undefined("first".into()))
        }
        ("last", Value::List(mut list)) => list.pop().unwrap_or_else(|| Value::Undefined("last".into())),
        ("string", value) => value.text().map(Value::Text).ok_or_else(|| refused(&value))?,
        ("int" | "float" | "length" | "count" | "lower" | "upper" | "trim" | "first" | "last", value) => {
            return Err(refused(&value));
        }
        _ => return Err(["there is no filter `", name, "`; known are ", FILTERS].concat()),
    })
}

fn size(size: usize) -> Value {
    Value::Int(i64::try_from(size).unwrap_or(i64::MAX))
}

fn test(value: &Value, name: &str, more: &[Value]) -> Result<bool, String> {
    match (name, value) {
        ("defined", value) => return Ok(!matches!(value, Value::Undefined(_))),
        ("undefined", value) => return Ok(matches!(value, Value::Undefined(_))),
        (_, Value::Undefined(name)) => return Err(undefined(name)),
        _ => {}
    }
    Ok(match name {
        "none" => matches!(value, Value::None),
        "string" => matches!(value, Value::Text(_)),
        "number" => matches!(value, Value::Int(_) | Value::Float(_)),
        "boolean" => matches!(value, Value::Bool(_)),
        "sequence" => matches!(value, Value::List(_) | Value::Text(_)),
        "mapping" => matches!(value, Value::Map(_)),
        "true" => *value == Value::Bool(true),
        "false" => *value == Value::Bool(false),
        "version" | "version_compare" => {
            match (value.text(), more.first().and_then(Value::text), more.get(1)) {
                (Some(a), Some(b), sign) => {
                    let order = versions(&a, &b);
                    match sign.and_then(Value::text).as_deref().unwrap_or("==") {
                        "==" | "=" | "eq" => order.is_eq(),
                        "!=" | "<>" | "ne" => order.is_ne(),
                        "<" | "lt" => order.is_lt(),
                        "<=" | "le" => order.is_le(),
                        ">" | "gt" => order.is_gt(),
                        ">=" | "ge" => order.is_ge(),
                        other => return Err(["`version` knows no `", other, "`"].concat()),
                    }
                }
                _ => {
                    return Err(
                        "`version` takes a version and a comparison: `x is version('1.2', '>=')`".to_owned()
                    );
                }
            }
        }
        _ => return Err(["there is no test `", name, "`; known are ", TESTS].concat()),
    })
}

/// Numbers by their size, letters by theirs, and a number is more than letters.
fn versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (x, y) = (part(&mut a), part(&mut b));
        let order = match (x.parse::<u64>(), y.parse::<u64>()) {
            (Ok(x), Ok(y)) => x.cmp(&y),
            (Ok(_), Err(_)) => Ordering::Greater,
            (Err(_), Ok(_)) => Ordering::Less,
            (Err(_), Err(_)) if x.is_empty() && y.is_empty() => return Ordering::Equal,
            (Err(_), Err(_)) => x.cmp(y),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// The next digits, or the next letters.
fn part<'a>(text: &mut &'a str) -> &'a str {
    let from = text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let is_digit = from.starts_with(|c: char| c.is_ascii_digit());
    let end = from
        .find(|c: char| !c.is_ascii_alphanumeric() || c.is_ascii_digit() != is_digit)
        .unwrap_or(from.len());
    let (part, rest) = from.split_at(end);
    *text = rest;
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn value(text: &str) -> Result<bool, String> {
        let vars: Vars =
            serde_json::from_str(r#"{"n": 3, "l": [1, "x, y"], "v": "12.4-rc1", "m": {"a": {"b": null}}}"#)
                .unwrap();
        parse(text).and_then(|tree| eval(&tree, &vars)).map(|value| value.is_true())
    }

    #[test]
    fn operators_bind_as_in_jinja() {
        for text in [
            "1 + 2 * 3 == 7 and not 1 == 2",
            "not false or false",
            "not n > 3",
            "not (true or true) == false",
            "-n + 3 == 0 and -7 // 2 == -4 and -7 % 3 == 2 and 7 / 2 == 3.5",
            "'a' ~ n == 'a3' and 'b' in 'abc' and 'd' not in 'abc' and 'a' in m",
            "l == [1, 'x, y'] and l[-1] == \"x, y\" and l | length == 2 and l[0] in l",
            "m.a.b is none and m['a'] is mapping and m.x is not defined and x is undefined",
            "'12' | int >= 12 and '1.9' | int == 1 and 'x' | int(4) == 4 and ' A ' | trim | lower == 'a'",
            "x | default(5) == 5 and n | default(5) == 3",
            "v is version('12.3', '>=') and v is version('12.10', '<') and v is version('12.4.1', 'lt')",
            "1 == 1.0 and 'a' < 'b' and not 'a' == 1 and n is number and 'é' | length == 1",
        ] {
            assert_eq!(value(text), Ok(true), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_says_why() {
        for (text, why) in [
            ("", "found the end"),
            ("1 +", "found the end"),
            ("1 2", "expected an operator"),
            ("'a", "quote"),
            ("a ; b", "`;`"),
            ("1.2.3", "no number"),
            ("x == 1", "`x` is not defined"),
            ("m.x.y", "`x` is not defined"),
            ("1 < 'a'", "do not go with `<`"),
            ("1 / 0", "zero"),
            ("1 % 0", "zero"),
            ("9223372036854775807 + 1", "too large"),
            ("1 | nope", "there is no filter `nope`"),
            ("1 is nope", "there is no test `nope`"),
            ("n | length", "does not go with"),
            ("l[9] == 1", "not defined"),
        ] {
            assert!(value(text).is_err_and(|said| said.contains(why)), "{text}: {:?}", value(text));
        }
        let deep = ["(".repeat(10_000), "1".into(), ")".repeat(10_000)].concat();
        assert!(value(&deep).is_err_and(|said| said.contains("too many")));
        assert!(value(&("not ".repeat(10_000) + "1")).is_err_and(|said| said.contains("too many")));
    }
}
