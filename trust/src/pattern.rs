//! ssh's patterns (ssh_config(5), PATTERNS).

/// Whether a comma-separated list has a pattern for `text`, and none after `!` that is for it as well.
pub(crate) fn list(patterns: &str, text: &str) -> bool {
    let mut found = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(not) if one(not, text) => return false,
            Some(_) => {}
            None => found |= one(pattern, text),
        }
    }
    found
}

/// Whether a word of a list may be for more than one text, or takes one away.
pub(crate) fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '!'])
}

/// `*` and `?`. Takes at most pattern times text steps: only the last star is tried again.
fn one(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    let mut star: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (mut pattern_next, mut text_next) = (pattern.clone(), text.clone());
        match (pattern_next.next(), text_next.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((pattern_next.clone(), text.clone()));
                pattern = pattern_next;
            }
            (Some(wanted), Some(there)) if wanted == '?' || wanted == there => {
                pattern = pattern_next;
                text = text_next;
            }
            _ => {
                // The last star takes one character more.
                let Some((after, from)) = &mut star else { return false };
                if from.next().is_none() {
                    return false;
                }
                pattern = after.clone();
                text = from.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{list, one};

    #[test]
    fn stars_and_question_marks() {
        let yes = [("*", ""), ("*", "x"), ("a*c", "abbc"), ("a*c", "ac"), ("*b*b", "abab"), ("?x", "éx")];
        yes.iter().for_each(|(pattern, text)| assert!(one(pattern, text), "{pattern} {text}"));
        let no = [("", "x"), ("?", ""), ("a*c", "acd"), ("*b*b", "ab"), ("A", "a"), ("a", "ab"), ("ab", "a")];
        no.iter().for_each(|(pattern, text)| assert!(!one(pattern, text), "{pattern} {text}"));
    }

    #[test]
    fn a_negated_pattern_wins_wherever_it_stands() {
        assert!(list("*@example.com,root", "amy@example.com"));
        assert!(!list("*@example.com,!amy@*", "amy@example.com"));
        assert!(!list("!amy@*,*@example.com", "amy@example.com"));
        // Only what is wanted counts: not to be excluded is not enough.
        assert!(!list("!amy", "bob"));
        assert!(!list("", "bob"));
    }
}
