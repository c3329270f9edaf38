//! [`ContainerMemory`]: how much memory this process may have, by the cgroups it is in and by the
//! machine.
//!
//! What files say is parsed by functions of text; reading is apart, below a folder that tests give.

use crate::Account;
use crate::inspect::Bytes;
use std::borrow::ToOwned;
use std::format;
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;
use std::{fmt, fs, io};

/// How much memory this process may have, and who says so: the least of all limits of the cgroups
/// that it is in, at every level (version 2, version 1, or both, as on hybrid machines), or else
/// the memory of the machine.
///
/// ```no_run
/// let memory = cenote::ContainerMemory::read()?;
/// println!("{memory}"); // 512 MiB by /sys/fs/cgroup/memory.max
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerMemory {
    bytes: usize,
    source: MemorySource,
}

/// Who says how much memory there is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemorySource {
    /// A cgroup of version 2, by this file (`memory.max`).
    CgroupV2(PathBuf),
    /// A cgroup of version 1, by this file (`memory.limit_in_bytes`, or `memory.stat` where it
    /// tells of a cgroup above that cannot be seen from here).
    CgroupV1(PathBuf),
    /// No cgroup: it is all memory of the machine.
    Machine,
}

impl fmt::Display for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CgroupV2(file) | Self::CgroupV1(file) => write!(f, "{}", file.display()),
            Self::Machine => f.write_str("the machine, with no limit of a container"),
        }
    }
}

impl fmt::Display for ContainerMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", Bytes(self.bytes), self.source)
    }
}

impl Account {
    /// Sets the limit to a part of the memory that this process may have, and tells of what and how
    /// much that is. 0.8 leaves a fifth for what no pool and no reservation holds.
    ///
    /// It is read once; a container's limit that changes later is not noticed.
    ///
    /// # Errors
    /// `fraction` is not more than 0 and at most 1, or the system does not tell how much memory the
    /// machine has; as before, then.
    ///
    /// ```no_run
    /// use cenote::Account;
    /// let process = Account::root("process");
    /// let memory = process.limit_of_container(0.8)?;
    /// println!("limit {:?}: 80 % of {memory}", process.limit());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn limit_of_container(&self, fraction: f64) -> io::Result<ContainerMemory> {
        let memory = ContainerMemory::read()?;
        self.set_limit(Some(memory.part(fraction)?));
        Ok(memory)
    }
}

impl ContainerMemory {
    /// Reads it from the system (Linux).
    ///
    /// # Errors
    /// The system does not tell how much memory the machine has. Cgroups that cannot be read are
    /// taken to have no limit.
    pub fn read() -> io::Result<Self> {
        Self::read_below(Path::new("/"))
    }

    /// In bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Who says so.
    #[must_use]
    pub fn source(&self) -> &MemorySource {
        &self.source
    }

    /// A part of it, in bytes, rounded down to whole ones.
    ///
    /// # Errors
    /// `fraction` is not more than 0 and at most 1.
    pub fn part(&self, fraction: f64) -> io::Result<usize> {
        if fraction > 0.0 && fraction <= 1.0 {
            // No product is larger, since the fraction is at most 1.
            return Ok(((self.bytes as f64 * fraction) as usize).min(self.bytes));
        }
        let what = format!("fraction is {fraction}: it must be more than 0, and at most 1");
        Err(io::Error::new(io::ErrorKind::InvalidInput, what))
    }

    /// [`ContainerMemory::read`], with all files looked for below a folder.
    fn read_below(root: &Path) -> io::Result<Self> {
        let proc = root.join("proc");
        let file = proc.join("meminfo");
        let text = fs::read_to_string(&file).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", file.display()))
        })?;
        let machine = mem_total(&text).ok_or_else(|| {
            let what = format!("{} does not tell how much memory there is", file.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?;
        let mut least = Self { bytes: bounded(machine), source: MemorySource::Machine };
        let read =
            |name: &str| fs::read_to_string(proc.join("self").join(name)).unwrap_or_default();
        let (groups, mounts) = (read("cgroup"), read("mountinfo"));
        for mount in mounts.lines().filter_map(Mount::parse) {
            let Some(group) = groups.lines().find_map(|line| mount.group(line)) else { continue };
            for folder in mount.folders(&group) {
                for limit in mount.limits(root, &folder) {
                    if limit.bytes < least.bytes {
                        least = limit;
                    }
                }
            }
        }
        Ok(least)
    }
}

/// Where cgroups are mounted that may have limits of memory.
struct Mount {
    second: bool,
    /// The cgroup that is seen at `point`.
    top: String,
    point: String,
}

impl Mount {
    /// From a line of `/proc/self/mountinfo`.
    fn parse(line: &str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        let second = match system.next()? {
            "cgroup2" => true,
            // One of several, each for some controllers.
            "cgroup" if system.nth(1)?.split(',').any(|option| option == "memory") => false,
            _ => return None,
        };
        let mut fields = mount.split(' ').skip(3);
        let (top, point) = (unescaped(fields.next()?), unescaped(fields.next()?));
        Some(Self { second, top, point })
    }

    /// The cgroup that a line of `/proc/self/cgroup` tells, if it is one of these.
    fn group(&self, line: &str) -> Option<String> {
        let (number, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let ours = match self.second {
            true => number == "0" && controllers.is_empty(),
            false => controllers.split(',').any(|controller| controller == "memory"),
        };
        ours.then(|| path.to_owned())
    }

    /// The folders of a cgroup and of those above it, as far as they are seen from here.
    fn folders(&self, group: &str) -> Vec<String> {
        // Outside of what is mounted only the top is seen, whose limits are for all below.
        let below = match group.strip_prefix(self.top.trim_end_matches('/')) {
            Some(below) if below.is_empty() || below.starts_with('/') => below,
            _ => "",
        };
        let mut folders = std::vec![self.point.clone()];
        let names = || below.split('/').filter(|name| !name.is_empty());
        if names().any(|name| name == "..") {
            return folders;
        }
        let mut folder = self.point.trim_end_matches('/').to_owned();
        for name in names() {
            folder.push('/');
            folder.push_str(name);
            folders.push(folder.clone());
        }
        folders
    }

    /// What the files of one folder say.
    fn limits(&self, root: &Path, folder: &str) -> Vec<ContainerMemory> {
        let read = |name: &str| {
            let file = Path::new(folder).join(name);
            let text = fs::read_to_string(root.join(folder.trim_start_matches('/')).join(name));
            (text.unwrap_or_default(), file)
        };
        let limit = |bytes, source| ContainerMemory { bytes: bounded(bytes), source };
        if self.second {
            let (text, file) = read("memory.max");
            let bytes = number(&text);
            return bytes
                .map(|bytes| limit(bytes, MemorySource::CgroupV2(file)))
                .into_iter()
                .collect();
        }
        let (own, own_file) = read("memory.limit_in_bytes");
        let (stat, stat_file) = read("memory.stat");
        let above = stat.lines().find_map(|line| line.strip_prefix("hierarchical_memory_limit "));
        [(number(&own), own_file), (above.and_then(number), stat_file)]
            .into_iter()
            .filter_map(|(bytes, file)| Some(limit(bytes?, MemorySource::CgroupV1(file))))
            .collect()
    }
}

/// A limit of so many bytes; `None` for `max`, and for what is no number. Version 1 says a huge
/// number where there is none, which is more than any machine has.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn bounded(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The machine's memory in bytes, by `/proc/meminfo`.
fn mem_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib = line.trim().strip_suffix("kB")?.trim();
    kib.parse::<u64>().ok()?.checked_mul(1024)
}

/// A path in which `\040` stands for a space, as in `mountinfo`.
fn unescaped(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match digits.filter(u8::is_ascii) {
            Some(byte) => {
                path.push(char::from(byte));
                path.push_str(&part[3..]);
            }
            None => {
                path.push('\\');
                path.push_str(part);
            }
        }
    }
    path
}

#[cfg(all(test, not(loom)))]
mod tests;
