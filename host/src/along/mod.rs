//! What goes along with a task: tasks that it may call (`call:NAME`) and files that it may read (`-p NAME@FILE`).

pub mod files;

use crate::manifest::Manifest;
use crate::manifest::agree::{effective, first, together};
use crate::search::{Found, Search};
use crate::secret::Declarations;
use files::File;
use std::collections::{BTreeMap, BTreeSet};
use waft_proto::envelope::{Artifact, Callee, FileBlob};
use waft_proto::grant::{Grant, GrantSet};
use waft_proto::id::Hash;
use waft_proto::run::Problem;

/// Tasks that one run may call: their hashes and grants travel in its envelope.
const CALLEES_MAX: usize = 32;

#[derive(Clone, Debug, Default)]
pub struct Along {
    /// By the names of their grants, each once.
    pub callees: Vec<Found>,
    pub files: Vec<File>,
}

impl Along {
    /// Finds the tasks that the grants of any target name. The problems are all of them.
    pub fn find<'a>(
        grants: impl IntoIterator<Item = &'a String>,
        files: Vec<File>,
        search: &Search,
    ) -> Result<Along, Vec<Problem>> {
        let name = |text: &String| match Grant::parse(text) {
            Ok(Grant::Call(name)) => Some(name),
            _ => None,
        };
        let names: BTreeSet<String> = grants.into_iter().filter_map(name).collect();
        if names.len() > CALLEES_MAX {
            let text =
                format!("{} tasks may be called by this one; at most {CALLEES_MAX} go with it", names.len());
            return Err(vec![Problem::new("call.many", text).hint("give fewer `call:` grants")]);
        }
        let (mut callees, mut problems) = (Vec::new(), Vec::new());
        for name in names {
            match search.callee(&name) {
                Ok(callee) => callees.push(callee),
                Err(more) => problems.extend(more),
            }
        }
        if problems.is_empty() { Ok(Along { callees, files }) } else { Err(problems) }
    }

    /// The grants that the files come with. No manifest can ask for a hash: whoever names a file gives it.
    pub fn blobs(&self) -> Result<GrantSet, Problem> {
        let texts: BTreeSet<String> = self.files.iter().map(File::grant).collect();
        GrantSet::parse_all(texts.iter().map(String::as_str)).map_err(first)
    }

    /// What a task that is called gets of what its caller has: what its own manifest asks for, and the files, which it can
    /// read only when it is told their hashes.
    pub fn shared(callee: &Found, caller: &GrantSet) -> Result<GrantSet, Problem> {
        let asked = callee.manifest.as_ref().and_then(Manifest::asked);
        let blobs: Vec<String> = caller
            .iter()
            .filter(|grant| matches!(grant, Grant::Blob(_)))
            .map(|grant| grant.to_string())
            .collect();
        let blobs = GrantSet::parse_all(blobs.iter().map(String::as_str)).map_err(first)?;
        together([&effective(asked, caller)?, &blobs])
    }

    /// What the caller's manifest says of secrets, and those of the tasks that it may call: each gets them, too.
    pub fn declared(&self, own: &Declarations) -> Declarations {
        let mut all = own.clone();
        let manifests = self.callees.iter().filter_map(|callee| callee.manifest.as_ref());
        for (name, said) in manifests.flat_map(|manifest| &manifest.secrets) {
            let declared = all.entry(name.clone()).or_default();
            declared.kind = declared.kind.or(said.kind);
            declared.description = declared.description.take().or_else(|| said.description.clone());
            // Whoever of them says that nobody may read it, is obeyed.
            declared.end_to_end |= said.end_to_end;
        }
        all
    }

    /// Those that a task with these grants may call.
    pub fn callable<'a>(&'a self, caller: &'a GrantSet) -> impl Iterator<Item = (usize, &'a Found)> {
        let may = |callee: &Found| caller.check(&Grant::Call(callee.name.clone())).is_ok();
        self.callees.iter().enumerate().filter(move |(_, callee)| may(callee))
    }

    /// As an order tells them. `compiled` gives the artifacts of the callee at a place of the list.
    pub fn told(
        &self,
        grants: &[String],
        compiled: impl Fn(usize) -> Vec<Artifact>,
    ) -> Result<Vec<Callee>, Problem> {
        if self.callees.is_empty() {
            return Ok(Vec::new());
        }
        let caller = GrantSet::parse_all(grants.iter().map(String::as_str)).map_err(first)?;
        let told = self.callable(&caller).map(|(at, callee)| {
            let grants = Along::shared(callee, &caller)?;
            Ok(Callee {
                name: callee.name.clone(),
                module: Hash::of(&callee.wasm),
                artifacts: compiled(at),
                grants: grants.iter().map(|grant| grant.to_string()).collect(),
            })
        });
        told.collect()
    }

    /// Each once, whatever it is called.
    pub fn file_blobs(&self) -> Vec<FileBlob> {
        let blobs: BTreeMap<Hash, u64> =
            self.files.iter().map(|file| (file.hash, file.bytes.len() as u64)).collect();
        blobs.into_iter().map(|(hash, bytes)| FileBlob { hash, bytes }).collect()
    }

    /// Blobs that are granted and not sent.
    pub fn unsent<'a>(&self, grants: impl IntoIterator<Item = &'a String>) -> Vec<Hash> {
        let hash = |text: &String| match Grant::parse(text) {
            Ok(Grant::Blob(hash)) => Some(hash),
            _ => None,
        };
        let sent = |hash: &Hash| self.files.iter().any(|file| file.hash == *hash);
        grants.into_iter().filter_map(hash).filter(|hash| !sent(hash)).collect()
    }
}

#[cfg(test)]
mod tests;
