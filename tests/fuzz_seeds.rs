//! The seeds of the fuzz targets, and the inputs that once broke a parser: what fuzzing asserts of any input must hold
//! for these on every run, without a fuzzer.

// they fail by a panic
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::path::Path;

#[path = "fuzz/properties.rs"]
mod properties;

#[test]
fn configurations_keep_their_properties() {
    replay("ini", properties::ini);
}

#[test]
fn patterns_keep_their_properties() {
    replay("pattern", properties::pattern);
}

#[test]
fn names_keep_their_properties() {
    replay("names", properties::names);
}

#[test]
fn imap_talks_keep_their_properties() {
    replay("imap", properties::imap);
}

#[test]
fn pop3_talks_keep_their_properties() {
    replay("pop3", properties::pop3);
}

#[test]
fn messages_keep_their_properties() {
    replay("mime", properties::mime);
}

#[test]
fn winmail_dats_keep_their_properties() {
    replay("tnef", properties::tnef);
}

#[test]
fn signed_data_keep_their_properties() {
    replay("smime", properties::smime);
}

#[test]
fn header_blocks_keep_their_properties() {
    replay("header", properties::header);
}

#[test]
fn actes_messages_keep_their_properties() {
    replay("actes", properties::actes);
}

#[test]
fn pastell_metadata_keep_their_properties() {
    replay("pastell", properties::pastell);
}

#[test]
fn archives_keep_their_properties() {
    replay("archive", properties::archive);
}

#[test]
fn deposits_keep_their_properties() {
    replay("envelope", properties::envelope);
}

#[test]
fn invoices_of_chorus_pro_keep_their_properties() {
    replay("chorus", properties::chorus);
}

#[test]
fn invoices_in_pdf_keep_their_properties() {
    replay("facturx", properties::facturx);
}

#[test]
fn xml_documents_keep_their_properties() {
    replay("xml", properties::xml);
}

#[test]
fn pes_keep_their_properties() {
    replay("helios", properties::helios);
}

#[test]
fn talks_around_the_tls_of_tunnels_keep_their_properties() {
    replay("tunnel_protocol", properties::tunnel_protocol);
}

/// Every seed as it stands, and cut short: most parsers fail at an end that they did not expect.
fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seen = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        // the name of the seed stands in the output of a test that failed
        print!("{} ", path.file_name().unwrap().to_string_lossy());
        property(&bytes);
        (1..8).for_each(|eighth| property(&bytes[..bytes.len() * eighth / 8]));
        seen += 1;
    }
    assert!(seen >= 3, "only {seen} seeds in {}", folder.display());
}
