//! Machine code that comes with an order, and the program that is to run it: what a node takes, and whose it runs.

use super::orders::{TASK, code, is_ok};
use super::rig::{Rig, envelope};
use super::{Place, WHO};
use crate::LIMIT;
use crate::component::made::guest;
use ed25519_dalek::SigningKey;
use std::fs;
use waft::compile::{Cache, artifact};
use waft::stubs::Shelf;
use waft_policy::site::key_text;
use waft_proto::envelope::Artifact;
use waft_proto::id::Hash;
use waft_proto::msg::{BlobKind, Outcome};
use waft_proto::run::Status;
use waft_tests::lab::Lab;
use waft_tests::waft::{Waft, binary};
use waft_tests::{Error, Result, need_root};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

/// An installed stub, and a link to it. Whoever comes may run anything.
fn installed(precompiled: &str) -> Result<(Place, Rig)> {
    let place = Place::start(|spec| spec)?;
    let known = key_text(&key().verifying_key().to_bytes());
    place.policy(&format!(
        "precompiled = \"{precompiled}\"\n[[controller]]\nname = \"{WHO}\"\nkey = \"{known}\"\n[[rule]]\nname = \"any\"\n"
    ))?;
    let rig = Rig::connect(&place, &key())?;
    assert_eq!(rig.hello.compiles, precompiled == "deny");
    Ok((place, rig))
}

/// What the controller's compiler makes of it for that node, which may then have it.
fn compiled(rig: &mut Rig, wasm: &[u8], worker: Option<Hash>) -> Result<Artifact> {
    let cache = Cache::new(None).compiler(binary()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let engine = rig.hello.engine;
    let made = runtime.block_on(artifact(&cache, "task", wasm, engine.arch, engine.profile));
    let made = made.map_err(|problem| Error::new(problem.message))?;
    let hash = rig.offer(BlobKind::Artifact, &made);
    Ok(Artifact { engine, hash, bytes: made.len() as u64, worker })
}

fn run(rig: &mut Rig, wasm: &[u8], artifact: Artifact) -> Result<(Outcome, String)> {
    let sealed = envelope(Hash::of(wasm), vec![artifact]).seal(&key()).expect("sealed");
    rig.order(&sealed)
}

/// The program that `waft` has for components here.
fn worker(rig: &mut Rig) -> Hash {
    let worker = Shelf::worker(rig.hello.engine.arch).ok().flatten().expect("a worker for here");
    rig.offer(BlobKind::Worker, &worker.bytes)
}

fn runs(what: &str, (outcome, stdout): &(Outcome, String)) {
    assert_eq!(outcome.status, Status::Ok, "{what}: {outcome:?}");
    assert!(stdout.contains("\"args\":[\"hello\"]"), "{what}: {stdout}");
}

#[test]
fn an_installed_stub_takes_no_worker_from_outside() -> Result<()> {
    need_root!("an account of its own");
    let wasm = guest()?;
    let (_place, mut rig) = installed("allow")?;
    let worker = worker(&mut rig);
    let component = compiled(&mut rig, &wasm, Some(worker))?;
    let (outcome, stdout) = run(&mut rig, &wasm, component)?;
    assert_eq!(code(&outcome), "worker.outside", "{outcome:?}");
    assert_ne!(outcome.status, Status::Ok, "{outcome:?}");
    assert!(stdout.is_empty() && outcome.walls.is_empty(), "it was started: {outcome:?}");
    let message = outcome.problem.as_ref().map_or("", |problem| problem.message.as_str());
    assert!(message.starts_with("`web1` runs components in its own program"), "{message}");
    // The same code without it is run by what is inside.
    runs("without a worker", &run(&mut rig, &wasm, Artifact { worker: None, ..component })?);
    // And with none but the module, by a node that compiles.
    drop(rig);
    let (_place, mut rig) = installed("deny")?;
    rig.offer(BlobKind::Task, &wasm);
    runs("compiled on the node", &run(&mut rig, &wasm, component)?);
    Ok(())
}

#[test]
fn a_pushed_stub_needs_the_worker_of_the_envelope() -> Result<()> {
    let wasm = guest()?;
    let lab = Lab::of(1)?;
    let path = Waft::new("stub")?.args(["path", "--kind", "leaf"]).limit(LIMIT);
    let path = path.run()?.expect_code(0)?.stdout();
    let leaf = lab.dir.path().join("leaf");
    fs::copy(path.trim(), &leaf).expect("the stub is where it says");
    let line = format!("exec '{}' --link installed", leaf.display());
    let mut rig = Rig::start(&lab, "h1", &line, &key())?;
    let component = compiled(&mut rig, &wasm, None)?;
    let (outcome, stdout) = run(&mut rig, &wasm, component)?;
    assert_eq!((code(&outcome), stdout.as_str()), ("worker.missing", ""), "{outcome:?}");
    assert_ne!(outcome.status, Status::Ok, "{outcome:?}");
    let message = outcome.problem.as_ref().map_or("", |problem| problem.message.as_str());
    assert_eq!(message, "task `hello` is a component, and nothing came to `h1` that runs components");
    let worker = worker(&mut rig);
    runs("with a worker", &run(&mut rig, &wasm, Artifact { worker: Some(worker), ..component })?);
    drop(rig);
    lab.wait_idle()
}

/// "allow" is what it says: whoever signs orders says what code a module is. "deny" believes only the module.
#[test]
fn the_artifact_of_another_module_is_nothing_to_a_node_that_compiles() -> Result<()> {
    need_root!("an account of its own");
    let (ours, theirs) = (TASK, TASK.replace("hello", "other"));
    let (ours, theirs) = (wat::parse_str(ours).expect("a module"), wat::parse_str(theirs).expect("a module"));
    let (_place, mut rig) = installed("deny")?;
    rig.offer(BlobKind::Task, &ours);
    let other = compiled(&mut rig, &theirs, None)?;
    is_ok(&run(&mut rig, &ours, other)?);
    drop(rig);
    let (_place, mut rig) = installed("allow")?;
    let other = compiled(&mut rig, &theirs, None)?;
    let (outcome, stdout) = run(&mut rig, &ours, other)?;
    assert_eq!((outcome.status, stdout.as_str()), (Status::Ok, "other\n"), "{outcome:?}");
    Ok(())
}
