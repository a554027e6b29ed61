//! From `-t`, `-i`, `--via` and the ssh options to the shape of a tree and what it takes to connect it.

use super::args::Targets;
use crate::controller::Setup;
use crate::files;
use crate::identity;
use crate::inventory::{Host, Inventory};
use crate::memory::Memory;
use crate::secret::Declarations;
use crate::select::{self, Context, Machine, Selected};
use crate::ssh::resolver::SshResolver;
use crate::stubs::Shelf;
use crate::tree::{self, Shape, Target};
use std::path::PathBuf;
use std::sync::Arc;
use waft_proto::run::Problem;

/// A tree that can be connected.
pub(super) struct Selection {
    pub(super) shape: Arc<Shape>,
    pub(super) setup: Setup,
    /// What the inventory says of secrets.
    pub(super) secrets: Declarations,
}

/// A selected target with what the inventory says of it besides how to reach it.
pub(super) struct Resolved {
    pub(super) target: Target,
    pub(super) host: Option<Host>,
}

pub(super) fn resolve(args: &Targets) -> Result<Vec<Resolved>, Vec<Problem>> {
    resolved(args, load(args)?.as_ref())
}

fn load(args: &Targets) -> Result<Option<Inventory>, Vec<Problem>> {
    let home = std::env::home_dir();
    let load = |file: &PathBuf| Inventory::load(&file.to_string_lossy(), home.as_deref());
    args.inventory.as_ref().map(load).transpose()
}

fn resolved(args: &Targets, inventory: Option<&Inventory>) -> Result<Vec<Resolved>, Vec<Problem>> {
    let context = Context { inventory, lists: &select::read_list };
    let selected = select::select(&args.target, context)?;
    let targets = select::targets::targets(&selected, inventory, &args.via)?;
    let host = |selected: &Selected| match &selected.machine {
        Machine::Inventory(name) => inventory?.hosts.get(name).cloned(),
        Machine::Address(_) | Machine::Local => None,
    };
    Ok(targets
        .into_iter()
        .zip(&selected)
        .map(|(target, selected)| Resolved { target, host: host(selected) })
        .collect())
}

pub(super) fn select(args: &Targets) -> Result<Selection, Vec<Problem>> {
    check_files(args)?;
    let inventory = load(args)?;
    let resolved = resolved(args, inventory.as_ref())?;
    let secrets = inventory.map(|inventory| inventory.secrets).unwrap_or_default();
    let targets: Vec<Target> = resolved.into_iter().map(|resolved| resolved.target).collect();
    let shape = Arc::new(tree::shape(&targets)?);
    let shelf = Arc::new(Shelf::load().map_err(|problem| vec![problem])?);
    let resolver = SshResolver::new(args.ssh_config.clone(), args.known_hosts.clone(), args.identity.clone());
    let key = Some(identity::own().map_err(|problem| vec![problem])?);
    let memory = match files::state_dir() {
        Some(dir) => {
            let dir = files::guarded(&dir, "", "XDG_STATE_HOME").map_err(|problem| vec![problem])?;
            Memory::load(dir.join("hosts"))
        }
        None => Memory::none(),
    };
    Ok(Selection { shape, setup: Setup { resolver: Arc::new(resolver), shelf, memory, key }, secrets })
}

/// ssh's own defaults need not exist; what was named must. (`--known-hosts` may be new: keys are written there.)
fn check_files(args: &Targets) -> Result<(), Vec<Problem>> {
    let named = args.identity.iter().map(|file| ("--identity", file));
    let named = named.chain(args.ssh_config.iter().map(|file| ("--ssh-config", file)));
    let missing = named.filter(|(_, file)| !file.is_file());
    let problems: Vec<Problem> = missing
        .map(|(option, file)| {
            Problem::new("usage.file", format!("{option} names {}, which is no file", file.display()))
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}
