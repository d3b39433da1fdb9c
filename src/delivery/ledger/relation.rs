//! Deliveries that belong together: the letters of an acte, the acquit of a PES (facts, end: `related`).
//!
//! Not a search: what an item is known by is written when it is recorded, and earlier deliveries of the same launcher
//! are found by it. An item that is taken again is not its own predecessor.

use std::collections::HashSet;

use rusqlite::{Transaction, params};

use super::{Ledger, failed};
use crate::model::Fault;

/// Something that an item is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Relation {
    /// What it is in it.
    pub bond: Bond,
    /// IDActe; for a PES the name of the flow and the code of the authority.
    pub name: String,
    /// Of an acquit: the `{key}` of the aller that it answers.
    pub answers: Option<String>,
}

/// What an item is in a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bond {
    /// A message about an acte: all that have one IDActe belong together.
    Acte,
    /// A PES.
    Aller,
    /// The acquit of a PES.
    Acquit,
}

impl Bond {
    fn as_str(self) -> &'static str {
        match self {
            Self::Acte => "acte",
            Self::Aller => "aller",
            Self::Acquit => "acquit",
        }
    }
}

/// An item of the batch that is about to be recorded: it comes before the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// `{key}`.
    pub short: String,
    /// What it is known by.
    pub relations: Vec<Relation>,
}

impl Ledger {
    /// The `{key}`s of earlier deliveries to which an item belongs, newest first, at most `MOST`: those of the ledger and
    /// those of `batch`. Notes in its acquits which aller they answer.
    pub fn related(&self, own: &str, relations: &mut [Relation], batch: &[Before]) -> Result<Vec<String>, Fault> {
        let mut found: Vec<(u64, String)> = Vec::new(); // with a rank that grows with age
        for n in 0..relations.len() {
            let (bond, name) = (relations[n].bond, relations[n].name.clone());
            match bond {
                Bond::Acte => found.extend(self.known_as(own, Bond::Acte, &name, batch)?),
                // one that brings its own aller along answers that one
                Bond::Acquit if relations.iter().any(|own| own.bond == Bond::Aller && own.name == name) => {}
                Bond::Acquit => {
                    let aller = self.answered(own, &name, batch)?;
                    relations[n].answers = aller.as_ref().map(|(_, short)| short.clone());
                    found.extend(aller);
                }
                Bond::Aller => {}
            }
        }
        found.sort();
        let mut seen = HashSet::new();
        Ok(found.into_iter().map(|(_, short)| short).filter(|short| seen.insert(short.clone())).take(MOST).collect())
    }

    /// The aller that an acquit answers: of several the newest that has no acquit yet, else the newest.
    fn answered(&self, own: &str, name: &str, batch: &[Before]) -> Result<Option<(u64, String)>, Fault> {
        let allers = self.known_as(own, Bond::Aller, name, batch)?;
        for aller in &allers {
            if !self.is_answered(own, &aller.1, name, batch)? {
                return Ok(Some(aller.clone()));
            }
        }
        Ok(allers.into_iter().next())
    }

    /// Whether an earlier acquit answered this aller, or one came along with it.
    fn is_answered(&self, own: &str, aller: &str, name: &str, batch: &[Before]) -> Result<bool, Fault> {
        let answers = |before: &Before, relation: &Relation| {
            let along = before.short == aller && relation.bond == Bond::Acquit;
            relation.name == name && (along || relation.answers.as_deref() == Some(aller))
        };
        let others = || batch.iter().filter(|before| before.short != own);
        if others().any(|before| before.relations.iter().any(|relation| answers(before, relation))) {
            return Ok(true);
        }
        let sql = "SELECT 1 FROM relation r JOIN item i ON i.id = r.item
                   WHERE r.kind = 'acquit' AND r.name = ?3 AND i.launcher = ?1 AND i.short <> ?4
                   AND (r.answers = ?2 OR i.short = ?2)";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        statement.exists(params![self.launcher, aller, name, own]).map_err(failed)
    }

    /// Earlier deliveries that are known as this, newest first.
    fn known_as(&self, own: &str, bond: Bond, name: &str, batch: &[Before]) -> Result<Vec<(u64, String)>, Fault> {
        let is = |relation: &Relation| relation.bond == bond && relation.name == name;
        let mut found: Vec<(u64, String)> = Vec::new();
        for (age, before) in batch.iter().rev().enumerate() {
            if before.short != own && before.relations.iter().any(is) {
                found.push((age as u64, before.short.clone()));
            }
        }
        let sql = "SELECT r.item, i.short FROM relation r JOIN item i ON i.id = r.item
                   WHERE r.kind = ?2 AND r.name = ?3 AND i.launcher = ?1 AND i.short <> ?4
                   AND i.stage IN ('recorded', 'confirmed') ORDER BY r.item DESC LIMIT ?5";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let arguments = params![self.launcher, bond.as_str(), name, own, MOST];
        let age = |row: &rusqlite::Row<'_>| Ok((u64::MAX - row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?));
        let rows = statement.query_map(arguments, age).map_err(failed)?;
        for row in rows {
            let row: (u64, String) = row.map_err(failed)?;
            // of what is taken again in this batch the row of before still stands
            if !found.iter().any(|(_, short)| *short == row.1) {
                found.push(row);
            }
        }
        Ok(found)
    }
}

/// Writes what a recorded item is known by.
pub(super) fn insert(transaction: &Transaction<'_>, item: i64, relations: &[Relation]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO relation (item, kind, name, answers) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    let mut statement = transaction.prepare_cached(sql)?;
    relations.iter().try_for_each(|relation| {
        let Relation { bond, name, answers } = relation;
        statement.execute(params![item, bond.as_str(), name, answers]).map(drop)
    })
}

/// Earlier deliveries that one item names: a stranger who drops the same acte for ever does not make each index longer.
const MOST: usize = 1000;
