//! What `waft new` makes, in each language: built and tested by the lines of its Makefile, run here and over a real sshd.

mod assemblyscript;
mod c;
mod calls;
mod contract;
mod go;
mod greeting;
mod interpreted;
mod javascript;
mod page;
mod project;
mod python;
mod rust;
mod scene;
mod zig;
