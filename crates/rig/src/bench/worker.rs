//! One thread of load: gives each request a connection as soon as it is due and one is free, and
//! waits for whichever comes first, a socket or the next due time.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::Stop;
use super::alarm::{ALARM, Alarm};
use super::answer::Expected;
use super::books::{Books, Found, Outcome};
use super::schedule::{Course, Schedule};
use super::slot::{Exchange, Slot, Turn, connect_reason};
use super::tally::Fault;
use crate::poller::{Events, Poller};
use crate::secured::Security;

/// The buffer answers are read into.
const BUFFER_BYTES: usize = 256 << 10;
/// How long a connection that could not be made is left alone.
const REST: u64 = 50_000_000;
/// How often timeouts are looked for: so many times within one.
const LOOKS: u64 = 20;
/// But neither more nor less often than this.
const LOOK_MIN: u64 = 1_000_000;
const LOOK_MAX: u64 = 100_000_000;

/// Whether connections are opened before there is a request for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Ahead,
    WhenNeeded,
}

/// What one thread is told.
pub(super) struct Task<'a> {
    pub to: SocketAddr,
    pub request: &'a [u8],
    pub expected: Expected,
    pub security: Option<&'a Security>,
    pub connections: u32,
    pub opening: Opening,
    pub course: Course,
    /// What is under way at the end is waited for until then.
    pub give_up: u64,
    pub timeout: u64,
    pub start: Instant,
    pub stop: &'a Stop,
}

pub(super) struct Worker<'a> {
    task: Task<'a>,
    schedule: Schedule,
    books: Books,
    poller: Poller,
    alarm: Alarm,
    slots: Vec<Slot>,
    /// Slots without a request, the one that waits longest first.
    free: VecDeque<u32>,
    /// Slots whose connection could not be made, and until when they rest.
    resting: VecDeque<(u64, u32)>,
    /// Requests under way.
    busy: usize,
    /// Nothing more is sent.
    over: bool,
    next_look: u64,
    /// Processor time when measuring began, and when it ended.
    cpu: [Option<Duration>; 2],
    buffer: Box<[u8]>,
}

impl<'a> Worker<'a> {
    pub fn new(task: Task<'a>, schedule: Schedule, books: Books) -> io::Result<Self> {
        let poller = Poller::new()?;
        Ok(Self {
            schedule,
            books,
            alarm: Alarm::new(&poller)?,
            poller,
            slots: (0..task.connections)
                .map(|_| Slot::new(task.expected, task.security.cloned()))
                .collect(),
            free: (0..task.connections).collect(),
            resting: VecDeque::new(),
            busy: 0,
            over: false,
            next_look: 0,
            cpu: [None; 2],
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            task,
        })
    }

    pub fn run(mut self) -> io::Result<Found> {
        let mut events = Events::new();
        if self.task.opening == Opening::Ahead {
            self.open_all();
        }
        loop {
            let now = self.now();
            self.note_cpu(now);
            self.books.tell(now);
            if now >= self.next_look {
                self.look(now);
            }
            if !self.over {
                self.dispatch();
                self.over = now >= self.task.course.end || self.schedule.is_used_up(now);
            }
            let stopped = self.task.stop.0.load(Ordering::Relaxed);
            if stopped || now >= self.task.give_up || (self.over && self.busy == 0) {
                return Ok(self.finish());
            }
            let limit = self.limit()?;
            self.poller.wait(&mut events, Some(limit))?;
            for at in 0..events.len() {
                let Some(ready) = self.poller.ready(&events, at) else { continue };
                if ready.token == ALARM {
                    continue;
                }
                let place = ready.token as u32;
                if self.slots[place as usize].note(ready) {
                    self.advance(place);
                }
            }
        }
    }

    /// Nanoseconds since the start of the run.
    fn now(&self) -> u64 {
        self.task.start.elapsed().as_nanos() as u64
    }

    fn note_cpu(&mut self, now: u64) {
        let limits = [self.task.course.measured_from, self.task.course.end];
        for (noted, limit) in self.cpu.iter_mut().zip(limits) {
            if noted.is_none() && now >= limit {
                *noted = Some(thread_cpu());
            }
        }
    }

    /// How long nothing needs to be done unless a socket changes.
    fn limit(&mut self) -> io::Result<Duration> {
        let due = self.schedule.next_due().filter(|_| !self.over && !self.free.is_empty());
        let rested = self.resting.front().map(|(until, _)| *until);
        let course = self.task.course;
        let now = self.now();
        if let Some(due) = due {
            self.alarm.set(due, now)?;
            if due <= now {
                return Ok(Duration::ZERO);
            }
        }
        let next = [
            Some(self.books.next_tick()),
            Some(self.next_look),
            rested,
            Some(course.measured_from).filter(|at| *at > now),
            Some(course.end).filter(|at| *at > now),
            Some(self.task.give_up),
        ];
        let next = next.into_iter().flatten().min().unwrap_or(now);
        Ok(Duration::from_nanos(next.saturating_sub(now)))
    }

    fn open_all(&mut self) {
        let now = self.now();
        for place in std::mem::take(&mut self.free) {
            self.dial(place, now);
        }
    }

    /// Gives connections that are free to requests that are due. After the end, only what was due
    /// before it is sent, and only once: on connections that would have been free for it in time.
    fn dispatch(&mut self) {
        let mut now = self.now();
        while let Some((until, place)) = self.resting.front().copied() {
            if until > now {
                break;
            }
            self.resting.pop_front();
            self.free.push_back(place);
        }
        while let Some(place) = self.free.pop_front() {
            let Some(intended) = self.schedule.take(now) else {
                self.free.push_front(place);
                break;
            };
            self.begin(place, intended, now);
            self.advance(place);
            now = self.now();
        }
    }

    fn begin(&mut self, place: u32, intended: u64, now: u64) {
        let slot = &mut self.slots[place as usize];
        slot.begin(Exchange { intended, started: now, sent: 0, received: 0 });
        self.busy += 1;
        if slot.is_closed() {
            self.dial(place, now);
        }
    }

    fn dial(&mut self, place: u32, now: u64) {
        let slot = &mut self.slots[place as usize];
        if let Err(error) = slot.dial(self.task.to, &self.poller, place, now) {
            self.fail(place, Fault::Connect(connect_reason(error)), now);
        }
    }

    /// Goes on with a slot for as long as something can be done.
    fn advance(&mut self, place: u32) {
        loop {
            let slot = &mut self.slots[place as usize];
            let turn = slot.turn(self.task.request, &mut self.buffer);
            if matches!(turn, Turn::Waits) {
                return;
            }
            let now = self.now();
            match turn {
                // Idle slots stay where they are; a closed one is opened when it is needed.
                Turn::Waits | Turn::Gone => return,
                Turn::Opened => {}
                Turn::Answered(status) => self.settle(place, Outcome::Answered(status), now),
                Turn::Failed(fault) => {
                    if !self.fail(place, fault, now) {
                        return;
                    }
                }
            }
            let sends = !self.over && now < self.task.course.end;
            match if sends { self.schedule.take(now) } else { None } {
                Some(intended) => self.begin(place, intended, now),
                // One more turn, to hear what an idle connection may have to say already.
                None => self.free.push_back(place),
            }
        }
    }

    /// Writes down a failure; says whether the slot may go on.
    fn fail(&mut self, place: u32, fault: Fault, now: u64) -> bool {
        let slot = &mut self.slots[place as usize];
        slot.close();
        let (idle, connect) = (slot.exchange.is_none(), matches!(fault, Fault::Connect(_)));
        if idle {
            self.books.fault(fault, now);
        } else {
            self.settle(place, Outcome::Failed(fault), now);
        }
        if connect {
            self.resting.push_back((now + REST, place));
        }
        // An idle slot is free already, or was never free.
        !connect && !idle
    }

    fn settle(&mut self, place: u32, outcome: Outcome, now: u64) {
        if let Some(exchange) = self.slots[place as usize].exchange.take() {
            self.busy -= 1;
            self.books.settle(&exchange, outcome, now);
        }
    }

    /// Looks for what has waited too long.
    fn look(&mut self, now: u64) {
        self.next_look = now + (self.task.timeout / LOOKS).clamp(LOOK_MIN, LOOK_MAX);
        for place in 0..self.task.connections {
            let slot = &self.slots[place as usize];
            let overdue = |since: u64| now.saturating_sub(since) >= self.task.timeout;
            if !slot.waits_since().is_some_and(overdue) {
                continue;
            }
            let fault = slot.overdue();
            if self.fail(place, fault, now) {
                self.free.push_back(place);
            }
        }
    }

    fn finish(mut self) -> Found {
        let now = self.now();
        let until = now.min(self.task.course.end);
        for place in 0..self.task.connections {
            self.settle(place, Outcome::Unfinished, now);
        }
        while let Some(intended) = self.schedule.take(until).filter(|_| self.is_open_loop()) {
            self.books.unsent(intended, until);
        }
        let [from, to] = self.cpu;
        let found = &mut self.books.found;
        found.until = until;
        found.cpu = from.map_or(Duration::ZERO, |from| to.unwrap_or_else(thread_cpu) - from);
        self.books.close(now)
    }

    fn is_open_loop(&self) -> bool {
        matches!(self.schedule, Schedule::Open { .. })
    }
}

fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
