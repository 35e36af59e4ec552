//! One stretch of load on one target: starts the threads, hears what they tell while they run, and
//! puts together what they bring home.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::books::{Books, Found, TICK, Tick};
use super::latency::Moment;
use super::report::Point;
use super::schedule::{Course, Schedule, Share};
use super::target::Target;
use super::worker::{Opening, Task, Worker};
use super::{Bench, Pace, Progress, Stop};

/// What is under way at the end is waited for so long, or for the timeout if that is shorter.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Points over time in all rounds together, about.
const POINTS: u32 = 120;
/// What counts as of late.
const LATELY: Duration = Duration::from_secs(1);
/// Between two words to whoever watches.
const WORD: Duration = Duration::from_millis(250);
/// Ticks that may wait to be heard, for each thread.
const TICKS_WAITING: usize = 4;

pub(super) struct Leg<'a> {
    bench: &'a Bench,
    target: &'a Target,
    course: Course,
    requests: Option<u64>,
}

/// What a leg found.
pub(super) struct Outcome {
    pub found: Vec<Found>,
    /// How long it measured.
    pub measured: Duration,
    pub points: Vec<Point>,
}

impl<'a> Leg<'a> {
    pub fn of(bench: &'a Bench, target: &'a Target, round: u32) -> Self {
        let measured_from = nanos(bench.warm_up / bench.rounds);
        let end = measured_from + nanos(bench.duration / bench.rounds).max(1);
        let rounds = u64::from(bench.rounds);
        let part =
            |requests: u64| requests / rounds + u64::from(u64::from(round) < requests % rounds);
        let requests = bench.requests.map(part);
        let course = Course { measured_from, end };
        let course = match bench.pace {
            Pace::Closed => course,
            Pace::Open(rate) => course.with_rate(rate, requests),
        };
        Self { bench, target, course, requests }
    }

    pub fn run(&self, stop: &Stop, watch: &mut dyn FnMut(&Progress<'_>)) -> io::Result<Outcome> {
        let threads = self.bench.threads as usize;
        let (sender, ticks) = sync_channel(threads * TICKS_WAITING);
        let start = Instant::now();
        let mut workers = Vec::with_capacity(threads);
        for thread in 0..self.bench.threads {
            let books = Books::new(self.course, sender.clone());
            workers.push(Worker::new(
                self.task(thread, start, stop),
                self.schedule(thread),
                books,
            )?);
        }
        drop(sender);
        thread::scope(|scope| {
            let mut running = Vec::with_capacity(threads);
            for worker in workers {
                let thread = thread::Builder::new().name("bench".to_owned());
                match thread.spawn_scoped(scope, || worker.run()) {
                    Ok(handle) => running.push(handle),
                    Err(error) => {
                        stop.stop();
                        return Err(error);
                    }
                }
            }
            let points = self.hear(ticks, watch);
            let found: io::Result<Vec<Found>> =
                running.into_iter().map(|handle| handle.join().expect("no panic")).collect();
            let found = found?;
            let until = found.iter().map(|found| found.until).max().unwrap_or(0);
            let measured = Duration::from_nanos(until.saturating_sub(self.course.measured_from));
            Ok(Outcome { found, measured, points: points.finish(measured) })
        })
    }

    fn schedule(&self, thread: u32) -> Schedule {
        let share = Share { thread: thread.into(), threads: self.bench.threads.into() };
        match self.bench.pace {
            Pace::Closed => Schedule::closed(self.course, self.requests, share),
            Pace::Open(rate) => Schedule::open(self.course, share, rate),
        }
    }

    fn task<'t>(&'t self, thread: u32, start: Instant, stop: &'t Stop) -> Task<'t> {
        let Bench { connections, threads, timeout, .. } = *self.bench;
        Task {
            to: self.target.to,
            request: &self.target.request,
            expected: self.target.expected,
            security: self.target.security.as_ref(),
            connections: connections / threads + u32::from(thread < connections % threads),
            opening: match self.bench.pace {
                Pace::Closed => Opening::WhenNeeded,
                Pace::Open(_) => Opening::Ahead,
            },
            course: self.course,
            give_up: self.course.end + nanos(timeout.min(LAST_ANSWERS)),
            timeout: nanos(timeout),
            start,
            stop,
        }
    }

    /// Hears what the threads tell until the last of them is done.
    fn hear(&self, ticks: Receiver<Tick>, watch: &mut dyn FnMut(&Progress<'_>)) -> Points {
        let mut points = Points::new(self.course, self.bench.rounds);
        let mut lately = VecDeque::new();
        let mut failed = 0;
        let mut last_word = Instant::now();
        while let Ok(tick) = ticks.recv() {
            points.add(&tick);
            failed += tick.failed;
            let now = tick.at;
            lately.push_back(tick);
            while lately.front().is_some_and(|tick| tick.at + nanos(LATELY) <= now) {
                lately.pop_front();
            }
            if last_word.elapsed() >= WORD {
                last_word = Instant::now();
                watch(&self.progress(&lately, now, failed));
            }
        }
        points
    }

    fn progress(&self, lately: &VecDeque<Tick>, now: u64, failed: u64) -> Progress<'_> {
        let mut all = Moment::new();
        lately.iter().for_each(|tick| all.merge(&tick.answered));
        // A tick tells of the time before it.
        let first = lately.front().map_or(now, |tick| tick.at);
        let span = Duration::from_nanos(now.saturating_sub(first)) + TICK;
        Progress {
            target: &self.target.name,
            share: (now as f64 / self.course.end as f64).min(1.0),
            rate: all.count() as f64 / span.as_secs_f64(),
            p99: all.within(0.99),
            failed,
        }
    }
}

/// What was answered over time.
struct Points {
    from: u64,
    width: u64,
    points: Vec<(Moment, u64)>,
}

impl Points {
    fn new(course: Course, rounds: u32) -> Self {
        let count = u64::from((POINTS / rounds).max(1));
        let width = (course.end - course.measured_from) / count;
        // Whole ticks, or some moments would get one more than others.
        let width = width.div_ceil(nanos(TICK)).max(1) * nanos(TICK);
        Self { from: course.measured_from, width, points: Vec::new() }
    }

    fn add(&mut self, tick: &Tick) {
        // A tick tells of what was before it.
        let Some(at) = tick.at.checked_sub(self.from + nanos(TICK) / 2) else { return };
        let at = (at / self.width) as usize;
        while self.points.len() <= at {
            self.points.push((Moment::new(), 0));
        }
        let (answered, failed) = &mut self.points[at];
        answered.merge(&tick.answered);
        *failed += tick.failed;
    }

    /// Those of the time that was measured; the last of them may be shorter than the others.
    fn finish(self, measured: Duration) -> Vec<Point> {
        let width = Duration::from_nanos(self.width);
        let numbered = (0_u32..).zip(self.points);
        numbered
            .map(|(number, (answered, failed))| Point {
                at: width * number,
                width: width.min(measured.saturating_sub(width * number)),
                answered: answered.count(),
                failed,
                p50: answered.within(0.5),
                p99: answered.within(0.99),
            })
            .take_while(|point| point.width >= TICK / 2)
            .collect()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}
