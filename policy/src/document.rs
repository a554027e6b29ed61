//! TOML as far as a policy needs it: keys with one value or a list of values, in `[name]` and `[[name]]`.
//!
//! Dotted keys, tables within tables and lists within lists are valid TOML and mean nothing here; they are refused
//! by name, so that no part of a policy is read otherwise than it looks.

use crate::problems::{Problems, quoted};
use toml_parser::decoder::{Encoding, ScalarKind};
use toml_parser::parser::{EventReceiver, parse_document};
use toml_parser::{ErrorSink, ParseError, Source, Span};

/// Keys in one table; bounds the search for one that comes twice.
const KEYS_MAX: usize = 64;
/// What the syntax is blamed for: after a quote that is missing, nearly every line looks wrong.
const SYNTAX_PROBLEMS_MAX: usize = 5;

#[derive(Debug, Default)]
pub(crate) struct Document {
    /// What stands before the first header.
    pub(crate) top: Vec<Entry>,
    pub(crate) tables: Vec<Table>,
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// `[[name]]`: one of several.
    pub(crate) is_listed: bool,
    pub(crate) line: usize,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    One(Item),
    Many(Vec<Item>),
}

/// A value that has no parts.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    /// What a string says; of anything else, as it is written.
    pub(crate) text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Text,
    Bool(bool),
    Integer,
    Time,
    Float,
}

impl Kind {
    /// For "expected a text, found ..".
    pub(crate) fn what(self) -> &'static str {
        match self {
            Kind::Text => "a text",
            Kind::Bool(_) => "true or false",
            Kind::Integer | Kind::Float => "a number",
            Kind::Time => "a time",
        }
    }
}

/// `None` when the syntax is wrong: what is left then is full of holes, and would be blamed for them.
pub(crate) fn read(text: &str, problems: &mut Problems) -> Option<Document> {
    let source = Source::new(text);
    let mut reader = Reader::new(source, Lines::new(text));
    let mut errors = Vec::new();
    let tokens = source.lex().into_vec();
    // It recurses only where the reader says so, which is one level of lists.
    parse_document(&tokens, &mut reader, &mut errors);
    let line = |error: &ParseError| {
        let at = error.unexpected().or(error.context()).map_or(0, |span| span.start());
        reader.lines.at(at)
    };
    // They come in the order of the text, nearly.
    let mut errors: Vec<(usize, &ParseError)> = errors.iter().map(|error| (line(error), error)).collect();
    errors.dedup_by_key(|(line, _)| *line);
    for (line, error) in errors.into_iter().take(SYNTAX_PROBLEMS_MAX) {
        let message = format!("this is no TOML: {}", error.description());
        problems.say(
            line,
            "policy.syntax",
            message,
            "text stands in double quotes; docs/policy.md has an example",
        );
    }
    if !problems.is_empty() {
        return None;
    }
    for (line, message, hint) in reader.faults {
        problems.say(line, "policy.syntax", message, hint);
    }
    problems.is_empty().then_some(reader.document)
}

struct Reader<'t> {
    source: Source<'t>,
    lines: Lines,
    document: Document,
    /// Keys of the header or entry that is being read, with their places; more than one when dotted.
    keys: Vec<(String, usize)>,
    /// Values of the list that is being read.
    list: Option<Vec<Item>>,
    /// Lists and tables within a list, which are not read.
    faults: Vec<(usize, String, &'static str)>,
}

impl<'t> Reader<'t> {
    fn new(source: Source<'t>, lines: Lines) -> Reader<'t> {
        let document = Document::default();
        Reader { source, lines, document, keys: Vec::new(), list: None, faults: Vec::new() }
    }

    fn fault(&mut self, line: usize, message: impl Into<String>, hint: &'static str) {
        self.faults.push((line, message.into(), hint));
    }

    /// The one key that was read, and its line.
    fn key(&mut self) -> Option<(String, usize)> {
        let keys = std::mem::take(&mut self.keys);
        let dotted = keys.len() > 1;
        let (key, start) = keys.into_iter().next()?;
        let line = self.lines.at(start);
        if dotted {
            let message =
                format!("{} is a dotted name, which a policy has none of", quoted(&format!("{key}...")));
            self.fault(
                line,
                message,
                "tables are [[rule]], [[controller]] and [revoked], with plain keys in them",
            );
            return None;
        }
        Some((key, line))
    }

    fn header(&mut self, is_listed: bool) {
        if let Some((name, line)) = self.key() {
            self.document.tables.push(Table { name, is_listed, line, entries: Vec::new() });
        }
    }

    fn entry(&mut self, value: Value) {
        let Some((key, line)) = self.key() else { return };
        let entries = match self.document.tables.last_mut() {
            Some(table) => &mut table.entries,
            None => &mut self.document.top,
        };
        let first = entries.iter().find(|entry| entry.key == key).map(|entry| entry.line);
        match first {
            Some(first) => {
                let message = format!("the key {} is there twice, first in line {first}", quoted(&key));
                self.fault(line, message, "keep one of the two");
            }
            None if entries.len() == KEYS_MAX => {
                self.fault(
                    line,
                    format!("there are more than {KEYS_MAX} keys in one table"),
                    "begin another [[rule]]",
                );
            }
            None => entries.push(Entry { key, line, value }),
        }
    }
}

impl EventReceiver for Reader<'_> {
    fn std_table_open(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.keys.clear();
    }

    fn std_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.header(false);
    }

    fn array_table_open(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.keys.clear();
    }

    fn array_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.header(true);
    }

    fn simple_key(&mut self, span: Span, kind: Option<Encoding>, error: &mut dyn ErrorSink) {
        let mut key = String::new();
        match self.source.input().get(span.start()..span.end()) {
            Some(raw) => toml_parser::Raw::new_unchecked(raw, kind, span).decode_key(&mut key, error),
            None => error.report_error(ParseError::new("a key that is no text").with_unexpected(span)),
        }
        self.keys.push((key, span.start()));
    }

    fn scalar(&mut self, span: Span, kind: Option<Encoding>, error: &mut dyn ErrorSink) {
        let Some(raw) = self.source.input().get(span.start()..span.end()) else { return };
        let mut text = String::new();
        let kind = match toml_parser::Raw::new_unchecked(raw, kind, span).decode_scalar(&mut text, error) {
            ScalarKind::String => Kind::Text,
            ScalarKind::Boolean(value) => Kind::Bool(value),
            ScalarKind::DateTime => Kind::Time,
            ScalarKind::Float => Kind::Float,
            ScalarKind::Integer(_) => Kind::Integer,
        };
        let item = Item { line: self.lines.at(span.start()), kind, text };
        match &mut self.list {
            Some(list) => list.push(item),
            None => self.entry(Value::One(item)),
        }
    }

    fn array_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        if self.list.is_some() {
            self.fault(
                self.lines.at(span.start()),
                "a list within a list means nothing here",
                "take the inner brackets out",
            );
            return false;
        }
        self.list = Some(Vec::new());
        true
    }

    fn array_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        if let Some(list) = self.list.take() {
            self.entry(Value::Many(list));
        }
    }

    fn inline_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        let hint = "tables are [[rule]], [[controller]] and [revoked], with plain keys in them";
        self.fault(self.lines.at(span.start()), "a table in braces means nothing here", hint);
        if self.list.is_none() {
            self.keys.clear();
        }
        false
    }
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Lines {
        Lines(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// The line of a byte, from 1.
    fn at(&self, byte: usize) -> usize {
        self.0.partition_point(|start| *start <= byte)
    }
}
