//! Front door.
pub mod fetch;
pub mod filter;
pub mod ledger;
