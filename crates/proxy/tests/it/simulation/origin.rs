//! Origins: they answer as HTTP allows, and as it does not.

use super::end::{Broken, End, Framing, GARBAGE, Head, Pace};
use super::ledger::{Given, numbered};
use super::world::{Site, Weather, World};
use crate::bench::origin_address;
use crate::talk::pass;
use gatehouse_proxy::gate::memory::spawn;
use gatehouse_rig::storm::{Content, Dice};
use gatehouse_wire::Stream;
use gatehouse_wire::memory::{MemoryListener, MemoryStream};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// What an origin does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// Closes, or resets, before it has read the request, behind it, or in its answer.
    Leaves(Place, Leave),
    /// Declares a longer body than it sends.
    Short(Leave),
    /// Sends more than it has declared: something that looks like an answer.
    Long,
    /// Says something unasked once the exchange is over.
    Speaks,
    /// Says nothing, or stops in the middle of its body.
    Stalls(Place),
    /// Sends no HTTP.
    Garbage,
    /// Breaks the framing of a chunked body.
    BrokenChunk,
    /// Goes on and on with interim answers.
    Endless,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Request,
    Head,
    Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Closes,
    Resets,
    HalfCloses,
}

const PLACES: [Place; 3] = [Place::Request, Place::Head, Place::Body];
const LEAVES: [Leave; 3] = [Leave::Closes, Leave::Resets, Leave::HalfCloses];

/// Bytes of an upload that the gateway throws away to keep a connection.
const DISCARDED: usize = 64 * 1024;

/// Whether a connection goes on.
type Went = Result<(), ()>;

/// Listens while its site does.
pub async fn origin(world: Rc<World>, index: usize) {
    let site = &world.sites[index];
    let address = origin_address(index as u8 + 1);
    let mut number = 0;
    site.listening.set(true);
    loop {
        if !site.listening.get() {
            pass(Duration::from_millis(5)).await;
            continue;
        }
        let mut listener = world.net.listen(address);
        let born = site.deaths.get();
        while let Some(stream) = accept(&mut listener, site, born).await {
            number += 1;
            let dice = Dice::of(world.seed, 1_000_000 * (index as u64 + 1) + number);
            spawn(connection(Rc::clone(&world), index, number, stream, dice));
        }
    }
}

/// The next connection; `None` once the origin has died.
async fn accept(listener: &mut MemoryListener, site: &Site, born: u64) -> Option<MemoryStream> {
    let accepted = poll_fn(|cx| {
        if site.has_died(born, cx) {
            return Poll::Ready(None);
        }
        listener.poll_accept(cx).map(|accepted| accepted.ok())
    });
    match accepted.await {
        Some((Stream::Memory(stream), _)) => Some(stream),
        _ => None,
    }
}

async fn connection(world: Rc<World>, index: usize, number: u64, stream: MemoryStream, dice: Dice) {
    world.ledger.borrow_mut().held += 1;
    let site = &world.sites[index];
    let born = site.deaths.get();
    {
        let mut dice = dice;
        let duplex = dice.one_in(2);
        let end = Some(End::new(stream, duplex));
        let mut line = Line { world: &world, name: format!("o{}.{number}", index + 1), end, dice };
        let mut serving = pin!(line.serve());
        let died = poll_fn(|cx| {
            if site.has_died(born, cx) {
                return Poll::Ready(());
            }
            serving.as_mut().poll(cx)
        });
        died.await;
    }
    world.ledger.borrow_mut().held -= 1;
}

/// One connection of an origin.
struct Line<'a> {
    world: &'a World,
    name: String,
    end: Option<End>,
    dice: Dice,
}

impl Line<'_> {
    async fn serve(&mut self) {
        while let Some(end) = &mut self.end {
            let calm = self.world.weather.get().origins == 0;
            // An origin closes what is idle for too long; here some do so early.
            let patience = if calm || self.dice.one_in(2) {
                Duration::from_secs(600)
            } else {
                self.dice.millis(20..3_000)
            };
            if end.held() == 0 && end.fill(patience).await.is_err() {
                return;
            }
            let head = match end.head().await {
                Ok(head) => head,
                // The gateway gave up: its client has left.
                Err(_) => return,
            };
            if self.exchange(&head).await.is_err() {
                return;
            }
        }
    }

    fn note(&self, event: &'static str, text: impl FnOnce() -> String) {
        let name = &self.name;
        self.world.ledger.borrow_mut().note(event, || format!("{name}: {}", text()));
    }

    /// One request: read, checked, answered.
    async fn exchange(&mut self, head: &Head) -> Went {
        let number = self.enter(head).ok_or(())?;
        let wrong = self.wrong();
        self.note("request", || format!("r{number} {wrong:?}"));
        if let Some(Wrong::Leaves(Place::Request, leave)) = wrong {
            return self.leave(leave).await;
        }
        let early = self.dice.one_in(8)
            && !matches!(wrong, Some(Wrong::Long | Wrong::Speaks))
            && self.may_be_early(number);
        let has_body = !matches!(head.framing(), None | Some(Framing::Length(0)));
        if self.dice.one_in(3) {
            pass(self.dice.millis(1..500)).await;
        }
        if head.field("expect").is_some() && self.dice.one_in(2) {
            self.say(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        if !early {
            self.take_body(head, number).await?;
        }
        if let Some(Wrong::Stalls(Place::Request | Place::Head)) = wrong {
            pass(self.dice.millis(2_000..20_000)).await;
            return Err(());
        }
        let method = head.first.split(' ').next().unwrap_or_default();
        let answer = self.answer(number, method, wrong).await?;
        let has_ended = !early && answer.framing != Framing::UntilClose;
        let answer = answer.stays;
        if early && has_body {
            // To close with bytes unread is to reset, and the answer may be lost.
            if self.world.weather.get().origins > 0 && self.dice.one_in(2) {
                return Err(());
            }
            self.take_body(head, number).await?;
        }
        if wrong == Some(Wrong::Speaks) {
            pass(self.dice.millis(1..1_000)).await;
            self.poison().await?;
        }
        if answer == Stays::Yes {
            return Ok(());
        }
        if has_ended && self.dice.one_in(2) {
            self.announced().await;
        }
        Err(())
    }

    /// Behind a long upload that its answer did not wait for a connection is closed, and whoever
    /// asks again meanwhile is not answered: not where all has to be well. And where neither end
    /// reads while it writes, both wait for each other: not where each request has to be answered.
    fn may_be_early(&self, number: u32) -> bool {
        let weather = self.world.weather.get();
        let mut ledger = self.world.ledger.borrow_mut();
        let asked = ledger.request(number);
        if asked.body.unwrap_or(0) <= DISCARDED {
            return true;
        }
        let moves = asked.duplex || self.end.as_ref().is_some_and(End::is_duplex);
        weather != Weather::CALM && (moves || !weather.is_gentle())
    }

    /// It has said that it closes, and takes its time: nobody may ask here any more.
    async fn announced(&mut self) {
        let Some(end) = &mut self.end else { return };
        if end.rest(Duration::from_secs(1)).await.0 > 0 {
            let text = format!("{}: a request behind an answer that ends all", self.name);
            self.world.ledger.borrow_mut().violate(text);
        }
    }

    /// Holds a request's head against the book.
    fn enter(&mut self, head: &Head) -> Option<u32> {
        let mut parts = head.first.split(' ');
        let (method, target) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let number = numbered(target);
        let mut ledger = self.world.ledger.borrow_mut();
        let known = number.filter(|number| (*number as usize) < ledger.asked.len());
        let Some(number) = known else {
            ledger.violate(format!("{}: a request nobody made: {head:?}", self.name));
            return None;
        };
        let asked = ledger.request(number);
        asked.given += 1;
        let asked = asked.clone();
        let declares = match head.framing() {
            None | Some(Framing::Length(0)) => None,
            Some(framing) => Some(framing),
        };
        let right = match (asked.body, declares) {
            (Some(length), Some(Framing::Length(declared))) => length == declared,
            (Some(_), Some(Framing::Chunked)) | (None | Some(0), None) => true,
            _ => false,
        };
        if asked.method != method || asked.refused || !right {
            ledger.violate(format!("{}: r{number} came as {head:?}: {asked:?}", self.name));
            return None;
        }
        if asked.given > 1 && !asked.is_repeatable(ledger.buffers) {
            ledger.violate(format!("r{number} was sent twice, and may not be: {asked:?}"));
        }
        Some(number)
    }

    /// Reads a request's body and holds it against the book.
    async fn take_body(&mut self, head: &Head, number: u32) -> Went {
        let Some(framing) = head.framing() else { return Ok(()) };
        let pace = Pace::some(&mut self.dice);
        let length = self.world.ledger.borrow_mut().request(number).body.unwrap_or(0);
        let mut reading = Content { kind: b'q', number, length }.read();
        let Some(end) = &mut self.end else { return Err(()) };
        let read = end.body(framing, &mut reading, pace, usize::MAX).await;
        let mut ledger = self.world.ledger.borrow_mut();
        let asked = ledger.request(number);
        asked.received = asked.received.max(reading.taken());
        let sent = asked.sent;
        if let Some(wrong) = reading.wrong() {
            ledger.violate(format!("{}: the body of r{number} is not itself: {wrong}", self.name));
        }
        if read.is_ok() && (!sent || reading.taken() != length) {
            let taken = reading.taken();
            ledger.violate(format!("{}: {taken} bytes of r{number} look whole", self.name));
        }
        match read {
            Err(Broken::Malformed(text)) => {
                ledger.violate(format!("{}: r{number} was framed wrong: {text}", self.name));
                Err(())
            }
            other => other.map_err(drop),
        }
    }

    fn wrong(&mut self) -> Option<Wrong> {
        let share = self.world.weather.get().origins;
        let (place, leave) = (self.dice.pick(&PLACES), self.dice.pick(&LEAVES));
        let all = [
            Wrong::Leaves(place, leave),
            Wrong::Leaves(place, leave),
            Wrong::Short(leave),
            Wrong::Long,
            Wrong::Speaks,
            Wrong::Stalls(place),
            Wrong::Garbage,
            Wrong::BrokenChunk,
            Wrong::Endless,
        ];
        let wrong = self.dice.pick(&all);
        self.dice.percent(share).then_some(wrong)
    }

    async fn say(&mut self, text: &[u8]) -> Went {
        match &mut self.end {
            Some(end) => end.write(text).await.map_err(drop),
            None => Err(()),
        }
    }

    /// Goes, or says that it sends no more.
    async fn leave(&mut self, leave: Leave) -> Went {
        self.note("origin leaves", || format!("{leave:?}"));
        match (leave, self.end.take()) {
            (Leave::HalfCloses, Some(mut end)) => {
                end.half_close().await;
                end.rest(Duration::from_secs(600)).await;
            }
            (Leave::Resets, Some(end)) => end.reset(),
            (Leave::Closes, end) => drop(end),
            (_, None) => {}
        }
        Err(())
    }

    /// Says what looks like an answer, and is none of anything.
    async fn poison(&mut self) -> Went {
        let given = self.give(None, 200, Framing::Length(0), 0);
        let text = format!("HTTP/1.1 200 OK\r\nX-Answer: {given}\r\nContent-Length: 0\r\n\r\n");
        self.note("poison", || format!("a{given}"));
        let Some(end) = &mut self.end else { return Err(()) };
        let said = end.write(text.as_bytes()).await;
        // Where the next request has come meanwhile, nobody could know it from an answer.
        let excused = !end.is_quiet();
        self.world.ledger.borrow_mut().answer(given).excused = excused;
        if excused { Err(()) } else { said.map_err(drop) }
    }

    fn give(&self, request: Option<u32>, status: u16, framing: Framing, body: usize) -> u32 {
        let given = Given { request, status, framing, body, sent: false, excused: false, seen: 0 };
        self.world.ledger.borrow_mut().give(given)
    }

    /// Answers.
    async fn answer(
        &mut self,
        number: u32,
        method: &str,
        wrong: Option<Wrong>,
    ) -> Result<Answered, ()> {
        let calm = self.world.weather.get() == Weather::CALM;
        let statuses = [200, 200, 200, 200, 200, 201, 204, 304, 404, 500, 503];
        let lies = matches!(wrong, Some(Wrong::Short(_) | Wrong::Long | Wrong::BrokenChunk))
            || matches!(wrong, Some(Wrong::Leaves(Place::Body, _) | Wrong::Stalls(Place::Body)));
        let status = if calm || lies { 200 } else { self.dice.pick(&statuses) };
        let bodiless = method == "HEAD" || matches!(status, 204 | 304);
        let length = if lies { 1 + self.dice.length() } else { self.dice.length() };
        let framing = match (wrong, self.dice.below(8)) {
            (Some(Wrong::BrokenChunk), _) => Framing::Chunked,
            (Some(Wrong::Short(_) | Wrong::Long | Wrong::Speaks), _) | (_, 0..4) => {
                Framing::Length(length)
            }
            (_, 4..7) => Framing::Chunked,
            _ => Framing::UntilClose,
        };
        let framing = match framing {
            _ if status == 204 => Framing::None,
            // Without a length it has no body that could end with the connection.
            Framing::UntilClose if bodiless => Framing::Length(length),
            framing => framing,
        };
        let given = self.give(Some(number), status, framing, length);
        if wrong == Some(Wrong::Garbage) {
            let text = self.dice.pick(&GARBAGE).replace("{}", &given.to_string());
            // Whoever takes it for an answer is wrong.
            self.world.ledger.borrow_mut().answer(given).request = None;
            self.say(text.as_bytes()).await?;
            return Ok(Answered { stays: Stays::No, framing });
        }
        self.interim(wrong).await?;
        let stays = if self.dice.one_in(10) { Stays::No } else { Stays::Yes };
        let stays = if framing == Framing::UntilClose { Stays::No } else { stays };
        let head = answer_head(given, status, framing, stays);
        if let Some(Wrong::Leaves(Place::Head, leave)) = wrong {
            let cut = self.dice.below(head.len());
            self.say(&head.as_bytes()[..cut]).await?;
            self.leave(leave).await?;
        }
        self.note("answers", || format!("r{number} with a{given}, {status}, {framing:?} {length}"));
        self.say(head.as_bytes()).await?;
        let content = Content { kind: b'a', number: given, length };
        let body = if bodiless { Ok(()) } else { self.write_answer(framing, content, wrong).await };
        body?;
        self.world.ledger.borrow_mut().answer(given).sent = true;
        if wrong == Some(Wrong::Long) && !bodiless {
            self.poison().await?;
        }
        Ok(Answered { stays, framing })
    }

    /// What comes before the answer.
    async fn interim(&mut self, wrong: Option<Wrong>) -> Went {
        let count = match wrong {
            Some(Wrong::Endless) => 40,
            _ if self.dice.one_in(8) => 1 + self.dice.below(3),
            _ => 0,
        };
        for _ in 0..count {
            self.say(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n").await?;
        }
        Ok(())
    }

    /// Writes the body of an answer, or a part of it.
    async fn write_answer(
        &mut self,
        framing: Framing,
        content: Content,
        wrong: Option<Wrong>,
    ) -> Went {
        let pace = Pace::some(&mut self.dice);
        let partly = matches!(
            wrong,
            Some(
                Wrong::Short(_)
                    | Wrong::BrokenChunk
                    | Wrong::Leaves(Place::Body, _)
                    | Wrong::Stalls(Place::Body)
            )
        );
        let stop = if partly { self.dice.below(content.length) } else { usize::MAX };
        let chunked = framing == Framing::Chunked;
        let Some(end) = &mut self.end else { return Err(()) };
        end.write_body(chunked, content, pace, stop).await.map_err(drop)?;
        match wrong {
            Some(Wrong::Short(leave) | Wrong::Leaves(Place::Body, leave)) => {
                self.leave(leave).await
            }
            Some(Wrong::Stalls(Place::Body)) => {
                pass(self.dice.millis(2_000..20_000)).await;
                Err(())
            }
            Some(Wrong::BrokenChunk) => {
                let text = broken_chunk(&mut self.dice, content, stop);
                self.say(&text).await?;
                self.leave(Leave::Closes).await
            }
            _ => Ok(()),
        }
    }
}

/// A chunk of one byte of `content` that does not end where it says, or a line that is none.
pub fn broken_chunk(dice: &mut Dice, content: Content, at: usize) -> Vec<u8> {
    let mut text = b"1\r\n".to_vec();
    content.append(at, 1, &mut text);
    match dice.below(6) {
        0 => text.extend_from_slice(b"!\r\n0\r\n\r\n"),
        1 => text.extend_from_slice(b"\n0\r\n\r\n"),
        2 => text = b"x\r\n".to_vec(),
        3 => text = b"-1\r\n\r\n".to_vec(),
        4 => text = b"1\n".to_vec(),
        _ => text = b"0\r\n".to_vec(),
    }
    text
}

/// An answer that was written whole.
struct Answered {
    stays: Stays,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stays {
    Yes,
    No,
}

fn answer_head(given: u32, status: u16, framing: Framing, stays: Stays) -> String {
    let mut head = format!("HTTP/1.1 {status} Some\r\nX-Answer: {given}\r\n");
    match framing {
        Framing::Length(length) => head += &format!("Content-Length: {length}\r\n"),
        Framing::Chunked => head += "Transfer-Encoding: chunked\r\n",
        Framing::None | Framing::UntilClose => {}
    }
    if stays == Stays::No {
        head += "Connection: close\r\n";
    }
    head + "\r\n"
}
