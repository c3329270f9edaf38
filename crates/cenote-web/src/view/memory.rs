//! How much memory the process has, to tell what the pools hold from what they do not.

/// Bytes of the process's own memory that is resident (anonymous: heap and stacks, without the
/// program and mapped files); `None` where the system does not say.
pub(super) fn resident_bytes() -> Option<usize> {
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn memory_that_is_touched_is_resident() {
        let before = super::resident_bytes().expect("linux says");
        let touched = vec![1_u8; 128 << 20];
        let after = super::resident_bytes().expect("linux says");
        // Other tests of this process give some back meanwhile.
        assert!(after >= before + (64 << 20), "{before} {after}");
        drop(touched);
    }
}
