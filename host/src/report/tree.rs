//! A tree drawn with lines, for `waft tree`.

use super::escape;
use super::paint::{self, Paint};

/// One line of the tree: what it is, something about it, and what is below.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Node {
    pub label: String,
    /// Shown behind the label; may be empty.
    pub note: String,
    pub children: Vec<Node>,
}

impl Node {
    pub fn new(label: impl Into<String>, note: impl Into<String>) -> Node {
        Node { label: label.into(), note: note.into(), children: Vec::new() }
    }

    pub fn child(mut self, child: Node) -> Node {
        self.children.push(child);
        self
    }
}

/// What the lines are drawn with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Glyphs {
    Unicode,
    Ascii,
}

impl Glyphs {
    /// Before a child that has later siblings, before the last one, and below each of these.
    fn parts(self) -> [&'static str; 4] {
        match self {
            Glyphs::Unicode => ["├── ", "└── ", "│   ", "    "],
            Glyphs::Ascii => ["|-- ", "`-- ", "|   ", "    "],
        }
    }
}

pub fn tree(root: &Node, glyphs: Glyphs, paint: Paint) -> String {
    let [middle, last, beside, below] = glyphs.parts();
    let mut out = String::new();
    push_line(&mut out, root, paint);
    // Children still to be drawn, level by level; a loop, because how deep a tree goes is not ours to say.
    let mut levels = vec![root.children.iter()];
    while let Some(level) = levels.last_mut() {
        let Some(node) = level.next() else {
            levels.pop();
            continue;
        };
        let (own, above) = levels.split_last().map_or((0, &[][..]), |(own, above)| (own.len(), above));
        for level in above {
            paint.push(&mut out, paint::QUIET, if level.len() > 0 { beside } else { below });
        }
        paint.push(&mut out, paint::QUIET, if own > 0 { middle } else { last });
        push_line(&mut out, node, paint);
        levels.push(node.children.iter());
    }
    out
}

fn push_line(out: &mut String, node: &Node, paint: Paint) {
    out.push_str(&escape::cell(&node.label));
    if !node.note.is_empty() {
        out.push_str("  ");
        paint.push(out, paint::QUIET, &escape::cell(&node.note));
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Node {
        let bastion = Node::new("bastion", "hop, 30 ms")
            .child(Node::new("web1", "").child(Node::new("c1", "container")))
            .child(Node::new("web2", ""));
        Node::new("controller", "").child(bastion).child(Node::new("db\u{1b}c1", "leaf"))
    }

    #[test]
    fn lines_join_what_belongs_together() {
        let expected = "controller\n\
                        ├── bastion  hop, 30 ms\n\
                        │   ├── web1\n\
                        │   │   └── c1  container\n\
                        │   └── web2\n\
                        └── db\\x1bc1  leaf\n";
        assert_eq!(tree(&sample(), Glyphs::Unicode, Paint::Plain), expected);
        let ascii = expected.replace(['├', '│'], "|").replace('└', "`").replace('─', "-");
        assert_eq!(tree(&sample(), Glyphs::Ascii, Paint::Plain), ascii);
        assert_eq!(tree(&Node::new("alone", ""), Glyphs::Ascii, Paint::Plain), "alone\n");
    }

    #[test]
    fn a_deep_chain_needs_no_deep_stack() {
        let mut chain = Node::new("end", "");
        for _ in 0..2000 {
            chain = Node::new("n", "").child(chain);
        }
        assert_eq!(tree(&chain, Glyphs::Ascii, Paint::Plain).lines().count(), 2001);
    }
}
