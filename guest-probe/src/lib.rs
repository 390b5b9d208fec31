//! How one asks a Kata agent whether it is well, and how an agent answers.
//!
//! Kata's runtime talks to its agent in ttrpc over vsock. Two calls of that protocol are here,
//! `grpc.Health/Check` and `grpc.Health/Version`, for both sides: `osbuilder boot` asks, the probe
//! (this package's program) answers. Nothing else of the agent's protocol is, or shall be, known.
//!
//! [`frame`] is ttrpc's frame, [`message`] the few protocol-buffer messages, [`health`] the two
//! calls.

pub mod frame;
pub mod health;
pub mod message;

/// The vsock port on which Kata's agent listens.
pub const AGENT_PORT: u32 = 1024;
/// What the agent, and the probe, write to the console once they listen.
pub const LISTENING: &str = "ttRPC server started";
