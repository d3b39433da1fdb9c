//! JSON objects whose fields come in the order in which the real services write them.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

/// An object with these fields, in this order.
pub(crate) fn object(fields: &[(&str, Value)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{}:{value}", Value::from(*name))).collect();
    format!("{{{}}}", fields.join(","))
}

/// A fresh identifier as Microsoft writes them.
pub(crate) fn guid() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0x2d13_2a74);
    let n = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let (high, low) = (n >> 32, n & 0xFFFF_FFFF_FFFF);
    format!("{high:08x}-{:04x}-43f6-a068-{low:012x}", n & 0xFFFF)
}
