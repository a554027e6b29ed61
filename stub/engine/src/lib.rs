//! The one place where a [`wasmtime::Config`] is made.
//!
//! The controller compiles a task ahead of time, a stub loads the result, and wasmtime refuses an artifact
//! whose configuration is not its own. So everything that changes an artifact, or what a loader accepts, is
//! set here and nowhere else, explicitly: wasmtime's defaults follow cargo features, and the two programs
//! are built with different ones.
//!
//! May not: read the environment, the clock or the host's CPU. An artifact is the same wherever it was
//! compiled, and runs on every CPU of its architecture.

use std::fmt;
use waft_proto::msg::{Arch, Engine as EngineId, Profile};
use wasmtime::{Config, WasmFeatures};

pub mod imports;

/// Addresses kept for each linear memory by `fast`, bytes: all that a 32-bit guest can name, so that no
/// access needs a bounds check.
const FAST_RESERVATION_BYTES: u64 = 4 << 30;
/// Addresses behind each memory that trap, bytes. Larger than nearly every static offset in real modules.
const FAST_GUARD_BYTES: u64 = 32 << 20;
/// The same for `small`, which must live under `ulimit -v`: one guard of one wasm page.
const SMALL_GUARD_BYTES: u64 = 64 << 10;
/// A `small` memory that had to move keeps this much room to grow, bytes.
const SMALL_GROWTH_BYTES: u64 = 1 << 20;
/// Stack of the guest, bytes. Deeper recursion is a trap.
const GUEST_STACK_BYTES: usize = 1 << 20;
/// Stack of guest and host calls together, bytes. Mapped, not touched.
const FIBER_STACK_BYTES: usize = 2 << 20;

/// The proposals a task may use: what compilers for WASI 0.1 emit today. All else (threads, 64-bit and
/// multiple memories, garbage collection, exceptions) is refused when the task is compiled.
pub const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::BULK_MEMORY_OPT)
    .union(WasmFeatures::CALL_INDIRECT_OVERLONG);

/// What a component, and the modules in it, may use besides. Where one inner component calls another, wasmtime copies
/// between their memories by a module that it makes itself, and which has both.
const COMPONENT_FEATURES: WasmFeatures = WasmFeatures::COMPONENT_MODEL.union(WasmFeatures::MULTI_MEMORY);

/// The same proposals for a validator of its own, which does not need an engine.
#[cfg(feature = "compile")]
pub fn parser_features(form: Form) -> wasmparser::WasmFeatures {
    wasmparser::WasmFeatures::from_bits_truncate(form.features().bits())
}

/// What a task is made as.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// A core module, WASI 0.1.
    Module,
    /// A component, WASI 0.2.
    Component,
}

impl Form {
    /// Of WebAssembly, by the version and layer in its first bytes. What is neither is a module that its reader refuses.
    pub fn of_wasm(wasm: &[u8]) -> Form {
        if wasm.starts_with(COMPONENT_HEADER) { Form::Component } else { Form::Module }
    }

    /// Of an artifact: wasmtime writes it into the flags of the ELF file.
    pub fn of_artifact(artifact: &[u8]) -> Form {
        let flags = artifact.get(ELF_FLAGS_AT).copied().unwrap_or_default();
        if flags & ELF_FLAG_COMPONENT != 0 { Form::Component } else { Form::Module }
    }

    fn features(self) -> WasmFeatures {
        match self {
            Form::Module => FEATURES,
            Form::Component => FEATURES.union(COMPONENT_FEATURES),
        }
    }
}

/// `\0asm`, version 13, layer 1.
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
/// `e_flags` of a 64-bit little-endian ELF file, its first byte.
const ELF_FLAGS_AT: usize = 48;
/// As in wasmtime-environ; a test compiles one of each form and looks.
const ELF_FLAG_COMPONENT: u8 = 1 << 1;

/// What runs a task on a target. `arch` is the target's, not ours.
pub fn config(engine: EngineId, form: Form) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    // A named target is what keeps the features of the compiling machine's CPU out of the artifact.
    config.target(triple(engine.arch))?;
    config.wasm_features(form.features(), true);
    config.wasm_features(form.features().complement(), false);
    config.concurrency_support(false);
    config.relaxed_simd_deterministic(true);

    // No thread ticks the epoch: at the deadline the worker is killed, which also ends host calls. The
    // checks are in the code all the same, so that a later stub can interrupt a task without new artifacts.
    config.epoch_interruption(true);
    config.max_wasm_stack(GUEST_STACK_BYTES);
    config.async_stack_size(FIBER_STACK_BYTES);
    // The image of a memory is the artifact's own file; that of a component would be a new one, which a worker may not make.
    config.memory_init_cow(form == Form::Module);
    config.table_lazy_init(true);
    config.signals_based_traps(true);
    config.guard_before_linear_memory(false);
    match engine.profile {
        Profile::Fast => {
            config.memory_reservation(FAST_RESERVATION_BYTES);
            config.memory_guard_size(FAST_GUARD_BYTES);
            config.memory_may_move(false);
        }
        Profile::Small => {
            config.memory_reservation(0);
            config.memory_guard_size(SMALL_GUARD_BYTES);
            config.memory_reservation_for_growth(SMALL_GROWTH_BYTES);
            config.memory_may_move(true);
        }
    }

    // Function names for traps come from the name section. Positions inside a function would need a table
    // that makes artifacts about a fifth larger, and unwind tables only serve native debuggers.
    config.wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
    config.generate_address_map(false);
    config.native_unwind_info(false);
    #[cfg(feature = "cranelift")]
    config.cranelift_opt_level(wasmtime::OptLevel::Speed);
    Ok(config)
}

/// The Rust name of the platform that code for `arch` is generated for. A stub linked against musl loads
/// it as well: only architecture and operating system count.
pub fn triple(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "x86_64-unknown-linux-gnu",
        Arch::Aarch64 => "aarch64-unknown-linux-gnu",
    }
}

/// Names everything besides the module that decides an artifact's bytes: architecture, profile, and
/// wasmtime's own hash of its version and configuration. Usable as a file name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ArtifactKey(String);

impl fmt::Display for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of what this program's compiler makes for `engine`.
#[cfg(feature = "compile")]
pub fn artifact_key(engine: EngineId, form: Form) -> wasmtime::Result<ArtifactKey> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    // Differs between releases of Rust at worst: that costs one compilation.
    let mut hasher = DefaultHasher::new();
    wasmtime::Engine::new(&config(engine, form)?)?.precompile_compatibility_hash().hash(&mut hasher);
    let profile = match engine.profile {
        Profile::Fast => "fast",
        Profile::Small => "small",
    };
    Ok(ArtifactKey(format!("{}-{profile}-{:016x}", engine.arch.word(), hasher.finish())))
}

/// Compiles one module or component. `wasm` must have been validated: the text format is refused by the caller.
#[cfg(feature = "cranelift")]
pub fn compile(engine: EngineId, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let form = Form::of_wasm(wasm);
    let engine = wasmtime::Engine::new(&config(engine, form)?)?;
    match form {
        Form::Module => engine.precompile_module(wasm),
        Form::Component => engine.precompile_component(wasm),
    }
}

#[cfg(all(test, feature = "compile"))]
mod tests;
