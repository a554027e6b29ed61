//! Trees of nodes in simulation: what must hold whatever the network does.

mod damage;
mod flow;
mod hostile;
mod pieces;
mod world;
