//! Tasks in real worker processes: how they begin, what they may do, how they end, and that nothing of them
//! is left.

mod calls;
mod confined;
mod ends;
mod escapes;
mod execs;
mod lab;
mod limits;
mod policy;
mod programs;
mod rights;
mod tasks;
mod workers;
