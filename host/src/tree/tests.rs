use super::*;

fn target(path: &[&str]) -> Target {
    let (name, via) = path.split_last().expect("a target has a name");
    let via = via.iter().map(|hop| Endpoint::named(hop)).collect();
    Target { endpoint: Endpoint::named(name), via, allow: Vec::new() }
}

fn summary(shape: &Shape) -> Vec<(u32, u32, u32, &str, bool)> {
    let line = |node: &ShapeNode| (node.id.0, node.last.0, node.parent.0, node.kind.word(), node.selected);
    shape.nodes().iter().map(line).collect()
}

#[test]
fn hops_are_shared_and_ranges_hold_all_descendants() {
    let shape =
        shape(&[target(&["bas", "t1"]), target(&["solo"]), target(&["bas", "in", "t2"]), target(&["bas"])])
            .expect("a tree");
    assert_eq!(
        summary(&shape),
        [
            (1, 4, 0, "hop", true),
            (2, 2, 1, "leaf", true),
            (3, 4, 1, "hop", false),
            (4, 4, 3, "leaf", true),
            (5, 5, 0, "leaf", true),
        ]
    );
    assert_eq!(shape.path(NodeId(4)), ["bas", "in", "t2"]);
    assert_eq!(ranges(shape.selected().map(|node| node.id)).len(), 2);
}

#[test]
fn a_tunnel_ends_before_the_first_relay_behind_it() {
    let mut deep = target(&["outer", "inner", "leaf"]);
    deep.via[1].via_mode = ViaMode::Tunnel;
    let shape = shape(&[deep]).expect("a tree");
    assert_eq!(summary(&shape), [(1, 2, 0, "hop", false), (2, 2, 1, "leaf", true)]);
    assert_eq!(shape.nodes()[0].endpoint.name, "inner");
    assert_eq!(shape.nodes()[0].tunnel[0].name, "outer");
}

#[test]
fn all_problems_at_once() {
    let deep: Vec<String> = (0..DEPTH_MAX + 1).map(|at| format!("h{at}")).collect();
    let deep: Vec<&str> = deep.iter().map(String::as_str).collect();
    let problems =
        shape(&[target(&["a", "a"]), target(&deep), target(&["fine"])]).expect_err("two are wrong");
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(codes, ["tree.loop", "tree.depth"]);
}
