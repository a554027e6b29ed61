//! One line of the log: a JSON object in canonical form (RFC 8785: sorted keys, no blanks) and a line end.
//!
//! Its `hash` is blake3 in the mode for deriving keys, over the canonical form without `hash`: no hash of anything
//! else, like that of a module, can ever be one of a line.

use serde_json::{Map, Value};
use std::time::SystemTime;
use waft_proto::id::Hash;

/// Version of the lines.
pub const VERSION: u64 = 1;
/// What blake3 derives the hashes of lines for.
pub const CONTEXT: &str = "waft audit line v1";
/// The `prev` of the first line.
pub const NOTHING: Hash = Hash([0; 32]);
/// Bytes of one line; a run names all its targets in one, and those are at most 100,000.
pub const LINE_BYTES_MAX: usize = 128 << 20;
/// Exact in every JSON reader.
const SEQ_MAX: u64 = (1 << 53) - 2;

/// Fields of an event.
pub type Fields = Map<String, Value>;

/// A line that is whole in itself; whether it fits to its neighbours is not said.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    pub seq: u64,
    pub prev: Hash,
    pub hash: Hash,
    pub event: String,
    /// All of it.
    pub fields: Fields,
}

/// A line to be written, with its line end, and its hash.
pub struct Sealed {
    pub bytes: Vec<u8>,
    pub hash: Hash,
}

pub fn seal(seq: u64, prev: Hash, time: SystemTime, event: &str, mut fields: Fields) -> Sealed {
    fields.insert("v".to_owned(), VERSION.into());
    fields.insert("seq".to_owned(), seq.into());
    fields.insert("prev".to_owned(), prev.to_string().into());
    fields.insert("time".to_owned(), humantime::format_rfc3339_millis(time).to_string().into());
    fields.insert("event".to_owned(), event.into());
    fields.remove("hash");
    let mut object = Value::Object(fields);
    let hash = hash(&object);
    if let Value::Object(fields) = &mut object {
        fields.insert("hash".to_owned(), hash.to_string().into());
    }
    let mut bytes = object.to_string().into_bytes();
    bytes.push(b'\n');
    Sealed { bytes, hash }
}

/// Of an object without `hash`. serde_json sorts the keys and escapes as RFC 8785 does; numbers are integers here.
fn hash(object: &Value) -> Hash {
    Hash(blake3::derive_key(CONTEXT, object.to_string().as_bytes()))
}

/// The line without its line end, or what is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<Line, &'static str> {
    let object: Value = serde_json::from_slice(bytes).map_err(|_| "it is no JSON object")?;
    // One value can be written in many ways, and only one of them was hashed.
    if object.to_string().as_bytes() != bytes {
        return Err("it is not written as waft writes it");
    }
    let Value::Object(mut fields) = object else { return Err("it is no JSON object") };
    if fields.get("v") != Some(&VERSION.into()) {
        return Err("its `v` is not 1");
    }
    let told = fields.remove("hash").ok_or("it has no `hash`")?;
    let object = Value::Object(fields);
    let hash = hash(&object);
    if told != Value::String(hash.to_string()) {
        return Err("its hash is not that of its bytes");
    }
    let Value::Object(mut fields) = object else { return Err("it is no JSON object") };
    fields.insert("hash".to_owned(), told);
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let seq = fields.get("seq").and_then(Value::as_u64).filter(|seq| *seq <= SEQ_MAX);
    let seq = seq.ok_or("it has no `seq`")?;
    let prev = text("prev").and_then(parse_hash).ok_or("it has no `prev`")?;
    let event = text("event").ok_or("it has no `event`")?.to_owned();
    text("time").and_then(|time| humantime::parse_rfc3339(time).ok()).ok_or("it has no `time`")?;
    Ok(Line { seq, prev, hash, event, fields })
}

/// 64 lower-case hex digits.
pub fn parse_hash(text: &str) -> Option<Hash> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
    Some(Hash(bytes.try_into().ok()?))
}

impl Line {
    /// A field that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    pub fn time(&self) -> Option<SystemTime> {
        humantime::parse_rfc3339(self.text("time")?).ok()
    }
}

/// That a line was torn: what is left of it, for whoever wants to know.
pub fn torn(fragment: &[u8]) -> Fields {
    let mut fields = Fields::new();
    fields.insert("bytes".to_owned(), fragment.len().into());
    fields.insert("blake3".to_owned(), Hash::of(fragment).to_string().into());
    fields
}

/// The event of a torn line.
pub const TORN: &str = "torn";

/// Whether this line says that `fragment` was torn.
pub fn is_torn(line: &Line, fragment: &[u8]) -> bool {
    line.event == TORN && torn(fragment).iter().all(|(name, value)| line.fields.get(name) == Some(value))
}
