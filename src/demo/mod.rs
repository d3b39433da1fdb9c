//! The demonstration: the whole product on loopback, with nothing else needed.

pub mod mailbox;

use crate::text::Lang;
/// x
pub fn run(
    _keep: bool,
    _lang: Lang,
    _out: &mut dyn std::io::Write,
    _err: &mut dyn std::io::Write,
) -> std::io::Result<u8> {
    Ok(1)
}
