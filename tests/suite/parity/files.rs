//! Rows about the text of the file.

use super::Row;
use super::bench::Bench;
use super::tunnels::{anyone, client, see_talk};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "a byte order mark, the line ends of Windows, both comments, blanks and any case",
        config: "\u{feff}; first\r\n# second\r\n  FOREGROUND=yes\r\nsyslog\t=\tNO\r\nPid=\r\ndebug = INFO\r\n\
                 \t[Mixed Case]  \r\n  Client = YES \r\n\r\n accept={near}\r\nConnect    =    {far}\r\n;end",
        act: see_one_connection,
        gaps: &[],
    },
    Row {
        name: "include reads a folder in the order of its names, into the section that is open",
        config: "{head}[first]\nclient = yes\ninclude = {dir}/conf.d\n[last]\nclient = yes\naccept = {other}\nconnect = {far}\n",
        act: |b| {
            let target = b.target("far");
            b.write_expanded("conf.d/10-b.conf", "accept = {near}\n");
            b.write_expanded("conf.d/9-c.conf", "[second]\nclient = yes\naccept = {third}\nconnect = {far}\n");
            b.write_expanded("conf.d/10-c.conf", "connect = {far}\nsni = included.test\n");
            fs_dir(b, "conf.d/folder");
            b.start();
            b.wait_open("near");
            b.wait_open("third");
            for name in ["near", "third", "other"] {
                let mut near = b.connect(name);
                let mut far = target.accept().accept_tls(&anyone()).unwrap();
                b.see("name", format!("{:?}", far.server_name()));
                see_talk(b, &mut near, &mut far);
                near.finish();
                b.see("far end", far.ends_ours());
            }
        },
        gaps: &[],
    },
    Row {
        name: "the last of an option that does not add up counts",
        config: "{head}[ s ]\nclient = no\nclient = yes\nsni = first.test\nsni = second.test\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            b.see("name", format!("{:?}", far.server_name()));
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "old habits of configurations are no mistakes",
        config: "{head}fips = no\nRNDbytes = 64\n[s]\nclient = yes\naccept = {near}\nconnect = {far}\n\
                 options = NO_SSLv2\noptions = SINGLE_DH_USE\nrenegotiation = no\nsessionCacheTimeout = 60\n\
                 ciphers = HIGH:!aNULL\nsecurityLevel = 1\nstack = 65536\nlibwrap = no\nOCSPaia = no\n\
                 TIMEOUTbusy = 30\nTIMEOUTconnect = 5\nTIMEOUTidle = 600\ncurves = X25519:P-256\n",
        act: see_one_connection,
        gaps: &[],
    },
];

fn see_one_connection(b: &mut Bench) {
    let (mut near, mut far) = client(b);
    see_talk(b, &mut near, &mut far);
    near.finish();
    b.see("far end", far.ends_ours());
}

fn fs_dir(b: &Bench, name: &str) {
    std::fs::create_dir_all(b.path(name)).unwrap();
}
