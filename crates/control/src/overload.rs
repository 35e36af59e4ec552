//! Keeps the process within what it is allowed: watches its memory, tells the data plane how short
//! it is, and how many clients its descriptors are enough for.
//! Never here: who is turned away, which is `core`'s to say.

use crate::cgroup::{Group, Taken, groups};
use crate::gateway::Fault;
use gatehouse_core::overload::{Ceilings, Pressure};
use gatehouse_core::plan::Plan;
use gatehouse_proxy::gate::{Handle, spawn};
use gatehouse_wire::timer::{Timer, now};
use rustix::process::{Resource, getrlimit};
use std::future::poll_fn;
use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

/// How often memory is looked at: what can be taken meanwhile fits above the last threshold.
const TICK: Duration = Duration::from_millis(25);

/// Ticks between two looks at what the process is allowed: it hardly ever changes, and to find out
/// takes several files.
const ALLOWED_TICKS: u32 = 40;

/// Ticks between two attempts to give memory back, while it is short.
const TRIM_TICKS: u32 = 20;

/// The share of what the process is allowed that it uses, where nothing is said: the kernel's
/// socket buffers are counted as well, and are not ours to count.
const SHARE_PERCENT: u64 = 80;

/// The share of a group's limit that is not exceeded: everything counts there, and what can be
/// taken between two looks fits above it.
const GROUP_PERCENT: u64 = 95;

/// From this share of what is taken of a group on, in percent, it is the process's own to give back
/// some. With less, another has filled the group.
const OURS_PERCENT: u64 = 25;

/// Descriptors beside those of clients and endpoints, and further ones for each worker.
const DESCRIPTORS_BASE: u64 = 64;
const DESCRIPTORS_PER_WORKER: u64 = 16;

/// With descriptors for fewer clients than this no ceiling is kept: who is refused would be up to
/// what endpoints need just then.
const CLIENTS_MIN: u64 = 16;

/// Bytes of memory towards which load is shed.
pub fn memory_ceiling(ceilings: &Ceilings) -> u64 {
    ceilings.memory_bytes.unwrap_or_else(|| share(allowed()))
}

/// What is used of `allowed` where nothing is said.
fn share(allowed: u64) -> u64 {
    allowed / 100 * SHARE_PERCENT
}

/// Client connections that the limit on descriptors is enough for: each may need one more to an
/// endpoint.
pub(crate) fn clients_by_descriptors(workers: NonZeroUsize) -> u64 {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    limit.saturating_sub(reserve(workers)) / 2
}

fn reserve(workers: NonZeroUsize) -> u64 {
    DESCRIPTORS_BASE + DESCRIPTORS_PER_WORKER * workers.get() as u64
}

/// Client connections that may be open at once.
fn clients_max(ceilings: &Ceilings, workers: NonZeroUsize) -> u32 {
    let possible = clients_by_descriptors(workers);
    let possible = if possible < CLIENTS_MIN { u64::MAX } else { possible };
    let possible = u32::try_from(possible).unwrap_or(u32::MAX);
    ceilings.connections.map_or(possible, |written| written.min(possible))
}

/// Looks, before a plan comes in force, whether there are descriptors and memory enough; gives what
/// there is less of than was asked for, and has to be said.
///
/// # Errors
/// Where there are fewer descriptors than `limits.connections` needs.
pub(crate) fn judge(plan: &Plan, workers: NonZeroUsize) -> Result<Vec<String>, Fault> {
    let mut warnings = Vec::new();
    let possible = clients_by_descriptors(workers);
    let needed = |clients: u64| clients * 2 + reserve(workers);
    let hint =
        |clients: u64| format!("allow {} open files (ulimit -n, LimitNOFILE=)", needed(clients));
    let written = plan.ceilings.connections.map(u64::from);
    if let Some(written) = written.filter(|written| *written > possible) {
        let what = format!("limits.connections = {written}");
        let error = format!("the limit on open files is enough for {possible}");
        return Err(Fault::new(what, io::Error::other(error), hint(written)));
    }
    if possible < CLIENTS_MIN {
        warnings.push(format!(
            "the limit on open files is enough for {possible} client connections: accepting \
             pauses whenever there are none left\n  hint: {}",
            hint(1024)
        ));
    }
    let listeners = plan.listeners.iter();
    let sum: u64 = listeners.map(|one| u64::from(one.limits.connections_max)).sum();
    if written.is_none() && (CLIENTS_MIN..sum).contains(&possible) {
        warnings.push(format!(
            "the listeners' limits allow {sum} connections, and the limit on open files is \
             enough for {possible}: further ones are closed as they come\n  hint: {}",
            hint(sum)
        ));
    }
    let (allowed, ceiling) = (allowed(), memory_ceiling(&plan.ceilings));
    if ceiling > allowed {
        warnings.push(format!(
            "limits.memory is {} MiB, and the process is allowed {} MiB: it may be killed before \
             load is shed",
            ceiling >> 20,
            allowed >> 20
        ));
    }
    Ok(warnings)
}

/// Tells the data plane what a plan allows, and watches for as long as the runtime this is called
/// on lives.
pub(crate) fn start(handle: Handle, workers: NonZeroUsize) {
    spawn(watch(handle, workers));
}

async fn watch(handle: Handle, workers: NonZeroUsize) {
    let mut timer = Timer::default();
    let mut ticks = 0_u32;
    let (mut looks, mut usual, mut around) = (0_u32, 0, Vec::new());
    let mut shortage = Shortage::new(used());
    loop {
        let next = now().after(TICK);
        if looks.is_multiple_of(ALLOWED_TICKS) {
            around = groups();
            usual = share(allowed_by(&around));
        }
        looks = looks.wrapping_add(1);
        let ceilings = handle.ceilings();
        handle.set_clients_max(clients_max(&ceilings, workers));
        let before = handle.pressure();
        let own = Used { bytes: used(), most: ceilings.memory_bytes.unwrap_or(usual) };
        let groups = around.iter().map(|group| (group.limit, group.taken()));
        let (pressure, of) = shortage.next(own, groups);
        if (pressure == Pressure::None) != (before == Pressure::None) {
            eprintln!("{}", news(pressure, &of));
        }
        handle.set_pressure(pressure);
        ticks = if pressure == Pressure::None { 0 } else { ticks + 1 };
        if ticks % TRIM_TICKS == 1 {
            // What was freed lies with the allocator until it is asked for.
            gatehouse_wire::trim_memory();
        }
        poll_fn(|cx| timer.poll_until(cx, next)).await;
    }
}

/// Bytes that are used of those that may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    bytes: u64,
    most: u64,
}

/// Whose memory is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Process(Used),
    Group(Used),
}

/// How short memory is, by the process's own use and by its groups'.
#[derive(Debug)]
struct Shortage {
    own: Pressure,
    groups: Pressure,
    /// What the process used before it did anything, and cannot give back.
    idle: u64,
}

impl Shortage {
    fn new(idle: u64) -> Shortage {
        Shortage { own: Pressure::None, groups: Pressure::None, idle }
    }

    /// How short it is now, and of what.
    fn next(&mut self, own: Used, groups: impl Iterator<Item = (u64, Taken)>) -> (Pressure, Of) {
        self.own = Pressure::next(self.own, own.bytes, own.most);
        let before = self.groups;
        let grown = own.bytes.saturating_sub(self.idle);
        let each = groups.map(|(limit, taken)| {
            let used = Used { bytes: taken.bytes, most: limit / 100 * GROUP_PERCENT };
            let pressure = Pressure::next(before, used.bytes, used.most);
            // To turn everybody away would be no help, and might be for ever.
            let ours = (grown + taken.kernel) * 100 >= taken.bytes * OURS_PERCENT;
            (if ours { pressure } else { pressure.min(Pressure::Low) }, Of::Group(used))
        });
        let group = each.max_by_key(|(pressure, _)| *pressure);
        self.groups = group.map_or(Pressure::None, |(pressure, _)| pressure);
        match group {
            Some((pressure, of)) if pressure > self.own => (pressure, of),
            Some(_) | None => (self.own, Of::Process(own)),
        }
    }
}

fn news(pressure: Pressure, of: &Of) -> String {
    let (whose, used) = match of {
        Of::Process(used) => ("", used),
        Of::Group(used) => (" of its cgroup", used),
    };
    let (used, most) = (used.bytes >> 20, used.most >> 20);
    match pressure {
        Pressure::None => format!("memory is not short any more: {used} of {most} MiB"),
        Pressure::Low | Pressure::Normal | Pressure::All => {
            format!("warn: memory{whose} is short, {used} of {most} MiB: requests are turned away")
        }
    }
}

/// The limit of the cgroup that is nearest to it, and how much of that is taken.
pub(crate) fn fullest_group() -> Option<(u64, u64)> {
    let each = groups().into_iter().map(|group| (group.limit, group.taken().bytes));
    each.max_by_key(|(limit, taken)| u128::from(*taken) * 1000 / u128::from((*limit).max(1)))
}

/// Bytes of memory of this process that are nobody else's and of no file; 0 where nobody says.
pub(crate) fn used() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split(' ').skip(1).map(|word| word.parse::<u64>().unwrap_or(0));
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(shared) * gatehouse_wire::page_bytes()
}

/// Bytes of memory that this process is allowed: the least of what its cgroups say, of either
/// version, and of what the machine has.
pub(crate) fn allowed() -> u64 {
    allowed_by(&groups())
}

fn allowed_by(groups: &[Group]) -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").ok();
    let machine = text.and_then(|text| machine_memory(&text));
    groups.iter().map(|group| group.limit).chain(machine).min().unwrap_or(u64::MAX)
}

fn machine_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// What follows when the process uses so much, of 1000 MiB and beyond the 20 MiB it began with,
    /// and a group of 1000 MiB has so much taken, some of it by the kernel.
    fn next(shortage: &mut Shortage, own: u64, taken: u64, kernel: u64) -> Pressure {
        let own = Used { bytes: own * MIB, most: 1000 * MIB };
        let group = (1000 * MIB, Taken { bytes: taken * MIB, kernel: kernel * MIB });
        shortage.next(own, std::iter::once(group)).0
    }

    #[test]
    fn memory_is_short_where_that_of_a_group_is() {
        for (own, taken, kernel, expected) in [
            (300, 800, 0, Pressure::None),
            (300, 820, 0, Pressure::Low),
            (300, 870, 0, Pressure::Normal),
            (300, 910, 0, Pressure::All),
            (300, 2000, 1000, Pressure::All),
            // Where the process holds little, the kernel may hold much for it.
            (30, 910, 400, Pressure::All),
            // Its own use counts as ever.
            (960, 0, 0, Pressure::All),
            (860, 870, 0, Pressure::Normal),
        ] {
            let pressure = next(&mut Shortage::new(20 * MIB), own, taken, kernel);
            assert_eq!(pressure, expected, "{own} {taken} {kernel}");
        }
    }

    #[test]
    fn a_neighbour_that_fills_a_group_costs_the_least_important_alone() {
        let mut shortage = Shortage::new(20 * MIB);
        assert_eq!(next(&mut shortage, 30, 1000, 0), Pressure::Low);
        assert_eq!(next(&mut shortage, 400, 1000, 0), Pressure::All, "it could give that back");
        assert_eq!(next(&mut shortage, 100, 1000, 0), Pressure::Low, "and it has");
        assert_eq!(next(&mut shortage, 100, 700, 0), Pressure::None);
        let mut large = Shortage::new(400 * MIB);
        assert_eq!(next(&mut large, 450, 1000, 0), Pressure::Low, "it was as large when idle");
    }

    #[test]
    fn what_the_machine_has_is_said_in_kib() {
        assert_eq!(machine_memory("MemTotal:       2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        assert!(used() > 0 && allowed() > used());
    }
}
