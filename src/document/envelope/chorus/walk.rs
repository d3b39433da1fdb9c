//! Tables of paths: what is taken from which element.
//!
//! Not `XPath`: a path is the names from the element at hand, without prefixes, and names are compared without case.
//! An element that no path leads to is passed over unread, so that neither depth nor length of what is unknown counts.

use super::Items;
use super::amounts::{amount, date};
use super::labels::Labels;
use crate::document::envelope::limits::Budget;
use crate::document::envelope::store::Store;
use crate::document::envelope::values::Values;
use crate::document::envelope::xml::{Event, Xml};
use crate::document::envelope::{Error, Reading};

/// What a decoder fills.
pub(super) struct Context<'a> {
    pub(super) reading: &'a mut Reading,
    pub(super) store: &'a mut dyn Store,
    pub(super) budget: &'a mut Budget,
    pub(super) items: Items,
}

/// What is done with an element.
#[derive(Clone, Copy)]
pub(super) enum Take<S> {
    /// Its text, under this key.
    Text(&'static str),
    /// Its text as a date.
    Date(&'static str),
    /// Its text as an amount.
    Amount(&'static str),
    /// Its text, and its label under `<key>_libelle`.
    Code(&'static str, Labels),
    /// Whatever the decoder does.
    Own(S),
}

/// Rows of a table.
pub(super) type Table<S> = [(&'static str, Take<S>)];

/// Reads the element that just began, to its end. `own` is called for [`Take::Own`] when the element has begun, and reads
/// to its end.
///
/// # Errors
/// Those of the reader and of `own`.
pub(super) fn walk<S: Copy>(
    xml: &mut Xml<'_>,
    table: &Table<S>,
    values: &mut Values,
    own: &mut dyn FnMut(&mut Xml<'_>, &mut Values, S) -> Result<(), Error>,
) -> Result<(), Error> {
    descend(xml, table, &mut String::new(), values, own)
}

fn descend<S: Copy>(
    xml: &mut Xml<'_>,
    table: &Table<S>,
    path: &mut String,
    values: &mut Values,
    own: &mut dyn FnMut(&mut Xml<'_>, &mut Values, S) -> Result<(), Error>,
) -> Result<(), Error> {
    let length = path.len();
    loop {
        match xml.next()? {
            Event::End | Event::Eof => return Ok(()),
            Event::Text(_) => continue,
            Event::Start => path.push_str(xml.local()),
        }
        if let Some((_, take)) = table.iter().find(|(row, _)| row.eq_ignore_ascii_case(path)) {
            match take {
                Take::Own(own_take) => own(xml, values, *own_take)?,
                take => plain(xml, take, values)?,
            }
        } else {
            path.push('/');
            if table.iter().any(|(row, _)| leads_to(path, row)) {
                descend(xml, table, path, values, own)?;
            } else {
                xml.skip()?;
            }
        }
        path.truncate(length);
    }
}

fn leads_to(path: &str, row: &str) -> bool {
    row.get(..path.len()).is_some_and(|start| start.eq_ignore_ascii_case(path))
}

fn plain<S>(xml: &mut Xml<'_>, take: &Take<S>, values: &mut Values) -> Result<(), Error> {
    let text = xml.text()?;
    match take {
        Take::Text(key) => values.add(key, &text),
        Take::Date(key) => values.add(key, &date(&text)),
        Take::Amount(key) => values.add(key, &amount(&text)),
        Take::Code(key, labels) => code(values, key, *labels, &text),
        Take::Own(_) => {}
    }
    Ok(())
}

/// Adds a code and, where known, its label.
pub(super) fn code(values: &mut Values, key: &str, labels: Labels, text: &str) {
    values.add(key, text);
    if let Some(label) = labels.of(text) {
        values.add(&format!("{key}_libelle"), label);
    }
}
