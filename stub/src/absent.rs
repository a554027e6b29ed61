//! What a stub leaves out of a static glibc: formatted output of C, locales, character sets, loading of libraries, the
//! resolver. Nothing of ours calls them: names are resolved by `waft_stub::resolve`. They would come all the same, 430 kB of them (180 kB on the wire), because
//! `malloc_stats` prints, an assertion is translated, and a thread's name is put into a path with `sprintf`.
//!
//! Each name here is where such a chain begins. The stand-ins are weak: where another member of the C library brings the
//! real one after all, that one wins, so another glibc costs bytes and breaks nothing. See docs/decisions/0017 and 0021.

use std::ffi::{c_char, c_int};

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

/// The functions for wide characters of the C locale, which nobody calls.
static FUNCTIONS: [usize; 16] = [0; 16];

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
    // The resolver, which is looked after at the start and the end of each thread.
    ".weak __res_iclose", ".set __res_iclose, {null}",
    ".weak __res_init", ".set __res_init, {failed}",
    ".weak __res_vinit", ".set __res_vinit, {failed}",
    // Wide characters in files.
    ".weak __wcsmbs_clone_conv", ".set __wcsmbs_clone_conv, {null}",
    ".weak __wcsmbs_gconv_fcts_c", ".set __wcsmbs_gconv_fcts_c, {functions}",
    ".weak __wcsmbs_load_conv", ".set __wcsmbs_load_conv, {null}",
    ".weak __wcsmbs_named_conv", ".set __wcsmbs_named_conv, {failed}",
    abort = sym abort,
    empty = sym empty,
    failed = sym failed,
    functions = sym FUNCTIONS,
    null = sym null,
    unsupported = sym unsupported,
    untranslated = sym untranslated,
);
