//! Clients: most play by the rules, some do not. Each knows what it may be told.

use super::end::{Broken, End, Framing, Head, PATIENCE, Pace, broken_chunk};
use super::question::{Leave, Question, Wrong};
use super::world::{IDLE_TIMEOUT, World};
use crate::bench::GATEWAY;
use crate::talk::pass;
use gatehouse_core::moment::Moment;
use gatehouse_rig::storm::{Content, Dice};
use gatehouse_wire::timer::now;
use std::rc::Rc;
use std::time::Duration;

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoesOn,
    Over,
}

/// One client: asks so many times, over as many connections as that takes.
pub async fn client(world: Rc<World>, number: u64, requests: usize) {
    let mut dice = Dice::of(world.seed, 1000 + number);
    let mut left = requests;
    while left > 0 {
        pass(dice.millis(0..50)).await;
        let duplex = !dice.one_in(4);
        let stream = world.net.connect(GATEWAY.into()).expect("the gateway listens");
        world.ledger.borrow_mut().connected += 1;
        let end = Some(End::new(stream, duplex));
        let mut line = Line { world: &world, number, end, before: None, asked: now() };
        line.run(&mut dice, &mut left).await;
    }
    world.busy.set(world.busy.get() - 1);
}

/// Whether a connection that was used then may be closed for that.
fn was_idle(since: Moment) -> bool {
    now().since(since) >= IDLE_TIMEOUT
}

/// One connection of a client.
struct Line<'a> {
    world: &'a World,
    number: u64,
    end: Option<End>,
    /// When it asked last, and when before that.
    asked: Moment,
    before: Option<Moment>,
}

impl Line<'_> {
    async fn run(&mut self, dice: &mut Dice, left: &mut usize) {
        let mut is_first = true;
        loop {
            let many = if dice.one_in(4) { (2 + dice.below(3)).min(*left) } else { 1 };
            *left -= many;
            let asked = std::mem::replace(&mut self.asked, now());
            self.before = (!is_first).then_some(asked);
            is_first = false;
            let next = match many {
                1 => self.one(dice).await,
                _ => self.several(dice, many).await,
            };
            if next == Next::Over || self.end.is_none() {
                return;
            }
            let stays = *left > 0 && !dice.one_in(8);
            if stays && dice.one_in(3) {
                pass(dice.millis(1..7_000)).await;
            }
            let Some(end) = &mut self.end else { return };
            if !stays || !end.is_quiet() {
                self.finish(dice).await;
                return;
            }
        }
    }

    /// Ends a connection on which no answer is owed: not a byte may come any more.
    async fn finish(&mut self, dice: &mut Dice) {
        let Some(mut end) = self.end.take() else { return };
        if dice.one_in(2) {
            end.half_close().await;
        }
        let (more, broken) = end.rest(Duration::from_secs(8)).await;
        if more > 0 || broken == Broken::Late {
            let number = self.number;
            let text = format!("client {number}: {more} bytes and {broken:?} after its answer");
            self.world.ledger.borrow_mut().violate(text);
        }
    }

    fn is_duplex(&self) -> bool {
        self.end.as_ref().is_some_and(End::is_duplex)
    }

    fn note(&self, event: &'static str, text: impl FnOnce() -> String) {
        let number = self.number;
        self.world.ledger.borrow_mut().note(event, || format!("client {number}: {}", text()));
    }

    fn violate(&self, text: String) {
        self.world.ledger.borrow_mut().violate(format!("client {}: {text}", self.number));
    }

    /// Several requests without bodies in one write, and then their answers.
    async fn several(&mut self, dice: &mut Dice, many: usize) -> Next {
        let duplex = self.is_duplex();
        let mut questions: Vec<Question> =
            (0..many).map(|_| Question::some(self.world, dice, false, duplex)).collect();
        // Nothing may follow the last.
        questions[..many - 1].iter_mut().for_each(|question| question.last = false);
        let text: String = questions.iter().map(Question::head).collect();
        self.note("asks at once", || {
            let each = questions.iter().map(|one| format!("{} r{}", one.method, one.number));
            each.collect::<Vec<_>>().join(", ")
        });
        let Some(end) = &mut self.end else { return Next::Over };
        if end.write(text.as_bytes()).await.is_err() {
            return Next::Over;
        }
        for question in &questions {
            self.world.ledger.borrow_mut().request(question.number).sent = true;
        }
        for question in questions {
            if self.answer(&question, dice).await == Next::Over {
                return Next::Over;
            }
        }
        Next::GoesOn
    }

    /// One request and its answer.
    async fn one(&mut self, dice: &mut Dice) -> Next {
        let question = Question::some(self.world, dice, true, self.is_duplex());
        self.note("asks", || {
            let body = question.content.map(|content| content.length);
            let Question { number, method, chunked, wrong, .. } = &question;
            format!("{method} r{number}, body {body:?}, chunked {chunked}, {wrong:?}")
        });
        let Some(asked) = self.ask(&question, dice).await else { return Next::Over };
        if asked == Next::Over {
            return Next::Over;
        }
        if let Some(Wrong::LeavesWaiting(leave)) = question.wrong {
            pass(dice.millis(0..300)).await;
            if self.leave(leave).await == Next::Over {
                return Next::Over;
            }
        }
        match self.answer(&question, dice).await {
            Next::GoesOn if question.wrong.is_some() => {
                // It may have been half closed, or be owed nothing more.
                self.end = None;
                Next::Over
            }
            next => next,
        }
    }

    /// Sends a request. `None` where the connection was given up on the way, with no answer owed.
    async fn ask(&mut self, question: &Question, dice: &mut Dice) -> Option<Next> {
        let end = self.end.as_mut()?;
        let mut head = question.head().into_bytes();
        let body = question.content.map_or(0, |content| content.length);
        let in_head = question.content.is_none() || dice.one_in(2);
        let stop = match question.wrong {
            Some(Wrong::LeavesAsking(leave)) if in_head => {
                head.truncate(1 + dice.below(head.len() - 1));
                drop(end.write(&head).await);
                self.leave(leave).await;
                // Half closed: a failure may come, or nothing.
                if let Some(mut end) = self.end.take() {
                    end.rest(PATIENCE).await;
                }
                return None;
            }
            Some(Wrong::LeavesAsking(_) | Wrong::StallsSending | Wrong::BrokenChunk) => {
                dice.below(body.max(1))
            }
            _ => usize::MAX,
        };
        if end.write(&head).await.is_err() {
            return Some(Next::GoesOn);
        }
        if question.expects {
            // It waits for a 100 for a while only.
            drop(end.fill(dice.millis(1..1_500)).await);
        }
        if let Some(content) = question.content {
            let wrote = end.write_body(question.chunked, content, Pace::some(dice), stop).await;
            if wrote.is_err() {
                // Whoever refuses a body may still have answered.
                return Some(Next::GoesOn);
            }
        }
        match question.wrong {
            Some(Wrong::LeavesAsking(leave)) => return Some(self.leave(leave).await),
            Some(Wrong::BrokenChunk) => {
                let content =
                    question.content.unwrap_or(Content { kind: b'q', number: 0, length: 0 });
                drop(end.write(&broken_chunk(dice, content, stop)).await);
                // It waits for a while, and then says no more.
                drop(end.fill(Duration::from_secs(1)).await);
                end.half_close().await;
            }
            Some(Wrong::StallsSending) => {}
            _ => {
                self.world.ledger.borrow_mut().request(question.number).sent = true;
                if question.last && dice.one_in(3) {
                    end.half_close().await;
                }
            }
        }
        Some(Next::GoesOn)
    }

    /// Goes, or says that it sends no more.
    async fn leave(&mut self, leave: Leave) -> Next {
        self.note("leaves", || format!("{leave:?}"));
        match (leave, self.end.take()) {
            (Leave::HalfCloses, Some(mut end)) => {
                end.half_close().await;
                self.end = Some(end);
                return Next::GoesOn;
            }
            (Leave::Resets, Some(end)) => end.reset(),
            (Leave::Closes, end) => drop(end),
            (_, None) => {}
        }
        Next::Over
    }

    /// Reads the answer to a request, and holds it against the book.
    async fn answer(&mut self, question: &Question, dice: &mut Dice) -> Next {
        let mut interim = 0;
        let head = loop {
            let Some(end) = &mut self.end else { return Next::Over };
            match end.head().await {
                Ok(head) if head.status() / 100 == 1 && interim < 17 => interim += 1,
                Ok(head) => break head,
                Err(broken) => return self.unanswered(question, broken),
            }
        };
        let status = head.status();
        let own = head.field("x-answer").is_none();
        {
            let mut ledger = self.world.ledger.borrow_mut();
            let asked = ledger.request(question.number);
            (asked.status, asked.own) = (Some(status), own);
        }
        if own { self.own(question, &head).await } else { self.given(question, &head, dice).await }
    }

    /// Whether it may be that no answer came.
    fn unanswered(&mut self, question: &Question, broken: Broken) -> Next {
        let number = question.number;
        self.note("unanswered", || format!("r{number}: {broken:?}"));
        self.end = None;
        let fair = matches!(broken, Broken::Closed | Broken::Reset) || question.wrong.is_some();
        let calm = self.world.weather.get().is_gentle();
        // A connection that was left alone may be closed just as it is used again.
        if !self.must_be_answered(question) && self.before.is_some_and(was_idle) {
            self.world.ledger.borrow_mut().request(number).crossed = true;
        }
        if !fair || matches!(broken, Broken::Malformed(_)) {
            self.violate(format!("r{number} was not answered: {broken:?}"));
        } else if calm && question.wrong.is_none() && self.must_be_answered(question) {
            self.violate(format!("r{number} was not answered, though nothing went wrong"));
        }
        Next::Over
    }

    /// Whether nothing but a fault of the gateway's explains a connection that closes.
    fn must_be_answered(&self, question: &Question) -> bool {
        self.world.ledger.borrow_mut().request(question.number).given > 0
    }

    /// An answer of the gateway's own.
    async fn own(&mut self, question: &Question, head: &Head) -> Next {
        let (number, status) = (question.number, head.status());
        self.note("own answer", || format!("r{number}: {status}"));
        let gentle = self.world.weather.get().is_gentle();
        let explained = match status {
            400 => matches!(question.wrong, Some(Wrong::Ambiguous | Wrong::BrokenChunk)),
            408 => matches!(question.wrong, Some(Wrong::StallsSending | Wrong::LeavesAsking(_))),
            502..=504 => !gentle || question.wrong.is_some(),
            _ => false,
        };
        // A body that ended early is a client that is gone.
        let early = matches!(question.wrong, Some(Wrong::LeavesAsking(_))) && status == 400;
        if !explained && !early {
            self.violate(format!("r{number} was answered {status}: {head:?}"));
        }
        let Some(end) = &mut self.end else { return Next::Over };
        let length =
            if question.method == "HEAD" { 0 } else { head.number("content-length").unwrap_or(0) };
        let content = Content { kind: b'o', number, length };
        let mut reading = content.read();
        let read = end.body(Framing::Length(length), &mut reading, Pace::FULL, usize::MAX).await;
        if read.is_err() && question.wrong.is_none() {
            self.violate(format!("r{number}: the gateway's own answer was cut"));
        }
        self.close_or_go_on(question, head).await
    }

    /// An origin's answer.
    async fn given(&mut self, question: &Question, head: &Head, dice: &mut Dice) -> Next {
        let (number, status) = (question.number, head.status());
        let given = head.number("x-answer").unwrap_or(usize::MAX);
        let known = self.world.ledger.borrow().given.get(given).cloned();
        let Some(known) = known else {
            self.violate(format!("r{number} was answered by nobody: {head:?}"));
            return Next::Over;
        };
        let answer = given as u32;
        self.note("answer", || format!("r{number}: a{answer}, {status}"));
        if known.excused {
            // Nobody could have told it from an answer.
            self.end = None;
            return Next::Over;
        }
        self.world.ledger.borrow_mut().answer(answer).seen += 1;
        if known.request != Some(number) || known.status != status || known.seen > 0 {
            self.violate(format!("r{number} was given a{answer}: {known:?}, {head:?}"));
            return Next::Over;
        }
        let bodiless = question.method == "HEAD" || matches!(status, 204 | 304);
        let framing = match head.framing() {
            _ if bodiless => Framing::None,
            Some(framing) => framing,
            None => Framing::UntilClose,
        };
        let stops = matches!(question.wrong, Some(Wrong::LeavesReading(_) | Wrong::StallsReading));
        let stop = if stops { dice.below(known.body.max(1)) } else { usize::MAX };
        let mut reading = Content { kind: b'a', number: answer, length: known.body }.read();
        let Some(end) = &mut self.end else { return Next::Over };
        let read = end.body(framing, &mut reading, Pace::some(dice), stop).await;
        if let Some(wrong) = reading.wrong() {
            self.violate(format!("r{number}: a{answer} is not itself: {wrong}"));
        }
        if stop != usize::MAX && read.is_ok() {
            return self.stop_reading(question, dice).await;
        }
        self.ended(question, answer, framing, reading.taken(), read);
        if self.end.is_none() { Next::Over } else { self.close_or_go_on(question, head).await }
    }

    /// Leaves in the middle of an answer, or looks at it for a while.
    async fn stop_reading(&mut self, question: &Question, dice: &mut Dice) -> Next {
        if let Some(Wrong::LeavesReading(leave)) = question.wrong {
            self.leave(leave).await;
        } else {
            pass(dice.millis(1_000..20_000)).await;
        }
        self.end = None;
        Next::Over
    }

    /// Enters how an answer ended.
    fn ended(
        &mut self,
        question: &Question,
        answer: u32,
        framing: Framing,
        taken: usize,
        read: Result<(), Broken>,
    ) {
        let number = question.number;
        let mut ledger = self.world.ledger.borrow_mut();
        let known = ledger.answer(answer).clone();
        let asked = ledger.request(number);
        asked.read = taken;
        asked.whole = read.is_ok();
        let bodiless = framing == Framing::None;
        // An origin that ends a body by closing cannot be told from one that has died.
        let unknowable = known.framing == Framing::UntilClose;
        let whole = bodiless || unknowable || known.sent && taken == known.body;
        match read {
            Ok(()) if !whole => {
                ledger.violate(format!("r{number}: a part of a{answer} ({taken}) looks whole"));
            }
            Ok(()) => {}
            Err(broken) => {
                ledger.note("cut answer", || format!("r{number}: a{answer}, {broken:?}"));
                let gentle = self.world.weather.get().is_gentle();
                let late = broken == Broken::Late && question.wrong.is_none();
                if late || gentle && question.wrong.is_none() {
                    ledger.violate(format!("r{number}: a{answer} was cut: {broken:?}"));
                }
                self.end = None;
            }
        }
    }

    /// After a whole answer: not a byte more, and the end where it was announced.
    async fn close_or_go_on(&mut self, question: &Question, head: &Head) -> Next {
        let closes = head.lists("connection", "close")
            || question.http10 && !head.lists("connection", "keep-alive");
        if !closes {
            return Next::GoesOn;
        }
        let Some(mut end) = self.end.take() else { return Next::Over };
        let (more, broken) = end.rest(PATIENCE).await;
        if more > 0 || broken == Broken::Late {
            self.violate(format!(
                "r{}: {more} bytes and {broken:?} behind the end",
                question.number
            ));
        }
        Next::Over
    }
}

impl Head {
    fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }
}
