//! From a target to a running stub on an open stream, whatever the transport: choosing the stub and saying
//! what the writer must send first.

use crate::delivery;
use crate::intro::{Intro, Probe, Said};
use crate::stream::LinkStream;
use std::sync::Arc;
use std::time::Duration;
use waft_proto::limits::HELLO_DEADLINE_MS;
use waft_proto::msg::{Arch, Delivery, Engine, Profile, Remembered, StubBlob, StubKind};
use waft_proto::run::Problem;

/// From the start of an installed stub to its first byte.
const INSTALLED_DEADLINE: Duration = Duration::from_millis(HELLO_DEADLINE_MS);

/// From the start of a shell to its word about the machine: slow start-up files of the account included.
const PROBE_DEADLINE: Duration = Duration::from_secs(30);

/// Where the bytes of stubs come from: the controller's own, or a relay's blob store, in which they may
/// still be arriving.
pub trait Stubs: Send + Sync {
    fn choose(&self, arch: Arch, kind: StubKind) -> Option<StubBlob>;
    /// The gzip bytes; waits for them within the caller's deadline.
    fn bytes(&self, stub: &StubBlob) -> crate::stream::Pending<'_, Result<Arc<[u8]>, Problem>>;
}

/// A stream whose far end is a shell that was given the delivery line (or an installed stub).
pub struct Dialled {
    pub stream: LinkStream,
    /// What was read and not used yet.
    pub intro: Intro,
    /// What may be taken for granted before the hello. Frames may follow the stub at once only when this
    /// is known; else they wait for the preamble.
    pub assumed: Option<Engine>,
    /// What the target said it is, if it was asked before.
    pub learned: Option<Remembered>,
}

/// What to exec on the target.
pub fn command(delivery: &Delivery) -> Result<String, Problem> {
    match &delivery.installed {
        Some(path) => delivery::installed_line(path),
        None => Ok(delivery::shell_line()),
    }
}

/// Chooses a stub for what the stream's shell says (or for what is remembered of it).
pub async fn deliver(
    host: &str,
    kind: StubKind,
    delivery: &Delivery,
    stubs: &dyn Stubs,
    mut stream: LinkStream,
) -> Result<Dialled, Problem> {
    let mut intro = Intro::default();
    if let Some(path) = &delivery.installed {
        // There is nothing to carry there: it speaks at once or never.
        let first = tokio::time::timeout(INSTALLED_DEADLINE, stream.incoming.next()).await;
        match first.map_err(|_| silent(host, path))? {
            Some(bytes) => intro.feed(&bytes),
            None => return Err(ended(host, &intro, &stream)),
        }
        return Ok(Dialled { stream, intro, assumed: None, learned: None });
    }
    if let Some(remembered) = delivery.remembered
        && remembered.exact
        && let Some(stub) = stubs.choose(remembered.arch, kind)
    {
        let header = delivery::header(remembered.arch, stub.bytes, true, delivery)?;
        let bytes = stubs.bytes(&stub).await?;
        let assumed = Some(Engine { arch: remembered.arch, profile: Profile::Fast });
        send(host, &mut stream, &mut intro, header, &bytes).await?;
        return Ok(Dialled { stream, intro, assumed, learned: None });
    }
    let asked = tokio::time::timeout(PROBE_DEADLINE, probe(host, &mut intro, &mut stream)).await;
    let probe = asked.map_err(|_| mute(host))??;
    let Some(stub) = probe.arch().and_then(|arch| stubs.choose(arch, kind)) else {
        return Err(delivery::no_stub(host, &probe, kind));
    };
    if !probe.gzip {
        return Err(Problem::new(
            "delivery.gzip",
            format!("{host} has neither gzip nor python3 to unpack the stub"),
        )
        .hint("install one of them there, or install waft-stub and set `installed = PATH`"));
    }
    let header = delivery::header(stub.arch, stub.bytes, true, delivery)?;
    let bytes = stubs.bytes(&stub).await?;
    let assumed = probe.exact.then_some(Engine { arch: stub.arch, profile: Profile::Fast });
    let learned = probe.remembered();
    send(host, &mut stream, &mut intro, header, &bytes).await?;
    Ok(Dialled { stream, intro, assumed, learned })
}

/// What the delivery line says of the machine.
async fn probe(host: &str, intro: &mut Intro, stream: &mut LinkStream) -> Result<Probe, Problem> {
    loop {
        match intro.next(host)? {
            Some(Said::Probe(probe)) => return Ok(probe),
            Some(Said::Preamble(_)) => {
                let message = format!("{host} started a stub before it was given one");
                return Err(Problem::new("delivery.failed", message));
            }
            None => {}
        }
        match stream.incoming.next().await {
            Some(bytes) => intro.feed(&bytes),
            None => return Err(ended(host, intro, stream)),
        }
    }
}

fn mute(host: &str) -> Problem {
    let seconds = PROBE_DEADLINE.as_secs();
    let message = format!("the login on {host} did not answer the delivery line within {seconds} s");
    Problem::new("delivery.timeout", message)
        .hint("the account's shell must be able to run `sh`; see what `ssh` to that host prints")
}

fn silent(host: &str, path: &str) -> Problem {
    let seconds = INSTALLED_DEADLINE.as_secs();
    let message = format!("the installed stub {path} on {host} said nothing within {seconds} s");
    Problem::new("delivery.timeout", message)
        .hint("is it a waft-stub? `PATH --version` tells; without `installed` one is brought along")
}

/// Hands header and stub to the transport, and listens meanwhile: a shell that gives up says why, and
/// would otherwise leave us writing to nobody.
async fn send(
    host: &str,
    stream: &mut LinkStream,
    intro: &mut Intro,
    header: Vec<u8>,
    stub: &[u8],
) -> Result<(), Problem> {
    let mut bytes = header;
    bytes.extend_from_slice(stub);
    let LinkStream { incoming, outgoing, .. } = stream;
    let mut sending = outgoing.send(bytes);
    loop {
        tokio::select! {
            sent = &mut sending => match sent {
                Ok(()) => return Ok(()),
                // Its last words are on their way.
                Err(_) => break,
            },
            bytes = incoming.next() => match bytes {
                Some(bytes) => {
                    intro.feed(&bytes);
                    intro.check(host)?;
                }
                None => break,
            },
        }
    }
    drop(sending);
    while let Some(bytes) = stream.incoming.next().await {
        intro.feed(&bytes);
        intro.check(host)?;
    }
    Err(ended(host, intro, stream))
}

/// Why a stream ended before a stub spoke.
pub fn ended(host: &str, intro: &Intro, stream: &LinkStream) -> Problem {
    let said = stream.epitaph.text().or_else(|| intro.noise());
    let problem = match said {
        Some(said) => format!("the shell on {host} ended before the stub started: {said}"),
        None => format!("the shell on {host} ended before the stub started, without a word"),
    };
    Problem::new("delivery.ended", problem)
        .hint("the account's shell must be able to run `sh`; see what `ssh` to that host prints")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Epitaph, Incoming, Outgoing, Pending};

    struct Silence;

    impl Incoming for Silence {
        fn next(&mut self) -> Pending<'_, Option<Vec<u8>>> {
            Box::pin(std::future::pending())
        }
    }

    impl Outgoing for Silence {
        fn send(&mut self, _: Vec<u8>) -> Pending<'_, std::io::Result<()>> {
            Box::pin(std::future::pending())
        }
    }

    struct NoStubs;

    impl Stubs for NoStubs {
        fn choose(&self, _: Arch, _: StubKind) -> Option<StubBlob> {
            None
        }

        fn bytes(&self, _: &StubBlob) -> Pending<'_, Result<Arc<[u8]>, Problem>> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_installed_stub_that_says_nothing_is_given_up() {
        let installed = Some("/opt/not-a-stub".to_owned());
        let delivery = Delivery { no_disk: false, dir: None, installed, remembered: None };
        let stream = LinkStream {
            incoming: Box::new(Silence),
            outgoing: Box::new(Silence),
            epitaph: Epitaph::default(),
            guard: Box::new(()),
        };
        let dialled = deliver("web1", StubKind::Leaf, &delivery, &NoStubs, stream).await;
        let problem = dialled.err().expect("no stub");
        assert_eq!(problem.code, "delivery.timeout");
        assert!(problem.message.contains("web1") && problem.message.contains("/opt/not-a-stub"));
    }
}
