//! Of an import that no host of waft has: where it is usually from, and what would do instead.

use waft_engine::imports;
use waft_proto::grant::nearest;

/// What any task may import.
const MAY: &str =
    "tasks are WASI 0.1 commands (wasm32-wasip1) that may also import functions of waft_v1 (docs/waft-v1.md)";

/// For a module. `function` is what it imports from `module`.
pub(super) fn of_module(module: &str, function: &str) -> String {
    if let Some(known) = nearest(function, imports::functions(module).iter().copied()) {
        return format!("{module} has `{known}`; {MAY}");
    }
    let text = match module {
        "wasi_unstable" => {
            "that is WASI preview 0, of toolchains before 2020: build it with a newer one, for wasm32-wasip1"
        }
        "wasi_snapshot_preview1" => {
            "WASI 0.1 has no such function: the toolchain is newer or another than that of wasm32-wasip1"
        }
        "wasi" if function.starts_with("thread") => {
            "threads are not offered: build it without them, for wasm32-wasip1 and not wasm32-wasip1-threads"
        }
        "env"
            if matches!(
                function,
                "memory" | "__indirect_function_table" | "__stack_pointer" | "__memory_base"
            ) =>
        {
            "a task has its own memory and exports it as `memory`: it was linked for a browser, with threads or as a shared \
             library; build it as a command for wasm32-wasip1"
        }
        "env" => {
            "it was built for a browser or by Emscripten, or one of its functions is defined nowhere: build it for wasm32-wasip1 \
             (Emscripten: -sSTANDALONE_WASM; AssemblyScript: with its shim for WASI), and link what it calls"
        }
        "go" | "gojs" => "it was built for a browser: build it with GOOS=wasip1 GOARCH=wasm",
        "wbg" | "__wbindgen_placeholder__" | "__wbindgen_externref_xform__" => {
            "it was built with wasm-bindgen, which needs a browser: build it as a command for wasm32-wasip1, without it"
        }
        _ if module.starts_with("./") => {
            "it was built with wasm-bindgen, which needs a browser: build it as a command for wasm32-wasip1, without it"
        }
        _ if module.starts_with("wasix") => "that is WASIX: build it for wasm32-wasip1",
        _ if module.starts_with("waft_v") && imports::functions(module).is_empty() => {
            "that is another version of the interface: build it against this one, waft_v1, or get a newer waft"
        }
        _ if module.contains(':') || module.starts_with("[export]") => {
            "it is the core of a component: make that of it (wasm-tools component new), or build it for wasm32-wasip1"
        }
        _ => MAY,
    };
    text.to_owned()
}

/// For a component; `interface` is without its version.
pub(super) fn of_component(interface: &str) -> &'static str {
    match interface.split_once('/').map_or(interface, |(package, _)| package) {
        "wasi:http" => {
            "hosts of waft have no HTTP: ask for net:HOST:PORT and open a connection with `net` of waft:task/host, or leave it to \
             the task `uri` (call:uri)"
        }
        "wasi:sockets" => {
            "of wasi:sockets waft has what wasi:cli/command 0.2 imports, and gives no sockets: use `net` of waft:task/host"
        }
        "wasi:keyvalue" | "wasi:blobstore" | "wasi:messaging" | "wasi:config" | "wasi:nn"
        | "wasi:logging" => {
            "waft has no such service: a component may import what is in wasi:cli/command and in waft:task (sdk/wit/waft.wit)"
        }
        "wasi:threads" => "threads are not offered: build it without them",
        "waft:task" => "the interface is waft:task/host (sdk/wit/waft.wit)",
        _ => "a component may import what is in wasi:cli/command and in waft:task (sdk/wit/waft.wit)",
    }
}
