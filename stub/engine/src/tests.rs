use super::{Form, artifact_key, compile, config, imports};
use std::collections::HashSet;
use waft_proto::msg::{Arch, Engine as EngineId, Profile};

const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

fn all() -> Vec<EngineId> {
    let of = |profile| Arch::ALL.map(|arch| EngineId { arch, profile });
    [of(Profile::Fast), of(Profile::Small)].concat()
}

#[test]
fn every_engine_compiles_and_has_a_key_of_its_own() {
    let mut keys = HashSet::new();
    for engine in all() {
        assert!(compile(engine, EMPTY).expect("compiles").starts_with(b"\x7fELF"));
        assert!(keys.insert(artifact_key(engine, Form::Module).expect("key").to_string()));
    }
}

#[test]
fn an_artifact_loads_where_it_was_meant_for_and_nowhere_else() {
    let Some(arch) = Arch::here() else { return };
    for profile in [Profile::Fast, Profile::Small] {
        let here = wasmtime::Engine::new(&config(EngineId { arch, profile }, Form::Module).expect("config"))
            .expect("engine");
        for engine in all() {
            let artifact = compile(engine, EMPTY).expect("compiles");
            // SAFETY: the bytes come from the compiler, one line above.
            let loaded = unsafe { wasmtime::Module::deserialize(&here, artifact) };
            assert_eq!(loaded.is_ok(), engine == EngineId { arch, profile }, "{engine:?} on {profile:?}");
        }
    }
}

#[test]
fn a_component_has_a_key_of_its_own_and_is_known_by_its_first_bytes() {
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    assert_eq!((Form::of_wasm(EMPTY), Form::of_wasm(COMPONENT)), (Form::Module, Form::Component));
    for engine in all() {
        for wasm in [EMPTY, COMPONENT] {
            let artifact = compile(engine, wasm).expect("compiles");
            assert_eq!(Form::of_artifact(&artifact), Form::of_wasm(wasm), "{engine:?}");
        }
        let keys = [Form::Module, Form::Component].map(|form| artifact_key(engine, form).expect("key"));
        assert_ne!(keys[0], keys[1]);
    }
    assert_eq!(Form::of_artifact(b"short"), Form::Module);
}

#[test]
fn proposals_beyond_the_list_are_refused() {
    let engine = EngineId { arch: Arch::X86_64, profile: Profile::Fast };
    let memory64 = [EMPTY, b"\x05\x03\x01\x04\x01"].concat();
    let two_memories = [EMPTY, b"\x05\x05\x02\x00\x01\x00\x01"].concat();
    let shared_memory = [EMPTY, b"\x05\x04\x01\x03\x01\x01"].concat();
    let one_memory = [EMPTY, b"\x05\x03\x01\x00\x01"].concat();
    for module in [memory64, two_memories, shared_memory] {
        assert!(compile(engine, &module).is_err(), "{module:02x?}");
    }
    assert!(compile(engine, &one_memory).is_ok());
}

#[test]
fn import_lists_are_sorted_so_that_a_name_is_found_once() {
    assert!(imports::WASI_FUNCTIONS.is_sorted() && imports::WAFT_FUNCTIONS.is_sorted());
    assert!(imports::functions("env").is_empty());
    assert!(imports::components::INTERFACES.is_sorted());
    assert!(imports::components::INTERFACES.iter().all(|(_, functions)| functions.is_sorted()));
    assert!(
        imports::components::functions("wasi:cli/exit")
            .is_some_and(|known| known.contains(&"exit-with-code"))
    );
    assert!(imports::components::functions("wasi:http/types").is_none());
    for (version, has) in
        [("0.2.0", true), ("0.2.12", true), ("0.2.13", false), ("0.3.0", false), ("0.2.0-rc-1", false)]
    {
        assert_eq!(imports::components::has_version("wasi:cli/exit", version), has, "{version}");
    }
}

#[test]
fn the_header_and_the_wit_declare_the_functions() {
    let header = include_str!("../../../sdk/include/waft.h");
    let declared: Vec<&str> = header
        .lines()
        .filter_map(|line| line.strip_prefix("WAFT_IMPORT(\"")?.split_once('"'))
        .map(|(name, _)| name)
        .collect();
    let mut sorted = declared.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, imports::WAFT_FUNCTIONS);
    let wit = include_str!("../../../sdk/wit/waft.wit");
    // There an answer needs no taking.
    for name in imports::WAFT_FUNCTIONS.iter().filter(|name| **name != "take") {
        assert!(wit.contains(&format!("    {name}: func(")), "{name}");
    }
}
