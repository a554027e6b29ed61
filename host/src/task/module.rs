//! The file of a task: its manifest put in, and what nobody runs taken out. Modules and components are lists of sections of
//! the same form; the other sections stay as they are, byte for byte.

use crate::manifest::{MANIFEST_BYTES_MAX, Manifest, Place, SECTION};
use std::ops::Range;
use waft_engine::Form;
use waft_proto::run::Problem;
use wasmparser::{Parser, Payload};

/// Magic number and version.
const HEADER_BYTES: usize = 8;
/// Modules and components inside of each other, levels.
const DEPTH_MAX: usize = 32;
const CUSTOM: u8 = 0;
/// In a component, a module and a component inside of it.
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;

/// Custom sections that no runtime needs, but for names of functions.
const USELESS: [&str; 7] = [
    "producers",
    "target_features",
    "sourceMappingURL",
    "external_debug_info",
    "build_id",
    "linking",
    "dylink.0",
];
/// Beginnings of names of such sections.
const USELESS_PREFIXES: [&str; 2] = [".debug_", "reloc."];
/// Names of functions, which a trap tells.
const NAMES: [&str; 2] = ["name", "component-name"];

/// One section: where all of it is, and what it holds.
struct Section {
    id: u8,
    whole: Range<usize>,
    body: Range<usize>,
}

/// Puts the manifest into a module or component, in the place of one that is there. The same bytes every time.
pub fn embed(file: &str, wasm: &[u8], what: &str, manifest: &str) -> Result<Vec<u8>, Vec<Problem>> {
    Manifest::parse(what, manifest, Place::Section)?;
    if manifest.len() > MANIFEST_BYTES_MAX {
        let text =
            format!("{what} has {} bytes; a manifest has at most {MANIFEST_BYTES_MAX}", manifest.len());
        return Err(vec![Problem::new("manifest.size", text)]);
    }
    let mut out = without(file, wasm, 0, &|name| name == SECTION, false).map_err(|problem| vec![problem])?;
    let mut body = leb(SECTION.len());
    body.extend_from_slice(SECTION.as_bytes());
    body.extend_from_slice(manifest.as_bytes());
    out.push(CUSTOM);
    out.extend(leb(body.len()));
    out.extend(body);
    Ok(out)
}

/// Takes out what only debuggers read; the manifest stays.
pub fn strip(file: &str, wasm: &[u8], keep_names: bool) -> Result<Vec<u8>, Problem> {
    let useless = |name: &str| {
        USELESS.contains(&name)
            || USELESS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || (!keep_names && NAMES.contains(&name))
    };
    without(file, wasm, 0, &useless, true)
}

/// Whether a trap can name functions of it.
pub fn has_names(wasm: &[u8]) -> bool {
    let custom = |payload| match payload {
        Payload::CustomSection(section) => section.name() == NAMES[0],
        _ => false,
    };
    Parser::new(0).parse_all(wasm).map_while(Result::ok).any(custom)
}

/// Without the custom sections of these names, in what is inside, too, when that is asked for.
fn without(
    file: &str,
    wasm: &[u8],
    depth: usize,
    dropped: &dyn Fn(&str) -> bool,
    inside: bool,
) -> Result<Vec<u8>, Problem> {
    let is_component = Form::of_wasm(wasm) == Form::Component;
    let mut out = wasm.get(..HEADER_BYTES).unwrap_or_default().to_vec();
    for section in sections(file, wasm)? {
        let body = wasm.get(section.body).unwrap_or_default();
        let whole = wasm.get(section.whole).unwrap_or_default();
        match section.id {
            CUSTOM if custom_name(body).is_some_and(dropped) => {}
            CORE_MODULE | COMPONENT if is_component && inside && depth < DEPTH_MAX => {
                let body = without(file, body, depth + 1, dropped, inside)?;
                out.push(section.id);
                out.extend(leb(body.len()));
                out.extend(body);
            }
            _ => out.extend_from_slice(whole),
        }
    }
    Ok(out)
}

fn sections(file: &str, wasm: &[u8]) -> Result<Vec<Section>, Problem> {
    if !wasm.starts_with(b"\0asm") || wasm.len() < HEADER_BYTES {
        return Err(Problem::new(
            "task.not_wasm",
            format!("{file} is no WebAssembly: it does not begin with \\0asm"),
        )
        .hint("give the compiled .wasm file"));
    }
    let broken = |at: usize| {
        let text = format!(
            "{file} is no valid module: the section at byte {at} is longer than the file, or has no length"
        );
        Problem::new("task.invalid", text).hint("the file may be truncated: build it again")
    };
    let mut sections = Vec::new();
    let mut at = HEADER_BYTES;
    while let Some(id) = wasm.get(at).copied() {
        let start = at;
        let (length, bytes) = number(wasm.get(at + 1..).unwrap_or_default()).ok_or_else(|| broken(start))?;
        let body = at + 1 + bytes;
        let end = body.checked_add(length).filter(|end| *end <= wasm.len()).ok_or_else(|| broken(start))?;
        sections.push(Section { id, whole: start..end, body: body..end });
        at = end;
    }
    Ok(sections)
}

fn custom_name(body: &[u8]) -> Option<&str> {
    let (length, bytes) = number(body)?;
    std::str::from_utf8(body.get(bytes..bytes.checked_add(length)?)?).ok()
}

/// An unsigned LEB128 of 32 bits, and how many bytes it takes.
fn number(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(u32::try_from(value).ok()?).ok()?, at + 1));
        }
    }
    None
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
