//! What a stub leaves out of a static glibc: output of C, locales, character sets, loading of libraries, the resolver, and
//! the unwinder of gcc. Nothing of ours calls them: names are resolved by `waft_stub::resolve`. They would come all the
//! same, because `malloc_stats` prints, an assertion is translated, a thread's name is put into a path with `sprintf`.
//!
//! Each name here is where such a chain begins. The stand-ins are weak: where another member of the C library brings the
//! real one after all, that one wins, so another glibc costs bytes and breaks nothing. See docs/decisions/0017, 0021 and
//! 0027.

use std::ffi::{c_char, c_int, c_ulong};

extern "C" fn null() -> usize {
    0
}

extern "C" fn failed() -> c_int {
    -1
}

extern "C" fn unsupported() -> c_int {
    libc::ENOSYS
}

/// A failed assertion of the C library: the process ends as with the real one, without the sentence.
extern "C" fn abort() -> ! {
    std::process::abort()
}

/// A text in the language it was written in.
extern "C" fn untranslated(_domain: *const c_char, text: *const c_char) -> *const c_char {
    text
}

/// Why `getaddrinfo` fails, as std asks for it.
extern "C" fn unresolved(_error: c_int) -> *const c_char {
    c"names are not resolved here".as_ptr()
}

/// An empty text. Only asked for the name of an error number that has none.
///
/// # Safety
///
/// `buffer` has room for `size` bytes.
unsafe extern "C" fn empty(buffer: *mut c_char, size: usize) -> c_int {
    if size > 0 {
        // SAFETY: there is room for one byte.
        unsafe { *buffer = 0 };
    }
    0
}

/// `strtol` and `strtoul` as the C library calls them: decimal digits, of which the kernel wrote these.
///
/// # Safety
///
/// `text` ends with a zero; `end` is null or can be written.
unsafe extern "C" fn decimal(text: *const c_char, end: *mut *const c_char, _base: c_int) -> c_ulong {
    let (mut at, mut number) = (text, 0);
    // SAFETY: `at` is at most the zero, which is no digit.
    while let digit @ b'0'..=b'9' = unsafe { at.cast::<u8>().read() } {
        number = c_ulong::saturating_add(c_ulong::saturating_mul(number, 10), c_ulong::from(digit - b'0'));
        // SAFETY: not the zero.
        at = unsafe { at.add(1) };
    }
    if !end.is_null() {
        // SAFETY: as the caller promises.
        unsafe { end.write(at) };
    }
    number
}

/// Tables and variables that nobody reads.
static NOTHING: [usize; 16] = [0; 16];

std::arch::global_asm!(
    // What prints for people to read, and for translators.
    ".weak __assert_fail", ".set __assert_fail, {abort}",
    ".weak __dcgettext", ".set __dcgettext, {untranslated}",
    ".weak __fxprintf", ".set __fxprintf, {failed}",
    ".weak __snprintf", ".set __snprintf, {empty}",
    ".weak fprintf", ".set fprintf, {failed}",
    // Threads: their names, and a guess at the stack of the first one from /proc/self/maps.
    ".weak pthread_getattr_np", ".set pthread_getattr_np, {unsupported}",
    ".weak pthread_setname_np", ".set pthread_setname_np, {unsupported}",
    // Symbols of libraries: a static program has none.
    ".weak dlsym", ".set dlsym, {null}",
    // Places to load libraries from, and a trampoline into them.
    ".weak _dl_init_paths", ".set _dl_init_paths, {null}",
    ".weak _dl_runtime_profile_avx", ".set _dl_runtime_profile_avx, {abort}",
    ".weak _dl_runtime_profile_avx512", ".set _dl_runtime_profile_avx512, {abort}",
    ".weak _dl_runtime_profile_sse", ".set _dl_runtime_profile_sse, {abort}",
    ".weak _dl_runtime_resolve_fxsave", ".set _dl_runtime_resolve_fxsave, {abort}",
    ".weak _dl_runtime_resolve_xsave", ".set _dl_runtime_resolve_xsave, {abort}",
    ".weak _dl_runtime_resolve_xsavec", ".set _dl_runtime_resolve_xsavec, {abort}",
    // Stacks that can be executed.
    ".weak __nptl_change_stack_perm", ".set __nptl_change_stack_perm, {unsupported}",
    // Files of C: what a fork locks, a thread makes lock, and `malloc_stats` prints to.
    ".weak _IO_enable_locks", ".set _IO_enable_locks, {null}",
    ".weak _IO_fputs", ".set _IO_fputs, {failed}",
    ".weak _IO_iter_begin", ".set _IO_iter_begin, {null}",
    ".weak _IO_iter_end", ".set _IO_iter_end, {null}",
    ".weak _IO_iter_file", ".set _IO_iter_file, {null}",
    ".weak _IO_iter_next", ".set _IO_iter_next, {null}",
    ".weak _IO_list_lock", ".set _IO_list_lock, {null}",
    ".weak _IO_list_resetlock", ".set _IO_list_resetlock, {null}",
    ".weak _IO_list_unlock", ".set _IO_list_unlock, {null}",
    ".weak fwrite", ".set fwrite, {null}",
    ".weak stderr", ".set stderr, {nothing}",
    // Their flush at the end is all that was in this list, which must be there.
    ".pushsection __libc_atexit, \"aw\"", ".balign 8", ".quad {null}", ".popsection",
    // The tables of the C locale: a thread gets a pointer to them, and numbers of the kernel are read by them.
    ".weak __ctype_init", ".set __ctype_init, {null}",
    ".weak strtol", ".set strtol, {decimal}",
    ".weak strtoul", ".set strtoul, {decimal}",
    // The resolver: the interface of WASI 0.2 that a component may import, and is refused, would bring it.
    ".weak getaddrinfo", ".set getaddrinfo, {failed}",
    ".weak freeaddrinfo", ".set freeaddrinfo, {null}",
    ".weak gai_strerror", ".set gai_strerror, {unresolved}",
    // It is looked after at the start and the end of each thread.
    ".weak __res_iclose", ".set __res_iclose, {null}",
    ".weak __res_init", ".set __res_init, {failed}",
    ".weak __res_vinit", ".set __res_vinit, {failed}",
    // Wide characters in files.
    ".weak __wcsmbs_clone_conv", ".set __wcsmbs_clone_conv, {null}",
    ".weak __wcsmbs_gconv_fcts_c", ".set __wcsmbs_gconv_fcts_c, {nothing}",
    ".weak __wcsmbs_load_conv", ".set __wcsmbs_load_conv, {null}",
    ".weak __wcsmbs_named_conv", ".set __wcsmbs_named_conv, {failed}",
    abort = sym abort,
    decimal = sym decimal,
    empty = sym empty,
    failed = sym failed,
    nothing = sym NOTHING,
    null = sym null,
    unresolved = sym unresolved,
    unsupported = sym unsupported,
    untranslated = sym untranslated,
);

/// A panic ends the stub: nothing is unwound, and no debugger's tables of compiled modules are registered.
#[cfg(panic = "abort")]
mod unwinder {
    use std::ffi::c_int;

    /// Where a panic came from, frame by frame: nothing, without tables. Not weak: the compiler has to see that no frame
    /// is ever looked at, then std's reader of debug information goes, too.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Backtrace(_each: usize, _argument: usize) -> c_int {
        const END_OF_STACK: c_int = 5;
        END_OF_STACK
    }

    std::arch::global_asm!(
        ".weak _Unwind_ForcedUnwind", ".set _Unwind_ForcedUnwind, {abort}",
        ".weak _Unwind_GetCFA", ".set _Unwind_GetCFA, {abort}",
        ".weak _Unwind_GetDataRelBase", ".set _Unwind_GetDataRelBase, {abort}",
        ".weak _Unwind_GetIPInfo", ".set _Unwind_GetIPInfo, {abort}",
        ".weak _Unwind_GetLanguageSpecificData", ".set _Unwind_GetLanguageSpecificData, {abort}",
        ".weak _Unwind_GetRegionStart", ".set _Unwind_GetRegionStart, {abort}",
        ".weak _Unwind_GetTextRelBase", ".set _Unwind_GetTextRelBase, {abort}",
        ".weak _Unwind_Resume", ".set _Unwind_Resume, {abort}",
        ".weak _Unwind_SetGR", ".set _Unwind_SetGR, {abort}",
        ".weak _Unwind_SetIP", ".set _Unwind_SetIP, {abort}",
        ".weak __deregister_frame", ".set __deregister_frame, {abort}",
        ".weak __gcc_personality_v0", ".set __gcc_personality_v0, {abort}",
        ".weak __register_frame", ".set __register_frame, {abort}",
        abort = sym super::abort,
    );
}
