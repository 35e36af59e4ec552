//! What is known of one source, and what its news come to: what is published, what is held back,
//! what an operator is told. Decides alone; time is an argument.

use super::found::{Found, Set};
use super::reports::News;
use gatehouse_core::moment::Moment;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How far apart two publications of one upstream are at least.
pub(super) const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// How often an operator is told of a source that goes on failing, with changing words.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Names listed of one kind; the rest are counted.
const NAMES_MAX: usize = 10;

/// One source.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// A set of fewer than this share of the last one is held back: in 1/1,000.
    pub min_healthy_permille: u16,
    /// What is in force: the last set that was taken.
    pub last: Option<Arc<Set>>,
    /// Until when that was good, where it was found before this start and the source has not
    /// given one since.
    pub remembered: Option<SystemTime>,
    pub held: Option<Held>,
    /// When the source last vouched for what it has said.
    pub vouched: Option<Moment>,
    pub failing: Option<Failing>,
    /// How often something else was published.
    pub changes: u64,
    /// How often it failed after it had answered, or from the start.
    pub failures: u64,
    published: Option<Moment>,
    complained: Option<Moment>,
}

/// A set that is held back.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub set: Arc<Set>,
    pub since: Moment,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) struct Failing {
    pub why: String,
    pub since: Moment,
}

/// What news have come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What is to be published.
    pub publish: Option<Arc<Set>>,
    /// What an operator is told, without the subject: severity and text.
    pub said: Vec<(Severity, String)>,
}

/// How much an operator should mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Info,
    Warn,
}

impl Ledger {
    pub fn new(min_healthy_permille: u16) -> Ledger {
        Ledger { min_healthy_permille, ..Ledger::default() }
    }

    /// Begins with what was good before this start, until the source gives a set.
    pub fn remember(&mut self, set: Arc<Set>, good: SystemTime) {
        (self.last, self.remembered) = (Some(set), Some(good));
    }

    /// Whether it has answered, or failed to.
    pub fn has_answered(&self) -> bool {
        let has_found = self.last.is_some() && self.remembered.is_none();
        has_found || self.held.is_some() || self.failing.is_some()
    }

    /// From when on news may be taken.
    pub fn due(&self) -> Moment {
        self.published.map_or(Moment::default(), |at| at.after(PUBLISH_EVERY))
    }

    /// Takes news in.
    pub fn take(&mut self, news: News, now: Moment) -> Outcome {
        let mut outcome = Outcome::default();
        self.vouched = news.vouched.or(self.vouched);
        if let Some(set) = news.set {
            self.judge(set, now, &mut outcome);
        }
        match news.failed {
            Some(why) => self.fail(why, now, &mut outcome),
            None if self.failing.take().is_some() => {
                self.complained = None;
                outcome.said.push((Severity::Info, "answers again".to_owned()));
            }
            None => {}
        }
        outcome
    }

    /// Takes what is held back, because an operator says that it is so.
    pub fn accept(&mut self, now: Moment) -> Option<Outcome> {
        let held = self.held.take()?;
        let mut outcome = Outcome::default();
        self.publish(held.set, now, &mut outcome);
        Some(outcome)
    }

    fn judge(&mut self, set: Arc<Set>, now: Moment, outcome: &mut Outcome) {
        let shown = self.held.as_ref().map(|held| &held.set).or(self.last.as_ref());
        if shown.is_none_or(|shown| shown.problems != set.problems) {
            let lines = set.problems.iter().map(ToString::to_string);
            outcome.said.extend(lines.map(|line| (Severity::Warn, line)));
            if set.problems_more > 0 {
                let line = format!("{} more problems like these", set.problems_more);
                outcome.said.push((Severity::Warn, line));
            }
        }
        // What was good before this start is used for want of better, and measures nothing.
        let before = self.last.as_ref().filter(|_| self.remembered.is_none());
        let before = before.map(|last| last.len());
        if !is_too_few(before, set.len(), self.min_healthy_permille) {
            self.held = None;
            return self.publish(set, now, outcome);
        }
        let known = self.held.as_ref().filter(|held| held.set.len() == set.len());
        if known.is_none() {
            outcome.said.push((Severity::Warn, held_back(before, set.len())));
        }
        let since = self.held.as_ref().map_or(now, |held| held.since);
        self.held = Some(Held { set, since });
    }

    fn publish(&mut self, set: Arc<Set>, now: Moment, outcome: &mut Outcome) {
        let nobody = Set::default();
        let line = difference(self.last.as_deref().unwrap_or(&nobody), &set);
        self.remembered = None;
        let is_first = self.last.replace(Arc::clone(&set)).is_none();
        if line.is_none() && !is_first {
            return;
        }
        self.changes += 1;
        self.published = Some(now);
        outcome.said.extend(line.map(|line| (Severity::Info, line)));
        outcome.publish = Some(set);
    }

    fn fail(&mut self, why: String, now: Moment, outcome: &mut Outcome) {
        let before = self.failing.as_ref();
        let is_new = before.is_none_or(|before| before.why != why);
        let may = self.complained.is_none_or(|at| now.since(at) >= COMPLAIN_EVERY);
        if before.is_none() || is_new && may {
            let stays = match (&self.last, self.remembered) {
                (Some(last), None) => format!("the last good endpoints stay, {}", last.len()),
                (Some(last), Some(_)) => {
                    format!("those kept from before this start are used, {}", last.len())
                }
                (None, _) => "there are none yet".to_owned(),
            };
            outcome.said.push((Severity::Warn, format!("{why}; {stays}")));
            self.complained = Some(now);
        }
        self.failures += u64::from(before.is_none());
        let since = before.map_or(now, |before| before.since);
        self.failing = Some(Failing { why, since });
    }
}

/// Whether a set of `count` cannot be believed after one of `before`. Nobody is: an empty registry
/// is an outage until somebody says that it is not.
fn is_too_few(before: Option<usize>, count: usize, permille: u16) -> bool {
    match before {
        None => count == 0,
        Some(0) => false,
        Some(before) => count == 0 || count * 1_000 < before * usize::from(permille),
    }
}

fn held_back(before: Option<usize>, count: usize) -> String {
    match before {
        None => "no endpoint is there; that is taken for an outage until some come or an operator \
                 accepts it"
            .to_owned(),
        Some(before) => format!(
            "{count} endpoints in place of {before} are held back: the last ones stay until more \
             come or an operator accepts these"
        ),
    }
}

/// What is different, in a line; `None` where nothing is.
fn difference(old: &Set, new: &Set) -> Option<String> {
    let (mut added, mut removed, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    let (mut was, mut is) = (old.endpoints.iter().peekable(), new.endpoints.iter().peekable());
    loop {
        match (was.peek(), is.peek()) {
            (None, None) => break,
            (Some((old, before)), Some((new, after))) if old == new => {
                if !is_same(before, after) {
                    changed.push(&**new);
                }
                was.next();
                is.next();
            }
            (Some((old, _)), Some((new, _))) if old < new => {
                removed.push(&**old);
                was.next();
            }
            (Some((old, _)), None) => {
                removed.push(&**old);
                was.next();
            }
            (_, Some((new, _))) => {
                added.push(&**new);
                is.next();
            }
        }
    }
    let mut line = format!("{} endpoints", new.len());
    let all = [("added", added), ("removed", removed), ("changed", changed)];
    if all.iter().all(|(_, names)| names.is_empty()) {
        return None;
    }
    for (word, names) in all.iter().filter(|(_, names)| !names.is_empty()) {
        let listed = names[..names.len().min(NAMES_MAX)].join(", ");
        let more = match names.len().saturating_sub(NAMES_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let _ = write!(line, ", {} {word} ({listed}{more})", names.len());
    }
    Some(line)
}

/// Whether an endpoint is as it was. Field by field, so that one more does not compile until
/// somebody has said whether it makes a change.
fn is_same(old: &Found, new: &Found) -> bool {
    let Found { address, host, weight, backup, zone, metadata } = new;
    *address == old.address
        && *host == old.host
        && *weight == old.weight
        && *backup == old.backup
        && *zone == old.zone
        && *metadata == old.metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::default().after(Duration::from_millis(millis))
    }

    fn set(count: usize) -> Set {
        let found = (0..count).map(|n| Found::parse(&format!("10.0.0.1:{}", n + 1)));
        Set::new(found.map(|found| found.expect("an address")).collect(), Vec::new())
    }

    fn found(count: usize) -> News {
        News { set: Some(Arc::new(set(count))), vouched: None, failed: None }
    }

    fn failed(why: &str) -> News {
        News { failed: Some(why.to_owned()), ..News::default() }
    }

    fn published(outcome: &Outcome) -> Option<usize> {
        outcome.publish.as_ref().map(|set| set.len())
    }

    #[test]
    fn a_set_that_shrinks_below_its_share_is_held_back() {
        // Before, new, share in 1/1,000; whether it is too few.
        let table = [
            (None, 1, 1_000, false),
            (None, 0, 0, true),
            (Some(10), 5, 500, false),
            (Some(10), 4, 500, true),
            (Some(10), 11, 1_000, false),
            (Some(10), 9, 1_000, true),
            (Some(10), 1, 0, false),
            (Some(10), 0, 0, true),
            (Some(3), 2, 500, false),
            (Some(3), 1, 500, true),
            (Some(1), 0, 500, true),
            (Some(0), 0, 500, false),
            (Some(0), 1, 500, false),
            (Some(10_000), 9_999, 1_000, true),
        ];
        for (before, new, share, expected) in table {
            assert_eq!(is_too_few(before, new, share), expected, "{before:?} -> {new}, {share}");
        }
    }

    #[test]
    fn defect_2_an_empty_answer_and_an_error_take_no_endpoint_away() {
        let mut ledger = Ledger::new(500);
        assert_eq!(published(&ledger.take(found(4), at(0))), Some(4));
        for (millis, news) in [(200, failed("session expired")), (400, found(0)), (600, found(1))] {
            let outcome = ledger.take(news, at(millis));
            assert_eq!(outcome.publish, None, "{millis}");
            assert_eq!(ledger.last.as_ref().map(|last| last.len()), Some(4), "{millis}");
        }
        assert_eq!(published(&ledger.take(found(2), at(800))), Some(2));
        assert!(ledger.held.is_none());
    }

    #[test]
    fn what_is_held_back_is_said_once_and_taken_when_an_operator_says_so() {
        let mut ledger = Ledger::new(500);
        ledger.take(found(4), at(0));
        assert!(ledger.accept(at(0)).is_none());
        let said = ledger.take(found(1), at(200)).said;
        let expected = "1 endpoints in place of 4 are held back: the last ones stay until more \
                        come or an operator accepts these";
        assert_eq!(said, [(Severity::Warn, expected.to_owned())]);
        assert_eq!(ledger.take(found(1), at(400)).said, []);
        assert_eq!(ledger.held.as_ref().map(|held| held.since), Some(at(200)));
        let outcome = ledger.accept(at(600)).expect("something is held back");
        assert_eq!(published(&outcome), Some(1));
        // From now on one is what there has to be.
        assert_eq!(ledger.take(found(0), at(800)).publish, None);
        assert_eq!(published(&ledger.accept(at(900)).expect("held back")), Some(0));
        assert_eq!(ledger.take(found(0), at(1_100)).publish, None);
        assert!(ledger.held.is_none(), "an accepted nobody is nobody");
    }

    #[test]
    fn what_was_kept_is_used_until_the_first_set_and_measures_nothing() {
        let mut ledger = Ledger::new(500);
        ledger.remember(Arc::new(set(9)), SystemTime::UNIX_EPOCH);
        assert!(!ledger.has_answered(), "a start waits for the source all the same");
        let said = ledger.take(failed("refused"), at(0)).said;
        let expected = "refused; those kept from before this start are used, 9";
        assert_eq!(said, [(Severity::Warn, expected.to_owned())]);
        assert!(ledger.has_answered());
        let outcome = ledger.take(found(0), at(200));
        assert!(outcome.publish.is_none() && ledger.held.is_some(), "nobody is an outage");
        assert!(ledger.remembered.is_some());
        assert_eq!(published(&ledger.take(found(1), at(400))), Some(1));
        assert!(ledger.remembered.is_none() && ledger.held.is_none());
        assert_eq!(published(&ledger.take(found(2), at(600))), Some(2));
        // The same as was kept: nothing is published, and it is known to be good.
        let mut ledger = Ledger::new(500);
        ledger.remember(Arc::new(set(2)), SystemTime::UNIX_EPOCH);
        assert_eq!(ledger.take(found(2), at(0)), Outcome::default());
        assert!(ledger.has_answered() && ledger.remembered.is_none());
    }

    #[test]
    fn nobody_at_the_start_is_an_outage() {
        let mut ledger = Ledger::new(500);
        assert!(!ledger.has_answered());
        let outcome = ledger.take(found(0), at(0));
        assert!(outcome.publish.is_none() && outcome.said.len() == 1);
        assert!(ledger.has_answered());
        assert_eq!(published(&ledger.take(found(1), at(1))), Some(1));
    }

    #[test]
    fn publications_are_a_tenth_of_a_second_apart() {
        let mut ledger = Ledger::new(500);
        assert_eq!(ledger.due(), Moment::default());
        ledger.take(found(1), at(1_000));
        assert_eq!(ledger.due(), at(1_100));
        // What publishes nothing delays nothing.
        ledger.take(found(1), at(1_100));
        ledger.take(failed("away"), at(1_150));
        assert_eq!(ledger.due(), at(1_100));
    }

    #[test]
    fn a_change_is_said_with_numbers_and_some_names() {
        let mut ledger = Ledger::new(0);
        let said = ledger.take(found(12), at(0)).said;
        let (_, line) = &said[0];
        assert!(line.starts_with("12 endpoints, 12 added (10.0.0.1:1, 10.0.0.1:10, "), "{line}");
        assert!(line.ends_with(" and 2 more)"), "{line}");
        let mut other = set(2);
        other.endpoints[0].1.weight = 7;
        let news = News { set: Some(Arc::new(other)), ..News::default() };
        let said = ledger.take(news, at(200)).said;
        assert!(said[0].1.starts_with("2 endpoints, 10 removed ("), "{said:?}");
        assert!(said[0].1.ends_with(", 1 changed (10.0.0.1:1)"), "{said:?}");
        let again = ledger.take(found(2), at(400));
        assert_eq!(
            again.said,
            [(Severity::Info, "2 endpoints, 1 changed (10.0.0.1:1)".to_owned())]
        );
        assert_eq!(ledger.take(found(2), at(600)), Outcome::default());
        assert_eq!(ledger.changes, 3);
    }

    #[test]
    fn a_failure_is_said_once_and_its_end_too() {
        let mut ledger = Ledger::new(500);
        let said = ledger.take(failed("refused"), at(0)).said;
        assert_eq!(said, [(Severity::Warn, "refused; there are none yet".to_owned())]);
        assert_eq!(ledger.take(failed("refused"), at(20_000)).said, []);
        assert_eq!(ledger.take(failed("reset"), at(20_000)).said.len(), 1);
        assert_eq!(ledger.take(failed("refused"), at(29_999)).said, [], "not yet again");
        assert_eq!(ledger.take(failed("reset"), at(30_000)).said.len(), 1);
        assert_eq!(ledger.failing.as_ref().map(|failing| failing.since), Some(at(0)));
        let said = ledger.take(found(1), at(40_000)).said;
        assert!(said.contains(&(Severity::Info, "answers again".to_owned())), "{said:?}");
        let said = ledger.take(failed("refused"), at(40_001)).said;
        let expected = "refused; the last good endpoints stay, 1";
        assert_eq!(said, [(Severity::Warn, expected.to_owned())]);
        assert_eq!(ledger.failures, 2);
    }
}
