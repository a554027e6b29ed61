//! Lists that fit into a result.

use serde::Serialize;
use waft_sdk::serde_json;

/// The JSON of a list, as far as that has not more than so many bytes, and how many of it are in.
pub fn listed<T: Serialize>(list: &[T], bytes_max: usize) -> (String, usize) {
    let (mut json, mut count) = ("[".to_owned(), 0);
    for item in list {
        let comma = if count == 0 { "" } else { "," };
        let item = serde_json::to_string(item).unwrap_or_else(|_| "null".to_owned());
        if json.len() + comma.len() + item.len() >= bytes_max {
            break;
        }
        json.push_str(comma);
        json.push_str(&item);
        count += 1;
    }
    json.push(']');
    (json, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_where_it_would_be_too_long() {
        let list = ["ab", "c", "d"];
        for (bytes_max, json, count) in [
            (100, r#"["ab","c","d"]"#, 3),
            (14, r#"["ab","c","d"]"#, 3),
            (13, r#"["ab","c"]"#, 2),
            (2, "[]", 0),
        ] {
            assert_eq!(listed(&list, bytes_max), (json.to_owned(), count), "{bytes_max}");
        }
    }
}
