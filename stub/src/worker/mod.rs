//! The process in which tasks run: `waft-stub --worker`, started by the pool for one module and one set of
//! grants.
//!
//! It finds its channel to the stub as stdin and, as stdout, a sealed memory file with the artifact. Order
//! matters: walls first, then the artifact is loaded, then executions, one store each. The process has one
//! thread, because walls hold per thread; time passes for a task on that thread's own tokio runtime.
//!
//! What a task asks for beyond WASI is decided by the stub: see [`host`]. The worker enforces limits as well
//! as it can, but whoever reads its messages believes none of them.
//!
//! A supervisor (see [`crate::program`]) is the same process with another first message.

mod guest;
pub mod host;
mod output;
pub mod walls;
pub(crate) mod wire;

use crate::program::Order;
use guest::Guest;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use walls::Walls;
use wire::{FromWorker, Link, Load, ToWorker, cut, packet_buffer};

/// Addresses that `fast` takes for one memory with its guard, and the memory's neighbours, bytes.
const RESERVE_BYTES: usize = 6 << 30;

/// The worker's whole life: until the stub closes the channel.
pub fn main() -> ExitCode {
    // Nobody reads our stderr, so the stub learns about a broken channel from its end.
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> std::io::Result<()> {
    // First, because the standard descriptors are about to be replaced.
    let link = Link::new(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?);
    let mut buffer = packet_buffer();
    match link.receive(&mut buffer)? {
        Some(ToWorker::Load(load)) => {
            let artifact = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
            work(link, artifact, &load)
        }
        Some(ToWorker::Supervise(order)) => {
            let order = link.rest_of_input(order)?;
            let order: Order<'_> =
                postcard::from_bytes(&order).map_err(|_| std::io::ErrorKind::InvalidData)?;
            crate::program::supervise(link, &order)
        }
        _ => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

fn work(link: Link, artifact: OwnedFd, load: &Load) -> std::io::Result<()> {
    let kept = [link.as_raw_fd(), artifact.as_raw_fd()];
    let loaded = Walls::raise(load.wall, &load.dirs, &load.limits, &kept)
        .and_then(|walls| Ok((Guest::load(File::from(artifact), load)?, walls.close()?)));
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
