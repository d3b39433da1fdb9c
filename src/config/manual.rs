//! Documents that are made from the option table: commented sample file, table in Markdown, section of the man page.
//!
//! Not written by hand anywhere else: what the table says is what the program does.
