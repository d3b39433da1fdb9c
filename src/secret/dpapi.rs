//! The data protection of Windows (DPAPI): bytes that this machine alone can read back.
//!
//! Not for one user: the service and the administrator who runs `pertuis login` are two, so the machine's key protects
//! (`CRYPTPROTECT_LOCAL_MACHINE`) and the rights of the file decide who may try. It keeps backups and copied disks mute.
//! PowerShell makes the same with `[Security.Cryptography.ProtectedData]::Protect(BYTES, $null, 'LocalMachine')`.

use std::io;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Cryptography::{
    CRYPT_INTEGER_BLOB, CRYPTPROTECT_LOCAL_MACHINE, CRYPTPROTECT_UI_FORBIDDEN, CryptProtectData, CryptUnprotectData,
};
use zeroize::{Zeroize as _, Zeroizing};

/// Protects `plain`.
///
/// # Errors
/// What the system says.
pub fn protect(plain: &[u8]) -> io::Result<Vec<u8>> {
    let flags = CRYPTPROTECT_LOCAL_MACHINE | CRYPTPROTECT_UI_FORBIDDEN;
    converted(plain, |from, to| {
        #[allow(unsafe_code)] // no safe wrapper in the tree
        // SAFETY: both blobs are valid for the call, the optional pointers may be null (CryptProtectData, Remarks).
        unsafe {
            CryptProtectData(from, null(), null(), null(), null(), flags, to)
        }
    })
    .map(|bytes| bytes.to_vec())
}

/// Reads back what [`protect`] made, here or elsewhere on this machine.
///
/// # Errors
/// What the system says: another machine, or damage.
pub fn unprotect(protected: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    converted(protected, |from, to| {
        #[allow(unsafe_code)] // no safe wrapper in the tree
        // SAFETY: as above; the description, which is not asked for, may be null.
        unsafe {
            CryptUnprotectData(from, null_mut(), null(), null(), null(), CRYPTPROTECT_UI_FORBIDDEN, to)
        }
    })
}

fn converted(
    bytes: &[u8],
    call: impl FnOnce(*const CRYPT_INTEGER_BLOB, *mut CRYPT_INTEGER_BLOB) -> i32,
) -> io::Result<Zeroizing<Vec<u8>>> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    // the calls do not write to their input
    let from = CRYPT_INTEGER_BLOB { cbData: length, pbData: bytes.as_ptr().cast_mut() };
    let mut to = CRYPT_INTEGER_BLOB { cbData: 0, pbData: null_mut() };
    if call(&raw const from, &raw mut to) == 0 {
        return Err(io::Error::last_os_error());
    }
    #[allow(unsafe_code)] // the system's memory
    // SAFETY: on success `to` names `cbData` initialised bytes of the system's heap, ours until `LocalFree`, which is
    // called once; the slice ends before it.
    unsafe {
        let answer = std::slice::from_raw_parts_mut(to.pbData, to.cbData as usize);
        let copy = Zeroizing::new(answer.to_vec());
        answer.zeroize();
        LocalFree(to.pbData.cast());
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_protected_is_read_back_and_damage_is_noticed() {
        let mut protected = protect(b"secret").unwrap();
        assert!(!protected.windows(6).any(|part| part == b"secret"));
        assert_eq!(unprotect(&protected).unwrap()[..], *b"secret");
        let last = protected.len() - 1;
        protected[last] ^= 1;
        assert!(unprotect(&protected).is_err());
    }
}
