//! What goes wrong, and when: rules for single requests, and switches for what Graph does all the time.

use std::time::Duration;

use super::World;
use super::graph::refuse;
use super::http::{Answer, Asked, Form};

/// All that is wrong.
#[derive(Default)]
pub(crate) struct Faults {
    /// Tried in this order; the first that fits a request is used.
    pub(crate) rules: Vec<Rule>,
    pub(crate) quirks: Quirks,
    /// How long every answer takes at least.
    pub(crate) latency: Duration,
}

/// A fault of requests that fit.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) method: &'static str,
    /// What stands in the target, percent signs and all.
    pub(crate) part: String,
    /// So many that fit are answered well before.
    pub(crate) skip: usize,
    /// So many are answered badly then.
    pub(crate) times: usize,
    pub(crate) fault: Fault,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Refused by Graph; status, code, message.
    Refused(u16, &'static str, &'static str),
    /// Refused, and asked to stay away for so long (a number as it is written; none where it is empty).
    Throttled(u16, &'static str, &'static str),
    /// A page of a proxy, no JSON.
    Page(u16),
    /// Led to another server.
    Redirect(u16, String),
    /// The delta token is of no use any more; with or without the address of a fresh start.
    Gone(bool),
    /// Answered, and the connection is lost after so many bytes of the body.
    Cut(usize),
    /// Answered, and only the end of the connection says where the body ends: after so many bytes.
    UntilClose(usize),
    /// HTTP 200 with an error in the middle of the list.
    ErrorInside,
    /// Answered this late.
    Late(Duration),
}

/// What Graph does all the time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quirks {
    /// `$skip` of a next link grows by more than the page.
    pub(crate) skip_gap: bool,
    /// Pages hold fewer than `$top`.
    pub(crate) short_pages: bool,
    /// Every so manieth page is empty and has a next link (0: none).
    pub(crate) empty_pages: usize,
    /// Every so manieth next link is missing (0: none).
    pub(crate) lost_next_links: usize,
    /// Pages of a delta hold no more than so many, whatever is preferred (0: as preferred).
    pub(crate) delta_page: usize,
    /// Pages of a delta repeat the last message of the page before.
    pub(crate) replay: bool,
    /// Delta writes `"isRead":"true"`.
    pub(crate) is_read_as_text: bool,
    /// 410 says where to start afresh.
    pub(crate) gone_with_location: bool,
    /// `innererror` in place of `innerError`.
    pub(crate) small_inner_error: bool,
    /// `ResourceNotFound` for a user without a mailbox.
    pub(crate) resource_not_found: bool,
    /// Larger messages have no `$value`: bytes, 0 for no limit.
    pub(crate) mime_limit: usize,
    /// The throttle model is off.
    pub(crate) no_throttle: bool,
    /// Pages and next links so far.
    pub(crate) pages: usize,
    pub(crate) links: usize,
}

impl Faults {
    /// From now on, what fits goes wrong `times` times.
    pub(crate) fn add(&mut self, method: &'static str, part: &str, times: usize, fault: Fault) {
        self.add_after(0, method, part, times, fault);
    }

    /// The same, after `skip` that fit and are answered well.
    pub(crate) fn add_after(&mut self, skip: usize, method: &'static str, part: &str, times: usize, fault: Fault) {
        self.rules.push(Rule { method, part: part.to_owned(), skip, times, fault });
    }

    /// The fault of this request, if any.
    pub(super) fn of(&mut self, asked: &Asked) -> Option<Fault> {
        for rule in &mut self.rules {
            if rule.times == 0 || rule.method != asked.method || !asked.target.contains(&rule.part) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.times -= 1;
            return Some(rule.fault.clone());
        }
        None
    }

    /// Whether all rules were used up.
    pub(crate) fn all_used(&self) -> bool {
        self.rules.iter().all(|rule| rule.times == 0)
    }
}

/// The answer that is given in place of the true one, where there is one.
pub(super) fn instead(world: &World, asked: &Asked, fault: &Fault) -> Option<Answer> {
    match fault {
        Fault::Refused(status, code, message) => Some(refuse(world, asked, *status, code, message)),
        Fault::Throttled(status, code, wait) => {
            let message = if *code == "ApplicationThrottled" {
                "Application is over its MailboxConcurrency limit."
            } else {
                "Please retry again later."
            };
            let answer = refuse(world, asked, *status, code, message);
            Some(if wait.is_empty() { answer } else { answer.with("Retry-After", *wait) })
        }
        Fault::Page(status) => {
            let page = "<html><head><title>502 Bad Gateway</title></head><body>proxy</body></html>";
            Some(Answer::new(*status, "text/html", page))
        }
        Fault::Redirect(status, to) => {
            let rest = asked.target.clone();
            Some(Answer::new(*status, "text/html", "").with("Location", format!("{to}{rest}")))
        }
        Fault::Gone(located) => Some(super::sync::gone(world, asked, *located)),
        Fault::ErrorInside => {
            let body = "{\"@odata.context\":\"x\",\"value\":[{\"error\":{\"code\":\"ErrorInternalServerTransientError\",\
                        \"message\":\"Cannot read.\"}}";
            Some(Answer::new(200, "application/json", body))
        }
        Fault::Cut(_) | Fault::UntilClose(_) | Fault::Late(_) => None,
    }
}

/// What the way to the client does to an answer.
pub(super) fn on_the_way(answer: Answer, fault: &Fault) -> Answer {
    match fault {
        Fault::Cut(after) => Answer { form: Form::Cut(*after), ..answer },
        Fault::UntilClose(after) => Answer { form: Form::UntilClose(*after), ..answer },
        Fault::Late(by) => Answer { delay: *by, ..answer },
        _ => answer,
    }
}
