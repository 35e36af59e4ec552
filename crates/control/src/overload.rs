//! Keeps the process within what it is allowed: watches its memory, tells the data plane how short
//! it is, and how many clients its descriptors are enough for.
//! Never here: who is turned away, which is `core`'s to say.

use crate::gateway::Fault;
use gatehouse_core::overload::{Ceilings, Pressure};
use gatehouse_core::plan::Plan;
use gatehouse_proxy::gate::{Handle, spawn};
use gatehouse_wire::timer::{Timer, now};
use rustix::process::{Resource, getrlimit};
use std::future::poll_fn;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
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
    let (mut looks, mut usual) = (0_u32, 0);
    loop {
        let next = now().after(TICK);
        if looks.is_multiple_of(ALLOWED_TICKS) {
            usual = share(allowed());
        }
        looks = looks.wrapping_add(1);
        let ceilings = handle.ceilings();
        handle.set_clients_max(clients_max(&ceilings, workers));
        let (before, most) = (handle.pressure(), ceilings.memory_bytes.unwrap_or(usual));
        let pressure = Pressure::next(before, used(), most);
        if (pressure == Pressure::None) != (before == Pressure::None) {
            let used = used() >> 20;
            eprintln!("{}", news(pressure, used, most >> 20));
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

fn news(pressure: Pressure, used: u64, most: u64) -> String {
    match pressure {
        Pressure::None => format!("memory is not short any more: {used} of {most} MiB"),
        Pressure::Low | Pressure::Normal | Pressure::All => {
            format!("warn: memory is short, {used} of {most} MiB: requests are turned away")
        }
    }
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
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| machine_memory(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    cgroup_memory(&groups, read).into_iter().chain(machine).min().unwrap_or(u64::MAX)
}

fn machine_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// The least that a process's cgroups, and those around them, allow. `groups` is its
/// `/proc/self/cgroup` (cgroups(7)); in a container the path it names may stand at the root.
fn cgroup_memory(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let root = Path::new("/sys/fs/cgroup");
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        let (root, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            list if list.split(',').any(|one| one == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let own = root.join(path);
        let around = own.ancestors().take_while(|group| group.starts_with(&root));
        around.filter_map(|group| read(&group.join(file))?.trim().parse::<u64>().ok()).min()
    });
    // Version 1 says no limit with a number that no machine has.
    limits.filter(|limit| *limit < 1 << 60).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_all_groups_around_the_process_counts() {
        let files = |list: &'static [(&str, &str)]| {
            move |path: &Path| {
                let found = list.iter().find(|(name, _)| Path::new(name) == path);
                found.map(|(_, text)| (*text).to_owned())
            }
        };
        let v2 = "0::/system.slice/gatehouse.service\n";
        let v1 = "5:cpu,cpuacct:/a\n4:memory:/docker/7\n0::/\n";
        for (groups, list, expected) in [
            (v2, &[][..], None),
            (v2, &[("/sys/fs/cgroup/system.slice/gatehouse.service/memory.max", "max\n")], None),
            (
                v2,
                &[
                    ("/sys/fs/cgroup/system.slice/gatehouse.service/memory.max", "536870912\n"),
                    ("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
                ],
                Some(536_870_912),
            ),
            (
                v2,
                &[
                    ("/sys/fs/cgroup/system.slice/gatehouse.service/memory.max", "max\n"),
                    ("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
                ],
                Some(1_073_741_824),
            ),
            // In a container only the root of its own hierarchy can be seen.
            (v2, &[("/sys/fs/cgroup/memory.max", "268435456\n")], Some(268_435_456)),
            (
                v1,
                &[("/sys/fs/cgroup/memory/docker/7/memory.limit_in_bytes", "268435456\n")],
                Some(268_435_456),
            ),
            (v1, &[("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")], None),
        ] {
            assert_eq!(cgroup_memory(groups, files(list)), expected, "{groups}{list:?}");
        }
    }

    #[test]
    fn what_the_machine_has_is_said_in_kib() {
        assert_eq!(machine_memory("MemTotal:       2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        assert!(used() > 0 && allowed() > used());
    }
}
