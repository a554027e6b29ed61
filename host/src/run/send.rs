//! What goes to targets: artifacts as they are compiled, secrets, the order.

use super::books::Books;
use super::conduct::{Compiled, Running};
use super::{order, random};
use crate::compile;
use crate::controller::Controller;
use crate::secret::plan as secret;
use crate::stubs::Shelf;
use crate::tree::{Shape, ranges};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use waft_engine::Form;
use waft_proto::envelope::{Artifact, Envelope, Wall};
use waft_proto::id::{Hash, NodeId, NodeRange};
use waft_proto::limits::INLINE_INPUT_BYTES_MAX;
use waft_proto::msg::{self, Arch, BlobKind, Engine, Input, Order};
use waft_proto::run::{Problem, Status};
use waft_proto::secret::sealed::{self, Bound};
use zeroize::Zeroizing;

impl Running<'_> {
    /// An artifact for a target: now, or when it is compiled.
    pub(super) fn want(&mut self, engine: Engine, node: NodeId) {
        let first = !self.wanted.contains_key(&engine) && !self.compiled.contains_key(&engine);
        self.wanted.entry(engine).or_default().push(node);
        if first {
            let cache = self.cache.clone();
            let own = (self.request.task.clone(), self.request.wasm.clone());
            let callees = &self.request.along.callees;
            let callees = callees.iter().map(|callee| (callee.name.clone(), callee.wasm.clone()));
            let tasks: Vec<_> = std::iter::once(own).chain(callees).collect();
            self.compiling.spawn(async move {
                let mut artifacts = Vec::with_capacity(tasks.len());
                for (name, wasm) in tasks {
                    let artifact = compile::artifact(&cache, &name, &wasm, engine.arch, engine.profile).await;
                    let own = artifacts.is_empty();
                    let failed = artifact.is_err();
                    artifacts.push(artifact);
                    // Without the task itself nobody needs those that it may call.
                    if own && failed {
                        break;
                    }
                }
                (engine, artifacts)
            });
        }
    }

    pub(super) fn artifacts(
        &mut self,
        controller: &mut Controller,
        books: &mut Books<'_>,
        engine: Engine,
        artifacts: Compiled,
    ) {
        let nodes = self.wanted.remove(&engine).unwrap_or_default();
        let mut keep = |wasm: &[u8], bytes: Vec<u8>| {
            let worker = match Form::of_wasm(wasm) {
                Form::Module => None,
                Form::Component => Some(component_worker(controller, engine.arch)?),
            };
            let length = bytes.len() as u64;
            let hash = controller.node().store().insert(BlobKind::Artifact, bytes.into());
            Ok(Artifact { engine, hash, bytes: length, worker })
        };
        let own = &self.request.wasm;
        let wasms = std::iter::once(own).chain(self.request.along.callees.iter().map(|callee| &callee.wasm));
        let kept = wasms.zip(artifacts).map(|(wasm, bytes)| keep(wasm, bytes?)).collect();
        self.compiled.insert(engine, kept);
        for node in nodes {
            if self.is_compiled(books, engine, node) {
                self.ready.push(node);
            }
        }
        self.start_ready(controller, books);
    }

    /// Whether a target can be ordered what it may run and call; if not, it ends here.
    pub(super) fn is_compiled(&self, books: &mut Books<'_>, engine: Engine, node: NodeId) -> bool {
        let grants = order::grants(self.request, books.shape.node(node));
        let compiled = self.compiled.get(&engine).map(Vec::as_slice).unwrap_or_default();
        let good = order::uncompiled(self.request, compiled, &grants);
        good.map_err(|problem| books.end_with(node, Status::Failed, problem)).is_ok()
    }

    /// Sends the order to the targets that it can reach. One order for all of them: it waits until it is
    /// known of every node whether and by whom it is dialled, which takes no word from any host.
    pub(super) fn start_ready(&mut self, controller: &mut Controller, books: &mut Books<'_>) {
        if self.ready.is_empty() || controller.is_settling() {
            return;
        }
        let shape = controller.shape().clone();
        // Secrets are sealed to a key that the hello tells.
        let keyed = |node: NodeId| {
            controller.hello(node).is_some()
                || self.request.secrets.names(&self.grants(&shape, node)).is_empty()
        };
        let can = |node: &NodeId| {
            controller.is_routable(*node)
                && controller.is_proven(*node)
                && keyed(*node)
                && !self.is_before_others(books, *node)
        };
        let ready = self.ready.iter().copied();
        let (now, later) = ready.partition(can);
        self.ready = later;
        let mut now: Vec<NodeId> = now;
        now.sort();
        for node in now.iter().filter(|node| self.behind.contains_key(node)) {
            self.let_go.insert(*node, Instant::now());
        }
        self.start(controller, books, &now);
    }

    /// Sends the order: one message for all targets that get the same grants behind the same walls.
    pub(super) fn start(&mut self, controller: &mut Controller, books: &mut Books<'_>, nodes: &[NodeId]) {
        let shape = controller.shape().clone();
        let mut groups: BTreeMap<(Vec<String>, Wall), Vec<NodeId>> = BTreeMap::new();
        for node in nodes.iter().copied() {
            if books.targets.get(&node).is_none_or(|target| target.done) {
                continue;
            }
            let wall = shape.node(node).map(|node| node.endpoint.wall).unwrap_or_default();
            groups.entry((self.grants(&shape, node), wall)).or_default().push(node);
        }
        for ((grants, wall), nodes) in groups {
            if let Err(problem) = self.send(controller, books, (grants, wall), &nodes) {
                for node in nodes {
                    books.end_with(node, Status::Failed, problem.clone());
                }
            }
        }
    }

    /// What a task of this run was compiled to: 0 is the one that is started, then come those that it may call.
    fn compiled(&self, at: usize) -> Vec<Artifact> {
        self.compiled.values().filter_map(|artifacts| artifacts.get(at)?.as_ref().ok()).copied().collect()
    }

    /// What goes to a target.
    fn grants(&self, shape: &Shape, node: NodeId) -> Vec<String> {
        order::grants(self.request, shape.node(node))
    }

    /// Sends the secrets of a run to one node, ahead of the order that they are sealed for.
    fn send_secrets(
        &self,
        controller: &mut Controller,
        books: &mut Books<'_>,
        (names, order): (&BTreeSet<String>, Hash),
        node: NodeId,
    ) -> Result<(), Problem> {
        let secrets = &self.request.secrets;
        let name = controller.shape().node(node).map(|node| node.endpoint.name.clone()).unwrap_or_default();
        let (key, policy) =
            controller.hello(node).map(|hello| (hello.seal_key, hello.policy)).ok_or_else(|| {
                Problem::new("secret.key", format!("`{name}` has told no key to seal secrets to"))
            })?;
        let mut ephemeral = Zeroizing::new([0; 32]);
        random(&mut *ephemeral)?;
        if let Some(problem) = secret::exposed(secrets, names, controller.shape(), node, policy) {
            return Err(problem);
        }
        let own = secrets.secrets.only(|name| names.contains(name));
        let bound = Bound { run: self.id, node, order };
        let sealed = sealed::seal(&own, &key, &ephemeral, &bound).map_err(|mut problem| {
            problem.message = format!("{} (`{name}`)", problem.message);
            problem
        })?;
        let to = vec![NodeRange::one(node)];
        let order = Order::Secrets { run: self.id, sealed };
        let up = msg::Msg::Down { to: to.clone(), order: order.clone() }.encode().len() as u64;
        if let Some(target) = books.targets.get_mut(&node) {
            target.bytes.up += up;
        }
        controller.order(to, order);
        Ok(())
    }

    fn send(
        &self,
        controller: &mut Controller,
        books: &mut Books<'_>,
        (grants, wall): (Vec<String>, Wall),
        nodes: &[NodeId],
    ) -> Result<(), Problem> {
        let mut targets = ranges(nodes.iter().copied());
        let names = self.request.secrets.names(&grants);
        let mut nonce = [0; 8];
        random(&mut nonce)?;
        let params = &self.request.params;
        let draft = order::draft(self.request, self.module, (grants, wall), |at| self.compiled(at))?;
        let envelope = Envelope { run: self.id, targets: targets.clone(), nonce, ..draft };
        let (envelope, signature) = envelope.seal(controller.key())?;
        let mut nodes = nodes.to_vec();
        if !names.is_empty() {
            let order = Hash::of(&envelope);
            nodes.retain(|node| match self.send_secrets(controller, books, (&names, order), *node) {
                Ok(()) => true,
                Err(problem) => {
                    books.end_with(*node, Status::Refused, problem);
                    false
                }
            });
            targets = ranges(nodes.iter().copied());
        }
        let input = if params.len() <= INLINE_INPUT_BYTES_MAX {
            Input::Inline(params.clone())
        } else {
            let hash = controller.node().store().insert(BlobKind::File, params.as_slice().into());
            Input::Blob { hash, bytes: params.len() as u64 }
        };
        let hash = Hash::of(&envelope);
        let order = Order::Run(msg::Run { envelope, signature, input });
        let up = msg::Msg::Down { to: targets.clone(), order: order.clone() }.encode().len() as u64;
        for node in &nodes {
            if let Some(target) = books.targets.get_mut(node) {
                target.bytes.up += up;
                if let Some(pinned) = &mut target.pinned {
                    pinned.ordered(hash);
                }
            }
        }
        if !targets.is_empty() {
            controller.order(targets, order);
        }
        Ok(())
    }
}

/// Has the program at hand that runs components there, for whoever will ask for it.
fn component_worker(controller: &mut Controller, arch: Arch) -> Result<Hash, Problem> {
    let worker = Shelf::worker(arch)?.ok_or_else(|| {
        let text = format!("there is no program at hand that runs components on {}", arch.word());
        let hint =
            format!("`waft stub build --kind worker --arch {}` makes one from a source tree", arch.word());
        Problem::new("worker.missing", text).hint(hint)
    })?;
    Ok(controller.node().store().insert(BlobKind::Worker, worker.bytes))
}
