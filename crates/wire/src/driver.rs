//! One thread's driver: which sockets are ready, which timers are due, and whom to wake.
//!
//! A worker's thread turns it by itself ([`turn`]): one `epoll_wait` for all that became ready. On
//! a thread that a tokio runtime drives, [`crate::attend`] does it from inside a task.
//!
//! Never here: a future that runs, or a byte that is read.

use crate::bell::{self, Bell};
use crate::ready::{Direction, Ready, Trigger};
use crate::timer::{self, Timers};
use gatehouse_core::moment::Moment;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 512;

/// Deadlines that fire in one turn; what is still due fires in the next, which does not wait. Of
/// thousands that came at one moment many end at one moment.
const TIMERS_MAX: usize = 64;

/// The event of a thread's own bell.
const BELL: u64 = u64::MAX;

/// No socket is parked under this number.
const NOT_PARKED: u32 = u32::MAX;

thread_local! {
    static DRIVER: Driver = const { Driver::new() };
    /// Reads and writes left to the task that runs.
    static ALLOWANCE: Cell<u32> = const { Cell::new(u32::MAX) };
}

struct Driver {
    epoll: OnceCell<OwnedFd>,
    slots: RefCell<Slots>,
    timers: RefCell<Timers>,
    events: RefCell<Vec<epoll::Event>>,
    turns: Cell<u32>,
    /// What the kernel had by then has been told.
    told_until: Cell<Moment>,
    /// Sockets that were parked and have become readable, by the numbers they were parked under.
    woken: RefCell<Vec<u32>>,
    /// Who asked to know of those.
    porter: RefCell<Option<Waker>>,
    /// The task that turns this driver inside a tokio runtime, and when it will next by itself.
    attendant: RefCell<Option<Waker>>,
}

impl Driver {
    const fn new() -> Driver {
        Driver {
            epoll: OnceCell::new(),
            slots: RefCell::new(Slots { all: Vec::new(), free: Vec::new() }),
            timers: RefCell::new(Timers::new()),
            events: RefCell::new(Vec::new()),
            turns: Cell::new(0),
            told_until: Cell::new(Moment::from_nanos(0)),
            woken: RefCell::new(Vec::new()),
            porter: RefCell::new(None),
            attendant: RefCell::new(None),
        }
    }

    fn epoll(&self) -> io::Result<&OwnedFd> {
        if let Some(epoll) = self.epoll.get() {
            return Ok(epoll);
        }
        let made = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(self.epoll.get_or_init(|| made))
    }
}

/// Bytes of this process that a socket takes, without what waits for it.
pub const SOCKET_BYTES: usize = size_of::<Slot>();

#[derive(Debug, Default)]
struct Slot {
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Rises with each socket that has this slot, so that no event reaches its successor.
    generation: u32,
    parked: u32,
    ready: Ready,
    /// Whether its reader goes behind the others.
    yields: bool,
}

#[derive(Debug)]
struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
}

impl Slots {
    fn at(&mut self, number: u32) -> &mut Slot {
        &mut self.all[number as usize]
    }

    fn take(&mut self) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.all.push(Slot::default());
            (self.all.len() - 1) as u32
        });
        let slot = self.at(number);
        slot.parked = NOT_PARKED;
        slot.ready = Ready::default();
        slot.yields = false;
        number
    }

    fn give(&mut self, number: u32) {
        let slot = self.at(number);
        slot.generation = slot.generation.wrapping_add(1);
        slot.reader = None;
        slot.writer = None;
        self.free.push(number);
    }
}

/// A socket's place with this thread's driver. The kernel forgets a socket when its last
/// descriptor is closed; one that has others must be hushed before.
#[derive(Debug)]
pub(crate) struct Registration {
    slot: u32,
}

impl Registration {
    /// Registers a socket, once for its life.
    pub fn new(socket: BorrowedFd<'_>, trigger: Trigger) -> io::Result<Registration> {
        DRIVER.with(|driver| {
            let epoll = driver.epoll()?;
            let mut slots = driver.slots.borrow_mut();
            let slot = slots.take();
            // A stream that is open has room to write until it says otherwise.
            if trigger == Trigger::Edge {
                slots.at(slot).ready = Ready::WRITABLE;
            }
            let registration = Registration { slot };
            let data = data(slot, slots.at(slot).generation);
            drop(slots);
            epoll::add(epoll, socket, data, trigger.flags())?;
            Ok(registration)
        })
    }

    /// Tells of this socket no more, or does again.
    pub fn hush(&self, socket: BorrowedFd<'_>, hushed: Hushed) -> io::Result<()> {
        let told = DRIVER.try_with(|driver| {
            let data = data(self.slot, driver.slots.borrow_mut().at(self.slot).generation);
            match hushed {
                Hushed::Yes => epoll::delete(driver.epoll()?, socket)?,
                Hushed::No => epoll::add(driver.epoll()?, socket, data, Trigger::Level.flags())?,
            }
            Ok(())
        });
        // At the end of its thread a driver may be gone before a socket.
        told.unwrap_or(Ok(()))
    }

    /// Ready once there is something to do in this direction, as far as is known.
    #[inline]
    pub fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<()> {
        let known = DRIVER.with(|driver| {
            if !driver.slots.borrow_mut().at(self.slot).ready.meets(direction.mask()) {
                return false;
            }
            let allowance = ALLOWANCE.get();
            if allowance > 0 && allowance != u32::MAX {
                ALLOWANCE.set(allowance - 1);
            }
            allowance > 0
        });
        if known { Poll::Ready(()) } else { self.wait(cx, direction) }
    }

    /// Has the task told of what comes in this direction. Where it has no allowance left, whoever
    /// gave it runs it again.
    fn wait(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<()> {
        DRIVER.with(|driver| {
            let mut slots = driver.slots.borrow_mut();
            let slot = slots.at(self.slot);
            if slot.ready.meets(direction.mask()) {
                return Poll::Pending;
            }
            let waiter = match direction {
                Direction::Read => &mut slot.reader,
                Direction::Write => &mut slot.writer,
            };
            match waiter {
                Some(known) => known.clone_from(cx.waker()),
                None => *waiter = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
    }

    /// Whether there is something to read, as far as is known.
    pub fn is_readable(&self) -> bool {
        DRIVER.with(|driver| {
            driver.slots.borrow_mut().at(self.slot).ready.meets(Direction::Read.mask())
        })
    }

    /// Lets `parked` be known once there is something to read; ready where there is already.
    pub fn park(&self, parked: u32) -> Poll<()> {
        DRIVER.with(|driver| {
            let mut slots = driver.slots.borrow_mut();
            let slot = slots.at(self.slot);
            if slot.ready.meets(Direction::Read.mask()) {
                return Poll::Ready(());
            }
            slot.parked = parked;
            Poll::Pending
        })
    }

    /// Undoes [`Registration::park`].
    pub fn unpark(&self) {
        DRIVER.with(|driver| driver.slots.borrow_mut().at(self.slot).parked = NOT_PARKED);
    }

    /// Says whether whoever waits to read from it goes behind the others ([`crate::wakes_later`]).
    pub fn yields(&self, yields: bool) {
        DRIVER.with(|driver| driver.slots.borrow_mut().at(self.slot).yields = yields);
    }

    /// Takes it for readable: the next read asks the kernel, whatever is known.
    pub fn doubt(&self) {
        DRIVER.with(|driver| {
            let mut slots = driver.slots.borrow_mut();
            let slot = slots.at(self.slot);
            slot.ready = slot.ready.and(Ready::READABLE);
        });
    }

    /// There was less than asked for: all there was has been taken. What comes next is told.
    pub fn drained(&self, direction: Direction) {
        let less = match direction {
            Direction::Read => Ready::READABLE,
            Direction::Write => Ready::WRITABLE,
        };
        self.clear(less);
    }

    /// There was nothing.
    pub fn blocked(&self, direction: Direction) {
        self.clear(direction.mask());
    }

    fn clear(&self, less: Ready) {
        DRIVER.with(|driver| {
            let mut slots = driver.slots.borrow_mut();
            let slot = slots.at(self.slot);
            slot.ready = slot.ready.without(less);
        });
    }
}

/// Whether a listening socket is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hushed {
    Yes,
    No,
}

impl Drop for Registration {
    fn drop(&mut self) {
        // At the end of its thread a driver may be gone before a socket.
        let _ = DRIVER.try_with(|driver| driver.slots.borrow_mut().give(self.slot));
    }
}

fn data(slot: u32, generation: u32) -> EventData {
    EventData::new_u64(u64::from(generation) << 32 | u64::from(slot))
}

/// Uses this thread's timers.
pub(crate) fn with_timers<T>(work: impl FnOnce(&mut Timers) -> T) -> Option<T> {
    DRIVER.try_with(|driver| work(&mut driver.timers.borrow_mut())).ok()
}

/// A timer has become the nearest: whoever sleeps until the one that was must know.
pub(crate) fn is_sooner() {
    DRIVER.with(|driver| {
        if let Some(attendant) = &*driver.attendant.borrow() {
            attendant.wake_by_ref();
        }
    });
}

/// Counts the turns of this thread's driver.
pub(crate) fn turns() -> u32 {
    DRIVER.with(|driver| driver.turns.get())
}

/// All that the kernel had by this moment has been told. It moves on where a deadline is due.
pub(crate) fn told_until() -> Moment {
    DRIVER.with(|driver| driver.told_until.get())
}

/// Says that what was parked under this number has something to read.
pub fn wake_parked(parked: u32) {
    let _ = DRIVER.try_with(|driver| driver.tell(parked));
}

impl Driver {
    fn tell(&self, parked: u32) {
        self.woken.borrow_mut().push(parked);
        if let Some(porter) = &*self.porter.borrow() {
            porter.wake_by_ref();
        }
    }
}

/// Takes the numbers of the streams that were parked and have something to read now; ready where
/// there are any.
pub fn poll_woken(cx: &mut Context<'_>, into: &mut impl Extend<u32>) -> Poll<()> {
    DRIVER.with(|driver| {
        let mut woken = driver.woken.borrow_mut();
        if !woken.is_empty() {
            into.extend(woken.drain(..));
            return Poll::Ready(());
        }
        let mut porter = driver.porter.borrow_mut();
        match &mut *porter {
            Some(known) => known.clone_from(cx.waker()),
            None => *porter = Some(cx.waker().clone()),
        }
        Poll::Pending
    })
}

/// Allows the task that is about to run so many reads and writes; after that its sockets say that
/// they are not ready, and [`is_spent`] is true. Who sets it runs the task again later.
pub fn allow(operations: u32) {
    ALLOWANCE.set(operations);
}

/// Whether the task that ran has used up what it was allowed. Ends the allowance.
pub fn is_spent() -> bool {
    ALLOWANCE.replace(u32::MAX) == 0
}

/// How long a turn may wait where nothing is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: there is work.
    No,
    /// Until a socket is ready, a timer is due or the bell rings.
    Yes,
}

/// Wakes whoever waits for sockets that are ready and timers that are due.
///
/// # Errors
/// What `epoll_wait` says; an interrupted one is none.
pub fn turn(wait: Wait) -> io::Result<()> {
    DRIVER.with(|driver| {
        let limit = match wait {
            Wait::No => Some(Duration::ZERO),
            Wait::Yes => {
                let next = driver.timers.borrow().next();
                next.map(|next| next.since(timer::now()))
            }
        };
        driver.turns.set(driver.turns.get().wrapping_add(1));
        if driver.take_events(limit)? == EVENTS_MAX {
            driver.take_rest()?;
        }
        driver.fire_timers()
    })
}

/// Wakes `attendant` whenever this thread's driver has a nearer deadline from now on, and takes
/// what the kernel has. Gives the nearest deadline.
pub(crate) fn turn_for(attendant: &Waker) -> io::Result<Option<Moment>> {
    DRIVER.with(|driver| {
        driver.attendant.replace(Some(attendant.clone()));
        driver.turns.set(driver.turns.get().wrapping_add(1));
        while driver.take_events(Some(Duration::ZERO))? == EVENTS_MAX {}
        driver.fire_timers()?;
        let next = driver.timers.borrow().next();
        Ok(next)
    })
}

/// The descriptor that is readable while this thread's driver has something to take.
pub(crate) fn descriptor() -> io::Result<OwnedFd> {
    DRIVER.with(|driver| driver.epoll()?.try_clone())
}

impl Driver {
    /// Takes what the kernel has, once; says how much that was.
    fn take_events(&self, limit: Option<Duration>) -> io::Result<usize> {
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX).min(FAR_SECONDS),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let mut events = self.events.borrow_mut();
        events.clear();
        events.reserve(EVENTS_MAX);
        let room = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(self.epoll()?, room, limit.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        for event in &*events {
            self.dispatch(event.data.u64(), event.flags);
        }
        Ok(events.len())
    }

    fn dispatch(&self, data: u64, flags: EventFlags) {
        if data == BELL {
            // Edge-triggered: it need not be read.
            return;
        }
        let ready = Ready::of(flags);
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.all.get_mut((data & u64::from(u32::MAX)) as usize) else { return };
        if u64::from(slot.generation) != data >> 32 {
            return;
        }
        slot.ready = slot.ready.and(ready);
        if ready.meets(Ready::TO_READ) {
            if slot.parked != NOT_PARKED {
                self.tell(std::mem::replace(&mut slot.parked, NOT_PARKED));
            } else if let Some(reader) = &slot.reader {
                // It stays: the next wait is likely to be the same task's.
                bell::wake(reader, slot.yields);
            }
        }
        if ready.meets(Ready::TO_WRITE)
            && let Some(writer) = slot.writer.take()
        {
            writer.wake_by_ref();
        }
    }

    /// Takes what the kernel has, all of it: who is to go first is known only then.
    fn take_rest(&self) -> io::Result<()> {
        // Each round takes what the one before has left; no socket is told of twice in between.
        let rounds = 1 + self.slots.borrow().all.len() / EVENTS_MAX;
        for _ in 0..rounds {
            if self.take_events(Some(Duration::ZERO))? < EVENTS_MAX {
                break;
            }
        }
        Ok(())
    }

    /// Fires what is due. A thread that did not run for a while, because its process was stopped or
    /// its machine was busy, finds deadlines passed and events waiting, and what came meanwhile has
    /// come in time: the events of before a moment are taken before that moment's deadlines fire.
    fn fire_timers(&self) -> io::Result<()> {
        let Some(next) = self.timers.borrow().next() else { return Ok(()) };
        let now = timer::now();
        if next > now {
            return Ok(());
        }
        self.take_rest()?;
        self.told_until.set(now);
        self.timers.borrow_mut().fire(now, TIMERS_MAX);
        Ok(())
    }
}

/// A wait longer than this ends and begins again.
const FAR_SECONDS: i64 = 3600;

/// A waker that ends this thread's wait, from whichever thread.
///
/// # Errors
/// Where there is no descriptor for it.
pub fn bell() -> io::Result<Waker> {
    let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let flags = EventFlags::IN | EventFlags::ET;
    DRIVER.with(|driver| {
        epoll::add(driver.epoll()?, &descriptor, EventData::new_u64(BELL), flags)?;
        io::Result::Ok(())
    })?;
    Ok(Bell::waker(descriptor))
}
