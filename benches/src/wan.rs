//! A far link with real packets: TCP with its handshake, its windows and its slow start, over a TUN device.
//!
//! ```text
//!  client 10.177.0.1 --> 10.177.0.2 ==> tun: read a packet, keep it for half of the RTT,
//!  server 10.177.0.1 <-- 10.177.0.2 <==      swap its two addresses, write it back
//! ```
//!
//! Both ends are this machine, in the network namespace of this process: a packet to the other side comes back as one from
//! it. Swapping two addresses changes no checksum. No packet is lost, late or out of order, and the link is as wide as
//! two cores can copy.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use waft_tests::process::run_tool;
use waft_tests::{Context, Result};

/// Where both programs run, and the address by which each sees the other.
pub(crate) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 177, 0, 1));
pub(crate) const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 177, 0, 2));
const DEVICE: &str = "waftwan";
const SUBNET: &str = "10.177.0.1/30";
/// Packets that wait for us in the kernel; its own 500 would be lost at once when a window of some MB leaves.
const QUEUE_PACKETS: &str = "20000";
const PACKET_BYTES_MAX: usize = 65_536;
/// In an IPv4 header: source and destination, four bytes each.
const ADDRESSES: std::ops::Range<usize> = 12..20;
const ADDRESS_BYTES: usize = 4;

/// `struct ifreq` as TUNSETIFF reads it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    unused: [u8; 22],
}

/// IFF_TUN (packets without Ethernet) and IFF_NO_PI (without a header of the device's own).
const TUN_FLAGS: u16 = 0x0001 | 0x1000;
/// Declared with an int, though the kernel reads a whole [`Request`].
const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);

/// Moves this process into a network namespace of its own, where it can make such a link. Before any other thread is
/// there, because each has its own namespace.
pub(crate) fn enter() -> Result<()> {
    // SAFETY: there is one thread, so there is no other to leave behind.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
        .context(|| "cannot make a network namespace, which needs root".to_owned())?;
    ip(&["link", "set", "lo", "up"])
}

fn ip(words: &[&str]) -> Result<()> {
    let mut ip = Command::new("ip");
    ip.args(words);
    run_tool(ip, b"").map(drop)
}

/// Starts the link. It ends with the process.
pub(crate) fn open(rtt: Duration) -> Result<()> {
    let device = || "cannot open /dev/net/tun".to_owned();
    let tun = File::options().read(true).write(true).open("/dev/net/tun").context(device)?;
    let mut request = Request { name: [0; 16], flags: TUN_FLAGS, unused: [0; 22] };
    request.name[..DEVICE.len()].copy_from_slice(DEVICE.as_bytes());
    // SAFETY: TUNSETIFF reads a `struct ifreq`, and that is what it gets.
    unsafe { ioctl(&tun, Setter::<TUNSETIFF, Request>::new(request)) }
        .context(|| format!("cannot make the device {DEVICE}"))?;
    ip(&["address", "add", SUBNET, "dev", DEVICE])?;
    ip(&["link", "set", DEVICE, "txqueuelen", QUEUE_PACKETS, "up"])?;
    let (queue, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    let writer = tun.try_clone().context(device)?;
    thread::spawn(move || receive(tun, &queue, rtt / 2));
    thread::spawn(move || deliver(writer, &due));
    Ok(())
}

fn receive(mut tun: File, queue: &mpsc::Sender<(Instant, Vec<u8>)>, delay: Duration) {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    while let Ok(length @ 1..) = tun.read(&mut packet) {
        let at = Instant::now() + delay;
        // Of IPv6 there is only what the kernel says to itself about the new device.
        if packet[0] >> 4 == 4 && queue.send((at, packet[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn deliver(mut tun: File, due: &mpsc::Receiver<(Instant, Vec<u8>)>) {
    for (at, mut packet) in due {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        packet[ADDRESSES].rotate_left(ADDRESS_BYTES);
        // What the device does not take is lost, as on any link.
        let _ = tun.write_all(&packet);
    }
}
