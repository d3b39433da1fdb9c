//! The two shapes of a log line.
//!
//! stunnel's line, because scripts and watchdogs read it (stunnel 5.75, log.c: `DATE TIME LOG<level>[<id>]: text`, local
//! time, at most 1024 characters of text, what does not print becomes a dot), and one JSON object a line, always in
//! English. Not the place where anything is left out: that was decided before.

use std::fmt::Write as _;

use jiff::Zoned;

use crate::event::{ConnectionId, Event};
use crate::text::Lang;

/// `YYYY.MM.DD HH:MM:SS LOG<level>[<id>]: text`, with its newline.
pub(super) fn text(event: &Event, lang: Lang, now: &Zoned) -> String {
    format!("{} {}\n", now.strftime("%Y.%m.%d %H:%M:%S"), body(event, lang))
}

/// The same without the time: what goes to syslog.
pub(super) fn body(event: &Event, lang: Lang) -> String {
    let mut line = format!("LOG{}[", event.level.number());
    match &event.connection {
        Some(id) => drop(write!(line, "{id}]: ")),
        None => line.push_str("ui]: "),
    }
    line.extend(event.text.get(lang).chars().take(LONGEST).map(|c| if c.is_control() { '.' } else { c }));
    line
}

/// One JSON object with its newline: `time` (RFC 3339, UTC offset of the machine), `level`, `event`, `service`,
/// `connection` where there is one (a number, with `logId = unique` a name), `message` (English).
pub(super) fn json(event: &Event, now: &Zoned) -> String {
    let mut object = serde_json::json!({
        "time": now.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string(),
        "level": event.level.as_str(),
        "event": event.name,
        "service": event.service.as_ref().map(crate::model::ServiceName::as_str),
        "message": &*event.text.en,
    });
    match &event.connection {
        Some(ConnectionId::Number(number)) => object["connection"] = (*number).into(),
        Some(ConnectionId::Name(name)) => object["connection"] = (&**name).into(),
        None => {}
    }
    format!("{object}\n")
}

/// Characters of text in a line.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Level;
    use crate::model::ServiceName;
    use crate::text;
    use crate::text::Text;

    fn noon() -> Zoned {
        "2026-03-01T12:05:09.25+01:00[Europe/Paris]".parse().unwrap()
    }

    #[test]
    fn a_line_is_stunnels_own() {
        let event = Event::new(Level::Notice, "stopped", text!("terminated", "arrêté"));
        assert_eq!(text(&event, Lang::En, &noon()), "2026.03.01 12:05:09 LOG5[ui]: terminated\n");
        let event = Event::new(Level::Error, "x", text!("no", "non")).of(&ServiceName::new("s")).on(12);
        assert_eq!(text(&event, Lang::Fr, &noon()), "2026.03.01 12:05:09 LOG3[12]: non\n");
    }

    #[test]
    fn a_line_about_a_section_says_which_in_both_languages() {
        let event = Event::new(Level::Info, "x", text!("delivered", "livré")).about(&ServiceName::new("factures"));
        assert_eq!(body(&event, Lang::En), "LOG6[ui]: factures: delivered");
        assert_eq!(body(&event, Lang::Fr), "LOG6[ui]: factures : livré");
        assert!(json(&event, &noon()).contains("\"service\":\"factures\""));
    }

    #[test]
    fn what_does_not_print_becomes_a_dot_and_long_lines_are_capped() {
        let event = Event::new(Level::Info, "x", Text::same(format!("é\r\n\u{1b}[31m{}", "à".repeat(2000))));
        let line = body(&event, Lang::En);
        assert!(line.starts_with("LOG6[ui]: é...[31mà"), "{line}");
        assert_eq!(line.chars().count(), "LOG6[ui]: ".len() + LONGEST);
    }

    #[test]
    fn json_is_one_english_object_a_line() {
        let event = Event::new(Level::Warning, "odd_name", text!("line\n\"two\"", "ligne")).of(&ServiceName::new("né"));
        let line = json(&event, &noon());
        assert_eq!(line.matches('\n').count(), 1);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            object,
            serde_json::json!({"time": "2026-03-01T12:05:09.250+01:00", "level": "warning", "event": "odd_name",
                "service": "né", "message": "line\n\"two\""})
        );
        assert!(json(&event.clone().on(3), &noon()).contains("\"connection\":3,"));
        let again = ConnectionId::from(3).turn(1);
        assert!(json(&event.on(again), &noon()).contains("\"connection\":\"3_1\","));
    }
}
