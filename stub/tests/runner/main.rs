//! Tasks in real worker processes: how they begin, what they may do, how they end, and that nothing of them
//! is left.

mod ends;
mod lab;
mod limits;
mod programs;
mod rights;
mod workers;
