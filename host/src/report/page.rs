//! What is told under headings, in lines that are set in.

use super::escape;
use super::paint::{self, Paint};

pub struct Page {
    out: String,
    paint: Paint,
}

impl Page {
    pub fn new(paint: Paint) -> Page {
        Page { out: String::new(), paint }
    }

    /// A heading after an empty line.
    pub fn head(&mut self, text: &str) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.paint.push(&mut self.out, paint::HEADER, &format!("{}:", escape::cell(text)));
        self.out.push('\n');
    }

    pub fn line(&mut self, depth: usize, text: &str) {
        self.out.push_str(&"  ".repeat(depth));
        self.out.push_str(&escape::cell(text));
        self.out.push('\n');
    }

    /// A line that is a warning.
    pub fn bad(&mut self, depth: usize, text: &str) {
        self.out.push_str(&"  ".repeat(depth));
        self.paint.push(&mut self.out, paint::BAD, &escape::cell(text));
        self.out.push('\n');
    }

    pub fn field(&mut self, name: &str, value: &str) {
        self.line(1, &format!("{name}: {value}"));
    }

    pub fn text(self) -> String {
        self.out
    }
}
