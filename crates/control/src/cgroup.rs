//! The cgroups around this process, of either version (cgroups(7)): what memory they allow and how
//! much of that is taken. Kernel memory and other processes count there too, and whoever
//! is in a group that is full is killed.

use std::fs;
use std::path::{Path, PathBuf};

/// Where they stand.
const ROOT: &str = "/sys/fs/cgroup";

/// From this share of a limit on, in percent, is looked at what could be given back: to find out
/// costs the kernel more than to say how much is taken.
const LOOKED_AT_PERCENT: u64 = 75;

/// Version 1 says no limit with a number that no machine has.
const NO_LIMIT: u64 = 1 << 60;

/// What a version calls things.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    limit: &'static str,
    taken: &'static str,
    /// Of `memory.stat`: pages of files and what else the kernel takes back before it kills.
    given_back: &'static [&'static str],
    /// Of `memory.stat`: what the kernel holds for sockets and other things of processes.
    kernel: &'static [&'static str],
}

/// Version 1 has the sums over all groups within under names of their own, and counts the buffers
/// of sockets elsewhere.
const V1: Names = Names {
    limit: "memory.limit_in_bytes",
    taken: "memory.usage_in_bytes",
    given_back: &["total_inactive_file", "total_active_file"],
    kernel: &[],
};

const V2: Names = Names {
    limit: "memory.max",
    taken: "memory.current",
    given_back: &["inactive_file", "active_file", "slab_reclaimable"],
    kernel: &["sock", "slab_unreclaimable"],
};

/// A group around this process that has a limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    folder: PathBuf,
    names: &'static Names,
    /// Bytes that all within may take.
    pub limit: u64,
}

/// How much of a group's memory is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Bytes that are not given back by themselves.
    pub bytes: u64,
    /// Those of them that the kernel holds for processes.
    pub kernel: u64,
}

/// The groups around this process that have a limit, the innermost of each version first.
pub(crate) fn groups() -> Vec<Group> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limited(&own, &read)
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// `own` is a process's `/proc/self/cgroup`; in a container the path it names may stand at the
/// root.
fn limited(own: &str, read: &impl Fn(&Path) -> Option<String>) -> Vec<Group> {
    let root = Path::new(ROOT);
    let mut groups = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, names) = match controllers {
            "" => (root.to_owned(), &V2),
            list if list.split(',').any(|one| one == "memory") => (root.join("memory"), &V1),
            _ => continue,
        };
        let own = root.join(path.trim_start_matches('/'));
        let around = own.ancestors().take_while(|folder| folder.starts_with(&root));
        groups.extend(around.filter_map(|folder| {
            let limit = number(&read(&folder.join(names.limit))?)?;
            (limit < NO_LIMIT).then(|| Group { folder: folder.to_owned(), names, limit })
        }));
    }
    groups
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

impl Group {
    /// How much is taken now; nothing where the kernel does not say.
    pub fn taken(&self) -> Taken {
        self.taken_by(&read)
    }

    fn taken_by(&self, read: &impl Fn(&Path) -> Option<String>) -> Taken {
        let Names { taken, given_back, kernel, .. } = self.names;
        let bytes = read(&self.folder.join(taken)).and_then(|text| number(&text)).unwrap_or(0);
        if bytes < self.limit / 100 * LOOKED_AT_PERCENT {
            return Taken { bytes, kernel: 0 };
        }
        let stat = read(&self.folder.join("memory.stat")).unwrap_or_default();
        let sum = |names: &[&str]| -> u64 {
            let each = stat.lines().filter_map(|line| line.split_once(' '));
            each.filter(|(name, _)| names.contains(name)).filter_map(|(_, n)| number(n)).sum()
        };
        let bytes = bytes.saturating_sub(sum(given_back));
        Taken { bytes, kernel: sum(kernel).min(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Files = &'static [(&'static str, &'static str)];

    fn files(list: Files) -> impl Fn(&Path) -> Option<String> {
        move |path: &Path| {
            let found = list.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        }
    }

    const IN_V2: &str = "0::/system.slice/gatehouse.service\n";
    const IN_V1: &str = "5:cpu,cpuacct:/a\n4:memory:/docker/7\n0::/\n";

    #[test]
    fn each_group_around_the_process_that_has_a_limit_counts() {
        for (own, list, expected) in [
            (IN_V2, &[][..], &[][..]),
            (IN_V2, &[("/sys/fs/cgroup/system.slice/gatehouse.service/memory.max", "max\n")], &[]),
            (
                IN_V2,
                &[
                    ("/sys/fs/cgroup/system.slice/gatehouse.service/memory.max", "536870912\n"),
                    ("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
                ],
                &[536_870_912, 1_073_741_824],
            ),
            (
                IN_V2,
                &[
                    ("/sys/fs/cgroup/system.slice/gatehouse.service/memory.max", "max\n"),
                    ("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
                ],
                &[1_073_741_824],
            ),
            // In a container only the root of its own hierarchy can be seen.
            (IN_V2, &[("/sys/fs/cgroup/memory.max", "268435456\n")], &[268_435_456]),
            (
                IN_V1,
                &[("/sys/fs/cgroup/memory/docker/7/memory.limit_in_bytes", "268435456\n")],
                &[268_435_456],
            ),
            (
                IN_V1,
                &[("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")],
                &[],
            ),
        ] {
            let found = limited(own, &files(list));
            let limits: Vec<u64> = found.iter().map(|group| group.limit).collect();
            assert_eq!(limits, expected, "{own}{list:?}");
        }
    }

    #[test]
    fn what_the_kernel_gives_back_by_itself_is_not_taken() {
        const V2_FILES: Files = &[
            ("/sys/fs/cgroup/memory.max", "1000\n"),
            ("/sys/fs/cgroup/memory.current", "900\n"),
            (
                "/sys/fs/cgroup/memory.stat",
                "anon 300\nsock 200\nslab_unreclaimable 50\ninactive_file 100\nactive_file 80\n\
                 slab_reclaimable 20\n",
            ),
        ];
        const V1_FILES: Files = &[
            ("/sys/fs/cgroup/memory/docker/7/memory.limit_in_bytes", "1000\n"),
            ("/sys/fs/cgroup/memory/docker/7/memory.usage_in_bytes", "900\n"),
            (
                "/sys/fs/cgroup/memory/docker/7/memory.stat",
                "inactive_file 1\ntotal_inactive_file 100\ntotal_active_file 80\n",
            ),
        ];
        for (own, list, expected) in [
            (IN_V2, V2_FILES, Taken { bytes: 700, kernel: 250 }),
            (IN_V1, V1_FILES, Taken { bytes: 720, kernel: 0 }),
        ] {
            let found = limited(own, &files(list));
            let taken: Vec<Taken> = found.iter().map(|one| one.taken_by(&files(list))).collect();
            assert_eq!(taken, [expected], "{own}");
        }
    }

    #[test]
    fn a_group_that_says_nothing_of_itself_has_nothing_taken() {
        const SILENT: Files = &[("/sys/fs/cgroup/memory.max", "1000\n")];
        let found = limited(IN_V2, &files(SILENT));
        assert_eq!(found[0].taken_by(&files(SILENT)), Taken::default());
    }
}
