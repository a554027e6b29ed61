//! Tasks in real worker processes: how they begin, what they may do, how they end, and that nothing of them
//! is left.

mod check;
mod ends;
mod escapes;
mod lab;
mod limits;
mod policy;
mod programs;
mod rights;
mod workers;
