//! From a session to one that is logged in.

use super::{Address, Binding, Login, Session, said};
use russh::MethodKind;
use russh::client::{AuthResult, KeyboardInteractiveAuthResponse};
use russh::keys::Algorithm;
use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::{Certificate, HashAlg, PublicKey};
use waft_proto::run::Problem;

/// Public keys tried on one server; sshd gives up after 6 failures (MaxAuthTries).
const IDENTITIES_MAX: usize = 6;
/// Rounds of keyboard-interactive questions.
const QUESTION_ROUNDS_MAX: usize = 4;

/// Public keys first, then questions (keyboard-interactive), then a password, as far as the server offers
/// them and the login has something to offer.
pub(super) async fn log_in(
    session: &mut Session,
    address: &Address,
    login: &dyn Login,
) -> Result<(), Problem> {
    let lost = |error: russh::Error| {
        Problem::new(
            "ssh.closed",
            format!("{} ended the session during the login: {}", address.shown(), said(&error)),
        )
    };
    let mut offered: Option<russh::MethodSet> = None;
    let mut refusal = None;
    let mut tried = 0;
    for identity in login.identities().await.into_iter().take(IDENTITIES_MAX) {
        if offered.as_ref().is_some_and(|methods| !methods.contains(&MethodKind::PublicKey)) {
            break;
        }
        let mut signer = Signer { login, binding: binding(session, address)?, identity: &identity };
        let certificate = Certificate::from_bytes(&identity).ok();
        let result = match certificate {
            Some(certificate) => {
                let hash = rsa_hash(&certificate.algorithm());
                session
                    .handle
                    .authenticate_certificate_with(&address.user, certificate, hash, &mut signer)
                    .await
            }
            None => {
                let Ok(key) = PublicKey::from_bytes(&identity) else { continue };
                let hash = rsa_hash(&key.algorithm());
                session.handle.authenticate_publickey_with(&address.user, key, hash, &mut signer).await
            }
        };
        tried += 1;
        match result {
            Ok(AuthResult::Success) => return Ok(()),
            Ok(AuthResult::Failure { remaining_methods, .. }) => offered = Some(remaining_methods),
            Err(Refused::Problem(problem)) => refusal = Some(problem),
            Err(Refused::Ssh(error)) => return Err(lost(error)),
        }
    }
    if let Some(problem) = refusal {
        return Err(problem);
    }
    let offered = match offered {
        Some(offered) => offered,
        None => match session.handle.authenticate_none(&address.user).await.map_err(lost)? {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure { remaining_methods, .. } => remaining_methods,
        },
    };
    if offered.contains(&MethodKind::Password)
        && let Some(password) = login.answer(&format!("{}@{}'s password: ", address.user, address.name)).await
        && session.handle.authenticate_password(&address.user, password).await.map_err(lost)?.success()
    {
        return Ok(());
    }
    if offered.contains(&MethodKind::KeyboardInteractive)
        && questions(session, address, login).await.map_err(lost)?
    {
        return Ok(());
    }
    let methods: Vec<&str> = offered.iter().map(<&str>::from).collect();
    let asks = offered.contains(&MethodKind::Password) || offered.contains(&MethodKind::KeyboardInteractive);
    let passwords = if asks {
        "; a password is asked for at a terminal, behind a hop only with `via_mode = \"tunnel\"`"
    } else {
        ""
    };
    Err(Problem::new(
        "ssh.auth",
        format!(
            "{} refused the login of {} ({tried} keys tried; it accepts: {})",
            address.shown(),
            address.user,
            if methods.is_empty() { "nothing more".to_owned() } else { methods.join(", ") }
        ),
    )
    .hint(format!(
        "check the user and the key (`--identity`, `identity` in the inventory, or a running ssh-agent){passwords}"
    )))
}

fn rsa_hash(algorithm: &Algorithm) -> Option<HashAlg> {
    matches!(algorithm, Algorithm::Rsa { .. }).then_some(HashAlg::Sha512)
}

async fn questions(
    session: &mut Session,
    address: &Address,
    login: &dyn Login,
) -> Result<bool, russh::Error> {
    let mut reply = session.handle.authenticate_keyboard_interactive_start(&address.user, None).await?;
    for _ in 0..QUESTION_ROUNDS_MAX {
        let prompts = match reply {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
        };
        let mut answers = Vec::new();
        for prompt in prompts {
            match login.answer(&prompt.prompt).await {
                Some(answer) => answers.push(answer),
                None => return Ok(false),
            }
        }
        reply = session.handle.authenticate_keyboard_interactive_respond(answers).await?;
    }
    Ok(false)
}

fn binding(session: &Session, address: &Address) -> Result<Binding, Problem> {
    let binding = session.handle.agent_session_binding().ok_or_else(|| {
        Problem::new(
            "ssh.handshake",
            format!("the session with {} has no identity to sign for", address.shown()),
        )
    })?;
    Ok(Binding {
        host_key: binding.host_key().to_vec(),
        session_id: binding.session_id().to_vec(),
        host_signature: binding.signature().to_vec(),
    })
}

struct Signer<'a> {
    login: &'a dyn Login,
    binding: Binding,
    identity: &'a [u8],
}

enum Refused {
    Problem(Problem),
    Ssh(russh::Error),
}

impl From<russh::SendError> for Refused {
    fn from(_: russh::SendError) -> Refused {
        Refused::Ssh(russh::Error::SendError)
    }
}

impl russh::Signer for Signer<'_> {
    type Error = Refused;

    async fn auth_sign(
        &mut self,
        key: &AgentIdentity,
        hash_alg: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Refused> {
        let algorithm = match key {
            AgentIdentity::PublicKey { key, .. } => key.algorithm(),
            AgentIdentity::Certificate { certificate, .. } => certificate.algorithm(),
        };
        let algorithm = match algorithm {
            Algorithm::Rsa { .. } => Algorithm::Rsa { hash: hash_alg },
            other => other,
        };
        let algorithm = algorithm.to_string();
        let signature = self
            .login
            .sign(self.binding.clone(), self.identity, algorithm, to_sign.clone())
            .await
            .map_err(Refused::Problem)?;
        // russh wants the request with the signature behind it, as an SSH string.
        let length = u32::try_from(signature.len()).unwrap_or(u32::MAX);
        to_sign.extend_from_slice(&length.to_be_bytes());
        to_sign.extend_from_slice(&signature);
        Ok(to_sign)
    }
}
