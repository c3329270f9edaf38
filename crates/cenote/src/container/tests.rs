//! Folder trees as machines and containers have them, made here.

use super::{ContainerMemory, MemorySource, Mount, bounded, mem_total, number, unescaped};
use crate::Account;
use std::path::PathBuf;
use std::string::{String, ToString};
use std::{env, format, fs, process};

const MIB: usize = 1 << 20;
const V2: &str = "30 24 0:26 TOP POINT rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
const V1: &str = "33 25 0:28 TOP POINT rw,nosuid shared:10 - cgroup cgroup rw,memory";
const OTHER: &str = "34 25 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct";
const NONE: &str = "9223372036854771712\n";

/// A machine of 1024 MiB, below a folder of its own, which goes when this does.
struct Machine(PathBuf);

impl Machine {
    fn new(name: &str, groups: &str, mounts: &[String]) -> Self {
        let root = env::temp_dir().join(format!("cenote-container-{}-{name}", process::id()));
        let machine = Self(root);
        machine.write("proc/meminfo", "MemTotal:        1048576 kB\nMemFree:  12 kB\n");
        machine.write("proc/self/cgroup", groups);
        machine.write("proc/self/mountinfo", &mounts.join("\n"));
        machine
    }

    fn write(&self, file: &str, text: &str) {
        let file = self.0.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn read(&self) -> (usize, MemorySource) {
        let memory = ContainerMemory::read_below(&self.0).unwrap();
        (memory.bytes(), memory.source().clone())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mount(line: &str, top: &str, point: &str) -> String {
    line.replace("TOP", top).replace("POINT", point)
}

fn v2(file: &str) -> MemorySource {
    MemorySource::CgroupV2(PathBuf::from(file))
}

fn v1(file: &str) -> MemorySource {
    MemorySource::CgroupV1(PathBuf::from(file))
}

#[test]
fn without_a_limit_it_is_the_machines_memory() {
    let machine = Machine::new("none", "", &[]);
    assert_eq!(machine.read(), (1024 * MIB, MemorySource::Machine));
    // The root of version 2 has no such file, and the others say that there is none.
    let machine =
        Machine::new("max", "0::/system.slice/web.service\n", &[mount(V2, "/", "/sys/fs/cgroup")]);
    machine.write("sys/fs/cgroup/system.slice/memory.max", "max\n");
    machine.write("sys/fs/cgroup/system.slice/web.service/memory.max", "max\n");
    assert_eq!(machine.read(), (1024 * MIB, MemorySource::Machine));
}

#[test]
fn of_version_2_the_least_limit_of_all_levels_counts() {
    let machine =
        Machine::new("v2", "0::/system.slice/web.service\n", &[mount(V2, "/", "/sys/fs/cgroup")]);
    let (slice, service) = (
        "/sys/fs/cgroup/system.slice/memory.max",
        "/sys/fs/cgroup/system.slice/web.service/memory.max",
    );
    machine.write(&service[1..], "536870912\n");
    assert_eq!(machine.read(), (512 * MIB, v2(service)));
    machine.write(&slice[1..], "268435456\n");
    assert_eq!(machine.read(), (256 * MIB, v2(slice)), "a smaller one above");
    machine.write(&slice[1..], "max\n");
    assert_eq!(machine.read(), (512 * MIB, v2(service)));
    // One above what the machine has limits nothing.
    machine.write(&service[1..], "2147483648\n");
    assert_eq!(machine.read(), (1024 * MIB, MemorySource::Machine));
}

#[test]
fn in_a_container_with_a_namespace_its_own_cgroup_is_the_root() {
    let machine = Machine::new("namespace", "0::/\n", &[mount(V2, "/", "/sys/fs/cgroup")]);
    machine.write("sys/fs/cgroup/memory.max", "134217728\n");
    assert_eq!(machine.read(), (128 * MIB, v2("/sys/fs/cgroup/memory.max")));
}

#[test]
fn in_a_container_without_a_namespace_paths_begin_at_what_is_mounted() {
    let mounts = [mount(V2, "/docker/abc", "/sys/fs/cgroup")];
    let machine = Machine::new("bind", "0::/docker/abc/inner\n", &mounts);
    machine.write("sys/fs/cgroup/inner/memory.max", "1048576\n");
    assert_eq!(machine.read(), (MIB, v2("/sys/fs/cgroup/inner/memory.max")));
    // A name that only begins alike, and a place that is not seen: then what is.
    for (number, group) in
        ["0::/docker/abcdef\n", "0::/../other\n", "0::/elsewhere\n"].iter().enumerate()
    {
        let machine = Machine::new(&format!("outside-{number}"), group, &mounts);
        machine.write("sys/fs/cgroup/memory.max", "2097152\n");
        machine.write("sys/fs/cgroup/def/memory.max", "4096\n");
        machine.write("other/memory.max", "4096\n");
        assert_eq!(machine.read(), (2 * MIB, v2("/sys/fs/cgroup/memory.max")), "{group}");
    }
}

#[test]
fn of_version_1_a_huge_number_is_no_limit() {
    let mounts = [OTHER.to_string(), mount(V1, "/", "/sys/fs/cgroup/memory")];
    let groups = "5:cpu,cpuacct:/\n4:memory:/app/worker\n1:name=systemd:/x\n";
    let machine = Machine::new("v1", groups, &mounts);
    let (app, worker) = (
        "/sys/fs/cgroup/memory/app/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/app/worker/memory.limit_in_bytes",
    );
    for file in ["/sys/fs/cgroup/memory/memory.limit_in_bytes", app, worker] {
        machine.write(&file[1..], NONE);
    }
    assert_eq!(machine.read(), (1024 * MIB, MemorySource::Machine));
    machine.write(&app[1..], "67108864\n");
    assert_eq!(machine.read(), (64 * MIB, v1(app)));
    machine.write(&worker[1..], "33554432\n");
    assert_eq!(machine.read(), (32 * MIB, v1(worker)));
}

#[test]
fn of_version_1_the_statistics_tell_of_a_limit_above_that_is_not_seen() {
    let mounts = [mount(V1, "/docker/abc", "/sys/fs/cgroup/memory")];
    let machine = Machine::new("v1-stat", "4:memory:/docker/abc\n", &mounts);
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", NONE);
    let stat = "cache 0\nhierarchical_memory_limit 16777216\ntotal_cache 0\n";
    machine.write("sys/fs/cgroup/memory/memory.stat", stat);
    assert_eq!(machine.read(), (16 * MIB, v1("/sys/fs/cgroup/memory/memory.stat")));
}

#[test]
fn on_a_hybrid_machine_both_versions_are_looked_at() {
    let mounts =
        [mount(V1, "/", "/sys/fs/cgroup/memory"), mount(V2, "/", "/sys/fs/cgroup/unified")];
    let machine = Machine::new("hybrid", "4:memory:/app\n0::/app\n", &mounts);
    let first = "/sys/fs/cgroup/memory/app/memory.limit_in_bytes";
    machine.write(&first[1..], "67108864\n");
    assert_eq!(machine.read(), (64 * MIB, v1(first)));
    let second = "/sys/fs/cgroup/unified/app/memory.max";
    machine.write(&second[1..], "33554432\n");
    assert_eq!(machine.read(), (32 * MIB, v2(second)));
    machine.write(&first[1..], "1048576\n");
    assert_eq!(machine.read(), (MIB, v1(first)));
}

#[test]
fn a_machine_that_does_not_tell_its_memory_is_an_error_with_the_file() {
    let machine = Machine::new("broken", "", &[]);
    machine.write("proc/meminfo", "MemFree: 1 kB\n");
    let error = ContainerMemory::read_below(&machine.0).unwrap_err().to_string();
    assert!(error.ends_with("proc/meminfo does not tell how much memory there is"), "{error}");
    fs::remove_file(machine.0.join("proc/meminfo")).unwrap();
    let error = ContainerMemory::read_below(&machine.0).unwrap_err().to_string();
    assert!(error.contains("proc/meminfo: "), "{error}");
}

#[test]
fn what_files_say_is_parsed_as_it_is_written() {
    for (text, bytes) in
        [("0\n", Some(0)), ("42", Some(42)), ("max\n", None), ("", None), ("-1", None)]
    {
        assert_eq!(number(text), bytes, "{text}");
    }
    assert_eq!(bounded(7), 7);
    assert_eq!(mem_total("MemTotal: 3 kB"), Some(3072));
    for text in ["", "MemTotal: 3", "MemTotal: x kB", "MemTotal: 18446744073709551615 kB"] {
        assert_eq!(mem_total(text), None, "{text}");
    }
    assert_eq!(unescaped(r"/a\040b\134c\011"), "/a b\\c\t");
    for odd in [r"/a\", r"/a\9", r"/a\777b", r"/a\0é"] {
        assert_eq!(unescaped(odd), odd);
    }
    for line in ["", "nonsense", "1 2 3 4 5 - cgroup", "1 2 - cgroup2 x y", OTHER] {
        assert!(Mount::parse(line).is_none(), "{line}");
    }
}

#[test]
fn a_part_of_it_is_more_than_nothing_and_at_most_all() {
    let memory = ContainerMemory { bytes: 1000, source: MemorySource::Machine };
    for (fraction, bytes) in [(1.0, 1000), (0.8, 800), (0.0015, 1), (1e-9, 0)] {
        assert_eq!(memory.part(fraction).unwrap(), bytes);
    }
    let all = ContainerMemory { bytes: usize::MAX, source: MemorySource::Machine };
    assert_eq!(all.part(1.0).unwrap(), usize::MAX);
    for fraction in [0.0, -1.0, 1.000_001, 80.0, f64::NAN, f64::INFINITY] {
        let error = memory.part(fraction).unwrap_err().to_string();
        assert!(error.contains(&format!("fraction is {fraction}: it must be")), "{error}");
    }
    assert_eq!(memory.to_string(), "1000 B by the machine, with no limit of a container");
    let memory = ContainerMemory { bytes: 512 * MIB, source: v2("/sys/fs/cgroup/memory.max") };
    assert_eq!(memory.to_string(), "512 MiB by /sys/fs/cgroup/memory.max");
}

#[cfg(target_os = "linux")]
#[test]
fn this_machine_tells_how_much_there_is_and_an_account_takes_a_part_of_it() {
    let account = Account::root("process");
    let memory = account.limit_of_container(0.5).unwrap();
    assert_eq!(account.limit(), Some(memory.part(0.5).unwrap()));
    let machine = mem_total(&fs::read_to_string("/proc/meminfo").unwrap()).unwrap();
    assert!(memory.bytes() > 0 && memory.bytes() as u64 <= machine, "{memory}");
    match memory.source() {
        MemorySource::Machine => assert_eq!(memory.bytes() as u64, machine),
        MemorySource::CgroupV2(file) => {
            assert_eq!(number(&fs::read_to_string(file).unwrap()), Some(memory.bytes() as u64));
        }
        MemorySource::CgroupV1(file) => assert!(file.exists()),
    }
    // What is refused leaves the limit as it was.
    assert!(account.limit_of_container(1.5).is_err());
    assert_eq!(account.limit(), Some(memory.part(0.5).unwrap()));
}
