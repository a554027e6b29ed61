//! Artifacts that have much in common: the second one costs what is new in it, on every link.

use std::fmt::Write;
use std::sync::Arc;

use waft::run::Request;
use waft_proto::msg::BlobKind;
use waft_tests::lab::Lab;
use waft_tests::proxy::{Settings, Snapshot};
use waft_tests::sshd::HostSpec;
use waft_tests::{Context, Result};

use super::{marks, since};
use crate::library::{Connected, module, wire_bytes};

/// Functions of an interpreter that several tasks bring along.
const FUNCTIONS: u32 = 1_200;
/// Of these, so many differ between two tasks; and so many bytes of data.
const OWN_FUNCTIONS: u32 = 20;
const OWN_DATA_BYTES: usize = 20_000;
/// The order and the offer of a run, and what is between SSH's packets, bytes.
const RUN_BYTES_MAX: u64 = 2_000;
/// What SSH and frames add to a stream: 1/50 of it.
const ENVELOPE_SHARE: u64 = 50;
/// At most so much of an artifact that is like another one goes over a link: what the project promises.
const SHARE_MAX: u64 = 5;

/// A task with a large library in it. `seed` makes the library, `own` what is the task's.
fn task(name: &str, seed: u32, own: u32) -> Result<Request> {
    let mut state = seed | 1;
    let mut text = String::from("(module (memory (export \"memory\") 16)\n");
    let function = |text: &mut String, number: u32, mut state: u32| {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        let _ = write!(text, "(func $f{number} (param i32) (result i32) (local i32)");
        for _ in 0..12 {
            let _ = write!(
                text,
                " local.get 0 i32.const {} i32.{} local.tee 1 i32.load offset={} local.get 1 i32.const {} i32.{} i32.add local.set 0",
                next(),
                ["add", "xor", "mul", "sub"][next() as usize % 4],
                next() % 60_000,
                next(),
                ["or", "and", "rotl", "shl"][next() as usize % 4],
            );
        }
        text.push_str(" local.get 0)\n");
    };
    for number in 0..FUNCTIONS {
        state = state.wrapping_mul(22_695_477).wrapping_add(1);
        function(&mut text, number, state);
    }
    for number in FUNCTIONS..FUNCTIONS + OWN_FUNCTIONS {
        function(&mut text, number, own.wrapping_mul(number));
    }
    let data: String = (0..OWN_DATA_BYTES as u32)
        .map(|at| format!("\\{:02x}", (own.wrapping_add(at).wrapping_mul(2_654_435_761) >> 24)))
        .collect();
    let _ = write!(text, "(func (export \"_start\")) (data (i32.const 0) \"{data}\"))");
    let wasm = wat::parse_str(&text).context(|| "the module of the test".to_owned())?;
    Ok(module(name, Arc::from(wasm)))
}

fn lab() -> Result<Lab> {
    let counted = |name: &str| HostSpec::new(name).proxied(Settings::default());
    Lab::builder().host(counted("a")).host(counted("b").via("a")).host(counted("c").via("b")).start()
}

/// One run of it: what each link carried.
fn run(lab: &Lab, connected: &mut Connected, task: &Request) -> Result<Vec<Snapshot>> {
    let marks = marks(lab);
    connected.run(task)?;
    Ok(since(lab, &marks))
}

#[test]
fn a_second_artifact_that_is_like_the_first_costs_a_fifth_of_itself_at_most_on_every_link() -> Result<()> {
    let lab = lab()?;
    let mut connected = Connected::to(&lab, &["c"])?;
    connected.wait_joined()?;
    let tasks = [task("one", 7, 1)?, task("two", 7, 2)?, task("other", 1_000_003, 3)?];
    let mut sent: Vec<Vec<u8>> = Vec::new();
    for task in &tasks {
        sent.push(connected.artifact(task)?);
        let artifacts: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
        let wire = wire_bytes(BlobKind::Artifact, &artifacts);
        let alone = wire_bytes(BlobKind::Artifact, &artifacts[artifacts.len() - 1..]);
        let whole = artifacts[artifacts.len() - 1].len() as u64;
        assert!(whole > 500_000, "{whole} bytes are no large artifact");
        match task.task.as_str() {
            "one" => assert_eq!(wire, alone),
            "two" => assert!(wire < whole / SHARE_MAX && wire < alone / 2, "{wire} of {whole}"),
            // Headers and tables are in all of them, code is not, though it resembles what deflate knows already.
            _ => assert!(wire > alone / 4 * 3, "{wire}, {alone} alone"),
        }
        assert!(alone < whole / 10 * 9, "{alone} bytes of {whole}: it is compressed");
        for (host, link) in lab.hosts.iter().zip(run(&lab, &mut connected, task)?) {
            let most = wire + wire / ENVELOPE_SHARE + RUN_BYTES_MAX;
            let up = link.up_bytes;
            assert!((wire..most).contains(&up), "{} to {}: {up} bytes, not {wire}", task.task, host.name);
        }
        // The same once more: no part of it.
        for (host, link) in lab.hosts.iter().zip(run(&lab, &mut connected, task)?) {
            assert!(link.up_bytes < RUN_BYTES_MAX, "{} again to {}: {link:?}", task.task, host.name);
        }
    }
    connected.stop()?;
    lab.wait_idle()
}
