//! An IMAP mailbox.
