//! Tests of binding against the real system.

use super::*;

fn at(host: Option<&str>, port: u16) -> Endpoint {
    Endpoint::Tcp(Address { host: host.map(ToOwned::to_owned), port })
}

async fn bound(endpoint: &Endpoint, settings: &[Setting]) -> Result<Bound, BindError> {
    let settings: Vec<SocketOption> =
        settings.iter().map(|setting| SocketOption { side: Side::Accept, setting: setting.clone() }).collect();
    bind(endpoint, &settings, &Owner::default()).await
}

fn ports(bound: &Bound) -> Vec<u16> {
    bound.listeners.iter().map(|one| one.local_addr().unwrap().ip().unwrap().port()).collect()
}

async fn reached(host: &str, port: u16) -> bool {
    tokio::net::TcpStream::connect((host, port)).await.is_ok()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_holds_a_taken_port_is_named() {
    let held = bound(&at(Some("127.0.0.1"), 0), &[]).await.unwrap();
    let error = bound(&at(Some("127.0.0.1"), ports(&held)[0]), &[]).await.unwrap_err();
    assert_eq!(error.error.kind(), io::ErrorKind::AddrInUse);
    let holder = error.holder.as_deref().unwrap();
    assert!(holder.starts_with(&format!("pid {} (", std::process::id())), "{holder}");
    let reason = error.reason();
    assert!(reason.en.starts_with(&format!("Address already in use (98), held by {holder}; stop")), "{reason}");
    assert!(reason.fr.starts_with(&format!("adresse déjà utilisée (98), occupé par {holder} ; ")), "{}", reason.fr);
}

#[tokio::test]
async fn no_host_means_every_address_on_one_port() {
    for settings in [&[][..], &[Setting::OnlyIpv6(false)]] {
        let bound = bound(&at(None, 0), settings).await.unwrap();
        let ports = ports(&bound);
        assert!(ports.len() == 2 && ports[0] == ports[1], "{ports:?}");
        assert!(reached("127.0.0.1", ports[0]).await && reached("::1", ports[0]).await);
    }
}

#[tokio::test]
async fn the_unspecified_address_of_ipv6_is_for_ipv4_too_unless_the_option_says_no() {
    for (settings, ipv4) in [(&[][..], true), (&[Setting::OnlyIpv6(false)], true), (&[Setting::OnlyIpv6(true)], false)]
    {
        let bound = bound(&at(Some("::"), 0), settings).await.unwrap();
        let port = ports(&bound)[0];
        assert!(reached("::1", port).await, "{settings:?}");
        assert_eq!(reached("127.0.0.1", port).await, ipv4, "{settings:?}");
    }
}

#[tokio::test]
async fn beside_a_port_of_ipv4_the_unspecified_address_serves_ipv6_and_says_so() {
    let held = bound(&at(Some("0.0.0.0"), 0), &[]).await.unwrap();
    let beside = bound(&at(Some("::"), ports(&held)[0]), &[]).await.unwrap();
    assert!(beside.warnings[0].en.contains("serves IPv6 alone"), "{:?}", beside.warnings);
    let asked = bound(&at(Some("::"), ports(&held)[0]), &[Setting::OnlyIpv6(false)]).await.unwrap_err();
    assert_eq!(asked.error.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn an_address_in_every_spelling_is_bound() {
    for text in ["127.0.0.1:0", "::1:0", "[::1]:0", ":::0", "localhost:0", "0"] {
        let endpoint = crate::config::value::endpoint(text).unwrap();
        let bound = bound(&endpoint, &[]).await.unwrap();
        assert!(ports(&bound).iter().all(|port| *port > 0), "{text}");
    }
    let named = crate::config::value::endpoint("pop3s").unwrap();
    assert_eq!(named, at(None, 995));
}

#[tokio::test]
async fn what_cannot_be_bound_says_why_and_what_to_do() {
    let absent = bound(&at(Some("192.0.2.1"), 0), &[]).await.unwrap_err();
    let reason = absent.reason();
    assert!(reason.en.starts_with("Cannot assign requested address (99); no interface"), "{reason}");
    assert!(reason.fr.contains("IP_FREEBIND"), "{}", reason.fr);
    let unknown = bound(&at(Some("no-such-host.invalid"), 1), &[]).await.unwrap_err();
    assert!(unknown.reason().en.starts_with("Error resolving \"no-such-host.invalid\": "), "{}", unknown.reason());
    let denied = BindError { address: "127.0.0.1:993".into(), error: io::Error::from_raw_os_error(13), holder: None };
    assert!(denied.reason().en.contains("AmbientCapabilities=CAP_NET_BIND_SERVICE"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_refused_option_that_restricts_is_a_bind_error_and_freebind_binds_what_is_not_there() {
    let error = bound(&at(Some("127.0.0.1"), 0), &[Setting::Device("no-such-if".into())]).await.unwrap_err();
    assert!(error.reason().en.contains("SO_BINDTODEVICE: No such device"), "{}", error.reason());
    let everywhere = bound(&at(None, 0), &[Setting::Device("no-such-if".into())]).await.unwrap_err();
    assert!(everywhere.reason().fr.contains("SO_BINDTODEVICE"), "{}", everywhere.reason());
    assert!(bound(&at(Some("192.0.2.1"), 0), &[Setting::FreeBind(true)]).await.is_ok());
    let warned = bound(&at(Some("127.0.0.1"), 0), &[Setting::KeepCount(u32::MAX >> 1)]).await.unwrap();
    assert!(warned.warnings[0].en.contains("TCP_KEEPCNT"), "{:?}", warned.warnings);
}

#[test]
fn only_lost_connections_are_not_waited_for() {
    assert_eq!(pause_after(&io::ErrorKind::ConnectionAborted.into()), Duration::ZERO);
    assert_eq!(pause_after(&io::Error::from_raw_os_error(24)), Duration::from_secs(1));
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
    use std::path::PathBuf;

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("s")
        }

        async fn bind(&self, owner: &Owner) -> Result<Bound, BindError> {
            bind(&Endpoint::Unix(self.path()), &[], owner).await
        }
    }

    fn owner(user: &str, group: &str) -> Owner {
        Owner { user: Some(user.into()), group: Some(group.into()) }
    }

    #[tokio::test]
    async fn its_file_is_there_as_long_as_it_listens() {
        let folder = Folder::new();
        let bound = folder.bind(&Owner::default()).await.unwrap();
        assert!(bound.warnings.is_empty());
        assert!(UnixStream::connect(folder.path()).is_ok());
        drop(bound);
        assert!(!folder.path().exists());
    }

    #[tokio::test]
    async fn a_file_that_another_one_has_put_there_is_left_alone() {
        let folder = Folder::new();
        let first = folder.bind(&Owner::default()).await.unwrap();
        std::fs::remove_file(folder.path()).unwrap();
        let _second = folder.bind(&Owner::default()).await.unwrap();
        drop(first);
        assert!(UnixStream::connect(folder.path()).is_ok());
    }

    #[tokio::test]
    async fn a_stale_one_is_taken_over_with_a_warning() {
        let folder = Folder::new();
        drop(UnixListener::bind(folder.path()).unwrap());
        assert!(folder.path().exists());
        let bound = folder.bind(&Owner::default()).await.unwrap();
        assert!(bound.warnings[0].en.contains("left behind"), "{:?}", bound.warnings);
        assert!(UnixStream::connect(folder.path()).is_ok());
    }

    #[tokio::test]
    async fn a_living_one_is_in_use_and_its_holder_is_named() {
        let folder = Folder::new();
        let living = UnixListener::bind(folder.path()).unwrap();
        let error = folder.bind(&Owner::default()).await.unwrap_err();
        assert_eq!(error.error.kind(), io::ErrorKind::AddrInUse);
        #[cfg(target_os = "linux")]
        assert!(error.holder.as_deref().unwrap().starts_with(&format!("pid {} (", std::process::id())));
        assert!(error.reason().en.starts_with("Address already in use (98)"), "{}", error.reason());
        drop(living);
        let folder = Folder::new();
        let _datagrams = UnixDatagram::bind(folder.path()).unwrap();
        assert_eq!(folder.bind(&Owner::default()).await.unwrap_err().error.kind(), io::ErrorKind::AddrInUse);
        assert!(folder.path().exists());
    }

    #[tokio::test]
    async fn nothing_but_a_socket_is_removed() {
        let (folder, elsewhere) = (Folder::new(), Folder::new());
        std::fs::write(folder.path(), "precious").unwrap();
        let error = folder.bind(&Owner::default()).await.unwrap_err();
        assert!(error.reason().en.contains("no socket"), "{}", error.reason());
        assert_eq!(std::fs::read(folder.path()).unwrap(), b"precious");
        // nor what a link leads to
        std::fs::remove_file(folder.path()).unwrap();
        drop(UnixListener::bind(elsewhere.path()).unwrap());
        std::os::unix::fs::symlink(elsewhere.path(), folder.path()).unwrap();
        assert!(folder.bind(&Owner::default()).await.is_err());
        assert!(folder.path().is_symlink() && elsewhere.path().exists());
    }

    #[tokio::test]
    async fn it_belongs_to_setuid_and_setgid_by_name_or_number() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can give files away");
            return;
        }
        for owner in [owner("nobody", "daemon"), owner("65534", "1")] {
            let folder = Folder::new();
            let _bound = folder.bind(&owner).await.unwrap();
            let metadata = std::fs::metadata(folder.path()).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (65534, 1), "{owner:?}");
            assert_eq!(metadata.permissions().mode() & 0o111, 0o111, "as the umask leaves it");
        }
    }

    #[tokio::test]
    async fn an_unknown_owner_and_a_missing_folder_say_so() {
        let folder = Folder::new();
        let error = folder.bind(&owner("no-such-user", "daemon")).await.unwrap_err();
        assert!(error.reason().en.starts_with("Illegal UID: setuid = no-such-user"), "{}", error.reason());
        assert!(!folder.path().exists());
        let nowhere = Endpoint::Unix(folder.path().join("deeper"));
        let error = bind(&nowhere, &[], &Owner::default()).await.unwrap_err();
        assert!(error.reason().en.contains("there is no directory"), "{}", error.reason());
    }
}
