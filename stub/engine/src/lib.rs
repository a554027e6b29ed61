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
/// multiple memories, garbage collection, exceptions, components) is refused when the task is compiled.
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

/// The same proposals for a validator of its own, which does not need an engine.
#[cfg(feature = "compile")]
pub fn parser_features() -> wasmparser::WasmFeatures {
    wasmparser::WasmFeatures::from_bits_truncate(FEATURES.bits())
}

/// What runs a task on a target. `arch` is the target's, not ours.
pub fn config(engine: EngineId) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    // A named target is what keeps the features of the compiling machine's CPU out of the artifact.
    config.target(triple(engine.arch))?;
    config.wasm_features(FEATURES, true);
    config.wasm_features(FEATURES.complement(), false);
    config.concurrency_support(false);
    config.relaxed_simd_deterministic(true);

    // No thread ticks the epoch: at the deadline the worker is killed, which also ends host calls. The
    // checks are in the code all the same, so that a later stub can interrupt a task without new artifacts.
    config.epoch_interruption(true);
    config.max_wasm_stack(GUEST_STACK_BYTES);
    config.async_stack_size(FIBER_STACK_BYTES);
    config.memory_init_cow(true);
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
pub fn artifact_key(engine: EngineId) -> wasmtime::Result<ArtifactKey> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    // Differs between releases of Rust at worst: that costs one compilation.
    let mut hasher = DefaultHasher::new();
    wasmtime::Engine::new(&config(engine)?)?.precompile_compatibility_hash().hash(&mut hasher);
    let profile = match engine.profile {
        Profile::Fast => "fast",
        Profile::Small => "small",
    };
    Ok(ArtifactKey(format!("{}-{profile}-{:016x}", engine.arch.word(), hasher.finish())))
}

/// Compiles one core module. `wasm` must have been validated: the text format is refused by the caller.
#[cfg(feature = "cranelift")]
pub fn compile(engine: EngineId, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    wasmtime::Engine::new(&config(engine)?)?.precompile_module(wasm)
}

#[cfg(all(test, feature = "compile"))]
mod tests;
