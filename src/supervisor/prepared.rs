//! Everything about a configuration that can fail, done before anything is bound, fetched or stopped.
//!
//! Not the reading of the file (`config`): here what it names is looked at, and TLS is built.

use std::collections::HashSet;

use super::{expiry, outside, rights};
use crate::config::{Config, Place, Rejected, Remark, Tunnel};
use crate::event::Events;
use crate::model::Fault;
use crate::privileges::Privileges;
use crate::tunnel;

/// When a configuration is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before anything runs.
    Start,
    /// While it runs: who the process is and where its root is, does not change any more.
    Reload,
}

/// A configuration with everything that can fail done: files read, keys loaded, directories seen.
#[derive(Debug)]
pub struct Prepared {
    pub(super) config: Config,
    pub(super) tunnels: Vec<tunnel::Prepared>,
    inetd: Option<tunnel::Prepared>,
    pub(super) privileges: Privileges,
    pub(super) own: Vec<expiry::Own>,
}

impl Prepared {
    /// What was accepted but means something else than it says, and what is not there today and may be tomorrow (a
    /// share that is not mounted yet), in the order of the file.
    pub fn warnings(&self) -> &[Remark] {
        &self.config.warnings
    }

    /// Who and where the process is to be once everything is bound.
    pub fn privileges(&self) -> &Privileges {
        &self.privileges
    }

    /// The certificates that sections show.
    pub fn own_certificates(&self) -> &[expiry::Own] {
        &self.own
    }

    /// The one service of a file without sections.
    pub fn into_inetd(self) -> Option<tunnel::Prepared> {
        self.inetd
    }
}

/// Does everything that can fail. Touches nothing and starts nothing.
///
/// # Errors
/// Everything that is wrong, in the order of the file.
pub fn prepare(mut config: Config, events: &Events, moment: Moment) -> Result<Prepared, Vec<Remark>> {
    let mut remarks = Vec::new();
    let privileges = match moment {
        Moment::Start => rights::look_up(&mut config).unwrap_or_else(|mistakes| {
            remarks.extend(mistakes);
            Privileges::default()
        }),
        Moment::Reload => Privileges::default(),
    };
    let outside::Findings { mistakes, missing } = outside::inspect(&config, &privileges);
    remarks.extend(mistakes);
    config.warnings.extend(missing);
    config.warnings.sort_by(|one, other| one.place.cmp(&other.place));
    let mut look = |section: &Tunnel, hosts: &[&Tunnel]| match tunnel::prepare(section, hosts, events) {
        Ok(prepared) => Some(prepared),
        Err(fault) => {
            remarks.push(at_its_option(section, fault));
            None
        }
    };
    let tunnels = primaries(&config).filter_map(|section| look(section, &hosts_of(&config, section))).collect();
    let inetd = config.inetd.as_deref().and_then(|section| look(section, &[]));
    if remarks.is_empty() {
        let own = expiry::own(&config);
        return Ok(Prepared { config, tunnels, inetd, privileges, own });
    }
    remarks.sort_by(|one, other| one.place.cmp(&other.place));
    // a default of the preamble is the mistake of each section
    remarks.dedup();
    Err(remarks)
}

/// The mistakes of a rejected file together with those that [`prepare`] finds in the rest of it: people correct a file
/// once, not twice. Neither a line that is a mistake already nor a whole section with one in it is blamed for what
/// follows from it.
pub fn all_mistakes(rejected: Rejected, moment: Moment) -> Vec<Remark> {
    let Rejected { mut mistakes, rest, troubled } = rejected;
    let look = |mut config: Box<Config>| {
        // a launcher whose directory is misspelt has none: what lies in it cannot be asked
        config.launchers.retain(|launcher| !launcher.deliver.as_os_str().is_empty() && !launcher.source.is_empty());
        prepare(*config, &Events::nowhere(), moment).err()
    };
    let more = rest.and_then(look).unwrap_or_default();
    let mut known: HashSet<Place> = mistakes.iter().map(|mistake| mistake.place.clone()).collect();
    known.extend(troubled);
    mistakes.extend(more.into_iter().filter(|mistake| !known.contains(&mistake.place)));
    mistakes.sort_by(|one, other| one.place.cmp(&other.place));
    mistakes
}

/// The sections that run by themselves: virtual hosts live in the one whose connections they take.
pub(super) fn primaries(config: &Config) -> impl Iterator<Item = &Tunnel> {
    config.tunnels.iter().filter(|section| section.virtual_host.is_none())
}

/// The virtual hosts of `section`, in the order of the file. Of sections with one name the first has them, as in stunnel.
pub(super) fn hosts_of<'a>(config: &'a Config, section: &Tunnel) -> Vec<&'a Tunnel> {
    let first = primaries(config).find(|one| one.name == section.name);
    let is_first = first.is_some_and(|first| first.places.section == section.places.section);
    let takes = |host: &&Tunnel| host.virtual_host.as_ref().is_some_and(|host| is_first && host.of == section.name);
    config.tunnels.iter().filter(takes).collect()
}

pub(super) fn at_its_option(section: &Tunnel, fault: Fault) -> Remark {
    outside::at_its_option(&section.places, section.files(), fault)
}
