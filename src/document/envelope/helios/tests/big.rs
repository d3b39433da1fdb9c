//! Memory: a PES larger than it, made while it is read.

use std::io::{self, BufRead as _, Cursor};

use super::*;
use crate::document::envelope::store::{Body, BodyWriter};
use crate::model::Digest;

/// Counts what it is given and keeps nothing.
struct Nowhere(u64);

impl Store for Nowhere {
    fn create(&mut self) -> io::Result<Box<dyn BodyWriter>> {
        self.0 += 1;
        Ok(Box::new(Counter(0)))
    }

    fn discard(&mut self, _: &Body) {}
}

struct Counter(u64);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BodyWriter for Counter {
    fn finish(self: Box<Self>) -> io::Result<Body> {
        Ok(Body { path: "nowhere".into(), size: self.0, sha256: Digest([0; 32]) })
    }
}

/// The same pieces again and again, each with its own number, between the beginning and the end of a PES.
struct Generated {
    now: Cursor<Vec<u8>>,
    content: String,
    next: usize,
    count: usize,
}

impl Read for Generated {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.now.fill_buf()?.is_empty() && self.next <= self.count {
            let n = self.next;
            let text = if n == self.count {
                "</PES_PJ></n:PES_Aller>".to_owned()
            } else {
                piece(&self.content, &format!("P{n}"), &format!("{n}.pdf"))
            };
            self.next += 1;
            self.now = Cursor::new(text.into_bytes());
        }
        self.now.read(buf)
    }
}

/// The most memory that the process has had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Alone in its process: `cargo test --lib -- --ignored a_pes_of_200_mb`.
#[test]
#[ignore = "some seconds, and memory is only its own when it runs alone"]
fn a_pes_of_200_mb_needs_no_memory_for_its_size() {
    let mut state = 1u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(190_000)
    .collect();
    let content = gzip(&noise);
    let count = (200 << 20) / content.len();
    let head = pes("<PES_PJ>").replace("</n:PES_Aller>", "");
    let root = sniff(&mut head.as_bytes()).unwrap().unwrap();
    let mut input = Generated { now: Cursor::new(head.into_bytes()), content, next: 0, count };
    let (mut store, before) = (Nowhere(0), peak());
    let reading = decode(&mut input, &root, &mut store, &mut Budget::new(LIMITS)).unwrap();
    assert_eq!((reading.attachments.len(), store.0), (count, count as u64));
    assert!(reading.attachments.iter().all(|one| one.body.size == 190_000));
    let grown = (peak() - before) >> 10;
    println!("{count} pieces, {grown} KiB more than before");
    assert!(grown < 8 << 10, "{grown} KiB");
}
