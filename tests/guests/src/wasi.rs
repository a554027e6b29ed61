//! WASI 0.1 as it is: paths that the C library would refuse or clean up reach the host.

pub const READ: u64 = 1 << 1;
pub const WRITE: u64 = 1 << 6;
pub const READDIR: u64 = 1 << 14;
pub const CREATE: u32 = 1;
pub const DIRECTORY: u32 = 2;
pub const EXCLUSIVE: u32 = 4;
pub const TRUNCATE: u32 = 8;
const FOLLOW: u32 = 1;
/// The first granted directory.
pub const GRANTED: u32 = 3;

mod raw {
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn path_open(
            dir: u32,
            lookup: u32,
            path: *const u8,
            length: usize,
            flags: u32,
            rights: u64,
            inheriting: u64,
            fdflags: u32,
            opened: *mut u32,
        ) -> u16;
        pub(super) fn fd_prestat_get(dir: u32, to: *mut [u32; 2]) -> u16;
        pub(super) fn fd_prestat_dir_name(dir: u32, to: *mut u8, length: usize) -> u16;
        pub(super) fn path_create_directory(dir: u32, path: *const u8, length: usize) -> u16;
        pub(super) fn path_remove_directory(dir: u32, path: *const u8, length: usize) -> u16;
        pub(super) fn path_unlink_file(dir: u32, path: *const u8, length: usize) -> u16;
        pub(super) fn path_filestat_get(
            dir: u32,
            lookup: u32,
            path: *const u8,
            length: usize,
            to: *mut u64,
        ) -> u16;
        pub(super) fn path_filestat_set_times(
            dir: u32,
            lookup: u32,
            path: *const u8,
            length: usize,
            accessed: u64,
            modified: u64,
            flags: u32,
        ) -> u16;
        pub(super) fn path_link(
            from_dir: u32,
            lookup: u32,
            from: *const u8,
            from_length: usize,
            to_dir: u32,
            to: *const u8,
            to_length: usize,
        ) -> u16;
        pub(super) fn path_rename(
            from_dir: u32,
            from: *const u8,
            from_length: usize,
            to_dir: u32,
            to: *const u8,
            to_length: usize,
        ) -> u16;
        pub(super) fn path_symlink(
            content: *const u8,
            content_length: usize,
            dir: u32,
            path: *const u8,
            length: usize,
        ) -> u16;
        pub(super) fn path_readlink(
            dir: u32,
            path: *const u8,
            length: usize,
            into: *mut u8,
            into_length: usize,
            used: *mut usize,
        ) -> u16;
        pub(super) fn fd_close(fd: u32) -> u16;
        pub(super) fn fd_read(fd: u32, vectors: *const Vector, count: usize, read: *mut usize) -> u16;
        pub(super) fn fd_write(fd: u32, vectors: *const Vector, count: usize, written: *mut usize) -> u16;
    }

    #[repr(C)]
    pub(super) struct Vector {
        pub(super) at: *const u8,
        pub(super) length: usize,
    }
}

/// Opens below the first granted directory, following symlinks.
pub fn open(path: &str, flags: u32, rights: u64) -> Result<u32, u16> {
    let mut opened = 0;
    // SAFETY: the path is one live slice; the host writes one number.
    let errno = unsafe {
        raw::path_open(GRANTED, FOLLOW, path.as_ptr(), path.len(), flags, rights, rights, 0, &raw mut opened)
    };
    if errno == 0 { Ok(opened) } else { Err(errno) }
}

/// The path of the first granted directory, as the target has it.
pub fn granted_name() -> String {
    let mut prestat = [0; 2];
    // SAFETY: the host writes these eight bytes, and then as many as it was told to.
    let errno = unsafe { raw::fd_prestat_get(GRANTED, &raw mut prestat) };
    let mut name = vec![0; usize::try_from(prestat[1]).expect("fits")];
    // SAFETY: as above.
    let errno = errno | unsafe { raw::fd_prestat_dir_name(GRANTED, name.as_mut_ptr(), name.len()) };
    assert_eq!(errno, 0, "a directory is granted");
    String::from_utf8(name).expect("a plain path")
}

pub fn close(fd: u32) {
    // SAFETY: touches no memory.
    let _ = unsafe { raw::fd_close(fd) };
}

/// At most one buffer of what is there.
pub fn read(fd: u32) -> Result<Vec<u8>, u16> {
    let (mut buffer, mut got) = (vec![0; 4096], 0);
    let vector = raw::Vector { at: buffer.as_mut_ptr(), length: buffer.len() };
    // SAFETY: the vector names the whole of a buffer that lives.
    let errno = unsafe { raw::fd_read(fd, &raw const vector, 1, &raw mut got) };
    buffer.truncate(got);
    if errno == 0 { Ok(buffer) } else { Err(errno) }
}

pub fn write(fd: u32, bytes: &[u8]) -> Result<usize, u16> {
    let (vector, mut done) = (raw::Vector { at: bytes.as_ptr(), length: bytes.len() }, 0);
    // SAFETY: as above; the host only reads.
    let errno = unsafe { raw::fd_write(fd, &raw const vector, 1, &raw mut done) };
    if errno == 0 { Ok(done) } else { Err(errno) }
}

/// The error number of opening.
pub fn opens(path: &str, flags: u32, rights: u64) -> u16 {
    match open(path, flags, rights) {
        Ok(fd) => {
            close(fd);
            0
        }
        Err(errno) => errno,
    }
}

pub fn mkdir(path: &str) -> u16 {
    // SAFETY: the path is one live slice; so below.
    unsafe { raw::path_create_directory(GRANTED, path.as_ptr(), path.len()) }
}

pub fn rmdir(path: &str) -> u16 {
    // SAFETY: as above.
    unsafe { raw::path_remove_directory(GRANTED, path.as_ptr(), path.len()) }
}

pub fn unlink(path: &str) -> u16 {
    // SAFETY: as above.
    unsafe { raw::path_unlink_file(GRANTED, path.as_ptr(), path.len()) }
}

pub fn stat(path: &str) -> u16 {
    let mut filestat = [0u64; 8];
    // SAFETY: as above; a filestat is 64 bytes.
    unsafe { raw::path_filestat_get(GRANTED, FOLLOW, path.as_ptr(), path.len(), filestat.as_mut_ptr()) }
}

pub fn touch(path: &str) -> u16 {
    const MODIFIED: u32 = 1 << 2;
    // SAFETY: as above.
    unsafe { raw::path_filestat_set_times(GRANTED, FOLLOW, path.as_ptr(), path.len(), 0, 1, MODIFIED) }
}

pub fn link(from: &str, to: &str) -> u16 {
    // SAFETY: as above.
    unsafe { raw::path_link(GRANTED, 0, from.as_ptr(), from.len(), GRANTED, to.as_ptr(), to.len()) }
}

pub fn rename(from: &str, to: &str) -> u16 {
    // SAFETY: as above.
    unsafe { raw::path_rename(GRANTED, from.as_ptr(), from.len(), GRANTED, to.as_ptr(), to.len()) }
}

pub fn symlink(content: &str, path: &str) -> u16 {
    // SAFETY: as above.
    unsafe { raw::path_symlink(content.as_ptr(), content.len(), GRANTED, path.as_ptr(), path.len()) }
}

pub fn readlink(path: &str) -> u16 {
    let (mut buffer, mut used) = ([0u8; 256], 0);
    // SAFETY: as above; the host writes no more than the buffer and one number.
    unsafe {
        raw::path_readlink(
            GRANTED,
            path.as_ptr(),
            path.len(),
            buffer.as_mut_ptr(),
            buffer.len(),
            &raw mut used,
        )
    }
}
