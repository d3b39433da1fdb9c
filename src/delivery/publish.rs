//! Renames: the one that never replaces, and the one that says that it does.
//!
//! Not the choice of names: that is the cycle's, which commits a name to the ledger before it is tried here.
//! `std::fs::rename` replaces silently and is banned by `clippy.toml`; everything goes through these functions.

use std::fs::File;
use std::io;
use std::path::Path;

/// What became of a rename that never replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The file has its final name.
    Done,
    /// Something has that name already; nothing was changed.
    Taken,
}

/// Gives the finished file `staged` its final name in one step, never replacing what is there.
///
/// Linux: `renameat2(RENAME_NOREPLACE)`, one atomic step. Where the file system has no such call (old NFS and SMB
/// servers): `link` then `unlink`; where it has no hard links either: a check, then a rename.
#[cfg(unix)]
pub fn publish(staged: &Path, target: &Path) -> io::Result<Published> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, staged, CWD, target, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(Published::Done),
            Err(Errno::EXIST) => return Ok(Published::Taken),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    publish_by_link(staged, target)
}

/// `link` then `unlink`. A crash between the two leaves a staged file with two links: the second try sees that it
/// is the very file that stands at the target.
#[cfg(unix)]
fn publish_by_link(staged: &Path, target: &Path) -> io::Result<Published> {
    match std::fs::hard_link(staged, target) {
        Ok(()) => std::fs::remove_file(staged).map(|()| Published::Done),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !same_file(staged, target)? {
                return Ok(Published::Taken);
            }
            std::fs::remove_file(staged).map(|()| Published::Done)
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) => {
            if target.symlink_metadata().is_ok() {
                return Ok(Published::Taken);
            }
            replace(staged, target).map(|()| Published::Done)
        }
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn same_file(one: &Path, other: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (one, other) = (one.symlink_metadata()?, other.symlink_metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// Gives the finished file `staged` its final name in one step, never replacing what is there: `MoveFileExW`
/// without `MOVEFILE_REPLACE_EXISTING`, tried again while a virus scanner holds the file.
#[cfg(windows)]
#[allow(unsafe_code)] // no safe wrapper of MoveFileExW leaves MOVEFILE_REPLACE_EXISTING out
pub fn publish(staged: &Path, target: &Path) -> io::Result<Published> {
    use std::os::windows::ffi::OsStrExt;
    use windows_sys::Win32::Foundation::{
        ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_FILE_EXISTS, ERROR_SHARING_VIOLATION,
    };
    use windows_sys::Win32::Storage::FileSystem::{MOVEFILE_WRITE_THROUGH, MoveFileExW};

    let wide = |path: &Path| path.as_os_str().encode_wide().chain([0]).collect::<Vec<u16>>();
    let (from, to) = (wide(staged), wide(target));
    // a folder in which a file is held open is refused in other words than the file itself
    let is_held = |code: u32| code == ERROR_SHARING_VIOLATION || (code == ERROR_ACCESS_DENIED && staged.is_dir());
    for attempt in 0_u64.. {
        // SAFETY: both pointers are to zero-terminated UTF-16 that outlives the call; the function keeps neither.
        if unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), MOVEFILE_WRITE_THROUGH) } != 0 {
            return Ok(Published::Done);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error().map(i32::cast_unsigned) {
            Some(ERROR_ALREADY_EXISTS | ERROR_FILE_EXISTS) => return Ok(Published::Taken),
            Some(code) if is_held(code) && attempt < SHARING_RETRIES => {
                std::thread::sleep(std::time::Duration::from_millis(50 << attempt));
            }
            _ => return Err(error),
        }
    }
    unreachable!("the loop returns")
}

/// Gives `from` the name `to`, replacing what stands there: for our own files only, never in a delivery directory.
#[allow(clippy::disallowed_methods)] // the one place where replacing is meant
pub fn replace(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

/// Whether a rename can go from one folder to the other: the same volume and, where the system tells, the same mount
/// (no rename crosses two mounts of one volume, as containers have them).
pub fn same_volume(one: &Path, other: &Path) -> io::Result<bool> {
    Ok(volume(one)? == volume(other)?)
}

#[cfg(target_os = "linux")]
fn volume(path: &Path) -> io::Result<(u64, Option<u64>)> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    use std::os::unix::fs::MetadataExt;
    let device = std::fs::metadata(path)?.dev();
    let told = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok();
    let told = told.filter(|told| StatxFlags::from_bits_retain(told.stx_mask).contains(StatxFlags::MNT_ID));
    Ok((device, told.map(|told| told.stx_mnt_id)))
}

#[cfg(all(unix, not(target_os = "linux")))]
fn volume(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata(path)?.dev())
}

/// The drive letter or the share.
#[cfg(windows)]
fn volume(path: &Path) -> io::Result<Option<std::ffi::OsString>> {
    Ok(std::fs::canonicalize(path)?.components().next().map(|prefix| prefix.as_os_str().to_owned()))
}

/// Makes the names in a directory survive a power cut, where the platform and the file system have such a call (some
/// network shares have none).
pub fn sync_directory(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(path)?.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

#[cfg(windows)]
const SHARING_RETRIES: u64 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn publishing_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let (staged, target) = (dir.path().join("staged"), dir.path().join("facture.pdf"));
        fs::write(&staged, "new").unwrap();
        fs::write(&target, "old").unwrap();
        assert_eq!(publish(&staged, &target).unwrap(), Published::Taken);
        assert_eq!((fs::read(&target).unwrap(), fs::read(&staged).unwrap()), (b"old".to_vec(), b"new".to_vec()));
        fs::remove_file(&target).unwrap();
        assert_eq!(publish(&staged, &target).unwrap(), Published::Done);
        assert!(!staged.exists());
        assert_eq!(fs::read(&target).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn publishing_by_link_finishes_what_a_crash_left_between_its_two_steps() {
        let dir = tempfile::tempdir().unwrap();
        let (staged, target) = (dir.path().join("staged"), dir.path().join("facture.pdf"));
        fs::write(&staged, "new").unwrap();
        fs::write(&target, "old").unwrap();
        assert_eq!(publish_by_link(&staged, &target).unwrap(), Published::Taken);
        fs::remove_file(&target).unwrap();
        fs::hard_link(&staged, &target).unwrap();
        assert_eq!(publish_by_link(&staged, &target).unwrap(), Published::Done);
        assert!(!staged.exists() && target.exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn two_volumes_are_told_apart() {
        assert!(!same_volume(Path::new("/proc"), Path::new("/")).unwrap());
        assert!(same_volume(Path::new("/"), Path::new("/")).unwrap());
        assert!(same_volume(Path::new("/no/such/folder"), Path::new("/")).is_err());
    }

    #[test]
    fn a_missing_staged_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(publish(&dir.path().join("none"), &dir.path().join("x")).is_err());
    }
}
