//! Front door.
pub mod filter;
