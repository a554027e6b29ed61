//! `waft tree`: the shape of the tree, as planned and as it came to be.

use super::args::Tree;
use super::{Done, interrupt, print, targets};
use crate::census::{self, Found};
use crate::controller::Controller;
use crate::report::{self, tree::Node as TreeNode};
use crate::tree::{Shape, ShapeNode};
use std::collections::BTreeMap;
use waft_proto::id::NodeId;

pub(super) async fn tree(args: Tree) -> Done {
    let selection = targets::select(&args.targets)?;
    let shape = selection.shape.clone();
    print::draw(&drawing(&shape, None))?;
    if args.dry {
        return Ok(0);
    }
    let mut controller = Controller::start(selection.shape, selection.setup)?;
    let (found, finished) = census::take(&mut controller, interrupt(), |_, _| {}).await;
    controller.stop().await;
    print::out("\n")?;
    print::draw(&drawing(&shape, Some(&found)))?;
    Ok(report::exit_code(finished.counts.keys().copied()))
}

/// The tree for the printer: before dialling with the way to each node, after with what was found there.
pub(super) fn drawing(shape: &Shape, found: Option<&BTreeMap<NodeId, Found>>) -> TreeNode {
    let label = "controller".to_owned();
    let count = shape.selected().count();
    let note = format!("{count} target{}", if count == 1 { "" } else { "s" });
    TreeNode { label, note, children: below(shape, NodeId::ROOT, found) }
}

fn below(shape: &Shape, parent: NodeId, found: Option<&BTreeMap<NodeId, Found>>) -> Vec<TreeNode> {
    shape
        .children(parent)
        .map(|node| TreeNode {
            label: node.endpoint.name.clone(),
            note: match found {
                None => planned(node),
                Some(found) => met(node, found.get(&node.id)),
            },
            children: below(shape, node.id, found),
        })
        .collect()
}

fn planned(node: &ShapeNode) -> String {
    let tunnel: Vec<&str> = node.tunnel.iter().map(|hop| hop.name.as_str()).collect();
    let through =
        if tunnel.is_empty() { String::new() } else { format!(", tunnel through {}", tunnel.join(" > ")) };
    let role = if node.selected { "" } else { ", only on the way" };
    format!("{}{role}{through}", node.kind.word())
}

fn met(node: &ShapeNode, found: Option<&Found>) -> String {
    match found {
        Some(Found::Here { hello, rtt }) => {
            let rtt = rtt.as_secs_f64() * 1000.0;
            format!(
                "{}, {rtt:.1} ms, {} as {}, {}",
                node.kind.word(),
                hello.engine.arch.word(),
                hello.user,
                hello.delivery
            )
        }
        Some(Found::Missing { status, problem }) => format!("{status}: {}", problem.message),
        None => "not asked".to_owned(),
    }
}
