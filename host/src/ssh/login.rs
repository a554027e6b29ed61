//! A login that the controller makes itself.

use super::keys::Ring;
use super::known_hosts::{self, Known, Verdict};
use super::settings::Settings;
use std::io::IsTerminal;
use std::sync::Arc;
use waft_hop::ssh::{Binding, Login};
use waft_hop::stream::Pending;
use waft_proto::run::Problem;

pub struct Direct {
    pub settings: Settings,
    pub ring: Arc<Ring>,
    pub known: Known,
    /// One question at a time on the terminal, whatever the number of hosts.
    pub terminal: Arc<tokio::sync::Mutex<()>>,
}

impl Login for Direct {
    fn identities(&self) -> Pending<'_, Vec<Vec<u8>>> {
        Box::pin(async { self.ring.wires() })
    }

    fn sign<'a>(
        &'a self,
        _binding: Binding,
        identity: &'a [u8],
        _algorithm: String,
        to_sign: Vec<u8>,
    ) -> Pending<'a, Result<Vec<u8>, Problem>> {
        Box::pin(async move { self.ring.sign(identity, &to_sign).await })
    }

    fn answer<'a>(&'a self, question: &'a str) -> Pending<'a, Option<String>> {
        Box::pin(async move {
            if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
                return None;
            }
            let _one = self.terminal.lock().await;
            let question: String = question.chars().filter(|c| !c.is_control()).collect();
            tokio::task::spawn_blocking(move || rpassword::prompt_password(question).ok())
                .await
                .ok()
                .flatten()
        })
    }

    fn check_host_key<'a>(&'a self, key: &'a [u8]) -> Pending<'a, Result<(), Problem>> {
        Box::pin(async move {
            let Settings { name, host, strict, .. } = &self.settings;
            let (known_name, port) = self.settings.known_name();
            let host = self.settings.known_as.as_ref().unwrap_or(host);
            if known_hosts::judge(&self.known, key, name, host, *strict)? == Verdict::New
                && let Some(file) = self.settings.known_hosts.first()
                && let Err(error) = known_hosts::learn(file, known_name, port, key)
            {
                tracing::warn!("the host key of {name} could not be written to {}: {error}", file.display());
            }
            Ok(())
        })
    }

    fn host_key_types(&self) -> Vec<String> {
        self.known.keys.iter().filter_map(|key| waft_hop::ssh::key_type(key)).collect()
    }

    fn knows_authority(&self) -> bool {
        !self.known.authorities.is_empty()
    }
}
