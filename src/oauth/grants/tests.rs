//! The requests byte for byte, each kind of answer, against a scripted server on loopback.
