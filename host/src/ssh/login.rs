//! A login that the controller makes itself.

use super::keys::Ring;
use super::known_hosts::{self, Known, Verdict};
use super::settings::Settings;
use crate::operator::{self, Echo};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use waft_hop::ssh::{Binding, Login};
use waft_hop::stream::Pending;
use waft_proto::run::Problem;

pub struct Direct {
    pub settings: Settings,
    pub ring: Arc<Ring>,
    pub known: Known,
}

impl Login for Direct {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Pending<'a, Result<Vec<SocketAddr>, String>> {
        Box::pin(async move {
            match tokio::net::lookup_host((host, port)).await {
                Ok(found) => Ok(found.collect()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

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
        Box::pin(operator::ask(question, Echo::Hidden))
    }

    fn time_asked(&self) -> Duration {
        operator::time_asked()
    }

    fn check_host_key<'a>(&'a self, key: &'a [u8]) -> Pending<'a, Result<(), Problem>> {
        Box::pin(async move {
            let Settings { name, host, strict, .. } = &self.settings;
            let (known_name, port) = self.settings.known_name();
            let host = self.settings.known_as.as_ref().unwrap_or(host);
            let verdict = known_hosts::judge(&self.known, key, name, host, *strict)?;
            if verdict == Verdict::Ask && !trusts(name, key).await {
                return Err(known_hosts::unknown(key, name));
            }
            if verdict != Verdict::Known
                && let Some(file) = self.settings.known_hosts.first()
                && let Err(error) = known_hosts::learn(file, known_name, port, key)
            {
                tracing::warn!(
                    "the host key of {name} could not be written to {}: {}",
                    file.display(),
                    crate::files::plain(&error)
                );
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

/// The operator's word on a key that is in no file: only a whole `yes` is one, as for ssh.
async fn trusts(name: &str, key: &[u8]) -> bool {
    let question = format!(
        "The host key of {name} is not known: {}\nIs it right? Then it is remembered (yes/no): ",
        waft_hop::ssh::fingerprint(key)
    );
    operator::ask(&question, Echo::Shown).await.is_some_and(|answer| answer.trim() == "yes")
}
