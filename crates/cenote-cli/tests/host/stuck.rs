//! Stops the threads of a process one by one, as a disk that does not answer would.

#![expect(unsafe_code, reason = "it calls the kernel to hold threads")]

use std::ptr;

/// Threads that are held until this is dropped. Only the thread that holds them can let them go.
pub(crate) struct Held(Vec<libc::pid_t>);

/// Holds all threads of a process whose name begins so; or says why that may not be.
pub(crate) fn hold(process: u32, name: &str) -> Result<Held, std::io::Error> {
    let mut held = Held(Vec::new());
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?.path();
        if !std::fs::read_to_string(task.join("comm"))?.starts_with(name) {
            continue;
        }
        let id = task.file_name().and_then(|id| id.to_str()?.parse::<libc::pid_t>().ok());
        let id = id.expect("a number");
        // SAFETY: seizing takes no address, and the thread is our child's.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, id, ptr::null_mut::<u8>(), 0) };
        if seized != 0 {
            return Err(std::io::Error::last_os_error());
        }
        held.0.push(id);
        // SAFETY: nor does interrupting, and it was just seized.
        unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, id, ptr::null_mut::<u8>(), 0) };
        let mut status = 0;
        // SAFETY: the status is ours to be written.
        let stopped = unsafe { libc::waitpid(id, &mut status, libc::__WALL) };
        assert_eq!(stopped, id, "{:?}", std::io::Error::last_os_error());
    }
    Ok(held)
}

impl Held {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for &id in &self.0 {
            // SAFETY: letting go takes no address; of one that is gone the kernel says so.
            unsafe { libc::ptrace(libc::PTRACE_DETACH, id, ptr::null_mut::<u8>(), 0) };
        }
    }
}
