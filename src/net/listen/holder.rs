//! Who holds an address: the process behind a listening socket, as `/proc` of Linux shows it.
//!
//! A help for the administrator, nothing to rely upon: of other users' processes only root sees the descriptors.

#[cfg(target_os = "linux")]
use std::net::IpAddr;
use std::net::SocketAddr;

/// Who listens on `target`.
#[cfg(target_os = "linux")]
pub(super) fn of_port(target: SocketAddr) -> Option<String> {
    let inode =
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().filter_map(|table| std::fs::read_to_string(table).ok()).find_map(
            |table| table.lines().skip(1).find_map(|line| inode_of_listener(line, target).map(ToOwned::to_owned)),
        )?;
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    for pid in processes {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let holds = |entry: std::fs::DirEntry| {
            std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str())
        };
        if descriptors.flatten().any(holds) {
            return Some(process(pid));
        }
    }
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn of_port(_target: SocketAddr) -> Option<String> {
    None
}

/// A process as administrators know it: `pid 123 (stunnel4)`.
#[cfg(unix)]
pub(super) fn process(pid: u32) -> String {
    // its name is its own choice
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    match crate::text::shown(name.trim_end(), 64).as_str() {
        "" => format!("pid {pid}"),
        name => format!("pid {pid} ({name})"),
    }
}

/// The inode of a line of `/proc/net/tcp` (proc(5)) that listens on `target`'s port, at its address or at all.
#[cfg(target_os = "linux")]
fn inode_of_listener(line: &str, target: SocketAddr) -> Option<&str> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    let listening = fields.get(3) == Some(&"0A");
    let same_port = u16::from_str_radix(port, 16).ok()? == target.port();
    let address = hex_address(address)?;
    let overlaps = address.is_unspecified() || target.ip().is_unspecified() || address.to_canonical() == target.ip();
    (listening && same_port && overlaps).then(|| fields.get(9).copied()).flatten()
}

/// An address as `/proc/net/tcp` writes it: 32-bit words in the machine's own byte order.
#[cfg(target_os = "linux")]
fn hex_address(hex: &str) -> Option<IpAddr> {
    let words: Option<Vec<u8>> = (0..hex.len() / 8)
        .map(|word| u32::from_str_radix(hex.get(word * 8..word * 8 + 8)?, 16).ok())
        .try_fold(Vec::new(), |mut bytes, word| {
            bytes.extend(word?.to_ne_bytes());
            Some(bytes)
        });
    let bytes = words?;
    <[u8; 4]>::try_from(bytes.as_slice())
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from))
        .ok()
}
