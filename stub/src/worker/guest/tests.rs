//! What the linker really defines, beside the lists that the controller goes by. Executions are tested as
//! processes, in `tests/`.

use super::{Calls, Listings, State, linker};
use crate::worker::wire::Link;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::sync::Arc;
use waft_engine::Form;
use waft_engine::imports::{WAFT, WAFT_FUNCTIONS, WASI, WASI_FUNCTIONS};
use waft_proto::msg::{Arch, Engine as EngineId, Profile};
use wasmtime::{Engine, Store, StoreLimitsBuilder};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::WasiP1Ctx;

/// Of an execution that has no stub to ask.
pub(super) fn state(wasi: WasiP1Ctx) -> State {
    let pair =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("pair");
    let calls = Calls::new(&Arc::new(Link::new(pair.0)), 0);
    let limits = StoreLimitsBuilder::new().build();
    State { wasi, limits, calls, denied: &[], listings: Listings::default() }
}

#[test]
fn the_linker_defines_exactly_what_the_lists_say() {
    let Some(arch) = Arch::here() else { return };
    let config =
        waft_engine::config(EngineId { arch, profile: Profile::Small }, Form::Module).expect("config");
    let engine = Engine::new(&config).expect("engine");
    let mut store = Store::new(&engine, state(WasiCtxBuilder::new().build_p1()));
    let linker = linker(&engine).expect("linker");
    let mut defined: Vec<_> =
        linker.iter(&mut store).map(|(module, name, _)| (module.to_owned(), name.to_owned())).collect();
    defined.sort();
    let listed = |module: &str, names: &[&str]| -> Vec<_> {
        names.iter().map(|name| (module.to_owned(), (*name).to_owned())).collect()
    };
    let mut lists = [listed(WASI, &WASI_FUNCTIONS), listed(WAFT, &WAFT_FUNCTIONS)].concat();
    lists.sort();
    assert_eq!(defined, lists);
}
