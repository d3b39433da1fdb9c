//! A plain directory of dropped files.
