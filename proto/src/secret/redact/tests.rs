use super::*;
use crate::secret::Secret;

fn secrets(values: &[(&str, &[u8])]) -> Secrets {
    let mut secrets = Secrets::default();
    for (name, value) in values {
        let secret = Secret::new(Zeroizing::new(value.to_vec()), false).expect("bytes");
        secrets.insert(name, secret).expect("a secret");
    }
    secrets
}

/// The stream in these pieces.
fn streamed<'a>(patterns: &Patterns, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut state = State::default();
    let mut out = Vec::new();
    for piece in pieces {
        out.extend(state.push(patterns, piece));
    }
    out.extend(state.finish(patterns));
    out
}

/// The same rules without any cleverness: every form at every place.
fn naive(secrets: &Secrets, text: &[u8]) -> Vec<u8> {
    let mut forms: Vec<(Vec<u8>, String, bool)> = Vec::new();
    for (name, secret) in secrets.iter().filter(|(_, secret)| secret.is_redacted()) {
        let own = forms::of(secret.bytes());
        forms.extend(own.iter().map(|form| (form.to_vec(), format!("[secret {name}]"), false)));
    }
    for (name, _) in secrets.iter().filter(|(_, secret)| secret.is_redacted()) {
        let marker = format!("[secret {name}]");
        forms.push((marker.clone().into_bytes(), marker, true));
    }
    let mut spans: Vec<(usize, usize, String)> = Vec::new();
    let mut cover = |start: usize, end: usize, name: &str| {
        let (mut new, mut longest) = ((start, end, String::from(name)), end - start);
        while let Some(last) = spans.last().filter(|last| last.1 > new.0).cloned() {
            if last.1 - last.0 >= longest {
                (longest, new.2) = (last.1 - last.0, last.2);
            }
            new.0 = new.0.min(last.0);
            spans.pop();
        }
        spans.push(new);
    };
    for end in 0..=text.len() {
        let here = forms.iter().filter(|(form, ..)| text[..end].ends_with(form));
        // Of equal ones the first that was added.
        let longest = here.fold(None::<&(Vec<u8>, String, bool)>, |best, form| match best {
            Some(best) if best.0.len() >= form.0.len() => Some(best),
            _ => Some(form),
        });
        if let Some((form, name, _)) = longest {
            cover(end - form.len(), end, name);
        }
    }
    let begun = (SECRET_BYTES_MIN..=text.len()).rev().find_map(|len| {
        let tail = &text[text.len() - len..];
        let form = forms.iter().find(|(form, _, marker)| !marker && form.starts_with(tail));
        form.map(|(_, name, _)| (len, name.clone()))
    });
    if let Some((len, name)) = begun {
        cover(text.len() - len, text.len(), &name);
    }
    let (mut out, mut from) = (Vec::new(), 0);
    for (start, end, name) in spans {
        out.extend_from_slice(&text[from..start]);
        out.extend_from_slice(name.as_bytes());
        from = end;
    }
    out.extend_from_slice(&text[from..]);
    out
}

fn check(values: &[(&str, &[u8])], text: &[u8], expected: &[u8]) {
    let secrets = secrets(values);
    let patterns = Patterns::new(&secrets);
    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(show(&patterns.clean(text)), show(expected));
    assert_eq!(show(&naive(&secrets, text)), show(expected), "naive");
}

#[test]
fn each_form_is_found_at_every_cut() {
    let value = b"pa\"ss/w'rd \\$1\xc3\xa9\n2";
    let secrets = secrets(&[("db/password", value)]);
    let patterns = Patterns::new(&secrets);
    for form in forms::of(value) {
        let text = [b"<", form.as_slice(), b">"].concat();
        let whole = patterns.clean(&text);
        assert_eq!(whole, naive(&secrets, &text));
        assert!(whole.starts_with(b"<[secret db/password]"), "{}", String::from_utf8_lossy(&form));
        for a in 0..text.len() {
            assert_eq!(streamed(&patterns, [&text[..a], &text[a..]]), whole, "cut at {a}");
        }
        assert_eq!(streamed(&patterns, text.chunks(1)), whole, "byte by byte");
    }
    // Two cuts anywhere.
    let text = [b"a", &value[..], &value[..], b"z"].concat();
    let whole = patterns.clean(&text);
    assert_eq!(whole, b"a[secret db/password][secret db/password]z");
    for a in 0..text.len() {
        for b in a..text.len() {
            assert_eq!(streamed(&patterns, [&text[..a], &text[a..b], &text[b..]]), whole, "cut at {a}, {b}");
        }
    }
}

#[test]
fn secrets_that_overlap_or_hold_each_other() {
    check(&[("a", b"hunter22")], b"", b"");
    check(&[("a", b"hunter22")], b"no such thing", b"no such thing");
    check(&[("a", b"abcabcabc")], b"xabcabcabcabcx", b"x[secret a]x");
    check(&[("long", b"the hunter22 key"), ("in", b"hunter22")], b"the hunter22 key", b"[secret long]");
    check(&[("long", b"the hunter22 key"), ("in", b"hunter22")], b"the hunter22 kez", b"the [secret in] kez");
    check(&[("l", b"aaabbbccc"), ("r", b"cccddd")], b"aaabbbcccddd.", b"[secret l].");
    check(&[("l", b"aaabbbccc"), ("r", b"cccddd")], b"aaabbbccccccddd.", b"[secret l][secret r].");
    check(&[("same", b"hunter22"), ("twin", b"hunter22")], b"hunter22.", b"[secret same].");
}

#[test]
fn short_ones_are_let_through_and_markers_are_not_replaced_again() {
    check(&[("pin", b"12345")], b"12345", b"12345");
    check(&[("a", b"secret")], b"my secret.", b"my [secret a].");
    check(&[("a", b"secret")], b"my [secret a].", b"my [secret a].");
    check(&[("a", b"]]]]]]"), ("b", b"]x]]]]")], b"[secret a]x]]]]]]", b"[secret a]");
}

#[test]
fn an_end_that_is_most_of_a_value_goes_as_well() {
    check(&[("a", b"hunter22")], b"it is hunter2", b"it is [secret a]");
    check(&[("a", b"hunter22")], b"it is hunte", b"it is hunte");
    check(&[("a", b"hunter22")], b"it is hunter2\n", b"it is hunter2\n");
    check(&[("a", b"hunter22")], b"[secret ", b"[secret ");
}

/// Little texts over few letters: everything overlaps everything.
#[test]
fn chance_finds_no_difference_to_the_naive_way() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    for round in 0..1500 {
        let letters: &[u8] = [&b"ab"[..], b"ab'", b"]ac ["][next(3)];
        let mut letter_text =
            |len: usize| (0..len).map(|_| letters[next(letters.len())]).collect::<Vec<u8>>();
        let values = [letter_text(6), letter_text(7), letter_text(9)];
        let text = letter_text(60);
        let names = ["a", "b", "c"];
        let pairs: Vec<_> =
            names.into_iter().zip(values.iter().map(Vec::as_slice)).take(1 + round % 3).collect();
        let secrets = secrets(&pairs);
        let patterns = Patterns::new(&secrets);
        let expected = naive(&secrets, &text);
        let mut pieces = Vec::new();
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(1 + next(rest.len()));
            pieces.push(piece);
            rest = more;
        }
        let got = streamed(&patterns, pieces);
        assert_eq!(
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(&expected),
            "{pairs:?} in {text:?}"
        );
    }
}

/// What is held is less than the longest form; and steps are counted, not time: at most two for a byte.
#[test]
fn hostile_text_is_held_within_bounds() {
    let value = [&[b'a'; 2000][..], b"b"].concat();
    let secrets = secrets(&[("a", &value), ("b", &[b'a'; 1500]), ("c", b"aaaaaaab")]);
    let patterns = Patterns::new(&secrets);
    let longest = forms::of(&value).iter().map(|form| form.len()).max().expect("a form");
    let mut state = State::default();
    let (mut out, mut most) = (0, 0);
    for _ in 0..200 {
        out += state.push(&patterns, &[b'a'; 1000]).len();
        most = most.max(state.held.len());
        assert!(state.spans.len() <= longest);
    }
    assert!(most < longest, "{most} held, the longest form has {longest}");
    out += state.finish(&patterns).len();
    assert!(out < 100, "{out} bytes of one long run");
    // A step goes to a child, or first up the tree: never more up than it came down.
    let mut state = ROOT;
    let mut steps = 0_u32;
    let text: Vec<u8> = (0..100_000).map(|at| if at % 1999 == 0 { b'c' } else { b'a' }).collect();
    for byte in &text {
        let mut at = state;
        while at != ROOT && patterns.child(at, *byte) == ROOT {
            at = patterns.node(at).fail;
            steps += 1;
        }
        state = patterns.step(state, *byte);
        steps += 1;
    }
    assert!(steps <= 2 * text.len() as u32, "{steps} steps");
}

#[test]
fn streams_do_not_mix_and_problems_are_cleaned() {
    let mut redactor = Redactor::new(&secrets(&[("a", b"hunter22")]));
    assert_eq!(redactor.push(Stream::Stdout, b"x hunt".to_vec()), b"x ");
    assert_eq!(redactor.push(Stream::Stderr, b"er22".to_vec()), b"er22");
    assert_eq!(redactor.push(Stream::Log, b"hun".to_vec()), b"");
    assert_eq!(redactor.push(Stream::Stdout, b"er22.".to_vec()), b"[secret a].");
    let rest = [(Stream::Stdout, Vec::new()), (Stream::Stderr, Vec::new()), (Stream::Log, b"hun".to_vec())];
    assert_eq!(redactor.finish_all(), rest);
    let mut problem = Problem::new("task.trap", "it is hunter22").hint("not aHVudGVyMjI=");
    redactor.patterns().clean_problem(&mut problem);
    assert_eq!(problem, Problem::new("task.trap", "it is [secret a]").hint("not [secret a]"));
    let mut without = Redactor::new(&Secrets::default());
    assert_eq!(without.push(Stream::Stdout, b"[secr".to_vec()), b"[secr");
}
