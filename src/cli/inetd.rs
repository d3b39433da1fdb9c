//! inetd's way: a file without sections is one connection on standard input and output, and then the end.
//!
//! Not a service: nothing listens, no signal is waited for, and no pid file is written (stunnel(8): "inetd mode"). A file
//! with a mistake ends with 1; whatever becomes of the connection, the end is 0, as stunnel's.

use std::io;
use std::sync::Arc;

use super::run::{LAST_MOMENT, at, catch_panics, give_up};
use super::{Console, DONE, FAILED};
use crate::config::{Config, Remark};
use crate::event::{Event, Level};
use crate::log::{Log, Settings};
use crate::platform;
use crate::supervisor::{self, Moment};
use crate::text;
use crate::tunnel;

/// Serves the connection.
pub(super) fn run(config: &Config, console: &mut Console<'_>) -> io::Result<u8> {
    let mut settings = Settings::of(config);
    // a super-server gives one socket for all three streams: a line of the log would be a word to the peer
    settings.stderr &= !platform::standard_error_is_a_connection();
    let log = Log::waiting(settings);
    match serve(config, &log)? {
        Ok(()) => Ok(DONE),
        Err(mistakes) => console.failure(&log.kept(), &mistakes).map(|()| FAILED),
    }
}

fn serve(config: &Config, log: &Log) -> io::Result<Result<(), Vec<Remark>>> {
    let events = log.events();
    let work = || {
        let prepared = supervisor::prepare(config.clone(), &events, Moment::Start)?;
        let privileges = prepared.privileges();
        privileges.check_rights().map_err(|(option, text)| vec![at(config, option, text)])?;
        give_up(privileges, config, &events)?;
        log.start().map_err(|text| vec![at(config, "output", text)])?;
        for Remark { place, text } in prepared.warnings() {
            let (en, fr) = (&text.en, &text.fr);
            events.emit(Event::new(Level::Warning, "config_warning", text!("{place}: {en}", "{place}: {fr}")));
        }
        Ok(prepared.into_inetd())
    };
    let prepared = match work() {
        Ok(Some(prepared)) => prepared,
        Ok(None) => return Ok(Ok(())),
        Err(mistakes) => return Ok(Err(mistakes)),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    catch_panics(events.clone());
    runtime.block_on(tunnel::inetd::serve(prepared, events, Arc::default()));
    runtime.shutdown_timeout(LAST_MOMENT);
    Ok(Ok(()))
}
