//! How much memory there is for this process: that of the machine, or of the control group that it runs in if
//! that may have less.
//!
//! `start` asks once, for the limit of the table where the operator gives none; `gather` reads a file of `/proc` by
//! [`bytes_of`]. What files say comes as text, so that tests need no machine of their own.

use std::fs;

/// Bytes of what `/proc` calls kB.
const KILOBYTE: u64 = 1_024;

/// How many bytes of memory this process may use; `None` if the system does not say.
pub fn available_bytes() -> Option<u64> {
    available(|path| fs::read_to_string(path).ok())
}

/// The same, where `read` gives the text of a file.
fn available(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(limit_files);
    let limits = limits.filter_map(|file| read(&file)?.trim().parse().ok()); // `max` is no number
    let of_machine = read("/proc/meminfo").and_then(|text| bytes_of(&text, "MemTotal"));
    limits.chain(of_machine).min()
}

/// The files that limit the memory of a control group, given as `/proc/self/cgroup` has it, and of those that it
/// is in (cgroups(7)): `0::/path` in version 2, `4:memory:/path` in version 1. In a container the path may be
/// that outside of it; then only the topmost file is there, and it is the container's.
fn limit_files(group: &str) -> Vec<String> {
    let mut fields = group.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (mount, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let ends = path.match_indices('/').map(|(at, _)| at);
    let whole = (!path.ends_with('/')).then_some(path.len());
    ends.chain(whole)
        .map(|end| format!("{mount}{}/{file}", &path[..end]))
        .collect()
}

/// The bytes that a line `NAME: N kB` of a file in `/proc` tells of (proc_meminfo(5), proc_pid_status(5)).
pub fn bytes_of(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(KILOBYTE)
}

/// A number of bytes as people read it.
pub fn bytes_text(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str =
        "MemTotal:       16384000 kB\nMemFree:         1000 kB\nHugepagesize:       2048 kB\n";

    #[test]
    fn the_least_limit_counts() {
        const GIB: u64 = 1 << 30;
        let machine = Some(16_384_000 * 1_024);
        for (files, want) in [
            (&[][..], None),
            (&[("/proc/meminfo", MEMINFO)], machine),
            (&[("/proc/meminfo", "MemTotal: many kB")], None),
            // Version 2: the group's own limit, that of one that it is in, none.
            (
                &[
                    ("/proc/meminfo", MEMINFO),
                    ("/proc/self/cgroup", "0::/system.slice/herd.service\n"),
                    (
                        "/sys/fs/cgroup/system.slice/herd.service/memory.max",
                        "1073741824\n",
                    ),
                    ("/sys/fs/cgroup/system.slice/memory.max", "max\n"),
                ],
                Some(GIB),
            ),
            (
                &[
                    ("/proc/meminfo", MEMINFO),
                    ("/proc/self/cgroup", "0::/system.slice/herd.service\n"),
                    (
                        "/sys/fs/cgroup/system.slice/herd.service/memory.max",
                        "4294967296\n",
                    ),
                    ("/sys/fs/cgroup/system.slice/memory.max", "2147483648\n"),
                ],
                Some(2 * GIB),
            ),
            (
                &[
                    ("/proc/meminfo", MEMINFO),
                    ("/proc/self/cgroup", "0::/init.scope\n"),
                    ("/sys/fs/cgroup/init.scope/memory.max", "max\n"),
                ],
                machine,
            ),
            // A container, with a path of its own or with that of outside.
            (
                &[
                    ("/proc/meminfo", MEMINFO),
                    ("/proc/self/cgroup", "0::/\n"),
                    ("/sys/fs/cgroup/memory.max", "1073741824\n"),
                ],
                Some(GIB),
            ),
            (
                &[
                    ("/proc/meminfo", MEMINFO),
                    (
                        "/proc/self/cgroup",
                        "5:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n0::/\n",
                    ),
                    (
                        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                        "1073741824\n",
                    ),
                ],
                Some(GIB),
            ),
            // Version 1, with and without a limit.
            (
                &[
                    ("/proc/meminfo", MEMINFO),
                    ("/proc/self/cgroup", "4:memory,hugetlb:/a:b\n"),
                    (
                        "/sys/fs/cgroup/memory/a:b/memory.limit_in_bytes",
                        "2147483648\n",
                    ),
                ],
                Some(2 * GIB),
            ),
            (
                &[
                    ("/proc/meminfo", MEMINFO),
                    ("/proc/self/cgroup", "4:memory:/\nnonsense\n"),
                    (
                        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                        "9223372036854771712\n",
                    ),
                ],
                machine,
            ),
        ] {
            let read = |path: &str| {
                let found = files.iter().find(|(name, _)| *name == path);
                found.map(|(_, text)| (*text).to_owned())
            };
            assert_eq!(available(read), want, "{files:?}");
        }
    }

    #[test]
    fn this_machine_says_how_much_it_has() {
        let bytes = available_bytes().expect("Linux says it");
        assert!((1 << 24..1 << 50).contains(&bytes), "{bytes}");
    }

    #[test]
    fn bytes_are_read_by_people() {
        for (bytes, want) in [
            (1 << 20, "1.0 MiB"),
            (1_073_741_823, "1024.0 MiB"),
            (8_388_608_000, "7.8 GiB"),
        ] {
            assert_eq!(bytes_text(bytes), want);
        }
    }
}
