//! The audit log of a node: what was ordered here, by whom and from where, what the task asked of the host, and how it ended.
//!
//! Kept where the policy says so, by an installed stub. The file and its lines are those of the controller
//! ([`waft_audit`]), so `waft audit show|verify FILE` reads it. Each result carries the head of this log to the
//! controller, and each order the head of the controller's log to here: who cuts the tail of one is seen in the other.
//!
//! What is written must be written: a node that cannot record an order does not obey it.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::SystemTime;
use waft_audit::Log;
use waft_audit::line::Fields;
use waft_proto::envelope::Envelope;
use waft_proto::id::{Hash, RunId};
use waft_proto::msg::Outcome;
use waft_proto::run::Problem;

/// Where a host takes messages for its log.
pub const SYSLOG: &str = "/dev/log";
/// `authpriv.info`, as in syslog(3).
const PRIORITY: u8 = (10 << 3) | 6;
/// A message to the host's log, bytes; daemons cut longer ones.
const SYSLOG_BYTES_MAX: usize = 8 * 1024;
/// Room that must be there before an order is obeyed, bytes.
const ROOM_BYTES: u64 = 256 * 1024;
/// How another place is named, for errors.
const ELSEWHERE: &str = "name another directory as `audit` in the policy";

/// Where this node records what is done to it.
#[derive(Debug, Default)]
pub struct NodeLog {
    file: Option<Log>,
    syslog: Option<UnixDatagram>,
}

/// Who gave an order.
#[derive(Clone, Copy, Debug)]
pub struct Orderer<'a> {
    /// As the policy calls him; empty when nobody was verified.
    pub who: &'a str,
    /// `SSH_CONNECTION` of the login.
    pub from: &'a str,
    /// Those whose signatures over the task were verified.
    pub signers: &'a [String],
}

impl NodeLog {
    /// A log in `dir`, and messages to `syslog`, as far as they are wanted.
    pub fn open(dir: Option<&Path>, syslog: Option<&Path>) -> Result<NodeLog, Problem> {
        let file = dir.map(|dir| Log::at(dir.to_owned(), ELSEWHERE));
        let syslog = syslog.map(connect).transpose()?;
        Ok(NodeLog { file, syslog })
    }

    /// Before a run starts. An error means that it must not.
    pub fn ordered(&self, envelope: &Envelope, target: &str, by: &Orderer<'_>) -> Result<(), Problem> {
        if let Some(file) = &self.file {
            file.prepare(ROOM_BYTES)?;
        }
        let mut fields = Fields::new();
        for (name, value) in
            [("who", by.who), ("from", by.from), ("task", &envelope.task), ("target", target)]
        {
            fields.insert(name.to_owned(), value.into());
        }
        fields.insert("module".to_owned(), envelope.module.to_string().into());
        fields.insert("params".to_owned(), envelope.params.to_string().into());
        fields.insert("signers".to_owned(), by.signers.to_vec().into());
        fields.insert("grants".to_owned(), envelope.grants.clone().into());
        fields.insert("check".to_owned(), envelope.check.into());
        // As in the log of the controller: only where there are any.
        let calls = envelope.callees.iter().map(|callee| {
            let pair = [("name", callee.name.clone()), ("module", callee.module.to_string())];
            Fields::from_iter(pair.map(|(name, value)| (name.to_owned(), value.into())))
        });
        let calls: Vec<Fields> = calls.collect();
        if !calls.is_empty() {
            fields.insert("calls".to_owned(), calls.into());
        }
        let files: Vec<String> = envelope.files.iter().map(|file| file.hash.to_string()).collect();
        if !files.is_empty() {
            fields.insert("files".to_owned(), files.into());
        }
        fields.insert("controller_head".to_owned(), envelope.audit.map(|head| head.to_string()).into());
        self.write(envelope.run, "ordered", fields, false).map(drop)
    }

    /// Something that the task asked of the host: an object as in `Stream::Call`.
    pub fn called(&self, run: RunId, call: Fields) -> Result<(), Problem> {
        self.write(run, "call", call, false).map(drop)
    }

    /// The end of a run, on disk afterwards: the head of the log.
    pub fn ended(&self, run: RunId, outcome: &Outcome) -> Result<Option<Hash>, Problem> {
        let mut fields = Fields::new();
        fields.insert("status".to_owned(), outcome.status.word().into());
        fields.insert("exit_code".to_owned(), outcome.exit_code.into());
        fields.insert("signal".to_owned(), outcome.signal.into());
        fields.insert("ms".to_owned(), outcome.ms.into());
        fields.insert("changes".to_owned(), outcome.changes.into());
        fields.insert("walls".to_owned(), outcome.walls.clone().into());
        let code = outcome.problem.as_ref().map(|problem| problem.code.clone());
        fields.insert("code".to_owned(), code.into());
        self.write(run, "result", fields, true)
    }

    fn write(
        &self,
        run: RunId,
        event: &str,
        mut fields: Fields,
        sync: bool,
    ) -> Result<Option<Hash>, Problem> {
        fields.insert("run".to_owned(), run.to_string().into());
        if let Some(syslog) = &self.syslog {
            tell(syslog, event, &fields)?;
        }
        self.file.as_ref().map(|file| file.append(SystemTime::now(), event, fields, sync)).transpose()
    }
}

fn connect(path: &Path) -> Result<UnixDatagram, Problem> {
    let unheard = |error: std::io::Error| unheard(&path.display().to_string(), &error);
    let socket = UnixDatagram::unbound().map_err(unheard)?;
    socket.connect(path).map_err(unheard)?;
    Ok(socket)
}

fn unheard(path: &str, error: &std::io::Error) -> Problem {
    let text = format!("the log of this host does not take messages at {path}: {error}");
    Problem::new("audit.syslog", text).hint("start its syslog, or take `syslog = true` out of the policy")
}

fn tell(syslog: &UnixDatagram, event: &str, fields: &Fields) -> Result<(), Problem> {
    let object = serde_json::Value::Object(fields.clone());
    let mut text = format!("<{PRIORITY}>waft-stub[{}]: {event} {object}", std::process::id());
    text.truncate(text.floor_char_boundary(SYSLOG_BYTES_MAX));
    syslog.send(text.as_bytes()).map(drop).map_err(|error| unheard(SYSLOG, &error))
}

#[cfg(test)]
mod tests;
