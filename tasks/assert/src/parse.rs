//! From the text of an expression to its tree: the part of Jinja that conditions are made of.

use crate::value::Value;

/// Expressions in each other.
const DEPTH_MAX: usize = 40;

#[derive(Clone, PartialEq, Debug)]
pub enum Tree {
    Value(Value),
    Name(String),
    List(Vec<Tree>),
    Member(Box<Tree>, String),
    Item(Box<Tree>, Box<Tree>),
    Not(Box<Tree>),
    Minus(Box<Tree>),
    Two(&'static str, Box<Tree>, Box<Tree>),
    Filter(Box<Tree>, String, Vec<Tree>),
    /// `is NAME`.
    Test(Box<Tree>, String, Vec<Tree>),
}

#[derive(Clone, PartialEq, Debug)]
enum Token {
    Word(String),
    Value(Value),
    Sign(&'static str),
}

/// The longer ones first.
const SIGNS: [&str; 21] = [
    "==", "!=", "<=", ">=", "//", "<", ">", "+", "-", "*", "/", "%", "~", "(", ")", "[", "]", ",", ".", "|",
    "=",
];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut left = text.trim_start();
    let mut tokens = Vec::new();
    while let Some(first) = left.chars().next() {
        let rest;
        if first == '"' || first == '\'' {
            let (value, after) = quoted(left, first)?;
            tokens.push(Token::Value(Value::Text(value)));
            rest = after;
        } else if first.is_ascii_digit() {
            let is_number = |c: char| !c.is_ascii_digit() && c != '.';
            let (digits, after) = left.split_at(left.find(is_number).unwrap_or(left.len()));
            let int = digits.parse().map(Value::Int).ok();
            let value = int.or_else(|| float(digits).map(Value::Float));
            tokens.push(Token::Value(value.ok_or_else(|| ["`", digits, "` is no number"].concat())?));
            rest = after;
        } else if first.is_ascii_alphabetic() || first == '_' {
            let is_other = |c: char| !c.is_ascii_alphanumeric() && c != '_';
            let (word, after) = left.split_at(left.find(is_other).unwrap_or(left.len()));
            tokens.push(match word {
                "true" | "True" => Token::Value(Value::Bool(true)),
                "false" | "False" => Token::Value(Value::Bool(false)),
                "none" | "None" => Token::Value(Value::None),
                _ => Token::Word(word.to_owned()),
            });
            rest = after;
        } else {
            let sign = SIGNS.iter().find(|sign| left.starts_with(**sign));
            let Some(sign) = sign else {
                return Err(["`", &first.to_string(), "` has no meaning here"].concat());
            };
            tokens.push(Token::Sign(sign));
            rest = left.get(sign.len()..).unwrap_or_default();
        }
        left = rest.trim_start();
    }
    Ok(tokens)
}

/// The standard library's own would be another 15 kB.
pub fn float(text: &str) -> Option<f64> {
    serde_json::from_str(text).ok()
}

/// The text between quotes, and what comes after.
fn quoted(text: &str, quote: char) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, other)) => value.push(other),
                None => break,
            },
            c if c == quote => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            c => value.push(c),
        }
    }
    Err("a quote is not closed".to_owned())
}

/// The tree of a whole text.
pub fn parse(text: &str) -> Result<Tree, String> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    let tree = parser.or()?;
    match parser.peek() {
        None => Ok(tree),
        Some(_) => Err(parser.unexpected("an operator, or the end")),
    }
}

/// Whether a name stands alone somewhere in a tree.
pub fn uses(tree: &Tree, name: &str) -> bool {
    match tree {
        Tree::Value(_) => false,
        Tree::Name(known) => known == name,
        Tree::List(list) => list.iter().any(|tree| uses(tree, name)),
        Tree::Member(tree, _) | Tree::Not(tree) | Tree::Minus(tree) => uses(tree, name),
        Tree::Item(a, b) | Tree::Two(_, a, b) => uses(a, name) || uses(b, name),
        Tree::Filter(tree, _, more) | Tree::Test(tree, _, more) => {
            uses(tree, name) || more.iter().any(|tree| uses(tree, name))
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

type Parsed = Result<Tree, String>;

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(known)) if known == word)
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(known)) if *known == sign);
        self.at += usize::from(found);
        found
    }

    fn any(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        signs.iter().find(|sign| self.sign(sign)).copied()
    }

    fn name(&mut self, what: &str) -> Result<String, String> {
        match self.peek() {
            Some(Token::Word(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            Some(Token::Value(Value::None)) => {
                self.at += 1;
                Ok("none".to_owned())
            }
            Some(Token::Value(Value::Bool(value))) => {
                let name = value.to_string();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected(what)),
        }
    }

    fn unexpected(&self, wanted: &str) -> String {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(Token::Word(word)) => ["`", word, "`"].concat(),
            Some(Token::Sign(sign)) => ["`", sign, "`"].concat(),
            Some(Token::Value(value)) => value.kind().to_owned(),
        };
        ["expected ", wanted, ", found ", &found].concat()
    }

    fn or(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("too many expressions in each other".to_owned());
        }
        let mut tree = self.and()?;
        while self.word("or") {
            tree = Tree::Two("or", Box::new(tree), Box::new(self.and()?));
        }
        self.depth -= 1;
        Ok(tree)
    }

    fn and(&mut self) -> Parsed {
        let mut tree = self.not()?;
        while self.word("and") {
            tree = Tree::Two("and", Box::new(tree), Box::new(self.not()?));
        }
        Ok(tree)
    }

    fn not(&mut self) -> Parsed {
        let mut times = 0_usize;
        while self.word("not") {
            times += 1;
        }
        let mut tree = self.compare()?;
        for _ in 0..times {
            tree = Tree::Not(Box::new(tree));
            if times > DEPTH_MAX {
                return Err("too many `not`".to_owned());
            }
        }
        Ok(tree)
    }

    fn compare(&mut self) -> Parsed {
        let tree = self.sum()?;
        if let Some(sign) = self.any(&["==", "!=", "<=", ">=", "<", ">"]) {
            return Ok(Tree::Two(sign, Box::new(tree), Box::new(self.sum()?)));
        }
        if self.word("in") {
            return Ok(Tree::Two("in", Box::new(tree), Box::new(self.sum()?)));
        }
        if self.is_word("not")
            && matches!(self.tokens.get(self.at + 1), Some(Token::Word(word)) if word == "in")
        {
            self.at += 2;
            return Ok(Tree::Not(Box::new(Tree::Two("in", Box::new(tree), Box::new(self.sum()?)))));
        }
        Ok(tree)
    }

    fn sum(&mut self) -> Parsed {
        let mut tree = self.product()?;
        while let Some(sign) = self.any(&["+", "-", "~"]) {
            tree = Tree::Two(sign, Box::new(tree), Box::new(self.product()?));
        }
        Ok(tree)
    }

    fn product(&mut self) -> Parsed {
        let mut tree = self.unary()?;
        while let Some(sign) = self.any(&["//", "*", "/", "%"]) {
            tree = Tree::Two(sign, Box::new(tree), Box::new(self.unary()?));
        }
        Ok(tree)
    }

    fn unary(&mut self) -> Parsed {
        match self.sign("-") {
            true => Ok(Tree::Minus(Box::new(self.postfix()?))),
            false => self.postfix(),
        }
    }

    fn postfix(&mut self) -> Parsed {
        let mut tree = self.primary()?;
        loop {
            if self.sign(".") {
                tree = Tree::Member(Box::new(tree), self.name("a name after `.`")?);
            } else if self.sign("[") {
                let item = self.or()?;
                self.close("]")?;
                tree = Tree::Item(Box::new(tree), Box::new(item));
            } else if self.sign("|") {
                let name = self.name("the name of a filter")?;
                let more = if self.sign("(") { self.list(")")? } else { Vec::new() };
                tree = Tree::Filter(Box::new(tree), name, more);
            } else if self.word("is") {
                let is_not = self.word("not");
                let name = self.name("the name of a test")?;
                let more = if self.sign("(") { self.list(")")? } else { Vec::new() };
                tree = Tree::Test(Box::new(tree), name, more);
                if is_not {
                    tree = Tree::Not(Box::new(tree));
                }
            } else {
                return Ok(tree);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        if self.sign("(") {
            let tree = self.or()?;
            self.close(")")?;
            return Ok(tree);
        }
        if self.sign("[") {
            return self.list("]").map(Tree::List);
        }
        let tree = match self.peek() {
            Some(Token::Value(value)) => Tree::Value(value.clone()),
            Some(Token::Word(word))
                if !matches!(word.as_str(), "and" | "or" | "not" | "in" | "is" | "if") =>
            {
                Tree::Name(word.clone())
            }
            _ => return Err(self.unexpected("a value")),
        };
        self.at += 1;
        Ok(tree)
    }

    fn close(&mut self, sign: &str) -> Result<(), String> {
        if self.sign(sign) { Ok(()) } else { Err(self.unexpected(&["`", sign, "`"].concat())) }
    }

    fn list(&mut self, end: &str) -> Result<Vec<Tree>, String> {
        let mut list = Vec::new();
        while !self.sign(end) {
            list.push(self.or()?);
            if !self.sign(",") {
                self.close(end)?;
                break;
            }
        }
        Ok(list)
    }
}
