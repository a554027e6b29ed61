//! The process in which tasks run: `waft-stub --worker`, started by the pool for one module and one set of
//! grants. For a component it is the program `waft-worker` instead, which came with the run; an installed stub has what
//! runs components in itself.
//!
//! It finds its channel to the stub as stdin and, as stdout, a sealed memory file with the artifact. Order
//! matters: walls first, then the artifact is loaded, then executions, one store each. The process has one
//! thread, because walls hold per thread; time passes for a task on that thread's own tokio runtime.
//!
//! What a task asks for beyond WASI is decided by the stub: see [`host`]. The worker enforces limits as well
//! as it can, but whoever reads its messages believes none of them.
//!
//! A supervisor (see [`crate::program`]) is the same process with another first message.

#[cfg(feature = "components")]
mod component;
pub(crate) mod dry;
mod guest;
pub mod host;
mod output;
#[cfg(feature = "components")]
mod streams;
pub mod walls;
pub(crate) mod wire;

use crate::program::Order;
use guest::Guest;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::Arc;
use walls::Walls;
use wire::{Fault, FromWorker, Link, Load, ToWorker, cut, packet_buffer};

/// Addresses that `fast` takes for one memory with its guard, and the memory's neighbours, bytes.
const RESERVE_BYTES: usize = 6 << 30;

/// A task that was loaded.
trait Loaded: Sized {
    /// A dry run needs an overlay for each granted directory, those for reading included.
    const COVERED: bool;

    /// Maps the artifact and links it. The error is a fault and its object.
    fn load(artifact: File, load: &Load, denied: &'static [i32]) -> Result<Self, (Fault, String)>;

    /// Runs the task once and says how it went. An error only when the stub is gone.
    async fn execute(
        &self,
        link: &Arc<Link>,
        execution: u64,
        args: &[&str],
        env: &[(&str, &str)],
        params: Vec<u8>,
    ) -> std::io::Result<()>;
}

/// The worker's whole life: until the stub closes the channel.
pub fn main() -> ExitCode {
    code(serve())
}

/// The same of the program that runs components and nothing else.
#[cfg(feature = "components")]
pub fn components_main() -> ExitCode {
    code(serve_components())
}

fn code(served: std::io::Result<()>) -> ExitCode {
    // Nobody reads our stderr, so the stub learns about a broken channel from its end.
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// First, because the standard descriptors are about to be replaced.
fn link() -> std::io::Result<Link> {
    Ok(Link::new(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?))
}

#[cfg(feature = "components")]
fn serve_components() -> std::io::Result<()> {
    let link = link()?;
    let mut buffer = packet_buffer();
    match link.receive(&mut buffer)? {
        Some(ToWorker::Load(load)) => work::<component::Guest>(link, load),
        _ => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

fn serve() -> std::io::Result<()> {
    let link = link()?;
    let mut buffer = packet_buffer();
    match link.receive(&mut buffer)? {
        #[cfg(feature = "components")]
        Some(ToWorker::Load(load)) if load.component => work::<component::Guest>(link, load),
        Some(ToWorker::Load(load)) => work::<Guest>(link, load),
        Some(ToWorker::Supervise(order)) => {
            let order = link.rest_of_input(order)?;
            let order: Order<'_> =
                postcard::from_bytes(&order).map_err(|_| std::io::ErrorKind::InvalidData)?;
            crate::program::supervise(link, &order)
        }
        _ => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

fn work<G: Loaded>(link: Link, mut load: Load) -> std::io::Result<()> {
    let artifact = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let kept = [link.as_raw_fd(), artifact.as_raw_fd()];
    let tell = |layer| dry::tell(&link, &layer);
    let raised = Walls::raise_for(load.wall, &mut load.dirs, &load.limits, &kept, load.dry.as_ref(), tell);
    let loaded = raised.and_then(|walls| {
        if let (true, Some(why)) = (G::COVERED, walls.uncovered()) {
            return Err((Fault::Dry, why.to_owned()));
        }
        let denied = dry::prepare(&mut load, walls.has_own_root());
        Ok((G::load(File::from(artifact), &load, denied)?, walls.close()?))
    });
    let (guest, walls) = match loaded {
        Ok(loaded) => loaded,
        Err((fault, text)) => return link.send(&FromWorker::Rejected { fault, text: cut(&text) }),
    };
    let time = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    link.send(&FromWorker::Loaded { walls })?;
    let link = Arc::new(link);
    let mut buffer = packet_buffer();
    loop {
        let (execution, args, env, params) = match link.receive(&mut buffer)? {
            None => return Ok(()),
            Some(ToWorker::Start { execution, args, env, params }) => {
                (execution, args, env, link.rest_of_input(params)?)
            }
            Some(_) => return Err(std::io::ErrorKind::InvalidData.into()),
        };
        time.block_on(guest.execute(&link, execution, &args, &env, params))?;
    }
}

/// Whether this process may have the addresses that `fast` needs (`ulimit -v`, overcommit).
pub(crate) fn can_reserve() -> bool {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new mapping wherever the kernel likes, which nobody sees and which is given back at once.
    unsafe {
        mmap_anonymous(std::ptr::null_mut(), RESERVE_BYTES, ProtFlags::empty(), flags)
            .and_then(|mapping| munmap(mapping, RESERVE_BYTES))
            .is_ok()
    }
}
