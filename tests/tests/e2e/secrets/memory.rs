//! A stub outlives the runs that it does: what it knew of a secret is overwritten.

use super::scan::Search;
use super::{NAME, fresh};
use crate::attack::arena::{attacks, warm_up};
use crate::library::{Connected, module};
use serde_json::json;
use std::fs;
use std::time::Duration;
use waft::event::{Body, Stream};
use waft::run::Request;
use waft::secret::Sent;
use waft_proto::secret::Secret;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::process::{descendants, wait_until};
use waft_tests::{Result, need_root};

/// Much less than it takes until something else is written over it by chance.
const GONE_LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_stub_that_lives_on_has_overwritten_the_value() -> Result<()> {
    need_root!("reading the memory of a stub");
    let lab = Lab::of(1)?;
    warm_up()?;
    let guard = LeakGuard::start();
    let place = lab.dir.path().join("place");
    fs::create_dir(&place).expect("made");
    let go = place.join("go");
    let (value, known) = (fresh("secret"), fresh("known"));
    let mut link = Connected::to(&lab, &["h1"])?;
    link.wait_joined()?;
    let stubs = || {
        let below = descendants(&[lab.host("h1").pid()]).into_iter();
        let stubs = below.filter(|process| process.command.starts_with("waft-stub"));
        stubs.map(|process| process.id.pid).collect::<Vec<u32>>()
    };
    // Before there is a worker: these stay.
    let lasting = stubs();
    assert!(!lasting.is_empty());
    let params = json!({
        "attack": "tell-secret", "name": NAME, "known": known, "directory": place, "hold": go, "print": true, "calls": false,
    });
    let mut request = Request {
        params: params.to_string().into_bytes(),
        allow: vec![
            format!("secret:{NAME}"),
            format!("fs:{}:rw", place.display()),
            "exec:/bin/sh -c **".to_owned(),
            "env:KNOWN".to_owned(),
        ],
        ..module("attacks", attacks()?)
    };
    let secret = Secret::new(value.clone().into_bytes().into(), true).expect("text");
    request.secrets = Sent::default();
    request.secrets.secrets.insert(NAME, secret).expect("a secret");
    let search = Search::of(&value);
    let mut held = Vec::new();
    let ran = link.run_seen(&request, |event| {
        let Body::Output { stream: Stream::Log, bytes } = &event.body else { return };
        if bytes.windows(7).any(|word| word == b"holding") {
            held = search.in_memory_of(lasting.iter().copied());
            fs::write(&go, "").expect("written");
        }
    })?;
    assert!(!held.is_empty(), "the search finds it in the stub while the task runs");
    let shown = [&ran.results[0].stdout[..], &ran.results[0].stderr].concat();
    assert!(Search::of(&known).is_in(&shown) && !search.is_in(&shown));
    // The result is there a moment before the job is put away, and its worker has ended.
    wait_until("the value to be gone", GONE_LIMIT, || search.in_memory_of(stubs()).is_empty().then_some(()))?;
    assert!(lasting.iter().all(|pid| stubs().contains(pid)), "the stub lives");
    link.stop()?;
    guard.check()
}
