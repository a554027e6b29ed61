//! Tasks in real worker processes: how they begin, what they may do, how they end, and that nothing of them
//! is left.

mod calls;
mod check;
mod confined;
mod daemons;
mod ends;
mod escapes;
mod execs;
mod lab;
mod limits;
mod listing;
mod memory;
mod policy;
mod programs;
mod rights;
mod staying;
mod tasks;
mod workers;
