//! Blanks a stub's unwind tables: a tenth of what would cross every link, and nobody reads them.
//!
//! A stub is built with `panic = abort`, wasmtime keeps tables of its own for what it compiled, and a reader
//! that looks all the same finds a header of no known version and stops. The bytes stay, as zeros, so that no
//! address changes; gzip makes nothing of them.

const TABLES: [&[u8]; 3] = [b".eh_frame", b".eh_frame_hdr", b".gcc_except_table"];

/// 64-bit little-endian ELF, as both architectures of stubs are. Anything else is left as it is.
pub(crate) fn blank(program: &mut [u8]) {
    for (offset, length) in tables(program).unwrap_or_default() {
        if let Some(table) = program.get_mut(offset..offset.saturating_add(length)) {
            table.fill(0);
        }
    }
}

fn tables(program: &[u8]) -> Option<Vec<(usize, usize)>> {
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let field = program.get(at..at.checked_add(bytes)?)?;
        let mut value = [0; 8];
        value.get_mut(..bytes)?.copy_from_slice(field);
        usize::try_from(u64::from_le_bytes(value)).ok()
    };
    if !program.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    // e_shoff, e_shentsize, e_shnum, e_shstrndx; then sh_name, sh_offset, sh_size of each section.
    let (sections, each) = (number(0x28, 8)?, number(0x3a, 2)?);
    let (count, names) = (number(0x3c, 2)?, number(0x3e, 2)?);
    let header = |index: usize| sections.checked_add(index.checked_mul(each)?);
    let names = number(header(names)? + 0x18, 8)?;
    let mut found = Vec::new();
    for index in 0..count {
        let header = header(index)?;
        let name = program.get(names.checked_add(number(header, 4)?)?..)?;
        if TABLES.iter().any(|table| name.strip_prefix(*table).is_some_and(|rest| rest.first() == Some(&0))) {
            found.push((number(header + 0x18, 8)?, number(header + 0x20, 8)?));
        }
    }
    Some(found)
}
